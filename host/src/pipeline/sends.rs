//! A call's way out: what a guest drafts goes through here, and only here.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::audit::{AuditError, Pending, SendResult};
use crate::auth::{AuthError, Caller};
use crate::connection::TypedSend;
use crate::egress::{Draft, FailureReason, Reply, SendFailure, Sweep};
use crate::ids::{CallId, ConnectionName, Digest, ToolName};
use crate::policy::{Invocation, Permitted, Policy};
use crate::refusal::RequestSent;
use crate::runtime::{BoxFuture, GuestReply, LogLevel, Outbound};

use super::Parts;

/// Where tools' log lines go. They are bounded and redacted by then.
pub trait ToolLog: Send + Sync + 'static {
    /// Takes one line.
    fn line(&self, call: &CallId, tool: &ToolName, level: LogLevel, message: &str);
}

/// Sends tools' log lines to the host's own log.
#[derive(Debug, Default, Clone, Copy)]
pub struct TracingLog;

impl ToolLog for TracingLog {
    fn line(&self, call: &CallId, tool: &ToolName, level: LogLevel, message: &str) {
        match level {
            LogLevel::Debug => tracing::debug!(target: "tool", %call, %tool, "{message}"),
            LogLevel::Info => tracing::info!(target: "tool", %call, %tool, "{message}"),
            LogLevel::Warn => tracing::warn!(target: "tool", %call, %tool, "{message}"),
            LogLevel::Error => tracing::error!(target: "tool", %call, %tool, "{message}"),
        }
    }
}

/// What a call shares with its guest's way out: its open record, and the secrets that were injected so far.
pub(super) struct CallState {
    pending: Pending,
    sweeps: Mutex<Vec<Arc<Sweep>>>,
}

impl CallState {
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

/// The outbound side of one call.
pub(super) struct CallSends {
    parts: Arc<Parts>,
    policy: Policy,
    caller: Arc<Caller>,
    tool: ToolName,
    connections: Arc<[ConnectionName]>,
    deadline: tokio::time::Instant,
    state: Arc<CallState>,
}

impl CallSends {
    pub(super) fn new(
        parts: Arc<Parts>,
        policy: Policy,
        invocation: &Invocation,
        pending: Pending,
        deadline: tokio::time::Instant,
    ) -> Self {
        Self {
            parts,
            policy,
            caller: invocation.caller.clone(),
            tool: invocation.tool.clone(),
            connections: invocation.connections.clone(),
            deadline,
            state: Arc::new(CallState { pending, sweeps: Mutex::default() }),
        }
    }

    pub(super) fn state(&self) -> Arc<CallState> {
        self.state.clone()
    }

    /// Everything that can refuse a request before its intent is recorded.
    fn permit(&self, draft: Draft) -> Result<Permitted<TypedSend>, SendFailure> {
        let connection = self
            .parts
            .connections
            .get(self.caller.realm(), &draft.connection)
            .filter(|found| self.connections.contains(&found.name))
            .ok_or_else(|| undeclared(&draft.connection))?;
        let typed = connection.accept(draft)?;
        let alive = self.parts.auth.alive(&self.caller).map_err(|error| revoked(&error))?;
        self.policy.permit_send(&alive, &self.connections, typed)
    }

    async fn send_checked(&self, draft: Draft) -> Result<GuestReply, SendFailure> {
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
                Ok(GuestReply { status: reply.status, headers: reply.headers, body: reply.body })
            }
            Err(failure) => {
                intent.finished(failure_record(&failure));
                Err(failure)
            }
        }
    }

    async fn send_permitted(&self, permit: Permitted<TypedSend>) -> Result<Reply, SendFailure> {
        // Once more after the wait for the disk: this is the last moment before bytes leave, and a revocation holds
        // from the very next send on.
        self.parts.auth.alive(&self.caller).map_err(|error| revoked(&error))?;
        self.parts.egress.send(permit, self.caller.realm(), self.deadline).await
    }
}

impl Outbound for CallSends {
    fn send(&mut self, draft: Draft) -> BoxFuture<'_, Result<GuestReply, SendFailure>> {
        Box::pin(async move {
            let result = self.send_checked(draft).await;
            if let Err(failure) = &result {
                tracing::info!(call = %self.state.call(), tool = %self.tool, reason = ?failure.reason,
                    message = %failure.message, cause = failure.cause.as_deref(), "a send failed");
            }
            result
        })
    }

    fn log(&mut self, level: LogLevel, message: &str) {
        let clean = self.state.sweeps().iter().fold(message.to_owned(), |text, sweep| sweep.redact(&text));
        self.parts.log.line(self.state.call(), &self.tool, level, &clean);
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
fn undeclared(name: &str) -> SendFailure {
    let shown: String = name.chars().filter(char::is_ascii_graphic).take(64).collect();
    SendFailure::unsent(
        FailureReason::UnknownOperation,
        format!("there is no connection {shown:?} that this tool may use here"),
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
