//! The way of one request to an upstream, whichever door it came through. There's no other.
//!
//! ```text
//! Draft → operation matched, parameters typed
//!   → auth     the token, and every token above it, is still good
//!   → policy   Permitted<TypedSend>
//!   → audit    the intent is on the disk
//!   → auth     once more: this is the last moment before bytes leave
//!   → egress   secret attached → reply, cleaned
//!   → audit    what came of it
//! ```

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::audit::{AuditError, Pending, SendResult};
use crate::auth::{AuthError, Caller};
use crate::connection::TypedSend;
use crate::egress::{Draft, FailureReason, Reply, SendFailure, Sweep};
use crate::ids::{CallId, Digest};
use crate::policy::{CallContext, Permitted, Policy, SendAsk, Verdict, Via};
use crate::refusal::RequestSent;

use super::Parts;

/// What a call shares with its way out: its open record, and the secrets that were injected so far.
pub(super) struct CallState {
    pub(super) pending: Pending,
    sweeps: Mutex<Vec<Arc<Sweep>>>,
}

impl CallState {
    pub(super) fn new(pending: Pending) -> Self {
        Self { pending, sweeps: Mutex::default() }
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
    pub(super) policy: Policy,
    pub(super) caller: Arc<Caller>,
    pub(super) via: Via,
    pub(super) context: CallContext,
    pub(super) deadline: tokio::time::Instant,
    pub(super) state: Arc<CallState>,
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
        let asked = draft.connection.clone();
        let permit = self.permit(draft).inspect_err(|failure| {
            self.state.pending.send_refused(&asked, failure.reason.code());
        })?;
        let (name, operation) =
            (permit.request().connection_name().clone(), permit.request().operation_name().clone());
        let intent = self.state.pending.send_begun(&permit).await.map_err(|error| unrecorded(&error))?;
        let result = self.send_permitted(permit).await;
        self.parts.metrics.send(&name, &operation, result.as_ref().map(|r| r.status).map_err(|f| f.reason));
        match result {
            Ok(reply) => {
                intent.finished(reply_record(&reply));
                self.state.remember(&reply.sweep);
                Ok(reply)
            }
            Err(failure) => {
                intent.finished(failure_record(&failure));
                Err(failure)
            }
        }
    }

    /// Everything that can refuse a request before its intent is recorded.
    fn permit(&self, draft: Draft) -> Result<Permitted<TypedSend>, SendFailure> {
        let connection = self
            .parts
            .connections
            .load()
            .get(self.caller.realm(), &draft.connection)
            .filter(|found| match &self.via {
                Via::Tool { connections, .. } => connections.contains(&found.name),
                Via::Proxy => true,
            })
            .ok_or_else(|| undeclared(&draft.connection, &self.via))?;
        let typed = connection.accept(draft)?;
        let alive = self.parts.auth.alive(&self.caller).map_err(|error| revoked(&error))?;
        let ask = SendAsk {
            alive: &alive,
            context: &self.context,
            via: &self.via,
            now: self.parts.clock.now(),
            approved: None,
        };
        match self.policy.permit_send(ask, typed) {
            Verdict::Permitted(permit) => Ok(permit),
            Verdict::Denied(failure) => Err(failure),
            Verdict::NeedsApproval { .. } => Err(SendFailure::unsent(
                FailureReason::ApprovalRequired,
                "a person has to approve this first",
            )),
        }
    }

    async fn send_permitted(&self, permit: Permitted<TypedSend>) -> Result<Reply, SendFailure> {
        // Once more after the wait for the disk: this is the last moment before bytes leave, and a revocation holds
        // from the very next send on.
        self.parts.auth.alive(&self.caller).map_err(|error| revoked(&error))?;
        self.parts.egress.send(permit, self.caller.realm(), self.deadline).await
    }
}

fn reply_record(reply: &Reply) -> SendResult {
    SendResult {
        status: Some(reply.status),
        failure: None,
        request_sent: RequestSent::Yes,
        secret_version: Some(reply.secret_version),
        reply: Some((Digest::of(&reply.body), u32::try_from(reply.body.len()).unwrap_or(u32::MAX))),
    }
}

fn failure_record(failure: &SendFailure) -> SendResult {
    SendResult {
        status: None,
        failure: Some(failure.reason.code()),
        request_sent: failure.request_sent,
        secret_version: None,
        reply: None,
    }
}

/// One answer for a connection that isn't there, isn't for this realm, and isn't this tool's.
fn undeclared(name: &str, via: &Via) -> SendFailure {
    let shown: String = name.chars().filter(char::is_ascii_graphic).take(64).collect();
    let user = if via.tool().is_some() { "tool" } else { "token" };
    SendFailure::unsent(
        FailureReason::UnknownOperation,
        format!("there is no connection {shown:?} that this {user} may use here"),
    )
    .because("not set up for this realm, not declared by the tool, or not consented to")
}

fn revoked(error: &AuthError) -> SendFailure {
    match error {
        AuthError::Unauthorized => SendFailure::unsent(
            FailureReason::Revoked,
            "the token was revoked or has expired; nothing more can be sent with it",
        ),
        other => SendFailure::unsent(FailureReason::Internal, "the host can't check the token now")
            .because(other.to_string()),
    }
}

fn unrecorded(error: &AuditError) -> SendFailure {
    SendFailure::unsent(
        FailureReason::AuditUnavailable,
        "the host can't record the request, so it was not sent",
    )
    .because(error.to_string())
}
