//! Calls that are nothing but a request to be forwarded: their own intent goes with the first thing that comes of them.

use super::queue::INTENTS_MAX;
use super::*;

async fn begin_forwarded(trail: &Fixture) -> Result<Pending, AuditError> {
    Pending::begin_forward(&trail.audit.trail, CallId::fresh(Millis(0)), realm(), intent(), &[]).await
}

#[tokio::test]
async fn both_intents_are_one_commit_and_the_call_s_comes_first() {
    let trail = fixture();
    let pending = begin_forwarded(&trail).await.unwrap();
    assert_eq!(story(&*trail.store).len(), 0);
    let send = begin_send(&pending).await.unwrap();
    assert_eq!(story(&*trail.store), ["call", "send 1"], "before anything can be sent");
    assert_eq!(trail.store.commits.load(Ordering::SeqCst), 1);
    send.finished(answered(), SETTLED, None);
    pending.finish(Outcome::ok(b""), ()).await.unwrap();
    assert_eq!(trail.story(), ["call", "send 1", "send 1 done: sent yes", "Ok: 1 sends, sent yes"]);
}

#[tokio::test]
async fn a_refused_request_is_on_record_with_its_call() {
    let trail = fixture();
    let pending = begin_forwarded(&trail).await.unwrap();
    pending.send_refused("stripe", Code::Denied, SendKnown::default());
    pending.finish(Outcome::failed(Code::Denied), ()).await.unwrap();
    assert_eq!(trail.story(), ["call", "refused stripe: denied", "Failed: 0 sends, sent no"]);
}

#[tokio::test]
async fn one_that_is_given_up_before_anything_came_of_it_is_cancelled() {
    let trail = fixture();
    drop(begin_forwarded(&trail).await.unwrap());
    assert_eq!(trail.story(), ["call", "Cancelled: 0 sends, sent no"]);
}

#[tokio::test]
async fn where_the_intents_can_not_be_written_nothing_is_sent_and_the_call_goes_with_its_outcome() {
    let trail = fixture();
    let pending = begin_forwarded(&trail).await.unwrap();
    trail.store.fail(true);
    assert!(begin_send(&pending).await.is_err());
    assert_eq!(pending.request_sent(), RequestSent::No);
    trail.store.fail(false);
    assert_eq!(story(&*trail.store).len(), 0, "neither without the other");
    pending.finish(Outcome::failed(Code::AuditUnavailable), ()).await.unwrap();
    assert_eq!(trail.story(), ["call", "Failed: 0 sends, sent no"]);
}

#[tokio::test]
async fn an_outcome_that_is_owed_keeps_the_call_s_intent() {
    let trail = fixture();
    let pending = begin_forwarded(&trail).await.unwrap();
    trail.store.fail(true);
    assert!(pending.finish(Outcome::failed(Code::Denied), ()).await.is_err());
    trail.store.fail(false);
    // The writer comes back to it by itself.
    trail.written(2).await;
    assert_eq!(trail.story(), ["call", "Failed: 0 sends, sent no"]);
}

#[tokio::test]
async fn records_of_others_that_belong_to_the_call_come_after_its_intent() {
    let trail = fixture();
    let pending = begin_forwarded(&trail).await.unwrap();
    pending.recorded().await.unwrap();
    pending.recorded().await.unwrap();
    trail.audit.admin(None, "people.agree", "b", "c").await.unwrap();
    begin_send(&pending).await.unwrap().finished(answered(), SETTLED, None);
    pending.finish(Outcome::ok(b""), ()).await.unwrap();
    let story = trail.story();
    assert_eq!(story[..3], ["call", "people.agree", "send 1"]);
    assert_eq!(story.len(), 5);

    let trail = fixture();
    let pending = begin_forwarded(&trail).await.unwrap();
    trail.store.fail(true);
    assert!(pending.recorded().await.is_err());
    trail.store.fail(false);
    drop(pending);
    assert_eq!(trail.story(), ["call", "Cancelled: 0 sends, sent no"], "it goes with what comes next");
}

#[tokio::test]
async fn one_that_goes_while_its_intent_can_not_be_written_is_on_record_once_it_can() {
    for alone in [true, false] {
        let trail = fixture();
        let pending = begin_forwarded(&trail).await.unwrap();
        trail.store.shut(true);
        let begun = async move {
            match alone {
                true => pending.recorded().await,
                false => begin_send(&pending).await.map(drop),
            }
        };
        drop(started(Box::pin(begun)).await);
        trail.store.fail(true);
        trail.store.shut(false);
        assert!(trail.begin().await.is_err(), "the writer has come past it");
        trail.store.fail(false);
        trail.written(2).await;
        assert_eq!(trail.story(), ["call", "Cancelled: 0 sends, sent no"]);
    }
}

#[tokio::test]
async fn while_the_trail_can_not_be_written_each_is_refused_before_anything_comes_of_it() {
    let trail = fixture();
    trail.store.fail(true);
    assert!(trail.begin().await.is_err());
    for _ in 0..100 {
        assert!(matches!(begin_forwarded(&trail).await, Err(AuditError::Unavailable(_))));
    }
    trail.store.fail(false);
    let first = begin_forwarded(&trail).await.unwrap();
    assert_eq!(story(&*trail.store), ["call"], "it has shown that the trail can be written");
    drop(first);
    let second = begin_forwarded(&trail).await.unwrap();
    second.finish(Outcome::failed(Code::Denied), ()).await.unwrap();
    let ends = ["call", "Cancelled: 0 sends, sent no", "call", "Failed: 0 sends, sent no"];
    assert_eq!(trail.story(), ends, "and nothing of those that were refused");
}

#[tokio::test]
async fn where_the_disk_stands_still_refused_requests_fill_the_queue_no_further_than_intents_do() {
    let trail = fixture();
    trail.store.shut(true);
    // The first is with the writer, which waits.
    let waiting = started(Box::pin(trail.begin())).await;
    trail.taken().await;
    for _ in 0..INTENTS_MAX {
        begin_forwarded(&trail).await.unwrap().send_refused("stripe", Code::Denied, SendKnown::default());
    }
    for _ in 0..3 {
        assert!(matches!(begin_forwarded(&trail).await, Err(AuditError::Full)));
    }
    assert_eq!(trail.audit.trail.queue.len(), 2 * INTENTS_MAX, "what was refused, and the end of its call");
    trail.store.shut(false);
    drop(waiting.await.unwrap());
    assert_eq!(trail.story().len(), 3 * INTENTS_MAX + 2);
}
