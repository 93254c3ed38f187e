//! Whether a write was made before, for whoever has to know it before anything is reserved.

use super::{FirstOutcome, Reserved};
use crate::clock::Millis;
use crate::store::{WriteRow, WriteState};

/// What the same write would get that is asked for at this time, by what is known of it: as [`reserve`](super::reserve)
/// says then. `None`: it would be made.
#[must_use]
pub fn made_before(known: WriteRow, now: Millis) -> Option<Reserved> {
    let WriteRow { at, until, state, .. } = known;
    match state {
        // However long it takes.
        WriteState::UnderWay => Some(Reserved::InProgress),
        WriteState::Refused => None,
        WriteState::Done { .. } | WriteState::Unknown if until <= now => None,
        WriteState::Done { status, reply } => {
            Some(Reserved::Duplicate(FirstOutcome::Done { status, reply, at }))
        }
        WriteState::Unknown => Some(Reserved::Duplicate(FirstOutcome::Unknown { at })),
    }
}
