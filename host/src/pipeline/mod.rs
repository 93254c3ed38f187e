//! The way of a call, from a verified caller to an audited answer. Every door and the fixture runner go this way.

mod agreed;
mod answer;
mod forward;
mod gate;
mod place;
mod reconcile;
mod sends;
mod spending;
#[cfg(test)]
mod tests;
mod under_way;

pub use agreed::Program;
pub use answer::Answer;
pub use forward::ForwardRequest;
pub(crate) use gate::question_of;
pub use place::Place;
pub use reconcile::{ReconcileError, Reconciler, Report};
pub use sends::{LogLine, ToolLog, TracingLog};
pub use spending::Spending;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::approval::ApprovalDesk;
use crate::audit::{Audit, AuditError, Audited, Outcome};
use crate::auth::{Auth, Caller};
use crate::catalog::{Catalog, Tool};
use crate::clock::Clock;
use crate::connection::LiveConnections;
use crate::dto::Narrow;
use crate::egress::{Egress, SHORT_BYTES_MAX, Vault};
use crate::ids::CallId;
use crate::kill::Kills;
use crate::metrics::Metrics;
use crate::policy::{CallContext, Policy};
use crate::refusal::{Code, Refusal, RequestSent};
use crate::runtime::{Limits, RunFailure, RunReport};
use crate::store::ComponentKind;
use agreed::Admitted;
use answer::{record_excess, refusal_of, withheld};
use gate::{CallState, Gate};
use place::NoPlace;
use sends::CallSends;

/// One call, as a door hands it over.
#[derive(Debug)]
pub struct CallRequest {
    /// Who asks.
    pub caller: Arc<Caller>,
    /// The tool's name, unchecked.
    pub tool: String,
    /// The arguments, unchecked.
    pub arguments: Bytes,
    /// The call's id.
    pub call: CallId,
    /// What the caller says of the call.
    pub context: CallContext,
    /// How long it may take, audit and sends included.
    pub deadline: Duration,
    /// All the code that is asked for at once, where the call is a block of it.
    pub program: Option<Arc<Program>>,
}

/// What a pipeline is made of.
pub struct Parts {
    /// The tools.
    pub catalog: Arc<Catalog>,
    /// Whose tokens are looked at again before each send.
    pub auth: Arc<Auth>,
    /// What is stopped.
    pub kills: Arc<Kills>,
    /// Who may do what.
    pub policy: Policy,
    /// Where people are asked. `None`: there's nobody to ask.
    pub approvals: Option<ApprovalDesk>,
    /// Budgets, and writes that were made.
    pub spending: Arc<Spending>,
    /// What seals the policies' questions, so that they can be kept in the trail. `None`: they aren't kept.
    pub questions: Option<Arc<Vault>>,
    /// Where intents and outcomes go.
    pub audit: Audit,
    /// The upstreams.
    pub connections: Arc<LiveConnections>,
    /// The way to them.
    pub egress: Arc<Egress>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Where tools' log lines go.
    pub log: Arc<dyn ToolLog>,
    /// What one call may use up.
    pub limits: Limits,
    /// What one execution of code that an agent wrote may use up.
    pub code_limits: Limits,
}

/// Runs calls.
#[derive(Clone)]
pub struct Pipeline {
    parts: Arc<Parts>,
}

impl Pipeline {
    /// A pipeline of these parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self { parts: Arc::new(parts) }
    }

    /// The tools that a caller is offered, by name.
    #[must_use]
    pub fn tools(&self, caller: &Caller) -> Vec<Arc<Tool>> {
        let snapshot = self.parts.catalog.snapshot();
        let now = self.parts.clock.now();
        snapshot.tools().filter(|tool| self.parts.policy.lists(caller, tool, now)).cloned().collect()
    }

    /// Runs one call. Dropping the future stops the call and records it as cancelled.
    pub async fn call(&self, request: CallRequest) -> Answer {
        self.call_at(request, &mut NoPlace).await
    }

    /// As [`Self::call`]. While the call waits for people to agree to it, it has no place at its door: if there's none by the
    /// time they have, it's refused, and their yes isn't used up.
    pub async fn call_at(&self, request: CallRequest, place: &mut dyn Place) -> Answer {
        let deadline = Instant::now() + request.deadline;
        let agreed = self.agree(&request, place, deadline).await;
        let admitted = match agreed {
            Ok(admitted) => admitted,
            Err((tool, denied)) => {
                let CallRequest { call, caller, context, .. } = request;
                let recorded = self.parts.audit.refused(call, &caller, &context, &tool, &denied);
                let recorded = in_time(deadline, recorded).await;
                return Answer::Refused(recorded.err().unwrap_or(denied.refusal));
            }
        };
        let timer = self.parts.metrics.call_started(&admitted.tool.name);
        let (answer, code) = match self.run(admitted, request.program.as_deref(), deadline).await {
            Ok((result, sent, code)) => (Answer::Finished { result, sent }, code),
            Err(refusal) => {
                let code = refusal.code;
                (Answer::Refused(refusal), Some(code))
            }
        };
        timer.finished(code);
        answer
    }

    async fn run(
        &self,
        admitted: Admitted,
        program: Option<&Program>,
        deadline: Instant,
    ) -> Result<Ran, Refusal> {
        let Admitted { tool, permit, approval, unused } = admitted;
        let tool = &tool;
        let limits = self.parts.policy.calls_at_once(&permit.request().caller);
        let begun = self.parts.audit.begin(&permit, approval.clone(), &limits);
        let pending = in_time(deadline, begun).await?;
        // INVARIANT (use): last of all, so that no yes is used up by a call that isn't on record or has no place.
        if let Some(agreed) = unused
            && let Err(refusal) = self.use_up(agreed, permit.request(), program, deadline).await
        {
            let code = refusal.code;
            let finished = pending.finish(Outcome::failed(code), Err(refusal));
            return Ok((in_time(deadline, finished).await?, RequestSent::No, Some(code)));
        }
        let invocation = permit.request();
        let gate = Gate {
            parts: self.parts.clone(),
            caller: invocation.caller.clone(),
            via: invocation.via(),
            context: invocation.context.clone(),
            deadline,
            state: Arc::new(CallState::new(pending, approval)),
        };
        let (sends, drafts) = CallSends::new(&gate, tool.name.clone());
        let state = gate.state.clone();
        let limits = match tool.kind {
            ComponentKind::Tool => &self.parts.limits,
            ComponentKind::Sandbox => &self.parts.code_limits,
        };
        let run = async {
            let report = tool.runtime.run(&tool.prepared, permit, limits, deadline, Box::new(sends)).await;
            record_excess(&report, &state, &tool.name);
            judge(report, &state, tool, &self.parts.egress, deadline).await
        };
        let ended = tokio::select! {
            biased;
            judged = run => Ok(judged),
            killed = drafts.serve(&gate) => Err(killed),
            killed = self.parts.kills.stopped(gate.subjects(None)) => Err(killed),
        };
        drop(gate);
        let state = Arc::into_inner(state).ok_or_else(|| {
            tracing::error!(tool = %tool.name, "a call that has ended is still held by its guest");
            Refusal::new(Code::Internal, "the host failed; its log says why").sent(RequestSent::Unknown)
        })?;
        let result = match ended {
            Ok(judged) => judged.inspect(|narrow| {
                state.look(&self.parts.metrics, "result", narrow.as_bytes());
            }),
            Err(killed) => Err(killed.refusal().sent(state.request_sent())),
        };
        let (sent, pending) = (state.request_sent(), state.into_pending());
        let (outcome, code) = match &result {
            Ok(narrow) => (Outcome::ok(narrow.as_bytes()), None),
            Err(refusal) => (Outcome::failed(refusal.code), Some(refusal.code)),
        };
        // A call that ran and whose outcome can't be recorded brings no result, but the truth about the wire.
        let audited = pending.finish(outcome, result).await.map_err(|error| unrecorded(&error).sent(sent))?;
        Ok((audited, sent, code))
    }
}

/// What came of a call that began, what is known of the wire, and the code if it failed.
type Ran = (Audited<Result<Narrow, Refusal>>, RequestSent, Option<Code>);

/// What an agent may know of a run. A long result is read and searched aside, within the call's time.
async fn judge(
    mut report: RunReport,
    state: &CallState,
    tool: &Arc<Tool>,
    egress: &Egress,
    deadline: Instant,
) -> Result<Narrow, Refusal> {
    let judged = match std::mem::replace(&mut report.result, Ok(String::new())) {
        Err(failure) => Err(failure),
        Ok(output) if output.len() <= SHORT_BYTES_MAX => {
            Ok(Narrow::new(&output, &tool.output, &state.sweeps()))
        }
        Ok(output) => {
            let (tool, sweeps) = (tool.clone(), state.sweeps().clone());
            let narrow = move || Narrow::new(&output, &tool.output, &sweeps);
            egress.aside().run(deadline, narrow).await.ok_or(RunFailure::Deadline)
        }
    };
    judged
        .map_err(|failure| refusal_of(&report, failure, state, &tool.name))?
        .map_err(|error| withheld(&error, state, &tool.name))
}

/// The deadline holds for the trail too: a call that can't be recorded in time isn't run.
async fn in_time<T>(
    deadline: Instant,
    recording: impl Future<Output = Result<T, AuditError>>,
) -> Result<T, Refusal> {
    let late = "the call could not be recorded in time, so it was not run";
    match tokio::time::timeout_at(deadline, recording).await {
        Ok(recorded) => recorded.map_err(|error| unrecorded(&error)),
        Err(_) => Err(Refusal::new(Code::AuditUnavailable, late)),
    }
}

fn unrecorded(error: &AuditError) -> Refusal {
    match error {
        AuditError::Full => {
            Refusal::new(Code::Busy, "the host is too busy to record the call; try again in a moment")
        }
        AuditError::TooManyCalls => Refusal::new(
            Code::RateLimited,
            "this agent, or one that it acts for, has as many calls under way as it may have at once; try again when \
             one of them has ended",
        ),
        AuditError::Unavailable(cause) => {
            tracing::error!(%cause, "the audit trail can't be written");
            Refusal::new(Code::AuditUnavailable, "the host can't write its audit trail, so it runs no calls")
        }
    }
}
