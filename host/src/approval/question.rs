//! People's answer to a question of an enforcement point.

use super::desk::By;
use super::{ApprovalAsk, ApprovalDesk, ApprovalError, ClaimError};
use crate::ids::ApprovalId;
use crate::policy::Approved;
use crate::refusal::Code;

/// Why a question isn't answered with a yes.
#[derive(Debug)]
pub struct Unanswered {
    /// The approval that it waits for, if it does.
    pub pending: Option<ApprovalId>,
    /// For the agent.
    pub code: Code,
    /// For the agent: a sentence.
    pub message: String,
    /// For the operator's log.
    pub cause: Option<String>,
}

impl ApprovalDesk {
    /// Uses the approval that the question came back with, or the one that was granted to the same question before;
    /// otherwise puts it before people.
    ///
    /// # Errors
    /// [`Unanswered`]: it waits for them, they said no, or what it came back with is none for it.
    pub async fn answer(&self, ask: ApprovalAsk, given: Option<ApprovalId>) -> Result<Approved, Unanswered> {
        let (realm, fingerprint) = (ask.realm.clone(), ask.fingerprint);
        let by = By { agent: ask.agent.clone(), token: Some(ask.token.clone()) };
        let id = match given {
            Some(id) => id,
            None => self.ask(None, ask).await.map_err(|error| not_asked(&error))?.id,
        };
        self.claim_if(None, &realm, &id, fingerprint, by, || true)
            .await
            .map_err(|error| not_approved(&error, &id))
    }
}

fn not_asked(error: &ApprovalError) -> Unanswered {
    let failure = error.failure();
    Unanswered { pending: None, code: failure.reason.code(), message: failure.message, cause: failure.cause }
}

fn not_approved(error: &ClaimError, id: &ApprovalId) -> Unanswered {
    let again = "ask exactly the same without it to ask people anew";
    let message = match error {
        ClaimError::Pending => format!(
            "a person has to approve this first: it waits as {id}; once it's approved, ask exactly the same again, with \
             that id as approvalId if you can"
        ),
        ClaimError::Expired => format!("the approval {id} has expired; {again}"),
        ClaimError::Used => format!("the approval {id} was used before, and holds once; {again}"),
        ClaimError::Unknown => format!("there is no approval {id} for this question; {again}"),
        ClaimError::Denied | ClaimError::Gone | ClaimError::Unrecorded(_) | ClaimError::Store(_) => {
            let failure = error.failure(id);
            let code = failure.reason.code();
            return Unanswered { pending: None, code, message: failure.message, cause: failure.cause };
        }
    };
    let pending = matches!(error, ClaimError::Pending).then(|| id.clone());
    Unanswered { pending, code: Code::ApprovalRequired, message, cause: None }
}
