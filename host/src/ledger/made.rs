//! What reserving would say, for whoever has to know it before anything is reserved.

use super::{AMOUNT_MAX, FirstOutcome, Line, Reserved, Shortfall};
use crate::clock::Millis;
use crate::store::{WriteRow, WriteState};

/// What the same write would get that is asked for at this time, by what is known of it: as [`reserve`](super::reserve)
/// says then. `None`: it would be made.
#[must_use]
pub fn made_before(known: WriteRow, now: Millis) -> Option<Reserved> {
    let WriteRow { reservation: first, at, until, state, .. } = known;
    let outcome = match state {
        // However long it takes.
        WriteState::UnderWay => return Some(Reserved::InProgress { first }),
        WriteState::Refused => return None,
        WriteState::Done { .. } | WriteState::Unknown if until <= now => return None,
        WriteState::Done { status, reply } => FirstOutcome::Done { status, reply, at },
        WriteState::Unknown => FirstOutcome::Unknown { at },
    };
    Some(Reserved::Duplicate { first, outcome })
}

/// What a request is refused with that takes this from a budget of which so much is counted. `None`: there's room.
#[must_use]
pub fn no_room(line: &Line, counted: u64) -> Option<Reserved> {
    let fits = counted.checked_add(line.amount).is_some_and(|all| all <= line.limit.min(AMOUNT_MAX));
    if fits {
        return None;
    }
    let shortfall = Shortfall::of(line, counted);
    Some(match shortfall.passes() {
        true => Reserved::RateLimited(shortfall),
        false => Reserved::OverBudget(shortfall),
    })
}
