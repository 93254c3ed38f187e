//! How many calls run at once.

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::refusal::{Code, Refusal};

/// The places for calls.
///
/// A call without a place is refused at once, not queued: the agent hears a reason while it still listens, and a
/// queue would only move the wait to where nobody sees it.
#[derive(Debug)]
pub(super) struct Places {
    free: Semaphore,
}

impl Places {
    /// Room for `calls_max` calls at once.
    pub(super) fn new(calls_max: usize) -> Self {
        Self { free: Semaphore::new(calls_max.min(Semaphore::MAX_PERMITS)) }
    }

    /// Takes a place until the answer is dropped.
    ///
    /// # Errors
    /// [`Code::Busy`] when all are taken.
    pub(super) fn take(&self) -> Result<SemaphorePermit<'_>, Refusal> {
        let busy = "the host is running as many calls as it may; try again in a moment";
        self.free.try_acquire().map_err(|_| Refusal::new(Code::Busy, busy))
    }
}

/// The answer on a connection that there's no room for.
pub(super) fn full() -> Refusal {
    Refusal::new(Code::Busy, "the host has as many connections as it may; try again in a moment")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_once_its_call_ends() {
        let places = Places::new(1);
        let taken = places.take().unwrap();
        assert_eq!(places.take().unwrap_err().code, Code::Busy);
        drop(taken);
        assert!(places.take().is_ok());
    }
}
