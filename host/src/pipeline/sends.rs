//! A guest's way out and its log, as the runtime wants them: the gate behind both.

use std::sync::Arc;

use crate::egress::{Draft, SendFailure};
use crate::ids::{CallId, ToolName};
use crate::runtime::{BoxFuture, GuestReply, LogLevel, Outbound};

use super::gate::{CallState, Gate};

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

/// The outbound side of one tool's call.
pub(super) struct CallSends {
    gate: Gate,
    tool: ToolName,
}

impl CallSends {
    pub(super) fn new(gate: Gate, tool: ToolName) -> Self {
        Self { gate, tool }
    }

    pub(super) fn state(&self) -> Arc<CallState> {
        self.gate.state.clone()
    }
}

impl Outbound for CallSends {
    fn send(&mut self, draft: Draft) -> BoxFuture<'_, Result<GuestReply, SendFailure>> {
        Box::pin(async move {
            let reply = self.gate.send(draft).await?;
            Ok(GuestReply { status: reply.status, headers: reply.headers, body: reply.body })
        })
    }

    fn log(&mut self, level: LogLevel, message: &str) {
        let state = &self.gate.state;
        let clean = state.sweeps().iter().fold(message.to_owned(), |text, sweep| sweep.redact(&text));
        self.gate.parts.log.line(state.call(), &self.tool, level, &clean);
    }
}
