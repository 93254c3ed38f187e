//! Posted policies in memory.

use super::MemoryControl;
use crate::ids::{PolicyId, TenantId};
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

    fn policies(&self, tenant: Option<&TenantId>) -> Result<Vec<PolicyRow>, StoreError> {
        let tables = self.read();
        let of_tenant = |row: &&PolicyRow| tenant.is_none_or(|tenant| row.tenant == *tenant);
        let mut rows: Vec<_> = tables.policies.iter().filter(of_tenant).cloned().collect();
        rows.sort_by(|a, b| (&a.tenant, a.created_at, &a.id).cmp(&(&b.tenant, b.created_at, &b.id)));
        Ok(rows)
    }

    fn remove_policy(&self, tenant: &TenantId, id: &PolicyId) -> Result<bool, StoreError> {
        let mut tables = self.write();
        let before = tables.policies.len();
        tables.policies.retain(|row| row.tenant != *tenant || row.id != *id);
        Ok(tables.policies.len() < before)
    }
}
