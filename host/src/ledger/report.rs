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
