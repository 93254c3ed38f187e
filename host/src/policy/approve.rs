//! What people agree to, what came of that, and the question whether someone may.

use std::borrow::Cow;

use cedar_policy::EntityUid;

use super::question::{Question, What, Who};
use super::set::Ruling;
use super::{Policy, names};
use crate::clock::Millis;
use crate::connection::{Cost, Effect};
use crate::ids::{AgentId, ApprovalId, ConnectionName, OperationName, Realm, RoleName, ToolName};

/// What an approval is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// An operation of a connection.
    Operation {
        /// The connection.
        connection: ConnectionName,
        /// The operation.
        operation: OperationName,
    },
    /// Something outside of the host, which an enforcement point asked about.
    Api {
        /// The word for what is to be done.
        action: String,
        /// With what: `api://…`.
        resource: String,
    },
    /// A call of a tool, with exactly its arguments.
    Call {
        /// The tool.
        tool: ToolName,
    },
    /// Running exactly this code, which an agent wrote.
    Code {
        /// The sandbox's tool.
        tool: ToolName,
    },
}

/// What people decided of one exact request: it's granted, by these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approved {
    /// The approval.
    pub id: ApprovalId,
    /// Who agreed, each once.
    pub approvers: Vec<AgentId>,
}

/// May this operator agree to this request? The action is `Action::"approve"`, the principal the operator, the
/// resource the connection, the tool or the `api://…` resource; the rest is in the context.
#[derive(Debug, Clone, Copy)]
pub struct ApproveQuestion<'a> {
    /// Whose request it is. An operator approves within its reach only; that's checked before.
    pub realm: &'a Realm,
    /// The operator's name.
    pub approver: &'a AgentId,
    /// What it would do, and where.
    pub about: &'a About,
    /// Whether that changes anything upstream.
    pub effect: Effect,
    /// What it costs, when the operation has a cost rule.
    pub cost: Option<&'a Cost>,
    /// The agent that asks.
    pub requester: &'a AgentId,
    /// The agent's role.
    pub role: Option<&'a RoleName>,
    /// The time.
    pub now: Millis,
}

impl About {
    /// `stripe:create_charge`, `call:run_command`, `run_code`, or `"execute" api://tasks/7`: printable ASCII on one line.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::Operation { connection, operation } => format!("{connection}:{operation}"),
            Self::Api { action, resource } => {
                format!("\"{}\" {}", action.escape_default(), resource.escape_default())
            }
            Self::Call { .. } | Self::Code { .. } => self.word().into_owned(),
        }
    }

    /// What would be done, as `context.operation` has it: the operation's name, the word, or the action as which a tool is
    /// called or code is run.
    #[must_use]
    pub fn word(&self) -> Cow<'_, str> {
        match self {
            Self::Operation { operation, .. } => operation.as_str().into(),
            Self::Api { action, .. } => action.as_str().into(),
            Self::Call { tool } => names::call_action(tool).into(),
            Self::Code { .. } => names::RUN_CODE.into(),
        }
    }

    /// The tool, if it's about a call of one or about code.
    #[must_use]
    pub fn tool(&self) -> Option<&ToolName> {
        match self {
            Self::Call { tool } | Self::Code { tool } => Some(tool),
            Self::Operation { .. } | Self::Api { .. } => None,
        }
    }

    /// What it's done with, as policies call it.
    pub(super) fn resource(&self) -> EntityUid {
        match self {
            Self::Operation { connection, .. } => names::connection(connection),
            Self::Api { resource, .. } => names::api(resource),
            Self::Call { tool } | Self::Code { tool } => names::tool(tool),
        }
    }
}

impl Policy {
    /// May this operator approve this request? Nobody approves what was asked for in their own name, whatever the
    /// policies say.
    #[must_use]
    pub fn may_approve(&self, question: ApproveQuestion<'_>) -> bool {
        if question.approver == question.requester {
            return false;
        }
        let asked = Question {
            realm: question.realm,
            who: Who::Operator(question.approver),
            now: question.now,
            what: What::Approve {
                about: question.about,
                effect: question.effect,
                cost: question.cost,
                requester: question.requester,
                role: question.role,
            },
        };
        let (decided, _) = self.decide([asked], question.realm);
        if let Some(cause) = &decided.cause {
            tracing::info!(approver = %question.approver, %cause, "an approval was refused by policy");
        }
        decided.ruling == Ruling::Allowed
    }
}
