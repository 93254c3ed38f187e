//! A guest's way out and its log, as the runtime wants them: the gate behind both.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, oneshot};

use crate::egress::{Draft, Reply, redact};
use crate::ids::{CallId, ToolName};
use crate::kill::Killed;
use crate::refusal::{FailureReason, SendFailure};
use crate::runtime::{BoxFuture, GuestReply, LogLevel, Outbound};

use super::Parts;
use super::gate::{CallState, Gate};

/// A line of a tool's log as it may be written: bounded, and `[REDACTED]` where the secrets that were injected for the call
/// so far stood, or what looks like a credential, whosever it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// The line.
    pub text: String,
    /// Whether an injected secret stood in it. The tool never had that from the host.
    pub held_secret: bool,
}

/// Where tools' log lines go.
pub trait ToolLog: Send + Sync + 'static {
    /// Takes one line.
    fn line(&self, call: &CallId, tool: &ToolName, level: LogLevel, line: LogLine);
}

/// Sends tools' log lines to the host's own log.
#[derive(Debug, Default, Clone, Copy)]
pub struct TracingLog;

impl ToolLog for TracingLog {
    fn line(&self, call: &CallId, tool: &ToolName, level: LogLevel, line: LogLine) {
        let message = line.text;
        match level {
            LogLevel::Debug => tracing::debug!(target: "tool", %call, %tool, "{message}"),
            LogLevel::Info => tracing::info!(target: "tool", %call, %tool, "{message}"),
            LogLevel::Warn => tracing::warn!(target: "tool", %call, %tool, "{message}"),
            LogLevel::Error => tracing::error!(target: "tool", %call, %tool, "{message}"),
        }
    }
}

/// The outbound side of one tool's call. It runs on the guest's own stack, which is small and not the thread's: so it
/// hands each draft over and waits, and the gate works where the call does.
pub(super) struct CallSends {
    desk: Arc<Desk>,
    state: Arc<CallState>,
    parts: Arc<Parts>,
    tool: ToolName,
}

/// Drafts on their way to the gate.
pub(super) struct Drafts(Arc<Desk>);

/// Where a draft lies until the gate takes it. There's never more than one: a guest waits for each of its sends.
#[derive(Default)]
struct Desk {
    asked: Mutex<Option<Asked>>,
    there: Notify,
}

struct Asked {
    draft: Draft,
    reply: oneshot::Sender<Result<Reply, SendFailure>>,
}

impl CallSends {
    /// The guest's side, and the gate's.
    pub(super) fn new(gate: &Gate, tool: ToolName) -> (Self, Drafts) {
        let desk = Arc::new(Desk::default());
        let drafts = Drafts(desk.clone());
        (Self { desk, state: gate.state.clone(), parts: gate.parts.clone(), tool }, drafts)
    }
}

impl Drafts {
    /// Sends what is drafted for as long as this is polled, or until a send fails by a switch that stops the call as a
    /// whole: the guest doesn't hear of that any more, so it can't go on and end as it likes.
    pub(super) async fn serve(self, gate: &Gate) -> Killed {
        loop {
            self.0.there.notified().await;
            let Some(Asked { draft, reply }) = self.0.swap(None) else { continue };
            let sent = gate.send(draft).await;
            if matches!(&sent, Err(failure) if failure.reason == FailureReason::Killed)
                && let Err(killed) = gate.parts.kills.check(&gate.subjects(None))
            {
                return killed;
            }
            // A guest that doesn't wait any more has been stopped, and so is this.
            let _ = reply.send(sent);
        }
    }
}

impl Desk {
    fn swap(&self, asked: Option<Asked>) -> Option<Asked> {
        std::mem::replace(&mut *self.asked.lock().unwrap_or_else(PoisonError::into_inner), asked)
    }
}

impl Outbound for CallSends {
    fn send(&mut self, draft: Draft) -> BoxFuture<'_, Result<GuestReply, SendFailure>> {
        Box::pin(async move {
            let (reply, answered) = oneshot::channel();
            self.desk.swap(Some(Asked { draft, reply }));
            self.desk.there.notify_one();
            let gone = |_| SendFailure::unsent(FailureReason::Internal, "the call is being stopped");
            let reply = answered.await.map_err(gone)??;
            Ok(GuestReply { status: reply.status, headers: reply.headers, body: reply.body })
        })
    }

    fn log(&mut self, level: LogLevel, message: &str) {
        let swept = self.state.sweeps().iter().fold(message.to_owned(), |text, sweep| sweep.redact(&text));
        let line = LogLine { held_secret: swept != message, text: redact(&swept) };
        self.parts.log.line(self.state.call(), &self.tool, level, line);
    }
}
