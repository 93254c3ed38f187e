//! Sockets: bound once everything else is known to be right, limited in number and time, drained at the end.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use axum::response::IntoResponse as _;
use axum::routing::post;
use http::header::{CONNECTION, EXPECT, HOST};
use http::{HeaderValue, Version};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinError, JoinSet};
use tower::Service as _;

use super::pace::{Paced, Phase};
use super::problem::Problem;
use super::rest::Lent;
use super::router::{Door, Route, kill_switches, router};
use super::tls::Certificate;
use super::unread::{Given, Spoken, Turn};
use super::{ServeConfig, mcp, places};
use crate::app::App;
use crate::config::DoorLimits;
use crate::metrics::Metrics;
use crate::refusal::Code;

/// How long a connection may stay open between two requests. Longer than the pools of common clients keep one, so
/// that it's the client that closes, and no request meets a closing socket.
const IDLE_MAX: Duration = Duration::from_secs(120);

/// Connections past the limit that are still told `busy` instead of being cut off: an agent hears a reason then, and an
/// operator can throw a kill switch, whoever holds all the others.
const TURNED_AWAY_MAX: usize = 64;

/// Connections that are turned away within this time of one another are told of once.
const FULL_PAUSE: Duration = Duration::from_secs(60);

/// The read buffer of one connection at most, in bytes; it begins at 8 KiB. Longer bodies go through it in parts.
const BUFFER_BYTES_MAX: usize = 64 << 10;

/// What is wrong with a request that doesn't say for which host it is, or says so twice.
const HOSTLESS: &str = "the request has to have one Host header";

/// The pause after a failed accept: with no descriptor left, the next one would fail at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why the door can't be opened. Every sentence says what to change.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Plain HTTP beyond this machine.
    #[error(
        "{0} is not a loopback address and no TLS is set up, so tokens and results could be read on the way; \
         set tls.cert_file and tls.key_file, listen on 127.0.0.1, or insist with --insecure-listen"
    )]
    InsecureListen(SocketAddr),
    /// Another program listens there.
    #[error("{0} is taken by another program; listen on another port, or on port 0 for a free one")]
    PortTaken(SocketAddr),
    /// The system doesn't let this process listen there.
    #[error("can't listen on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The certificate or the key can't be used.
    #[error("{file} can't be used as the listener's {wanted}: {cause}", file = file.display())]
    Tls {
        /// Which file.
        file: PathBuf,
        /// What it should hold.
        wanted: &'static str,
        /// What is wrong with it.
        cause: String,
    },
}

/// A bound listener that doesn't serve yet: its port is known, and connections wait in the system's queue.
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    certificate: Option<Arc<Certificate>>,
    config: ServeConfig,
}

/// Checks what can be known before a port is bound. The certificate is answered, if TLS is to be spoken.
///
/// # Errors
/// [`ServeError::InsecureListen`], [`ServeError::Tls`].
pub(crate) fn certificate(config: &ServeConfig) -> Result<Option<Certificate>, ServeError> {
    if config.tls.is_none() && !config.insecure_listen && !config.listen.ip().is_loopback() {
        return Err(ServeError::InsecureListen(config.listen));
    }
    config.tls.as_ref().map(Certificate::read).transpose()
}

/// Checks the configuration and binds.
///
/// # Errors
/// [`ServeError`]; no port is bound then.
pub async fn bind(config: &ServeConfig) -> Result<Bound, ServeError> {
    let (address, certificate) = (config.listen, certificate(config)?.map(Arc::new));
    let listener = TcpListener::bind(address).await.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => ServeError::PortTaken(address),
        _ => ServeError::Listen { address, source },
    })?;
    let address = listener.local_addr().map_err(|source| ServeError::Listen { address, source })?;
    Ok(Bound { listener, address, certificate, config: config.clone() })
}

impl Bound {
    /// Where it listens; the port is never 0.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same as a URL without a path.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.certificate.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// The certificate that connections are shown, if TLS is spoken: to be [refreshed](Certificate::refresh) from time to
    /// time.
    #[must_use]
    pub fn certificate(&self) -> Option<Arc<Certificate>> {
        self.certificate.clone()
    }

    /// Serves until `shutdown` resolves and the calls under way have ended, or the drain time is over: what still runs
    /// then is dropped, and recorded as cancelled.
    ///
    /// # Errors
    /// None at present: a failed accept is logged and tried again.
    pub async fn serve(self, app: Arc<App>, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
        let metrics = app.metrics.clone();
        let door = Arc::new(Door::new(app, &self.config));
        let routes = (router(door.clone()), kill_switches().with_state(door.clone()));
        self.serve_routes(routes, metrics, || door.drain(), shutdown).await;
        Ok(())
    }

    /// Serves any routes, and on connections past the limit `urgent` ones alone. `drain` is told when the end begins, before
    /// connections are.
    pub(super) async fn serve_routes(
        self,
        (routes, urgent): (Router, Router),
        metrics: Arc<Metrics>,
        drain: impl FnOnce(),
        shutdown: impl Future<Output = ()>,
    ) {
        let limits = &self.config.limits;
        let hostless = hostless(&metrics);
        let mut seats = Seats::new(limits.connections_max, metrics);
        let (stop, stopped) = watch::channel(());
        let server = Arc::new(Server {
            http: http(limits.header_bytes_max, true),
            http_once: http(limits.header_bytes_max, false),
            certificate: self.certificate,
            time_max: Duration::from_millis(limits.read_ms_max),
            routes,
            turned_away: turned_away(urgent, limits),
            hostless,
        });

        let mut connections = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        // Told once: it would be every few milliseconds.
        let mut is_told = false;
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                Some(ended) = connections.join_next() => report(ended),
                accepted = self.listener.accept() => match accepted {
                    // Without a seat the socket closes here.
                    Ok((socket, _)) => {
                        is_told = false;
                        if let Some(seat) = seats.take() {
                            connections.spawn(server.clone().connection(socket, seat, stopped.clone()));
                        }
                    }
                    Err(error) => {
                        if !is_told {
                            tracing::warn!(cause = %error, "a connection can't be accepted");
                        }
                        is_told = true;
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }

        drop(self.listener);
        drain();
        // Without this receiver, the channel closes when the sender is dropped, and tells all the others.
        drop((stopped, stop));
        let drained = async {
            while let Some(ended) = connections.join_next().await {
                report(ended);
            }
        };
        if tokio::time::timeout(Duration::from_millis(limits.drain_ms_max), drained).await.is_err() {
            tracing::warn!(
                connections = connections.len(),
                "the drain time is over; what still runs is stopped"
            );
            connections.shutdown().await;
        }
    }
}

impl fmt::Debug for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bound").field("url", &self.url()).finish_non_exhaustive()
    }
}

/// What every connection shares.
struct Server {
    http: http1::Builder,
    /// For connections that are turned away: one request, one answer.
    http_once: http1::Builder,
    certificate: Option<Arc<Certificate>>,
    time_max: Duration,
    routes: Router,
    turned_away: Router,
    hostless: Router,
}

impl Server {
    async fn connection(self: Arc<Self>, socket: TcpStream, seat: Seat, stopped: watch::Receiver<()>) {
        // An answer is one write; Nagle's algorithm would hold it back for the client's acknowledgement.
        let _ = socket.set_nodelay(true);
        match &self.certificate {
            None => self.exchange(socket, seat, stopped).await,
            Some(tls) => match tokio::time::timeout(self.time_max, tls.acceptor().accept(socket)).await {
                Ok(Ok(stream)) => self.exchange(stream, seat, stopped).await,
                Ok(Err(error)) => tracing::debug!(cause = %error, "a TLS handshake failed"),
                Err(_) => tracing::debug!("a TLS handshake took too long"),
            },
        }
    }

    /// Answers the requests of one connection. The routes' futures live inside this one: when the client hangs up,
    /// the connection ends and drops them.
    async fn exchange<S>(&self, stream: S, seat: Seat, mut stopped: watch::Receiver<()>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (phase, turn) = (Phase::new(), Turn::new());
        let paced = Paced::new(stream, phase.clone(), self.time_max);
        let io = TokioIo::new(Spoken::new(paced, turn.clone()));
        let (http, routes) = match seat.turned_away {
            false => (&self.http, &self.routes),
            true => (&self.http_once, &self.turned_away),
        };
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            phase.request();
            turn.request();
            let mut routes = if has_host(&request) { routes.clone() } else { self.hostless.clone() };
            let waits = request.headers().contains_key(EXPECT);
            let is_old = request.version() == Version::HTTP_10;
            let (head, body) = request.into_parts();
            let (body, rest) = Lent::new(body);
            let answer = routes.call(hyper::Request::from_parts(head, body));
            let (phase, turn) = (phase.clone(), turn.clone());
            async move {
                let mut answer = answer.await?;
                if !rest.drained(waits).await {
                    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                    if is_old {
                        // Of a newer answer to an older client, the library would also say that it's kept alive.
                        *answer.version_mut() = Version::HTTP_10;
                    }
                }
                phase.answered();
                Ok::<_, Infallible>(answer.map(|body| Given::new(body, turn)))
            }
        });
        let mut connection = pin!(http.serve_connection(io, service));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            _ = stopped.changed() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(cause = %error, "a connection ended early");
        }
    }
}

/// Whether a request says once for which host it is, as the protocol asks; its first version knew of no such header.
fn has_host<B>(request: &hyper::Request<B>) -> bool {
    match request.headers().get_all(HOST).iter().count() {
        0 => request.version() == Version::HTTP_10,
        count => count == 1,
    }
}

/// The answer to a request that doesn't say for which host it is.
fn hostless(metrics: &Metrics) -> Router {
    let series = Arc::new(metrics.route(Route::Unknown.path()));
    Router::new().fallback(move || {
        let series = series.clone();
        async move {
            let answer = Problem::new(Code::BadRequest, HOSTLESS).into_response();
            series.answered(answer.status());
            answer
        }
    })
}

/// The answers on connections that there's no room for, where nothing is `urgent`.
fn turned_away(urgent: Router, limits: &DoorLimits) -> Router {
    let limits = limits.clone();
    let mcp = post(move |request: Request| async move { mcp::turned_away(request, &limits).await });
    let full = || async { Problem::from(places::full()).into_response() };
    urgent.route(Route::Mcp.path(), mcp).fallback(full).method_not_allowed_fallback(full)
}

fn http(header_bytes_max: usize, keep_alive: bool) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .keep_alive(keep_alive)
        .header_read_timeout(IDLE_MAX)
        .max_header_size(header_bytes_max)
        .max_buf_size(BUFFER_BYTES_MAX.max(header_bytes_max));
    http
}

/// Room for connections.
struct Seats {
    served: Arc<Semaphore>,
    turned_away: Arc<Semaphore>,
    metrics: Arc<Metrics>,
    /// When there was no room the last time.
    full: Option<Instant>,
}

struct Seat {
    turned_away: bool,
    _permit: OwnedSemaphorePermit,
}

impl Seats {
    fn new(connections_max: usize, metrics: Arc<Metrics>) -> Self {
        Self {
            served: Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS))),
            turned_away: Arc::new(Semaphore::new(TURNED_AWAY_MAX)),
            metrics,
            full: None,
        }
    }

    fn take(&mut self) -> Option<Seat> {
        let seat = |room: &Arc<Semaphore>, turned_away| {
            let permit = room.clone().try_acquire_owned().ok()?;
            Some(Seat { turned_away, _permit: permit })
        };
        if let Some(served) = seat(&self.served, false) {
            return Some(served);
        }
        self.metrics.connection_turned_away();
        if self.full.replace(Instant::now()).is_none_or(|last| last.elapsed() >= FULL_PAUSE) {
            tracing::warn!(
                "there are as many connections as doors.connections_max allows; more are turned away"
            );
        }
        seat(&self.turned_away, true)
    }
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(cause = %error, "a connection broke down");
    }
}
