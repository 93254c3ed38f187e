//! Users' own secrets: what a person gave an agent's application, to be used for that person alone.
//!
//! They're sealed as an operator's are, each for its user. Only the newest version of one is kept: whoever puts a new one
//! in its place wants the old one gone.

use std::collections::BTreeSet;

use super::{AdminError, Named, SecretInfo, SecretInput, Vault};
use crate::ids::{Realm, SecretLabel, UserId};
use crate::store::StoreError;

/// At most so many labels of one user in a realm: an agent that may store some can't fill the database.
pub const OWN_LABELS_MAX: usize = 100;

impl Vault {
    /// Stores a user's own secret as the next version of its label and answers that version. The one before stays until
    /// [`Vault::keep_own`].
    ///
    /// # Errors
    /// As for [`Vault::put`], and [`AdminError::TooManyOwn`].
    pub fn put_own(
        &self,
        realm: &Realm,
        user: &UserId,
        label: &SecretLabel,
        value: &SecretInput,
    ) -> Result<u32, AdminError> {
        self.check_room(realm, user, label)?;
        self.put_named(Named { realm, user: Some(user), label }, value, None)
    }

    /// Whether a user has this label already, or has room for another one.
    pub(super) fn check_room(
        &self,
        realm: &Realm,
        user: &UserId,
        label: &SecretLabel,
    ) -> Result<(), AdminError> {
        let labels: BTreeSet<_> =
            self.store.user_secrets(realm, user)?.into_iter().map(|row| row.label).collect();
        if labels.len() >= OWN_LABELS_MAX && !labels.contains(label) {
            return Err(AdminError::TooManyOwn);
        }
        Ok(())
    }

    /// Removes every version of a user's own secret before this one. One that was stored after it stays: of two that
    /// come at once, each removes what is older than itself, and the newest is left.
    ///
    /// # Errors
    /// [`AdminError::Store`].
    pub fn keep_own(
        &self,
        realm: &Realm,
        user: &UserId,
        label: &SecretLabel,
        version: u32,
    ) -> Result<(), AdminError> {
        for row in self.store.user_secrets(realm, user)? {
            if row.label == *label && row.version < version {
                self.remove_own(realm, user, label, Some(row.version))?;
            }
        }
        Ok(())
    }

    /// A user's own secrets, by label and version.
    ///
    /// # Errors
    /// [`AdminError::Store`].
    pub fn own(&self, realm: &Realm, user: &UserId) -> Result<Vec<SecretInfo>, AdminError> {
        Ok(self.store.user_secrets(realm, user)?.into_iter().map(SecretInfo::from).collect())
    }

    /// Removes one version of a user's own secret, or all of them, and answers how many there were.
    ///
    /// # Errors
    /// [`AdminError::Store`].
    pub fn remove_own(
        &self,
        realm: &Realm,
        user: &UserId,
        label: &SecretLabel,
        version: Option<u32>,
    ) -> Result<u32, AdminError> {
        Ok(self.store.remove_secret(realm, Some(user), label, version)?)
    }

    /// The version of a secret that would be attached now: a user's own, or an operator's for `None`. `None` is answered
    /// where there's no such secret. Whether it opens isn't looked at.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn newest_version(
        &self,
        realm: &Realm,
        user: Option<&UserId>,
        label: &SecretLabel,
    ) -> Result<Option<u32>, StoreError> {
        Ok(self.store.newest_secret(realm, user, label)?.map(|row| row.version))
    }
}
