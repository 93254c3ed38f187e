//! A whole host in memory, asked without sockets.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use prometheus_client::metrics::counter::Counter;
use serde_json::Value;
use tempfile::TempDir;
use tower::ServiceExt as _;

use super::super::router::{Door, router};
use super::client::config;
use crate::app::App;
use crate::approval::{ApprovalDesk, ApprovalLimits, Approvals, Approver, MayApprove, Note};
use crate::audit::Audit;
use crate::auth::{Auth, Grant, Mint};
use crate::catalog::{Catalog, CodeCache, Loader};
use crate::clock::{Clock as _, ClockTrust, ManualClock, Millis};
use crate::connection::{Connections, LiveConnections};
use crate::egress::{BoxFuture, Canary, Egress, MasterKey, Vault, Wire, WireError, WireReply, WireRequest};
use crate::ids::{AgentId, Digest, Realm, ReservationId, TokenId};
use crate::kill::Kills;
use crate::metrics::Metrics;
use crate::pipeline::{Parts, Pipeline, Spending, TracingLog};
use crate::policy::{Policy, PolicySource, START, World};
use crate::reach::Reach;
use crate::runtime::test_guest::TestGuest;
use crate::runtime::{Allocation, Limits, Runtime, RuntimeConfig};
use crate::store::{
    ApprovalRow, AuditRecord, AuditStore, CounterRow, EntryRow, LedgerStore, LedgerTx, MemoryAudit,
    MemoryControl, PendingLimits, RowFilter, StoreError, TokenKind, TrailWork, WriteRow,
};

pub(super) struct Host {
    pub(super) door: Arc<Door>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) trail: Arc<Trail>,
    routes: Router,
    _tools: TempDir,
}

/// What a host decides by.
#[derive(Clone, Copy)]
enum Rules<'t> {
    /// What is posted; of which there's nothing at first.
    Posted,
    /// The same, with policies beside them that permit nothing of what is asked at `/v1/enforce`.
    Shadowed,
    /// This text.
    Written(&'t str),
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

    pub(super) fn make_room(&self) {
        self.full.store(false, Ordering::SeqCst);
    }
}

impl AuditStore for Trail {
    fn write(&self, work: TrailWork<'_>) -> Result<(), StoreError> {
        if self.full.load(Ordering::SeqCst) {
            return Err(StoreError::Failed("the disk is full".to_owned()));
        }
        self.rows.write(work)
    }

    fn rows(&self, filter: &RowFilter) -> Result<Vec<AuditRecord>, StoreError> {
        self.rows.rows(filter)
    }

    fn head(&self) -> Result<(u64, Digest), StoreError> {
        self.rows.head()
    }
}

impl LedgerStore for Trail {
    fn ledger(
        &self,
        act: &mut dyn FnMut(&mut dyn LedgerTx) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.rows.ledger(act)
    }

    fn counters(&self) -> Result<Vec<CounterRow>, StoreError> {
        self.rows.counters()
    }

    fn current_counters(
        &self,
        at: Millis,
        reach: Option<&Reach>,
        limit: u32,
    ) -> Result<Vec<CounterRow>, StoreError> {
        self.rows.current_counters(at, reach, limit)
    }

    fn held(&self, reach: Option<&Reach>, limit: u32) -> Result<Vec<EntryRow>, StoreError> {
        self.rows.held(reach, limit)
    }

    fn held_begun(&self, after: Millis, up_to: Millis) -> Result<Vec<EntryRow>, StoreError> {
        self.rows.held_begun(after, up_to)
    }

    fn reservation(&self, id: &ReservationId) -> Result<Option<(EntryRow, Option<WriteRow>)>, StoreError> {
        self.rows.reservation(id)
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
    /// A host without upstreams.
    pub(super) fn start() -> Self {
        Self::start_with(&[], Arc::new(NoWire), Canary::fresh())
    }

    /// A host with these connections, whose upstreams are this wire and whose secrets are this canary.
    pub(super) fn start_with(connections: &[(&str, &str)], wire: Arc<dyn Wire>, canary: Canary) -> Self {
        Self::build(connections, Ok(Egress::scripted(wire, canary)), Rules::Written(START))
    }

    /// A host with these connections, whose upstreams are this wire and whose secrets are its vault's.
    pub(super) fn start_with_vault(connections: &[(&str, &str)], wire: Arc<dyn Wire>) -> Self {
        Self::build(connections, Err(wire), Rules::Written(START))
    }

    /// The same with a canary, going by these policies.
    pub(super) fn start_ruled(connections: &[(&str, &str)], wire: Arc<dyn Wire>, policies: &str) -> Self {
        Self::build(connections, Ok(Egress::scripted(wire, Canary::fresh())), Rules::Written(policies))
    }

    /// A host without upstreams that goes by the policies that are posted, of which there are none at first.
    pub(super) fn start_governed() -> Self {
        Self::build(&[], Ok(Egress::scripted(Arc::new(NoWire), Canary::fresh())), Rules::Posted)
    }

    /// The same, with policies beside the posted ones that permit nothing of what is asked at `/v1/enforce`.
    pub(super) fn start_shadowed() -> Self {
        Self::build(&[], Ok(Egress::scripted(Arc::new(NoWire), Canary::fresh())), Rules::Shadowed)
    }

    /// `egress` is a wire where the secrets are to be the vault's.
    fn build(connections: &[(&str, &str)], egress: Result<Egress, Arc<dyn Wire>>, rules: Rules<'_>) -> Self {
        let clock = Arc::new(ManualClock::at(Millis(1_700_000_000_000)));
        let trail = Arc::new(Trail::default());
        let audit = Audit::start(trail.clone(), clock.clone()).unwrap();
        let tools = tempfile::tempdir().unwrap();
        let connections = Connections::parse(connections).unwrap();
        let ledger = trail.clone();
        let app = app(clock.clone(), (audit, ledger), tools.path().to_owned(), connections, egress, rules);
        let mut config = config();
        config.limits.calls_max = 1;
        let door = Arc::new(Door::new(Arc::new(app), &config));
        Self { routes: router(door.clone()), door, clock, trail, _tools: tools }
    }

    pub(super) fn routes(&self) -> Router {
        self.routes.clone()
    }

    /// Adds a tool without arguments; `call` is what it does.
    pub(super) fn add_tool(&self, name: &'static str, call: &'static str) {
        let guest = TestGuest { tools: vec![(name, vec![])], call, ..TestGuest::default() };
        self.door.app.catalog.add(name, &guest.build(), &[], self.now()).unwrap();
        self.door.app.refresh_policy();
    }

    /// A fresh token of this kind, tenant `acme` unless another is named.
    pub(super) fn token(&self, kind: TokenKind) -> (TokenId, String) {
        self.token_in("acme", kind)
    }

    pub(super) fn token_in(&self, tenant: &str, kind: TokenKind) -> (TokenId, String) {
        let grant = match kind {
            TokenKind::Agent => {
                Grant { tools: vec!["*".parse().unwrap()], operations: Vec::new(), ..Grant::default() }
            }
            TokenKind::Operator | TokenKind::Monitor => Grant::default(),
        };
        self.token_with(tenant, kind, grant)
    }

    /// A fresh token with this grant.
    pub(super) fn token_with(&self, tenant: &str, kind: TokenKind, grant: Grant) -> (TokenId, String) {
        self.mint(tenant, kind, grant, None)
    }

    /// A fresh agent's token with this grant, bound to this conversation.
    pub(super) fn token_bound(&self, conversation: &str, grant: Grant) -> (TokenId, String) {
        self.mint("acme", TokenKind::Agent, grant, Some(conversation))
    }

    fn mint(
        &self,
        tenant: &str,
        kind: TokenKind,
        grant: Grant,
        conversation: Option<&str>,
    ) -> (TokenId, String) {
        self.mint_for(tenant, kind, grant, conversation, None)
    }

    /// A fresh token with this grant, bound to a user where one is given.
    pub(super) fn mint_for(
        &self,
        tenant: &str,
        kind: TokenKind,
        grant: Grant,
        conversation: Option<&str>,
        user: Option<&str>,
    ) -> (TokenId, String) {
        let realm = Realm { tenant: tenant.parse().unwrap(), environment: "dev".parse().unwrap() };
        let lifetime = Duration::from_secs(60);
        let mint = Mint {
            kind,
            realm,
            every_environment: false,
            agent: "someone".parse().unwrap(),
            conversation: conversation.map(|id| id.parse().unwrap()),
            role: None,
            task: None,
            user: user.map(|id| id.parse().unwrap()),
            grant,
            lifetime,
        };
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

/// The engine, set up once: a test needs one instance or two.
static RUNTIME: LazyLock<Arc<Runtime>> = LazyLock::new(|| {
    let config =
        RuntimeConfig { instances_max: 16, allocation: Allocation::OnDemand, ..RuntimeConfig::default() };
    Arc::new(Runtime::new(&config).unwrap())
});

/// An app without tools at first.
fn app(
    clock: Arc<ManualClock>,
    (audit, ledger): (Audit, Arc<dyn LedgerStore>),
    tools_dir: PathBuf,
    connections: Connections,
    egress: Result<Egress, Arc<dyn Wire>>,
    rules: Rules<'_>,
) -> App {
    let store = Arc::new(MemoryControl::new());
    let control = store.clone();
    let loader = Loader::new(RUNTIME.clone(), CodeCache::off());
    let catalog = Arc::new(Catalog::open(tools_dir.clone(), store, loader, &|_| {}).unwrap());
    let connections = Arc::new(LiveConnections::fixed(Arc::new(connections)));
    let open = |dir: Option<PathBuf>| {
        let source = PolicySource::new(dir, control.clone(), connections.clone(), catalog.clone());
        Policy::open(source).unwrap_or_else(|problems| panic!("{problems}"))
    };
    let policy = match rules {
        Rules::Posted => open(None),
        Rules::Shadowed => {
            let nothing = Policy::of(&[], &[], World::default()).unwrap();
            open(None).with_shadow(nothing, Counter::default())
        }
        Rules::Written(text) => {
            let dir = tools_dir.join("policies");
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(dir.join("rules.cedar"), text).unwrap();
            open(Some(dir))
        }
    };
    let vault = Vault::open(control.clone(), MasterKey::for_tests(1), clock.clone()).ok().unwrap();
    let vault = Arc::new(vault);
    assemble(Made {
        egress: egress.unwrap_or_else(|wire| Egress::for_tests(wire, vault.clone())),
        approvals: approvals(control.clone(), clock.clone(), audit.clone(), vault.clone()),
        vault,
        spending: Spending::none(),
        questions: None,
        control,
        clock,
        audit,
        ledger,
        catalog,
        connections,
        policy,
    })
}

/// What the hosts of tests differ in.
pub(super) struct Made {
    pub(super) control: Arc<MemoryControl>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) audit: Audit,
    pub(super) ledger: Arc<dyn LedgerStore>,
    pub(super) catalog: Arc<Catalog>,
    pub(super) connections: Arc<LiveConnections>,
    pub(super) egress: Egress,
    pub(super) policy: Policy,
    pub(super) approvals: ApprovalDesk,
    pub(super) vault: Arc<Vault>,
    pub(super) spending: Spending,
    pub(super) questions: Option<Arc<Vault>>,
}

/// An app of these.
pub(super) fn assemble(made: Made) -> App {
    let Made { control, clock, audit, catalog, connections, egress, policy, approvals, vault, .. } = made;
    let clock_trust = ClockTrust::open(clock.clone(), control.clone(), None).unwrap();
    let auth = Arc::new(Auth::new(control.clone(), clock.clone()));
    let kills = Arc::new(Kills::new(control.clone(), clock.clone()));
    let metrics = Arc::new(Metrics::new());
    let spending = Arc::new(made.spending);
    let pipeline = Pipeline::new(Parts {
        catalog: catalog.clone(),
        auth: auth.clone(),
        kills: kills.clone(),
        policy: policy.clone(),
        approvals: Some(approvals.clone()),
        questions: made.questions,
        spending: spending.clone(),
        audit: audit.clone(),
        connections: connections.clone(),
        egress: Arc::new(egress),
        clock: clock.clone(),
        metrics: metrics.clone(),
        log: Arc::new(TracingLog),
        limits: Limits::usual(Duration::from_secs(60)),
        code_limits: Limits::usual(Duration::from_secs(60)),
    });
    App {
        control,
        auth,
        kills,
        pipeline,
        audit,
        vault,
        approvals,
        spending,
        ledger: made.ledger,
        catalog,
        connections,
        clock_trust,
        clock,
        metrics,
        policy,
    }
}

/// Approvals of a host on which anyone but `nobody` may approve.
fn approvals(
    store: Arc<MemoryControl>,
    clock: Arc<ManualClock>,
    audit: Audit,
    vault: Arc<Vault>,
) -> ApprovalDesk {
    let limits = ApprovalLimits {
        ttl: Duration::from_secs(900),
        pending: PendingLimits { per_token_max: 10, per_environment_max: 100 },
        minter_may_approve: false,
    };
    let approvals = Approvals::new(store, vault, clock, limits);
    ApprovalDesk::new(Arc::new(approvals), audit, Arc::new(AllButNobody))
}

struct AllButNobody;

impl MayApprove for AllButNobody {
    fn may_approve(&self, approver: &Approver, _: &ApprovalRow, _: &Note, _: Millis) -> bool {
        approver.principal().as_str() != "nobody"
    }

    fn is_enough(&self, _: &Note, _: &[AgentId], _: Millis) -> bool {
        true
    }
}

/// A wire for tests that send nothing.
pub(super) struct NoWire;

impl Wire for NoWire {
    fn exchange(
        &self,
        _: WireRequest,
        _: tokio::time::Instant,
    ) -> BoxFuture<'_, Result<WireReply, WireError>> {
        unreachable!("nothing is sent in this test")
    }
}
