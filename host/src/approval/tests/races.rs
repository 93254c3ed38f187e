//! Many at once: exactly one wins.

use std::sync::Barrier;

use super::*;

#[test]
fn of_many_claims_at_once_one_wins() {
    in_both(|world| {
        for round in 0..10 {
            let ask = ask("acme", 1, &round.to_string());
            let id = world.granted(&ask);
            let start = Barrier::new(8);
            let won = std::thread::scope(|scope| {
                let claims: Vec<_> = (0..8)
                    .map(|_| {
                        scope.spawn(|| {
                            start.wait();
                            match world.claim(&id, &ask) {
                                Ok(_) => 1,
                                Err(ClaimError::Used) => 0,
                                Err(other) => panic!("{other}"),
                            }
                        })
                    })
                    .collect();
                claims.into_iter().map(|claim| claim.join().unwrap()).sum::<u32>()
            });
            assert_eq!(won, 1);
        }
    });
}

#[test]
fn of_claims_by_several_hosts_one_wins() {
    let folder = tempfile::tempdir().unwrap();
    let host = || {
        // What another process has: its own connections to the file, and nothing shared in memory.
        let store = SqliteControl::open(&folder.path().join("control.db")).unwrap();
        approvals(Arc::new(store), Arc::new(ManualClock::at(START)))
    };
    let hosts = [host(), host(), host(), host()];
    for round in 0..10 {
        let ask = ask("acme", 1, &round.to_string());
        let id = hosts[0].request(&ask).unwrap().id;
        assert_eq!(hosts[1].decide(&id, &name("alice"), true).unwrap(), ApprovalState::Granted);
        let start = Barrier::new(hosts.len());
        let won = std::thread::scope(|scope| {
            let claims: Vec<_> = hosts
                .iter()
                .map(|host| {
                    let (start, ask, id) = (&start, &ask, &id);
                    scope.spawn(move || {
                        start.wait();
                        match host.claim(&ask.realm, id, ask.fingerprint) {
                            Ok(_) => 1,
                            Err(ClaimError::Used) => 0,
                            Err(other) => panic!("{other}"),
                        }
                    })
                })
                .collect();
            claims.into_iter().map(|claim| claim.join().unwrap()).sum::<u32>()
        });
        assert_eq!(won, 1);
    }
}

#[test]
fn a_yes_and_a_no_at_once_leave_one_decision() {
    in_both(|world| {
        for round in 0..10 {
            let ask = ask("acme", round, "x");
            let id = world.asked(&ask);
            let start = Barrier::new(2);
            let decided = std::thread::scope(|scope| {
                let one = |by: &'static str, yes| {
                    let (world, id, start) = (&world, &id, &start);
                    scope.spawn(move || {
                        start.wait();
                        world.approvals.decide(id, &name(by), yes).ok()
                    })
                };
                let (yes, no) = (one("alice", true), one("bob", false));
                [yes.join().unwrap(), no.join().unwrap()]
            });
            let counted: Vec<_> = decided.into_iter().flatten().collect();
            assert_eq!(counted, [world.state(&id)]);
            assert_eq!(world.approvals.get(None, &id).unwrap().unwrap().votes.len(), 1);
            world.clock.advance(TTL);
        }
    });
}

#[test]
fn the_same_request_at_once_asks_once() {
    in_both(|world| {
        let ask = ask("acme", 1, "pay");
        let start = Barrier::new(8);
        let mut asked = std::thread::scope(|scope| {
            let asking: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        world.approvals.request(&ask).unwrap()
                    })
                })
                .collect();
            asking.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(asked.iter().filter(|one| one.fresh).count(), 1);
        asked.dedup_by_key(|one| one.id.clone());
        assert_eq!(asked.len(), 1);
    });
}
