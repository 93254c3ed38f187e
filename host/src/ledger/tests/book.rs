use super::*;
use crate::ledger::Settlement;
use crate::ledger::book::PRUNED_MAX;
use crate::ledger::{
    AMOUNT_MAX, Resolved, finish, forget_tokens, hold, no_room, prune, recover, refuse, release, reserve,
    resolve, settle,
};
use crate::reach::Reach;
use crate::store::{CounterRow, WriteRow, WriteState};

fn of(reserved: u64, held: u64, settled: u64) -> Tally {
    Tally { reserved, held, settled }
}

fn usd(limit: u64, amount: u64) -> Line {
    line("tenant", "usd", Window::Total, limit, amount)
}

#[test]
fn what_is_reserved_counts_until_it_is_settled_released_or_held() {
    on_both(|store| {
        let one = usd(100, 40);
        assert_eq!(within(store, |tx| reserve(tx, &reservation(1, [one.clone()]))), Reserved::Yes);
        assert_eq!(within(store, |tx| reserve(tx, &reservation(2, [one.clone()]))), Reserved::Yes);
        assert_eq!(tally(store, &one), of(80, 0, 0));
        let refused = within(store, |tx| reserve(tx, &reservation(3, [usd(100, 21)])));
        let Reserved::OverBudget(shortfall) = refused else { panic!("{refused:?}") };
        assert_eq!((shortfall.asked, shortfall.left, shortfall.limit), (21, 20, 100));
        assert!(within(store, |tx| settle(tx, &id(1), None, Some(200), None)));
        assert!(within(store, |tx| hold(tx, &id(2))));
        assert_eq!(tally(store, &one), of(0, 40, 40));
        assert_eq!(within(store, |tx| reserve(tx, &reservation(4, [usd(100, 20)]))), Reserved::Yes);
        assert!(within(store, |tx| release(tx, &id(4))));
        assert_eq!(tally(store, &one), of(0, 40, 40));
        assert_eq!(entries(store).len(), 1);
    });
}

#[test]
fn what_has_room_by_what_is_counted_is_what_reserving_says() {
    on_both(|store| {
        assert_eq!(within(store, |tx| reserve(tx, &reservation(1, [usd(100, 40)]))), Reserved::Yes);
        assert!(within(store, |tx| settle(tx, &id(1), Some(30), Some(200), None)));
        for (amount, fits) in [(70, true), (71, false), (u64::MAX, false)] {
            let said = within(store, |tx| reserve(tx, &reservation(2, [usd(100, amount)])));
            assert_eq!(no_room(&usd(100, amount), 30).unwrap_or(Reserved::Yes), said, "{amount}");
            assert_eq!(said == Reserved::Yes, fits, "{amount}");
            within(store, |tx| release(tx, &id(2)));
        }
    });
}

#[test]
fn a_refused_line_leaves_no_trace_in_the_others() {
    on_both(|store| {
        let (wide, narrow) = (usd(1_000, 50), line("agent", "usd", Window::Total, 49, 50));
        let refused = within(store, |tx| reserve(tx, &reservation(1, [wide.clone(), narrow.clone()])));
        assert!(matches!(refused, Reserved::OverBudget(_)));
        assert_eq!(store.counters().unwrap(), []);
        assert_eq!(entries(store), []);
    });
}

#[test]
fn the_last_minor_unit_may_be_spent_and_not_one_more() {
    on_both(|store| {
        assert_eq!(within(store, |tx| reserve(tx, &reservation(1, [usd(100, 99)]))), Reserved::Yes);
        assert_eq!(within(store, |tx| reserve(tx, &reservation(2, [usd(100, 1)]))), Reserved::Yes);
        let over = within(store, |tx| reserve(tx, &reservation(3, [usd(100, 1)])));
        assert!(matches!(over, Reserved::OverBudget(_)));
    });
}

#[test]
fn a_sum_that_would_overflow_is_refused() {
    on_both(|store| {
        let most = AMOUNT_MAX;
        assert_eq!(within(store, |tx| reserve(tx, &reservation(1, [usd(most, most)]))), Reserved::Yes);
        for amount in [1, most, u64::MAX] {
            let over = within(store, |tx| reserve(tx, &reservation(2, [usd(u64::MAX, amount)])));
            assert!(matches!(over, Reserved::OverBudget(_)), "{amount}");
        }
        // Confirmed is counted as it is, up to what can be counted; then nothing fits any more.
        within(store, |tx| settle(tx, &id(1), Some(u64::MAX), Some(200), None));
        assert_eq!(tally(store, &usd(most, 1)), of(0, 0, most));
        let over = within(store, |tx| reserve(tx, &reservation(3, [usd(most, 1)])));
        assert!(matches!(over, Reserved::OverBudget(_)));
    });
}

#[test]
fn a_confirmed_amount_frees_the_difference_or_counts_beyond_the_limit() {
    on_both(|store| {
        let money = usd(100, 60);
        let count = line("tenant", "requests", Window::Day, 5, 1);
        for (number, confirmed) in [(1, 25), (2, 90)] {
            let asked = reservation(number, [money.clone(), count.clone()]);
            assert_eq!(within(store, |tx| reserve(tx, &asked)), Reserved::Yes);
            within(store, |tx| settle(tx, &id(number), Some(confirmed), Some(200), None));
        }
        assert_eq!(tally(store, &money), of(0, 0, 115));
        // The amount is money: it isn't a number of requests.
        assert_eq!(tally(store, &count), of(0, 0, 2));
        assert!(matches!(
            within(store, |tx| reserve(tx, &reservation(3, [usd(100, 1)]))),
            Reserved::OverBudget(_)
        ));
    });
}

#[test]
fn each_end_gives_back_what_it_should() {
    // How money, a request and a place among those at once stand after each end.
    let table = [
        (Settlement::Settle { confirmed: None }, (of(0, 0, 9), of(0, 0, 1), of(0, 0, 0))),
        (Settlement::Release, (of(0, 0, 0), of(0, 0, 0), of(0, 0, 0))),
        (Settlement::Refused, (of(0, 0, 0), of(0, 0, 1), of(0, 0, 0))),
        (Settlement::Hold, (of(0, 9, 0), of(0, 0, 1), of(0, 0, 0))),
    ];
    for (settlement, (money, request, at_once)) in table {
        on_both(|store| {
            let lines = [
                usd(100, 9),
                line("tenant", "requests", Window::Minute, 3, 1),
                line("tenant", "requests", Window::AtOnce, 1, 1),
            ];
            let first = reservation(1, lines.clone());
            assert_eq!(within(store, |tx| reserve(tx, &first)), Reserved::Yes);
            let second = within(store, |tx| reserve(tx, &reservation(2, lines.clone())));
            assert!(matches!(second, Reserved::RateLimited(s) if s.window == Window::AtOnce));
            assert!(within(store, |tx| finish(tx, &id(1), settlement, Some(200), None)));
            let after: Vec<_> = lines.iter().map(|line| tally(store, line)).collect();
            assert_eq!(after, [money, request, at_once], "{settlement:?}");
        });
    }
}

#[test]
fn an_end_counts_once() {
    on_both(|store| {
        let money = usd(100, 40);
        assert_eq!(within(store, |tx| reserve(tx, &reservation(1, [money.clone()]))), Reserved::Yes);
        assert!(within(store, |tx| settle(tx, &id(1), None, Some(200), None)));
        for again in [
            within(store, |tx| settle(tx, &id(1), None, Some(200), None)),
            within(store, |tx| release(tx, &id(1))),
            within(store, |tx| refuse(tx, &id(1))),
            within(store, |tx| hold(tx, &id(1))),
        ] {
            assert!(!again);
        }
        assert_eq!(tally(store, &money), of(0, 0, 40));
    });
}

#[test]
fn a_number_is_reserved_under_once() {
    on_both(|store| {
        let asked = reservation(1, [usd(100, 40)]);
        assert_eq!(within(store, |tx| reserve(tx, &asked)), Reserved::Yes);
        let again = store.ledger(&mut |tx| reserve(tx, &asked).map(drop));
        assert!(matches!(again, Err(StoreError::Exists(_))));
        assert_eq!(tally(store, &usd(100, 40)), of(40, 0, 0));
    });
}

#[test]
fn a_transaction_that_fails_counts_nothing() {
    on_both(|store| {
        let failed = store.ledger(&mut |tx| {
            assert_eq!(reserve(tx, &reservation(1, [usd(100, 40)]))?, Reserved::Yes);
            Err(StoreError::Failed("the disk is full".to_owned()))
        });
        assert!(failed.is_err());
        assert_eq!((store.counters().unwrap(), entries(store)), (vec![], vec![]));
        // Nor does anything remember it.
        assert!(!within(store, |tx| settle(tx, &id(1), None, None, None)));
        assert_eq!(within(store, |tx| reserve(tx, &reservation(1, [usd(100, 100)]))), Reserved::Yes);
        let failed = store.ledger(&mut |tx| {
            assert!(release(tx, &id(1))?);
            Err(StoreError::Failed("the disk is full".to_owned()))
        });
        assert!(failed.is_err());
        let over = within(store, |tx| reserve(tx, &reservation(2, [usd(100, 1)])));
        assert!(matches!(over, Reserved::OverBudget(_)));
    });
}

#[test]
fn an_operator_resolves_what_is_held_and_nothing_else() {
    on_both(|store| {
        let money = usd(1_000, 100);
        for number in 1..=3 {
            assert_eq!(within(store, |tx| reserve(tx, &reservation(number, [money.clone()]))), Reserved::Yes);
        }
        assert_eq!(within(store, |tx| resolve(tx, &id(1), true, None)), Resolved::UnderWay);
        assert_eq!(within(store, |tx| resolve(tx, &id(9), true, None)), Resolved::Unknown);
        within(store, |tx| hold(tx, &id(1)));
        within(store, |tx| hold(tx, &id(2)));
        assert!(matches!(within(store, |tx| resolve(tx, &id(1), true, Some(70))), Resolved::Done(_)));
        assert_eq!(tally(store, &money), of(100, 100, 70));
        assert!(matches!(within(store, |tx| resolve(tx, &id(2), false, None)), Resolved::Done(_)));
        assert_eq!(tally(store, &money), of(100, 0, 70));
        assert_eq!(within(store, |tx| resolve(tx, &id(2), true, None)), Resolved::Unknown);
    });
}

#[test]
fn a_dead_host_s_money_is_held_and_its_places_are_free() {
    on_both(|store| {
        let lines = [usd(100, 60), line("tenant", "requests", Window::AtOnce, 1, 1)];
        assert_eq!(within(store, |tx| reserve(tx, &reservation(1, lines.clone()))), Reserved::Yes);
        assert_eq!(within(store, recover), 1);
        assert_eq!(within(store, recover), 0);
        assert_eq!(tally(store, &lines[0]), of(0, 60, 0));
        assert_eq!(tally(store, &lines[1]), of(0, 0, 0));
        assert!(matches!(
            within(store, |tx| reserve(tx, &reservation(2, lines.clone()))),
            Reserved::OverBudget(_)
        ));
    });
}

#[test]
fn budgets_that_count_the_same_are_one_line_with_the_smaller_limit() {
    on_both(|store| {
        let asked = reservation(1, [usd(100, 40), usd(50, 40), usd(70, 40)]);
        assert_eq!(asked.lines.iter().len(), 1);
        assert_eq!(within(store, |tx| reserve(tx, &asked)), Reserved::Yes);
        let over = within(store, |tx| reserve(tx, &reservation(2, [usd(100, 11), usd(50, 11)])));
        assert!(matches!(over, Reserved::OverBudget(s) if s.limit == 50 && s.left == 10));
    });
}

#[test]
fn a_limit_that_was_lowered_below_what_was_spent_refuses_and_gives_no_negative() {
    on_both(|store| {
        assert_eq!(within(store, |tx| reserve(tx, &reservation(1, [usd(100, 90)]))), Reserved::Yes);
        let over = within(store, |tx| reserve(tx, &reservation(2, [usd(50, 1)])));
        assert!(matches!(over, Reserved::OverBudget(s) if s.left == 0));
    });
}

#[test]
fn windows_that_are_long_over_are_pruned_and_others_stay() {
    on_both(|store| {
        let day_ms = 86_400_000;
        let ended = |name: &str, window: Window, days: i64| {
            let mut line = line(name, "usd", window, 100, 10);
            let ends = Millis(NOW.0 - days * day_ms);
            let length = if window == Window::Hour { 3_600_000 } else { day_ms };
            line.period = Period { start: Millis(ends.0 - length), ends: Some(ends) };
            line.counter.start = line.period.start;
            line
        };
        let lines = [
            ended("old hour", Window::Hour, 3),
            ended("new hour", Window::Hour, 1),
            ended("old day", Window::Day, 401),
            ended("new day", Window::Day, 399),
            usd(100, 10),
        ];
        assert_eq!(within(store, |tx| reserve(tx, &reservation(1, lines.clone()))), Reserved::Yes);
        assert_eq!(within(store, |tx| prune(tx, NOW)), 2);
        // The end of a request whose counters are gone is none the worse for it.
        assert!(within(store, |tx| hold(tx, &id(1))));
        assert!(within(store, |tx| settle(tx, &id(1), None, None, None)));
        let left: Vec<_> = lines.iter().map(|line| tally(store, line).settled).collect();
        assert_eq!(left, [0, 10, 0, 10, 10]);
    });
}

#[test]
fn no_more_is_pruned_at_once_than_calls_can_wait_for() {
    on_both(|store| {
        let many = PRUNED_MAX + 1;
        within(store, |tx| {
            for number in 0..many {
                let ends = Some(Millis(NOW.0 - 401 * 86_400_000));
                let key = CounterKey { name: format!("day {number}"), start: Millis(0) };
                tx.create(&CounterRow { key, ends, tally: of(0, 0, 1) })?;
                let mut write = [0; 32];
                write[..4].copy_from_slice(&number.to_be_bytes());
                let state = WriteState::Done { status: Some(200), reply: Some(vec![7]) };
                let row = WriteRow { reservation: id(number), at: NOW, until: NOW, state, attempt: 0 };
                tx.put_write(&write, &row)?;
                tx.insert_entry(&EntryRow {
                    id: id(number),
                    realm: realm(),
                    connection: None,
                    operation: None,
                    cost: None,
                    at: NOW,
                    state: EntryState::Held,
                    lines: vec![],
                    write: None,
                })?;
            }
            Ok(())
        });
        let pruned = [(); 3].map(|()| within(store, |tx| prune(tx, NOW)));
        assert_eq!(pruned, [3 * u64::from(PRUNED_MAX), 3, 0]);
        assert_eq!((store.counters().unwrap(), entries(store)), (vec![], vec![]));
    });
}

#[test]
fn what_a_token_that_is_gone_spent_in_all_is_removed_and_nothing_else() {
    on_both(|store| {
        let name = |environment: &str, subject: &str, window: &str| {
            format!(r#"["acme","{environment}","{subject}","usd","{window}",null,null,null,null]"#)
        };
        let (gone, other) = (TokenId::fresh(), TokenId::fresh());
        let (total, end) = (name("production", &format!("token:{gone}"), "total"), Some(Millis(10)));
        let kept = [
            (name("production", &format!("token:{gone}"), "day"), end),
            (name("production", &format!("token:{other}"), "total"), None),
            (name("staging", &format!("token:{gone}"), "total"), None),
            (name("production", &format!("conversation:{gone}"), "total"), None),
        ];
        let counter = |name: &String| CounterKey { name: name.clone(), start: Millis(0) };
        let first = within(store, |tx| {
            for (name, ends) in &kept {
                tx.create(&CounterRow { key: counter(name), ends: *ends, tally: of(0, 0, 1) })?;
            }
            tx.create(&CounterRow { key: counter(&total), ends: None, tally: of(0, 10, 1) })
        });
        within(store, |tx| forget_tokens(tx, &[(realm(), gone.clone())]));
        assert_eq!(within(store, |tx| tx.find(&counter(&total))), None);
        assert_eq!(within(store, |tx| tx.tally(first)), None);
        assert_eq!(store.counters().unwrap().len(), kept.len());
        for (name, _) in &kept {
            assert!(within(store, |tx| tx.find(&counter(name))).is_some(), "{name}");
        }
    });
}

#[test]
fn counters_whose_window_is_not_over_are_listed_within_a_reach() {
    on_both(|store| {
        let name = |tenant: &str, environment: &str, subject: &str| {
            format!(r#"["{tenant}","{environment}","{subject}","usd","total",null,null,null,null]"#)
        };
        let rows = [
            (name("acme", "dev", "tenant"), 0, Some(10)),
            (name("acme", "dev", "tenant"), 10, Some(20)),
            (name("acme", "dev", "customer:é\u{10ffff}"), 0, None),
            (name("acme", "dev2", "tenant"), 0, None),
            (name("acme2", "dev", "tenant"), 0, None),
            ("damaged".to_owned(), 0, None),
        ];
        within(store, |tx| {
            for (name, start, ends) in rows.clone() {
                let key = CounterKey { name, start: Millis(start) };
                tx.create(&CounterRow { key, ends: ends.map(Millis), tally: of(0, 0, 1) })?;
            }
            Ok(())
        });
        let realm = Realm { tenant: "acme".parse().unwrap(), environment: "dev".parse().unwrap() };
        let (every, one) = (Reach::every(realm.tenant.clone()), Reach::one(realm));
        for (at, reach, limit, wanted) in [
            (9, None, 9, &[2, 0, 3, 4, 5][..]),
            (10, Some(&every), 9, &[2, 1, 3]),
            (20, Some(&every), 9, &[2, 3]),
            (10, Some(&one), 9, &[2, 1]),
            (10, Some(&one), 1, &[2]),
        ] {
            let found = store.current_counters(Millis(at), reach, limit).unwrap();
            let found: Vec<_> = found.into_iter().map(|row| (row.key.name, row.key.start.0)).collect();
            let wanted: Vec<_> = wanted.iter().map(|at| (rows[*at].0.clone(), rows[*at].1)).collect();
            assert_eq!(found, wanted, "{at}, {reach:?}, {limit}");
        }
    });
}

#[test]
fn what_is_held_is_listed_within_a_reach_the_oldest_first_and_no_more_of_it_than_asked() {
    let realm = |tenant: &str, environment: &str| Realm {
        tenant: tenant.parse().unwrap(),
        environment: environment.parse().unwrap(),
    };
    let (every, one) = (Reach::every(realm("acme", "dev").tenant), Reach::one(realm("acme", "dev")));
    on_both(|store| {
        for (number, realm, at, settlement) in [
            (1, realm("acme", "dev"), 30, Some(Settlement::Hold)),
            (2, realm("acme", "dev"), 10, Some(Settlement::Hold)),
            (3, realm("acme", "prod"), 20, Some(Settlement::Hold)),
            (4, realm("globex", "dev"), 5, Some(Settlement::Hold)),
            (5, realm("acme", "dev"), 1, None),
            (6, realm("acme", "dev"), 2, Some(Settlement::Release)),
        ] {
            let asked = Reservation { realm, at: Millis(at), ..reservation(number, [usd(100, 10)]) };
            assert_eq!(within(store, |tx| reserve(tx, &asked)), Reserved::Yes);
            if let Some(settlement) = settlement {
                assert!(within(store, |tx| finish(tx, &id(number), settlement, None, None)));
            }
        }
        for (reach, limit, wanted) in [
            (None, 9, &[4, 2, 3, 1][..]),
            (None, 2, &[4, 2]),
            (None, 0, &[]),
            (Some(&every), 9, &[2, 3, 1]),
            (Some(&every), 1, &[2]),
            (Some(&one), 9, &[2, 1]),
            (Some(&Reach::one(realm("acme", "elsewhere"))), 9, &[]),
        ] {
            let held = store.held(reach, limit).unwrap();
            let numbers: Vec<u32> = held.iter().map(|row| row.id.send).collect();
            assert_eq!(numbers, wanted, "{reach:?}, {limit}");
        }
        for (after, up_to, wanted) in
            [(0, 30, &[4, 2, 3, 1][..]), (5, 20, &[2, 3]), (20, 29, &[]), (30, 0, &[])]
        {
            let held = store.held_begun(Millis(after), Millis(up_to)).unwrap();
            let numbers: Vec<u32> = held.iter().map(|row| row.id.send).collect();
            assert_eq!(numbers, wanted, "{after}, {up_to}");
        }
    });
}

#[test]
fn a_counter_of_a_later_window_never_takes_an_old_one_s_number() {
    on_both(|store| {
        let mut old = line("hour", "usd", Window::Hour, 100, 10);
        old.period = Period { start: Millis(0), ends: Some(Millis(3_600_000)) };
        assert_eq!(within(store, |tx| reserve(tx, &reservation(1, [old.clone()]))), Reserved::Yes);
        within(store, |tx| prune(tx, NOW));
        assert_eq!(within(store, |tx| reserve(tx, &reservation(2, [usd(100, 10)]))), Reserved::Yes);
        within(store, |tx| release(tx, &id(1)));
        assert_eq!(tally(store, &usd(100, 10)), of(10, 0, 0));
    });
}
