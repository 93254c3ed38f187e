//! Arguments that passed a tool's input schema.

use crate::ids::Digest;

/// Checked arguments, as canonical JSON.
#[derive(Debug, Clone)]
pub struct Arguments {
    json: String,
}

impl Arguments {
    /// The canonical JSON text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.json
    }

    /// Its digest.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(self.json.as_bytes())
    }
}
