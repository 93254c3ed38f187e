//! Registered agents, behind a port.

use serde_json::Value;

use super::{StoreError, TokenRow};
use crate::clock::Millis;
use crate::ids::{AgentId, Environment, RoleName, TenantId};
use crate::reach::Reach;

/// An agent that an operator registered.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentRow {
    /// Its id: `agent_` and 24 hexadecimal digits.
    pub id: AgentId,
    /// Whose it is.
    pub tenant: TenantId,
    /// In which environment. `None`: in every one.
    pub environment: Option<Environment>,
    /// What it's called.
    pub name: String,
    /// What it does.
    pub description: String,
    /// What else its author says of it: an object.
    pub metadata: Value,
    /// Its role, which tokens minted for it take over.
    pub role: Option<RoleName>,
    /// When it was registered.
    pub created_at: Millis,
}

impl AgentRow {
    /// Whether an operator who reaches this far may see, mint for and remove it.
    #[must_use]
    pub fn is_within(&self, reach: &Reach) -> bool {
        reach.covers_part(&self.tenant, self.environment.as_ref())
    }
}

/// Where registered agents are kept. Calls block for a short time; writes are durable when they return.
pub trait AgentStore: Send + Sync + 'static {
    /// Adds an agent.
    fn insert_agent(&self, row: &AgentRow) -> Result<(), StoreError>;
    /// An agent within reach.
    fn agent(&self, reach: &Reach, id: &AgentId) -> Result<Option<AgentRow>, StoreError>;
    /// All agents within reach, the oldest first.
    fn agents(&self, reach: &Reach) -> Result<Vec<AgentRow>, StoreError>;
    /// Removes an agent and revokes its tokens within reach, in one transaction. Answers the agent, and the tokens that
    /// were good at that time until then; `None` when no agent of this id is within reach.
    fn remove_agent(
        &self,
        reach: &Reach,
        id: &AgentId,
        at: Millis,
    ) -> Result<Option<(AgentRow, Vec<TokenRow>)>, StoreError>;
}
