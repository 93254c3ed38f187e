//! A question about something that the host doesn't do itself: the agent's own code asks, and acts on the answer.

use serde_json::Value;

use super::CallContext;
use crate::approval::Approved;
use crate::auth::Alive;
use crate::clock::Millis;
use crate::refusal::Code;

/// May this caller do this?
#[derive(Debug, Clone, Copy)]
pub struct EnforceQuestion<'a> {
    /// The caller, its token checked a moment ago.
    pub alive: &'a Alive<'a>,
    /// What the caller says of its call, its conversation settled by
    /// [`Policy::admit_forward`](super::Policy::admit_forward).
    pub context: &'a CallContext,
    /// A word for an `api://…` resource (`read`, `plan`), an operation's name for a `connection://NAME`.
    pub action: &'a str,
    /// `api://…`, or `connection://NAME`.
    pub resource: &'a str,
    /// An operation's parameters: `{"path": {…}, "query": {…}, "body": {…}}`, each part optional. Not for `api://…`.
    pub parameters: Option<&'a Value>,
    /// The time.
    pub now: Millis,
    /// What people decided of exactly this question, if they did.
    pub approved: Option<&'a Approved>,
}

/// What the policy says, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnforceDecision {
    /// Yes, no, or not yet.
    pub verdict: Enforced,
    /// For the agent: [`Code::Denied`], [`Code::ApprovalRequired`], or what is wrong with the question. `None` when
    /// it's allowed.
    pub code: Option<Code>,
    /// For the agent: a sentence that names no rule.
    pub message: String,
    /// For the operator alone: the ids of the policies that decided.
    pub policies: Vec<String>,
    /// For the operator alone: why, and the smallest rule that would allow it.
    pub cause: Option<String>,
}

/// Yes, no, or not yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enforced {
    /// Yes.
    Allowed,
    /// No.
    Denied,
    /// Yes, as soon as so many people agree.
    ApprovalRequired {
        /// How many.
        quorum: u32,
    },
}

impl EnforceDecision {
    /// A no with a code and a sentence for the agent.
    #[must_use]
    pub fn refused(code: Code, message: impl Into<String>) -> Self {
        Self {
            verdict: Enforced::Denied,
            code: Some(code),
            message: message.into(),
            policies: Vec::new(),
            cause: None,
        }
    }
}
