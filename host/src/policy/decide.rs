//! The doors' questions: may this tool be run, may this request be sent?

use serde_json::{Map, Value};

use super::approve::Approved;
use super::ask::{SendAsk, Verdict};
use super::call::{CallContext, CallDenied, CallVerdict, Invocation};
use super::grants;
use super::kinds::Unfit;
use super::permit::Permitted;
use super::question::{AgentFacts, Question, What, Who};
use super::set::Ruling;
use super::{Policy, unknown_tool};
use crate::auth::Caller;
use crate::catalog::Tool;
use crate::clock::Millis;
use crate::connection::TypedSend;
use crate::ids::ToolName;
use crate::refusal::{Code, FailureReason, Refusal, SendFailure};
use crate::store::{ComponentKind, TokenKind};

impl Policy {
    /// Does this tool exist, as far as this caller can tell?
    #[must_use]
    pub fn sees(&self, caller: &Caller, tool: &ToolName) -> bool {
        caller.kind() == TokenKind::Agent && grants::allow_tool(caller, tool)
    }

    /// Is this tool to be listed for this caller? A sandbox's is only if the policies would let the caller run the
    /// smallest code now, or as soon as people agree, in the conversation that its token is bound to, if it's bound to one: a
    /// model that is offered a way to run code uses it, and would only be refused. Other tools are listed by what the token
    /// names.
    #[must_use]
    pub fn lists(&self, caller: &Caller, tool: &Tool, now: Millis) -> bool {
        if !self.sees(caller, &tool.name) {
            return false;
        }
        match tool.kind {
            ComponentKind::Tool => true,
            ComponentKind::Sandbox => {
                let component = Some(tool.component);
                let what = What::Code { tool: &tool.name, component, bytes: 0, approvers: None };
                let context =
                    CallContext { conversation: caller.conversation().cloned(), ..CallContext::default() };
                let set = self.inner.set.load();
                questions(caller, &context, now, what)
                    .all(|question| set.decide(&question).ruling != Ruling::Denied)
            }
        }
    }

    /// May this tool be run with these arguments, or this code? `approved`: what people decided of exactly that, if they did.
    ///
    /// # Errors
    /// [`Code::ConversationMismatch`] when the token is bound to another conversation; [`Code::UnknownTool`] when
    /// the grant doesn't name the tool: the same answer as for a tool that doesn't exist, so that names can't be
    /// probed; [`Code::InvalidArguments`] when an argument that they look at can't be put to the policies;
    /// [`Code::Denied`] when the grant does and the policies say no.
    pub fn permit_invocation(
        &self,
        mut invocation: Invocation,
        approved: Option<&Approved>,
    ) -> Result<CallVerdict, CallDenied> {
        let caller = invocation.caller.clone();
        invocation.context = bind(&caller, invocation.context)?;
        if !self.sees(&caller, &invocation.tool) {
            return Err(unknown_tool(invocation.tool.as_str()).into());
        }
        // By INVARIANT (arguments) they are an object.
        let Some(arguments) = invocation.arguments.value().as_object() else {
            return Err(Refusal::new(Code::Internal, "the host failed; its log says why").into());
        };
        let (tool, component) = (&invocation.tool, Some(invocation.component));
        let approvers = approved.map(|approved| approved.approvers.as_slice());
        let what = match invocation.kind {
            ComponentKind::Tool => What::Call { tool, component, arguments: Some(arguments), approvers },
            ComponentKind::Sandbox => What::Code { tool, component, bytes: code_bytes(arguments), approvers },
        };
        let questions = questions(&caller, &invocation.context, invocation.now, what);
        let (decided, policy) = self.decide(questions, caller.realm());
        match decided.ruling {
            Ruling::Allowed => return Ok(CallVerdict::Permitted(Permitted::new(invocation, policy))),
            Ruling::NeedsApproval { quorum } => {
                return Ok(CallVerdict::NeedsApproval { invocation, quorum, policy });
            }
            Ruling::Denied => {}
        }
        tracing::info!(call = %invocation.call, tool = %invocation.tool, policies = ?decided.policies,
            cause = decided.cause.as_deref(), "a call was refused by policy");
        let refusal = match &decided.unfit {
            Some(unfit) => Refusal::new(Code::InvalidArguments, unfit_for(&what, unfit)),
            None => Refusal::new(Code::Denied, refused(&what)),
        };
        Err(CallDenied { refusal, policy: Some(policy) })
    }

    /// How many people have to agree before code of each of these sizes may be run, all of it asked for as this invocation is.
    /// `None`: nobody has to, for any of it; what is denied is found out where its turn comes.
    ///
    /// # Errors
    /// [`Code::Denied`]: people would have to agree to some of it, and some is denied whoever agrees. So nobody is asked.
    pub fn quorum_for_code(
        &self,
        invocation: &Invocation,
        sizes: impl IntoIterator<Item = usize>,
    ) -> Result<Option<u32>, CallDenied> {
        let (caller, tool) = (&invocation.caller, &invocation.tool);
        // Each is asked about once more where its turn comes, and compared with what a shadow says then.
        let set = self.inner.set.load();
        let (mut wanted, mut denied) = (None::<u32>, false);
        for size in sizes {
            let bytes = i64::try_from(size).unwrap_or(i64::MAX);
            let what = What::Code { tool, component: Some(invocation.component), bytes, approvers: None };
            let rulings = questions(caller, &invocation.context, invocation.now, what)
                .map(|question| set.decide(&question).ruling);
            match rulings.max() {
                Some(Ruling::Allowed) => {}
                Some(Ruling::NeedsApproval { quorum }) => wanted = wanted.max(Some(quorum)),
                Some(Ruling::Denied) | None => denied = true,
            }
        }
        if wanted.is_some() && denied {
            let refusal = Refusal::new(Code::Denied, format!("{tool} was refused by policy"));
            return Err(CallDenied { refusal, policy: Some(set.hash_for(caller.realm())) });
        }
        Ok(wanted)
    }

    /// May this caller use the proxy door at all? Answers what is known of its call.
    ///
    /// # Errors
    /// [`Code::ConversationMismatch`] when the token is bound to another conversation; [`Code::Denied`] for a
    /// token that is no agent's.
    pub fn admit_forward(&self, caller: &Caller, context: CallContext) -> Result<CallContext, Refusal> {
        if caller.kind() != TokenKind::Agent {
            return Err(Refusal::new(Code::Denied, "only an agent's token can send requests"));
        }
        bind(caller, context)
    }

    /// May this request be sent?
    ///
    /// No, with [`FailureReason::Denied`], when the tool doesn't declare the connection, the grant doesn't name the
    /// operation, or the policies say no; with [`FailureReason::InvalidRequest`] when a parameter that they look at
    /// can't be put to the policies. The cause is for the operator's log: it names the policies that decided, and
    /// the smallest rule that would allow the request.
    #[must_use]
    pub fn permit_send(&self, ask: SendAsk<'_>, send: TypedSend) -> Verdict {
        let caller = ask.alive.caller();
        if let Err(failure) = grants::allow_send(&ask, &send) {
            return Verdict::Denied { failure, policy: self.hash_for(caller.realm()) };
        }
        let what = What::Send {
            connection: send.connection(),
            operation: send.operation(),
            parameters: send.parameters(),
            cost: send.cost(),
            door: ask.via.door(),
            tool: ask.via.tool(),
            approvers: ask.approved.map(|approved| approved.approvers.as_slice()),
        };
        let questions = questions(caller, ask.context, ask.now, what);
        let (decided, policy) = self.decide(questions, caller.realm());
        match decided.ruling {
            Ruling::Allowed => Verdict::Permitted(Permitted::new(send, policy)),
            Ruling::NeedsApproval { quorum } => Verdict::NeedsApproval { send, quorum, policy },
            Ruling::Denied => {
                let failure = match &decided.unfit {
                    Some(unfit) => {
                        SendFailure::unsent(FailureReason::InvalidRequest, unfit_for(&what, unfit))
                    }
                    None => SendFailure::unsent(FailureReason::Denied, refused(&what)),
                };
                Verdict::Denied { failure: failure.because(decided.cause.unwrap_or_default()), policy }
            }
        }
    }
}

/// The size of the code that a sandbox is to run, in bytes. Where there's none, it's more than any policy takes.
pub(super) fn code_bytes(arguments: &Map<String, Value>) -> i64 {
    let code = arguments.get("code").and_then(Value::as_str);
    code.and_then(|code| i64::try_from(code.len()).ok()).unwrap_or(i64::MAX)
}

/// What an agent is told: what was refused, and never which rule did it.
pub(super) fn refused(what: &What<'_>) -> String {
    format!("{} was refused by policy", what.subject())
}

/// What an agent is told of a value that can't be put to the policies, in the words for one of the wrong type: names,
/// never values.
pub(super) fn unfit_for(what: &What<'_>, unfit: &Unfit) -> String {
    match (what, unfit.at.strip_prefix("arguments.")) {
        (What::Call { .. }, Some(argument)) => format!("argument `{argument}` {}", unfit.rule),
        _ => format!("{}: {unfit}", what.subject()),
    }
}

/// The question as each link of the caller's chain asks it, in its own name.
pub(super) fn questions<'q>(
    caller: &'q Caller,
    context: &'q CallContext,
    now: Millis,
    what: What<'q>,
) -> impl Iterator<Item = Question<'q>> {
    let depth = grants::depth(caller);
    caller.chain().map(move |link| {
        let agent = AgentFacts {
            agent: &link.agent,
            role: link.role.as_ref(),
            conversation: context.conversation.as_ref().map(|name| name.as_str()),
            task: link.task.as_deref(),
            turn: context.turn.as_ref().map(|name| name.as_str()),
            intent: context.intent.as_ref().map(|name| name.as_str()),
            user: caller.user().map(|user| user.as_str()),
            token: link.id.as_str(),
            depth,
        };
        Question { realm: caller.realm(), who: Who::Agent(agent), now, what }
    })
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
