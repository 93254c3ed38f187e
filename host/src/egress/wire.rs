//! What goes on the wire and what comes off it, with the wire itself behind a trait: live, or scripted by fixtures.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method};
use tokio::time::Instant;

use super::handover::Handover;
use crate::connection::Connection;
use crate::ids::{Digest, OperationName, Realm};
use crate::refusal::RequestSent;

/// A boxed future, for traits that are used as objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Carries one request, once: no redirect is followed, nothing is sent a second time.
pub trait Wire: Send + Sync {
    /// Sends and waits for the reply's head. The body is read from what this returns.
    ///
    /// The caller stops waiting at `deadline` by itself; a wire may use it to bound its connect phase.
    fn exchange(
        &self,
        request: WireRequest,
        deadline: Instant,
    ) -> BoxFuture<'_, Result<WireReply, WireError>>;
}

/// A request with the secret attached.
///
/// INVARIANT (injected): it holds the secret, so it is never logged, traced or printed: `Debug` shows neither its
/// headers nor its query.
pub struct WireRequest {
    /// Whose it is: connections to an upstream are never shared between realms.
    pub realm: Realm,
    /// Where it goes.
    pub connection: Arc<Connection>,
    /// What it does there.
    pub operation: OperationName,
    /// The method.
    pub method: Method,
    /// The path with the base URL's prefix, and the query, as they stand in the request line.
    pub target: String,
    /// Every header but `Host` and those that frame the body.
    pub headers: HeaderMap,
    /// The body; empty for none.
    pub body: Bytes,
    /// The digest of the canonical request, as the audit trail has it.
    pub digest: Digest,
    /// Whether a connection has it: told to whoever stops waiting, where the wire knows.
    pub(crate) handover: Handover,
}

impl fmt::Debug for WireRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WireRequest")
            .field("realm", &self.realm)
            .field("connection", &self.connection.name)
            .field("operation", &self.operation)
            .field("method", &self.method)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// A reply's head, and its body still to be read.
pub struct WireReply {
    /// The status.
    pub status: u16,
    /// All headers.
    pub headers: HeaderMap,
    /// The body, as it came: not yet decompressed, capped or swept.
    pub body: Box<dyn WireBody>,
}

impl fmt::Debug for WireReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WireReply").field("status", &self.status).finish_non_exhaustive()
    }
}

/// A body that arrives in pieces.
pub trait WireBody: Send {
    /// The next piece; `None` at the end.
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, WireError>>;
}

/// A body whose pieces are known: what a scripted wire answers with.
#[derive(Debug, Default)]
pub struct Pieces(pub VecDeque<Bytes>);

impl From<Bytes> for Pieces {
    fn from(whole: Bytes) -> Self {
        Self(VecDeque::from([whole]))
    }
}

impl WireBody for Pieces {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, WireError>> {
        let piece = self.0.pop_front();
        Box::pin(async move { Ok(piece) })
    }
}

/// Why there's no reply.
#[derive(Debug, thiserror::Error)]
#[error("{kind:?}: {cause}")]
pub struct WireError {
    /// The kind of failure.
    pub kind: WireErrorKind,
    /// Whether the upstream may have seen the request.
    pub request_sent: RequestSent,
    /// What the log says of it. It may name addresses, and is never shown to a guest.
    pub cause: String,
}

/// The kinds of failure on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WireErrorKind {
    /// The name has no address that requests may go to.
    Address,
    /// No connection: refused, no route, or TLS failed.
    Connect,
    /// No connection in time.
    ConnectTimeout,
    /// No reply in the connection's own time. Only a wire that simulates time says so.
    Timeout,
    /// The upstream hung up.
    HungUp,
    /// What came back isn't HTTP, or its head is too large.
    Malformed,
    /// The host failed.
    Internal,
}
