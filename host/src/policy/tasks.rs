//! How many tasks at once a posted policy allows: calls under way of the agents that it's for.

use serde_json::Value;

use super::posted::PostedPolicy;
use crate::ids::{AgentId, RoleName};

/// The limit of one posted policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TaskLimit {
    /// For agents of this role only.
    role: Option<RoleName>,
    /// For these agents only.
    agents: Option<Vec<AgentId>>,
    pub(super) calls_max: u32,
}

impl TaskLimit {
    /// The limit that a stored policy has, if it has one.
    ///
    /// # Errors
    /// It has one that can't be read.
    pub(super) fn of_stored(source: &Value) -> Result<Option<Self>, String> {
        if source.pointer("/constraints/maxConcurrentTasks").is_none_or(Value::is_null) {
            return Ok(None);
        }
        let posted: PostedPolicy =
            serde_json::from_value(source.clone()).map_err(|error| format!("as it was posted: {error}"))?;
        let calls_max = posted.constraints.and_then(|constraints| constraints.max_concurrent_tasks);
        Ok(calls_max.map(|calls_max| Self { role: posted.role, agents: posted.agents, calls_max }))
    }

    /// Whether it's for this agent.
    pub(super) fn is_for(&self, agent: &AgentId, role: Option<&RoleName>) -> bool {
        self.role.as_ref().is_none_or(|wanted| role == Some(wanted))
            && self.agents.as_ref().is_none_or(|agents| agents.contains(agent))
    }
}
