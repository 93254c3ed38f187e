//! Finds an injected secret, in every form it may come back in.

/// Knows every form of the one value that was injected.
#[derive(Debug)]
pub struct Sweep {}

impl Sweep {
    /// Whether any form of the secret is in these bytes.
    #[must_use]
    pub fn finds(&self, _bytes: &[u8]) -> bool {
        false
    }

    /// The text with every form of the secret replaced by `[REDACTED]`.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        text.to_owned()
    }
}
