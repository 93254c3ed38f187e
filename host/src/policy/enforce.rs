//! A question about something that the host doesn't do itself: the agent's own code asks, and acts on the answer.

use serde_json::Value;

use super::ask::Door;
use super::decide::{questions, refused};
use super::question::What;
use super::set::Ruling;
use super::{CallContext, Policy, grants};
use crate::approval::Approved;
use crate::auth::Alive;
use crate::clock::Millis;
use crate::connection::Parameters;
use crate::refusal::Code;

/// The longest action, in bytes: it's a word.
pub const ACTION_BYTES_MAX: usize = 128;

/// The longest resource, in bytes.
pub const RESOURCE_BYTES_MAX: usize = 2_048;

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

impl Policy {
    /// May this caller do this, outside of the host? An operation of a connection is asked as if it were to be sent:
    /// the grant first, then its typed parameters put to the policies. No budget is looked at.
    #[must_use]
    pub fn enforce(&self, question: EnforceQuestion<'_>) -> EnforceDecision {
        if !(1..=ACTION_BYTES_MAX).contains(&question.action.len())
            || !(1..=RESOURCE_BYTES_MAX).contains(&question.resource.len())
        {
            return invalid(
                "the action and the resource must be given, and not be longer than a line or two",
            );
        }
        if question.resource.starts_with("api://") {
            let what = What::Api {
                action: question.action,
                url: question.resource,
                approvers: question.approved.map(|approved| approved.approvers.as_slice()),
            };
            return self.enforced(&question, what);
        }
        let Some(name) = question.resource.strip_prefix("connection://") else {
            return invalid("the resource must be api://… or connection://NAME");
        };
        self.enforce_operation(&question, name.trim_end_matches('/'))
    }

    fn enforce_operation(&self, question: &EnforceQuestion<'_>, name: &str) -> EnforceDecision {
        let caller = question.alive.caller();
        let unknown = || {
            let message = "there is no such connection here, or it has no such operation";
            EnforceDecision::refused(Code::UnknownOperation, message)
        };
        let Some(connection) = self.connection(caller.realm(), name) else { return unknown() };
        let action = question.action.strip_prefix(connection.name.as_str());
        let action = action.and_then(|rest| rest.strip_prefix(':')).unwrap_or(question.action);
        let Some(operation) = connection.operations.iter().find(|o| o.name.as_str() == action) else {
            return unknown();
        };
        if let Err(failure) = grants::allow_operation(caller, &connection.name, &operation.name) {
            let refused = EnforceDecision::refused(Code::Denied, failure.message);
            return EnforceDecision { cause: failure.cause, ..refused };
        }
        let parameters = match question.parameters.map(parameters).transpose() {
            Ok(parameters) => parameters.unwrap_or_default(),
            Err(message) => return invalid(message),
        };
        let cost = match operation.check(&parameters) {
            Ok(cost) => cost,
            Err(rule) => {
                let message = format!("{}:{}: {rule}", connection.name, operation.name);
                return EnforceDecision::refused(Code::InvalidRequest, message);
            }
        };
        let what = What::Send {
            connection: &connection,
            operation,
            parameters: &parameters,
            cost: cost.as_ref(),
            door: Door::Tool,
            tool: None,
            approvers: question.approved.map(|approved| approved.approvers.as_slice()),
        };
        self.enforced(question, what)
    }

    fn enforced(&self, question: &EnforceQuestion<'_>, what: What<'_>) -> EnforceDecision {
        let caller = question.alive.caller();
        let questions = questions(caller, question.context, question.now, what);
        let (decided, _) = self.decide(questions, &caller.realm().tenant);
        let (verdict, code, message) = match decided.ruling {
            Ruling::Allowed => (Enforced::Allowed, None, format!("{} is allowed", what.subject())),
            Ruling::Denied => (Enforced::Denied, Some(Code::Denied), refused(&what)),
            Ruling::NeedsApproval { quorum } => (
                Enforced::ApprovalRequired { quorum },
                Some(Code::ApprovalRequired),
                format!("a person has to approve {} first", what.subject()),
            ),
        };
        EnforceDecision { verdict, code, message, policies: decided.policies, cause: decided.cause }
    }
}

/// `{"path": {…}, "query": {…}, "body": {…}}`, nothing else.
fn parameters(value: &Value) -> Result<Parameters, &'static str> {
    const SHAPE: &str = "the parameters must be objects under path, query and body, and nothing else";
    let mut parameters = Parameters::default();
    for (place, members) in value.as_object().ok_or(SHAPE)? {
        let members = members.as_object().ok_or(SHAPE)?.clone();
        match place.as_str() {
            "path" => parameters.path = members,
            "query" => parameters.query = members,
            "body" => parameters.body = members,
            _ => return Err(SHAPE),
        }
    }
    Ok(parameters)
}

fn invalid(message: &str) -> EnforceDecision {
    EnforceDecision::refused(Code::BadRequest, message)
}
