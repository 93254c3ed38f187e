//! A request to run a tool.

use std::sync::Arc;

use crate::auth::Caller;
use crate::clock::Millis;
use crate::dto::Arguments;
use crate::ids::{
    ApprovalId, CallId, ConnectionName, ConversationId, Digest, IntentId, ModelCallId, ToolName, TurnId,
};

/// A request to run one tool once.
#[derive(Debug)]
pub struct Invocation {
    /// The call's id.
    pub call: CallId,
    /// Who asks.
    pub caller: Arc<Caller>,
    /// The tool.
    pub tool: ToolName,
    /// The component that it's part of.
    pub component: Digest,
    /// The connections that the tool declares and the operator consented to.
    pub connections: Arc<[ConnectionName]>,
    /// Arguments that passed the input schema.
    pub arguments: Arguments,
    /// What the caller says of the call.
    pub context: CallContext,
    /// The time.
    pub now: Millis,
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
    /// `Keybearer-Approval`: the approval that this request was given.
    pub approval: Option<ApprovalId>,
    /// `Keybearer-Approval-Wait: yes`: wait for a person up to the deadline instead of answering at once.
    pub approval_wait: bool,
    /// `Keybearer-Model-Call`: what the model calls this call. For the record alone: a model picks it, so nothing is
    /// decided by it.
    pub model_call: Option<ModelCallId>,
    /// The trace id of `traceparent`: 32 hexadecimal digits.
    pub trace: Option<String>,
}
