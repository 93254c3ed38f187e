//! Turns at the audit trail, for those who read it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::refusal::{Code, Refusal};

/// How long a reader waits for a turn: longer than a search may take.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// So many may read at once.
///
/// Whoever waits holds no thread, and whoever hangs up waits no more. Were they to wait in the store, a few hundred readers
/// would take all threads that a kill switch or a call's record needs.
#[derive(Debug)]
pub(super) struct Turns {
    free: Arc<Semaphore>,
    wait_max: Duration,
}

impl Turns {
    /// Turns for so many at once.
    pub(super) fn new(at_once: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(at_once)), wait_max: WAIT_MAX }
    }

    /// Waits for a turn, which lasts until it's dropped: it goes along with the work, since that ends no sooner when its client
    /// hangs up.
    ///
    /// # Errors
    /// [`Code::Busy`] when none came for five seconds.
    pub(super) async fn take(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let turn = tokio::time::timeout(self.wait_max, Arc::clone(&self.free).acquire_owned()).await;
        // It's never closed.
        turn.ok().and_then(Result::ok).ok_or_else(|| {
            Refusal::new(Code::Busy, "too many are reading the audit trail; try again in a moment")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_leaves_takes_no_turn_and_who_waits_too_long_is_told() {
        let turns = Turns { wait_max: Duration::from_millis(20), ..Turns::new(1) };
        let taken = turns.take().await.unwrap();
        assert_eq!(turns.take().await.unwrap_err().code, Code::Busy);
        let left = tokio::time::timeout(Duration::from_millis(1), turns.take()).await;
        assert!(left.is_err(), "it waits");
        let (next, ()) = tokio::join!(turns.take(), async { drop(taken) });
        assert!(next.is_ok());
        drop(next);
        assert!(turns.take().await.is_ok(), "none was lost");
    }
}
