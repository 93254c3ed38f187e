//! A reply is lost, its money is held, and a look at the write says what became of it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::Method;

use super::*;
use crate::audit::HeldWord;
use crate::auth::{Auth, Caller, Grant, Mint};
use crate::catalog::{Catalog, CodeCache, Loader};
use crate::clock::{ManualClock, SystemClock};
use crate::connection::Connections;
use crate::egress::{
    BoxFuture, Draft, DraftBody, MasterKey, Pieces, SecretInput, Vault, Wire, WireError, WireErrorKind,
    WireReply, WireRequest,
};
use crate::ids::Digest;
use crate::kill::{Order, Scope};
use crate::ledger::{self, Budgets, Dedup, Lines, Reservation, Reserved};
use crate::pipeline::{ForwardRequest, Parts, Spending, TracingLog};
use crate::policy::{self, CallContext, Policy, PolicyFile, START};
use crate::refusal::RequestSent;
use crate::runtime::{Allocation, Limits, Runtime, RuntimeConfig};
use crate::store::{MemoryAudit, MemoryControl, Tally, TokenKind};

const CONNECTION: &str = r#"
base_url = "https://api.example.com"
secret = "key"
attach = { kind = "bearer" }
[operations.charge]
request = "POST /v1/charges"
effect = "write"
content_type = "application/x-www-form-urlencoded"
body.amount = { type = "integer", minimum = 0 }
body.currency = { type = "string" }
body."metadata[key]" = { type = "string", max_length = 36, optional = true }
cost = { amount = "body.amount", currency = "body.currency" }
settle = { amount = "/amount" }
key_field = "metadata[key]"
[operations.charge.reconcile]
read = "list"
query.limit = 100
query."created[gt]" = "{earliest}"
in = "/data"
key = "/metadata/key"
amount = "/amount"
status = { at = "/status", is = "succeeded" }
[operations.list]
request = "GET /v1/charges"
effect = "read"
query.limit = { type = "integer", maximum = 100 }
query."created[gt]" = { type = "integer", minimum = 0 }
"#;

const BUDGET: &str = "[[budget]]\nsubject = \"tenant\"\nunit = \"usd\"\nwindow = \"total\"\nlimit = 10000\n";

/// An upstream that breaks off writes, and answers reads as it's told.
struct Upstream {
    answer: Mutex<(u16, String)>,
    seen: Mutex<Vec<String>>,
    /// What happens while it's being read from.
    meanwhile: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    silent: AtomicBool,
    broken: AtomicBool,
}

impl Wire for Upstream {
    fn exchange(&self, request: WireRequest, _: Instant) -> BoxFuture<'_, Result<WireReply, WireError>> {
        Box::pin(async move {
            let body = String::from_utf8_lossy(&request.body).into_owned();
            self.seen.lock().unwrap().push(format!("{} {} {body}", request.method, request.target));
            let (status, body) = match request.method == Method::GET {
                true => self.answer.lock().unwrap().clone(),
                false => (500, "{}".to_owned()),
            };
            let meanwhile = self.meanwhile.lock().unwrap().take();
            if let Some(meanwhile) = meanwhile {
                meanwhile();
            }
            if self.silent.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            if self.broken.load(Ordering::SeqCst) {
                let (kind, cause) = (WireErrorKind::HungUp, "it hung up".to_owned());
                return Err(WireError { kind, request_sent: RequestSent::Yes, cause });
            }
            let body = Box::new(Pieces::from(Bytes::from(body)));
            Ok(WireReply { status, headers: http::HeaderMap::new(), body })
        })
    }
}

struct World {
    pipeline: Pipeline,
    reconciler: Reconciler,
    ledger: Arc<MemoryAudit>,
    vault: Arc<Vault>,
    caller: Arc<Caller>,
    clock: Arc<ManualClock>,
    wire: Arc<Upstream>,
    _tools: tempfile::TempDir,
}

fn realm() -> Realm {
    Realm { tenant: "acme".parse().unwrap(), environment: "dev".parse().unwrap() }
}

impl World {
    fn new() -> Self {
        Self::with(CONNECTION)
    }

    fn with(connection: &str) -> Self {
        let clock = Arc::new(ManualClock::at(SystemClock.now()));
        let control = Arc::new(MemoryControl::new());
        let config =
            RuntimeConfig { instances_max: 4, allocation: Allocation::OnDemand, ..RuntimeConfig::default() };
        let loader = Loader::new(Arc::new(Runtime::new(&config).unwrap()), CodeCache::off());
        let tools = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(tools.path().to_owned(), control.clone(), loader, &|_| {}).unwrap();
        let connections =
            Connections::parse(&[("stripe.toml", connection)]).unwrap_or_else(|p| panic!("{p}"));
        let connections = Arc::new(connections);
        let world = policy::World::new(connections.clone(), &catalog.snapshot());
        let policy = Policy::of(&[PolicyFile::new("start.cedar", START)], &[], world).unwrap();
        let budgets = Budgets::parse(BUDGET, "budgets.toml", &connections).unwrap_or_else(|p| panic!("{p}"));
        let ledger = Arc::new(MemoryAudit::new());
        let vault =
            Arc::new(Vault::open(control.clone(), MasterKey::for_tests(1), clock.clone()).ok().unwrap());
        let value = SecretInput::read(&b"sk_reconciled_0123456789"[..]).ok().unwrap();
        vault.put(&realm(), &"key".parse().unwrap(), &value).ok().unwrap();
        let wire = Arc::new(Upstream {
            answer: Mutex::new((200, "{}".to_owned())),
            seen: Mutex::default(),
            meanwhile: Mutex::default(),
            silent: AtomicBool::new(false),
            broken: AtomicBool::new(false),
        });
        let auth = Arc::new(Auth::new(control.clone(), clock.clone()));
        let minted = auth.mint(Mint {
            kind: TokenKind::Agent,
            realm: realm(),
            every_environment: false,
            agent: "billing".parse().unwrap(),
            conversation: None,
            role: None,
            task: None,
            user: None,
            grant: Grant { operations: vec!["stripe:*".parse().unwrap()], ..Grant::default() },
            lifetime: Duration::from_secs(30 * 86_400),
        });
        let day = Duration::from_secs(86_400);
        let pipeline = Pipeline::new(Parts {
            catalog: Arc::new(catalog),
            auth: auth.clone(),
            kills: Arc::new(Kills::new(control, clock.clone())),
            policy,
            approvals: None,
            questions: None,
            spending: Arc::new(Spending::new(budgets, [7; 32], day, Some(vault.clone()))),
            audit: Audit::start(ledger.clone(), clock.clone()).unwrap(),
            connections: Arc::new(LiveConnections::fixed(connections)),
            egress: Arc::new(Egress::for_tests(wire.clone(), vault.clone())),
            clock: clock.clone(),
            metrics: Arc::new(Metrics::new()),
            log: Arc::new(TracingLog),
            limits: Limits::usual(Duration::from_secs(5)),
            code_limits: Limits::usual(Duration::from_secs(5)),
        });
        let reconciler = pipeline.reconciler(ledger.clone());
        let caller = auth.verify(minted.unwrap().token.as_str()).unwrap();
        Self { pipeline, reconciler, ledger, vault, caller, clock, wire, _tools: tools }
    }

    async fn charge(&self, conversation: Option<&str>) -> Result<Reply, crate::refusal::Refusal> {
        let fields = [("amount", "1250"), ("currency", "usd")];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let request = ForwardRequest {
            caller: self.caller.clone(),
            connection: "stripe".to_owned(),
            draft: Ok(Draft {
                connection: "stripe".to_owned(),
                method: "POST".to_owned(),
                path: "/v1/charges".to_owned(),
                query: Vec::new(),
                headers: Vec::new(),
                body: Some(DraftBody::Form(fields)),
            }),
            call: CallId::fresh(self.clock.now()),
            context: CallContext {
                conversation: conversation.map(|name| name.parse().unwrap()),
                ..CallContext::default()
            },
            deadline: Duration::from_secs(4),
        };
        self.pipeline.forward(request).await?.into_inner()
    }

    /// A charge of 12.50 USD whose reply is lost: its reservation, and the key that the upstream has got.
    async fn lost(&self) -> (ReservationId, String) {
        assert_eq!(self.charge(Some("c-1")).await.unwrap().status, 500);
        let sent = self.seen().pop().unwrap();
        let key = sent.split("metadata%5Bkey%5D=").nth(1).unwrap_or_else(|| panic!("{sent}")).to_owned();
        (self.ledger.held(None, 10).unwrap()[0].id.clone(), key)
    }

    fn answers(&self, status: u16, body: impl Into<String>) {
        *self.wire.answer.lock().unwrap() = (status, body.into());
    }

    fn seen(&self) -> Vec<String> {
        self.wire.seen.lock().unwrap().clone()
    }

    async fn look(&self, hold: &ReservationId) -> Result<Report, ReconcileError> {
        self.reconciler.reconcile(None, hold, "cli").await
    }

    /// What could be looked up.
    fn candidates(&self) -> Vec<EntryRow> {
        self.reconciler.candidates(Millis(0), self.clock.now()).unwrap()
    }

    /// What has been counted.
    fn tally(&self) -> Tally {
        self.ledger.counters().unwrap()[0].tally
    }

    fn events(&self) -> Vec<Event> {
        let filter = RowFilter { limit: 1_000, ..RowFilter::default() };
        self.reconciler.audit.rows(&filter).unwrap().into_iter().map(|row| row.event).collect()
    }

    fn kill(&self, scope: Scope) {
        let order = Order {
            scope,
            tenant: Some(realm().tenant),
            environment: None,
            reason: "a loop".parse().unwrap(),
            by: "cli".to_owned(),
        };
        self.reconciler.kills.throw(order).unwrap();
    }
}

fn listed(charges: &[(&str, &str, &str)]) -> String {
    let one = |(key, amount, status): &(&str, &str, &str)| {
        format!(r#"{{"metadata":{{"key":"{key}"}},"amount":{amount},"status":"{status}"}}"#)
    };
    format!(r#"{{"has_more":false,"data":[{}]}}"#, charges.iter().map(one).collect::<Vec<_>>().join(","))
}

#[tokio::test]
async fn what_the_upstream_has_is_settled_and_on_record() {
    let world = World::new();
    let (hold, key) = world.lost().await;
    assert_eq!(world.tally().held, 1_250);
    let before = world.events().len();
    world.answers(200, listed(&[("another", "5", "succeeded"), (&key, "900", "succeeded")]));
    let report = world.look(&hold).await.unwrap();
    assert_eq!((report.became, report.amount, report.why), (Became::Settled, Some(900), None));
    assert_eq!(world.tally(), Tally { reserved: 0, held: 0, settled: 900 });
    let earliest = world.clock.now().0 / 1_000 - 300;
    assert_eq!(world.seen()[1], format!("GET /v1/charges?created%5Bgt%5D={earliest}&limit=100 "));

    let events = world.events().split_off(before);
    let [
        Event::ReconcileBegun(begun),
        Event::SendBegun(send),
        Event::SendFinished(sent),
        Event::CallFinished(finished),
        Event::Reconciled(found),
    ] = &events[..]
    else {
        panic!("{events:#?}")
    };
    assert_eq!((&begun.hold, begun.by.as_str()), (&hold, "cli"));
    assert_eq!((send.policy, send.budgets), (Digest([0; 32]), 0));
    assert_eq!((sent.status, &sent.settlement, finished.sends), (Some(200), &None, 1));
    assert_eq!((&found.hold, found.became), (&hold, Became::Settled));
    assert_eq!(found.amount.as_ref().unwrap().amount_minor, 900);

    // It was made: it isn't made again.
    assert!(world.charge(Some("c-1")).await.is_err());
    assert_eq!(world.seen().len(), 2);
    assert!(matches!(world.look(&hold).await, Err(ReconcileError::Unknown)));
}

#[tokio::test]
async fn more_than_was_reserved_counts_in_full() {
    let world = World::new();
    let (hold, key) = world.lost().await;
    world.answers(200, listed(&[(&key, "7000", "succeeded")]));
    assert_eq!(world.look(&hold).await.unwrap().amount, Some(7_000));
    assert_eq!(world.tally().settled, 7_000);
}

#[tokio::test]
async fn what_is_not_clear_stays_held() {
    let world = World::new();
    let (hold, key) = world.lost().await;
    let good = listed(&[(&key, "1250", "succeeded")]);
    for (status, body, why) in [
        (200, listed(&[]), "proves nothing"),
        (200, listed(&[("00000000-0000-8000-8000-000000000000", "1250", "succeeded")]), "proves nothing"),
        (200, listed(&[(&key, "1250", "pending")]), "its status \"pending\" isn't the final one"),
        (
            200,
            listed(&[(&key, "1250", &"\u{202e}x ".repeat(99))]),
            "\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\" isn't",
        ),
        (200, listed(&[(&key, "1250", "succeeded"), (&key, "1250", "succeeded")]), "several"),
        (200, listed(&[(&key, "\"1250\"", "succeeded")]), "whole number"),
        (200, listed(&[(&key, "-1250", "succeeded")]), "whole number"),
        (200, listed(&[(&key, "12.5", "succeeded")]), "whole number"),
        (200, good.replace("data", "items"), "no list"),
        (200, good.replace("]}", ""), "isn't JSON"),
        (200, format!("{good}{}", " ".repeat(2_000_000)), "larger"),
        (302, good.clone(), "answered the look with 302"),
        (404, good.clone(), "answered the look with 404"),
        (500, good.clone(), "answered the look with 500"),
    ] {
        world.answers(status, body.clone());
        let report = world.look(&hold).await.unwrap();
        assert_eq!(report.became, Became::Held, "{body:.200}");
        let said = report.why.unwrap();
        assert!(said.contains(why) && report.call.is_some(), "{said} for {body:.200}");
        let events = world.events();
        let Some(Event::Reconciled(row)) = events.last() else { panic!("{events:#?}") };
        assert_eq!((row.became, row.why.as_ref()), (Became::Held, Some(&said)));
    }
    assert_eq!(world.tally().held, 1_250);
    // What failed is none that was made.
    world.answers(200, listed(&[(&key, "1250", "failed"), (&key, "1250", "succeeded")]));
    assert_eq!(world.look(&hold).await.unwrap().became, Became::Settled);
}

#[tokio::test]
async fn that_a_write_is_not_found_proves_nothing_however_late() {
    let world = World::new();
    let (hold, _) = world.lost().await;
    world.answers(200, listed(&[]));
    world.clock.advance(Duration::from_secs(300 * 86_400));
    assert_eq!(world.look(&hold).await.unwrap().became, Became::Held);
    assert_eq!(world.tally().held, 1_250);
}

#[tokio::test]
async fn the_record_of_another_attempt_settles_nothing() {
    let made = HeldWord::CarriedOut { amount: None };
    for (word, later) in [(HeldWord::NotCarriedOut, 0), (made, 2 * 86_400)] {
        let world = World::new();
        let (first, key) = world.lost().await;
        world.answers(200, listed(&[(&key, "1250", "succeeded")]));
        let audit = &world.reconciler.audit;
        assert!(matches!(audit.resolve_held(None, &first, word, "cli"), Ok(Resolved::Done(_))));
        world.clock.advance(Duration::from_secs(later));
        let (second, same) = world.lost().await;
        assert_ne!(second, first);
        assert_eq!(same, key);
        let report = world.look(&second).await.unwrap();
        assert!(report.why.unwrap().contains("another attempt"), "{word:?}");
        assert_eq!((report.call, world.seen().len(), world.tally().held), (None, 2, 1_250));
    }
    // Nobody said what became of the first, and its time is over.
    let world = World::new();
    let (first, _) = world.lost().await;
    world.clock.advance(Duration::from_secs(2 * 86_400));
    assert_eq!(world.charge(Some("c-1")).await.unwrap().status, 500);
    let report = world.look(&first).await.unwrap();
    assert!(report.why.unwrap().contains("another attempt") && world.seen().len() == 2);
}

#[tokio::test]
async fn a_kill_switch_keeps_it_from_looking_and_ends_a_look() {
    for scope in [Scope::Connection("stripe".parse().unwrap()), Scope::Tenant] {
        let world = World::new();
        let (hold, key) = world.lost().await;
        world.answers(200, listed(&[(&key, "1250", "succeeded")]));
        let rows = world.events().len();
        world.kill(scope.clone());
        let report = world.look(&hold).await.unwrap();
        assert_eq!((report.became, report.call), (Became::Held, None));
        assert_eq!((world.seen().len(), world.events().len()), (1, rows), "{scope}");
    }
    let world = World::new();
    let (hold, _) = world.lost().await;
    world.wire.silent.store(true, Ordering::SeqCst);
    let throw = async {
        while world.seen().len() < 2 {
            tokio::task::yield_now().await;
        }
        world.kill(Scope::Tenant);
    };
    let (report, ()) = tokio::join!(world.look(&hold), throw);
    assert!(report.unwrap().why.unwrap().contains("stopped by an operator"));
    assert_eq!(world.tally().held, 1_250);
}

#[tokio::test]
async fn without_its_secret_nothing_is_sent() {
    let world = World::new();
    let (hold, _) = world.lost().await;
    world.vault.remove(&realm(), &"key".parse().unwrap(), None).ok().unwrap();
    let report = world.look(&hold).await.unwrap();
    assert!(report.why.unwrap().contains("no usable secret"));
    assert_eq!((world.seen().len(), world.tally().held), (1, 1_250));
}

#[tokio::test]
async fn of_two_looks_at_once_one_settles() {
    let world = World::new();
    let (hold, key) = world.lost().await;
    world.answers(200, listed(&[(&key, "900", "succeeded")]));
    let (one, other) = tokio::join!(world.look(&hold), world.look(&hold));
    let settled = [&one, &other].into_iter().filter(|result| result.is_ok()).count();
    assert_eq!(settled, 1, "{one:?} {other:?}");
    assert_eq!(world.tally().settled, 900);
}

#[tokio::test]
async fn an_operator_s_word_meanwhile_counts() {
    for charges in [&[] as &[&str], &["900"]] {
        let world = World::new();
        let (hold, key) = world.lost().await;
        let charges: Vec<_> = charges.iter().map(|amount| (key.as_str(), *amount, "succeeded")).collect();
        world.answers(200, listed(&charges));
        let (audit, id) = (world.reconciler.audit.clone(), hold.clone());
        *world.wire.meanwhile.lock().unwrap() = Some(Box::new(move || {
            let word = HeldWord::CarriedOut { amount: Some(1_000) };
            assert!(matches!(audit.resolve_held(None, &id, word, "cli"), Ok(Resolved::Done(_))));
        }));
        assert!(matches!(world.look(&hold).await, Err(ReconcileError::Unknown)));
        assert_eq!(world.tally().settled, 1_000);
        let said_more = |event: &Event| matches!(event, Event::Reconciled(_));
        assert!(!world.events().iter().any(said_more), "{charges:?}");
    }
}

#[tokio::test]
async fn what_can_not_be_looked_up_says_why_and_sends_nothing() {
    let (without, _) = CONNECTION.split_once("[operations.charge.reconcile]").unwrap();
    let world = World::with(without);
    let (hold, _) = world.lost().await;
    let report = world.look(&hold).await.unwrap();
    assert!(report.why.unwrap().contains("doesn't say how charge is looked up"));
    assert!(world.candidates().is_empty());

    let world = World::new();
    assert_eq!(world.charge(None).await.unwrap().status, 500);
    let hold = world.candidates()[0].id.clone();
    assert!(!world.seen()[0].contains("metadata"), "{:?}", world.seen());
    let report = world.look(&hold).await.unwrap();
    assert!(report.why.unwrap().contains("no key was written into it"));
    assert_eq!((world.seen().len(), report.call), (1, None));
    let reach = Reach::every("globex".parse().unwrap());
    let beyond = world.reconciler.reconcile(Some(&reach), &hold, "cli").await;
    assert!(matches!(beyond, Err(ReconcileError::Unknown)));
}

#[tokio::test]
async fn what_an_enforcement_point_was_allowed_is_not_looked_up() {
    let world = World::new();
    let (sent, _) = world.lost().await;
    let asked = Reservation {
        id: ReservationId { call: CallId::fresh(world.clock.now()), send: 1 },
        realm: realm(),
        connection: Some("stripe".parse().unwrap()),
        operation: Some("charge".parse().unwrap()),
        cost: None,
        lines: Lines::none(),
        dedup: Some(Dedup { key: [1; 32], window_ms: 1_000 }),
        at: world.clock.now(),
    };
    world
        .ledger
        .ledger(&mut |tx| {
            assert_eq!(ledger::reserve(tx, &asked)?, Reserved::Yes);
            assert!(ledger::hold(tx, &asked.id)?);
            Ok(())
        })
        .unwrap();
    assert_eq!(world.ledger.held(None, 10).unwrap().len(), 2);
    assert_eq!(world.candidates().iter().map(|entry| &entry.id).collect::<Vec<_>>(), [&sent]);
    let report = world.look(&asked.id).await.unwrap();
    assert!(report.why.unwrap().contains("an enforcement point was allowed it"));
}

#[tokio::test]
async fn an_upstream_that_does_not_answer_is_waited_for_once_in_a_sweep() {
    let world = World::new();
    for conversation in ["c-1", "c-2", "c-3", "c-4", "c-5", "c-6"] {
        assert_eq!(world.charge(Some(conversation)).await.unwrap().status, 500);
    }
    let due = world.candidates();
    assert_eq!(due.len(), 6);
    world.wire.broken.store(true, Ordering::SeqCst);
    let later = world.reconciler.sweep(due).await;
    // At most one look of each of the four that are made at once.
    let looks = world.seen().len() - 6;
    assert_eq!((looks + later.len(), looks <= 4), (6, true), "{later:?}");
    world.wire.broken.store(false, Ordering::SeqCst);
    world.answers(404, "{}");
    let (left, before) = (later.len(), world.seen().len());
    assert!(world.reconciler.sweep(later).await.is_empty());
    assert_eq!(world.seen().len() - before, left);
}

#[tokio::test]
async fn a_look_that_is_dropped_is_on_record_as_cancelled() {
    let world = World::new();
    let (hold, _) = world.lost().await;
    world.wire.silent.store(true, Ordering::SeqCst);
    let look = tokio::time::timeout(Duration::from_millis(100), world.look(&hold)).await;
    assert!(look.is_err());
    let events = world.events();
    let Some(Event::CallFinished(finished)) = events.last() else { panic!("{events:#?}") };
    assert_eq!(finished.mark, crate::audit::CallMark::Cancelled);
    assert_eq!(world.tally().held, 1_250);
}
