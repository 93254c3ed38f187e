//! The one place that says yes.
//!
//! Default deny. What is allowed is what the tool declares and the operator consented to, and the token's grant
//! carries: an intersection, never a sum.

mod approve;
mod ask;
mod enforce;
mod permit;
mod problem;
#[cfg(test)]
mod tests;

pub use approve::ApproveQuestion;
pub use ask::{Door, SendAsk, Verdict, Via};
pub use enforce::{EnforceDecision, EnforceQuestion, Enforced};
pub use permit::Permitted;
pub use problem::{PolicyProblem, PolicyProblems};

use std::sync::Arc;

use crate::auth::Caller;
use crate::connection::TypedSend;
use crate::dto::Arguments;
use crate::egress::{FailureReason, SendFailure};
use crate::ids::{ApprovalId, CallId, ConnectionName, ConversationId, Digest, IntentId, ToolName, TurnId};
use crate::refusal::{Code, Refusal};
use crate::store::{PolicyRow, TokenKind};

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
    /// The trace id of `traceparent`: 32 hexadecimal digits.
    pub trace: Option<String>,
}

/// Decides. Pure: no clock, no store, no wire.
#[derive(Debug, Default, Clone)]
pub struct Policy {}

impl Policy {
    /// The baseline alone, in memory: what a token's grant carries is permitted, and operators approve. For fixtures,
    /// throw-away hosts, benches and tests.
    #[must_use]
    pub fn permissive() -> Self {
        Self {}
    }

    /// SHA-256 over the ids and texts of all policies in force.
    #[must_use]
    pub fn hash(&self) -> Digest {
        Digest::of(b"")
    }

    /// May this operator approve this request? (That nobody approves their own is checked elsewhere, too.)
    #[must_use]
    pub fn may_approve(&self, question: ApproveQuestion<'_>) -> bool {
        question.approver != question.requester
    }

    /// May this caller do this, outside of the host?
    #[must_use]
    pub fn enforce(&self, question: EnforceQuestion<'_>) -> EnforceDecision {
        EnforceDecision::refused(Code::Denied, format!("{} was refused by policy", question.action))
    }

    /// Would this posted policy be taken, beside those in force?
    ///
    /// # Errors
    /// Every problem of its text, with line and column.
    pub fn check_stored(&self, _row: &PolicyRow) -> Result<(), PolicyProblems> {
        Ok(())
    }

    /// Does this tool exist, as far as this caller can tell?
    #[must_use]
    pub fn sees(&self, caller: &Caller, tool: &ToolName) -> bool {
        caller.kind() == TokenKind::Agent && caller.allows_tool(tool)
    }

    /// May this tool be run with these arguments?
    ///
    /// # Errors
    /// [`Code::ConversationMismatch`] when the token is bound to another conversation; [`Code::UnknownTool`] when
    /// the grant doesn't name the tool: the same answer as for a tool that doesn't exist, so that names can't be
    /// probed.
    pub fn permit_invocation(&self, mut invocation: Invocation) -> Result<Permitted<Invocation>, Refusal> {
        let caller = &invocation.caller;
        invocation.context = bind(caller, invocation.context)?;
        if !self.sees(caller, &invocation.tool) {
            return Err(unknown_tool(invocation.tool.as_str()));
        }
        Ok(Permitted::new(invocation))
    }

    /// May this caller use the proxy door at all? Answers what is known of its call.
    ///
    /// # Errors
    /// [`Code::ConversationMismatch`] when the token is bound to another conversation; [`Code::Denied`] for an
    /// operator's token.
    pub fn admit_forward(&self, caller: &Caller, context: CallContext) -> Result<CallContext, Refusal> {
        if caller.kind() != TokenKind::Agent {
            return Err(Refusal::new(Code::Denied, "an operator's token can't send requests"));
        }
        bind(caller, context)
    }

    /// May this request be sent?
    ///
    /// No, with [`FailureReason::Denied`], when the tool doesn't declare the connection or the grant doesn't name the
    /// operation.
    #[must_use]
    pub fn permit_send(&self, ask: SendAsk<'_>, send: TypedSend) -> Verdict {
        let (connection, operation) = (send.connection_name(), send.operation_name());
        if let Via::Tool { connections, .. } = ask.via
            && !connections.contains(connection)
        {
            return Verdict::Denied(
                SendFailure::unsent(
                    FailureReason::Denied,
                    format!("this tool may not use the connection {connection}"),
                )
                .because(format!("the tool doesn't declare {connection}, or no operator consented to it")),
            );
        }
        if !ask.alive.caller().allows_operation(connection, operation) {
            return Verdict::Denied(
                SendFailure::unsent(
                    FailureReason::Denied,
                    format!("this token may not use the operation {connection}:{operation}"),
                )
                .because(format!("smallest grant that would allow it: --operation {connection}:{operation}")),
            );
        }
        Verdict::Permitted(Permitted::new(send))
    }
}

/// A token that is bound to a conversation serves no other.
fn bind(caller: &Caller, mut context: CallContext) -> Result<CallContext, Refusal> {
    match (caller.conversation(), &context.conversation) {
        (Some(bound), Some(named)) if bound != named => {
            return Err(Refusal::new(
                Code::ConversationMismatch,
                "this token is bound to another conversation; use the token minted for this one",
            ));
        }
        (Some(bound), None) => context.conversation = Some(bound.clone()),
        _ => {}
    }
    Ok(context)
}

/// The one answer for a tool that isn't there and for one that this token may not call.
#[must_use]
pub fn unknown_tool(name: &str) -> Refusal {
    let shown: String = name.chars().filter(|c| c.is_ascii_graphic()).take(64).collect();
    Refusal::new(
        Code::UnknownTool,
        format!("there is no tool {shown:?} that this token may call; GET /v1/tools lists those it may"),
    )
}
