//! One run of one tool: a fresh instance, its limits, and what comes of it.

use std::fmt;

use tokio::time::Instant;
use wasmtime::component::{Component, ComponentExportIndex, InstancePre};
use wasmtime::{Engine, Store};

use crate::policy::{Invocation, Permitted};
use crate::refusal::{Code, SendFailure};
use crate::runtime::bindings as wit;
use crate::runtime::guest::Guest;
use crate::runtime::{Limits, Outbound, Prepared, Runtime, RuntimeError, instance};
use crate::text::is_printable;

/// How much of a tool's own error message is kept, in characters.
pub const TOOL_MESSAGE_CHARS_MAX: usize = 1000;

/// What came of a run.
#[derive(Debug)]
pub struct RunReport {
    /// The result's JSON text, unchecked, or why there's none.
    pub result: Result<String, RunFailure>,
    /// Requests beyond [`Limits::sends_max`].
    pub sends_refused: u32,
    /// The failure of the last send, if it failed: what a tool that gives up with [`ToolErrorKind::SendFailed`] means.
    pub last_failure: Option<SendFailure>,
    /// Messages beyond [`Limits::log_lines_max`].
    pub log_dropped: u32,
}

/// Why a run brought no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunFailure {
    /// The deadline passed. What the tool was doing then isn't known.
    #[error("the deadline passed")]
    Deadline,
    /// There are as many instances as there may be.
    #[error("too many calls are running")]
    Busy,
    /// It wanted more memory, or a larger table, than it may have.
    #[error("the tool needs more memory than it may have")]
    Memory,
    /// Its result, or one request of it, is over the limit.
    #[error("the tool's result, or one of its requests, is over the size limit")]
    OutputTooLarge,
    /// It broke down. The text is for the log: it names functions of the component.
    #[error("the tool broke down: {0}")]
    Trap(String),
    /// It reports an error of its own.
    #[error("the tool failed: {0}")]
    Tool(ToolError),
    /// The host is at fault. The text is for the log.
    #[error("the host failed: {0}")]
    Host(String),
}

impl RunFailure {
    /// The code that an agent sees.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Deadline => Code::DeadlineExceeded,
            Self::Busy => Code::Busy,
            Self::Memory | Self::OutputTooLarge => Code::ToolLimit,
            Self::Trap(_) => Code::ToolTrapped,
            Self::Tool(error) => error.kind.code(),
            Self::Host(_) => Code::Internal,
        }
    }
}

/// What a tool says of its own failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolError {
    /// The kind.
    pub kind: ToolErrorKind,
    /// A sentence for the model, of at most [`TOOL_MESSAGE_CHARS_MAX`] characters, without control characters. It
    /// hasn't been looked at for secrets.
    pub message: String,
}

impl fmt::Display for ToolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// What kind of failure a tool reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ToolErrorKind {
    /// An argument passes the schema and is wrong all the same.
    InvalidArguments,
    /// What was asked for doesn't exist.
    NotFound,
    /// The upstream answered with an error.
    Upstream,
    /// A send failed; [`RunReport::last_failure`] says how.
    SendFailed,
    /// Anything else.
    Failed,
}

impl ToolErrorKind {
    /// The code that an agent sees, unless the failed send has a better one.
    #[must_use]
    pub fn code(self) -> Code {
        match self {
            Self::InvalidArguments => Code::InvalidArguments,
            Self::NotFound => Code::ToolNotFound,
            Self::Upstream => Code::UpstreamError,
            Self::SendFailed | Self::Failed => Code::ToolFailed,
        }
    }
}

impl Runtime {
    /// Runs one tool once, in a fresh instance, until `deadline` or for [`Limits::wall`], whichever is shorter.
    ///
    /// Dropping the future stops the guest where it stands and drops what it waits for.
    pub async fn run(
        &self,
        prepared: &Prepared,
        permit: Permitted<Invocation>,
        limits: &Limits,
        deadline: Instant,
        outbound: Box<dyn Outbound>,
    ) -> RunReport {
        let deadline = Instant::now().checked_add(limits.wall).map_or(deadline, |end| end.min(deadline));
        let mut store = self.store(Guest::new(limits, deadline, Some(outbound)));
        let result = self.call(&mut store, prepared, &permit.into_request()).await;
        let guest = store.into_data();
        RunReport {
            result,
            sends_refused: guest.usage.sends_refused,
            last_failure: guest.usage.last_failure,
            log_dropped: guest.usage.log_dropped,
        }
    }

    async fn call(
        &self,
        store: &mut Store<Guest>,
        prepared: &Prepared,
        invocation: &Invocation,
    ) -> Result<String, RunFailure> {
        if invocation.component != prepared.digest {
            let (permitted, given) = (invocation.component, prepared.digest);
            return Err(RunFailure::Host(format!(
                "the permit is for component {permitted}, not for {given}"
            )));
        }
        if !Engine::same(&self.engine, prepared.instance.engine()) {
            return Err(RunFailure::Host("the component was prepared by another runtime".to_owned()));
        }
        let _slot = self.slots.try_acquire().map_err(|_| RunFailure::Busy)?;
        let parameters: Parameters<'_> = (invocation.tool.as_str(), invocation.arguments.as_str());
        let (result,): Results =
            instance::enter(store, &prepared.instance, &prepared.call, parameters).await?;
        match result {
            Ok(json) if json.len() > store.data().limits.output_bytes_max => Err(RunFailure::OutputTooLarge),
            Ok(json) => Ok(json),
            Err(error) => Err(RunFailure::Tool(error.into())),
        }
    }
}

/// What `call` takes.
type Parameters<'a> = (&'a str, &'a str);
/// What `call` returns.
type Results = (Result<String, wit::ToolError>,);

/// The export `call`, its type checked.
pub(super) fn export(
    component: &Component,
    linked: &InstancePre<Guest>,
) -> Result<ComponentExportIndex, RuntimeError> {
    instance::export::<Parameters<'_>, Results>(component, linked, "call")
}

impl From<wit::ToolError> for ToolError {
    fn from(error: wit::ToolError) -> Self {
        let kind = match error.kind {
            wit::ErrorKind::InvalidArguments => ToolErrorKind::InvalidArguments,
            wit::ErrorKind::NotFound => ToolErrorKind::NotFound,
            wit::ErrorKind::Upstream => ToolErrorKind::Upstream,
            wit::ErrorKind::SendFailed => ToolErrorKind::SendFailed,
            wit::ErrorKind::Failed => ToolErrorKind::Failed,
        };
        let printable = error.message.chars().filter(|char| is_printable(*char));
        Self { kind, message: printable.take(TOOL_MESSAGE_CHARS_MAX).collect() }
    }
}
