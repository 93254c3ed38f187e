//! A question as the policies take it, whoever asked it: a door, an approver, a test, a replay.

use serde_json::{Map, Value};

use super::About;
use super::ask::Door;
use super::names;
use crate::clock::Millis;
use crate::connection::{Connection, Cost, Effect, Operation, Parameters};
use crate::ids::{AgentId, Digest, Realm, RoleName, ToolName};
use crate::text::visible;

/// Who asks what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) realm: &'a Realm,
    pub(super) who: Who<'a>,
    pub(super) now: Millis,
    pub(super) what: What<'a>,
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(super) enum Who<'a> {
    Agent(AgentFacts<'a>),
    Operator(&'a AgentId),
}

/// What is known of an agent and its call.
#[derive(Debug, Clone, Copy)]
pub(super) struct AgentFacts<'a> {
    pub(super) agent: &'a AgentId,
    pub(super) role: Option<&'a RoleName>,
    pub(super) conversation: Option<&'a str>,
    pub(super) task: Option<&'a str>,
    pub(super) turn: Option<&'a str>,
    pub(super) intent: Option<&'a str>,
    pub(super) user: Option<&'a str>,
    pub(super) token: &'a str,
    pub(super) depth: u32,
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub(super) enum What<'a> {
    /// An operation.
    Send {
        connection: &'a Connection,
        operation: &'a Operation,
        parameters: &'a Parameters,
        cost: Option<&'a Cost>,
        door: Door,
        tool: Option<&'a ToolName>,
        approvers: Option<&'a [AgentId]>,
    },
    /// A tool. Without arguments they aren't known: who looks at them can't answer.
    Call {
        tool: &'a ToolName,
        component: Option<Digest>,
        arguments: Option<&'a Map<String, Value>>,
        approvers: Option<&'a [AgentId]>,
    },
    /// A sandbox's tool, with so many bytes of code.
    Code { tool: &'a ToolName, component: Option<Digest>, bytes: i64, approvers: Option<&'a [AgentId]> },
    /// Something outside of the host.
    Api { action: &'a str, url: &'a str, approvers: Option<&'a [AgentId]> },
    /// Agreeing to a request.
    Approve {
        about: &'a About,
        effect: Effect,
        cost: Option<&'a Cost>,
        requester: &'a AgentId,
        role: Option<&'a RoleName>,
    },
}

impl What<'_> {
    /// What the agent may be told that it asked for.
    pub(super) fn subject(&self) -> String {
        match self {
            Self::Send { connection, operation, .. } => format!("{}:{}", connection.name, operation.name),
            Self::Call { tool, .. } | Self::Code { tool, .. } => tool.to_string(),
            Self::Api { action, .. } => {
                format!("the action {:?}", visible(action, 64))
            }
            Self::Approve { about, .. } => format!("approving {}", about.shown()),
        }
    }
}

impl Question<'_> {
    /// The approvals that the question came with; `None` where nothing can be approved.
    pub(super) fn approvers(&self) -> Option<&[AgentId]> {
        match self.what {
            What::Send { approvers, .. }
            | What::Call { approvers, .. }
            | What::Code { approvers, .. }
            | What::Api { approvers, .. } => Some(approvers.unwrap_or(&[])),
            What::Approve { .. } => None,
        }
    }

    /// Whether people have agreed.
    pub(super) fn granted(&self) -> bool {
        matches!(
            self.what,
            What::Send { approvers: Some(_), .. }
                | What::Call { approvers: Some(_), .. }
                | What::Code { approvers: Some(_), .. }
                | What::Api { approvers: Some(_), .. }
        )
    }

    /// The smallest rule that would allow this question.
    pub(super) fn smallest_rule(&self) -> String {
        let tenant = &self.realm.tenant;
        let principal = match self.who {
            Who::Agent(agent) => names::agent(tenant, agent.agent),
            Who::Operator(name) => names::operator(tenant, name),
        };
        let (action, resource, condition) = match self.what {
            What::Send { connection, operation, .. } => (
                names::operation_action(&connection.name, &operation.name),
                names::connection(&connection.name),
                String::new(),
            ),
            What::Call { tool, .. } => (names::call_action(tool), names::tool(tool), String::new()),
            What::Code { tool, .. } => (names::RUN_CODE.to_owned(), names::tool(tool), String::new()),
            What::Api { action, url, .. } => (
                "api".to_owned(),
                names::api(url),
                format!(" when {{ context.action == {} }}", names::quoted(action)),
            ),
            What::Approve { about, .. } => {
                let condition = format!(" when {{ context.operation == {} }}", names::quoted(&about.word()));
                ("approve".to_owned(), about.resource(), condition)
            }
        };
        let action = names::action(&action);
        format!("permit (principal == {principal}, action == {action}, resource == {resource}){condition};")
    }
}
