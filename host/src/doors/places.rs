//! How many calls run at once.

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::pipeline::Place;
use crate::refusal::{Code, Refusal};

/// The places for calls.
///
/// A call without a place is refused at once, not queued: the agent hears a reason while it still listens, and a
/// queue would only move the wait to where nobody sees it.
#[derive(Debug)]
pub(super) struct Places {
    free: Semaphore,
}

/// A place that was taken, until this is dropped.
#[derive(Debug)]
pub(super) struct Taken<'p> {
    places: &'p Places,
    /// `None` while it's given back.
    permit: Option<SemaphorePermit<'p>>,
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
    pub(super) fn take(&self) -> Result<Taken<'_>, Refusal> {
        Ok(Taken { places: self, permit: Some(self.permit()?) })
    }

    fn permit(&self) -> Result<SemaphorePermit<'_>, Refusal> {
        let busy = "the host is running as many calls as it may; try again in a moment";
        self.free.try_acquire().map_err(|_| Refusal::new(Code::Busy, busy))
    }
}

impl Place for Taken<'_> {
    fn leave(&mut self) {
        self.permit = None;
    }

    fn come_back(&mut self) -> Result<(), Refusal> {
        if self.permit.is_none() {
            self.permit = Some(self.places.permit()?);
        }
        Ok(())
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

    #[test]
    fn a_place_that_was_given_back_is_another_s_until_that_one_goes() {
        let places = Places::new(1);
        let mut first = places.take().unwrap();
        first.leave();
        let second = places.take().unwrap();
        assert_eq!(first.come_back().unwrap_err().code, Code::Busy);
        drop(second);
        assert!(first.come_back().is_ok() && first.come_back().is_ok(), "one place, however often");
        assert_eq!(places.take().unwrap_err().code, Code::Busy);
        drop(first);
        assert!(places.take().is_ok());
    }
}
