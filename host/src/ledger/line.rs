//! What a request takes from one budget.

use serde_json::json;

use super::{Budget, Period, Subject, Unit, Window};
use crate::connection::Effect;
use crate::ids::{ConnectionName, OperationName, Realm};
use crate::store::{CounterKey, LineKind};

/// What a request takes from one budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Whom the budget limits.
    pub subject: Subject,
    /// Whether the caller may hear how much is left: it's its own token's or its conversation's.
    pub own: bool,
    /// Of what it takes.
    pub unit: Unit,
    /// The budget's window.
    pub window: Window,
    /// The window's begin and end.
    pub period: Period,
    /// How much there may be in all.
    pub limit: u64,
    /// How much the request takes.
    pub amount: u64,
    /// Where it's counted.
    pub counter: CounterKey,
}

impl Line {
    /// What becomes of it at the end.
    pub(super) fn kind(&self) -> LineKind {
        match (self.window, &self.unit) {
            (Window::AtOnce, _) => LineKind::AtOnce,
            (_, Unit::Money(_)) => LineKind::Money,
            (_, Unit::Requests) => LineKind::Request,
        }
    }
}

/// All that a request takes.
///
/// INVARIANT (once): no two lines count in the same counter. Budgets that count the same are one line with the smaller
/// of their limits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lines(Vec<Line>);

impl Lines {
    /// None.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds a line, or joins it to the one that counts the same.
    pub fn push(&mut self, line: Line) {
        match self.0.iter_mut().find(|known| known.counter == line.counter) {
            None => self.0.push(line),
            Some(known) => {
                known.limit = known.limit.min(line.limit);
                known.amount = known.amount.max(line.amount);
                known.own |= line.own;
            }
        }
    }

    /// The lines.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Line> {
        self.0.iter()
    }

    /// Whether there's none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What a counter counts, in full. Its text is the counter's name.
///
/// The limit isn't part of it: a budget that is raised or lowered goes on from what was spent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// Whose it is.
    pub realm: Realm,
    /// The text of the subject.
    pub subject: String,
    /// What is counted.
    pub unit: Unit,
    /// Over which time.
    pub window: Window,
    /// The time zone in which days and months begin.
    pub time_zone: Option<String>,
    /// Requests to this connection only.
    pub connection: Option<ConnectionName>,
    /// Requests of this operation only.
    pub operation: Option<OperationName>,
    /// Reads only, or writes only.
    pub effect: Option<Effect>,
}

/// The name of the counter of a budget for a subject: a JSON array, so that no two things have the same name whatever
/// a customer is called.
pub(super) fn counter_name(realm: &Realm, subject: &Subject, budget: &Budget) -> String {
    json!([
        realm.tenant,
        realm.environment,
        subject.to_string(),
        budget.unit,
        budget.window,
        budget.time_zone,
        budget.connection,
        budget.operation,
        budget.effect,
    ])
    .to_string()
}

/// What the names of all counters of a subject begin with.
pub(super) fn names_of(realm: &Realm, subject: &Subject) -> String {
    let subject = json!([realm.tenant, realm.environment, subject.to_string()]).to_string();
    // There it goes on.
    format!("{},", subject.trim_end_matches(']'))
}

impl Counted {
    /// What a counter of this name counts. `None`: it's no counter's name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        let (tenant, environment, subject, unit, window, time_zone, connection, operation, effect) =
            serde_json::from_str(name).ok()?;
        let realm = Realm { tenant, environment };
        Some(Self { realm, subject, unit, window, time_zone, connection, operation, effect })
    }
}
