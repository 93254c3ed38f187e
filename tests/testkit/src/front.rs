//! A TLS front: takes TLS connections on loopback and forwards what they carry, as it is, to a plain server.

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::ca::Leaf;

/// A running front. It stops when dropped.
pub struct TlsFront {
    addr: SocketAddr,
    task: JoinHandle<()>,
}

impl TlsFront {
    /// Listens on a free loopback port and forwards every connection to `target`. With a `transcript`, what clients
    /// send is also appended to that file, decrypted: the proof of what really went over the wire.
    ///
    /// # Errors
    /// If no port can be bound or the transcript can't be created.
    pub async fn start(leaf: &Leaf, target: SocketAddr, transcript: Option<PathBuf>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = listener.local_addr()?;
        let acceptor = TlsAcceptor::from(leaf.server_config());
        let transcript = transcript.map(Transcript::create).transpose()?;
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (acceptor, transcript) = (acceptor.clone(), transcript.clone());
                // A connection that fails is the client's business: it sees the connection close.
                tokio::spawn(async move { forward(client, acceptor, target, transcript).await.ok() });
            }
        });
        Ok(Self { addr, task })
    }

    /// The port that it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.addr.port()
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn forward(
    client: TcpStream,
    acceptor: TlsAcceptor,
    target: SocketAddr,
    transcript: Option<Transcript>,
) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut client = acceptor.accept(client).await?;
    let mut server = TcpStream::connect(target).await?;
    server.set_nodelay(true)?;
    let Some(transcript) = transcript else {
        copy_bidirectional(&mut client, &mut server).await?;
        return Ok(());
    };

    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_server, mut to_server) = server.split();
    let requests = async {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let length = from_client.read(&mut buffer).await?;
            if length == 0 {
                return to_server.shutdown().await;
            }
            let bytes = buffer.get(..length).unwrap_or_default();
            transcript.append(bytes)?;
            to_server.write_all(bytes).await?;
        }
    };
    let replies = async {
        tokio::io::copy(&mut from_server, &mut to_client).await?;
        to_client.shutdown().await
    };
    tokio::try_join!(requests, replies)?;
    Ok(())
}

#[derive(Clone)]
struct Transcript(Arc<Mutex<std::fs::File>>);

impl Transcript {
    fn create(path: PathBuf) -> io::Result<Self> {
        std::fs::File::create(path).map(|file| Self(Arc::new(Mutex::new(file))))
    }

    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        self.0.lock().map_err(|_| io::Error::other("the transcript is poisoned"))?.write_all(bytes)
    }
}
