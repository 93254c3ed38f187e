//! Upstreams that the operator set up: files → [`Connections`]; a guest's [`Draft`] → [`TypedSend`].
//!
//! One TOML file is one connection, named by its stem. All keys but `base_url`, `secret`, `attach` and `operations`
//! may be left out; unknown keys are errors.
//!
//! ```toml
//! base_url = "https://api.stripe.com"          # https, a host, a path prefix; nothing else
//! secret = "stripe-prod"                       # the label in the vault
//! secret_of = "operator"                       # or "user": the own secret of the user that the token is bound to
//! attach = { kind = "bearer" }                 # basic {user?}, header {name, prefix?}, query {name}
//! ca_file = "stripe-ca.pem"                    # the only authorities to trust; relative to this file
//! headers = { "Stripe-Version" = "2024-06-20" }  # added to every request
//! request_headers = ["idempotency-key"]        # all that a tool may give; a default list otherwise
//! response_headers = ["request-id"]            # that a tool may see, beside content-type and three others
//! timeouts = { connect_ms_max = 2000, total_ms_max = 10000 }
//! limits = { request_bytes_max = 65536, response_bytes_max = 1048576 }
//! allow_private = ["10.1.0.0/16"]              # private ranges that the upstream may be in
//! allow_insecure_loopback = false              # the upstream may be on this machine, plain http included
//! tenants = ["acme"]                           # who may use it; everyone otherwise
//! environments = ["production"]
//! idempotency_header = "Idempotency-Key"       # where the upstream takes a key that makes a write happen once
//! error_profile = "stripe"                     # the shape of errors at the proxy door; "problem" otherwise
//!
//! [operations.create_charge]
//! request = "POST /v1/charges"
//! effect = "write"                             # or "read"
//! content_type = "application/x-www-form-urlencoded"
//! body.amount = { type = "integer", minimum = 1 }
//! body.currency = { type = "string", enum = ["usd"] }
//! body."metadata[order]" = { type = "string", optional = true }
//! cost = { amount = "body.amount", currency = "body.currency" }   # minor units; or currency = "usd"
//! settle = { amount = "/amount" }              # where the reply says what was really spent
//! customer = "body.customer"                   # the parameter that budgets by customer go by
//! refund = { of = "create_charge", id = "/id", amount = "/amount", currency = "/currency" }   # what it gives back
//! repeatable = true                            # it sets something: the same write again is meant, see docs/BUDGETS.md
//! conversation_field = "metadata[conversation]"  # a declared field that the host writes the conversation into
//! key_field = "metadata[keybearer_key]"        # a declared field that the host writes its key for the write into
//!
//! [operations.create_charge.reconcile]         # how a write is looked up whose reply was lost
//! read = "list_charges"                        # a GET that is a read
//! query.limit = 100                            # its parameters: constants, "{key}", "{earliest}" or "{latest}"
//! in = "/data"                                 # where its reply has those that may be the write
//! key = "/metadata/keybearer_key"              # where one of them has the key
//! amount = "/amount"                           # where it has what it came to
//! status = { at = "/status", is = "succeeded" }  # how it has to stand
//!
//! [operations.get_invoice]
//! request = "GET /v1/invoices/{id}"
//! effect = "read"
//! path.id = { type = "string", pattern = "^in_[A-Za-z0-9_]+$" }
//! query.expand = { type = "boolean", optional = true }
//! ```
//!
//! Parameter types are a subset of JSON Schema: `string` (`pattern`, `enum`, `min_length`, `max_length`), `integer`
//! (`minimum`, `maximum`, `enum`), `number` (`minimum`, `maximum`), `boolean`, and in JSON bodies `array` (`items`,
//! `min_items`, `max_items`) and `object` (`properties`). Every parameter is required unless it says
//! `optional = true`, none is null unless it says `nullable = true` (in JSON bodies only), and what isn't declared is
//! refused, at any depth. `body_is = "items"` says that the JSON body isn't an object of its parameters, but the one that it
//! names: an array.

mod attach;
mod base;
mod ca;
mod cost;
mod file;
pub mod limits;
mod live;
mod operation;
mod parameter;
mod problem;
mod reconcile;
mod summary;
#[cfg(test)]
mod tests;
mod typed;
mod values;

pub use attach::Attach;
pub use base::{BaseUrl, Scheme};
pub use ca::CaBundle;
pub use cost::{Cost, CostRule, Currency, Place, RefundRule, Refunded, SettleRule};
pub use live::LiveConnections;
pub use operation::{Effect, Operation, PathTemplate, Segment};
pub(crate) use parameter::INTEGER;
pub use parameter::{Kind, Mismatch, Parameter};
pub use problem::{Problem, Problems};
pub use reconcile::{Given, Lookup, LostWrite, ReconcileRule};
pub use summary::{OperationSummary, Summary};
pub use typed::{Parameters, TypedSend};

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use http::{HeaderName, HeaderValue};
use ipnet::IpNet;

use self::file::Source;
use crate::egress::{AddressRules, Canonical, Draft};
use crate::ids::{ConnectionName, ConversationId, Environment, OperationName, Realm, SecretLabel, TenantId};
use crate::refusal::SendFailure;

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
    /// Among whose secrets that label is looked for.
    pub secret_of: SecretOf,
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
    /// The header in which the upstream takes a key that makes a write happen once, as `Idempotency-Key` does.
    pub idempotency_header: Option<HeaderName>,
    /// The shape of errors at the proxy door.
    pub error_profile: ErrorProfile,
    /// What it can do, by name.
    pub operations: Vec<Arc<Operation>>,
    /// How it's looked up what became of a write, by the operation's name.
    reconciles: BTreeMap<OperationName, Arc<ReconcileRule>>,
}

/// Whose secret a connection uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SecretOf {
    /// The realm's: an operator put it into the vault, and it's for all callers.
    #[default]
    Operator,
    /// The own one of the user that the caller's token is bound to.
    User,
}

impl SecretOf {
    /// As a connection's file writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::User => "user",
        }
    }
}

/// The shape of errors at the proxy door: what the vendor's own SDK can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ErrorProfile {
    /// `application/problem+json`, as everywhere else.
    #[default]
    Problem,
    /// Stripe's error object.
    Stripe,
}

impl Connection {
    /// Whether this realm may use it.
    #[must_use]
    pub fn is_for(&self, realm: &Realm) -> bool {
        self.tenants.as_ref().is_none_or(|all| all.contains(&realm.tenant))
            && self.environments.as_ref().is_none_or(|all| all.contains(&realm.environment))
    }

    /// Which addresses its requests may go to.
    #[must_use]
    pub fn address_rules(&self) -> AddressRules<'_> {
        AddressRules {
            private: &self.allow_private,
            loopback: self.allow_insecure_loopback,
            only_loopback: self.base.scheme() == Scheme::Http,
        }
    }

    /// The whole way from a guest's words to a typed request: canonical form, operation, parameters.
    ///
    /// # Errors
    /// [`InvalidRequest`](crate::refusal::FailureReason::InvalidRequest) with the rule of form that is
    /// broken, or the parameter that is missing, undeclared or of the wrong type;
    /// [`UnknownOperation`](crate::refusal::FailureReason::UnknownOperation) when no operation has this
    /// method and path.
    pub fn accept(self: &Arc<Self>, draft: Draft) -> Result<TypedSend, SendFailure> {
        self.type_request(Canonical::from_draft(draft, self)?)
    }

    /// The same for a request that is part of a conversation: its id is written into the field of the body that the
    /// operation names for it, before anything is decided, so that what is decided on and sent says it.
    ///
    /// # Errors
    /// As for [`Self::accept`], and [`InvalidRequest`](crate::refusal::FailureReason::InvalidRequest) when
    /// the request fills that field itself, or the one that the host writes its key into.
    pub fn accept_in(
        self: &Arc<Self>,
        draft: Draft,
        conversation: Option<&ConversationId>,
    ) -> Result<TypedSend, SendFailure> {
        // Which operation it is has to be known first.
        let typed = self.accept(draft)?.untouched()?;
        match conversation {
            Some(conversation) => typed.with_conversation(conversation),
            None => Ok(typed),
        }
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
        let mut problems = Problems::default();
        let files = toml_files(dir, &mut problems);
        Self::of_files(&files, problems)
    }

    /// Reads these files and no others.
    ///
    /// # Errors
    /// Every problem of every file.
    pub fn read(files: &[PathBuf]) -> Result<Self, Problems> {
        Self::of_files(files, Problems::default())
    }

    fn of_files(files: &[PathBuf], mut problems: Problems) -> Result<Self, Problems> {
        let mut sources = Vec::new();
        for path in files {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            match read(path) {
                Ok(text) => sources.push(Source { name, dir: file::folder(path), text }),
                Err(message) => problems.of_file(&name, message),
            }
        }
        Self::check(&sources, problems)
    }

    /// Checks files that are in memory already: name and text. CA files are looked for in the working directory.
    ///
    /// # Errors
    /// Every problem of every file.
    pub fn parse(files: &[(&str, &str)]) -> Result<Self, Problems> {
        let source = |(name, text): &(&str, &str)| Source {
            name: (*name).to_owned(),
            dir: PathBuf::new(),
            text: (*text).to_owned(),
        };
        Self::check(&files.iter().map(source).collect::<Vec<_>>(), Problems::default())
    }

    /// The connection of this name, if this realm may use it.
    #[must_use]
    pub fn get(&self, realm: &Realm, name: &str) -> Option<Arc<Connection>> {
        self.named(name).filter(|connection| connection.is_for(realm))
    }

    /// The connection of this name, whoever may use it: for what has to be known before a caller is.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<Arc<Connection>> {
        let name: ConnectionName = name.parse().ok()?;
        self.by_name.get(&name).cloned()
    }

    /// All connections, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Connection>> {
        self.by_name.values()
    }

    fn check(sources: &[Source], mut problems: Problems) -> Result<Self, Problems> {
        let mut by_name = BTreeMap::new();
        for source in sources {
            match file::connection(source) {
                Ok(connection) => {
                    by_name.insert(connection.name.clone(), Arc::new(connection));
                }
                Err(found) => problems.0.extend(found),
            }
        }
        problems.into_result()?;
        Ok(Self { by_name })
    }
}

/// The connection files of a folder, by name.
fn toml_files(dir: &Path, problems: &mut Problems) -> Vec<PathBuf> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            problems.of_file(&dir.display().to_string(), format!("can't be read: {error}"));
            return Vec::new();
        }
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    files
}

fn read(path: &Path) -> Result<String, String> {
    let size = fs::metadata(path).map_err(|error| format!("can't be read: {error}"))?.len();
    if size > limits::FILE_BYTES_LIMIT {
        return Err(format!("is larger than {} bytes", limits::FILE_BYTES_LIMIT));
    }
    fs::read_to_string(path).map_err(|error| format!("can't be read: {error}"))
}
