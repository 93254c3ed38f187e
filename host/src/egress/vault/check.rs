//! Looks at every row: what `doctor` reports of the vault.

use super::{AdminError, Named, Vault};
use crate::ids::{Realm, SecretLabel, TenantId, UserId};
use crate::store::StoreError;

/// A stored secret that can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Whose it is.
    pub realm: Realm,
    /// The person whose own it is; `None` for an operator's.
    pub user: Option<UserId>,
    /// Its name.
    pub label: SecretLabel,
    /// Its version.
    pub version: u32,
    /// Why it can't be read.
    pub cause: String,
}

impl Vault {
    /// Opens every version of every secret, drops it at once, and answers those that don't open.
    ///
    /// # Errors
    /// [`AdminError::Store`] when the rows can't be listed.
    pub fn check(&self) -> Result<Vec<Finding>, AdminError> {
        let rows = self.store.secrets(None)?;
        let finding = |row: crate::store::SecretRow| {
            let named = Named { realm: &row.realm, user: row.user.as_ref(), label: &row.label };
            let cause = self.unseal(named, &row).err()?.to_string();
            Some(Finding { realm: row.realm, user: row.user, label: row.label, version: row.version, cause })
        };
        Ok(rows.into_iter().filter_map(finding).collect())
    }

    /// The tenants whose keys another master key wraps than the one that was given first: a rotation was cut short, or went
    /// over to a key that was given beside it.
    ///
    /// # Errors
    /// [`AdminError::Store`] when the rows can't be listed.
    pub fn on_other_masters(&self) -> Result<Vec<TenantId>, AdminError> {
        Ok(self.not_wrapped_by(self.masters.load().current().id())?)
    }

    /// The tenants whose keys another master key wraps than this one.
    pub(super) fn not_wrapped_by(&self, master: &str) -> Result<Vec<TenantId>, StoreError> {
        let rows = self.store.tenant_keys()?;
        Ok(rows.into_iter().filter(|row| row.master != master).map(|row| row.tenant).collect())
    }
}
