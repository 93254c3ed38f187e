//! The one error type of a tool.

use std::fmt;

pub use crate::bindings::ErrorKind;
pub use crate::bindings::keybearer::tool::credentialed_http::{Reason as FailureReason, RequestSent};

use crate::bindings::keybearer::tool::credentialed_http::Failure;
use crate::json::JsonError;

/// What a tool returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a tool brought no result: a kind for the host, a sentence for the model.
///
/// `?` makes one of any [`std::error::Error`]. The message reaches the agent, so it should say what went wrong and
/// what the agent can do, and never quote an upstream's body. At most 1,000 characters are kept.
pub struct Error {
    kind: ErrorKind,
    message: String,
    send: Option<SendFailure>,
}

/// What is known of a request that brought no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendFailure {
    /// The kind of failure.
    pub reason: FailureReason,
    /// Whether the upstream may have seen the request.
    pub request_sent: RequestSent,
}

impl Error {
    /// An error of some kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), send: None }
    }

    /// An argument passes the schema and is wrong all the same. Say which, and what it should be.
    pub fn invalid_arguments(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidArguments, message)
    }

    /// What was asked for doesn't exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// The upstream answered with an error, or with something that can't be read.
    pub fn upstream(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Upstream, message)
    }

    /// Anything else.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Failed, message)
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The sentence that the model reads.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What is known of the send, where a send that failed is the reason. A tool that writes can tell here whether
    /// trying again is safe.
    #[must_use]
    pub fn send_failure(&self) -> Option<SendFailure> {
        self.send
    }

    /// A send that brought no reply. The host's message is fit for a model already.
    pub(crate) fn send(failure: Failure) -> Self {
        let Failure { reason, message, request_sent } = failure;
        Self { kind: ErrorKind::SendFailed, message, send: Some(SendFailure { reason, request_sent }) }
    }

    /// An upstream's JSON that isn't what the tool reads.
    pub(crate) fn reply(connection: &str, error: &JsonError) -> Self {
        Self::upstream(format!("the reply of `{connection}` can't be used: {error}"))
    }
}

// As `Error` isn't a `std::error::Error` itself, `?` can take every type that is.
impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        Self::failed(error.to_string())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.message)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
