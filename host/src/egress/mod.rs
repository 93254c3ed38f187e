//! The one way out. A [`Draft`] comes from a guest (or a door); what leaves is a permitted, typed, canonical request
//! with the secret attached, to a checked address; what comes back is a reply that the leak sweep has passed.

mod canonical;
mod draft;
mod outcome;
mod sweep;

pub use canonical::Canonical;
pub use draft::{Draft, DraftBody};
pub use outcome::{FailureReason, SendFailure};
pub use sweep::Sweep;
