//! A store that fails, is slow, or is gone.

use super::queue::{BATCH_ROWS_MAX, INTENTS_MAX};
use super::*;
use crate::ledger::{CallLimit, Reservation, call_lines};

/// More than there is.
fn too_much(call: CallId, send: u32) -> Reservation {
    let none = CallLimit { agent: "billing-bot".parse().unwrap(), calls_max: 0 };
    Reservation {
        id: ReservationId { call, send },
        realm: realm(),
        connection: None,
        operation: None,
        cost: None,
        lines: call_lines(&realm(), &[none]),
        dedup: None,
        at: Millis(0),
    }
}

#[tokio::test]
async fn many_callers_share_a_commit() {
    let trail = fixture();
    trail.store.shut(true);
    let mut calls = vec![started(Box::pin(trail.begin())).await];
    trail.taken().await;
    for _ in 0..63 {
        calls.push(started(Box::pin(trail.begin())).await);
    }
    trail.store.shut(false);
    let mut pending = Vec::new();
    for call in calls {
        pending.push(call.await.unwrap());
    }
    assert_eq!(trail.store.commits.load(Ordering::SeqCst), 2, "the first, and all that came meanwhile");
    drop(pending);
    assert_eq!(trail.story().len(), 128);
}

#[tokio::test]
async fn an_intent_that_cannot_be_written_is_refused_and_leaves_nothing() {
    let trail = fixture();
    trail.store.fail(true);
    assert!(matches!(trail.begin().await, Err(AuditError::Unavailable(_))));
    assert!(matches!(trail.audit.admin(None, "a", "b", "c").await, Err(AuditError::Unavailable(_))));
    assert!(trail.audit.check().is_err());
    trail.store.fail(false);
    let pending = trail.begin().await.unwrap();
    assert!(trail.audit.check().is_ok());

    trail.store.fail(true);
    assert!(begin_send(&pending).await.is_err());
    trail.store.fail(false);
    let send = begin_send(&pending).await.unwrap();
    assert_eq!(send.number(), 2, "a number is used once");
    send.finished(answered(), SETTLED, None);
    pending.finish(Outcome::ok(b""), ()).await.unwrap();
    assert_eq!(trail.story(), ["call", "send 2", "send 2 done: sent yes", "Ok: 1 sends, sent yes"]);
}

#[tokio::test]
async fn an_answer_whose_record_cannot_be_written_is_withheld_and_recorded_later() {
    let trail = fixture();
    let pending = trail.begin().await.unwrap();
    let send = begin_send(&pending).await.unwrap();
    trail.store.fail(true);
    send.finished(answered(), SETTLED, None);
    let withheld = pending.finish(Outcome::ok(b"result"), "answer").await;
    assert!(matches!(withheld, Err(AuditError::Unavailable(_))));
    trail.store.fail(false);
    // Nobody asks for anything: the writer comes back to it by itself.
    trail.written(4).await;
    let rows = trail.audit.rows(&RowFilter { limit: 1, newest_first: true, ..RowFilter::default() }).unwrap();
    let Event::CallFinished(call) = &rows[0].event else { panic!("{rows:?}") };
    assert_eq!((call.code, call.result, call.result_bytes), (Some(Code::AuditUnavailable), None, 0));
    assert_eq!(trail.story(), ["call", "send 1", "send 1 done: sent yes", "Failed: 1 sends, sent yes"]);
}

#[tokio::test]
async fn that_the_store_is_mended_is_found_out_without_a_call() {
    let trail = fixture();
    trail.store.fail(true);
    assert!(trail.begin().await.is_err());
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(trail.audit.check().is_err(), "it has tried and failed by itself");
    trail.store.fail(false);
    tokio::time::timeout(Duration::from_secs(20), async {
        while trail.audit.check().is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    let rows = trail.audit.rows(&RowFilter { limit: 10, ..RowFilter::default() }).unwrap();
    let [Row { realm: None, event: Event::Admin { action, by, reason, .. }, .. }] = &rows[..] else {
        panic!("{rows:?}")
    };
    assert_eq!((action.as_str(), by.as_str()), (RESUMED, "host"));
    assert!(reason.as_ref().unwrap().contains("told to fail"), "{reason:?}");
    trail.audit.verify(None).unwrap();
}

#[tokio::test]
async fn a_question_that_needs_no_room_is_no_sign_that_there_is_some() {
    let trail = fixture();
    let asked = || Takes { lines: call_lines(&realm(), &[]), dedup: None, at: Millis(0) };
    trail.store.fail(true);
    assert!(trail.begin().await.is_err());
    assert!(trail.audit.foreseen(asked()).await.is_err());
    assert!(trail.audit.check().is_err());
    trail.store.fail(false);
    assert!(trail.audit.foreseen(asked()).await.unwrap().is_none());
    assert!(trail.audit.check().is_ok());
    let rows = trail.audit.rows(&RowFilter { limit: 10, ..RowFilter::default() }).unwrap();
    let [Row { event: Event::Admin { action, .. }, .. }] = &rows[..] else { panic!("{rows:?}") };
    assert_eq!(action, RESUMED);
}

#[tokio::test]
async fn a_caller_that_goes_while_its_intent_fails_leaves_nothing() {
    let trail = fixture();
    trail.store.shut(true);
    drop(started(Box::pin(trail.begin())).await);
    trail.store.fail(true);
    trail.store.shut(false);
    assert!(trail.begin().await.is_err(), "the writer has come past the first");
    trail.store.fail(false);
    assert!(trail.story().is_empty());
}

#[tokio::test]
async fn a_send_that_the_ledger_refuses_once_its_caller_has_gone_was_never_begun() {
    let trail = fixture();
    let pending = trail.begin().await.unwrap();
    trail.store.shut(true);
    let begun = async move {
        let reserve = |send| (send_intent(send), Some(too_much(pending.call().clone(), send)));
        pending.begin_send(reserve).await.map(drop)
    };
    drop(started(Box::pin(begun)).await);
    trail.store.shut(false);
    assert_eq!(trail.story(), ["call", "refused stripe: over_budget", "Cancelled: 0 sends, sent no"]);
}

#[tokio::test]
async fn a_send_that_can_not_be_written_once_its_caller_has_gone_was_never_begun() {
    let trail = fixture();
    let pending = trail.begin().await.unwrap();
    trail.store.shut(true);
    drop(started(Box::pin(async move { begin_send(&pending).await.map(drop) })).await);
    trail.store.fail(true);
    trail.store.shut(false);
    assert!(trail.begin().await.is_err(), "the writer has come past it");
    trail.store.fail(false);
    trail.written(2).await;
    assert_eq!(trail.story(), ["call", "Cancelled: 0 sends, sent no"]);
}

#[tokio::test]
async fn intents_find_no_room_in_a_full_queue_and_outcomes_do() {
    let trail = fixture();
    let pending = trail.begin().await.unwrap();
    trail.store.shut(true);
    // The first is with the writer, which waits; the others fill the queue.
    let mut waiting = vec![started(Box::pin(trail.begin())).await];
    trail.taken().await;
    for _ in 0..INTENTS_MAX {
        waiting.push(started(Box::pin(trail.begin())).await);
    }
    assert!(matches!(trail.begin().await, Err(AuditError::Full)));
    assert!(matches!(begin_send(&pending).await, Err(AuditError::Full)));
    let finishing = started(Box::pin(pending.finish(Outcome::ok(b""), ()))).await;
    trail.store.shut(false);
    finishing.await.unwrap();
    for begun in waiting {
        drop(begun.await.unwrap());
    }
    let commits = trail.store.commits.load(Ordering::SeqCst) as usize;
    assert!(commits > INTENTS_MAX / BATCH_ROWS_MAX, "a batch has its limit");
    trail.begin().await.unwrap().finish(Outcome::ok(b""), ()).await.unwrap();
    assert_eq!(trail.story().len(), 2 * (INTENTS_MAX + 1) + 4);
}

#[tokio::test]
async fn what_policies_that_are_tried_would_decide_is_dropped_where_it_can_not_be_written() {
    let trail = fixture();
    let differ = |times: usize| {
        for _ in 0..times {
            trail.audit.shadow_differed(realm(), difference());
        }
    };
    trail.store.fail(true);
    differ(10);
    assert!(trail.begin().await.is_err(), "the writer has come past them");
    trail.store.fail(false);
    trail.store.shut(true);
    differ(2 * INTENTS_MAX);
    let waiting = trail.audit.trail.queue.len();
    assert!(waiting <= INTENTS_MAX, "{waiting}");
    trail.store.shut(false);
    let story = trail.story();
    assert!(story.len() <= INTENTS_MAX + BATCH_ROWS_MAX, "{}", story.len());
    assert!(story.iter().all(|row| row == "shadow: denied"));
}

#[tokio::test]
async fn nothing_begins_or_ends_after_the_writer() {
    let trail = fixture();
    let (pending, forgotten) = (trail.begin().await.unwrap(), trail.begin().await.unwrap());
    trail.audit.clone().shutdown();
    assert!(matches!(trail.begin().await, Err(AuditError::Unavailable(_))));
    assert!(begin_send(&pending).await.is_err());
    assert!(pending.finish(Outcome::ok(b""), ()).await.is_err());
    drop(forgotten);
    assert_eq!(trail.story(), ["call", "call"], "the next start marks them");
}

#[tokio::test]
async fn what_is_queued_is_written_before_the_last_handle_is_gone() {
    let Fixture { audit, store, .. } = fixture();
    drop([begin(&audit).await.unwrap(), begin(&audit).await.unwrap()]);
    drop(audit);
    assert_eq!(story(&*store).len(), 4);
}

#[tokio::test]
async fn a_writer_with_a_failing_store_ends_all_the_same() {
    let trail = fixture();
    let pending = trail.begin().await.unwrap();
    trail.store.fail(true);
    drop(pending);
    assert_eq!(trail.story(), ["call"]);
}
