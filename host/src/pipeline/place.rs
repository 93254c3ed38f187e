//! A call's place at the door that it came through.

use crate::refusal::Refusal;

/// What a call takes of its door's room. It's given back while the call waits for people, so that those who wait keep nobody
/// else from calling.
pub trait Place: Send {
    /// Gives the place back, where it's held.
    fn leave(&mut self);

    /// Takes a place again, where none is held.
    ///
    /// # Errors
    /// [`Code::Busy`](crate::refusal::Code::Busy) when all are taken.
    fn come_back(&mut self) -> Result<(), Refusal>;
}

/// That of a call which came through no door.
pub(super) struct NoPlace;

impl Place for NoPlace {
    fn leave(&mut self) {}

    fn come_back(&mut self) -> Result<(), Refusal> {
        Ok(())
    }
}
