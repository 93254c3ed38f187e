//! What a guest's imports lead to.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;

use crate::egress::Draft;
use crate::refusal::SendFailure;

/// A future in a box, as a trait object's method returns it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a run's imports lead to: the rest of the host, seen from the guest.
pub trait Outbound: Send {
    /// Sends a request that nothing has checked yet. The future is dropped when the run ends before it does.
    fn send(&mut self, draft: Draft) -> BoxFuture<'_, Result<GuestReply, SendFailure>>;

    /// Takes a message: within the run's allowance, cut to its length, on one line.
    fn log(&mut self, level: LogLevel, message: &str);
}

/// A reply as a guest sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestReply {
    /// The upstream's status.
    pub status: u16,
    /// The headers that the connection lets through, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, decompressed.
    pub body: Bytes,
}

/// How much a guest's message matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogLevel {
    /// Detail for the tool's author.
    Debug,
    /// What happened.
    Info,
    /// Something that may need attention.
    Warn,
    /// Something that went wrong.
    Error,
}

impl LogLevel {
    /// `debug`, `info`, `warn` or `error`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}
