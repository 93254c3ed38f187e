//! The policy's yes.

use crate::connection::{Lookup, TypedSend};
use crate::ids::Digest;

/// A request that the policy allowed, or a look of the host's own (`lookup`), exactly as it stands inside.
///
/// INVARIANT (permit): built only in `policy`, not `Clone`, and consumed by acting on it. One permit, one act.
#[derive(Debug)]
pub struct Permitted<T> {
    request: T,
    policy: Digest,
}

impl<T> Permitted<T> {
    pub(super) fn new(request: T, policy: Digest) -> Self {
        Self { request, policy }
    }

    /// A permit that nothing decided, for the tests of what acts on permits.
    #[cfg(test)]
    pub(crate) fn for_tests(request: T) -> Self {
        Self { request, policy: Digest::of(b"") }
    }

    /// The request that was allowed.
    pub fn request(&self) -> &T {
        &self.request
    }

    /// The hash of the policies that allowed it: those that applied to its tenant at that moment.
    /// Zeros of a look, which no policy was asked about.
    pub fn policy(&self) -> Digest {
        self.policy
    }

    /// Uses the permit up.
    pub fn into_request(self) -> T {
        self.request
    }
}

impl Permitted<TypedSend> {
    /// The permit of a request that looks up what became of a write. No policy is asked: the operator who wrote the
    /// connection's file said that it's made, and nothing of it reaches an agent. In place of a hash there are zeros.
    pub(crate) fn lookup(lookup: Lookup) -> Self {
        Self::new(lookup.into_send(), Digest([0; 32]))
    }

    /// Has the host's own key for this write sent along. It's no part of what was allowed: it says which attempt this is,
    /// and nothing of what is asked for.
    pub(crate) fn set_idempotency_key(&mut self, key: &str) {
        self.request.set_idempotency_key(key);
    }
}
