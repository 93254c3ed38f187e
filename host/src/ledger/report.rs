//! What was spent, and what is left, by budget and subject.

use super::budgets::Budgets;
use super::{Budget, Counted, Rule, Subject, Unit, Window, money};
use crate::clock::Millis;
use crate::ids::TokenId;
use crate::store::{CounterRow, StoreError, Tally, TokenRow};

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

/// How the budgets of these counters stand; `token` looks up the token of one that limits a token. Counters whose names
/// say nothing are left out: they're damaged.
///
/// # Errors
/// Those of `token`.
pub fn standings(
    rows: &[CounterRow],
    budgets: &Budgets,
    token: impl Fn(&TokenId) -> Result<Option<TokenRow>, StoreError>,
) -> Result<Vec<Standing>, StoreError> {
    let standing = |row: &CounterRow| {
        let counted = Counted::of_name(&row.key.name)?;
        let limit = limit(&counted, budgets, &token);
        Some(limit.map(|limit| Standing { counted, ends: row.ends, tally: row.tally, limit }))
    };
    rows.iter().filter_map(standing).collect()
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

fn limit(
    counted: &Counted,
    budgets: &Budgets,
    token: impl Fn(&TokenId) -> Result<Option<TokenRow>, StoreError>,
) -> Result<Option<u64>, StoreError> {
    let Ok(subject) = counted.subject.parse::<Subject>() else { return Ok(None) };
    let is_about =
        |rule: &&Rule| rule.is_for(&counted.realm) && rule.subject.is_about(&subject, &counted.realm.tenant);
    let operators = budgets.rules().iter().filter(is_about).map(|rule| &rule.budget);
    let token = if let Subject::Token(id) = &subject { token(id)? } else { None };
    let granted = token.iter().flat_map(|token| &token.grant.budgets);
    Ok(operators.chain(granted).filter(|budget| counts(budget, counted)).map(|budget| budget.limit).min())
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
        let all = standings(&rows, &budgets(), |_| panic!("none is about a token")).unwrap();
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
    fn damaged_names_are_left_out() {
        let mut damaged = row("tenant", "usd", "day", 0, Some(DAY_MS));
        damaged.key.name = "[]".to_owned();
        let rows = [damaged, row("tenant", "requests", "total", 0, None)];
        let seen = standings(&rows, &budgets(), |_| Ok(None)).unwrap();
        assert_eq!(seen.iter().map(|standing| &standing.counted.unit).collect::<Vec<_>>(), [&Unit::Requests]);
    }

    #[test]
    fn no_tokens_are_looked_up_but_those_of_the_counters() {
        let ids = [TokenId::fresh(), TokenId::fresh()];
        let of = |id: &TokenId| row(&format!("token:{id}"), "usd", "total", 0, None);
        let rows = [of(&ids[0]), of(&ids[1]), row("tenant", "usd", "total", 0, None)];
        let asked = std::cell::RefCell::new(Vec::new());
        let token = |id: &TokenId| {
            asked.borrow_mut().push(id.clone());
            Ok(None)
        };
        assert_eq!(standings(&rows, &budgets(), token).unwrap().len(), 3);
        assert_eq!(asked.into_inner(), ids);
    }
}
