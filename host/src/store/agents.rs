//! Registered agents, behind a port.

use serde_json::Value;

use super::StoreError;
use crate::clock::Millis;
use crate::ids::{AgentId, RoleName, TenantId};

/// An agent that an operator registered.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentRow {
    /// Its id: `agent_` and 24 hexadecimal digits.
    pub id: AgentId,
    /// Whose it is.
    pub tenant: TenantId,
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

/// Where registered agents are kept. Calls block for a short time; writes are durable when they return.
pub trait AgentStore: Send + Sync + 'static {
    /// Adds an agent.
    fn insert_agent(&self, row: &AgentRow) -> Result<(), StoreError>;
    /// A tenant's agent.
    fn agent(&self, tenant: &TenantId, id: &AgentId) -> Result<Option<AgentRow>, StoreError>;
    /// All agents of a tenant, the oldest first.
    fn agents(&self, tenant: &TenantId) -> Result<Vec<AgentRow>, StoreError>;
    /// Removes an agent. False when the tenant has none of this id.
    fn remove_agent(&self, tenant: &TenantId, id: &AgentId) -> Result<bool, StoreError>;
}
