//! Registered agents in memory.

use super::MemoryControl;
use crate::clock::Millis;
use crate::ids::AgentId;
use crate::reach::Reach;
use crate::store::{AgentRow, AgentStore, StoreError, TokenRow};

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

    fn remove_agent(
        &self,
        reach: &Reach,
        id: &AgentId,
        at: Millis,
    ) -> Result<Option<(AgentRow, Vec<TokenRow>)>, StoreError> {
        let mut tables = self.write();
        let found = tables.agents.iter().position(|row| row.id == *id && row.is_within(reach));
        let Some(index) = found else { return Ok(None) };
        let agent = tables.agents.remove(index);
        let revoked = tables
            .tokens
            .iter_mut()
            .filter(|row| row.agent == *id && row.is_within(reach))
            .filter(|row| row.is_valid(at))
            .map(|row| {
                row.revoked_at = Some(at);
                row.clone()
            })
            .collect();
        Ok(Some((agent, revoked)))
    }
}
