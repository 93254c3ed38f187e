//! What a start finds of an earlier run.

use std::sync::atomic::AtomicUsize;

use super::*;
use crate::audit::chain::{self, Unsealed};
use crate::audit::checkpoint::EVERY_ROWS;

/// A clock that stands at the first moment.
struct First;

impl Clock for First {
    fn now(&self) -> Millis {
        Millis(1)
    }
}

/// Writes rows of a made-up run: `(call, event)`.
fn write(store: &dyn AuditStore, rows: Vec<(&CallId, Event)>) {
    let unsealed =
        |(call, event): (&CallId, Event)| Unsealed::new(Some(&realm()), Some(call), &event).unwrap();
    chain::append(store, &First, rows.into_iter().map(unsealed).collect(), &mut |_| Ok(())).unwrap();
}

fn call(number: u8) -> CallId {
    format!("call_{number:032x}").parse().unwrap()
}

fn send_done(send: u32, request_sent: RequestSent) -> Event {
    Event::SendFinished(SendFinished {
        send,
        status: Some(200),
        failure: None,
        request_sent,
        secret_version: None,
        settlement: None,
        refunded: None,
        reply: None,
        reply_bytes: 0,
        took_ms: 1,
    })
}

fn done() -> Event {
    Event::CallFinished(CallFinished {
        mark: CallMark::Ok,
        code: None,
        request_sent: RequestSent::No,
        sends: 0,
        result: None,
        result_bytes: 0,
        took_ms: 1,
    })
}

/// A step of an approval opens no call and closes none.
fn approval() -> Event {
    Event::Approval(ApprovalStep {
        id: crate::ids::ApprovalId::fresh(),
        step: Step::Claimed,
        by: "billing-bot".parse().unwrap(),
        token: None,
        fingerprint: crate::approval::Fingerprint::for_tests("x"),
        conversation: None,
    })
}

fn begun() -> Event {
    Event::CallBegun(intent())
}

fn send(number: u32) -> Event {
    Event::SendBegun(send_intent(number))
}

/// What belongs to no call is no obstacle to the next start.
#[tokio::test]
async fn rows_that_belong_to_no_call_are_passed_over() {
    let trail = fixture();
    let (audit, realm) = (&trail.audit, realm());
    audit.recover().unwrap();
    let decided = Decided {
        id: crate::ids::DecisionId::fresh(),
        request: "r".to_owned(),
        by: crate::ids::TokenId::fresh(),
        token: None,
        agent: None,
        action: "plan".to_owned(),
        resource: "api://tasks/1".to_owned(),
        decision: Decision::Denied,
        reason: Some(Code::Denied),
        policies: Vec::new(),
        policy: None,
        approval: None,
    };
    audit.decided(realm.clone(), decided, None).await.unwrap();
    audit.shadow_differed(realm.clone(), difference());
    audit.admin(Some(realm.clone()), "token.mint", "tok", "cli").await.unwrap();
    let Event::Approval(step) = approval() else { unreachable!() };
    audit.approval(&realm, None, step).await.unwrap();
    let pending = trail.begin().await.unwrap();
    pending.finish(Outcome::ok(b"{}"), ()).await.unwrap();
    assert_eq!(audit.recover().unwrap(), 0);
    assert!(trail.story().contains(&"shadow: denied".to_owned()));
}

/// A look at a held write is a call of the host's own, and what it found is none.
#[tokio::test]
async fn looks_at_held_writes_are_marked_as_calls_are() {
    let trail = fixture();
    let hold = ReservationId { call: call(9), send: 1 };
    let look = || Event::ReconcileBegun(ReconcileBegun { hold: hold.clone(), by: "host".to_owned() });
    let found = Event::Reconciled(Reconciled {
        hold: hold.clone(),
        became: Became::Held,
        amount: None,
        why: Some("it isn't there yet".to_owned()),
    });
    let (open, ended) = (call(1), call(2));
    write(
        &*trail.store,
        vec![(&open, look()), (&ended, look()), (&open, send(1)), (&ended, done()), (&ended, found)],
    );
    assert_eq!(trail.audit.recover().unwrap(), 1);
    assert_eq!(trail.audit.recover().unwrap(), 0);
    assert!(trail.story().contains(&"send 1 done: sent unknown".to_owned()));
}

#[tokio::test]
async fn open_calls_and_sends_are_marked_once() {
    let trail = fixture();
    let (before, during, after, ended) = (call(1), call(2), call(3), call(4));
    write(
        &*trail.store,
        vec![
            (&before, begun()),
            (&during, begun()),
            (&ended, begun()),
            (&during, approval()),
            (&during, send(1)),
            (&ended, send(1)),
            (&during, send_done(1, RequestSent::Yes)),
            (&after, begun()),
            (&ended, send_done(1, RequestSent::Yes)),
            (&after, send(1)),
            (&ended, done()),
            (&ended, approval()),
            (&during, send(2)),
            (&after, send_done(1, RequestSent::Yes)),
        ],
    );
    let known = trail.store.head().unwrap().0;
    assert_eq!(trail.audit.recover().unwrap(), 3);
    let rows =
        trail.audit.rows(&RowFilter { from: Some(known + 1), limit: 100, ..RowFilter::default() }).unwrap();
    let marked: Vec<_> = rows.iter().map(|row| (row.call.clone(), told(&row.event))).collect();
    assert_eq!(
        marked,
        [
            (Some(before), "Unknown: 0 sends, sent no".to_owned()),
            (Some(during.clone()), "send 2 done: sent unknown".to_owned()),
            (Some(during), "Unknown: 2 sends, sent unknown".to_owned()),
            (Some(after), "Unknown: 1 sends, sent yes".to_owned()),
            (None, "started, 3 recovered".to_owned()),
        ]
    );
    assert!(rows[..4].iter().all(|row| row.realm == Some(realm())));
    assert_eq!(trail.audit.recover().unwrap(), 0, "a second start finds nothing");
    assert_eq!(trail.story().last().unwrap(), "started, 0 recovered");
}

#[tokio::test]
async fn the_search_goes_over_pages_and_stops_at_the_last_start() {
    let trail = fixture();
    // Open before a start: that start would have marked it, so the search can't have gone further back.
    write(
        &*trail.store,
        vec![(&call(1), begun()), (&call(1), Event::HostStarted { version: "0".into(), recovered: 0 })],
    );
    let open = call(2);
    write(&*trail.store, vec![(&open, begun())]);
    for _ in 0..1_500 {
        let one = CallId::fresh(Millis(0));
        write(&*trail.store, vec![(&one, begun()), (&one, done())]);
    }
    assert_eq!(trail.audit.recover().unwrap(), 1);
    let rows = trail.audit.rows(&RowFilter { call: Some(open), limit: 10, ..RowFilter::default() }).unwrap();
    assert_eq!(told(&rows[1].event), "Unknown: 0 sends, sent no");
}

#[tokio::test]
async fn a_start_reads_back_to_a_checkpoint_and_finds_what_was_open_there() {
    let trail = fixture();
    trail.audit.recover().unwrap();
    let (pending, later) = (trail.begin().await.unwrap(), trail.begin().await.unwrap());
    let _sending = begin_send(&pending).await.unwrap();
    // Another process makes calls beside the host, and very many rows.
    let (other, ended) = (call(1), call(2));
    write(&*trail.store, vec![(&other, begun()), (&ended, begun()), (&ended, done())]);
    let row = r#"{"event":"admin","action":"a","subject":"s","by":"cli"}"#;
    let rows = (0..EVERY_ROWS).map(|_| Unsealed::of_text(None, None, row.to_owned())).collect();
    chain::append(&*trail.store, &First, rows, &mut |_| Ok(())).unwrap();
    for _ in 0..3 {
        trail.audit.admin(None, "a", "s", "cli").await.unwrap();
    }
    later.finish(Outcome::ok(b"{}"), ()).await.unwrap();
    let newest = |limit| {
        let rows =
            trail.audit.rows(&RowFilter { limit, newest_first: true, ..RowFilter::default() }).unwrap();
        rows.iter().map(|row| told(&row.event)).collect::<Vec<_>>()
    };
    let checkpoints: Vec<_> = newest(9).into_iter().filter(|row| row.starts_with("checkpoint")).collect();
    assert_eq!(checkpoints, ["checkpoint, 3 open"]);

    let counted = Counted(trail.store.clone(), AtomicUsize::new(0));
    assert_eq!(recover::recover(&counted, &First).unwrap().0, 2);
    let read = counted.1.load(Ordering::SeqCst);
    assert!(read < 1_100, "{read} rows were read");
    assert_eq!(
        newest(4),
        [
            "started, 2 recovered",
            "Unknown: 0 sends, sent no",
            "Unknown: 1 sends, sent unknown",
            "send 1 done: sent unknown",
        ]
    );
}

/// Counts what is read of a store.
struct Counted(Arc<Faulty>, AtomicUsize);

impl AuditStore for Counted {
    fn write(&self, work: TrailWork<'_>) -> Result<(), StoreError> {
        self.0.write(work)
    }

    fn rows(&self, filter: &RowFilter) -> Result<Vec<AuditRecord>, StoreError> {
        let rows = self.0.rows(filter)?;
        self.1.fetch_add(rows.len(), Ordering::SeqCst);
        Ok(rows)
    }

    fn head(&self) -> Result<(u64, Digest), StoreError> {
        self.0.head()
    }
}

#[tokio::test]
async fn nothing_is_marked_when_the_store_fails() {
    let trail = fixture();
    write(&*trail.store, vec![(&call(1), begun())]);
    trail.store.fail(true);
    assert!(matches!(trail.audit.recover(), Err(AuditError::Unavailable(_))));
    trail.store.fail(false);
    assert_eq!(trail.audit.recover().unwrap(), 1);
}

#[tokio::test]
async fn a_damaged_row_stops_the_start_and_is_named() {
    let trail = fixture();
    write(&*trail.store, vec![(&call(1), begun())]);
    let odd = Unsealed::of_text(None, None, r#"{"event":"magic"}"#.to_owned());
    chain::append(&*trail.store, &First, vec![odd], &mut |_| Ok(())).unwrap();
    let error = trail.audit.recover().unwrap_err().to_string();
    assert!(error.contains("audit row 2") && error.contains("magic"), "{error}");
    let error = trail.audit.rows(&RowFilter { limit: 9, ..RowFilter::default() }).unwrap_err().to_string();
    assert!(error.contains("audit row 2"), "{error}");
}

#[test]
fn the_ledger_is_pruned_by_the_trail_s_clock() {
    use crate::store::{CounterKey, CounterRow, LedgerStore as _, Tally};

    let store = Arc::new(MemoryAudit::new());
    let counter = |name: &str, ends| {
        let key = CounterKey { name: name.to_owned(), start: Millis(0) };
        CounterRow { key, ends, tally: Tally::default() }
    };
    let (over, total) = (counter("over", Some(Millis(60_000))), counter("total", None));
    store
        .ledger(&mut |tx| {
            tx.create(&over)?;
            tx.create(&total).map(drop)
        })
        .unwrap();
    let clock = Arc::new(ManualClock::at(Millis(0)));
    let audit = Audit::start(store.clone(), clock.clone()).unwrap();
    assert_eq!(audit.prune_ledger().unwrap(), 0);
    clock.advance(Duration::from_secs(3 * 86_400));
    assert_eq!(audit.prune_ledger().unwrap(), 1);
    assert_eq!(store.counters().unwrap(), [total]);
}
