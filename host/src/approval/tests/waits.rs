//! Waiting for a decision.

use std::time::Instant as Wall;

use super::*;

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

fn waiting(
    world: &Arc<Approvals>,
    id: &ApprovalId,
    until: Instant,
) -> tokio::task::JoinHandle<Option<ApprovalState>> {
    let (approvals, id) = (world.clone(), id.clone());
    tokio::spawn(async move { approvals.wait(&id, until).await.unwrap() })
}

#[tokio::test]
async fn a_decision_in_this_process_wakes_at_once() {
    for yes in [true, false] {
        let world = in_sqlite();
        let id = world.asked(&ask("acme", 1, "pay"));
        let waiter = waiting(&world.approvals, &id, soon());
        tokio::task::yield_now().await;
        let decided = world.approvals.decide(&id, &name("alice"), yes).unwrap();
        let before = Wall::now();
        assert_eq!(waiter.await.unwrap(), Some(decided));
        assert!(before.elapsed() < Duration::from_secs(5));
    }
}

#[tokio::test]
async fn a_decision_by_another_process_is_seen_soon() {
    let folder = tempfile::tempdir().unwrap();
    let host = || {
        let store = SqliteControl::open(&folder.path().join("control.db")).unwrap();
        approvals(Arc::new(store), Arc::new(ManualClock::at(START)))
    };
    let (here, there) = (host(), host());
    let mut took = Vec::new();
    for round in 0..5 {
        let id = here.request(&ask("acme", round, "pay")).unwrap().id;
        let waiter = waiting(&here, &id, soon());
        tokio::time::sleep(Duration::from_millis(30)).await;
        there.decide(&id, &name("alice"), true).unwrap();
        let before = Wall::now();
        assert_eq!(waiter.await.unwrap(), Some(ApprovalState::Granted));
        took.push(before.elapsed());
    }
    took.sort_unstable();
    // A machine under load may be late; the poll is what is tested, and without it the wait would be for ten seconds.
    assert!(took[0] < Duration::from_millis(500), "{took:?}");
}

#[tokio::test]
async fn the_wait_ends_at_its_deadline_or_at_the_approval_s_expiry() {
    let world = in_memory();
    let id = world.asked(&ask("acme", 1, "pay"));
    let until = Instant::now() + Duration::from_millis(40);
    assert_eq!(world.approvals.wait(&id, until).await.unwrap(), Some(ApprovalState::Pending));
    assert!(Instant::now() >= until);
    world.clock.advance(TTL - Duration::from_millis(20));
    let waiter = waiting(&world.approvals, &id, soon());
    tokio::task::yield_now().await;
    world.clock.advance(Duration::from_millis(20));
    assert_eq!(waiter.await.unwrap(), Some(ApprovalState::Expired));
    assert_eq!(world.approvals.wait(&ApprovalId::fresh(), soon()).await.unwrap(), None);
}

#[tokio::test]
async fn what_is_decided_already_is_not_waited_for() {
    let world = in_memory();
    let id = world.granted(&ask("acme", 1, "pay"));
    let past = Instant::now();
    assert_eq!(world.approvals.wait(&id, past).await.unwrap(), Some(ApprovalState::Granted));
}
