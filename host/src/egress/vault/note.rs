//! Business data that isn't a secret to be attached, and still none of a database thief's business.
//!
//! ```text
//! tenant's key ── wraps ─→ data key ── encrypts ─→ one note
//! ```

use zeroize::Zeroizing;

use super::error::Unreadable;
use super::seal::{Place, SealingKey, Unopenable};
use super::{AdminError, Vault};
use crate::ids::Realm;
use crate::store::StoreError;

/// The length of a wrapped data key: nonce, key, tag.
const WRAPPED_BYTES: usize = 12 + 32 + 16;

/// Why a note can't be read.
#[derive(Debug, thiserror::Error)]
pub enum NoteError {
    /// It was changed, moved, or sealed for something else, or its tenant's key can't be had.
    #[error("the note doesn't open: {0}")]
    Unopenable(String),
    /// The store couldn't be read.
    #[error("the vault can't be read: {0}")]
    Store(#[from] StoreError),
}

impl Vault {
    /// Seals a note with its tenant's key. It opens for the same realm and the same `about` alone.
    ///
    /// # Errors
    /// [`AdminError::DamagedTenantKey`] when the tenant's key can't be opened; [`AdminError::Store`].
    pub fn seal_note(&self, realm: &Realm, about: &str, note: &[u8]) -> Result<Vec<u8>, AdminError> {
        let (tenant_key, place) = (self.ensure_tenant_key(&realm.tenant)?, Place::note(realm, about));
        let data_key = SealingKey::fresh();
        let mut sealed = tenant_key.wrap(&place, &data_key);
        sealed.extend(data_key.seal(&place, note));
        Ok(sealed)
    }

    /// Opens a note.
    ///
    /// # Errors
    /// [`NoteError`].
    pub fn open_note(
        &self,
        realm: &Realm,
        about: &str,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, NoteError> {
        let row = self.store.tenant_key(&realm.tenant)?.ok_or(Unreadable::NoTenantKey)?;
        let tenant_key = self.unwrap_tenant_key(&realm.tenant, &row)?;
        let place = Place::note(realm, about);
        let (wrapped, sealed) = sealed.split_at_checked(WRAPPED_BYTES).ok_or(Unopenable)?;
        Ok(tenant_key.unwrap(&place, wrapped)?.open(&place, sealed)?)
    }
}

impl From<Unopenable> for NoteError {
    fn from(_: Unopenable) -> Self {
        Self::Unopenable("it was changed, or it belongs elsewhere".to_owned())
    }
}

impl From<Unreadable> for NoteError {
    fn from(cause: Unreadable) -> Self {
        match cause {
            Unreadable::Store(error) => Self::Store(error),
            cause => Self::Unopenable(cause.to_string()),
        }
    }
}
