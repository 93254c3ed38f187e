//! What was spent, and what is left, by budget and subject.

use super::budgets::Budgets;
use super::{Budget, Counted, Rule, Subject, Unit, Window, money};
use crate::clock::Millis;
use crate::store::{CounterRow, Tally, TokenRow};

/// A counter of a window that isn't over, and its limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// What is counted.
    pub counted: Counted,
    /// When its window ends; `None`: never.
    pub ends: Option<Millis>,
    /// How it stands.
    pub tally: Tally,
    /// The smallest limit that holds now. `None`: the budget was taken out, or its token is gone.
    pub limit: Option<u64>,
}

/// How all budgets stand that anything was spent of. Counters whose names say nothing are left out: they're damaged.
#[must_use]
pub fn standings(rows: &[CounterRow], budgets: &Budgets, tokens: &[TokenRow], now: Millis) -> Vec<Standing> {
    let current = |row: &&CounterRow| row.key.start <= now && row.ends.is_none_or(|ends| now < ends);
    let standing = |row: &CounterRow| {
        let counted = Counted::of_name(&row.key.name)?;
        let limit = limit(&counted, budgets, tokens);
        Some(Standing { counted, ends: row.ends, tally: row.tally, limit })
    };
    rows.iter().filter(current).filter_map(standing).collect()
}

impl Standing {
    /// How much is left. `None`: there's no limit any more.
    #[must_use]
    pub fn left(&self) -> Option<u64> {
        self.limit.map(|limit| limit.saturating_sub(self.tally.counted()))
    }

    /// `day (Europe/Berlin)`.
    #[must_use]
    pub fn window(&self) -> String {
        let window = self.counted.window.as_str();
        match &self.counted.time_zone {
            Some(zone) => format!("{window} ({zone})"),
            None if matches!(self.counted.window, Window::Day | Window::Month) => format!("{window} (UTC)"),
            None => window.to_owned(),
        }
    }

    /// `stripe:create_charge writes`, or `all`.
    #[must_use]
    pub fn covers(&self) -> String {
        let Counted { connection, operation, effect, .. } = &self.counted;
        let place = match (connection, operation) {
            (Some(connection), Some(operation)) => Some(format!("{connection}:{operation}")),
            (Some(connection), None) => Some(format!("{connection}:*")),
            _ => None,
        };
        let effect = effect.map(|effect| format!("{}s", effect.as_str()));
        let parts: Vec<_> = place.into_iter().chain(effect).collect();
        if parts.is_empty() { "all".to_owned() } else { parts.join(" ") }
    }

    /// An amount in the unit, as people write it.
    #[must_use]
    pub fn amount(&self, amount: u64) -> String {
        shown(amount, &self.counted.unit)
    }
}

/// An amount as people write it: `12.50 USD`, `3`.
#[must_use]
pub fn shown(amount: u64, unit: &Unit) -> String {
    match unit {
        Unit::Money(currency) => money::shown(amount, currency),
        Unit::Requests => amount.to_string(),
    }
}

fn limit(counted: &Counted, budgets: &Budgets, tokens: &[TokenRow]) -> Option<u64> {
    let subject: Subject = counted.subject.parse().ok()?;
    let is_about =
        |rule: &&Rule| rule.is_for(&counted.realm) && rule.subject.is_about(&subject, &counted.realm.tenant);
    let operators = budgets.rules().iter().filter(is_about).map(|rule| &rule.budget);
    let token = tokens.iter().find(|token| matches!(&subject, Subject::Token(id) if *id == token.id));
    let granted = token.into_iter().flat_map(|token| &token.grant.budgets);
    operators.chain(granted).filter(|budget| counts(budget, counted)).map(|budget| budget.limit).min()
}

fn counts(budget: &Budget, counted: &Counted) -> bool {
    let Budget { limit: _, unit, window, time_zone, connection, operation, effect } = budget;
    *unit == counted.unit
        && *window == counted.window
        && *time_zone == counted.time_zone
        && *connection == counted.connection
        && *operation == counted.operation
        && *effect == counted.effect
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::Connections;
    use crate::store::CounterKey;

    const DAY_MS: i64 = 86_400_000;

    fn row(subject: &str, unit: &str, window: &str, start: i64, ends: Option<i64>) -> CounterRow {
        let name = serde_json::json!(["acme", "production", subject, unit, window, null, null, null, null]);
        CounterRow {
            key: CounterKey { name: name.to_string(), start: Millis(start) },
            ends: ends.map(Millis),
            tally: Tally { reserved: 100, held: 20, settled: 3 },
        }
    }

    fn budgets() -> Budgets {
        let one = |subject, limit| {
            format!("[[budget]]\nsubject = {subject:?}\nunit = \"usd\"\nwindow = \"day\"\nlimit = {limit}\n")
        };
        let text = [
            one("each agent", 500),
            one("agent:billing", 400),
            one("tenant:globex", 1),
            one("tenant", 100),
            one("each customer", 7),
        ];
        Budgets::parse(&text.concat(), "budgets.toml", &Connections::default()).unwrap()
    }

    #[test]
    fn the_smallest_limit_that_holds_is_shown_and_what_is_left() {
        let day = |subject: &str| row(subject, "usd", "day", 0, Some(DAY_MS));
        let rows = [
            day("agent:billing"),
            day("agent:other"),
            day("tenant"),
            day("role:billing"),
            day("customer:a b"),
        ];
        let all = standings(&rows, &budgets(), &[], Millis(5));
        let shown: Vec<_> = all.iter().map(|standing| (standing.limit, standing.left())).collect();
        assert_eq!(
            shown,
            [
                (Some(400), Some(277)),
                (Some(500), Some(377)),
                (Some(100), Some(0)),
                (None, None),
                (Some(7), Some(0))
            ]
        );
        assert_eq!(all[0].amount(277), "2.77 USD");
        assert_eq!((all[0].window().as_str(), all[0].covers().as_str()), ("day (UTC)", "all"));
    }

    #[test]
    fn windows_that_are_over_and_damaged_names_are_left_out() {
        let mut damaged = row("tenant", "usd", "day", 0, Some(DAY_MS));
        damaged.key.name = "[]".to_owned();
        let rows = [
            row("tenant", "usd", "day", 0, Some(DAY_MS)),
            row("tenant", "usd", "day", DAY_MS, Some(2 * DAY_MS)),
            row("tenant", "requests", "total", 0, None),
            damaged,
        ];
        let seen = |now| standings(&rows, &budgets(), &[], Millis(now)).len();
        assert_eq!((seen(DAY_MS - 1), seen(DAY_MS), seen(2 * DAY_MS)), (2, 2, 1));
    }
}
