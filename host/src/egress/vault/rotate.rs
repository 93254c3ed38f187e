//! Another master key. Every tenant gets a new key, which is wrapped by it together with those before; no secret is touched,
//! and calls go on meanwhile.

use std::sync::Arc;

use super::error::Unreadable;
use super::{AdminError, MASTER_ID, MasterKey, Vault, key_file};
use crate::ids::TenantId;
use crate::store::TenantKeyRow;

/// What a rotation of the master key did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// The id of the master key before.
    pub from: String,
    /// The id of the one now in use.
    pub to: String,
    /// How many tenants' keys were wrapped anew.
    pub tenants: usize,
    /// The tenants whose keys are damaged: there was nothing to wrap.
    pub damaged: Vec<TenantId>,
}

impl Vault {
    /// Gives every tenant a new key beside those it has, and wraps them by `new`, in one transaction: all of them or none.
    /// From then on `new` is the key in use. A damaged key stays as it is: for its sake, no other tenant has to stay with a
    /// master key that leaked.
    ///
    /// Other processes have to know `new` beside their own key ([`MasterKeys::and`](super::MasterKeys::and)) before this is
    /// called; then there's no moment at which they can't read. Those that don't know it say so, and which key they need
    /// ([`Vault::check_in_use`]).
    ///
    /// # Errors
    /// [`AdminError::SameMaster`]; [`AdminError::UnknownMaster`] when a tenant's key is wrapped by a master key that this
    /// host doesn't have; [`AdminError::Store`], also when another process changed a tenant's key meanwhile: try again.
    pub fn rotate_master(&self, new: MasterKey) -> Result<Rotated, AdminError> {
        let from = self.in_use()?;
        if from == new.id() && self.not_wrapped_by(new.id())?.is_empty() {
            return Err(AdminError::SameMaster);
        }
        let (tenants, damaged) = self.rewrap(&new)?;
        let to = new.id().to_owned();
        self.succeed(new);
        Ok(Rotated { from, to, tenants, damaged })
    }

    /// Makes a new master key in the file that the present one came from
    /// ([`MasterKeys::from_file`](super::MasterKeys::from_file)) and goes over to it. The one before stays in
    /// `FILE.previous` until the next rotation. Hosts that run on the same file follow by themselves. Cut short at any
    /// moment, the two files together open everything, and the next call completes it before it makes another key.
    ///
    /// # Errors
    /// [`AdminError::NotInAFile`] when the key came from somewhere else, and as [`Vault::rotate_master`].
    pub fn rotate_master_file(&self) -> Result<Rotated, AdminError> {
        let path = self.masters.load().file().ok_or(AdminError::NotInAFile)?.to_owned();
        let _lock = key_file::lock(&path)?;
        // Another rotation may have ended a moment ago.
        let masters = Arc::new(self.masters.load().read_again(&path)?);
        self.masters.store(Arc::clone(&masters));
        self.check_master()?;
        let (from, current) = (self.in_use()?, masters.current());
        // An earlier rotation was cut short: its key is in the file, and rows are still wrapped by the one before. They
        // have to be off that one before the file that holds it is overwritten.
        if from != current.id() || !self.not_wrapped_by(current.id())?.is_empty() {
            self.rewrap(current)?;
        }
        let new = key_file::replace(&path)?;
        let (tenants, damaged) = self.rewrap(&new)?;
        let to = new.id().to_owned();
        self.succeed(new);
        Ok(Rotated { from, to, tenants, damaged })
    }

    /// Answers how many tenants' keys were wrapped, and which are damaged.
    fn rewrap(&self, new: &MasterKey) -> Result<(usize, Vec<TenantId>), AdminError> {
        let was = self.store.tenant_keys()?;
        let (mut now, mut damaged) = (Vec::with_capacity(was.len()), Vec::new());
        for row in &was {
            now.push(match self.unwrap_tenant_key(&row.tenant, row) {
                Ok(key) => new.wrap(&row.tenant, &key.renewed()),
                // With the id of a master key that a host no longer has, it would keep that from opening the vault.
                Err(Unreadable::TenantKey) => {
                    damaged.push(row.tenant.clone());
                    TenantKeyRow { master: new.id().to_owned(), ..row.clone() }
                }
                Err(cause) => return Err(AdminError::from_tenant_key(&row.tenant, cause)),
            });
        }
        self.store.replace_tenant_keys(&was, &now, MASTER_ID, new.id())?;
        Ok((now.len() - damaged.len(), damaged))
    }

    /// Puts `new` in the place of the key in use, and keeps that one: a row that was read before may still need it.
    fn succeed(&self, new: MasterKey) {
        let masters = self.masters.load().succeeded_by(new);
        self.masters.store(Arc::new(masters));
    }
}
