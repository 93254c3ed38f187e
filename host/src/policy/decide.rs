//! The doors' questions: may this tool be run, may this request be sent?

use super::ask::{SendAsk, Verdict};
use super::call::{CallContext, Invocation};
use super::grants;
use super::permit::Permitted;
use super::question::{AgentFacts, Question, What, Who};
use super::set::{Decided, Ruling};
use super::{Policy, unknown_tool};
use crate::auth::Caller;
use crate::connection::TypedSend;
use crate::dto::read_json;
use crate::egress::{FailureReason, SendFailure};
use crate::ids::{Digest, ToolName};
use crate::refusal::{Code, Refusal};
use crate::store::TokenKind;

impl Policy {
    /// Does this tool exist, as far as this caller can tell?
    #[must_use]
    pub fn sees(&self, caller: &Caller, tool: &ToolName) -> bool {
        caller.kind() == TokenKind::Agent && grants::allow_tool(caller, tool)
    }

    /// May this tool be run with these arguments?
    ///
    /// # Errors
    /// [`Code::ConversationMismatch`] when the token is bound to another conversation; [`Code::UnknownTool`] when
    /// the grant doesn't name the tool: the same answer as for a tool that doesn't exist, so that names can't be
    /// probed; [`Code::Denied`] when the grant does and the policies say no.
    pub fn permit_invocation(&self, mut invocation: Invocation) -> Result<Permitted<Invocation>, Refusal> {
        let caller = invocation.caller.clone();
        invocation.context = bind(&caller, invocation.context)?;
        if !self.sees(&caller, &invocation.tool) {
            return Err(unknown_tool(invocation.tool.as_str()));
        }
        // The arguments are canonical JSON of a checked object, so they can be read back.
        let text = invocation.arguments.as_str();
        let arguments = read_json(text.as_bytes(), text.len()).unwrap_or_default();
        let Some(arguments) = arguments.as_object() else {
            return Err(Refusal::new(Code::Internal, "the host failed; its log says why"));
        };
        let question = Question {
            realm: caller.realm(),
            who: Who::Agent(AgentFacts::of(&caller, &invocation.context)),
            now: invocation.now,
            what: What::Call { tool: &invocation.tool, component: Some(invocation.component), arguments },
        };
        let (decided, hash) = self.decide_for(&caller, &question);
        if decided.ruling == Ruling::Allowed {
            return Ok(Permitted::new(invocation, hash));
        }
        tracing::info!(call = %invocation.call, tool = %invocation.tool, policies = ?decided.policies,
            cause = decided.cause.as_deref(), "a call was refused by policy");
        Err(Refusal::new(Code::Denied, refused(&question)))
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
    /// No, with [`FailureReason::Denied`], when the tool doesn't declare the connection, the grant doesn't name the
    /// operation, or the policies say no. The cause is for the operator's log: it names the policies that decided, and
    /// the smallest rule that would allow the request.
    #[must_use]
    pub fn permit_send(&self, ask: SendAsk<'_>, send: TypedSend) -> Verdict {
        if let Err(failure) = grants::allow_send(&ask, &send) {
            return Verdict::Denied(failure);
        }
        let caller = ask.alive.caller();
        let question = Question {
            realm: caller.realm(),
            who: Who::Agent(AgentFacts::of(caller, ask.context)),
            now: ask.now,
            what: What::Send {
                connection: send.connection(),
                operation: send.operation(),
                parameters: send.parameters(),
                cost: send.cost(),
                door: ask.via.door(),
                tool: ask.via.tool(),
                approvers: ask.approved.map(|approved| approved.approvers.as_slice()),
            },
        };
        let (decided, hash) = self.decide_for(caller, &question);
        match decided.ruling {
            Ruling::Allowed => Verdict::Permitted(Permitted::new(send, hash)),
            Ruling::NeedsApproval { quorum } => Verdict::NeedsApproval { send, quorum },
            Ruling::Denied => {
                let failure = SendFailure::unsent(FailureReason::Denied, refused(&question));
                Verdict::Denied(failure.because(decided.cause.unwrap_or_default()))
            }
        }
    }
}

impl Policy {
    /// What the policies say to a caller: the strictest of what they say to each link of its chain, each asked as itself.
    ///
    /// Whoever delegates a token names its agent, role and task. By INVARIANT (chain) these alone must not open
    /// anything, so what the child asks for is asked for its parent too, and so on up.
    pub(super) fn decide_for(&self, caller: &Caller, question: &Question<'_>) -> (Decided, Digest) {
        let (mut strictest, hash) = self.decide(question);
        let Who::Agent(own) = question.who else { return (strictest, hash) };
        for (above, link) in caller.chain().enumerate().skip(1) {
            if strictest.ruling == Ruling::Denied {
                break;
            }
            let who = Who::Agent(AgentFacts {
                agent: &link.agent,
                role: link.role.as_ref(),
                task: link.task.as_deref(),
                token: link.id.as_str(),
                depth: own.depth.saturating_sub(u32::try_from(above).unwrap_or(u32::MAX)),
                ..own
            });
            let (decided, _) = self.decide(&Question { who, ..*question });
            strictest = strictest.and(decided);
        }
        (strictest, hash)
    }
}

impl Decided {
    /// Both: no is stronger than not yet, and that is stronger than yes.
    fn and(mut self, other: Self) -> Self {
        let ruling = match (self.ruling, other.ruling) {
            (Ruling::Denied, _) | (_, Ruling::Denied) => Ruling::Denied,
            (Ruling::NeedsApproval { quorum: a }, Ruling::NeedsApproval { quorum: b }) => {
                Ruling::NeedsApproval { quorum: a.max(b) }
            }
            (Ruling::NeedsApproval { quorum }, _) | (_, Ruling::NeedsApproval { quorum }) => {
                Ruling::NeedsApproval { quorum }
            }
            (Ruling::Allowed, Ruling::Allowed) => Ruling::Allowed,
        };
        self.policies.extend(other.policies);
        self.policies.sort();
        self.policies.dedup();
        Self { ruling, policies: self.policies, cause: other.cause.or(self.cause) }
    }
}

/// What an agent is told: what was refused, and never which rule did it.
pub(super) fn refused(question: &Question<'_>) -> String {
    format!("{} was refused by policy", question.subject())
}

impl<'a> AgentFacts<'a> {
    /// What is known of a caller and its call.
    pub(super) fn of(caller: &'a Caller, context: &'a CallContext) -> Self {
        Self {
            agent: caller.agent(),
            role: caller.role(),
            conversation: context.conversation.as_ref().map(|name| name.as_str()),
            task: caller.task(),
            turn: context.turn.as_ref().map(|name| name.as_str()),
            intent: context.intent.as_ref().map(|name| name.as_str()),
            token: caller.token().as_str(),
            depth: grants::depth(caller),
        }
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
