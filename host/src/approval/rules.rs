//! The decisions over one approval. Pure: a row, a person or a request, and the time.

use super::{ClaimError, DecideError, Fingerprint};
use crate::clock::Millis;
use crate::ids::{AgentId, Realm};
use crate::policy::Approved;
use crate::store::{ApprovalRow, ApprovalState, Stage, Vote};

/// At most so many agree to one request. More than any quorum: where so many aren't enough, one who is named is missing.
const YES_MAX: usize = 20;

/// Enters one person's answer, and answers what the approval is worth then.
///
/// One no denies. A yes counts once for each person; names that differ in case alone are one person. Where the quorum is
/// reached, `is_enough` says whether these people are: a policy may want one of them by name.
///
/// # Errors
/// [`DecideError::Decided`] and [`DecideError::Expired`]: nothing is left to decide; [`DecideError::Own`] and
/// [`DecideError::Twice`] and [`DecideError::Enough`] for a yes. The row is as it was then.
pub(super) fn vote(
    row: &mut ApprovalRow,
    by: &AgentId,
    yes: bool,
    now: Millis,
    is_enough: &dyn Fn(&ApprovalRow) -> bool,
) -> Result<ApprovalState, DecideError> {
    check(row, by, yes, now)?;
    row.votes.push(Vote { by: by.clone(), yes, at: now });
    let agreed = u32::try_from(row.agreed().count()).unwrap_or(u32::MAX);
    row.stage = match yes {
        false => Stage::Denied,
        // INVARIANT (quorum): a yes is entered only for someone who hasn't agreed yet, so this counts people.
        true if agreed >= row.quorum && is_enough(row) => Stage::Granted,
        true => Stage::Pending,
    };
    Ok(row.state(now))
}

/// Whether [`vote`] would enter this answer.
pub(super) fn check(row: &ApprovalRow, by: &AgentId, yes: bool, now: Millis) -> Result<(), DecideError> {
    match row.state(now) {
        ApprovalState::Pending => {}
        ApprovalState::Expired => return Err(DecideError::Expired),
        state => return Err(DecideError::Decided(state)),
    }
    if !yes {
        return Ok(());
    }
    let is_same = |other: &AgentId| other.as_str().eq_ignore_ascii_case(by.as_str());
    if is_same(&row.agent) || row.own.iter().any(is_same) {
        return Err(DecideError::Own);
    }
    if row.agreed().any(is_same) {
        return Err(DecideError::Twice);
    }
    if row.agreed().count() >= YES_MAX {
        return Err(DecideError::Enough);
    }
    Ok(())
}

/// Uses an approval up for the request that it was given to.
///
/// # Errors
/// [`ClaimError::Unknown`] for any other request, whatever state the approval is in: only who was asked for hears how it
/// stands. Otherwise its state.
pub(super) fn claim(
    row: &mut ApprovalRow,
    realm: &Realm,
    fingerprint: Fingerprint,
    now: Millis,
) -> Result<Approved, ClaimError> {
    // The fingerprint holds the realm; this holds even for a row that was moved to another tenant.
    if row.realm != *realm || row.fingerprint != fingerprint {
        return Err(ClaimError::Unknown);
    }
    match row.state(now) {
        ApprovalState::Granted => {}
        ApprovalState::Pending => return Err(ClaimError::Pending),
        ApprovalState::Denied => return Err(ClaimError::Denied),
        ApprovalState::Used => return Err(ClaimError::Used),
        ApprovalState::Expired => return Err(ClaimError::Expired),
    }
    row.stage = Stage::Used;
    Ok(Approved { id: row.id.clone(), approvers: row.agreed().cloned().collect() })
}
