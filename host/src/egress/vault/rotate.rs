//! Another master key. Only the tenants' keys are wrapped anew; no secret is touched, and calls go on meanwhile.

use std::sync::Arc;

use super::{AdminError, MASTER_ID, MasterKey, MasterKeys, Vault, key_file};

/// What a rotation of the master key did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// The id of the master key before.
    pub from: String,
    /// The id of the one now in use.
    pub to: String,
    /// How many tenants' keys were wrapped anew.
    pub tenants: usize,
}

impl Vault {
    /// Wraps every tenant's key by `new`, in one transaction: all of them or none. From then on `new` is the key in use.
    ///
    /// Other processes have to know `new` beside their own key ([`MasterKeys::and`]) before this is called; then there's
    /// no moment at which they can't read. Those that don't know it say so, and which key they need.
    ///
    /// # Errors
    /// [`AdminError::SameMaster`]; [`AdminError::DamagedTenantKey`] when a tenant's key doesn't open, and then nothing
    /// is changed; [`AdminError::Store`], also when another process changed a tenant's key meanwhile: try again.
    pub fn rotate_master(&self, new: MasterKey) -> Result<Rotated, AdminError> {
        let from = self.masters.load().current().id().to_owned();
        if from == new.id() {
            return Err(AdminError::SameMaster);
        }
        let tenants = self.rewrap(&new)?;
        let to = new.id().to_owned();
        self.succeed(new);
        Ok(Rotated { from, to, tenants })
    }

    /// Makes a new master key in the file that the present one came from ([`MasterKeys::from_file`]) and goes over to it.
    /// The one before stays in `FILE.previous` until the next rotation. Hosts that run on the same file follow by
    /// themselves. Cut short at any moment, the two files together open everything, and the next call completes it.
    ///
    /// # Errors
    /// [`AdminError::NotInAFile`] when the key came from somewhere else, and as [`Vault::rotate_master`].
    pub fn rotate_master_file(&self) -> Result<Rotated, AdminError> {
        let path = self.masters.load().file().ok_or(AdminError::NotInAFile)?.to_owned();
        let _lock = key_file::lock(&path)?;
        // Another rotation may have ended a moment ago.
        self.masters.store(Arc::new(MasterKeys::from_file(&path)?));
        self.check_master()?;
        let masters = self.masters.load_full();
        let current = masters.current().id();
        // An earlier rotation was cut short: its key is in the file, and rows are still wrapped by the one before. They
        // have to be off that one before the file that holds it is overwritten.
        let behind = self.store.tenant_keys()?.into_iter().find(|row| row.master != current);
        if let Some(row) = behind {
            let tenants = self.rewrap(masters.current())?;
            return Ok(Rotated { from: row.master, to: current.to_owned(), tenants });
        }
        let new = key_file::replace(&path)?;
        let tenants = self.rewrap(&new)?;
        let to = new.id().to_owned();
        self.succeed(new);
        Ok(Rotated { from: current.to_owned(), to, tenants })
    }

    fn rewrap(&self, new: &MasterKey) -> Result<usize, AdminError> {
        let was = self.store.tenant_keys()?;
        let mut now = Vec::with_capacity(was.len());
        for row in &was {
            let key = self
                .unwrap_tenant_key(&row.tenant, row)
                .map_err(|cause| AdminError::from_tenant_key(&row.tenant, cause))?;
            now.push(new.wrap(&row.tenant, &key));
        }
        self.store.replace_tenant_keys(&was, &now)?;
        self.store.set_setting(MASTER_ID, new.id().as_bytes())?;
        Ok(now.len())
    }

    /// Puts `new` in the place of the key in use, and keeps that one: a row that was read before may still need it.
    fn succeed(&self, new: MasterKey) {
        let masters = self.masters.load().succeeded_by(new);
        self.masters.store(Arc::new(masters));
    }
}
