//! What a call comes to.

use crate::audit::{Audited, SendKnown};
use crate::dto::{DtoError, Narrow};
use crate::ids::ToolName;
use crate::refusal::{Code, Refusal, RequestSent};
use crate::runtime::{RunFailure, RunReport, ToolErrorKind};

use super::gate::CallState;

/// The answer to a call.
#[derive(Debug)]
pub enum Answer {
    /// Nothing ran, or what ran couldn't be recorded.
    Refused(Refusal),
    /// It ran, and its outcome is on the disk.
    Finished {
        /// What came of it.
        result: Audited<Result<Narrow, Refusal>>,
        /// Whether an upstream may have seen a request of it.
        sent: RequestSent,
    },
}

impl Answer {
    /// The result, or the refusal.
    ///
    /// # Errors
    /// The refusal, if it's one.
    pub fn into_result(self) -> Result<Narrow, Refusal> {
        match self {
            Self::Refused(refusal) => Err(refusal),
            Self::Finished { result, .. } => result.into_inner(),
        }
    }

    /// Whether an upstream may have seen a request of the call.
    #[must_use]
    pub fn request_sent(&self) -> RequestSent {
        match self {
            Self::Refused(refusal) => refusal.request_sent,
            Self::Finished { sent, .. } => *sent,
        }
    }
}

/// Puts on record what the runtime refused by its number, before it came to the gate.
pub(super) fn record_excess(report: &RunReport, state: &CallState, tool: &ToolName) {
    let (sends_refused, log_dropped) = (report.sends_refused, report.log_dropped);
    if sends_refused > 0 || log_dropped > 0 {
        tracing::warn!(%tool, call = %state.call(), sends_refused, log_dropped, "a call wanted more than it may have");
    }
    if sends_refused > 0 {
        state.pending.send_refused("*", Code::ToolLimit, SendKnown::default());
    }
}

/// The public side of a failed run; the cause goes to the log here.
pub(super) fn refusal_of(
    report: &RunReport,
    failure: RunFailure,
    state: &CallState,
    tool: &ToolName,
) -> Refusal {
    let (sent, code) = (state.request_sent(), failure.code());
    let refusal = match failure {
        RunFailure::Deadline => Refusal::new(code, deadline_text(sent)),
        RunFailure::Tool(error) => tool_refusal(report, error.kind, &error.message, state),
        RunFailure::Busy => {
            Refusal::new(code, "the host runs as many calls as it can; try again in a moment")
        }
        RunFailure::Memory => {
            Refusal::new(code, format!("{tool} was stopped: it needs more memory than it may have"))
        }
        RunFailure::OutputTooLarge => {
            Refusal::new(code, format!("{tool} was stopped: its result or a request of it is too large"))
        }
        RunFailure::Trap(cause) => {
            tracing::warn!(%tool, call = %state.call(), %cause, "a tool broke down");
            Refusal::new(code, format!("the tool {tool} broke down; the host's log says why"))
        }
        RunFailure::Host(cause) => {
            tracing::error!(%tool, call = %state.call(), %cause, "a run failed");
            Refusal::new(code, "the host failed; its log says why")
        }
    };
    refusal.sent(sent)
}

/// The public side of a result that may not be shown; the cause goes to the log here.
pub(super) fn withheld(error: &DtoError, state: &CallState, tool: &ToolName) -> Refusal {
    tracing::warn!(%tool, call = %state.call(), cause = %error, "a result is withheld");
    error.refusal().sent(state.request_sent())
}

/// What a tool says went wrong. When it gives up because of a failed send, the host knows better what that means.
fn tool_refusal(report: &RunReport, kind: ToolErrorKind, message: &str, state: &CallState) -> Refusal {
    if state.sweeps().iter().any(|sweep| sweep.finds(message.as_bytes())) {
        return Refusal::new(Code::LeakBlocked, "the tool's error message held a secret, so it is withheld");
    }
    match &report.last_failure {
        Some(failure) if kind == ToolErrorKind::SendFailed => {
            Refusal::new(failure.reason.code(), failure.message.clone())
        }
        _ if message.is_empty() => Refusal::new(kind.code(), "the tool failed and gave no reason"),
        _ => Refusal::new(kind.code(), message),
    }
}

fn deadline_text(sent: RequestSent) -> &'static str {
    match sent {
        RequestSent::No => "the call took too long and was stopped; nothing was sent upstream",
        RequestSent::Yes => {
            "the call took too long and was stopped after a request had been answered upstream"
        }
        RequestSent::Unknown => {
            "the call took too long and was stopped while a request was under way: it may have been carried out"
        }
    }
}
