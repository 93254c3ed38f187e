//! The way of one request to an upstream, whichever door it came through. There's no other.
//!
//! ```text
//! Draft → operation matched, parameters typed
//!   → auth     the token, and every token above it, is still good
//!   → kill     nothing that it's part of is stopped
//!   → ledger   the write's own key, in its body where the operation says
//!   → policy   Permitted<TypedSend>; where people have to agree, it's asked again once they have. They aren't asked
//!              for a write that was made already, nor for what no budget has room for
//!   → ledger   what it takes from which budgets
//!   → audit    the intent is on the disk, with what it takes reserved: one transaction
//!   → auth     once more, and the kill switches: this is the last moment before bytes leave
//!   → egress   secret attached → reply, cleaned; a switch, or the token's end, cuts it off
//!   → audit    what came of it, and of what was reserved: one transaction
//! ```

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::approval::{ApprovalAsk, AskParts, Obtained};
use crate::audit::{AuditError, Pending, SendBegin, SendKnown, SendPlan, SendResult, Takes};
use crate::auth::{AuthError, Caller};
use crate::connection::TypedSend;
use crate::egress::{Draft, Handover, Reply, Sweep, credential_shape};
use crate::ids::{ApprovalId, CallId, ConnectionName, Digest};
use crate::kill::Subjects;
use crate::ledger::{Dedup, Reserved, Settlement};
use crate::metrics::Metrics;
use crate::policy::{Approved, CallContext, Door, Permitted, SendAsk, Verdict, Via};
use crate::refusal::{Code, FailureReason, RequestSent, SendFailure};
use crate::text::visible;

use super::Parts;
use super::agreed::nobody_here;
use super::spending::Spending;

/// What a call shares with its way out: its open record, and the secrets that were injected so far.
pub(super) struct CallState {
    pub(super) pending: Pending,
    sweeps: Mutex<Vec<Arc<Sweep>>>,
    /// The approvals that were used up for the call and for what it has sent.
    used: Mutex<Vec<ApprovalId>>,
}

impl CallState {
    /// `approval`: the one that the call itself was given.
    pub(super) fn new(pending: Pending, approval: Option<ApprovalId>) -> Self {
        Self { pending, sweeps: Mutex::default(), used: Mutex::new(approval.into_iter().collect()) }
    }

    pub(super) fn call(&self) -> &CallId {
        self.pending.call()
    }

    pub(super) fn request_sent(&self) -> RequestSent {
        self.pending.request_sent()
    }

    pub(super) fn into_pending(self) -> Pending {
        self.pending
    }

    /// Every secret of the call so far.
    pub(super) fn sweeps(&self) -> MutexGuard<'_, Vec<Arc<Sweep>>> {
        // No critical section can panic half way: they push and read.
        self.sweeps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn used(&self) -> MutexGuard<'_, Vec<ApprovalId>> {
        // As above.
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the operator, if this looks like a credential. The one that was injected isn't in it: that was refused.
    pub(super) fn look(&self, metrics: &Metrics, place: &'static str, bytes: &[u8]) {
        if let Some(shape) = credential_shape(bytes) {
            tracing::warn!(call = %self.call(), place, shape, "this looks like a credential; it was passed on");
            metrics.credential_shape(place, shape);
        }
    }

    fn remember(&self, sweep: &Arc<Sweep>) {
        let mut sweeps = self.sweeps();
        if !sweeps.iter().any(|known| Arc::ptr_eq(known, sweep)) {
            sweeps.push(sweep.clone());
        }
    }
}

/// The gate of one call: everything that it sends goes through here.
pub(super) struct Gate {
    pub(super) parts: Arc<Parts>,
    pub(super) caller: Arc<Caller>,
    pub(super) via: Via,
    pub(super) context: CallContext,
    pub(super) deadline: tokio::time::Instant,
    pub(super) state: Arc<CallState>,
}

/// A request that nothing refuses so far, and what is known of it.
struct Agreed {
    permit: Permitted<TypedSend>,
    takes: Option<Takes>,
    dedup: Option<Dedup>,
    approval: Option<ApprovalId>,
}

impl Gate {
    /// Sends one request, if everything agrees.
    ///
    /// # Errors
    /// Why there's no reply; the cause is in the log by then.
    pub(super) async fn send(&self, draft: Draft) -> Result<Reply, SendFailure> {
        let result = self.send_checked(draft).await;
        if let Err(failure) = &result {
            let tool = self.via.tool().map(tracing::field::display);
            tracing::info!(call = %self.state.call(), tool, reason = ?failure.reason,
                message = %failure.message, cause = failure.cause.as_deref(), "a send failed");
        }
        result
    }

    async fn send_checked(&self, draft: Draft) -> Result<Reply, SendFailure> {
        let (asked, mut known) = (draft.connection.clone(), SendKnown::default());
        let agreed = match self.agree(draft, &mut known).await {
            Ok(ControlFlow::Continue(agreed)) => agreed,
            Ok(ControlFlow::Break(first)) => {
                self.state.pending.send_refused(&asked, Code::Duplicate, known);
                return Ok(first);
            }
            Err(failure) => {
                self.state.pending.send_refused(&asked, failure.reason.code(), known);
                return Err(failure);
            }
        };
        let Agreed { mut permit, takes, dedup, approval } = agreed;
        let (name, operation) =
            (permit.request().connection_name().clone(), permit.request().operation().clone());
        let plan = SendPlan { takes, approval, policy: permit.policy(), question: known.question };
        let reopened = self.parts.spending.reopened(
            &self.caller,
            &self.context,
            permit.request(),
            self.parts.clock.now(),
        );
        let mut intent = match self.in_time(self.state.pending.send_begun(&permit, plan)).await? {
            SendBegin::Begun(intent) => intent,
            SendBegin::Refused(refused) => return self.refused(refused, dedup.as_ref()),
        };
        if let Some(dedup) = &dedup {
            permit.set_idempotency_key(&Spending::idempotency_key(dedup, intent.attempt()));
        }
        let count = self.parts.metrics.send_started(&name, &operation.name);
        let result = self.send_permitted(permit, intent.handover()).await;
        count.finished(result.as_ref().map(|reply| reply.status).map_err(|failure| failure.reason));
        match result {
            Ok(reply) => {
                let settlement = Settlement::of_reply(reply.status, operation.settle.as_ref(), &reply.body);
                if matches!(settlement, Settlement::Settle { .. })
                    && let Some(refund) = reopened.and_then(|reopened| reopened.confirmed(&reply.body))
                {
                    intent.give_back(refund);
                }
                let kept = dedup
                    .filter(|_| matches!(settlement, Settlement::Settle { .. }))
                    .and_then(|dedup| self.parts.spending.keep(self.caller.realm(), &dedup, &reply));
                intent.finished(reply_record(&reply), settlement, kept);
                self.state.look(&self.parts.metrics, "reply", &reply.body);
                self.state.remember(&reply.sweep);
                Ok(reply)
            }
            Err(failure) => {
                intent.finished(failure_record(&failure), Settlement::of_failure(&failure), None);
                Err(failure)
            }
        }
    }

    /// Everything that can refuse a request before its intent is recorded, with what is `known` of it by then. It breaks off
    /// with the first reply where people would have to agree to a write that was made already.
    async fn agree(
        &self,
        draft: Draft,
        known: &mut SendKnown,
    ) -> Result<ControlFlow<Reply, Agreed>, SendFailure> {
        let connection = self
            .parts
            .connections
            .load()
            .get(self.caller.realm(), &draft.connection)
            .filter(|found| self.via.connections().is_none_or(|usable| usable.contains(&found.name)))
            .ok_or_else(|| undeclared(&draft.connection, &self.via))?;
        let mut send = connection.accept_in(draft, self.context.conversation.as_ref())?;
        known.operation = Some(send.operation_name().clone());
        known.cost = send.cost().cloned();
        send.bind(self.caller.user())?;
        let dedup = self.parts.spending.dedup(self.caller.realm(), &self.context, &send);
        if let Some(dedup) = &dedup {
            // After what makes two writes the same, and before anything is decided.
            send = send.with_key(&Spending::idempotency_key(dedup, 0))?;
        }
        known.question = self.question(&send)?;
        let (permit, approval) = match self.permit(send, None, known)? {
            Permission::Given(permit) => (permit, None),
            Permission::Wanted { send, quorum } => {
                // Nobody is asked for a write that was made already, nor for what no budget has room for, and nobody's yes is
                // used up for it.
                if let Some(takes) = self.takes(&send, dedup)?
                    && let Some(refused) = self.in_time(self.parts.audit.foreseen(takes)).await?
                {
                    known.repeats = refused.first().cloned();
                    return self.refused(refused, dedup.as_ref()).map(ControlFlow::Break);
                }
                self.in_time(self.state.pending.recorded()).await?;
                let approved = self.approval(&send, quorum).await?;
                // People take their time: whatever was checked is checked again.
                match self.permit(send, Some(&approved), known)? {
                    Permission::Given(permit) => (permit, Some(approved.id)),
                    Permission::Wanted { .. } => {
                        return Err(SendFailure::unsent(
                            FailureReason::Denied,
                            "this was approved, and the policies in force don't take that as enough: another approver has to agree, or \
                             they have changed since",
                        ));
                    }
                }
            }
        };
        let takes = self.takes(permit.request(), dedup)?;
        Ok(ControlFlow::Continue(Agreed { permit, takes, dedup, approval }))
    }

    /// The deadline holds for the trail too: what can't be recorded in time isn't sent.
    async fn in_time<T>(
        &self,
        recording: impl Future<Output = Result<T, AuditError>>,
    ) -> Result<T, SendFailure> {
        match tokio::time::timeout_at(self.deadline, recording).await {
            Ok(recorded) => recorded.map_err(|error| unrecorded(error.to_string())),
            Err(_) => Err(unrecorded("the deadline passed before it was on the disk".to_owned())),
        }
    }

    fn permit(
        &self,
        send: TypedSend,
        approved: Option<&Approved>,
        known: &mut SendKnown,
    ) -> Result<Permission, SendFailure> {
        let alive = self.parts.auth.alive(&self.caller).map_err(|error| revoked(&error))?;
        self.parts
            .kills
            .check(&self.subjects(Some(send.connection_name())))
            .map_err(|killed| killed.failure())?;
        let ask = SendAsk {
            alive: &alive,
            context: &self.context,
            via: &self.via,
            now: self.parts.clock.now(),
            approved,
        };
        let verdict = self.parts.policy.permit_send(ask, send);
        known.policy = Some(verdict.policy());
        match verdict {
            Verdict::Permitted(permit) => Ok(Permission::Given(permit)),
            Verdict::NeedsApproval { send, quorum, .. } => Ok(Permission::Wanted { send, quorum }),
            Verdict::Denied { failure, .. } => Err(failure),
        }
    }

    /// What the policies are about to be asked, sealed for the trail, where that's kept.
    fn question(&self, send: &TypedSend) -> Result<Option<String>, SendFailure> {
        let Some(vault) = &self.parts.questions else { return Ok(None) };
        let alive = self.parts.auth.alive(&self.caller).map_err(|error| revoked(&error))?;
        let ask = SendAsk {
            alive: &alive,
            context: &self.context,
            via: &self.via,
            now: self.parts.clock.now(),
            approved: None,
        };
        let sealed =
            serde_json::to_vec(&ask.facts(send)).map_err(|error| error.to_string()).and_then(|facts| {
                let about = question_of(self.state.call());
                vault.seal_note(self.caller.realm(), &about, &facts).map_err(|error| error.to_string())
            });
        match sealed {
            Ok(sealed) => Ok(Some(hex::encode(sealed))),
            Err(cause) => Err(unrecorded(cause)),
        }
    }

    fn takes(&self, send: &TypedSend, dedup: Option<Dedup>) -> Result<Option<Takes>, SendFailure> {
        let now = self.parts.clock.now();
        self.parts.spending.takes(&self.caller, &self.context, send, dedup, now)
    }

    /// Has people agree to exactly this request. A kill switch, or the token's end, ends the wait for them.
    async fn approval(&self, send: &TypedSend, quorum: u32) -> Result<Approved, SendFailure> {
        let Some(desk) = &self.parts.approvals else { return Err(nobody_here()) };
        let own = desk.own(&self.caller);
        let ask = || {
            Ok(ApprovalAsk::new(AskParts {
                caller: &self.caller,
                context: &self.context,
                via: &self.via,
                send,
                policy: self.parts.policy.hash_for(self.caller.realm()),
                secret_version: self.parts.egress.secret_version(self.caller.realm(), send)?,
                quorum,
                own: &own,
            }))
        };
        // What this very call has used up is told of nowhere any more.
        let mut given = self.context.approvals.clone();
        given.retain(|id| !self.state.used().contains(id));
        let said = (given.as_slice(), self.context.approval_wait);
        let obtained = desk.obtain(self.state.call(), &ask, said, self.deadline);
        let Obtained { approved, .. } = tokio::select! {
            biased;
            over = self.parts.over(&self.caller, self.deadline, self.subjects(Some(send.connection_name()))) => Err(over),
            obtained = obtained => obtained,
        }?;
        self.state.used().push(approved.id.clone());
        Ok(approved)
    }

    async fn send_permitted(
        &self,
        permit: Permitted<TypedSend>,
        handover: &Handover,
    ) -> Result<Reply, SendFailure> {
        // Before the checks, so that whatever changes after them is heard of: connecting takes its time, too.
        let watching = self.parts.kills.watching();
        // Once more after the wait for the disk: this is the last moment before bytes leave, and a revocation holds
        // from the very next send on.
        self.parts.auth.alive(&self.caller).map_err(|error| revoked(&error))?;
        let connection = permit.request().connection_name().clone();
        let subjects = self.subjects(Some(&connection));
        self.parts.kills.check(&subjects).map_err(|killed| killed.failure())?;
        tokio::select! {
            // What stops it comes first: thrown before the bytes leave, it keeps them here.
            biased;
            // Once a connection has had the request, it may be half way out.
            failure = self.parts.cut_off(&self.caller, self.deadline, subjects, watching) => Err(failure.sent(handover.request_sent())),
            reply = self.parts.egress.send_watched(permit, self.caller.realm(), self.deadline, handover) => reply,
        }
    }

    /// What the ledger's refusal means. A repetition of a write that was made gets what came of the first.
    fn refused(&self, refused: Reserved, dedup: Option<&Dedup>) -> Result<Reply, SendFailure> {
        match (refused, dedup) {
            (Reserved::OverBudget(shortfall) | Reserved::RateLimited(shortfall), _) => {
                Err(shortfall.failure())
            }
            (Reserved::Duplicate { outcome, .. }, Some(dedup)) => {
                self.parts.spending.repeat(self.caller.realm(), dedup, &outcome)
            }
            // No word of how to make it once more: nobody knows yet whether that's needed.
            (Reserved::InProgress { .. } | Reserved::Duplicate { .. }, _) => Err(SendFailure::unsent(
                FailureReason::Duplicate,
                "this same write is under way in this conversation; what comes of it isn't known yet",
            )),
            (Reserved::Yes, _) => Err(SendFailure::unsent(
                FailureReason::Internal,
                "the host failed to record the request, so it was not sent",
            )),
        }
    }

    /// All that a kill switch could stop this call by.
    pub(super) fn subjects<'s>(&'s self, connection: Option<&'s ConnectionName>) -> Subjects<'s> {
        Subjects {
            realm: self.caller.realm(),
            caller: Some(&self.caller),
            call: Some(self.state.call()),
            conversation: self.context.conversation.as_ref(),
            tool: self.via.tool(),
            connection,
        }
    }
}

/// What a call's questions are sealed for.
pub(crate) fn question_of(call: &CallId) -> String {
    format!("question {call}")
}

/// What the policy says, as the gate goes on from it.
enum Permission {
    Given(Permitted<TypedSend>),
    Wanted { send: TypedSend, quorum: u32 },
}

pub(super) fn reply_record(reply: &Reply) -> SendResult {
    SendResult {
        status: Some(reply.status),
        failure: None,
        request_sent: RequestSent::Yes,
        reply: Some((Digest::of(&reply.body), u32::try_from(reply.body.len()).unwrap_or(u32::MAX))),
    }
}

pub(super) fn failure_record(failure: &SendFailure) -> SendResult {
    SendResult {
        status: None,
        failure: Some(failure.reason.code()),
        request_sent: failure.request_sent,
        reply: None,
    }
}

/// One answer for a connection that isn't there, isn't for this realm, and isn't this tool's.
fn undeclared(name: &str, via: &Via) -> SendFailure {
    let shown = visible(name, 64);
    let user = match via.door() {
        Door::Tool => "tool",
        Door::Code => "code",
        Door::Proxy => "token",
    };
    SendFailure::unsent(
        FailureReason::UnknownOperation,
        format!("there is no connection {shown:?} that this {user} may use here"),
    )
    .because("not set up for this realm, not declared by the tool, or not consented to")
}

pub(super) fn revoked(error: &AuthError) -> SendFailure {
    match error {
        AuthError::Unauthorized => SendFailure::unsent(
            FailureReason::Revoked,
            "the token was revoked or has expired; nothing more can be sent with it",
        ),
        other => SendFailure::unsent(FailureReason::Internal, "the host can't check the token now")
            .because(other.to_string()),
    }
}

pub(super) fn unrecorded(cause: String) -> SendFailure {
    SendFailure::unsent(
        FailureReason::AuditUnavailable,
        "the host can't record the request, so it was not sent",
    )
    .because(cause)
}
