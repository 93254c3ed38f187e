//! How many calls an agent may have under way at once.
//!
//! A call takes its place in the transaction that records its intent, and gives it back in the one that records its
//! outcome; what a dead host left is given back when it starts again. So it holds over all processes that share a home.

use serde_json::json;

use super::{Line, Lines, Period, Subject, Unit, Window};
use crate::clock::Millis;
use crate::ids::{AgentId, Realm};
use crate::store::CounterKey;

/// How many calls one agent may have under way at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallLimit {
    /// The agent.
    pub agent: AgentId,
    /// How many. 0: none.
    pub calls_max: u32,
}

/// What a call takes: one place of each of these agents.
#[must_use]
pub fn call_lines(realm: &Realm, limits: &[CallLimit]) -> Lines {
    let mut lines = Lines::none();
    for CallLimit { agent, calls_max } in limits {
        lines.push(Line {
            subject: Subject::Agent(agent.clone()),
            own: false,
            unit: Unit::Requests,
            window: Window::AtOnce,
            period: Period::FOR_EVER,
            limit: u64::from(*calls_max),
            amount: 1,
            // No budget's name: what budgets count at once are requests, of which a call may make many.
            counter: CounterKey {
                name: json!(["calls at once", realm.tenant, realm.environment, agent]).to_string(),
                start: Millis(0),
            },
        });
    }
    lines
}
