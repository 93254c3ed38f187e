//! A request to run a tool.

use std::sync::Arc;

use crate::auth::Caller;
use crate::clock::Millis;
use crate::dto::Arguments;
use crate::ids::{
    ApprovalId, CallId, ConnectionName, ConversationId, Digest, IntentId, ModelCallId, ToolName, TurnId,
};
use crate::refusal::Refusal;
use crate::store::ComponentKind;

use super::ask::{Door, Via};
use super::facts::judged;
use super::question::{Question, What, Who};
use super::{Facts, Judged, Permitted, Policy};

/// A request to run one tool once.
#[derive(Debug)]
pub struct Invocation {
    /// The call's id.
    pub call: CallId,
    /// Who asks.
    pub caller: Arc<Caller>,
    /// The tool.
    pub tool: ToolName,
    /// What its component is.
    pub kind: ComponentKind,
    /// The component that it's part of.
    pub component: Digest,
    /// The connections that the tool declares and the operator consented to; for a sandbox, those that the operator chose.
    pub connections: Arc<[ConnectionName]>,
    /// Arguments that passed the input schema.
    pub arguments: Arguments,
    /// What the caller says of the call.
    pub context: CallContext,
    /// The time.
    pub now: Millis,
}

impl Invocation {
    /// The way that its requests come.
    #[must_use]
    pub fn via(&self) -> Via {
        let (name, component) = (self.tool.clone(), self.component);
        let connections = self.connections.clone();
        match self.kind {
            ComponentKind::Tool => Via::Tool { name, component, connections },
            ComponentKind::Sandbox => Via::Code { name, component, connections },
        }
    }

    /// The kind of door that it came through.
    #[must_use]
    pub fn door(&self) -> Door {
        match self.kind {
            ComponentKind::Tool => Door::Tool,
            ComponentKind::Sandbox => Door::Code,
        }
    }
}

impl Policy {
    /// Asks the policies, as [`Self::judge`] does, whether the call may be made that a request came from. Its request's facts
    /// hold no arguments and no code: code is taken as of 0 bytes. `None`: the request came from no call of a tool or of code.
    ///
    /// # Errors
    /// A sentence that says why it can't be asked: there's no such tool, or policies look at its arguments.
    pub fn judge_call(&self, facts: &Facts, now: Millis) -> Option<Result<Judged, String>> {
        let tool = facts.tool.as_ref().filter(|_| facts.operation.is_some())?;
        let what = match facts.door {
            Door::Tool if !self.knows_tool(tool) => return Some(Err(no_tool(tool))),
            Door::Tool => What::Call { tool, component: None, arguments: None, approvers: None },
            Door::Code => What::Code { tool, component: None, bytes: 0, approvers: None },
            Door::Proxy => return None,
        };
        let (realm, now) = (facts.realm(), facts.now.unwrap_or(now));
        let everyone = facts.agents().map(Who::Agent);
        let questions = everyone.map(|who| Question { realm: &realm, who, now, what });
        let (decided, _) = self.decide(questions, &realm);
        Some(match &decided.unfit {
            Some(unfit) => Err(format!("policies look at what the tool {tool} was called with: {unfit}")),
            None => Ok(judged(decided)),
        })
    }

    /// Whether there's such a tool. Sandboxes' are none: they're asked about as code.
    pub(super) fn knows_tool(&self, tool: &ToolName) -> bool {
        self.inner.set.load().world.tool(tool).is_some()
    }
}

/// What is said of a question about a tool that there isn't.
pub(super) fn no_tool(tool: &ToolName) -> String {
    format!("there is no tool {tool} here: tools are a home's, or with --connections those of --tools")
}

/// What the policy says of a call that it doesn't deny.
#[derive(Debug)]
pub enum CallVerdict {
    /// Yes.
    Permitted(Permitted<Invocation>),
    /// Yes, as soon as so many people agree.
    NeedsApproval {
        /// The call, given back, its conversation settled.
        invocation: Invocation,
        /// How many.
        quorum: u32,
        /// The hash of the policies that want them.
        policy: Digest,
    },
}

/// A call that may not run.
#[derive(Debug)]
pub struct CallDenied {
    /// For the agent: why.
    pub refusal: Refusal,
    /// The hash of the policies that decided. None: they weren't asked.
    pub policy: Option<Digest>,
}

impl From<Refusal> for CallDenied {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, policy: None }
    }
}

/// What a caller says of its call, in headers.
#[derive(Debug, Clone, Default)]
pub struct CallContext {
    /// `Keybearer-Conversation`, or the conversation that the token is bound to.
    pub conversation: Option<ConversationId>,
    /// `Keybearer-Turn`.
    pub turn: Option<TurnId>,
    /// `Keybearer-Intent`: the same write under another intent is meant to happen again.
    pub intent: Option<IntentId>,
    /// `Keybearer-Approval`: the approvals that the call, and what it sends, were given.
    pub approvals: Vec<ApprovalId>,
    /// `Keybearer-Approval-Wait: yes`: wait for a person instead of answering at once, for three quarters of the call's time, and
    /// for what it sends nearly up to its deadline.
    pub approval_wait: bool,
    /// `Keybearer-Model-Call`: what the model calls this call. For the record alone: a model picks it, so nothing is
    /// decided by it.
    pub model_call: Option<ModelCallId>,
    /// The trace id of `traceparent`: 32 hexadecimal digits.
    pub trace: Option<String>,
}
