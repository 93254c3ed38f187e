//! Hostile guests, each against the limit that holds it.

mod counts;
mod wasi;

use std::sync::{LazyLock, Mutex};

use bytes::Bytes;
use tokio::time::Instant;

use super::test_guest::{OK, TestGuest, calling, calling_with};
use super::*;
use crate::auth::{Auth, Caller, Grant, Mint};
use crate::clock::{Millis, SystemClock};
use crate::dto::{Arguments, InputSchema};
use crate::egress::Draft;
use crate::ids::{CallId, Realm};
use crate::policy::{CallContext, Invocation, Permitted};
use crate::refusal::{FailureReason, SendFailure};
use crate::store::{ComponentKind, MemoryControl, TokenKind};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Runtime::new(&RuntimeConfig {
        instances_max: 32,
        allocation: Allocation::Auto,
        ..RuntimeConfig::default()
    })
    .unwrap()
});

static CALLER: LazyLock<Arc<Caller>> = LazyLock::new(|| {
    let auth = Auth::new(Arc::new(MemoryControl::new()), Arc::new(SystemClock));
    let minted = auth.mint(Mint {
        kind: TokenKind::Agent,
        realm: Realm { tenant: "acme".parse().unwrap(), environment: "test".parse().unwrap() },
        every_environment: false,
        agent: "agent".parse().unwrap(),
        conversation: None,
        role: None,
        task: None,
        user: None,
        grant: Grant::default(),
        lifetime: Duration::from_secs(3600),
    });
    auth.verify(&minted.unwrap().token.to_string()).unwrap()
});

/// An outbound that answers at once and keeps what it was given.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Recorded>>);

#[derive(Default)]
struct Recorded {
    drafts: Vec<Draft>,
    lines: Vec<(LogLevel, String)>,
    answer: Option<SendFailure>,
    /// Sends that were started and neither answered nor dropped.
    waiting: u32,
    hang: bool,
}

impl Outbound for Recorder {
    fn send(&mut self, draft: Draft) -> BoxFuture<'_, Result<GuestReply, SendFailure>> {
        let mut recorded = self.0.lock().unwrap();
        recorded.drafts.push(draft);
        if recorded.hang {
            recorded.waiting += 1;
            let waiting = Waiting(Arc::clone(&self.0));
            return Box::pin(async move {
                let _waiting = waiting;
                std::future::pending().await
            });
        }
        let answer = recorded.answer.clone();
        Box::pin(async move {
            match answer {
                Some(failure) => Err(failure),
                None => Ok(GuestReply { status: 200, headers: vec![], body: Bytes::from_static(b"ok") }),
            }
        })
    }

    fn log(&mut self, level: LogLevel, message: &str) {
        self.0.lock().unwrap().lines.push((level, message.to_owned()));
    }
}

struct Waiting(Arc<Mutex<Recorded>>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.lock().unwrap().waiting -= 1;
    }
}

fn limits() -> Limits {
    Limits::usual(Duration::from_secs(4))
}

fn prepared(bytes: &[u8]) -> Arc<Prepared> {
    RUNTIME.prepare(&RUNTIME.compile(bytes).unwrap()).unwrap()
}

fn permit(component: Digest) -> Permitted<Invocation> {
    let schema = InputSchema::parse(test_guest::EMPTY_SCHEMA).unwrap();
    Permitted::for_tests(Invocation {
        call: CallId::fresh(Millis(0)),
        caller: Arc::clone(&CALLER),
        tool: "probe".parse().unwrap(),
        kind: ComponentKind::Tool,
        component,
        connections: Arc::from([]),
        arguments: Arguments::parse(b"{}", &schema).unwrap(),
        context: CallContext::default(),
        now: Millis(0),
    })
}

async fn run_in(runtime: &Runtime, prepared: &Prepared, limits: &Limits, outbound: &Recorder) -> RunReport {
    let deadline = Instant::now() + Duration::from_secs(60);
    runtime.run(prepared, permit(prepared.digest()), limits, deadline, Box::new(outbound.clone())).await
}

async fn run(bytes: &[u8], limits: &Limits) -> RunReport {
    run_in(&RUNTIME, &prepared(bytes), limits, &Recorder::default()).await
}

fn is_trap(report: &RunReport, cause: &str) -> bool {
    matches!(&report.result, Err(RunFailure::Trap(text)) if text.contains(cause))
}

#[tokio::test]
async fn a_call_returns_its_text() {
    let report = run(&calling(OK), &limits()).await;
    assert_eq!(report.result.unwrap(), "{}");
}

#[tokio::test]
async fn name_and_arguments_arrive() {
    let echo = calling("(call $ok (local.get $name) (local.get $name_len))");
    assert_eq!(run(&echo, &limits()).await.result.unwrap(), "probe");
    let echo = calling("(call $ok (local.get $args) (local.get $args_len))");
    assert_eq!(run(&echo, &limits()).await.result.unwrap(), "{}");
}

#[tokio::test]
async fn an_endless_loop_ends_at_the_deadline() {
    let limits = Limits { wall: Duration::from_millis(100), ..limits() };
    let guest = prepared(&calling("(loop $l (br $l)) (unreachable)"));
    let start = Instant::now();
    let report = run_in(&RUNTIME, &guest, &limits, &Recorder::default()).await;
    let took = start.elapsed();
    assert_eq!(report.result, Err(RunFailure::Deadline));
    assert!(took >= limits.wall && took < Duration::from_secs(3), "{took:?}");
}

#[tokio::test]
async fn the_deadline_of_the_call_counts_when_it_is_earlier() {
    let guest = prepared(&calling("(loop $l (br $l)) (unreachable)"));
    let start = Instant::now();
    let deadline = start + Duration::from_millis(50);
    let outbound = Box::new(Recorder::default());
    let report = RUNTIME.run(&guest, permit(guest.digest()), &limits(), deadline, outbound).await;
    assert_eq!(report.result, Err(RunFailure::Deadline));
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

#[tokio::test]
async fn endless_loops_leave_their_thread_to_others() {
    // One thread for all of this: the second call could never run if the first one held it.
    let guest = prepared(&calling("(loop $l (br $l)) (unreachable)"));
    let looping = Limits { wall: Duration::from_secs(2), ..limits() };
    let outbound = Recorder::default();
    let endless = run_in(&RUNTIME, &guest, &looping, &outbound);
    let quick = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        run(&calling(OK), &limits()).await
    };
    tokio::select! {
        biased;
        report = quick => assert_eq!(report.result.unwrap(), "{}"),
        report = endless => panic!("the loop ended first: {report:?}"),
    }
}

#[tokio::test]
async fn a_loop_between_host_calls_ends_at_the_deadline() {
    const LOOP: &str = "(loop $l
        (global.set $heap (i32.const 131072)) (drop (call $get)) (br $l)) (unreachable)";
    let limits = Limits { wall: Duration::from_millis(100), ..limits() };
    let report = run(&calling(LOOP), &limits).await;
    assert_eq!(report.result, Err(RunFailure::Deadline));
    assert!(report.sends_refused > 0, "it went on to the limit and beyond");
    let log = "(loop $l (call $log (i32.const 0) (i32.const 8) (i32.const 2)) (br $l)) (unreachable)";
    let report = run(&calling(log), &limits).await;
    assert_eq!(report.result, Err(RunFailure::Deadline));
}

#[tokio::test]
async fn a_send_that_never_ends_is_dropped_at_the_deadline() {
    let outbound = Recorder::default();
    outbound.0.lock().unwrap().hang = true;
    let limits = Limits { wall: Duration::from_millis(500), ..limits() };
    let report = run_in(&RUNTIME, &prepared(&calling("(call $digit (call $get))")), &limits, &outbound).await;
    assert_eq!(report.result, Err(RunFailure::Deadline));
    let recorded = outbound.0.lock().unwrap();
    assert_eq!((recorded.drafts.len(), recorded.waiting), (1, 0), "it was begun and dropped");
}

#[tokio::test]
async fn dropping_the_future_stops_the_guest() {
    let outbound = Recorder::default();
    outbound.0.lock().unwrap().hang = true;
    let guest = prepared(&calling("(call $digit (call $get))"));
    let limits = limits();
    let begun = async {
        while outbound.0.lock().unwrap().waiting == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::select! {
        report = run_in(&RUNTIME, &guest, &limits, &outbound) => panic!("{report:?}"),
        () = begun => {}
    }
    let sent = |recorded: &Recorded| (recorded.drafts.len(), recorded.waiting);
    assert_eq!(sent(&outbound.0.lock().unwrap()), (1, 0), "it was begun and dropped");
    assert_eq!(Arc::strong_count(&outbound.0), 1, "nothing of the run is left");

    let endless = prepared(&calling("(loop $l (br $l)) (unreachable)"));
    let outbound = Recorder::default();
    let cut = tokio::time::timeout(Duration::from_millis(50), run_in(&RUNTIME, &endless, &limits, &outbound));
    assert!(cut.await.is_err());
    assert_eq!(Arc::strong_count(&outbound.0), 1);
}

#[tokio::test]
async fn memory_has_its_limit() {
    let limits = Limits { memory_bytes_max: 1 << 20, ..limits() };
    // One page at a time until refused: 4 pages at the start and 12 more, then `memory.grow` says so.
    let counted = "(local $n i32) (block $full (loop $l
        (br_if $full (i32.lt_s (memory.grow (i32.const 1)) (i32.const 0)))
        (local.set $n (i32.add (local.get $n) (i32.const 1))) (br $l)))
        (call $digit (i32.eq (local.get $n) (i32.const 12)))";
    let report = run(&calling(counted), &limits).await;
    assert_eq!(report.result.unwrap(), "1");
    // Most guests give up instead: that's no mere trap.
    let report = run(&calling("(drop (memory.grow (i32.const 60000))) (unreachable)"), &limits).await;
    assert_eq!(report.result, Err(RunFailure::Memory));
    // Too much from the start.
    let report = run(&TestGuest { pages: 17, ..TestGuest::default() }.build(), &limits).await;
    assert_eq!(report.result, Err(RunFailure::Memory));
}

#[tokio::test]
async fn tables_have_their_limit() {
    let fields = "(table $t 1 funcref)";
    let bomb = "(loop $l (br_if $l (i32.ge_s
        (table.grow $t (ref.null func) (i32.const 1000)) (i32.const 0)))) (unreachable)";
    assert_eq!(run(&calling_with(bomb, fields), &limits()).await.result, Err(RunFailure::Memory));
    let all_at_once = "(drop (table.grow $t (ref.null func) (i32.const 0x7fffffff))) (unreachable)";
    assert_eq!(run(&calling_with(all_at_once, fields), &limits()).await.result, Err(RunFailure::Memory));
    let from_the_start = calling_with(OK, "(table $t 1000000 funcref)");
    let outcome = RUNTIME.compile(&from_the_start).and_then(|artifact| RUNTIME.prepare(&artifact));
    if let Ok(guest) = outcome {
        let report = run_in(&RUNTIME, &guest, &limits(), &Recorder::default()).await;
        assert!(report.result.is_err(), "{report:?}");
    }
}

#[tokio::test]
async fn many_tables_memories_or_instances_are_refused() {
    let no_tables = Limits { tables_max: 0, ..limits() };
    assert!(is_trap(&run(&calling_with(OK, "(table 1 funcref)"), &no_tables).await, "table count"));
    let no_memory = Limits { memories_max: 0, ..limits() };
    assert!(is_trap(&run(&calling(OK), &no_memory).await, "memory count"));
    let few_instances = Limits { core_instances_max: 1, ..limits() };
    assert!(is_trap(&run(&calling(OK), &few_instances).await, "instance count"));
}

#[tokio::test]
async fn deep_recursion_is_a_trap() {
    let fields = "(func $deep (param i32) (result i32)
        (i32.add (call $deep (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))";
    let report = run(&calling_with("(call $digit (call $deep (i32.const 0)))", fields), &limits()).await;
    assert!(is_trap(&report, "call stack exhausted"), "{report:?}");
}

#[tokio::test]
async fn a_trap_is_reported_as_one_line() {
    let report = run(&calling("(unreachable)"), &limits()).await;
    assert!(is_trap(&report, "unreachable"), "{report:?}");
    let Err(RunFailure::Trap(cause)) = &report.result else { panic!() };
    assert!(!cause.contains('\n'), "{cause}");
    assert_eq!(report.result.unwrap_err().code(), crate::refusal::Code::ToolTrapped);
}

#[tokio::test]
async fn a_huge_result_is_refused() {
    let big = TestGuest {
        call: "(call $ok (i32.const 0) (i32.const 104857600))",
        pages: 1601,
        ..TestGuest::default()
    };
    assert_eq!(run(&big.build(), &limits()).await.result, Err(RunFailure::OutputTooLarge));
    // One byte over is over, one byte less isn't.
    let exact = calling(
        "(memory.fill (i32.const 4096) (i32.const 32) (i32.const 1000))
        (call $ok (i32.const 4096) (i32.const 1000))",
    );
    let report = run(&exact, &Limits { output_bytes_max: 1000, ..limits() }).await;
    assert_eq!(report.result.unwrap().len(), 1000);
    let report = run(&exact, &Limits { output_bytes_max: 999, ..limits() }).await;
    assert_eq!(report.result, Err(RunFailure::OutputTooLarge));
    // A text that reaches out of memory is no text.
    let report = run(&calling("(call $ok (i32.const 0) (i32.const -1))"), &limits()).await;
    assert!(is_trap(&report, "out of bounds"), "{report:?}");
}

#[tokio::test]
async fn a_huge_message_to_the_host_is_refused_before_it_is_copied() {
    let guest = TestGuest {
        call: "(call $log (i32.const 1) (i32.const 0) (i32.const 104857600)) (unreachable)",
        pages: 1601,
        ..TestGuest::default()
    };
    let outbound = Recorder::default();
    let report = run_in(&RUNTIME, &prepared(&guest.build()), &limits(), &outbound).await;
    assert_eq!(report.result, Err(RunFailure::OutputTooLarge));
    assert!(outbound.0.lock().unwrap().lines.is_empty());
}

#[tokio::test]
async fn a_flood_of_messages_is_counted_and_dropped() {
    let flood = "(local $n i32) (loop $l
        (call $log (i32.const 3) (i32.const 48) (i32.const 10))
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br_if $l (i32.lt_u (local.get $n) (i32.const 10000))))
        (call $ok (i32.const 8) (i32.const 2))";
    let outbound = Recorder::default();
    let report = run_in(&RUNTIME, &prepared(&calling(flood)), &limits(), &outbound).await;
    assert_eq!(report.result.unwrap(), "{}");
    assert_eq!(report.log_dropped, 9_900);
    let recorded = outbound.0.lock().unwrap();
    assert_eq!(recorded.lines.len(), 100);
    assert_eq!(recorded.lines[0], (LogLevel::Error, r"line\nbreak".to_owned()));
}

#[tokio::test]
async fn ten_thousand_sends_stop_at_the_limit() {
    // Counts the refusals whose reason is `send-limit` (discriminant 11) and that surely weren't sent.
    let flood = "(local $n i32) (local $refused i32) (loop $l
        (if (call $get) (then
            (if (i32.ne (i32.load8_u (i32.const 2052)) (i32.const 11)) (then (unreachable)))
            (if (i32.ne (i32.load8_u (i32.const 2064)) (i32.const 0)) (then (unreachable)))
            (local.set $refused (i32.add (local.get $refused) (i32.const 1)))))
        (global.set $heap (i32.const 131072))
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br_if $l (i32.lt_u (local.get $n) (i32.const 10000))))
        (call $digit (i32.div_u (local.get $refused) (i32.const 1000)))";
    let outbound = Recorder::default();
    let report = run_in(&RUNTIME, &prepared(&calling(flood)), &limits(), &outbound).await;
    assert_eq!(report.result.unwrap(), "9");
    assert_eq!(report.sends_refused, 9_950);
    assert_eq!(report.last_failure.unwrap().reason, FailureReason::SendLimit);
    assert_eq!(outbound.0.lock().unwrap().drafts.len(), 50);
}

#[tokio::test]
async fn a_draft_arrives_as_it_was_written() {
    let outbound = Recorder::default();
    let report =
        run_in(&RUNTIME, &prepared(&calling("(call $digit (call $get))")), &limits(), &outbound).await;
    assert_eq!(report.result.unwrap(), "0");
    let expected = Draft {
        connection: "stripe".to_owned(),
        method: "GET".to_owned(),
        path: "/v1/x".to_owned(),
        query: vec![],
        headers: vec![],
        body: None,
    };
    assert_eq!(outbound.0.lock().unwrap().drafts, [expected]);
}

#[tokio::test]
async fn a_failed_send_is_told_to_the_guest_and_kept_for_the_report() {
    let outbound = Recorder::default();
    let failure = SendFailure::unsent(FailureReason::Denied, "no").because("secret cause");
    outbound.0.lock().unwrap().answer = Some(failure.clone());
    let guest = prepared(&calling(
        "(drop (call $get)) (call $err (i32.const 3)
        (i32.load (i32.const 2056)) (i32.load (i32.const 2060)))",
    ));
    let report = run_in(&RUNTIME, &guest, &limits(), &outbound).await;
    let expected = ToolError { kind: ToolErrorKind::SendFailed, message: "no".to_owned() };
    assert_eq!(report.result, Err(RunFailure::Tool(expected)));
    assert_eq!(report.last_failure, Some(failure));
}

#[tokio::test]
async fn an_error_message_is_cut_and_cleaned() {
    let guest = calling(
        "(memory.fill (i32.const 4096) (i32.const 120) (i32.const 5000))
        (i32.store8 (i32.const 4096) (i32.const 27)) (i32.store8 (i32.const 4097) (i32.const 10))
        (call $err (i32.const 1) (i32.const 4096) (i32.const 5000))",
    );
    let report = run(&guest, &limits()).await;
    let expected = ToolError { kind: ToolErrorKind::NotFound, message: "x".repeat(1000) };
    assert_eq!(report.result, Err(RunFailure::Tool(expected)));
}

#[tokio::test]
async fn invalid_utf_8_is_a_trap() {
    let guest =
        calling("(i32.store8 (i32.const 4096) (i32.const 255)) (call $ok (i32.const 4096) (i32.const 1))");
    assert!(is_trap(&run(&guest, &limits()).await, "utf-8"));
    let guest = calling("(i32.store8 (i32.const 16) (i32.const 255)) (call $digit (call $get))");
    let outbound = Recorder::default();
    let report = run_in(&RUNTIME, &prepared(&guest), &limits(), &outbound).await;
    assert!(is_trap(&report, "utf-8"), "{report:?}");
    assert!(outbound.0.lock().unwrap().drafts.is_empty());
}

#[tokio::test]
async fn nonsense_discriminants_are_traps() {
    let guest = calling("(i32.store (i32.const 1024) (i32.const 7)) (i32.const 1024)");
    assert!(is_trap(&run(&guest, &limits()).await, "discriminant"));
    let guest = calling("(call $log (i32.const 99) (i32.const 8) (i32.const 2)) (unreachable)");
    assert!(is_trap(&run(&guest, &limits()).await, "discriminant"));
    assert!(is_trap(&run(&calling("(i32.const -4)"), &limits()).await, "out of bounds"));
}

#[tokio::test]
async fn no_state_stays_between_calls() {
    // Counts calls in a global, in memory on two pages, in grown memory and in a table.
    let fields = "(global $calls (mut i32) (i32.const 0)) (table $t 8 funcref) (elem declare func $digit)";
    let count = "(local $seen i32)
        (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
        (i32.store (i32.const 65000) (i32.add (i32.load (i32.const 65000)) (i32.const 1)))
        (i32.store (i32.const 200000) (i32.add (i32.load (i32.const 200000)) (i32.const 1)))
        (if (i32.ne (memory.size) (i32.const 4)) (then (unreachable)))
        (drop (memory.grow (i32.const 1)))
        (i32.store (i32.const 262144) (i32.add (i32.load (i32.const 262144)) (i32.const 1)))
        (local.set $seen (i32.eqz (ref.is_null (table.get $t (i32.const 3)))))
        (table.set $t (i32.const 3) (ref.func $digit))
        (drop (table.grow $t (ref.null func) (i32.const 1)))
        (call $digit (i32.add (local.get $seen) (i32.add (global.get $calls) (i32.add (i32.load (i32.const 65000))
            (i32.add (i32.load (i32.const 200000)) (i32.load (i32.const 262144)))))))";
    for allocation in [Allocation::Auto, Allocation::OnDemand] {
        let runtime =
            Runtime::new(&RuntimeConfig { instances_max: 4, allocation, ..RuntimeConfig::default() })
                .unwrap();
        let artifact = runtime.compile(&calling_with(count, fields)).unwrap();
        let guest = runtime.prepare(&artifact).unwrap();
        for call in 0..50 {
            let report = run_in(&runtime, &guest, &limits(), &Recorder::default()).await;
            assert_eq!(report.result.unwrap(), "4", "call {call} with {allocation:?}");
        }
    }
}

#[tokio::test]
async fn nothing_stays_of_what_is_more_than_a_place_keeps() {
    // Grows by 8 MiB more than its place in the pool keeps, looks at the first word of each page that's new, and writes it.
    let fill = "(local $at i32) (local $seen i32)
        (local.set $at (i32.mul (memory.grow (i32.const 192)) (i32.const 65536)))
        (loop $pages
            (local.set $seen (i32.or (local.get $seen) (i32.load (local.get $at))))
            (i32.store (local.get $at) (i32.const 1))
            (local.set $at (i32.add (local.get $at) (i32.const 65536)))
            (br_if $pages (i32.lt_u (local.get $at) (i32.mul (memory.size) (i32.const 65536)))))
        (call $digit (local.get $seen))";
    let config = RuntimeConfig { instances_max: 1, ..RuntimeConfig::default() };
    assert_eq!(config.keep_resident_bytes + (8 << 20), 192 << 16);
    let runtime = Runtime::new(&config).unwrap();
    let guest = runtime.prepare(&runtime.compile(&calling(fill)).unwrap()).unwrap();
    // The one instance has two memories to choose from.
    for call in 0..4 {
        let report = run_in(&runtime, &guest, &limits(), &Recorder::default()).await;
        assert_eq!(report.result.unwrap(), "0", "call {call}");
    }
}

#[tokio::test]
async fn a_guest_that_broke_down_leaves_nothing_either() {
    let fields = "(global $calls (mut i32) (i32.const 0))";
    let guest = prepared(&calling_with(
        "(i32.store (i32.const 65000) (i32.add (i32.load (i32.const 65000)) (i32.const 1)))
         (if (i32.ne (i32.load (i32.const 65000)) (i32.const 1)) (then (return (call $ok (i32.const 8) (i32.const 2)))))
         (unreachable)",
        fields,
    ));
    for _ in 0..20 {
        assert!(is_trap(&run_in(&RUNTIME, &guest, &limits(), &Recorder::default()).await, "unreachable"));
    }
}

#[tokio::test]
async fn a_start_function_is_under_the_same_limits() {
    let endless = calling_with(OK, "(func $start (loop $l (br $l))) (start $start)");
    let short = Limits { wall: Duration::from_millis(50), ..limits() };
    assert_eq!(run(&endless, &short).await.result, Err(RunFailure::Deadline));
    let trapping = calling_with(OK, "(func $start (unreachable)) (start $start)");
    assert!(is_trap(&run(&trapping, &limits()).await, "unreachable"));
    let hungry =
        calling_with(OK, "(func $start (drop (memory.grow (i32.const 60000))) (unreachable)) (start $start)");
    assert_eq!(run(&hungry, &limits()).await.result, Err(RunFailure::Memory));
}

#[tokio::test]
async fn a_permit_for_another_component_runs_nothing() {
    let guest = prepared(&calling(OK));
    let deadline = Instant::now() + Duration::from_secs(1);
    let outbound = Box::new(Recorder::default());
    let report = RUNTIME.run(&guest, permit(Digest::of(b"other")), &limits(), deadline, outbound).await;
    assert!(matches!(report.result, Err(RunFailure::Host(_))), "{report:?}");
}

#[tokio::test]
async fn what_one_runtime_prepared_another_does_not_run() {
    let other = Runtime::new(&RuntimeConfig::for_commands()).unwrap();
    let guest = prepared(&calling(OK));
    let report = run_in(&other, &guest, &limits(), &Recorder::default()).await;
    assert!(
        matches!(&report.result, Err(RunFailure::Host(cause)) if cause.contains("another runtime")),
        "{report:?}"
    );
}

#[tokio::test]
async fn more_instances_than_there_may_be_are_busy() {
    for allocation in [Allocation::Auto, Allocation::OnDemand] {
        let runtime =
            Runtime::new(&RuntimeConfig { instances_max: 2, allocation, ..RuntimeConfig::default() })
                .unwrap();
        let artifact = runtime.compile(&calling("(call $digit (call $get))")).unwrap();
        let guest = runtime.prepare(&artifact).unwrap();
        let hanging = Recorder::default();
        hanging.0.lock().unwrap().hang = true;
        let limits = Limits { wall: Duration::from_millis(200), ..limits() };
        let outbound = Recorder::default();
        let first = run_in(&runtime, &guest, &limits, &hanging);
        let second = run_in(&runtime, &guest, &limits, &hanging);
        let third = run_in(&runtime, &guest, &limits, &outbound);
        let (first, second, third) = tokio::join!(first, second, third);
        assert_eq!(third.result, Err(RunFailure::Busy));
        assert_eq!((first.result, second.result), (Err(RunFailure::Deadline), Err(RunFailure::Deadline)));
        let after = run_in(&runtime, &guest, &limits, &outbound).await;
        assert_eq!(after.result.unwrap(), "0", "the slots are free again");
    }
}

#[tokio::test]
async fn a_component_describes_itself() {
    let guest =
        TestGuest { tools: vec![("one", vec!["stripe", "github"]), ("two", vec![])], ..TestGuest::default() };
    let tools = RUNTIME.describe(&prepared(&guest.build())).await.unwrap();
    assert_eq!(tools.len(), 2);
    assert_eq!((tools[0].name.as_str(), tools[1].name.as_str()), ("one", "two"));
    assert_eq!(tools[0].connections, ["stripe", "github"]);
    assert_eq!(tools[0].input_schema, test_guest::EMPTY_SCHEMA);
}

#[tokio::test]
async fn describe_has_no_rights_and_tight_limits() {
    let described = async |describe: &'static str| {
        let guest = TestGuest { describe, ..TestGuest::default() };
        match RUNTIME.describe(&prepared(&guest.build())).await {
            Err(RuntimeError::Describe(failure)) => failure,
            other => panic!("{other:?}"),
        }
    };
    let sent = described("(drop (call $get))").await;
    assert!(matches!(&sent, RunFailure::Trap(cause) if cause.contains("credentialed-http.send")), "{sent}");
    let logged = described("(call $log (i32.const 0) (i32.const 8) (i32.const 2))").await;
    assert!(matches!(&logged, RunFailure::Trap(cause) if cause.contains("log.write")), "{logged}");
    assert_eq!(described("(loop $l (br $l))").await, RunFailure::Deadline);
    assert!(matches!(described("(unreachable)").await, RunFailure::Trap(_)));
    let endless_list = "(i32.store (i32.const 1200) (i32.const 4096))
        (i32.store (i32.const 1204) (i32.const 100000000)) (return (i32.const 1200))";
    assert!(matches!(described(endless_list).await, RunFailure::Trap(_) | RunFailure::OutputTooLarge));
}

#[test]
fn exports_are_checked_when_a_component_is_prepared() {
    let prepare = |text: &str| RUNTIME.prepare(&RUNTIME.compile(&wat::parse_str(text).unwrap()).unwrap());
    let none = prepare("(component)").unwrap_err();
    assert!(matches!(&none, RuntimeError::Contract(cause) if cause.contains("`call`")), "{none}");
    let wrong = prepare(
        r#"(component
            (core module $m (func (export "f")))
            (core instance $i (instantiate $m))
            (func $f (canon lift (core func $i "f")))
            (export "call" (func $f)) (export "describe" (func $f)))"#,
    );
    assert!(matches!(wrong, Err(RuntimeError::Contract(_))), "{wrong:?}");
}

#[test]
fn an_import_of_another_type_is_refused() {
    let lying = r#"(component (import "keybearer:tool/log@0.1.0" (instance (export "write" (func (param "x" u8))))))"#;
    let artifact = RUNTIME.compile(&wat::parse_str(lying).unwrap()).unwrap();
    assert!(matches!(RUNTIME.prepare(&artifact), Err(RuntimeError::Contract(_))));
    let more = r#"(component (import "wasi:cli/environment@0.2.0" (instance (export "set-all" (func)))))"#;
    let artifact = RUNTIME.compile(&wat::parse_str(more).unwrap()).unwrap();
    assert!(matches!(RUNTIME.prepare(&artifact), Err(RuntimeError::Contract(_))));
}

#[test]
fn unknown_imports_are_refused_before_compiling() {
    // The code inside is no code at all: compiling would say so first.
    for name in ["wasi:http/outgoing-handler@0.2.0", "evil:host/exec@1.0.0"] {
        let text = format!(
            r#"(component (import "{name}" (instance))
                (core module (func (result i32) i64.const 0)))"#
        );
        let refused = RUNTIME.compile(&wat::parse_str(text).unwrap()).unwrap_err();
        assert!(
            matches!(&refused, RuntimeError::UnknownImport { name: named } if named == name),
            "{refused}"
        );
    }
}
