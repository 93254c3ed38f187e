//! Tenants' keys. Every rotation of the master key gives each tenant a new one, which wraps from then on; those before it
//! stay, and open what they wrapped. So who had a master key and a database opens nothing that is stored after a rotation.

use std::iter;

use zeroize::Zeroizing;

use super::error::Unreadable;
use super::seal::{KEY_BYTES, Place, SealingKey, Unopenable};
use super::{ATTEMPTS_MAX, AdminError, MASTER_ID, Vault};
use crate::ids::TenantId;
use crate::store::{StoreError, TenantKeyRow};

/// The keys of one tenant. No `Debug`, no `Clone`; zeroized when dropped.
pub(super) struct TenantKey {
    newest: SealingKey,
    /// Those before it, the newest first.
    before: Vec<SealingKey>,
}

impl TenantKey {
    /// A random key.
    pub(super) fn fresh() -> Self {
        Self { newest: SealingKey::fresh(), before: Vec::new() }
    }

    /// A new random key before these.
    pub(super) fn renewed(self) -> Self {
        let Self { newest, mut before } = self;
        before.insert(0, newest);
        Self { newest: SealingKey::fresh(), before }
    }

    /// Encrypts a data key under the newest one.
    pub(super) fn wrap(&self, place: &Place, key: &SealingKey) -> Vec<u8> {
        self.newest.wrap(place, key)
    }

    /// Decrypts a data key that any of them wrapped for the same place.
    pub(super) fn unwrap(&self, place: &Place, wrapped: &[u8]) -> Result<SealingKey, Unopenable> {
        self.all().find_map(|key| key.unwrap(place, wrapped).ok()).ok_or(Unopenable)
    }

    /// All of them, encrypted under a master key.
    pub(super) fn wrapped(&self, by: &SealingKey, place: &Place) -> Vec<u8> {
        // There's room for all from the start: growing would leave copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(KEY_BYTES * (1 + self.before.len())));
        self.all().for_each(|key| bytes.extend_from_slice(key.bytes()));
        by.seal(place, &bytes)
    }

    /// What [`TenantKey::wrapped`] encrypted for the same place.
    pub(super) fn unwrapped(by: &SealingKey, place: &Place, wrapped: &[u8]) -> Result<Self, Unopenable> {
        let bytes = by.open(place, wrapped)?;
        let (newest, before) = bytes.split_first_chunk::<KEY_BYTES>().ok_or(Unopenable)?;
        let (before, rest) = before.as_chunks::<KEY_BYTES>();
        if !rest.is_empty() {
            return Err(Unopenable);
        }
        Ok(Self { newest: SealingKey::of(newest), before: before.iter().map(SealingKey::of).collect() })
    }

    fn all(&self) -> impl Iterator<Item = &SealingKey> {
        iter::once(&self.newest).chain(&self.before)
    }
}

impl Vault {
    /// The tenant's key, made if it has none yet.
    pub(super) fn ensure_tenant_key(&self, tenant: &TenantId) -> Result<TenantKey, AdminError> {
        let row = match self.store.tenant_key(tenant)? {
            Some(row) => row,
            None => self.add_tenant_key(tenant)?,
        };
        self.unwrap_tenant_key(tenant, &row).map_err(|cause| AdminError::from_tenant_key(tenant, cause))
    }

    /// The key in a tenant's row.
    pub(super) fn unwrap_tenant_key(
        &self,
        tenant: &TenantId,
        row: &TenantKeyRow,
    ) -> Result<TenantKey, Unreadable> {
        self.master(&row.master)?.unwrap(tenant, row).map_err(|_| Unreadable::TenantKey)
    }

    /// Gives a tenant whose key is damaged a new one. What the damaged key wrapped can't be read afterwards either.
    ///
    /// # Errors
    /// [`AdminError::NotDamaged`] when the tenant's key opens, or it has none; [`AdminError::UnknownMaster`];
    /// [`AdminError::Store`], also when another process changed a tenant's key meanwhile: try again.
    pub fn replace_damaged_key(&self, tenant: &TenantId) -> Result<(), AdminError> {
        let was = self.store.tenant_keys()?;
        let row = was.iter().find(|row| row.tenant == *tenant);
        match row.map(|row| self.unwrap_tenant_key(tenant, row)) {
            Some(Err(Unreadable::TenantKey)) => {}
            Some(Err(cause)) => return Err(AdminError::from_tenant_key(tenant, cause)),
            None | Some(Ok(_)) => return Err(AdminError::NotDamaged(tenant.clone())),
        }
        // A rotation since the rows were read has changed them all, so that nothing is replaced.
        let master = self.master(&self.in_use()?)?;
        let fresh = master.wrap(tenant, &TenantKey::fresh());
        Ok(self.store.replace_tenant_keys(&was, &[fresh], MASTER_ID, master.id())?)
    }

    /// INVARIANT (in use): a tenant's key is added only while the master key that wraps it is the one in use. Where another
    /// process rotates it at this moment, the next one wraps.
    fn add_tenant_key(&self, tenant: &TenantId) -> Result<TenantKeyRow, AdminError> {
        for _ in 0..ATTEMPTS_MAX {
            let fresh = self.master(&self.in_use()?)?.wrap(tenant, &TenantKey::fresh());
            if let Some(row) = self.store.ensure_tenant_key(&fresh, MASTER_ID)? {
                return Ok(row);
            }
        }
        Err(StoreError::Failed("others keep rotating the master key; try again".to_owned()).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place::tenant_key(&"acme".parse().unwrap(), "mk_1")
    }

    #[test]
    fn the_newest_wraps_and_each_opens_what_it_wrapped() {
        let (master, data, place) = (SealingKey::fresh(), SealingKey::fresh(), place());
        let mut key = TenantKey::fresh();
        let mut wrapped = Vec::new();
        for round in 0..4 {
            wrapped.push(key.wrap(&place, &data));
            let earlier = key.wrapped(&master, &place);
            key = key.renewed();
            assert!(wrapped.iter().all(|wrapped| key.unwrap(&place, wrapped).is_ok()), "{round}");
            let earlier = TenantKey::unwrapped(&master, &place, &earlier).ok().unwrap();
            assert!(earlier.unwrap(&place, &key.wrap(&place, &data)).is_err(), "{round}");
        }
        let again = TenantKey::unwrapped(&master, &place, &key.wrapped(&master, &place)).ok().unwrap();
        assert!(wrapped.iter().all(|wrapped| again.unwrap(&place, wrapped).is_ok()));
        assert!(key.unwrap(&place, &again.wrap(&place, &data)).is_ok(), "the newest comes first again");
    }

    #[test]
    fn what_is_no_row_of_keys_is_refused() {
        let (master, place) = (SealingKey::fresh(), place());
        for length in [0, 16, 31, 33, 63] {
            let sealed = master.seal(&place, &vec![7_u8; length]);
            assert!(TenantKey::unwrapped(&master, &place, &sealed).is_err(), "{length}");
        }
        // A single one is what every tenant begins with.
        let single = master.wrap(&place, &SealingKey::fresh());
        assert!(TenantKey::unwrapped(&master, &place, &single).is_ok());
    }
}
