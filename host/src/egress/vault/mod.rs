//! Secrets at rest.
//!
//! ```text
//! master key ── wraps ─→ tenant's key ── wraps ─→ data key ── encrypts ─→ one version of one secret
//! ```
//!
//! Another master key brings every tenant another key (`rotate`, `tenant`).
//!
//! AES-256-GCM throughout; each ciphertext is bound to its purpose, tenant, environment, label and version, and to the
//! user whose own it is (`own`). The vault is write-only towards everyone but `egress`: nothing public gives a secret back.

mod cache;
mod check;
mod error;
mod input;
mod key_file;
mod master;
mod note;
mod own;
mod passphrase;
mod rotate;
mod seal;
mod tenant;
#[cfg(test)]
mod tests;

pub use check::Finding;
pub use error::{AdminError, VaultError};
pub use input::{InvalidSecret, SECRET_BYTES_MAX, SECRET_BYTES_MIN, SecretInput};
pub(crate) use key_file::belongs_to_key;
pub use master::{MasterKey, MasterKeyError, MasterKeys};
pub use note::NoteError;
pub use own::OWN_LABELS_MAX;
pub use passphrase::PASSPHRASE_CHARS_MIN;
pub use rotate::Rotated;

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;

use self::cache::Cache;
use self::error::{UnknownMaster, Unreadable};
use self::seal::{Place, SealingKey};
use super::Secret;
use crate::clock::{Clock, Millis};
use crate::ids::{Realm, SecretLabel, TenantId, UserId};
use crate::store::{ControlStore, SecretRow, StoreError};

/// Under which name the store keeps the id of the master key in use, from before the first tenant has a key on.
const MASTER_ID: &str = "vault.master";
/// How often something is tried again when another process was quicker.
const ATTEMPTS_MAX: u32 = 16;

/// The secrets of all tenants.
pub struct Vault {
    store: Arc<dyn ControlStore>,
    masters: ArcSwap<MasterKeys>,
    clock: Arc<dyn Clock>,
    cache: Cache,
}

/// What may be told of a stored secret: never a byte of it, nor its length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretInfo {
    /// Whose it is.
    pub realm: Realm,
    /// The person whose own it is; `None` for an operator's.
    pub user: Option<UserId>,
    /// Its name.
    pub label: SecretLabel,
    /// Its version, from 1. The highest one of a label is in use.
    pub version: u32,
    /// When it was stored.
    pub created_at: Millis,
}

/// How a label has to be for a secret to be put under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// None is stored under it.
    New,
    /// One is stored under it.
    Known,
}

/// Which secret is meant. A user's own and an operator's of one label are two, in the store and in what seals them.
#[derive(Debug, Clone, Copy)]
pub(in crate::egress) struct Named<'a> {
    pub(in crate::egress) realm: &'a Realm,
    /// The person whose own it is; `None` for an operator's.
    pub(in crate::egress) user: Option<&'a UserId>,
    pub(in crate::egress) label: &'a SecretLabel,
}

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.user {
            None => write!(f, "{} {}", self.realm, self.label),
            Some(user) => write!(f, "{} {} of the user {user}", self.realm, self.label),
        }
    }
}

impl Vault {
    /// Opens the vault in `store` with one master key, or with several ([`MasterKeys`]). The first key that ever opens
    /// an empty vault becomes its master key.
    ///
    /// # Errors
    /// [`AdminError::UnknownMaster`] when a tenant's key is wrapped by a master key that isn't among these: a wrong
    /// passphrase, or a rotated key. A damaged row isn't an error here: its own secrets can't be read, all others
    /// can (the log and [`Vault::check`] name it).
    pub fn open(
        store: Arc<dyn ControlStore>,
        masters: impl Into<MasterKeys>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, AdminError> {
        let vault =
            Self { store, masters: ArcSwap::from_pointee(masters.into()), clock, cache: Cache::default() };
        vault.check_master()?;
        Ok(vault)
    }

    /// Stores a secret as the next version of its label and answers that version. Earlier versions stay until they're
    /// removed. A number is never used twice, not even after a removal.
    ///
    /// # Errors
    /// [`AdminError::DamagedTenantKey`] when the tenant's key can't be opened, [`AdminError::UnknownMaster`] when the master
    /// key was rotated to one that this host doesn't have; [`AdminError::Store`].
    pub fn put(&self, realm: &Realm, label: &SecretLabel, value: &SecretInput) -> Result<u32, AdminError> {
        self.put_named(Named { realm, user: None, label }, value, None)
    }

    /// As [`Self::put`], or as [`Self::put_own`] for a user, if the label is as `expected` at that moment: of several that
    /// store a new one at once, one does.
    ///
    /// # Errors
    /// As for those, and [`AdminError::IsSet`] or [`AdminError::NotSet`].
    pub fn put_if(
        &self,
        expected: Expected,
        realm: &Realm,
        user: Option<&UserId>,
        label: &SecretLabel,
        value: &SecretInput,
    ) -> Result<u32, AdminError> {
        if let Some(user) = user {
            self.check_room(realm, user, label)?;
        }
        self.put_named(Named { realm, user, label }, value, Some(expected))
    }

    pub(super) fn put_named(
        &self,
        named: Named<'_>,
        value: &SecretInput,
        expected: Option<Expected>,
    ) -> Result<u32, AdminError> {
        let Named { realm, user, label } = named;
        let tenant_key = self.ensure_tenant_key(&realm.tenant)?;
        for _ in 0..ATTEMPTS_MAX {
            // INVARIANT (expected): the number is read before the newest row. One that is stored after the number was read
            // is seen there, or has taken the number.
            let given_out = self.store.setting(&last_version_name(named))?;
            let newest = self.store.newest_secret(realm, user, label)?;
            match (expected, &newest) {
                (Some(Expected::New), Some(_)) => return Err(AdminError::IsSet),
                (Some(Expected::Known), None) => return Err(AdminError::NotSet),
                _ => {}
            }
            let version = next_version(named, given_out.as_deref(), newest.as_ref())?;
            let data_key = SealingKey::fresh();
            let row = SecretRow {
                realm: realm.clone(),
                user: user.cloned(),
                label: label.clone(),
                version,
                wrapped_key: tenant_key.wrap(&Place::data_key(named, version), &data_key),
                ciphertext: data_key.seal(&Place::secret(named, version), value.expose()),
                created_at: self.clock.now(),
            };
            // With the row: a number that was given out stays taken even if the row is removed again.
            match self.store.insert_next_secret(&row, &last_version_name(named), given_out.as_deref()) {
                Err(StoreError::Exists(_)) => {}
                done => return Ok(done.map(|()| version)?),
            }
        }
        Err(StoreError::Failed(format!("others keep storing the secret {label}; try again")).into())
    }

    /// Every stored version, of one tenant where one is given, by realm, user (an operator's first), label and version.
    ///
    /// # Errors
    /// [`AdminError::Store`].
    pub fn list(&self, tenant: Option<&TenantId>) -> Result<Vec<SecretInfo>, AdminError> {
        Ok(self.store.secrets(tenant)?.into_iter().map(SecretInfo::from).collect())
    }

    /// Removes one version, or all of them, and answers how many there were. When the newest one goes and an older one
    /// stays, that one is in use from then on.
    ///
    /// # Errors
    /// [`AdminError::Store`].
    pub fn remove(
        &self,
        realm: &Realm,
        label: &SecretLabel,
        version: Option<u32>,
    ) -> Result<u32, AdminError> {
        Ok(self.store.remove_secret(realm, None, label, version)?)
    }

    /// The newest version of a secret, in clear. Kept until the store changes.
    ///
    /// # Errors
    /// [`VaultError::NoSecret`] when there's none and when it can't be opened, whatever the reason;
    /// [`VaultError::Store`] when the store can't be read.
    pub(in crate::egress) fn newest(&self, named: Named<'_>) -> Result<Arc<Secret>, VaultError> {
        // The version first, as in `auth`: what is read after it is never older.
        let version = self.store.version()?;
        if let Some(secret) = self.cache.get(version, named) {
            return Ok(secret);
        }
        let secret = match self.read_newest(named) {
            Ok(secret) => Arc::new(secret),
            // A damaged row is one that can't be opened; anything else is the store's own trouble.
            Err(Unreadable::Store(error)) if !matches!(error, StoreError::Damaged(_)) => {
                return Err(error.into());
            }
            Err(cause) => return Err(VaultError::NoSecret { cause: format!("{named}: {cause}") }),
        };
        self.cache.put(version, named, Arc::clone(&secret));
        Ok(secret)
    }

    fn read_newest(&self, named: Named<'_>) -> Result<Secret, Unreadable> {
        let Named { realm, user, label } = named;
        let row = self.store.newest_secret(realm, user, label)?.ok_or(Unreadable::Missing)?;
        self.unseal(named, &row)
    }

    /// Opens a row as the one that was asked for. What the row says of its own realm, user and label doesn't count: a
    /// store that was tampered with could answer with another label's row, and that would open.
    fn unseal(&self, named: Named<'_>, row: &SecretRow) -> Result<Secret, Unreadable> {
        let tenant = &named.realm.tenant;
        let key_row = self.store.tenant_key(tenant)?.ok_or(Unreadable::NoTenantKey)?;
        let tenant_key = self.unwrap_tenant_key(tenant, &key_row)?;
        let data_key = tenant_key
            .unwrap(&Place::data_key(named, row.version), &row.wrapped_key)
            .map_err(|_| Unreadable::DataKey(row.version))?;
        let bytes = data_key
            .open(&Place::secret(named, row.version), &row.ciphertext)
            .map_err(|_| Unreadable::Ciphertext(row.version))?;
        Ok(Secret::new(bytes, row.version))
    }

    /// Whether the master key in use is one that this host has.
    ///
    /// # Errors
    /// [`AdminError::UnknownMaster`] when it was rotated to one that this host doesn't have; [`AdminError::Store`].
    pub fn check_in_use(&self) -> Result<(), AdminError> {
        self.master(&self.in_use()?)?;
        Ok(())
    }

    /// The id of the master key in use. The first that ever opens an empty vault is taken into use.
    ///
    /// # Errors
    /// When the store can't be read, or written the first time.
    pub fn in_use(&self) -> Result<String, StoreError> {
        let id = match self.store.setting(MASTER_ID)? {
            Some(id) => id,
            None => self.store.ensure_setting(MASTER_ID, self.masters.load().current().id().as_bytes())?,
        };
        Ok(String::from_utf8_lossy(&id).into_owned())
    }

    /// The master key with this id.
    fn master(&self, id: &str) -> Result<Arc<MasterKey>, UnknownMaster> {
        let mut masters = self.masters.load_full();
        if masters.find(id).is_none() {
            // A rotation by another process puts the new key into the file before it uses it.
            if let Some(again) = masters.file().and_then(|file| masters.read_again(file).ok()) {
                masters = Arc::new(again);
                self.masters.store(Arc::clone(&masters));
            }
        }
        masters.find(id).ok_or_else(|| UnknownMaster { needed: id.to_owned(), given: masters.ids() })
    }

    /// Whether the master keys given are this vault's.
    fn check_master(&self) -> Result<(), AdminError> {
        let rows = self.store.tenant_keys()?;
        for row in &rows {
            match self.unwrap_tenant_key(&row.tenant, row) {
                Ok(_) => {}
                Err(unknown @ Unreadable::UnknownMaster(_)) => {
                    return Err(AdminError::from_tenant_key(&row.tenant, unknown));
                }
                Err(cause) => {
                    tracing::error!(tenant = %row.tenant, %cause, "this tenant's secrets can't be read")
                }
            }
        }
        let first = match (self.check_in_use(), rows.first()) {
            (Err(AdminError::UnknownMaster { .. }), Some(first)) => first,
            // No tenant's key tells yet whether a passphrase is the right one; this does.
            (checked, _) => return checked,
        };
        // A rotation was cut short between the two commits that it was in earlier versions.
        if rows.iter().all(|row| row.master == first.master) {
            self.store.replace_tenant_keys(&rows, &rows, MASTER_ID, &first.master)?;
        }
        Ok(())
    }
}

impl From<SecretRow> for SecretInfo {
    fn from(row: SecretRow) -> Self {
        let SecretRow { realm, user, label, version, created_at, .. } = row;
        Self { realm, user, label, version, created_at }
    }
}

/// The number after the last one that was given out, as the store has it, and after the newest row's.
fn next_version(
    named: Named<'_>,
    given_out: Option<&[u8]>,
    newest: Option<&SecretRow>,
) -> Result<u32, StoreError> {
    let last = match given_out {
        None => 0,
        Some(text) => std::str::from_utf8(text)
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| StoreError::Damaged(format!("the setting {}", last_version_name(named))))?,
    };
    newest
        .map_or(0, |row| row.version)
        .max(last)
        .checked_add(1)
        .ok_or_else(|| StoreError::Failed(format!("the secret {} has no version numbers left", named.label)))
}

/// Under which name the store keeps the highest version number that a label ever had. No part of it holds a slash.
fn last_version_name(named: Named<'_>) -> String {
    let Named { realm, user, label } = named;
    match user {
        None => format!("vault.last-version:{realm}/{label}"),
        Some(user) => format!("vault.last-user-version:{realm}/{user}/{label}"),
    }
}
