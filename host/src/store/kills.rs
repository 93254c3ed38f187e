//! Kill switches, behind a port.

use super::StoreError;
use crate::clock::Millis;
use crate::ids::{Environment, KillId, TenantId};
use crate::kill::{Reason, Scope};
use crate::reach::Reach;

/// A switch in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KillRow {
    /// Its id, by which it's lifted.
    pub id: KillId,
    /// Whose calls it stops. `None`: every tenant's.
    pub tenant: Option<TenantId>,
    /// In this environment only.
    pub environment: Option<Environment>,
    /// What it stops.
    pub scope: Scope,
    /// Why, for operators.
    pub reason: Reason,
    /// Who threw it: a token id, or `cli`.
    pub by: String,
    /// When.
    pub at: Millis,
}

/// The switches in force. What was lifted is in the audit trail alone. Calls block for a short time; writes are durable
/// when they return, and change [`version`](super::ControlStore::version).
pub trait KillStore: Send + Sync + 'static {
    /// Adds a switch.
    fn insert_kill(&self, row: &KillRow) -> Result<(), StoreError>;
    /// All switches, those within a reach where one is given (those of the whole host aren't among them then), newest
    /// first.
    fn kills(&self, reach: Option<&Reach>) -> Result<Vec<KillRow>, StoreError>;
    /// Removes a switch and answers it; `None` when there's no such one (within this reach).
    fn remove_kill(&self, id: &KillId, reach: Option<&Reach>) -> Result<Option<KillRow>, StoreError>;
    /// Removes the switches on single calls that are older than this.
    fn forget_killed_calls(&self, before: Millis) -> Result<(), StoreError>;
}

impl KillRow {
    /// Whether an operator who reaches this far may see and lift it. One of the whole host is beyond every reach.
    #[must_use]
    pub fn is_within(&self, reach: &Reach) -> bool {
        self.tenant.as_ref().is_some_and(|tenant| reach.covers_part(tenant, self.environment.as_ref()))
    }

    /// The switch and what it stops, as the audit trail names it.
    #[must_use]
    pub fn subject(&self) -> String {
        match &self.environment {
            None => format!("{} {}", self.id, self.scope),
            Some(environment) => format!("{} {} in {environment}", self.id, self.scope),
        }
    }
}
