//! Registered agents in memory.

use super::MemoryControl;
use crate::ids::{AgentId, TenantId};
use crate::store::{AgentRow, AgentStore, StoreError};

impl AgentStore for MemoryControl {
    fn insert_agent(&self, row: &AgentRow) -> Result<(), StoreError> {
        self.write().agents.push(row.clone());
        Ok(())
    }

    fn agent(&self, tenant: &TenantId, id: &AgentId) -> Result<Option<AgentRow>, StoreError> {
        Ok(self.read().agents.iter().find(|row| row.tenant == *tenant && row.id == *id).cloned())
    }

    fn agents(&self, tenant: &TenantId) -> Result<Vec<AgentRow>, StoreError> {
        Ok(self.read().agents.iter().filter(|row| row.tenant == *tenant).cloned().collect())
    }

    fn remove_agent(&self, tenant: &TenantId, id: &AgentId) -> Result<bool, StoreError> {
        let mut tables = self.write();
        let before = tables.agents.len();
        tables.agents.retain(|row| row.tenant != *tenant || row.id != *id);
        Ok(tables.agents.len() < before)
    }
}
