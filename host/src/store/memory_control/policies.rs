//! Posted policies in memory.

use super::MemoryControl;
use crate::ids::PolicyId;
use crate::reach::Reach;
use crate::store::{PolicyRow, PolicyStore, StoreError};

impl PolicyStore for MemoryControl {
    fn insert_policy(&self, row: &PolicyRow) -> Result<(), StoreError> {
        let mut tables = self.write();
        if tables.policies.iter().any(|known| known.id == row.id) {
            return Err(StoreError::Exists(format!("the policy {}", row.id)));
        }
        tables.policies.push(row.clone());
        Ok(())
    }

    fn policies(&self, reach: Option<&Reach>) -> Result<Vec<PolicyRow>, StoreError> {
        let tables = self.read();
        let within = |row: &&PolicyRow| reach.is_none_or(|reach| row.is_within(reach));
        let mut rows: Vec<_> = tables.policies.iter().filter(within).cloned().collect();
        rows.sort_by(|a, b| (&a.tenant, a.created_at, &a.id).cmp(&(&b.tenant, b.created_at, &b.id)));
        Ok(rows)
    }

    fn remove_policy(&self, reach: &Reach, id: &PolicyId) -> Result<bool, StoreError> {
        let mut tables = self.write();
        let before = tables.policies.len();
        tables.policies.retain(|row| row.id != *id || !row.is_within(reach));
        Ok(tables.policies.len() < before)
    }
}
