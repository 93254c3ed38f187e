//! Kill switches in memory.

use super::MemoryControl;
use crate::clock::Millis;
use crate::ids::KillId;
use crate::kill::Scope;
use crate::reach::Reach;
use crate::store::{KillRow, KillStore, StoreError};

impl KillStore for MemoryControl {
    fn insert_kill(&self, row: &KillRow) -> Result<(), StoreError> {
        self.write().kills.push(row.clone());
        Ok(())
    }

    fn kills(&self, reach: Option<&Reach>) -> Result<Vec<KillRow>, StoreError> {
        let tables = self.read();
        Ok(tables.kills.iter().rev().filter(|row| is_of(row, reach)).cloned().collect())
    }

    fn remove_kill(&self, id: &KillId, reach: Option<&Reach>) -> Result<Option<KillRow>, StoreError> {
        let mut tables = self.write();
        let place = tables.kills.iter().position(|row| row.id == *id && is_of(row, reach));
        Ok(place.map(|place| tables.kills.remove(place)))
    }

    fn forget_killed_calls(&self, before: Millis) -> Result<(), StoreError> {
        self.write().kills.retain(|row| !matches!(row.scope, Scope::Call(_)) || row.at >= before);
        Ok(())
    }
}

fn is_of(row: &KillRow, reach: Option<&Reach>) -> bool {
    reach.is_none_or(|reach| row.is_within(reach))
}
