//! The one way out. A [`Draft`] comes from a guest (or a door); what leaves is a permitted, typed, canonical request
//! with the secret attached, to a checked address; what comes back is a reply that the leak sweep has passed.

mod canonical;
mod draft;
mod outcome;
mod resolve;
mod sweep;
mod wire;

pub use canonical::Canonical;
pub use draft::{Draft, DraftBody};
pub use outcome::{FailureReason, SendFailure};
pub use resolve::{PublicAddr, Resolve, SystemResolver};
pub use sweep::Sweep;
pub use wire::{BoxFuture, Pieces, Wire, WireBody, WireError, WireErrorKind, WireReply, WireRequest};

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use crate::connection::TypedSend;
use crate::ids::Realm;
use crate::policy::Permitted;

/// The egress pipeline: secret, wire, reply.
pub struct Egress {
    wire: Arc<dyn Wire>,
}

impl fmt::Debug for Egress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Egress")
    }
}

/// What came back, cleaned: the headers are those of the allow-list, the body is decompressed, and the secret is in
/// neither.
#[derive(Debug)]
pub struct Reply {
    /// The status. A redirect is handed back as it is.
    pub status: u16,
    /// The allowed headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
    /// The version of the secret that was attached.
    pub secret_version: u32,
    /// Knows every form of that secret, for what is made of the reply later.
    pub sweep: Arc<Sweep>,
}

/// What stands in for a secret where there's no vault: fixtures and tests. It is no secret.
#[derive(Debug, Clone)]
pub struct Canary {
    text: String,
    sweep: Arc<Sweep>,
}

impl Canary {
    /// A fresh random one.
    #[must_use]
    pub fn fresh() -> Self {
        let mut bytes = [0_u8; 16];
        crate::ids::random(&mut bytes);
        Self { text: format!("canary_{}", hex::encode(bytes)), sweep: Arc::new(Sweep {}) }
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Finds it in every form.
    #[must_use]
    pub fn sweep(&self) -> &Arc<Sweep> {
        &self.sweep
    }
}

impl Egress {
    /// The pipeline over a wire that a script answers, with a canary in place of every secret.
    #[must_use]
    pub fn scripted(wire: Arc<dyn Wire>, canary: Canary) -> Self {
        let _ = canary;
        Self { wire }
    }

    /// Attaches the secret, sends the request once, and cleans the reply.
    ///
    /// # Errors
    /// Why there's no reply, with whether the upstream may have seen the request.
    pub async fn send(
        &self,
        permit: Permitted<TypedSend>,
        realm: &Realm,
        deadline: Instant,
    ) -> Result<Reply, SendFailure> {
        let _ = (permit, realm, deadline, &self.wire);
        Err(SendFailure::unsent(FailureReason::Internal, "not built yet"))
    }
}
