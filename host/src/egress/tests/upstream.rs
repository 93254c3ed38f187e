//! An upstream on loopback that does what a test tells it to, over TLS with a certificate of its own.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::egress::{BoxFuture, Resolve};

/// What the upstream's certificate and the connection's base URL call it.
pub(super) const NAME: &str = "upstream.test";

/// A piece of what it does after it has read a request.
#[derive(Clone)]
pub(super) enum Act {
    Send(Vec<u8>),
    Wait(Duration),
    /// Again and again, until the other side hangs up.
    Endless(Vec<u8>, Duration),
    HangUp,
}

/// When it stops being polite.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    Polite,
    /// Closes the connection before the TLS handshake.
    HangsUpAtOnce,
    /// Closes it after the handshake, without reading.
    HangsUpAfterHandshake,
    /// Takes the connection and says nothing.
    Silent,
}

type Script = Arc<dyn Fn(&str) -> Vec<Act> + Send + Sync>;

pub(super) struct Upstream {
    pub(super) address: SocketAddr,
    pub(super) certificate_pem: String,
    requests: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
}

impl Upstream {
    /// Starts one with a certificate for `name`; `script` answers each request.
    pub(super) async fn start(
        name: &str,
        mood: Mood,
        script: impl Fn(&str) -> Vec<Act> + Send + Sync + 'static,
    ) -> Self {
        let identity = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(identity.signing_key.serialize_der().into());
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![identity.cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Self::listen(mood, Arc::new(script), Some(acceptor), identity.cert.pem()).await
    }

    /// Starts one that speaks in clear.
    pub(super) async fn start_clear(script: impl Fn(&str) -> Vec<Act> + Send + Sync + 'static) -> Self {
        Self::listen(Mood::Polite, Arc::new(script), None, String::new()).await
    }

    /// Every request so far, head and body.
    pub(super) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// How many connections it has taken.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    async fn listen(mood: Mood, script: Script, tls: Option<TlsAcceptor>, certificate_pem: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = Self {
            address: listener.local_addr().unwrap(),
            certificate_pem,
            requests: Arc::default(),
            connections: Arc::default(),
        };
        let (requests, connections) = (upstream.requests.clone(), upstream.connections.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                let (script, requests, tls) = (script.clone(), requests.clone(), tls.clone());
                tokio::spawn(async move { connection(stream, mood, tls, &script, &requests).await });
            }
        });
        upstream
    }
}

async fn connection(
    stream: TcpStream,
    mood: Mood,
    tls: Option<TlsAcceptor>,
    script: &Script,
    requests: &Mutex<Vec<String>>,
) {
    match mood {
        Mood::HangsUpAtOnce => return,
        Mood::Silent => return tokio::time::sleep(Duration::from_secs(30)).await,
        Mood::Polite | Mood::HangsUpAfterHandshake => {}
    }
    stream.set_nodelay(true).unwrap();
    let Some(tls) = tls else { return drop(serve(stream, script, requests).await) };
    let Ok(stream) = tls.accept(stream).await else { return };
    if mood == Mood::Polite {
        let _ = serve(stream, script, requests).await;
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    script: &Script,
    requests: &Mutex<Vec<String>>,
) -> io::Result<()> {
    while let Some(request) = read_request(&mut stream).await? {
        requests.lock().unwrap().push(request.clone());
        for act in script(&request) {
            match act {
                Act::Send(bytes) => {
                    stream.write_all(&bytes).await?;
                    stream.flush().await?;
                }
                Act::Wait(span) => tokio::time::sleep(span).await,
                Act::Endless(bytes, between) => loop {
                    stream.write_all(&bytes).await?;
                    stream.flush().await?;
                    tokio::time::sleep(between).await;
                },
                Act::HangUp => return Ok(()),
            }
        }
    }
    Ok(())
}

async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<String>> {
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        if let Some(head) = text.find("\r\n\r\n") {
            let length = header(&text, "content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
            if read.len() >= head + 4 + length {
                return Ok(Some(text));
            }
        }
        let mut piece = [0; 4096];
        match stream.read(&mut piece).await? {
            0 => return Ok(None),
            n => read.extend_from_slice(&piece[..n]),
        }
    }
}

/// A header of a request's text.
pub(super) fn header(request: &str, name: &str) -> Option<String> {
    request.lines().find_map(|line| {
        let (found, value) = line.split_once(": ")?;
        found.eq_ignore_ascii_case(name).then(|| value.to_owned())
    })
}

/// One reply of known length.
pub(super) fn reply(status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Vec<Act> {
    let body = body.as_ref();
    let mut bytes = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n", body.len()).into_bytes();
    for (name, value) in headers {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    vec![Act::Send(bytes)]
}

/// The head of a reply whose body comes in chunks.
pub(super) fn chunked_head() -> Act {
    Act::Send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec())
}

/// One chunk.
pub(super) fn chunk(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// Answers look-ups from a list: each look-up takes the next answer, and the last one stays.
pub(super) struct Answers(Mutex<Vec<Vec<IpAddr>>>);

impl Answers {
    pub(super) fn new(answers: &[&[&str]]) -> Arc<Self> {
        let parse = |all: &&[&str]| all.iter().map(|a| a.parse().unwrap()).collect();
        Arc::new(Self(Mutex::new(answers.iter().map(parse).collect())))
    }
}

impl Resolve for Answers {
    fn lookup<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        let mut answers = self.0.lock().unwrap();
        let answer = if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() };
        let known = host == NAME;
        Box::pin(async move { if known { Ok(answer) } else { Err(io::Error::other("no such name")) } })
    }
}
