//! Kill switches in memory.

use super::MemoryControl;
use crate::clock::Millis;
use crate::ids::{KillId, TenantId};
use crate::kill::Target;
use crate::store::{KillRow, KillStore, StoreError};

impl KillStore for MemoryControl {
    fn insert_kill(&self, row: &KillRow) -> Result<(), StoreError> {
        self.write().kills.push(row.clone());
        Ok(())
    }

    fn kills(&self, tenant: Option<&TenantId>) -> Result<Vec<KillRow>, StoreError> {
        let tables = self.read();
        Ok(tables.kills.iter().rev().filter(|row| is_of(row, tenant)).cloned().collect())
    }

    fn remove_kill(&self, id: &KillId, tenant: Option<&TenantId>) -> Result<Option<KillRow>, StoreError> {
        let mut tables = self.write();
        let place = tables.kills.iter().position(|row| row.id == *id && is_of(row, tenant));
        Ok(place.map(|place| tables.kills.remove(place)))
    }

    fn forget_killed_calls(&self, before: Millis) -> Result<(), StoreError> {
        self.write().kills.retain(|row| !matches!(row.target, Target::Call(_)) || row.at >= before);
        Ok(())
    }
}

fn is_of(row: &KillRow, tenant: Option<&TenantId>) -> bool {
    tenant.is_none_or(|tenant| row.tenant.as_ref() == Some(tenant))
}
