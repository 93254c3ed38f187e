//! The port for policies that were posted rather than written into a file.

use serde_json::Value;

use super::StoreError;
use crate::clock::Millis;
use crate::ids::{PolicyId, TenantId};

/// A policy that an operator of one tenant posted.
///
/// It applies to that tenant alone, whatever its text says: the engine puts it into no other tenant's set.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyRow {
    /// Its id.
    pub id: PolicyId,
    /// Whose it is.
    pub tenant: TenantId,
    /// What its author calls it.
    pub name: String,
    /// The document that it was posted as, for showing it again. The engine doesn't read it.
    pub source: Value,
    /// The Cedar text that the engine evaluates: one policy or several.
    pub cedar: String,
    /// When it was posted.
    pub created_at: Millis,
}

/// Where posted policies are kept: a part of [`ControlStore`](super::ControlStore), whose version changes with them.
pub trait PolicyStore {
    /// Adds a policy. Fails with [`StoreError::Exists`] when its id is taken. Nothing is validated here: ask
    /// [`Policy::check_stored`](crate::policy::Policy::check_stored) first.
    fn insert_policy(&self, row: &PolicyRow) -> Result<(), StoreError>;
    /// All posted policies, of one tenant where one is given, by tenant, the oldest first.
    fn policies(&self, tenant: Option<&TenantId>) -> Result<Vec<PolicyRow>, StoreError>;
    /// Removes a policy. False when the tenant has none of this id.
    fn remove_policy(&self, tenant: &TenantId, id: &PolicyId) -> Result<bool, StoreError>;
}
