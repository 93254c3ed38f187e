//! Secret, wire, reply: one permitted request, once.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderValue};
use tokio::time::{Instant, timeout_at};

use super::aside::Aside;
use super::attach::{Attached, attach};
use super::canonical::push_pair;
use super::handover::Handover;
use super::live::LiveWire;
use super::per_realm::PerRealm;
use super::reply::clean;
use super::resolve::Resolve;
use super::vault::{Named, Vault, VaultError};
use super::wire::{BoxFuture, Wire, WireError, WireErrorKind, WireRequest};
use super::{Secret, Sweep};
use crate::connection::{Connection, SecretOf, TypedSend};
use crate::ids::{Realm, UserId};
use crate::policy::Permitted;
use crate::refusal::{FailureReason, RequestSent, SendFailure};

/// What the host calls itself upstream, where a connection's constant headers say nothing else.
const AGENT: &str = concat!("keybearer/", env!("CARGO_PKG_VERSION"));

/// How long before its deadline a request is given up that no connection has, in milliseconds; half of the time that's left
/// where that's less. Its call may be stopped at that deadline, and a send that is stopped counts as unknown: this is time
/// enough to hear that nothing was sent.
const UNSENT_MS_BEFORE: u64 = 50;

/// The egress pipeline: secret, wire, reply. There's no other.
pub struct Egress {
    secrets: Secrets,
    wire: Arc<dyn Wire>,
    observer: Option<Arc<dyn Observer>>,
    sweeps: PerRealm<Swept>,
    aside: Aside,
}

/// Sees what is sent before the secret is attached, and what comes of it once the leak sweep has passed it.
pub(crate) trait Observer: Send + Sync {
    /// A request is about to be sent.
    fn request(&self, send: &TypedSend);
    /// What the guest will get of it.
    fn outcome(&self, result: &Result<Reply, SendFailure>);
}

/// Where secrets come from.
enum Secrets {
    Vault(Arc<Vault>),
    Canary(Arc<Secret>),
}

/// A sweep, and the secret that it looks for: whose, which version.
type Swept = (Option<UserId>, u32, Arc<Sweep>);

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
    /// How long the upstream said that the body is, where it's handed on as it came: of a `HEAD`, how long a `GET`'s would
    /// be.
    pub announced: Option<u64>,
    /// The version of the secret that was attached.
    pub secret_version: u32,
    /// Knows every form of that secret, for what is made of the reply later.
    pub sweep: Arc<Sweep>,
}

/// What stands in for a secret where there's no vault: fixtures and tests. It is no secret.
#[derive(Clone)]
pub struct Canary {
    secret: Arc<Secret>,
    sweep: Arc<Sweep>,
}

impl Canary {
    /// A fresh random one.
    #[must_use]
    pub fn fresh() -> Self {
        let secret = Arc::new(Secret::canary());
        let sweep = Arc::new(Sweep::new(&[secret.expose()]));
        Self { secret, sweep }
    }

    /// Its text, for upstreams that a script makes send it back.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.secret.expose()).unwrap_or_default()
    }

    /// Finds it in every form.
    #[must_use]
    pub fn sweep(&self) -> &Arc<Sweep> {
        &self.sweep
    }
}

impl fmt::Debug for Canary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Canary")
    }
}

impl fmt::Debug for Egress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Egress")
    }
}

impl Egress {
    /// The pipeline over the network, with the vault's secrets.
    #[must_use]
    pub fn live(vault: Arc<Vault>, resolver: Arc<dyn Resolve>) -> Self {
        Self::over(Arc::new(LiveWire::new(resolver)), Secrets::Vault(vault))
    }

    /// The same with someone looking on, to record fixtures.
    pub(crate) fn seen_by(self, observer: Arc<dyn Observer>) -> Self {
        Self { observer: Some(observer), ..self }
    }

    /// The pipeline over a wire that a script answers, with a canary in place of every secret.
    #[must_use]
    pub fn scripted(wire: Arc<dyn Wire>, canary: Canary) -> Self {
        Self::over(wire, Secrets::Canary(canary.secret))
    }

    /// The pipeline over a wire that a test answers, with the vault's secrets.
    #[cfg(test)]
    pub(crate) fn for_tests(wire: Arc<dyn Wire>, vault: Arc<Vault>) -> Self {
        Self::over(wire, Secrets::Vault(vault))
    }

    /// The version of the secret that would be attached to this request now: what an approval is bound to.
    ///
    /// # Errors
    /// [`FailureReason::NoSecret`] when there's none; [`FailureReason::Internal`] when the vault can't be read.
    pub fn secret_version(&self, realm: &Realm, send: &TypedSend) -> Result<u32, SendFailure> {
        let vault = match &self.secrets {
            Secrets::Canary(secret) => return Ok(secret.version()),
            Secrets::Vault(vault) => vault,
        };
        match vault.newest_version(realm, send.user(), send.secret()) {
            Ok(Some(version)) => Ok(version),
            Ok(None) => Err(SendFailure::unsent(
                FailureReason::NoSecret,
                "there is no secret for this connection here",
            )
            .because(format!("{realm} {}: no such secret is stored", send.secret()))),
            Err(error) => {
                Err(SendFailure::unsent(FailureReason::Internal, "the host can't read its vault now")
                    .because(error.to_string()))
            }
        }
    }

    fn over(wire: Arc<dyn Wire>, secrets: Secrets) -> Self {
        Self { secrets, wire, observer: None, sweeps: PerRealm::new(), aside: Aside::default() }
    }

    /// Where long texts are looked through.
    pub(crate) fn aside(&self) -> &Aside {
        &self.aside
    }

    /// Attaches the secret, sends the request once, and cleans the reply. The wait ends at `deadline`, or sooner
    /// where the connection's own limit ends first.
    ///
    /// # Errors
    /// Why there's no reply, with whether the upstream may have seen the request. Messages name no address and hold
    /// no text of the upstream; causes are for the operator's log, and hold no secret.
    pub async fn send(
        &self,
        permit: Permitted<TypedSend>,
        realm: &Realm,
        deadline: Instant,
    ) -> Result<Reply, SendFailure> {
        self.send_watched(permit, realm, deadline, &Handover::default()).await
    }

    /// The same for whoever may stop waiting: `handover` tells then which secret was attached, and whether the upstream may
    /// have seen the request.
    pub(crate) async fn send_watched(
        &self,
        permit: Permitted<TypedSend>,
        realm: &Realm,
        deadline: Instant,
        handover: &Handover,
    ) -> Result<Reply, SendFailure> {
        let send = |permit| self.send_unseen(permit, realm, deadline, handover);
        let Some(observer) = &self.observer else { return send(permit).await };
        observer.request(permit.request());
        let result = send(permit).await;
        observer.outcome(&result);
        result
    }

    async fn send_unseen(
        &self,
        permit: Permitted<TypedSend>,
        realm: &Realm,
        deadline: Instant,
        handover: &Handover,
    ) -> Result<Reply, SendFailure> {
        let connection = permit.request().connection().clone();
        if !connection.is_for(realm) {
            return Err(SendFailure::unsent(
                FailureReason::UnknownOperation,
                format!("there is no connection {} here", connection.name),
            ));
        }
        let deadline = deadline.min(Instant::now() + connection.total_max);
        if deadline <= Instant::now() {
            return Err(SendFailure::unsent(
                FailureReason::Timeout,
                "the deadline passed before the request was sent",
            ));
        }
        let user = permit.request().user().cloned();
        let secret = self.secret(realm, user.as_ref(), &connection)?;
        let attached = attach(&permit, &connection.attach, &secret)?;
        handover.attached(secret.version());
        let sweep = self.sweep(realm, &connection, (user, secret.version()), &attached)?;
        let request = wire_request(permit.into_request(), realm.clone(), attached, handover.clone());

        let reply = match in_time(self.wire.exchange(request, deadline), deadline, handover).await {
            Some(Ok(reply)) => reply,
            Some(Err(error)) => return Err(failure(error, &connection, &sweep)),
            None => return Err(late(&connection, handover.request_sent())),
        };
        let cleaned = clean(reply, &connection, deadline, &self.aside, &sweep, secret.version()).await;
        cleaned.map_err(|failure| SendFailure {
            cause: failure.cause.map(|cause| sweep.redact(&cause)),
            ..failure
        })
    }

    /// INVARIANT (whose secret): a connection whose secret is its caller's own never gets an operator's, nor the other way
    /// round. A request that nobody bound to a user gets none.
    fn secret(
        &self,
        realm: &Realm,
        user: Option<&UserId>,
        connection: &Connection,
    ) -> Result<Arc<Secret>, SendFailure> {
        if user.is_some() != (connection.secret_of == SecretOf::User) {
            return Err(SendFailure::unsent(FailureReason::NoSecret, no_secret(connection))
                .because("it isn't known whose secret is to be attached".to_owned()));
        }
        let vault = match &self.secrets {
            Secrets::Canary(secret) => return Ok(secret.clone()),
            Secrets::Vault(vault) => vault,
        };
        let named = Named { realm, user, label: &connection.secret };
        vault.newest(named).map_err(|error| match error {
            VaultError::NoSecret { cause } => {
                SendFailure::unsent(FailureReason::NoSecret, no_secret(connection)).because(cause)
            }
            VaultError::Store(error) => {
                SendFailure::unsent(FailureReason::Internal, "the host's vault can't be read now")
                    .because(error.to_string())
            }
        })
    }

    /// The sweep for what is injected, compiled once for each version of a secret. One is kept: users whose own secrets
    /// take turns on a connection have theirs compiled each time.
    fn sweep(
        &self,
        realm: &Realm,
        connection: &Arc<Connection>,
        (user, version): (Option<UserId>, u32),
        attached: &Attached,
    ) -> Result<Arc<Sweep>, SendFailure> {
        let fits = |(of, kept, _): &Swept| *of == user && *kept == version;
        let compile = || Ok((user.clone(), version, Arc::new(Sweep::new(&attached.injected))));
        self.sweeps.get(realm, connection, fits, compile).map(|(_, _, sweep)| sweep)
    }
}

fn no_secret(connection: &Connection) -> String {
    format!("there is no usable secret for the connection {} here", connection.name)
}

/// The canonical bytes with the secret beside them.
fn wire_request(send: TypedSend, realm: Realm, attached: Attached, handover: Handover) -> WireRequest {
    let (connection, request) = (send.connection(), send.request());
    let mut target = String::with_capacity(128);
    target.push_str(connection.base.path_prefix());
    target.push_str(request.path());
    if !request.query_encoded().is_empty() {
        target.push('?');
        target.push_str(request.query_encoded());
    }
    if let Some((name, value)) = &attached.query {
        target.push(if request.query_encoded().is_empty() { '?' } else { '&' });
        push_pair(&mut target, name, value);
    }

    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    for (name, value) in request.headers().iter().chain(&connection.constant_headers) {
        headers.insert(name.clone(), value.clone());
    }
    if let Some((name, value)) = send.idempotency() {
        headers.insert(name.clone(), value.clone());
    }
    if let Some(content_type) = request.content_type().and_then(|text| HeaderValue::from_str(text).ok()) {
        headers.insert(CONTENT_TYPE, content_type);
    }
    if let Some((name, value)) = attached.header {
        headers.insert(name, value);
    }
    WireRequest {
        realm,
        connection: connection.clone(),
        operation: send.operation_name().clone(),
        method: request.method().clone(),
        target,
        headers,
        body: request.body_bytes().clone(),
        digest: request.digest(),
        handover,
    }
}

/// Waits for the head of a reply until the deadline, and a little less long while no connection has the request. `None`: it
/// hasn't come, and nobody waits for it any more.
async fn in_time<T>(mut exchange: BoxFuture<'_, T>, deadline: Instant, handover: &Handover) -> Option<T> {
    let left = deadline.saturating_duration_since(Instant::now());
    let before = Duration::from_millis(UNSENT_MS_BEFORE).min(left / 2);
    match timeout_at(deadline - before, &mut exchange).await {
        Ok(done) => return Some(done),
        Err(_) if handover.is_waiting() => return None,
        Err(_) => {}
    }
    timeout_at(deadline, exchange).await.ok()
}

/// Nothing has come in time. A request that a connection has may have been read, or be lying in a buffer.
fn late(connection: &Connection, request_sent: RequestSent) -> SendFailure {
    let what = match request_sent {
        RequestSent::No => "can't be reached in time",
        RequestSent::Yes | RequestSent::Unknown => "didn't answer in time",
    };
    let message = format!("the upstream of the connection {} {what}", connection.name);
    SendFailure::unsent(FailureReason::Timeout, message).sent(request_sent)
}

fn failure(error: WireError, connection: &Connection, sweep: &Sweep) -> SendFailure {
    let upstream = format!("the upstream of the connection {}", connection.name);
    let (reason, message) = match error.kind {
        WireErrorKind::Address | WireErrorKind::Connect => {
            (FailureReason::Unreachable, format!("{upstream} can't be reached"))
        }
        WireErrorKind::ConnectTimeout => {
            (FailureReason::Timeout, format!("{upstream} can't be reached in time"))
        }
        WireErrorKind::Timeout => (FailureReason::Timeout, format!("{upstream} didn't answer in time")),
        WireErrorKind::HungUp => {
            (FailureReason::Unreachable, format!("{upstream} hung up before it answered"))
        }
        WireErrorKind::Malformed => {
            (FailureReason::ResponseRefused, format!("{upstream} answered with something that isn't HTTP"))
        }
        WireErrorKind::Internal => {
            (FailureReason::Internal, "the host couldn't send the request; its log says why".to_owned())
        }
    };
    SendFailure::unsent(reason, message).sent(error.request_sent).because(sweep.redact(&error.cause))
}
