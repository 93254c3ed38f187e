//! The port for policies that were posted rather than written into a file.

use serde_json::Value;

use super::StoreError;
use crate::clock::Millis;
use crate::ids::{Environment, PolicyId, TenantId};
use crate::reach::Reach;

/// A policy that an operator posted.
///
/// It applies to that tenant and environment alone, whatever its text says: the engine puts it into no other's set.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyRow {
    /// Its id.
    pub id: PolicyId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Where it applies. `None`: in every environment.
    pub environment: Option<Environment>,
    /// What its author calls it.
    pub name: String,
    /// The document that it was posted as, for showing it again. The engine doesn't read it.
    pub source: Value,
    /// The Cedar text that the engine evaluates: one policy or several.
    pub cedar: String,
    /// When it was posted.
    pub created_at: Millis,
}

impl PolicyRow {
    /// Whether an operator who reaches this far may see and remove it.
    #[must_use]
    pub fn is_within(&self, reach: &Reach) -> bool {
        reach.covers_part(&self.tenant, self.environment.as_ref())
    }
}

/// Where posted policies are kept: a part of [`ControlStore`](super::ControlStore), whose version changes with them.
pub trait PolicyStore {
    /// Adds a policy. Fails with [`StoreError::Exists`] when its id is taken. Nothing is validated here: ask
    /// [`Policy::check_stored`](crate::policy::Policy::check_stored) first.
    fn insert_policy(&self, row: &PolicyRow) -> Result<(), StoreError>;
    /// All posted policies, those within a reach where one is given, by tenant, the oldest first.
    fn policies(&self, reach: Option<&Reach>) -> Result<Vec<PolicyRow>, StoreError>;
    /// Removes a policy. False when none of this id is within reach.
    fn remove_policy(&self, reach: &Reach, id: &PolicyId) -> Result<bool, StoreError>;
}
