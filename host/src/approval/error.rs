//! Why an approval wasn't asked for, decided or used; and what the agent hears of it.

use crate::audit::AuditError;
use crate::clock::Millis;
use crate::ids::ApprovalId;
use crate::refusal::{FailureReason, SendFailure};
use crate::store::{ApprovalState, StoreError};

/// Why a request wasn't put before people, or can't be shown to them.
#[derive(Debug, thiserror::Error)]
pub enum ApprovalError {
    /// Too many wait for people already.
    #[error(
        "{max} requests of this {of} wait for approval or were denied a short time ago; no more are taken now"
    )]
    TooMany {
        /// `token` or `environment`.
        of: &'static str,
        /// How many there may be.
        max: u32,
    },
    /// What approvers read can't be sealed or opened.
    #[error("what approvers would read can't be sealed or opened: {0}")]
    Note(String),
    /// It can't be recorded in the audit trail, so it wasn't asked.
    #[error(transparent)]
    Unrecorded(#[from] AuditError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why someone's answer wasn't entered.
#[derive(Debug, thiserror::Error)]
pub enum DecideError {
    /// There's no such approval, or not in this tenant.
    #[error("there is no such approval")]
    Unknown,
    /// It was decided or used already.
    #[error("this approval is {} already; it can't be decided again", .0.as_str())]
    Decided(ApprovalState),
    /// Its time is over.
    #[error("this approval has expired; the agent has to ask again")]
    Expired,
    /// The approver is who asks, or handed out the token that asks.
    #[error("nobody approves their own request: someone else has to decide this one")]
    Own,
    /// The approver has said yes already.
    #[error("you have approved this already; it takes someone else's yes as well")]
    Twice,
    /// As many have agreed as can, and the policies in force don't take them as enough.
    #[error(
        "20 people have agreed, and the policies in force don't take them as enough: deny it, or change the policies"
    )]
    Enough,
    /// No policy lets this approver approve it.
    #[error("no policy lets you approve this request")]
    NotAllowed,
    /// What is to be approved can't be shown, so nobody can judge it.
    #[error("what is to be approved can't be shown: {0}; deny it, and let the agent ask again")]
    Unreadable(String),
    /// It can't be recorded in the audit trail.
    #[error(transparent)]
    Unrecorded(#[from] AuditError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why an approval can't be used for a request.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Too few have answered.
    #[error("it waits for people")]
    Pending,
    /// Someone said no.
    #[error("it was denied")]
    Denied,
    /// Its time is over.
    #[error("it has expired")]
    Expired,
    /// It was used before.
    #[error("it was used before")]
    Used,
    /// There's none, or it's for another request: one answer, so that ids and other agents' requests can't be probed.
    #[error("there is no such approval for this request")]
    Unknown,
    /// Whoever wanted it has hung up, or its time is over. Nothing is used up.
    #[error("nobody waits for it any more")]
    Gone,
    /// The claim can't be recorded, so it doesn't count. The approval is used up all the same.
    #[error(transparent)]
    Unrecorded(#[from] AuditError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ClaimError {
    /// What the agent hears. Nothing was sent.
    #[must_use]
    pub fn failure(&self, id: &ApprovalId) -> SendFailure {
        let (reason, message) = match self {
            Self::Pending => (
                FailureReason::ApprovalRequired,
                format!(
                    "a person has to approve this first, and {id} still waits for that; {}",
                    come_back(id)
                ),
            ),
            Self::Denied => (FailureReason::Denied, format!("a person has denied this request ({id})")),
            Self::Expired => (
                FailureReason::ApprovalRequired,
                format!("the approval {id} has expired; ask anew by making the request without it"),
            ),
            Self::Used => (
                FailureReason::ApprovalRequired,
                format!(
                    "the approval {id} was used before, and holds for one request; make the request without it \
                         to ask for another"
                ),
            ),
            Self::Unknown => (
                FailureReason::ApprovalRequired,
                format!(
                    "there is no approval {id} for this request: one holds for exactly the request, the token \
                         and the rules that it was asked under; make the request without it to ask anew"
                ),
            ),
            Self::Gone => (
                FailureReason::ApprovalRequired,
                format!(
                    "the approval {id} wasn't used, since nobody waited for the answer any more; {}",
                    come_back(id)
                ),
            ),
            Self::Unrecorded(error) => return unrecorded(error),
            Self::Store(error) => return broken(error),
        };
        SendFailure::unsent(reason, message)
    }
}

impl ApprovalError {
    /// What the agent hears. Nothing was sent.
    #[must_use]
    pub fn failure(&self) -> SendFailure {
        match self {
            Self::TooMany { .. } => SendFailure::unsent(
                FailureReason::RateLimited,
                format!("a person has to approve this first, and {self}"),
            ),
            Self::Unrecorded(error) => unrecorded(error),
            Self::Note(_) | Self::Store(_) => broken(self),
        }
    }
}

/// What the agent hears of a request that waits for people. `others`: the approvals that its call came back with, none of which
/// is for it.
pub(super) fn required(id: &ApprovalId, expires_at: Millis, others: &[ApprovalId]) -> SendFailure {
    let mut message =
        format!("a person has to approve this first: it waits as {id} until {expires_at}; {}", come_back(id));
    if !others.is_empty() {
        let others: Vec<_> = others.iter().map(|other| other.as_str()).collect();
        message.push_str(&format!(" (this isn't what was approved as {})", others.join(", ")));
    }
    SendFailure::unsent(FailureReason::ApprovalRequired, message)
}

fn come_back(id: &ApprovalId) -> String {
    format!(
        "once it's approved, make exactly the same request again, with the header 'Keybearer-Approval: {id}' if you \
         can set one"
    )
}

fn unrecorded(error: &AuditError) -> SendFailure {
    SendFailure::unsent(
        FailureReason::AuditUnavailable,
        "the host can't record the approval, so the request was not sent",
    )
    .because(error.to_string())
}

fn broken(error: &dyn std::fmt::Display) -> SendFailure {
    SendFailure::unsent(FailureReason::Internal, "the host can't look after approvals now")
        .because(error.to_string())
}
