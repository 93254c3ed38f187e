//! Why the vault couldn't do what was asked.

use super::{MasterKeyError, OWN_LABELS_MAX};
use crate::ids::TenantId;
use crate::store::StoreError;

/// Why there's no secret to attach.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// There's none, or it can't be opened. Which of both, only the log is told.
    #[error("there is no secret for this connection here")]
    NoSecret {
        /// What the operator's log says of it.
        cause: String,
    },
    /// The store couldn't be read.
    #[error("the vault can't be read: {0}")]
    Store(#[from] StoreError),
}

/// Why an operator's change to the vault, or opening it, failed.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// None of the master keys given is the vault's.
    #[error("{}", unknown_master(.tenant.as_ref(), .needed, .given))]
    UnknownMaster {
        /// The tenant whose key showed it. `None`: the vault is still empty.
        tenant: Option<TenantId>,
        /// The id of the master key that is needed.
        needed: String,
        /// The ids of those that were given.
        given: String,
    },
    /// The tenant's key doesn't open although the master key is the right one.
    #[error(
        "the key of tenant {tenant} is damaged: {cause}. Restore the database from a backup. Without one, this tenant's \
         secrets are lost: `keybearer vault replace-key {tenant}` gives it another key, to store them again under"
    )]
    DamagedTenantKey {
        /// The tenant.
        tenant: TenantId,
        /// What was found.
        cause: String,
    },
    /// A key is to be replaced for being damaged, and isn't.
    #[error("the key of tenant {0} isn't damaged, or there is none; nothing was changed")]
    NotDamaged(TenantId),
    /// The master key isn't in a file, so it can't be replaced there.
    #[error(
        "the master key comes from the environment or a passphrase: `--new-key-env` or `--new-passphrase-env` has to name \
         the new one"
    )]
    NotInAFile,
    /// The master key is in use already.
    #[error("the new master key is the one in use")]
    SameMaster,
    /// The label has a secret, and was to have none.
    #[error("this label is set already")]
    IsSet,
    /// The label has no secret, and was to have one.
    #[error("this label is not set")]
    NotSet,
    /// A user has as many secrets of its own as there may be.
    #[error("this user has {OWN_LABELS_MAX} secrets already; remove one first")]
    TooManyOwn,
    /// A master key couldn't be read or written.
    #[error(transparent)]
    MasterKey(#[from] MasterKeyError),
    /// The store couldn't be read or written.
    #[error("the vault can't be read or changed: {0}")]
    Store(#[from] StoreError),
}

impl AdminError {
    /// What it means to an operator that a tenant's key can't be had.
    pub(super) fn from_tenant_key(tenant: &TenantId, cause: Unreadable) -> Self {
        match cause {
            Unreadable::UnknownMaster(UnknownMaster { needed, given }) => {
                Self::UnknownMaster { tenant: Some(tenant.clone()), needed, given }
            }
            Unreadable::Store(error) => Self::Store(error),
            cause => Self::DamagedTenantKey { tenant: tenant.clone(), cause: cause.to_string() },
        }
    }
}

impl From<UnknownMaster> for AdminError {
    fn from(UnknownMaster { needed, given }: UnknownMaster) -> Self {
        Self::UnknownMaster { tenant: None, needed, given }
    }
}

/// A master key that isn't among those that were given.
#[derive(Debug, thiserror::Error)]
#[error("{}", unknown_master(None, .needed, .given))]
pub(super) struct UnknownMaster {
    pub(super) needed: String,
    pub(super) given: String,
}

/// Why one secret can't be read. For logs and for the operator: it tells the reasons apart.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("no such secret is stored")]
    Missing,
    #[error("its tenant has no key")]
    NoTenantKey,
    #[error(transparent)]
    UnknownMaster(#[from] UnknownMaster),
    #[error("the tenant's key doesn't open: the row is damaged, or was moved here from elsewhere")]
    TenantKey,
    #[error("the data key of version {0} doesn't open: the row is damaged, or was moved here from elsewhere")]
    DataKey(u32),
    #[error("version {0} doesn't open: the row is damaged, or was moved here from elsewhere")]
    Ciphertext(u32),
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn unknown_master(tenant: Option<&TenantId>, needed: &str, given: &str) -> String {
    let what = tenant.map_or_else(|| "the vault".to_owned(), |tenant| format!("the key of tenant {tenant}"));
    format!(
        "{what} belongs to the master key {needed}, and the host was given {given}. A passphrase is wrong, then, or the \
         key is another vault's, or the master key was rotated: start the host with the key now in use"
    )
}
