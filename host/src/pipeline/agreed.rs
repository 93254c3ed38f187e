//! What has to be agreed on before a call begins: the tool, its arguments, the policy; and people, where that wants them.
//!
//! ```text
//! CallRequest → admit   tool by name, kill switches, input schema, policy
//!             → people  asked once, for exactly this: no instance, no place at the door or among the agent's calls, nothing
//!                       reserved meanwhile; their yes is looked at, and not used yet
//!             → admit   all of it once more, the token too: what was approved has to be what runs
//!             → begin   the intent is on record, with a place among the agent's calls
//!             → use     the yes is used up, and the call runs
//! ```

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use super::gate::{revoked, unrecorded};
use super::{CallRequest, Pipeline, Place};
use crate::approval::{ANSWER_BEFORE, ApprovalAsk, CallParts, CodeBlock, Obtained};
use crate::catalog::Tool;
use crate::dto::Arguments;
use crate::ids::{ApprovalId, ToolName};
use crate::kill::Subjects;
use crate::policy::{Approved, CallDenied, CallVerdict, Invocation, Permitted, unknown_tool};
use crate::refusal::{Code, FailureReason, Refusal, SendFailure};
use crate::store::ComponentKind;

/// The language of a sandbox's tool.
const PYTHON: &str = "python";

/// Which part of a call's time isn't spent waiting for people: one quarter.
const TO_RUN: u32 = 4;

/// The code that one request wants run, block after block, each of which is a call of its own: people agree to all of it before
/// any of it runs.
pub struct Program {
    blocks: Vec<CodeBlock>,
    /// Whether all of them were looked at, which is before the first. Afterwards blocks have run.
    is_looked_at: AtomicBool,
    /// Their yes, once it was used for this program.
    agreed: Mutex<Option<Arc<Agreed>>>,
}

/// People's yes to a call or to a program, and how many were wanted.
pub(super) struct Agreed {
    obtained: Obtained,
    quorum: u32,
}

/// A call that nothing keeps from running.
pub(super) struct Admitted {
    pub(super) tool: Arc<Tool>,
    pub(super) permit: Permitted<Invocation>,
    /// The approval that it was given.
    pub(super) approval: Option<ApprovalId>,
    /// That approval, where it has to be used up before the call runs.
    pub(super) unused: Option<Arc<Agreed>>,
}

impl Program {
    /// A program of blocks of Python.
    #[must_use]
    pub fn new(blocks: impl IntoIterator<Item = String>) -> Self {
        let block = |code| CodeBlock { language: PYTHON.to_owned(), code };
        Self {
            blocks: blocks.into_iter().map(block).collect(),
            is_looked_at: AtomicBool::new(false),
            agreed: Mutex::default(),
        }
    }

    fn agreed(&self) -> Option<Arc<Agreed>> {
        // Nothing can panic while it's locked.
        self.agreed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_agreed(&self, agreed: Arc<Agreed>) {
        *self.agreed.lock().unwrap_or_else(PoisonError::into_inner) = Some(agreed);
    }
}

impl std::fmt::Debug for Program {
    /// Without the code, which is never logged.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Program").field("blocks", &self.blocks.len()).finish_non_exhaustive()
    }
}

/// What refuses a call before it began, and the tool's name as it was asked for.
type NotAdmitted = (String, CallDenied);

impl Pipeline {
    /// Everything that can refuse a call before its intent is recorded: no such tool for this caller, arguments that
    /// don't fit, the policy, people. A refusal comes with the tool's name as it was asked for.
    ///
    /// While people are waited for, the `place` is given back.
    pub(super) async fn agree(
        &self,
        request: &CallRequest,
        place: &mut dyn Place,
        deadline: Instant,
    ) -> Result<Admitted, NotAdmitted> {
        if let Some(agreed) = request.program.as_ref().and_then(|program| program.agreed()) {
            return self.still_agreed(request, &agreed);
        }
        let (tool, verdict) = self.admit(request, None)?;
        let asked = |denied| (request.tool.clone(), denied);
        let program = request.program.as_ref();
        let is_later = program.is_some_and(|program| program.is_looked_at.swap(true, Ordering::Relaxed));
        let (invocation, quorum) = match verdict {
            // A yes would be to all of the program, and would run those blocks a second time.
            CallVerdict::NeedsApproval { policy, .. } if is_later => {
                let refusal = Refusal::new(
                    Code::Denied,
                    "blocks before this one have run, and the policies have changed since: a person has to approve the rest, as a \
                     request of its own",
                );
                return Err(asked(CallDenied { refusal, policy: Some(policy) }));
            }
            CallVerdict::NeedsApproval { invocation, quorum, .. } => {
                let of_all = self.quorum(request, &invocation).map_err(asked)?;
                (invocation, of_all.unwrap_or(quorum))
            }
            CallVerdict::Permitted(permit) => {
                let of_all = if is_later { Ok(None) } else { self.quorum(request, permit.request()) };
                match of_all.map_err(asked)? {
                    Some(quorum) => (permit.into_request(), quorum),
                    None => return Ok(Admitted { tool, permit, approval: None, unused: None }),
                }
            }
        };
        let blocks = blocks(request, &invocation).map_err(|refusal| asked(refusal.into()))?;
        let found = self.people(request, &invocation, (&blocks, quorum), place, deadline).await;
        let obtained = found.map_err(|failure| {
            let policy = Some(self.parts.policy.hash_for(request.caller.realm()));
            asked(CallDenied { refusal: not_agreed(&invocation, failure), policy })
        })?;
        place.come_back().map_err(|busy| {
            let message = format!("{}; {} is approved and wasn't used", busy.message, obtained.approved.id);
            asked(Refusal::new(busy.code, message).into())
        })?;
        let agreed = Arc::new(Agreed { obtained, quorum });
        // People take their time: whatever was checked is checked again.
        let admitted = self.still_agreed(request, &agreed)?;
        Ok(Admitted { unused: Some(agreed), ..admitted })
    }

    /// Uses up the yes that a call, whose intent is on record by now, and all of its program run by.
    ///
    /// # Errors
    /// What the agent hears, where another request has used it meanwhile, or that can't be recorded. Nothing may run then.
    pub(super) async fn use_up(
        &self,
        agreed: Arc<Agreed>,
        invocation: &Invocation,
        program: Option<&Program>,
        deadline: Instant,
    ) -> Result<(), Refusal> {
        let Some(desk) = &self.parts.approvals else { return Err(not_agreed(invocation, nobody_here())) };
        let late = || Err(unrecorded("the deadline passed before the use was on the disk".to_owned()));
        let used = if Instant::now() < deadline {
            let used = desk.use_up(&invocation.call, &agreed.obtained);
            tokio::time::timeout_at(deadline, used).await.unwrap_or_else(|_| late())
        } else {
            // A time that is over polls its work once all the same.
            late()
        };
        used.map_err(|failure| not_agreed(invocation, failure))?;
        if let Some(program) = program {
            program.set_agreed(agreed);
        }
        Ok(())
    }

    /// Everything but people, whose answer may be `approved`.
    fn admit(
        &self,
        request: &CallRequest,
        approved: Option<&Approved>,
    ) -> Result<(Arc<Tool>, CallVerdict), NotAdmitted> {
        let CallRequest { caller, tool: name, arguments, call, context, .. } = request;
        let refused = |refusal: Refusal| (name.clone(), CallDenied::from(refusal));
        let snapshot = self.parts.catalog.snapshot();
        let found = name.parse::<ToolName>().ok().and_then(|name| snapshot.tool(&name).cloned());
        let Some(tool) = found.filter(|tool| self.parts.policy.sees(caller, &tool.name)) else {
            return Err(refused(unknown_tool(name)));
        };
        self.parts
            .kills
            .check(&stoppable(request, &tool.name))
            .map_err(|killed| refused(killed.refusal()))?;
        let arguments = Arguments::parse(arguments, &tool.input)
            .map_err(|error| refused(Refusal::new(Code::InvalidArguments, error.to_string())))?;
        let invocation = Invocation {
            call: call.clone(),
            caller: caller.clone(),
            tool: tool.name.clone(),
            kind: tool.kind,
            component: tool.component,
            connections: tool.connections.clone(),
            arguments,
            context: context.clone(),
            now: self.parts.clock.now(),
        };
        match self.parts.policy.permit_invocation(invocation, approved) {
            Ok(verdict) => Ok((tool, verdict)),
            Err(denied) => Err((name.clone(), denied)),
        }
    }

    /// Admits what people have agreed to, if it's still that.
    fn still_agreed(&self, request: &CallRequest, agreed: &Agreed) -> Result<Admitted, NotAdmitted> {
        let Agreed { obtained: Obtained { approved, fingerprint, .. }, quorum } = agreed;
        let asked = |refusal: Refusal| (request.tool.clone(), CallDenied::from(refusal));
        if let Err(error) = self.parts.auth.alive(&request.caller) {
            let failure = revoked(&error);
            return Err(asked(Refusal::new(failure.reason.code(), failure.message)));
        }
        let (tool, verdict) = self.admit(request, Some(approved))?;
        let policy = match &verdict {
            CallVerdict::Permitted(permit) => permit.policy(),
            CallVerdict::NeedsApproval { policy, .. } => *policy,
        };
        if let CallVerdict::Permitted(permit) = verdict {
            let invocation = permit.request();
            let blocks = blocks(request, invocation).map_err(asked)?;
            let parts = CallParts {
                invocation,
                component: invocation.component,
                blocks: &blocks,
                policy,
                quorum: *quorum,
            };
            // INVARIANT (shown): what runs by people's yes is what they were asked, to the byte, and by the same component.
            if parts.fingerprint() == *fingerprint {
                return Ok(Admitted { tool, permit, approval: Some(approved.id.clone()), unused: None });
            }
        }
        let refusal = Refusal::new(
            Code::Denied,
            "this was approved, and isn't what was approved any more, or the policies in force don't take that as enough: another \
             approver has to agree, or they or the tool have changed since",
        );
        Err((request.tool.clone(), CallDenied { refusal, policy: Some(policy) }))
    }

    /// How many people have to agree to all of a program. `None`: nobody, or it's the question of this one call.
    fn quorum(&self, request: &CallRequest, invocation: &Invocation) -> Result<Option<u32>, CallDenied> {
        match &request.program {
            Some(program) if invocation.kind == ComponentKind::Sandbox && program.blocks.len() > 1 => {
                let sizes = program.blocks.iter().map(|block| block.code.len());
                self.parts.policy.quorum_for_code(invocation, sizes)
            }
            _ => Ok(None),
        }
    }

    /// Finds people's yes to exactly this, under the component and the policies of the moment. A kill switch, or the token's
    /// end, ends the wait for them. So does the last quarter of the call's time: what they agree to has to run as well.
    async fn people(
        &self,
        request: &CallRequest,
        invocation: &Invocation,
        (blocks, quorum): (&[CodeBlock], u32),
        place: &mut dyn Place,
        deadline: Instant,
    ) -> Result<Obtained, SendFailure> {
        let Some(desk) = &self.parts.approvals else { return Err(nobody_here()) };
        let own = desk.own(&invocation.caller);
        let ask = || {
            let snapshot = self.parts.catalog.snapshot();
            // One that went meanwhile is found out afterwards.
            let component =
                snapshot.tool(&invocation.tool).map_or(invocation.component, |tool| tool.component);
            let policy = self.parts.policy.hash_for(invocation.caller.realm());
            ApprovalAsk::of_call(CallParts { invocation, component, blocks, policy, quorum }, own.clone())
        };
        let said = (request.context.approvals.as_slice(), request.context.approval_wait);
        let to_run = (request.deadline / TO_RUN).max(ANSWER_BEFORE);
        let until = deadline.checked_sub(to_run).unwrap_or(deadline);
        let mut leave = || place.leave();
        let found = desk.find(&request.call, &ask, said, until, &mut leave);
        tokio::select! {
            biased;
            over = self.parts.over(&request.caller, deadline, stoppable(request, &invocation.tool)) => Err(over),
            found = found => found,
        }
    }
}

/// What the agent hears of a call that people haven't agreed to. The cause is in the log by then.
fn not_agreed(invocation: &Invocation, failure: SendFailure) -> Refusal {
    tracing::info!(call = %invocation.call, tool = %invocation.tool, reason = ?failure.reason,
        message = %failure.message, cause = failure.cause.as_deref(), "a call isn't agreed to");
    Refusal::new(failure.reason.code(), failure.message)
}

/// All that a kill switch could stop a call by, before it has begun.
fn stoppable<'s>(request: &'s CallRequest, tool: &'s ToolName) -> Subjects<'s> {
    Subjects {
        realm: request.caller.realm(),
        caller: Some(&request.caller),
        call: Some(&request.call),
        conversation: request.caller.conversation().or(request.context.conversation.as_ref()),
        tool: Some(tool),
        connection: None,
    }
}

/// All the code that is asked about with this call. Empty for a tool's.
///
/// # Errors
/// The program isn't what the call was made from.
fn blocks(request: &CallRequest, invocation: &Invocation) -> Result<Vec<CodeBlock>, Refusal> {
    if invocation.kind == ComponentKind::Tool {
        return Ok(Vec::new());
    }
    let code = invocation.arguments.value().get("code").and_then(serde_json::Value::as_str);
    let failed = |why: &str| {
        tracing::error!(call = %request.call, why, "a call of a sandbox can't be asked about");
        Refusal::new(Code::Internal, "the host failed; its log says why")
    };
    let code = code.ok_or_else(|| failed("it has no code"))?;
    let own = CodeBlock { language: PYTHON.to_owned(), code: code.to_owned() };
    match &request.program {
        None => Ok(vec![own]),
        Some(program) if program.blocks.contains(&own) => Ok(program.blocks.clone()),
        Some(_) => Err(failed("it isn't part of its program")),
    }
}

/// What the agent hears where there's nobody to ask.
pub(super) fn nobody_here() -> SendFailure {
    SendFailure::unsent(
        FailureReason::ApprovalRequired,
        "a person has to approve this first, and nobody can here",
    )
}
