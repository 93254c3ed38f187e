//! The order of things: nothing runs that isn't on record, nothing is sent that isn't allowed at that very moment.

mod governed;

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::audit::Event;
use crate::auth::{Grant, Mint};
use crate::catalog::{CodeCache, Loader};
use crate::clock::{ManualClock, Millis};
use crate::connection::Connections;
use crate::egress::{self, Canary, Pieces, Wire, WireError, WireReply, WireRequest};
use crate::ids::{Digest, Realm, TokenId};
use crate::policy::{self, PolicyFile, START};
use crate::runtime::test_guest::TestGuest;
use crate::runtime::{Allocation, Runtime, RuntimeConfig};
use crate::store::{
    AuditRecord, AuditStore, MemoryAudit, MemoryControl, RowFilter, StoreError, TokenKind, TrailWork,
};

const STRIPE: &str = r#"
base_url = "https://api.example.com"
secret = "key"
attach = { kind = "bearer" }
[operations.get]
request = "GET /v1/x"
effect = "read"
"#;

/// Sends GET /v1/x and returns `{}`, whatever comes of it.
const SEND_AND_GO_ON: &str = "(drop (call $get)) (call $ok (i32.const 8) (i32.const 2))";
/// Sends GET /v1/x and returns `{}`, or fails with `send-failed`.
const SEND: &str = "(if (result i32) (call $get)
    (then (call $err (i32.const 3) (i32.const 8) (i32.const 2)))
    (else (call $ok (i32.const 8) (i32.const 2))))";

/// Sends GET /v1/x 52 times, two more than it may, and returns `{}`.
const FLOOD: &str = "(local $n i32) (loop $l
    (drop (call $get))
    (global.set $heap (i32.const 131072))
    (local.set $n (i32.add (local.get $n) (i32.const 1)))
    (br_if $l (i32.lt_u (local.get $n) (i32.const 52))))
    (call $ok (i32.const 8) (i32.const 2))";

/// Returns `{}` with so much room between the two that it's searched aside.
const LONG: &str = "(memory.fill (i32.const 131072) (i32.const 32) (i32.const 70000))
    (i32.store8 (i32.const 131072) (i32.const 123))
    (i32.store8 (i32.const 201071) (i32.const 125))
    (call $ok (i32.const 131072) (i32.const 70000))";

/// Answers everything with the same body, and counts.
#[derive(Default)]
struct Counting(AtomicUsize, &'static str);

impl Wire for Counting {
    fn exchange(&self, _: WireRequest, _: Instant) -> egress::BoxFuture<'_, Result<WireReply, WireError>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        let body = Box::new(Pieces::from(Bytes::from_static(self.1.as_bytes())));
        Box::pin(async { Ok(WireReply { status: 200, headers: http::HeaderMap::new(), body }) })
    }
}

/// A trail that can't be written.
struct FullDisk;

impl AuditStore for FullDisk {
    fn write(&self, _: TrailWork<'_>) -> Result<(), StoreError> {
        Err(StoreError::Failed("no space left on device".to_owned()))
    }

    fn rows(&self, _: &RowFilter) -> Result<Vec<AuditRecord>, StoreError> {
        Ok(Vec::new())
    }

    fn head(&self) -> Result<(u64, Digest), StoreError> {
        Ok((0, Digest([0; 32])))
    }
}

struct World {
    pipeline: Pipeline,
    auth: Arc<Auth>,
    audit: Audit,
    wire: Arc<Counting>,
    caller: Arc<Caller>,
    token: TokenId,
    _tools: tempfile::TempDir,
}

impl World {
    fn new(call: &'static str, declares: Vec<&'static str>, trail: Arc<dyn AuditStore>) -> Self {
        Self::over(Counting::default(), call, declares, trail)
    }

    fn over(
        wire: Counting,
        call: &'static str,
        declares: Vec<&'static str>,
        trail: Arc<dyn AuditStore>,
    ) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(Millis(1_000)));
        let control = Arc::new(MemoryControl::new());
        let config =
            RuntimeConfig { instances_max: 4, allocation: Allocation::OnDemand, ..RuntimeConfig::default() };
        let runtime = Arc::new(Runtime::new(&config).unwrap());
        let tools = tempfile::tempdir().unwrap();
        let loader = Loader::new(runtime, CodeCache::off());
        let catalog = Catalog::open(tools.path().to_owned(), control.clone(), loader, &|_| {}).unwrap();
        let consented: Vec<_> = declares.iter().map(|name| name.parse().unwrap()).collect();
        let guest = TestGuest { call, tools: vec![("probe", declares)], ..TestGuest::default() };
        catalog.add("probe", &guest.build(), &consented, clock.now()).unwrap();
        let auth = Arc::new(Auth::new(control.clone(), clock.clone()));
        let kills = Arc::new(Kills::new(control, clock.clone()));
        let minted = auth
            .mint(Mint {
                kind: TokenKind::Agent,
                realm: Realm { tenant: "acme".parse().unwrap(), environment: "dev".parse().unwrap() },
                every_environment: false,
                agent: "billing".parse().unwrap(),
                conversation: None,
                role: None,
                task: None,
                user: None,
                grant: Grant {
                    tools: vec!["probe".parse().unwrap()],
                    operations: vec!["stripe:get".parse().unwrap()],
                    ..Grant::default()
                },
                lifetime: Duration::from_secs(60),
            })
            .unwrap();
        let (audit, wire) = (Audit::start(trail, clock.clone()).unwrap(), Arc::new(wire));
        let connections = Arc::new(Connections::parse(&[("stripe.toml", STRIPE)]).unwrap());
        let world = policy::World::new(connections.clone(), &catalog.snapshot());
        let policy = Policy::of(&[PolicyFile::new("start.cedar", START)], &[], world).unwrap();
        let pipeline = Pipeline::new(Parts {
            catalog: Arc::new(catalog),
            auth: auth.clone(),
            kills: kills.clone(),
            policy,
            approvals: None,
            questions: None,
            spending: Arc::new(Spending::none()),
            audit: audit.clone(),
            connections: Arc::new(LiveConnections::fixed(connections)),
            egress: Arc::new(Egress::scripted(wire.clone(), Canary::fresh())),
            clock,
            metrics: Arc::new(Metrics::default()),
            log: Arc::new(TracingLog),
            limits: Limits::usual(Duration::from_secs(5)),
            code_limits: Limits::usual(Duration::from_secs(5)),
        });
        let caller = auth.verify(minted.token.as_str()).unwrap();
        Self { pipeline, auth, audit, wire, caller, token: minted.row.id, _tools: tools }
    }

    async fn call(&self) -> Result<Narrow, Refusal> {
        self.call_within(Duration::from_secs(5)).await
    }

    async fn call_within(&self, deadline: Duration) -> Result<Narrow, Refusal> {
        let request = CallRequest {
            caller: self.caller.clone(),
            tool: "probe".to_owned(),
            arguments: Bytes::from_static(b"{}"),
            call: CallId::fresh(Millis(1_000)),
            context: CallContext::default(),
            deadline,
            program: None,
        };
        self.pipeline.call(request).await.into_result()
    }

    /// What the trail holds, an event a word.
    fn story(&self) -> Vec<String> {
        let rows = self.audit.rows(&RowFilter { limit: 1_000, ..RowFilter::default() }).unwrap();
        let word = |event: Event| match event {
            Event::CallBegun(_) => "call".to_owned(),
            Event::SendBegun(_) => "send".to_owned(),
            Event::SendFinished(_) => "sent".to_owned(),
            Event::SendRefused(refused) => {
                format!("refused {} {}", refused.connection, refused.code.as_str())
            }
            Event::CallFinished(call) => call.code.map_or("ok".to_owned(), |code| code.as_str().to_owned()),
            other => panic!("{other:?}"),
        };
        rows.into_iter().map(|row| word(row.event)).collect()
    }

    fn sent(&self) -> usize {
        self.wire.0.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_call_is_on_record_from_intent_to_outcome() {
    let world = World::new(SEND, vec!["stripe"], Arc::new(MemoryAudit::new()));
    assert_eq!(world.call().await.unwrap().as_bytes(), "{}");
    assert_eq!(world.story(), ["call", "send", "sent", "ok"]);
}

#[tokio::test]
async fn what_a_call_sends_beyond_its_number_is_on_record() {
    let world = World::new(FLOOD, vec!["stripe"], Arc::new(MemoryAudit::new()));
    assert!(world.call().await.is_ok(), "the tool goes on as if nothing had happened");
    assert_eq!(world.sent(), 50);
    let story = world.story();
    assert_eq!(
        (story.len(), &story[101..]),
        (103, &["refused * tool_limit".to_owned(), "ok".to_owned()][..])
    );
}

#[tokio::test]
async fn what_looks_like_a_credential_is_passed_on_and_told() {
    for (body, told) in [(r#"{"key":"sk_live_0123456789abcdef"}"#, true), (r#"{"key":"sk_live_…"}"#, false)]
    {
        let wire = Counting(AtomicUsize::new(0), body);
        let world = World::over(wire, SEND, vec!["stripe"], Arc::new(MemoryAudit::new()));
        assert_eq!(world.call().await.unwrap().as_bytes(), "{}");
        let count = r#"keybearer_credential_shapes_total{place="reply",shape="sk_live_"} 1"#;
        assert_eq!(world.pipeline.parts.metrics.render().contains(count), told, "{body}");
    }
}

#[tokio::test]
async fn a_long_result_that_is_not_searched_in_time_is_withheld() {
    let world = World::new(LONG, vec![], Arc::new(MemoryAudit::new()));
    let full = world.pipeline.parts.egress.aside().fill();
    let refusal = world.call_within(Duration::from_millis(500)).await.unwrap_err();
    assert_eq!((refusal.code, refusal.request_sent), (Code::DeadlineExceeded, RequestSent::No));
    drop(full);
    assert_eq!(world.call().await.unwrap().as_bytes(), "{}");
    assert_eq!(world.story(), ["call", "deadline_exceeded", "call", "ok"]);
}

#[tokio::test]
async fn without_a_trail_nothing_runs() {
    let world = World::new(SEND, vec!["stripe"], Arc::new(FullDisk));
    let refusal = world.call().await.unwrap_err();
    assert_eq!((refusal.code, refusal.request_sent), (Code::AuditUnavailable, RequestSent::No));
    assert_eq!(world.sent(), 0);
}

#[tokio::test]
async fn a_token_that_was_revoked_sends_nothing_more() {
    let world = World::new(SEND, vec!["stripe"], Arc::new(MemoryAudit::new()));
    assert!(world.call().await.is_ok());
    // The caller was verified before: it's the send that finds out.
    assert!(world.auth.revoke(&world.token, None).unwrap());
    let refusal = world.call().await.unwrap_err();
    assert_eq!((refusal.code, refusal.request_sent), (Code::Unauthorized, RequestSent::No));
    assert_eq!(world.sent(), 1);
    assert_eq!(world.story()[4..], ["call", "refused stripe unauthorized", "unauthorized"]);
}

#[tokio::test]
async fn an_undeclared_connection_is_refused_and_on_record_though_the_tool_hides_it() {
    let world = World::new(SEND_AND_GO_ON, vec![], Arc::new(MemoryAudit::new()));
    assert!(world.call().await.is_ok(), "the tool goes on as if nothing had happened");
    assert_eq!(world.sent(), 0);
    assert_eq!(world.story(), ["call", "refused stripe unknown_operation", "ok"]);
}
