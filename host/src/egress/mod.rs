//! The one way out. A [`Draft`] comes from a guest (or a door); what leaves is a permitted, typed, canonical request
//! with the secret attached, to a checked address; what comes back is a reply that the leak sweep has passed.

mod aside;
mod attach;
mod canonical;
mod draft;
mod handover;
mod live;
mod per_realm;
mod redact;
mod reply;
mod resolve;
mod secret;
mod send;
mod shape;
mod sweep;
#[cfg(test)]
mod tests;
pub mod vault;
mod wire;

pub(crate) use aside::SHORT_BYTES_MAX;
pub use canonical::{Canonical, CanonicalBody, FORM, JSON};
pub(crate) use canonical::{canonical_path, header_value, is_json, is_reserved};
pub use draft::{Draft, DraftBody};
pub(crate) use handover::Handover;
#[cfg(test)]
pub(crate) use handover::WatchedBody;
pub use live::LiveWire;
pub(crate) use redact::redact;
pub(crate) use resolve::may_be_allowed;
pub use resolve::{AddressClass, AddressRules, PublicAddr, Resolve, ResolveError, SystemResolver};
pub use secret::Secret;
pub(crate) use send::Observer;
pub use send::{Canary, Egress, Reply};
pub(crate) use shape::{credential_shape, new_label};
pub use sweep::Sweep;
pub use vault::{MasterKey, MasterKeys, SecretInfo, SecretInput, Vault};
pub use wire::{BoxFuture, Pieces, Wire, WireBody, WireError, WireErrorKind, WireReply, WireRequest};
