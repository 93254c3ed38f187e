use super::*;

#[test]
fn what_was_granted_is_used_once() {
    in_both(|world| {
        let ask = ask("acme", 1, "pay");
        let id = world.granted(&ask);
        let approved = world.claim(&id, &ask).unwrap();
        assert_eq!(approved, Approved { id: id.clone(), approvers: vec![name("alice")] });
        assert!(matches!(world.claim(&id, &ask), Err(ClaimError::Used)));
        assert_eq!(world.state(&id), ApprovalState::Used);
    });
}

#[test]
fn no_other_request_can_use_it_and_none_hears_how_it_stands() {
    in_both(|world| {
        let mine = ask("acme", 1, "pay");
        let (other_bytes, other_token, other_tenant) =
            (ask("acme", 1, "pay more"), ask("acme", 2, "pay"), ask("beta", 1, "pay"));
        let moved = ApprovalAsk { realm: realm("beta"), ..mine.clone() };
        let id = world.asked(&mine);
        let probe = |when: &str| {
            for other in [&other_bytes, &other_token, &other_tenant, &moved] {
                assert!(matches!(world.claim(&id, other), Err(ClaimError::Unknown)), "{when} {other:?}");
            }
            assert!(matches!(world.claim(&ApprovalId::fresh(), &mine), Err(ClaimError::Unknown)), "{when}");
        };
        probe("pending");
        assert!(matches!(world.claim(&id, &mine), Err(ClaimError::Pending)));
        world.approvals.decide(&id, &name("alice"), true).unwrap();
        probe("granted");
        world.claim(&id, &mine).unwrap();
        probe("used");
        let denied = world.asked(&ask("acme", 1, "pay much"));
        world.approvals.decide(&denied, &name("alice"), false).unwrap();
        assert!(matches!(world.claim(&denied, &mine), Err(ClaimError::Unknown)));
        assert!(matches!(world.claim(&denied, &ask("acme", 1, "pay much")), Err(ClaimError::Denied)));
    });
}

#[test]
fn its_time_ends_whether_granted_or_not() {
    in_both(|world| {
        let (first, second) = (ask("acme", 1, "a"), ask("acme", 1, "b"));
        let (pending, granted) = (world.asked(&first), world.granted(&second));
        world.clock.advance(TTL - Duration::from_millis(1));
        assert!(matches!(world.claim(&pending, &first), Err(ClaimError::Pending)));
        world.clock.advance(Duration::from_millis(1));
        for (id, ask) in [(&pending, &first), (&granted, &second)] {
            assert!(matches!(world.claim(id, ask), Err(ClaimError::Expired)));
            assert_eq!(world.state(id), ApprovalState::Expired);
        }
        for yes in [true, false] {
            let late = world.approvals.decide(&pending, &name("alice"), yes);
            assert!(matches!(late, Err(DecideError::Expired)), "{yes}");
        }
        assert_ne!(world.asked(&first), pending, "it can be asked anew");
    });
}

#[test]
fn one_no_denies_and_stays() {
    in_both(|world| {
        let ask = ApprovalAsk { quorum: 2, ..ask("acme", 1, "pay") };
        let id = world.asked(&ask);
        assert_eq!(world.approvals.decide(&id, &name("alice"), true).unwrap(), ApprovalState::Pending);
        assert_eq!(world.approvals.decide(&id, &name("bob"), false).unwrap(), ApprovalState::Denied);
        assert!(matches!(world.claim(&id, &ask), Err(ClaimError::Denied)));
        for yes in [true, false] {
            let again = world.approvals.decide(&id, &name("carol"), yes);
            assert!(matches!(again, Err(DecideError::Decided(ApprovalState::Denied))), "{yes}");
        }
        let again = world.approvals.request(&ask).unwrap();
        assert_eq!((again.id, again.state, again.fresh), (id, ApprovalState::Denied, false));
    });
}

#[test]
fn what_is_decided_or_used_is_not_decided_again() {
    in_both(|world| {
        let ask = ask("acme", 1, "pay");
        let id = world.granted(&ask);
        for (yes, by) in [(true, "bob"), (false, "bob"), (false, "alice")] {
            let again = world.approvals.decide(&id, &name(by), yes);
            assert!(matches!(again, Err(DecideError::Decided(ApprovalState::Granted))));
        }
        world.claim(&id, &ask).unwrap();
        let again = world.approvals.decide(&id, &name("bob"), false);
        assert!(matches!(again, Err(DecideError::Decided(ApprovalState::Used))));
        let unknown = world.approvals.decide(&ApprovalId::fresh(), &name("bob"), true);
        assert!(matches!(unknown, Err(DecideError::Unknown)));
    });
}

#[test]
fn a_quorum_is_of_people() {
    in_both(|world| {
        let ask = ApprovalAsk { quorum: 3, ..ask("acme", 1, "pay") };
        let id = world.asked(&ask);
        let yes = |by: &str| world.approvals.decide(&id, &name(by), true);
        assert_eq!(yes("alice").unwrap(), ApprovalState::Pending);
        for same in ["alice", "ALICE", "Alice"] {
            assert!(matches!(yes(same), Err(DecideError::Twice)), "{same}");
        }
        assert_eq!(yes("bob").unwrap(), ApprovalState::Pending);
        assert!(matches!(world.claim(&id, &ask), Err(ClaimError::Pending)));
        assert_eq!(yes("carol").unwrap(), ApprovalState::Granted);
        let names: Vec<_> = ["alice", "bob", "carol"].map(name).into();
        assert_eq!(world.claim(&id, &ask).unwrap().approvers, names);
    });
}

#[test]
fn a_quorum_of_nobody_is_one() {
    in_both(|world| {
        let ask = ApprovalAsk { quorum: 0, ..ask("acme", 1, "pay") };
        let id = world.asked(&ask);
        assert!(matches!(world.claim(&id, &ask), Err(ClaimError::Pending)));
    });
}

#[test]
fn whoever_agreed_may_still_say_no() {
    in_both(|world| {
        let ask = ApprovalAsk { quorum: 2, ..ask("acme", 1, "pay") };
        let id = world.asked(&ask);
        world.approvals.decide(&id, &name("alice"), true).unwrap();
        assert_eq!(world.approvals.decide(&id, &name("alice"), false).unwrap(), ApprovalState::Denied);
    });
}

#[test]
fn nobody_approves_their_own() {
    in_both(|world| {
        let id = world.asked(&ask("acme", 1, "pay"));
        for own in ["billing", "Billing", "BILLING", "minter", "MINTER"] {
            let decided = world.approvals.decide(&id, &name(own), true);
            assert!(matches!(decided, Err(DecideError::Own)), "{own}");
        }
        assert_eq!(world.state(&id), ApprovalState::Pending);
        // Taking one's own request back harms nobody.
        assert_eq!(world.approvals.decide(&id, &name("minter"), false).unwrap(), ApprovalState::Denied);
    });
}

#[test]
fn the_same_request_asks_once() {
    in_both(|world| {
        let ask = ask("acme", 1, "pay");
        let first = world.approvals.request(&ask).unwrap();
        assert!(first.fresh);
        for _ in 0..50 {
            let again = world.approvals.request(&ask).unwrap();
            assert_eq!(again, Asked { fresh: false, ..first.clone() });
        }
        world.approvals.decide(&first.id, &name("alice"), true).unwrap();
        assert_eq!(world.approvals.request(&ask).unwrap().state, ApprovalState::Granted);
        world.claim(&first.id, &ask).unwrap();
        assert!(world.approvals.request(&ask).unwrap().fresh, "what was used up is asked for anew");
    });
}

#[test]
fn a_loop_fills_its_own_list_and_no_more() {
    in_both(|world| {
        let ids: Vec<_> = (0..3).map(|n| world.asked(&ask("acme", 1, &n.to_string()))).collect();
        let full = |token, what: &str, of: &str| match world.approvals.request(&ask("acme", token, what)) {
            Err(ApprovalError::TooMany { of: which, .. }) => assert_eq!(which, of),
            other => panic!("{other:?}"),
        };
        full(1, "one more", "token");
        // A no makes no room for the next attempt, and neither does asking the same.
        world.approvals.decide(&ids[0], &name("alice"), false).unwrap();
        full(1, "one more", "token");
        assert_eq!(world.approvals.request(&ask("acme", 1, "1")).unwrap().id, ids[1]);
        // A yes does.
        world.approvals.decide(&ids[1], &name("alice"), true).unwrap();
        world.asked(&ask("acme", 1, "one more"));
        // The environment's limit holds over its tokens; another tenant's and another environment's aren't touched.
        for token in 2..5 {
            world.asked(&ask("acme", token, "x"));
        }
        full(5, "x", "environment");
        world.asked(&ask("beta", 6, "x"));
        let test = Realm { environment: "test".parse().unwrap(), ..realm("acme") };
        world.asked(&ApprovalAsk { realm: test, ..ask("acme", 7, "x") });
        full(5, "x", "environment");
        world.clock.advance(TTL);
        world.asked(&ask("acme", 1, "later"));
    });
}

#[test]
fn what_is_handed_on_brings_no_other_list() {
    in_both(|world| {
        let below = |token: u8, what: &str| ApprovalAsk { root: token_id(1), ..ask("acme", token, what) };
        world.asked(&ask("acme", 1, "a"));
        let denied = world.asked(&below(2, "b"));
        world.approvals.decide(&denied, &name("alice"), false).unwrap();
        world.asked(&below(3, "c"));
        for ask in [ask("acme", 1, "d"), below(2, "d"), below(4, "d")] {
            let refused = world.approvals.request(&ask);
            assert!(matches!(refused, Err(ApprovalError::TooMany { of: "token", .. })), "{refused:?}");
        }
        world.asked(&ask("acme", 5, "d"));
    });
}

#[test]
fn approvals_are_listed_by_tenant_and_state() {
    in_both(|world| {
        let mut ids = Vec::new();
        for (tenant, what) in [("acme", "a"), ("acme", "b"), ("acme", "c"), ("beta", "d")] {
            ids.push(world.asked(&ask(tenant, if tenant == "acme" { 1 } else { 2 }, what)));
            world.clock.advance(Duration::from_secs(1));
        }
        world.approvals.decide(&ids[0], &name("alice"), false).unwrap();
        world.approvals.decide(&ids[1], &name("alice"), true).unwrap();
        let acme = Reach::every("acme".parse().unwrap());
        let list = |reach, state, limit| -> Vec<_> {
            world.approvals.list(reach, state, limit).unwrap().into_iter().map(|row| row.id).collect()
        };
        assert_eq!(list(None, None, 9), [3, 2, 1, 0].map(|n: usize| ids[n].clone()));
        assert_eq!(list(Some(&acme), None, 2), [2, 1].map(|n: usize| ids[n].clone()));
        assert_eq!(list(Some(&acme), Some(ApprovalState::Pending), 9), [ids[2].clone()]);
        assert_eq!(list(Some(&acme), Some(ApprovalState::Granted), 9), [ids[1].clone()]);
        assert_eq!(list(Some(&acme), Some(ApprovalState::Denied), 9), [ids[0].clone()]);
        world.claim(&ids[1], &ask("acme", 1, "b")).unwrap();
        world.clock.advance(TTL);
        assert_eq!(list(None, Some(ApprovalState::Used), 9), [ids[1].clone()]);
        assert_eq!(list(None, Some(ApprovalState::Expired), 9), [3, 2].map(|n: usize| ids[n].clone()));
        assert_eq!(list(None, Some(ApprovalState::Pending), 9), []);
        assert_eq!(world.approvals.get(Some(&acme), &ids[3]).unwrap(), None);
    });
}

#[test]
fn old_ones_are_forgotten_by_the_store() {
    in_both(|world| {
        let id = world.asked(&ask("acme", 1, "a"));
        world.clock.advance(TTL + KEPT - Duration::from_millis(1));
        let newer = world.asked(&ask("acme", 1, "b"));
        world.approvals.forget_over().unwrap();
        assert!(world.approvals.get(None, &id).unwrap().is_some());
        world.clock.advance(Duration::from_millis(1));
        world.approvals.forget_over().unwrap();
        assert!(world.approvals.get(None, &id).unwrap().is_none());
        assert!(world.approvals.get(None, &newer).unwrap().is_some());
    });
}

#[test]
fn what_approvers_read_is_sealed_and_a_swapped_note_does_not_open() {
    let world = in_sqlite();
    let (small, large) = (ask("acme", 1, "pay 5 to cus_alice"), ask("acme", 1, "pay 5000 to cus_mallory"));
    let (a, b) = (world.asked(&small), world.asked(&large));
    let row = |id| world.approvals.get(None, id).unwrap().unwrap();
    assert_eq!(world.approvals.note(&row(&a)).unwrap(), small.note);
    for entry in std::fs::read_dir(world._folder.as_ref().unwrap().path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(9).any(|part| part == b"cus_alice"));
    }
    // Someone who can write the file shows the approver another request than the one that would be sent.
    let swapped = ApprovalRow { note: row(&a).note, ..row(&b) };
    assert!(matches!(world.approvals.note(&swapped), Err(ApprovalError::Note(_))));
}

#[test]
fn a_damaged_row_is_damage_and_no_approval() {
    let world = in_sqlite();
    let ask = ask("acme", 1, "pay");
    let id = world.asked(&ask);
    let path = world._folder.as_ref().unwrap().path().join("control.db");
    let tamper = rusqlite::Connection::open(path).unwrap();
    for sql in [
        "UPDATE approvals SET stage = 'approved'",
        "UPDATE approvals SET stage = 'granted', votes = '[{\"by\": \"a b\", \"yes\": true, \"at\": 1}]'",
        "UPDATE approvals SET votes = '[]', fingerprint = 'x'",
    ] {
        tamper.execute_batch(sql).unwrap();
        assert!(matches!(world.claim(&id, &ask), Err(ClaimError::Store(StoreError::Damaged(_)))), "{sql}");
    }
}

#[test]
fn what_it_is_about_is_read_back() {
    in_both(|world| {
        let tool: crate::ids::ToolName = "run_python".parse().unwrap();
        let api = About::Api { action: "call".to_owned(), resource: "api://tasks/7".to_owned() };
        for (number, about) in
            [api, About::Call { tool: tool.clone() }, About::Code { tool }].into_iter().enumerate()
        {
            let id =
                world.asked(&ApprovalAsk { about: about.clone(), ..ask("acme", 1, &number.to_string()) });
            assert_eq!(world.approvals.get(None, &id).unwrap().unwrap().about, about);
        }
    });
}
