//! Budgets and kill switches on the way of a request, and what else the ledger and the gate refuse: it never leaves.

mod approved;
mod logged;
mod recorded;
mod repeated;
mod under_way;

use std::sync::atomic::{AtomicBool, AtomicU16};

use super::*;
use crate::approval::{ApprovalDesk, ApprovalLimits, Approvals};
use crate::audit::Row;
use crate::clock::SystemClock;
use crate::egress::{Draft, DraftBody, MasterKey, Reply, Vault, WatchedBody, WireErrorKind};
use crate::kill::{Order, Scope};
use crate::ledger::{Budget, Budgets};
use crate::policy::Via;
use crate::store::sqlite::SqliteAudit;
use crate::store::{LedgerStore, PendingLimits, Tally};

const STRIPE: &str = r#"
base_url = "https://api.example.com"
secret = "key"
attach = { kind = "bearer" }
idempotency_header = "Idempotency-Key"
[operations.charge]
request = "POST /v1/charges"
effect = "write"
content_type = "application/x-www-form-urlencoded"
body.amount = { type = "integer", minimum = 0 }
body.currency = { type = "string" }
body.customer = { type = "string", optional = true }
cost = { amount = "body.amount", currency = "body.currency" }
settle = { amount = "/amount" }
customer = "body.customer"
[operations.rename]
request = "PUT /v1/charges"
effect = "write"
content_type = "application/x-www-form-urlencoded"
body.name = { type = "string" }
repeatable = true
[operations.look]
request = "GET /v1/charges"
effect = "read"
"#;

/// An upstream that counts, and answers as it's told.
struct Upstream {
    seen: AtomicUsize,
    /// Lets nobody in before `go`.
    closed: AtomicBool,
    go: tokio::sync::Notify,
    /// How many have waited for that.
    connecting: AtomicUsize,
    status: AtomicU16,
    body: &'static str,
    /// Never answers.
    silent: AtomicBool,
    /// Sends the credential back.
    echoes: AtomicBool,
    /// Can't be reached.
    gone: AtomicBool,
    keys: std::sync::Mutex<Vec<String>>,
}

impl Wire for Upstream {
    fn exchange(
        &self,
        request: WireRequest,
        _: Instant,
    ) -> egress::BoxFuture<'_, Result<WireReply, WireError>> {
        Box::pin(async move {
            if self.gone.load(Ordering::SeqCst) {
                return Err(WireError {
                    kind: WireErrorKind::Connect,
                    request_sent: RequestSent::No,
                    cause: "told to".to_owned(),
                });
            }
            let body = WatchedBody::new(request.body.clone(), request.handover.clone());
            if self.closed.load(Ordering::SeqCst) {
                self.connecting.fetch_add(1, Ordering::SeqCst);
                self.go.notified().await;
            }
            // As a connection does that takes the request.
            hyper::body::Body::is_end_stream(&body);
            self.seen.fetch_add(1, Ordering::SeqCst);
            let key = request.headers.get("idempotency-key").map(|key| key.to_str().unwrap().to_owned());
            self.keys.lock().unwrap().extend(key);
            if self.silent.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            let body = match request.headers.get("authorization") {
                Some(credential) if self.echoes.load(Ordering::SeqCst) => {
                    Bytes::copy_from_slice(credential.as_bytes())
                }
                _ => Bytes::from_static(self.body.as_bytes()),
            };
            Ok(WireReply {
                status: self.status.load(Ordering::SeqCst),
                headers: http::HeaderMap::new(),
                body: Box::new(Pieces::from(body)),
            })
        })
    }
}

/// A trail after some commit of which something happens, before anyone hears of the commit.
struct Between {
    inner: Arc<SqliteAudit>,
    left: AtomicUsize,
    act: std::sync::Mutex<Option<Box<dyn FnOnce() + Send>>>,
    /// Can't be used.
    gone: AtomicBool,
}

impl AuditStore for Between {
    fn write(&self, work: TrailWork<'_>) -> Result<(), StoreError> {
        if self.gone.load(Ordering::SeqCst) {
            return Err(StoreError::Failed("the disk is gone".to_owned()));
        }
        self.inner.write(work)?;
        if self.left.fetch_sub(1, Ordering::SeqCst) == 1
            && let Some(act) = self.act.lock().unwrap().take()
        {
            act();
        }
        Ok(())
    }

    fn rows(&self, filter: &RowFilter) -> Result<Vec<AuditRecord>, StoreError> {
        self.inner.rows(filter)
    }

    fn head(&self) -> Result<(u64, Digest), StoreError> {
        self.inner.head()
    }
}

struct Governed {
    between: Arc<Between>,
    desk: ApprovalDesk,
    pipeline: Pipeline,
    auth: Arc<Auth>,
    kills: Arc<Kills>,
    audit: Audit,
    ledger: Arc<SqliteAudit>,
    wire: Arc<Upstream>,
    folder: tempfile::TempDir,
}

fn draft(method: &str, body: Option<DraftBody>) -> Draft {
    Draft {
        connection: "stripe".to_owned(),
        method: method.to_owned(),
        path: "/v1/charges".to_owned(),
        query: Vec::new(),
        headers: Vec::new(),
        body,
    }
}

fn form(amount: u64, currency: &str, customer: &str) -> DraftBody {
    let fields =
        [("amount", amount.to_string()), ("currency", currency.into()), ("customer", customer.into())];
    DraftBody::Form(fields.map(|(name, value)| (name.to_owned(), value)).to_vec())
}

impl Governed {
    fn new(budgets: &str) -> Self {
        Self::answering(budgets, "{}")
    }

    /// By a clock that stands: no day ends meanwhile.
    fn answering(budgets: &str, body: &'static str) -> Self {
        Self::under(START, Arc::new(ManualClock::at(SystemClock.now())), budgets, body)
    }

    /// Under these policies.
    fn under(policies: &str, clock: Arc<dyn Clock>, budgets: &str, body: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let control = Arc::new(MemoryControl::new());
        let ledger = Arc::new(SqliteAudit::open(&folder.path().join("audit.db")).unwrap());
        let config =
            RuntimeConfig { instances_max: 4, allocation: Allocation::OnDemand, ..RuntimeConfig::default() };
        let runtime = Arc::new(Runtime::new(&config).unwrap());
        let loader = Loader::new(runtime, CodeCache::off());
        let catalog = Catalog::open(folder.path().join("tools"), control.clone(), loader, &|_| {}).unwrap();
        let auth = Arc::new(Auth::new(control.clone(), clock.clone()));
        let kills = Arc::new(Kills::new(control.clone(), clock.clone()));
        let vault = Vault::open(control.clone(), MasterKey::for_tests(1), clock.clone()).ok().unwrap();
        let vault = Arc::new(vault);
        let connections = Arc::new(Connections::parse(&[("stripe.toml", STRIPE)]).unwrap());
        let world = policy::World::new(connections.clone(), &catalog.snapshot());
        let policy = Policy::of(&[PolicyFile::new("rules.cedar", policies)], &[], world)
            .unwrap_or_else(|problems| panic!("{problems}"));
        let budgets = Budgets::parse(budgets, "budgets.toml", &connections).unwrap_or_else(|p| panic!("{p}"));
        let between = Arc::new(Between {
            inner: ledger.clone(),
            left: AtomicUsize::new(usize::MAX),
            act: std::sync::Mutex::default(),
            gone: AtomicBool::new(false),
        });
        let audit = Audit::start(between.clone(), clock.clone()).unwrap();
        let wire = Arc::new(Upstream {
            seen: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            go: tokio::sync::Notify::new(),
            connecting: AtomicUsize::new(0),
            status: AtomicU16::new(200),
            body,
            silent: AtomicBool::new(false),
            echoes: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            keys: std::sync::Mutex::default(),
        });
        let limits = ApprovalLimits {
            ttl: Duration::from_secs(900),
            pending: PendingLimits { per_token_max: 10, per_environment_max: 10 },
            minter_may_approve: true,
        };
        let approvals = Approvals::new(control, vault.clone(), clock.clone(), limits);
        let desk = ApprovalDesk::new(Arc::new(approvals), audit.clone(), Arc::new(policy.clone()));
        let day = Duration::from_secs(86_400);
        let pipeline = Pipeline::new(Parts {
            catalog: Arc::new(catalog),
            auth: auth.clone(),
            kills: kills.clone(),
            policy,
            approvals: Some(desk.clone()),
            questions: None,
            spending: Arc::new(Spending::new(budgets, [7; 32], day, Some(vault))),
            audit: audit.clone(),
            connections: Arc::new(LiveConnections::fixed(connections)),
            egress: Arc::new(Egress::scripted(wire.clone(), Canary::fresh())),
            clock,
            metrics: Arc::new(Metrics::default()),
            log: Arc::new(TracingLog),
            limits: Limits::usual(Duration::from_secs(5)),
            code_limits: Limits::usual(Duration::from_secs(5)),
        });
        Self { between, desk, pipeline, auth, kills, audit, ledger, wire, folder }
    }

    fn caller(&self, agent: &str, conversation: Option<&str>, budgets: &[&str]) -> Arc<Caller> {
        let minted = self.auth.mint(Mint {
            kind: TokenKind::Agent,
            realm: Realm { tenant: "acme".parse().unwrap(), environment: "dev".parse().unwrap() },
            every_environment: false,
            agent: agent.parse().unwrap(),
            conversation: conversation.map(|text| text.parse().unwrap()),
            role: Some("payer".parse().unwrap()),
            task: None,
            user: None,
            grant: Grant {
                operations: vec!["stripe:*".parse().unwrap()],
                budgets: budgets.iter().map(|text| text.parse::<Budget>().unwrap()).collect(),
                ..Grant::default()
            },
            lifetime: Duration::from_secs(600),
        });
        self.auth.verify(minted.unwrap().token.as_str()).unwrap()
    }

    async fn charge(&self, caller: &Arc<Caller>, amount: u64, customer: &str) -> Result<Reply, Refusal> {
        self.charge_as(caller, amount, "usd", customer, CallContext::default()).await
    }

    async fn charge_as(
        &self,
        caller: &Arc<Caller>,
        amount: u64,
        currency: &str,
        customer: &str,
        context: CallContext,
    ) -> Result<Reply, Refusal> {
        self.forward(caller, "POST", Some(form(amount, currency, customer)), context).await
    }

    /// The gate of a call that has begun.
    async fn gate(&self, caller: Arc<Caller>, context: CallContext) -> Gate {
        let call = CallId::fresh(SystemClock.now());
        let pending = self.audit.begin_forward(call, &caller, &context, &[]).await.unwrap();
        Gate {
            parts: self.pipeline.parts.clone(),
            caller,
            via: Via::Proxy,
            context,
            deadline: Instant::now() + Duration::from_secs(20),
            state: Arc::new(CallState::new(pending, None)),
        }
    }

    async fn forward(
        &self,
        caller: &Arc<Caller>,
        method: &str,
        body: Option<DraftBody>,
        context: CallContext,
    ) -> Result<Reply, Refusal> {
        self.forward_within(Duration::from_secs(4), caller, draft(method, body), context).await
    }

    async fn forward_within(
        &self,
        deadline: Duration,
        caller: &Arc<Caller>,
        draft: Draft,
        context: CallContext,
    ) -> Result<Reply, Refusal> {
        let request = ForwardRequest {
            caller: caller.clone(),
            connection: "stripe".to_owned(),
            draft: Ok(draft),
            call: CallId::fresh(SystemClock.now()),
            context,
            deadline,
        };
        self.pipeline.forward(request).await?.into_inner()
    }

    fn sent(&self) -> usize {
        self.wire.seen.load(Ordering::SeqCst)
    }

    /// All counters together.
    fn tally(&self) -> Tally {
        let rows = self.ledger.counters().unwrap();
        rows.iter().fold(Tally::default(), |all, row| Tally {
            reserved: all.reserved + row.tally.reserved,
            held: all.held + row.tally.held,
            settled: all.settled + row.tally.settled,
        })
    }

    fn rows(&self) -> Vec<Row> {
        self.audit.rows(&RowFilter { limit: 10_000, ..RowFilter::default() }).unwrap()
    }
}

fn code(result: Result<Reply, Refusal>) -> Code {
    result.unwrap_err().code
}

fn in_conversation(name: &str) -> CallContext {
    CallContext { conversation: Some(name.parse().unwrap()), ..CallContext::default() }
}

#[tokio::test]
async fn what_no_budget_has_room_for_is_refused_on_record_and_never_sent() {
    let world = Governed::new("");
    let caller = world.caller("billing", None, &["1000 usd day"]);
    assert_eq!(world.charge(&caller, 600, "cus_1").await.unwrap().status, 200);
    let refusal = world.charge(&caller, 401, "cus_1").await.unwrap_err();
    assert_eq!((refusal.code, refusal.request_sent), (Code::OverBudget, RequestSent::No));
    assert!(refusal.message.contains("cap"), "{}", refusal.message);
    assert_eq!(world.charge(&caller, 400, "cus_1").await.unwrap().status, 200);
    assert_eq!(code(world.charge(&caller, 1, "cus_1").await), Code::OverBudget);
    assert_eq!(world.sent(), 2);
    let refused = world
        .rows()
        .into_iter()
        .filter(|row| matches!(&row.event, Event::SendRefused(refused) if refused.code == Code::OverBudget));
    assert_eq!(refused.count(), 2);
    assert_eq!(world.tally(), Tally { settled: 1_000, ..Tally::default() });
}

#[tokio::test]
async fn a_budget_of_nothing_lets_reads_through_alone() {
    let world = Governed::new("");
    let caller = world.caller("reconciling", None, &["0 usd total"]);
    assert!(world.forward(&caller, "GET", None, CallContext::default()).await.is_ok());
    assert_eq!(code(world.charge(&caller, 0, "cus_1").await), Code::OverBudget);
    assert_eq!(
        code(world.charge_as(&caller, 5, "eur", "cus_1", CallContext::default()).await),
        Code::OverBudget
    );
    assert_eq!(world.sent(), 1);
}

#[tokio::test]
async fn a_new_conversation_does_not_bring_a_new_day() {
    let world = Governed::new(
        "[[budget]]\nsubject = \"each agent\"\nlimit = 1000\nunit = \"usd\"\nwindow = \"day\"\n",
    );
    for conversation in ["one", "two"] {
        let caller = world.caller("billing", Some(conversation), &["500 usd total"]);
        assert!(world.charge(&caller, 500, "cus_1").await.is_ok());
    }
    let third = world.caller("billing", Some("three"), &["500 usd total"]);
    assert_eq!(code(world.charge(&third, 1, "cus_1").await), Code::OverBudget);
    assert!(world.charge(&world.caller("other", Some("three"), &[]), 1, "cus_1").await.is_ok());
}

#[tokio::test]
async fn money_comes_back_only_when_surely_nothing_was_done() {
    let world = Governed::new("");
    let caller = world.caller("billing", None, &["1000 usd total"]);
    world.wire.status.store(402, Ordering::SeqCst);
    assert_eq!(world.charge(&caller, 900, "declined").await.unwrap().status, 402);
    assert_eq!(world.tally(), Tally::default());
    world.wire.gone.store(true, Ordering::SeqCst);
    assert_eq!(code(world.charge(&caller, 900, "unreachable").await), Code::UpstreamUnreachable);
    assert_eq!(world.tally(), Tally::default());
    world.wire.gone.store(false, Ordering::SeqCst);
    world.wire.status.store(500, Ordering::SeqCst);
    assert_eq!(world.charge(&caller, 900, "failed").await.unwrap().status, 500);
    assert_eq!(world.tally(), Tally { held: 900, ..Tally::default() });
    world.wire.status.store(200, Ordering::SeqCst);
    assert_eq!(code(world.charge(&caller, 101, "more").await), Code::OverBudget, "what is held counts");
}

#[tokio::test]
async fn a_client_that_hangs_up_leaves_its_money_held() {
    let world = Governed::new("");
    let caller = world.caller("billing", None, &["1000 usd total", "1 requests at_once"]);
    world.wire.silent.store(true, Ordering::SeqCst);
    let sent = async {
        while world.sent() == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::select! {
        charged = world.charge(&caller, 700, "cus_1") => panic!("{charged:?}"),
        () = sent => {}
    }
    world.wire.silent.store(false, Ordering::SeqCst);
    // The place among those at once is free again, the money isn't.
    while world.tally().reserved > 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(world.tally().held, 700);
    assert!(world.charge(&caller, 300, "cus_2").await.is_ok());
    assert_eq!(code(world.charge(&caller, 1, "cus_3").await), Code::OverBudget);
}

#[tokio::test]
async fn the_reply_says_what_was_really_spent() {
    let world = Governed::answering("", r#"{"amount": 250}"#);
    let caller = world.caller("billing", None, &["1000 usd total"]);
    assert!(world.charge(&caller, 900, "cus_1").await.is_ok());
    assert_eq!(world.tally(), Tally { settled: 250, ..Tally::default() });
}

#[tokio::test]
async fn what_is_said_to_be_free_counts_as_the_reply_says() {
    let world = Governed::answering("", r#"{"amount": 5000}"#);
    let caller = world.caller("billing", None, &["1000 usd total"]);
    assert!(world.charge(&caller, 0, "cus_1").await.is_ok());
    assert_eq!(world.tally(), Tally { settled: 5_000, ..Tally::default() });
    assert_eq!(code(world.charge(&caller, 0, "cus_2").await), Code::OverBudget);
}

#[tokio::test]
async fn what_never_fits_is_not_promised_room_later() {
    let world =
        Governed::new("[[budget]]\nsubject = \"tenant\"\nlimit = 900\nunit = \"usd\"\nwindow = \"day\"\n");
    let caller = world.caller("billing", None, &[]);
    assert!(world.charge(&caller, 500, "cus_1").await.is_ok());
    let later = world.charge(&caller, 500, "cus_2").await.unwrap_err().message;
    assert!(later.contains("there's room again from"), "{later}");
    let never = world.charge(&caller, 901, "cus_3").await.unwrap_err().message;
    assert!(!never.contains("again"), "{never}");
}

#[tokio::test]
async fn many_at_once_never_pass_a_limit() {
    let world = Governed::new(
        "[[budget]]\nsubject = \"tenant\"\nlimit = 1999\nunit = \"usd\"\nwindow = \"day\"\n\
         [[budget]]\nsubject = \"each customer\"\nlimit = 700\nunit = \"usd\"\nwindow = \"total\"\n\
         [[budget]]\nsubject = \"each role\"\nlimit = 30\nunit = \"requests\"\nwindow = \"total\"\n",
    );
    let caller = world.caller("billing", None, &["1500 usd total"]);
    let customers = ["cus_1", "cus_2", "cus_3"];
    let charges = (0..60).map(|n| world.charge(&caller, 100, customers[n % 3]));
    let charged = futures_all(charges).await.into_iter().filter(Result::is_ok).count();
    assert_eq!((charged, world.sent()), (15, 15), "1500 of 1500, and not one more");
    let over = world.ledger.counters().unwrap().into_iter().find(|row| row.tally.counted() > 1_500);
    assert!(over.is_none(), "{over:?}");
}

#[tokio::test]
async fn a_restart_holds_what_was_under_way() {
    let world = Governed::new("");
    let caller = world.caller("billing", None, &["1000 usd total", "5 requests at_once"]);
    world.wire.silent.store(true, Ordering::SeqCst);
    let charge = world.charge(&caller, 600, "cus_1");
    tokio::pin!(charge);
    while world.tally().reserved == 0 {
        tokio::select! {
            _ = &mut charge => panic!("it was answered"),
            () = tokio::time::sleep(Duration::from_millis(2)) => {}
        }
    }
    // Another process opens the file as it is now: what a host finds that was killed here.
    let copy = world.folder.path().join("copy.db");
    rusqlite::Connection::open(world.folder.path().join("audit.db"))
        .unwrap()
        .execute("VACUUM INTO ?1", [copy.to_str().unwrap()])
        .unwrap();
    let later = Arc::new(SqliteAudit::open(&copy).unwrap());
    let audit = Audit::start(later.clone(), Arc::new(SystemClock)).unwrap();
    assert_eq!(audit.recover().unwrap(), 1);
    let (mut held, mut reserved) = (0, 0);
    for row in later.counters().unwrap() {
        held += row.tally.held;
        reserved += row.tally.reserved;
    }
    assert_eq!((held, reserved), (600, 0));
}

/// An operator's stop.
fn stop(scope: Scope) -> Order {
    Order {
        scope,
        tenant: Some("acme".parse().unwrap()),
        environment: None,
        reason: "a loop".parse().unwrap(),
        by: "cli".to_owned(),
    }
}

#[tokio::test]
async fn a_kill_switch_stops_what_comes_and_what_is_under_way() {
    for scope in [Scope::Agent("billing".parse().unwrap()), Scope::Connection("stripe".parse().unwrap())] {
        let world = Governed::new("");
        let caller = world.caller("billing", None, &["1000 usd total"]);
        world.wire.silent.store(true, Ordering::SeqCst);
        let throw = async {
            while world.sent() == 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            world.kills.throw(stop(scope)).unwrap()
        };
        let (refused, switch) = tokio::join!(world.charge(&caller, 100, "cus_1"), throw);
        let refused = refused.unwrap_err();
        assert_eq!((refused.code, refused.request_sent), (Code::Killed, RequestSent::Unknown));
        assert!(!refused.message.contains("loop"), "the reason is the operators': {}", refused.message);
        world.wire.silent.store(false, Ordering::SeqCst);
        assert_eq!(code(world.charge(&caller, 100, "cus_2").await), Code::Killed);
        assert_eq!(world.sent(), 1);
        assert_eq!(world.tally().held, 100, "nobody knows what came of it");
        world.kills.lift(&switch.id, None).unwrap();
        assert!(world.charge(&caller, 100, "cus_2").await.is_ok());
    }
}

#[tokio::test]
async fn what_can_not_be_recorded_in_time_is_not_sent_and_its_caller_hears_of_it_in_time() {
    for request in [draft("GET", None), draft("POST", None)] {
        let world = Governed::new("");
        let caller = world.caller("billing", None, &[]);
        // The trail's disk stands still, with the first commit under way.
        let (moves, stands_still) = std::sync::mpsc::channel::<()>();
        *world.between.act.lock().unwrap() = Some(Box::new(move || {
            let _ = stands_still.recv();
        }));
        world.between.left.store(1, Ordering::SeqCst);
        let forwarded =
            world.forward_within(Duration::from_millis(500), &caller, request, CallContext::default());
        let refused = tokio::time::timeout(Duration::from_secs(20), forwarded).await.unwrap().unwrap_err();
        assert_eq!(
            (refused.code, refused.request_sent, world.sent()),
            (Code::AuditUnavailable, RequestSent::No, 0)
        );
        drop(moves);
    }
}

#[tokio::test]
async fn what_is_stopped_or_revoked_while_its_intent_goes_to_the_disk_is_not_sent() {
    for (revokes, wanted) in [(false, Code::Killed), (true, Code::Unauthorized)] {
        let world = Governed::new("");
        let caller = world.caller("billing", None, &["1000 usd total"]);
        let (kills, auth, token) = (world.kills.clone(), world.auth.clone(), caller.token().clone());
        let act = move || {
            if revokes {
                assert!(auth.revoke(&token, None).unwrap());
                return;
            }
            let order = Order {
                scope: Scope::Agent("billing".parse().unwrap()),
                tenant: None,
                environment: None,
                reason: "a loop".parse().unwrap(),
                by: "cli".to_owned(),
            };
            kills.throw(order).unwrap();
        };
        *world.between.act.lock().unwrap() = Some(Box::new(act));
        // The call's intent goes with the request's.
        world.between.left.store(1, Ordering::SeqCst);
        let refused = world.charge(&caller, 100, "cus_1").await.unwrap_err();
        assert_eq!((refused.code, refused.request_sent, world.sent()), (wanted, RequestSent::No, 0));
        assert!(world.between.act.lock().unwrap().is_none(), "it happened");
        assert_eq!(world.tally(), Tally::default(), "what was reserved is there again");
    }
}

async fn futures_all<F: Future>(all: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut pending: Vec<_> = all.map(|one| (Box::pin(one), None)).collect();
    std::future::poll_fn(|context| {
        let mut done = true;
        for (future, output) in &mut pending {
            if output.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(value) => *output = Some(value),
                    std::task::Poll::Pending => done = false,
                }
            }
        }
        if done { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    pending.into_iter().filter_map(|(_, output)| output).collect()
}
