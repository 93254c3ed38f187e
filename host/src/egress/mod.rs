//! The one way out. A [`Draft`] comes from a guest (or a door); what leaves is a permitted, typed, canonical request
//! with the secret attached, to a checked address; what comes back is a reply that the leak sweep has passed.

mod attach;
mod canonical;
mod draft;
mod outcome;
mod secret;
mod sweep;
pub mod vault;

pub use canonical::Canonical;
pub use draft::{Draft, DraftBody};
pub use outcome::{FailureReason, SendFailure};
pub use secret::Secret;
pub use sweep::Sweep;
pub use vault::{MasterKey, MasterKeys, SecretInfo, SecretInput, Vault};
