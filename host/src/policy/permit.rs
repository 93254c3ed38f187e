//! The policy's yes.

/// A request that the policy allowed, exactly as it stands inside.
///
/// INVARIANT (permit): built only in `policy`, not `Clone`, and consumed by acting on it. One permit, one act.
#[derive(Debug)]
pub struct Permitted<T> {
    request: T,
}

impl<T> Permitted<T> {
    pub(super) fn new(request: T) -> Self {
        Self { request }
    }

    /// A permit that nothing decided, for the tests of what acts on permits.
    #[cfg(test)]
    pub(crate) fn for_tests(request: T) -> Self {
        Self { request }
    }

    /// The request that was allowed.
    pub fn request(&self) -> &T {
        &self.request
    }

    /// Uses the permit up.
    pub fn into_request(self) -> T {
        self.request
    }
}
