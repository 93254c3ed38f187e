//! A request in the one form that is matched, decided on and sent.

use bytes::Bytes;
use http::Method;

use super::{Draft, FailureReason, SendFailure};
use crate::connection::Connection;
use crate::ids::Digest;

/// A request in canonical form.
///
/// INVARIANT (same bytes): what the policy sees, what the audit trail digests and what goes on the wire are this
/// value's bytes. Nothing between the check and the wire encodes anything again.
#[derive(Debug)]
pub struct Canonical {
    method: Method,
    path: String,
    body: Bytes,
    digest: Digest,
}

impl Canonical {
    /// Brings a guest's words into canonical form.
    ///
    /// # Errors
    /// [`FailureReason::InvalidRequest`] with the rule that is broken.
    pub fn from_draft(draft: Draft, connection: &Connection) -> Result<Self, SendFailure> {
        let _ = (draft, connection);
        Err(SendFailure::unsent(FailureReason::Internal, "not built yet"))
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The path, percent-encoded, below the connection's base URL.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The body's bytes, as they'll be sent.
    #[must_use]
    pub fn body_bytes(&self) -> &Bytes {
        &self.body
    }

    /// SHA-256 over every part of the request.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }
}
