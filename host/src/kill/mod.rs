//! Kill switches: an operator stops a call, a conversation, an agent, a role, a tool, a connection, a token, a tenant or
//! everything, at once, until the switch is lifted.
//!
//! ```text
//! Kills::throw ─► control store ─► version changes
//!                                   ├─ Kills::check      right before bytes leave
//!                                   ├─ Kills::stopped    what is under way, or waits for a person
//!                                   └─ Kills::watching   what has a token to look after as well
//! ```
//!
//! The truth is in the store: another process's switch holds from the very next check on, and reaches what waits within
//! [`POLL_MS`].

mod index;
mod reason;
mod scope;
mod switches;
#[cfg(test)]
mod tests;

pub use crate::store::POLL_MS;
pub use index::Subjects;
pub use reason::{InvalidReason, REASON_CHARS_MAX, Reason};
pub use scope::{InvalidScope, Scope};
pub(crate) use switches::Watching;

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, Millis};
use crate::ids::{Environment, KillId, TenantId};
use crate::reach::Reach;
use crate::refusal::{Code, FailureReason, Refusal, SendFailure};
use crate::store::{ControlStore, KillRow, StoreError};
use switches::Switches;

/// At most so many switches of one environment, and of a tenant as a whole, are in force at the same time: they are held
/// in memory. Stops of all of it are counted apart, so that there's room for one however many others there are.
pub const KILLS_MAX: usize = 1_000;

/// A switch on a call is forgotten after this time: no call lasts as long.
const CALL_KEPT: Duration = Duration::from_secs(60 * 60);

/// What the caller is told. The operator's reason is not for it.
const STOPPED: &str = "it was stopped by an operator";

/// Why something must not go on.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Killed {
    /// This switch is thrown.
    #[error("stopped by {} ({})", .0.id, .0.reason)]
    Stopped(Arc<KillRow>),
    /// Nobody can tell, so nothing goes on.
    #[error("kill switches can't be read: {0}")]
    Unreadable(Arc<StoreError>),
}

impl Killed {
    /// As a send fails by it, before anything was sent. The cause, for the log, names the switch.
    #[must_use]
    pub fn failure(&self) -> SendFailure {
        let (reason, message) = match self {
            Self::Stopped(_) => (FailureReason::Killed, STOPPED),
            Self::Unreadable(_) => (FailureReason::Internal, "the host can't check its kill switches now"),
        };
        SendFailure::unsent(reason, message).because(self.to_string())
    }

    /// As a call is refused by it, before anything was sent.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::Stopped(_) => Refusal::new(Code::Killed, STOPPED),
            Self::Unreadable(_) => Refusal::new(Code::Internal, "the host can't check its kill switches now"),
        }
    }
}

/// Why a switch couldn't be thrown or lifted.
#[derive(Debug, thiserror::Error)]
pub enum KillError {
    /// It can't be as it was asked for. The sentence says what to change.
    #[error("{0}")]
    Invalid(&'static str),
    /// The store couldn't be read or written.
    #[error("kill switches can't be read or changed now: {0}")]
    Store(#[from] StoreError),
}

/// A switch to be thrown.
#[derive(Debug, Clone)]
pub struct Order {
    /// What is stopped.
    pub scope: Scope,
    /// Whose. `None`: every tenant's.
    pub tenant: Option<TenantId>,
    /// In this environment only.
    pub environment: Option<Environment>,
    /// Why, for operators.
    pub reason: Reason,
    /// Who: a token id, or `cli`.
    pub by: String,
}

/// Knows what is stopped.
pub struct Kills {
    store: Arc<dyn ControlStore>,
    clock: Arc<dyn Clock>,
    switches: Switches,
}

impl Kills {
    /// The switches in `store`.
    #[must_use]
    pub fn new(store: Arc<dyn ControlStore>, clock: Arc<dyn Clock>) -> Self {
        Self { switches: Switches::new(store.clone()), store, clock }
    }

    /// Whether these may go on. Microseconds: it's for right before bytes leave.
    ///
    /// # Errors
    /// [`Killed`].
    pub fn check(&self, subjects: &Subjects<'_>) -> Result<(), Killed> {
        match self.switches.find(subjects) {
            Ok(None) => Ok(()),
            Ok(Some(row)) => Err(Killed::Stopped(row)),
            Err(error) => Err(Killed::Unreadable(Arc::new(error))),
        }
    }

    /// Resolves when one of these is stopped: at once by a switch of this process's, within [`POLL_MS`] by another's.
    /// Otherwise never: to be raced against what is under way. Dropping it costs nothing. While nothing waits, nothing
    /// runs. A store that can't be read stops nothing that is under way; [`Self::check`] refuses what begins.
    ///
    /// To be awaited inside a tokio runtime.
    pub async fn stopped(&self, subjects: Subjects<'_>) -> Killed {
        let mut watching = self.watching();
        loop {
            if let Some(killed) = watching.stopped(&subjects) {
                return killed;
            }
            watching.changed().await;
        }
    }

    /// Begins to watch whatever changes in the store, switches or not. What is checked after this and changes then is heard
    /// of. To be called within a tokio runtime.
    pub(crate) fn watching(&self) -> Watching<'_> {
        self.switches.watching()
    }

    /// Throws a switch. When this returns, every check that begins refuses what it stops, in every process.
    ///
    /// # Errors
    /// [`KillError`]; nothing is stopped then.
    pub fn throw(&self, order: Order) -> Result<KillRow, KillError> {
        let Order { scope, tenant, environment, reason, by } = order;
        match (&scope, &tenant) {
            (Scope::Everything, Some(_)) => {
                return Err(KillError::Invalid("everything of one tenant is the scope 'tenant'"));
            }
            (Scope::Tenant, None) => {
                return Err(KillError::Invalid(
                    "name the tenant to be stopped; for all of them it's 'everything'",
                ));
            }
            _ => {}
        }
        // First, so that calls which are long over take no room.
        self.forget_over()?;
        if let Some(tenant) = &tenant {
            // Those of one environment leave room for another's, and all of them for a stop of the whole.
            let is_whole = |scope: &Scope| *scope == Scope::Tenant;
            let alike =
                |row: &&KillRow| row.environment == environment && is_whole(&row.scope) == is_whole(&scope);
            let rows = self.store.kills(Some(&Reach::every(tenant.clone())))?;
            if rows.iter().filter(alike).count() >= KILLS_MAX {
                return Err(KillError::Invalid(
                    "1000 kill switches are in force here; lift some, or stop the whole tenant or environment",
                ));
            }
        }
        let row =
            KillRow { id: KillId::fresh(), tenant, environment, scope, reason, by, at: self.clock.now() };
        self.store.insert_kill(&row)?;
        self.switches.tell();
        Ok(row)
    }

    /// Removes the switches on calls that are long over.
    ///
    /// # Errors
    /// When the store can't be written.
    pub fn forget_over(&self) -> Result<(), StoreError> {
        let kept = i64::try_from(CALL_KEPT.as_millis()).unwrap_or(i64::MAX);
        self.store.forget_killed_calls(Millis(self.clock.now().0.saturating_sub(kept)))
    }

    /// Lifts a switch; answers what it was. `None` when there's no such switch (within this reach, where one is
    /// given).
    ///
    /// # Errors
    /// [`KillError::Store`].
    pub fn lift(&self, id: &KillId, reach: Option<&Reach>) -> Result<Option<KillRow>, KillError> {
        let lifted = self.store.remove_kill(id, reach)?;
        self.switches.tell();
        Ok(lifted)
    }

    /// A switch in force; `None` when there's no such one (within this reach, where one is given).
    ///
    /// # Errors
    /// [`KillError::Store`].
    pub fn find(&self, id: &KillId, reach: Option<&Reach>) -> Result<Option<KillRow>, KillError> {
        Ok(self.store.kills(reach)?.into_iter().find(|row| row.id == *id))
    }

    /// The switches in force, those within a reach where one is given, newest first.
    ///
    /// # Errors
    /// [`KillError::Store`].
    pub fn list(&self, reach: Option<&Reach>) -> Result<Vec<KillRow>, KillError> {
        Ok(self.store.kills(reach)?)
    }
}
