//! Registered agents in memory.

use super::MemoryControl;
use crate::ids::AgentId;
use crate::reach::Reach;
use crate::store::{AgentRow, AgentStore, StoreError};

impl AgentStore for MemoryControl {
    fn insert_agent(&self, row: &AgentRow) -> Result<(), StoreError> {
        self.write().agents.push(row.clone());
        Ok(())
    }

    fn agent(&self, reach: &Reach, id: &AgentId) -> Result<Option<AgentRow>, StoreError> {
        Ok(self.read().agents.iter().find(|row| row.id == *id && row.is_within(reach)).cloned())
    }

    fn agents(&self, reach: &Reach) -> Result<Vec<AgentRow>, StoreError> {
        Ok(self.read().agents.iter().filter(|row| row.is_within(reach)).cloned().collect())
    }

    fn remove_agent(&self, reach: &Reach, id: &AgentId) -> Result<bool, StoreError> {
        let mut tables = self.write();
        let before = tables.agents.len();
        tables.agents.retain(|row| row.id != *id || !row.is_within(reach));
        Ok(tables.agents.len() < before)
    }
}
