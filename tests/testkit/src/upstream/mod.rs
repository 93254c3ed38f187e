//! A TLS upstream that answers by script. It remembers every request that it read, so a test can say not only what
//! the host reported, but whether it was true.

mod replies;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::ca::{Ca, LOOPBACK_NAMES, Leaf};

/// What the upstream does with a request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// Answers with this status and JSON text.
    Json(u16, String),
    /// Answers with this status, these headers and this body.
    Raw(u16, Vec<(String, String)>, Vec<u8>),
    /// Sends the `Authorization` header back, in this form.
    Echo(Echo),
    /// Redirects (307) to this location.
    Redirect(String),
    /// Promises a JSON body and sends one byte of it at this interval.
    Drip(Duration),
    /// Sends a chunked body that never ends.
    Endless,
    /// Sends a gzip body of a few kilobytes that inflates to this many bytes.
    GzipBomb(usize),
    /// Sends a header block of this many bytes.
    HugeHeaders(usize),
    /// Reads the request and closes the connection without a reply.
    HangUp,
    /// Sends half of the body it promised, then closes the connection.
    HangUpMidBody,
    /// Reads the request and never answers.
    Silent,
}

/// The forms in which a credential can be sent back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Echo {
    /// In a JSON body, as it came.
    Body,
    /// In the header `x-echo`.
    Header,
    /// In a body with `Content-Encoding: gzip`, whether the client accepts that or not.
    Gzip,
    /// In base64.
    Base64,
    /// One byte a chunk.
    Chunks,
    /// In the cookie of a `Set-Cookie` header.
    Cookie,
}

/// Which request gets which reply.
#[derive(Debug, Clone)]
pub struct Script {
    replies: BTreeMap<String, Reply>,
    otherwise: Reply,
    reads: bool,
}

impl Script {
    /// Every request gets this reply.
    #[must_use]
    pub fn always(reply: Reply) -> Self {
        Self { replies: BTreeMap::new(), otherwise: reply, reads: true }
    }

    /// Requests for this path (without the query) get this one instead.
    #[must_use]
    pub fn on(mut self, path: &str, reply: Reply) -> Self {
        self.replies.insert(path.to_owned(), reply);
        self
    }

    /// Shakes hands and closes the connection before a byte of the request was read.
    #[must_use]
    pub fn hang_up_before_reading() -> Self {
        Self { reads: false, ..Self::always(Reply::HangUp) }
    }

    fn reply_to(&self, path: &str) -> &Reply {
        self.replies.get(path).unwrap_or(&self.otherwise)
    }
}

/// A request as the upstream read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The method.
    pub method: String,
    /// The request target: path and query, as they came.
    pub target: String,
    /// The headers, names in lower case, in the order they came.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Seen {
    /// The path, without the query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The first header of this name (lower case).
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A running upstream. It stops when dropped.
pub struct Upstream {
    addr: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    script: Script,
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
}

impl Upstream {
    /// An upstream on a free loopback port, with a certificate for this machine.
    ///
    /// # Errors
    /// If no port can be bound.
    pub async fn start(ca: &Ca, script: Script) -> io::Result<Self> {
        Self::start_as(&ca.leaf(LOOPBACK_NAMES), script).await
    }

    /// The same with another certificate: for a wrong name, or of a CA that nobody trusts.
    ///
    /// # Errors
    /// If no port can be bound.
    pub async fn start_as(leaf: &Leaf, script: Script) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = listener.local_addr()?;
        let acceptor = TlsAcceptor::from(leaf.server_config());
        let shared = Arc::new(Shared { script, seen: Mutex::default(), connections: AtomicUsize::new(0) });
        let task = tokio::spawn({
            let shared = Arc::clone(&shared);
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    shared.connections.fetch_add(1, Ordering::Relaxed);
                    let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
                    // A broken connection is what half of the tests are about.
                    tokio::spawn(async move { serve(client, acceptor, &shared).await.ok() });
                }
            }
        });
        Ok(Self { addr, shared, task })
    }

    /// The port that it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.addr.port()
    }

    /// The base URL for a connection file.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("https://localhost:{}", self.port())
    }

    /// The requests that were read in full, oldest first.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many TCP connections were opened.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(client: TcpStream, acceptor: TlsAcceptor, shared: &Shared) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut stream = acceptor.accept(client).await?;
    if !shared.script.reads {
        return stream.shutdown().await;
    }
    let mut unread = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut unread).await? {
        let reply = shared.script.reply_to(request.path()).clone();
        shared.seen.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
        if replies::send(&mut stream, &reply, &request).await?.is_break() {
            return stream.shutdown().await;
        }
    }
    Ok(())
}

/// One request, or `None` at the end of the connection. Bytes beyond it stay in `unread`.
async fn read_request(stream: &mut TlsStream<TcpStream>, unread: &mut Vec<u8>) -> io::Result<Option<Seen>> {
    let head_end = loop {
        if let Some(at) = unread.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(unread).await? == 0 {
            return Ok(None);
        }
    };
    let head: Vec<u8> = unread.drain(..head_end).collect();
    let mut request = parse_head(&head).ok_or_else(|| io::Error::other("a malformed request"))?;
    if request.header("transfer-encoding").is_some() {
        return Err(io::Error::other("the host frames its requests by length"));
    }
    let length = request.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    while unread.len() < length {
        if stream.read_buf(unread).await? == 0 {
            return Ok(None);
        }
    }
    request.body = unread.drain(..length).collect();
    Ok(Some(request))
}

fn parse_head(head: &[u8]) -> Option<Seen> {
    let head = std::str::from_utf8(head).ok()?;
    let mut lines = head.split("\r\n").filter(|line| !line.is_empty());
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers = lines
        .map(|line| line.split_once(':').map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())))
        .collect::<Option<_>>()?;
    Some(Seen { method, target, headers, body: Vec::new() })
}
