//! A listener on a free port, and a client that speaks HTTP by hand: it can break off, drip and send garbage.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::super::{Bound, ServeConfig, bind};
use crate::config::{CodeConfig, DoorLimits};
use crate::metrics::Metrics;
use crate::runtime::Limits;

/// Nothing in these tests takes this long unless it hangs.
pub(super) const LONG: Duration = Duration::from_secs(10);

/// Loopback, a free port, no TLS, and limits that a test reaches quickly.
pub(super) fn config() -> ServeConfig {
    ServeConfig {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        tls: None,
        insecure_listen: false,
        limits: DoorLimits {
            body_bytes_max: 1_000,
            header_bytes_max: 8 << 10,
            read_ms_max: 200,
            calls_max: 8,
            connections_max: 16,
            drain_ms_max: 5_000,
        },
        deadline: Duration::from_secs(4),
        deadline_max: Duration::from_secs(10),
        code: CodeConfig {
            timeout: Duration::from_secs(10),
            timeout_max: Duration::from_secs(20),
            executions_max: 2,
            output_bytes_max: 1_000,
            limits: Limits::usual(Duration::from_secs(20)),
        },
    }
}

/// A listener that serves.
pub(super) struct Served {
    pub(super) address: SocketAddr,
    pub(super) metrics: Arc<Metrics>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Served {
    pub(super) async fn start(config: ServeConfig, routes: Router) -> Self {
        Self::serve(bind(&config).await.unwrap(), (routes, Router::new()))
    }

    /// The same on what is bound, with routes for connections past the limit.
    pub(super) fn serve(bound: Bound, routes: (Router, Router)) -> Self {
        let (stop, stopped) = oneshot::channel();
        let address = bound.address();
        let metrics = Arc::new(Metrics::new());
        let task = tokio::spawn(bound.serve_routes(routes, metrics.clone(), || {}, async {
            let _ = stopped.await;
        }));
        Self { address, metrics, stop, task }
    }

    pub(super) async fn connect(&self) -> Client {
        Client(TcpStream::connect(self.address).await.unwrap())
    }

    /// Asks the listener to end, and answers what resolves when it has.
    pub(super) fn stop(self) -> JoinHandle<()> {
        let _ = self.stop.send(());
        self.task
    }
}

pub(super) struct Client(pub(super) TcpStream);

impl Client {
    pub(super) async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// What one read brings.
    pub(super) async fn read_once(&mut self) -> String {
        let mut buffer = vec![0; 64 << 10];
        let length = timeout(LONG, self.0.read(&mut buffer)).await.expect("an answer").unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    /// All that comes until the host closes the connection, however it does so.
    pub(super) async fn read_to_close(&mut self) -> String {
        let mut all = Vec::new();
        let _ = timeout(LONG, self.0.read_to_end(&mut all)).await.expect("the host closes the connection");
        String::from_utf8(all).unwrap()
    }
}
