//! What calls and sends leave in the trail.

use super::*;
use crate::egress::WatchedBody;

#[tokio::test]
async fn a_call_is_told_from_begin_to_end() {
    let trail = fixture();
    let pending = trail.begin().await.unwrap();
    trail.clock.advance(Duration::from_millis(30));
    let send = begin_send(&pending).await.unwrap();
    assert_eq!(send.number(), 1);
    assert_eq!(pending.request_sent(), RequestSent::Unknown, "it's under way");
    trail.clock.advance(Duration::from_millis(12));
    send.finished(answered(), SETTLED, None);
    assert_eq!(pending.request_sent(), RequestSent::Yes);
    let audited = pending.finish(Outcome::ok(b"{}"), "answer").await.unwrap();
    assert_eq!(audited.into_inner(), "answer");

    let rows = trail.audit.rows(&RowFilter { limit: 10, ..RowFilter::default() }).unwrap();
    assert!(rows.iter().all(|row| row.realm == Some(realm()) && row.call == rows[0].call));
    let Event::SendFinished(send) = &rows[2].event else { panic!("{:?}", rows[2]) };
    assert_eq!((send.took_ms, send.reply_bytes), (12, 5));
    let Event::CallFinished(call) = &rows[3].event else { panic!("{:?}", rows[3]) };
    assert_eq!((call.took_ms, call.result, call.result_bytes), (42, Some(Digest::of(b"{}")), 2));
    assert_eq!(
        trail.story(),
        ["call", "send 1", "send 1 done: sent yes", "Ok: 1 sends, sent yes"],
        "what isn't waited for lies in order"
    );
}

#[tokio::test]
async fn a_request_that_is_refused_is_on_record_though_the_call_goes_on() {
    let trail = fixture();
    let pending = trail.begin().await.unwrap();
    pending.send_refused("stripe\n\u{202e}live", Code::Denied, SendKnown::default());
    pending.finish(Outcome::ok(b"{}"), ()).await.unwrap();
    assert_eq!(trail.story(), ["call", "refused stripelive: denied", "Ok: 0 sends, sent no"]);
}

#[tokio::test]
async fn a_dropped_call_is_cancelled() {
    let trail = fixture();
    drop(trail.begin().await.unwrap());
    assert_eq!(trail.story(), ["call", "Cancelled: 0 sends, sent no"]);
}

#[tokio::test]
async fn a_dropped_send_is_unknown() {
    let trail = fixture();
    let pending = trail.begin().await.unwrap();
    drop(begin_send(&pending).await.unwrap());
    begin_send(&pending).await.unwrap().finished(answered(), SETTLED, None);
    pending.finish(Outcome::failed(Code::UpstreamTimeout), ()).await.unwrap();
    assert_eq!(
        trail.story(),
        [
            "call",
            "send 1",
            "send 1 done: sent unknown",
            "send 2",
            "send 2 done: sent yes",
            "Failed: 2 sends, sent unknown"
        ]
    );
}

#[tokio::test]
async fn a_dropped_send_that_no_connection_had_was_surely_not_sent() {
    let trail = fixture();
    let pending = trail.begin().await.unwrap();
    let send = begin_send(&pending).await.unwrap();
    let body = WatchedBody::new(bytes::Bytes::new(), send.handover().clone());
    assert_eq!(pending.request_sent(), RequestSent::Unknown, "it can still be sent");
    drop(body);
    drop(send);
    drop(pending);
    let ends = ["send 1 done: sent no", "Cancelled: 1 sends, sent no"];
    assert_eq!(trail.story()[2..], ends);
}

#[tokio::test]
async fn a_call_closes_its_open_sends_before_itself_and_once() {
    for drop_call in [true, false] {
        let trail = fixture();
        let pending = trail.begin().await.unwrap();
        let (first, second) = (begin_send(&pending).await.unwrap(), begin_send(&pending).await.unwrap());
        first.finished(
            SendResult { request_sent: RequestSent::No, status: None, ..answered() },
            Settlement::Release,
            None,
        );
        let mark = if drop_call {
            drop(pending);
            "Cancelled"
        } else {
            pending.finish(Outcome::failed(Code::DeadlineExceeded), ()).await.unwrap();
            "Failed"
        };
        second.finished(answered(), SETTLED, None);
        assert_eq!(
            trail.story()[3..],
            [
                "send 1 done: sent no".to_owned(),
                "send 2 done: sent unknown".to_owned(),
                format!("{mark}: 2 sends, sent unknown")
            ]
        );
    }
}

#[tokio::test]
async fn a_caller_that_goes_while_the_intent_is_queued_leaves_no_open_call() {
    let trail = fixture();
    trail.store.shut(true);
    drop(started(Box::pin(trail.begin())).await);
    trail.store.shut(false);
    assert_eq!(trail.story(), ["call", "Cancelled: 0 sends, sent no"]);
}

#[tokio::test]
async fn a_send_whose_caller_goes_while_it_is_queued_was_surely_not_sent() {
    let trail = fixture();
    let pending = trail.begin().await.unwrap();
    trail.store.shut(true);
    drop(started(Box::pin(async move { begin_send(&pending).await })).await);
    trail.store.shut(false);
    assert_eq!(trail.story(), ["call", "send 1", "send 1 done: sent no", "Cancelled: 1 sends, sent no"]);
}

#[tokio::test]
async fn a_call_that_ends_while_a_send_is_queued_ends_after_it() {
    let trail = fixture();
    let pending = trail.begin().await.unwrap();
    trail.store.shut(true);
    drop(started(Box::pin(begin_send(&pending))).await);
    let failed = Outcome::failed(Code::AuditUnavailable);
    let finishing = started(Box::pin(pending.finish(failed, ()))).await;
    trail.store.shut(false);
    finishing.await.unwrap();
    assert_eq!(trail.story(), ["call", "send 1", "send 1 done: sent no", "Failed: 1 sends, sent no"]);
}

#[tokio::test]
async fn what_came_of_a_send_is_on_the_disk_soon_though_its_call_goes_on() {
    let trail = fixture();
    let pending = trail.begin().await.unwrap();
    begin_send(&pending).await.unwrap().finished(answered(), SETTLED, None);
    trail.written(3).await;
    pending.send_refused("stripe", Code::Denied, SendKnown::default());
    trail.written(4).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(trail.store.commits.load(Ordering::SeqCst), 4, "where there's nothing, nothing is written");
    pending.finish(Outcome::ok(b"{}"), ()).await.unwrap();
    let rows = ["call", "send 1", "send 1 done: sent yes", "refused stripe: denied", "Ok: 1 sends, sent yes"];
    assert_eq!(trail.story(), rows);
}

#[tokio::test]
async fn operators_acts_are_recorded_and_cut() {
    let trail = fixture();
    let long = "x".repeat(1_000);
    trail.audit.admin(Some(realm()), "token.mint", &long, "cli").await.unwrap();
    let rows = trail.audit.rows(&RowFilter { limit: 1, ..RowFilter::default() }).unwrap();
    let Event::Admin { subject, .. } = &rows[0].event else { panic!("{rows:?}") };
    assert_eq!(subject.len(), ADMIN_CHARS_MAX);
    assert_eq!(trail.story(), ["token.mint"]);
}
