//! Calls at once.

use super::*;
use crate::ledger::CallLimit;
use crate::store::sqlite::SqliteAudit;

fn limits(calls_max: u32) -> Vec<CallLimit> {
    ["billing-bot", "boss"].map(|agent| CallLimit { agent: agent.parse().unwrap(), calls_max }).into()
}

async fn begin_within(audit: &Audit, limits: &[CallLimit]) -> Result<Pending, AuditError> {
    Pending::begin(&audit.trail, CallId::fresh(Millis(0)), realm(), Event::CallBegun(intent()), limits).await
}

async fn end(pending: Pending) {
    pending.finish(Outcome::ok(b"{}"), ()).await.unwrap();
}

#[tokio::test]
async fn a_place_is_taken_with_the_intent_and_given_back_with_the_outcome() {
    let trail = fixture();
    let two = limits(2);
    let first = begin_within(&trail.audit, &two).await.unwrap();
    let second = begin_within(&trail.audit, &two).await.unwrap();
    for _ in 0..3 {
        assert!(matches!(begin_within(&trail.audit, &two).await, Err(AuditError::TooManyCalls)));
    }
    end(first).await;
    let third = begin_within(&trail.audit, &two).await.unwrap();
    // One that is dropped is over as well.
    drop(second);
    let fourth = begin_within(&trail.audit, &two).await.unwrap();
    assert!(begin_within(&trail.audit, &two).await.is_err());
    // A lower limit holds for those that come; a boss who hands work on has no place left either.
    assert!(begin_within(&trail.audit, &limits(1)[1..]).await.is_err());
    end(third).await;
    end(fourth).await;
    assert!(begin_within(&trail.audit, &limits(0)).await.is_err());
    let refused = trail.story().iter().filter(|row| *row == "call refused: rate_limited").count();
    assert_eq!(refused, 6);
}

#[tokio::test]
async fn two_hosts_share_the_places_and_a_start_gives_back_what_a_dead_one_had() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(Millis(1_700_000_000_000)));
    let host = || {
        let store = Arc::new(SqliteAudit::open(&folder.path().join("audit.db")).unwrap());
        Audit::start(store, clock.clone()).unwrap()
    };
    let (one, two) = (host(), host());
    let held = begin_within(&one, &limits(1)).await.unwrap();
    assert!(matches!(begin_within(&two, &limits(1)).await, Err(AuditError::TooManyCalls)));
    // As a host that is killed: its outcome is never written.
    std::mem::forget(held);
    let next = host();
    assert_eq!(next.recover().unwrap(), 1);
    end(begin_within(&next, &limits(1)).await.unwrap()).await;
}

#[tokio::test]
async fn a_place_whose_return_can_not_be_written_is_returned_later() {
    let trail = fixture();
    let pending = begin_within(&trail.audit, &limits(1)).await.unwrap();
    trail.store.fail(true);
    assert!(pending.finish(Outcome::ok(b"{}"), ()).await.is_err());
    assert!(begin_within(&trail.audit, &limits(1)).await.is_err());
    trail.store.fail(false);
    end(begin_within(&trail.audit, &limits(1)).await.unwrap()).await;
}
