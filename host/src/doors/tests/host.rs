//! A whole host in memory, asked without sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

use super::super::router::{Door, router};
use super::client::config;
use crate::app::App;
use crate::audit::Audit;
use crate::auth::{Auth, Grant, Mint};
use crate::clock::{Clock as _, ManualClock, Millis};
use crate::ids::{Digest, Realm, TokenId};
use crate::metrics::Metrics;
use crate::store::{AuditRecord, AuditStore, MemoryAudit, MemoryControl, RowFilter, StoreError, TokenKind};

pub(super) struct Host {
    pub(super) door: Arc<Door>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) trail: Arc<Trail>,
    routes: Router,
}

/// An audit trail whose disk can fill up.
#[derive(Default)]
pub(super) struct Trail {
    rows: MemoryAudit,
    full: AtomicBool,
}

impl Trail {
    pub(super) fn fill_up(&self) {
        self.full.store(true, Ordering::SeqCst);
    }
}

impl AuditStore for Trail {
    fn append(&self, seal: &mut dyn FnMut(u64, Digest) -> Vec<AuditRecord>) -> Result<(), StoreError> {
        if self.full.load(Ordering::SeqCst) {
            return Err(StoreError::Failed("the disk is full".to_owned()));
        }
        self.rows.append(seal)
    }

    fn rows(&self, filter: &RowFilter) -> Result<Vec<AuditRecord>, StoreError> {
        self.rows.rows(filter)
    }

    fn head(&self) -> Result<(u64, Digest), StoreError> {
        self.rows.head()
    }
}

/// An answer, read to its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Reply {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Checks that this is a problem of this code, fit to be read by a model, and answers its detail.
    #[track_caller]
    pub(super) fn problem(&self, status: u16, code: &str) -> String {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.headers["content-type"], "application/problem+json");
        let body = self.json();
        assert_eq!((&body["code"], &body["status"]), (&code.into(), &status.into()), "{body:#}");
        let detail = body["detail"].as_str().unwrap().to_owned();
        assert!(detail.starts_with(&format!("The call failed ({code}): ")), "{detail}");
        detail
    }
}

impl Host {
    pub(super) fn start() -> Self {
        let clock = Arc::new(ManualClock::at(Millis(1_700_000_000_000)));
        let trail = Arc::new(Trail::default());
        let audit = Audit::start(trail.clone(), clock.clone()).unwrap();
        let app = app(clock.clone(), audit);
        let mut config = config();
        config.limits.calls_max = 1;
        let door = Arc::new(Door::new(Arc::new(app), &config));
        Self { routes: router(door.clone()), door, clock, trail }
    }

    pub(super) fn routes(&self) -> Router {
        self.routes.clone()
    }

    /// A fresh token of this kind, tenant `acme` unless another is named.
    pub(super) fn token(&self, kind: TokenKind) -> (TokenId, String) {
        self.token_in("acme", kind)
    }

    pub(super) fn token_in(&self, tenant: &str, kind: TokenKind) -> (TokenId, String) {
        let grant = match kind {
            TokenKind::Agent => Grant { tools: vec!["*".parse().unwrap()], operations: Vec::new() },
            TokenKind::Operator => Grant::default(),
        };
        let realm = Realm { tenant: tenant.parse().unwrap(), environment: "dev".parse().unwrap() };
        let lifetime = Duration::from_secs(60);
        let mint =
            Mint { kind, realm, agent: "someone".parse().unwrap(), conversation: None, grant, lifetime };
        let minted = self.door.app.auth.mint(mint).unwrap();
        (minted.row.id, minted.token.to_string())
    }

    pub(super) async fn get(&self, path: &str, token: &str) -> Reply {
        self.ask("GET", path, token, "").await
    }

    pub(super) async fn ask(&self, method: &str, path: &str, token: &str, body: &str) -> Reply {
        let mut request = Request::builder().method(method).uri(path);
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        self.send(request.body(Body::from(body.to_owned())).unwrap()).await
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.routes.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Reply { status: head.status, headers: head.headers, body: String::from_utf8(body).unwrap() }
    }

    pub(super) fn now(&self) -> Millis {
        self.clock.now()
    }
}

fn app(clock: Arc<ManualClock>, audit: Audit) -> App {
    let auth = Arc::new(Auth::new(Arc::new(MemoryControl::new()), clock.clone()));
    App { auth, pipeline: crate::pipeline::Pipeline, audit, clock, metrics: Arc::new(Metrics::new()) }
}
