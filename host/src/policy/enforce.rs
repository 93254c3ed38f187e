//! A question about something that the host doesn't do itself: the agent's own code asks, and acts on the answer.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::ask::Door;
use super::decide::{questions, refused, unfit_for};
use super::question::What;
use super::set::{Decided, Ruling};
use super::{About, Approved, CallContext, Facts, Policy, grants};
use crate::auth::Alive;
use crate::clock::Millis;
use crate::connection::{Connection, Cost, Effect, Operation, Parameters};
use crate::ids::Digest;
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
    /// What the enforcement point says of it. For an operation its parameters are read from it: `path`, `query` and
    /// `body`, each an object and optional.
    pub said: &'a Map<String, Value>,
    /// The time.
    pub now: Millis,
    /// What people decided of exactly this question, if they did.
    pub approved: Option<&'a Approved>,
}

/// What people are asked, where they have to agree first.
#[derive(Debug, Clone)]
pub struct EnforceSubject {
    /// What would be done, and where.
    pub about: About,
    /// Whether it changes anything. What isn't known counts as if it did.
    pub effect: Effect,
    /// What it costs, where an operation has a cost rule.
    pub cost: Option<Cost>,
    /// The operation, if it's one.
    pub operation: Option<(Arc<Connection>, Arc<Operation>)>,
    /// The operation's parameters.
    pub parameters: Parameters,
    /// All that the enforcement point said of something outside of the host.
    pub said: Map<String, Value>,
    /// The question, so that the policies can be asked it again.
    pub facts: Facts,
    /// The digest of the policies that want people to agree.
    pub policy: Digest,
    /// How many.
    pub quorum: u32,
}

/// An operation that the enforcement point would make: what budgets are asked about.
#[derive(Debug, Clone)]
pub struct EnforceSpends {
    /// Where.
    pub connection: Arc<Connection>,
    /// What is done there.
    pub operation: Arc<Operation>,
    /// With what.
    pub parameters: Parameters,
    /// What it costs, where it has a cost rule.
    pub cost: Option<Cost>,
}

/// What the policy says, and why.
#[derive(Debug, Clone)]
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
    /// The hash of the policies in force when it was decided. `None`: it didn't get that far.
    pub policy: Option<Digest>,
    /// For the operator alone: why, and the smallest rule that would allow it.
    pub cause: Option<String>,
    /// What people are asked, where they have to agree first.
    pub subject: Option<Box<EnforceSubject>>,
    /// What it would take from budgets, unless it's denied. `None` for what isn't an operation.
    pub spends: Option<Box<EnforceSpends>>,
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
            policy: None,
            cause: None,
            subject: None,
            spends: None,
        }
    }
}

impl Policy {
    /// May this caller do this, outside of the host? An operation of a connection is asked as if it were to be sent:
    /// the grant first, then its typed parameters put to the policies. Budgets are asked afterwards: the answer says about what.
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
            return self.enforced(&question, what, |facts| EnforceSubject {
                about: About::Api {
                    action: question.action.to_owned(),
                    resource: question.resource.to_owned(),
                },
                effect: Effect::Write,
                cost: None,
                operation: None,
                parameters: Parameters::default(),
                said: question.said.clone(),
                facts: Facts {
                    api: Some(question.resource.to_owned()),
                    action: Some(question.action.to_owned()),
                    ..facts
                },
                policy: Digest::of(b""),
                quorum: 0,
            });
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
            let policy = Some(self.hash_for(caller.realm()));
            let refused = EnforceDecision::refused(Code::Denied, failure.message);
            return EnforceDecision { cause: failure.cause, policy, ..refused };
        }
        let said = match parameters(question.said) {
            Ok(said) => said,
            Err(message) => return invalid(message),
        };
        // Decided on is what the host would send.
        let send = match connection.accept_values(operation, &said, question.context.conversation.as_ref()) {
            Ok(send) => send,
            Err(failure) => {
                let refused = EnforceDecision::refused(failure.reason.code(), failure.message);
                return EnforceDecision { cause: failure.cause, ..refused };
            }
        };
        let (parameters, cost) = (send.parameters(), send.cost());
        let what = What::Send {
            connection: &connection,
            operation,
            parameters,
            cost,
            door: Door::Tool,
            tool: None,
            approvers: question.approved.map(|approved| approved.approvers.as_slice()),
        };
        let mut decision = self.enforced(question, what, |facts| EnforceSubject {
            about: About::Operation {
                connection: connection.name.clone(),
                operation: operation.name.clone(),
            },
            effect: operation.effect,
            cost: cost.cloned(),
            operation: Some((connection.clone(), operation.clone())),
            facts: Facts {
                operation: Some(format!("{}:{}", connection.name, operation.name)),
                path: parameters.path.clone(),
                query: parameters.query.clone(),
                body: parameters.body.clone(),
                ..facts
            },
            parameters: parameters.clone(),
            said: Map::new(),
            policy: Digest::of(b""),
            quorum: 0,
        });
        if decision.verdict != Enforced::Denied {
            let (connection, operation) = (connection.clone(), operation.clone());
            let (parameters, cost) = (parameters.clone(), cost.cloned());
            decision.spends = Some(Box::new(EnforceSpends { connection, operation, parameters, cost }));
        }
        decision
    }

    fn enforced(
        &self,
        question: &EnforceQuestion<'_>,
        what: What<'_>,
        subject: impl FnOnce(Facts) -> EnforceSubject,
    ) -> EnforceDecision {
        let caller = question.alive.caller();
        let questions = questions(caller, question.context, question.now, what);
        let (decided, policy) = self.decide(questions, caller.realm());
        let mut asked = None;
        let (verdict, code, message) = match decided.ruling {
            Ruling::Allowed => (Enforced::Allowed, None, format!("{} is allowed", what.subject())),
            Ruling::Denied => match &decided.unfit {
                Some(unfit) => (Enforced::Denied, Some(Code::InvalidRequest), unfit_for(&what, unfit)),
                None => (Enforced::Denied, Some(Code::Denied), refused(&what)),
            },
            Ruling::NeedsApproval { quorum } => {
                let conversation = question.context.conversation.clone();
                let facts = Facts { conversation, ..Facts::of_caller(caller) };
                asked = Some(Box::new(EnforceSubject { policy, quorum, ..subject(facts) }));
                (
                    Enforced::ApprovalRequired { quorum },
                    Some(Code::ApprovalRequired),
                    format!("a person has to approve {} first", what.subject()),
                )
            }
        };
        let Decided { policies, cause, .. } = decided;
        let policy = Some(policy);
        EnforceDecision { verdict, code, message, policies, policy, cause, subject: asked, spends: None }
    }
}

/// An operation's parameters among what was said.
fn parameters(said: &Map<String, Value>) -> Result<Parameters, &'static str> {
    let members = |place: &str| match said.get(place) {
        None => Ok(Map::new()),
        Some(Value::Object(members)) => Ok(members.clone()),
        Some(_) => Err("the parameters under path, query and body must be objects"),
    };
    Ok(Parameters { path: members("path")?, query: members("query")?, body: members("body")? })
}

fn invalid(message: &str) -> EnforceDecision {
    EnforceDecision::refused(Code::BadRequest, message)
}
