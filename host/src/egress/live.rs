//! The wire that is a network.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Method};
use reqwest::dns::{Addrs, Name, Resolving};
use reqwest::{Body, Client, Request, Response, Url, redirect, retry};
use rustls::{ClientConfig, RootCertStore};
use tokio::time::Instant;

use super::handover::WatchedBody;
use super::per_realm::PerRealm;
use super::reply::HEADERS_MAX;
use super::resolve::{Resolve, ResolveError, resolve};
use super::wire::{BoxFuture, Wire, WireBody, WireError, WireErrorKind, WireReply, WireRequest};
use crate::connection::Connection;
use crate::ids::Realm;
use crate::refusal::RequestSent;

/// How long a connection to an upstream is kept open without use. Load balancers commonly close after a minute; a
/// shorter time here means that a request seldom meets a connection that is just being closed.
const IDLE_MAX: Duration = Duration::from_secs(45);
/// How many unused connections are kept per upstream and realm. Where more requests than that are under way at once, each
/// end of one closes a connection that the next has to make anew, with all of TLS's computations.
const IDLE_CONNECTIONS_MAX: usize = 256;

/// Sends over the network.
///
/// A client, its pool of connections and its TLS sessions belong to one realm and one connection.
pub struct LiveWire {
    resolver: Arc<dyn Resolve>,
    clients: PerRealm<Client>,
}

impl LiveWire {
    /// A wire that looks names up with `resolver`.
    #[must_use]
    pub fn new(resolver: Arc<dyn Resolve>) -> Self {
        Self { resolver, clients: PerRealm::new() }
    }

    fn client(&self, realm: &Realm, connection: &Arc<Connection>) -> Result<Client, WireError> {
        self.clients.get(realm, connection, |_| true, || build(connection, self.resolver.clone()))
    }
}

impl Wire for LiveWire {
    fn exchange(&self, request: WireRequest, _: Instant) -> BoxFuture<'_, Result<WireReply, WireError>> {
        Box::pin(async move {
            let client = self.client(&request.realm, &request.connection)?;
            let mut response = client.execute(to_reqwest(request)?).await.map_err(from_reqwest)?;
            Ok(WireReply {
                status: response.status().as_u16(),
                headers: std::mem::take(response.headers_mut()),
                body: Box::new(LiveBody(response)),
            })
        })
    }
}

struct LiveBody(Response);

impl WireBody for LiveBody {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, WireError>> {
        Box::pin(async { self.0.chunk().await.map_err(from_reqwest) })
    }
}

fn build(connection: &Arc<Connection>, resolver: Arc<dyn Resolve>) -> Result<Client, WireError> {
    // An address in the base URL is never looked up, so it's checked here. It was when the file was loaded, too.
    if let Some(address) = connection.base.address() {
        connection.address_rules().check(address).map_err(|class| WireError {
            kind: WireErrorKind::Address,
            request_sent: RequestSent::No,
            cause: format!("{} is {class}", connection.base.host()),
        })?;
    }
    Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .referer(false)
        .http1_max_headers(HEADERS_MAX + 1)
        .tcp_nodelay(true)
        .connect_timeout(connection.connect_max)
        .pool_idle_timeout(IDLE_MAX)
        .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
        .dns_resolver(CheckedResolver { resolver, connection: connection.clone() })
        .tls_backend_preconfigured(tls(connection).map_err(|error| internal(error.to_string()))?)
        .build()
        .map_err(|error| internal(chain(&error)))
}

/// The connection's own authorities alone where it names some, those that browsers trust otherwise.
fn tls(connection: &Connection) -> Result<ClientConfig, rustls::Error> {
    let roots = match &connection.ca {
        Some(ca) => ca.roots().clone(),
        None => Arc::new(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Gives the client checked addresses and no others.
struct CheckedResolver {
    resolver: Arc<dyn Resolve>,
    connection: Arc<Connection>,
}

impl reqwest::dns::Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (resolver, connection) = (self.resolver.clone(), self.connection.clone());
        Box::pin(async move {
            let found = resolve(resolver.as_ref(), name.as_str(), connection.address_rules()).await?;
            Ok(Box::new(found.into_iter().map(super::PublicAddr::get)) as Addrs)
        })
    }
}

fn to_reqwest(request: WireRequest) -> Result<Request, WireError> {
    let base = &request.connection.base;
    let text = format!("{}://{}:{}{}", base.scheme().as_str(), base.host(), base.port(), request.target);
    let url =
        Url::parse(&text).map_err(|error| internal(format!("the canonical target is no URL: {error}")))?;
    // INVARIANT (same bytes): a URL library that would write the target otherwise is caught here.
    let target = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    if target != request.target {
        return Err(internal("the URL library changed the canonical target".into()));
    }
    let mut outgoing = Request::new(request.method, url);
    *outgoing.headers_mut() = request.headers;
    // The client says how long a body is, and nothing of one that isn't there (RFC 9110 §8.6): strict servers answer 411.
    if request.body.is_empty() && matches!(*outgoing.method(), Method::POST | Method::PUT | Method::PATCH) {
        outgoing.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    *outgoing.body_mut() = Some(Body::wrap(WatchedBody::new(request.body, request.handover)));
    Ok(outgoing)
}

/// What a failure says of the request: surely not sent before there was a connection, surely sent once the upstream
/// answered anything, unknown between the two.
fn from_reqwest(error: reqwest::Error) -> WireError {
    // A URL may hold the secret.
    let error = error.without_url();
    let (kind, request_sent) = if find::<ResolveError>(&error).is_some() {
        (WireErrorKind::Address, RequestSent::No)
    } else if error.is_connect() && error.is_timeout() {
        (WireErrorKind::ConnectTimeout, RequestSent::No)
    } else if error.is_connect() {
        (WireErrorKind::Connect, RequestSent::No)
    } else if error.is_builder() {
        (WireErrorKind::Internal, RequestSent::No)
    } else if find::<hyper::Error>(&error).is_some_and(hyper::Error::is_parse) {
        (WireErrorKind::Malformed, RequestSent::Yes)
    } else {
        (WireErrorKind::HungUp, RequestSent::Unknown)
    };
    WireError { kind, request_sent, cause: chain(&error) }
}

fn internal(cause: String) -> WireError {
    WireError { kind: WireErrorKind::Internal, request_sent: RequestSent::No, cause }
}

/// The error of this type among an error's causes.
fn find<E: std::error::Error + 'static>(error: &reqwest::Error) -> Option<&E> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

/// An error and its causes, in one line.
fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
