//! Random sequences of reserving and ending, over many budgets, on both stores.

use proptest::prelude::*;

use super::*;
use crate::ledger::{Settlement, finish, prune, recover, reserve, resolve};
use crate::store::LineKind;

/// The budgets that there are: name, unit, window, limit.
const BUDGETS: [(&str, &str, Window, u64); 7] = [
    ("tenant", "usd", Window::Total, 500),
    ("tenant", "eur", Window::Total, 200),
    ("agent", "usd", Window::Day, 300),
    ("token", "usd", Window::Hour, 0),
    ("tenant", "requests", Window::Minute, 12),
    ("agent", "requests", Window::AtOnce, 3),
    ("token", "usd", Window::AtOnce, 150),
];

#[derive(Debug, Clone)]
enum Op {
    /// Reserve so much of these budgets.
    Reserve { budgets: Vec<usize>, amount: u64, write: Option<u8> },
    /// End the reservation of this number.
    Finish(u32, Settlement),
    /// An operator resolves it.
    Resolve(u32, bool),
    /// The host dies and comes back.
    Restart,
}

fn op() -> impl Strategy<Value = Op> {
    let budgets = proptest::sample::subsequence((0..BUDGETS.len()).collect::<Vec<_>>(), 1..=BUDGETS.len());
    let settlement = prop_oneof![
        3 => proptest::option::of(0_u64..120).prop_map(|confirmed| Settlement::Settle { confirmed }),
        1 => Just(Settlement::Release),
        1 => Just(Settlement::Refused),
        2 => Just(Settlement::Hold),
    ];
    prop_oneof![
        6 => (budgets, 0_u64..120, proptest::option::of(0_u8..6))
            .prop_map(|(budgets, amount, write)| Op::Reserve { budgets, amount, write }),
        5 => (1_u32..30, settlement).prop_map(|(number, settlement)| Op::Finish(number, settlement)),
        1 => (1_u32..30, any::<bool>()).prop_map(|(number, done)| Op::Resolve(number, done)),
        1 => Just(Op::Restart),
    ]
}

fn lines(budgets: &[usize], amount: u64) -> Vec<Line> {
    let line = |&index: &usize| {
        let (name, unit, window, limit) = BUDGETS[index];
        line(name, unit, window, limit, if unit == "requests" { 1 } else { amount })
    };
    budgets.iter().map(line).collect()
}

/// What was reserved so far: confirmed amounts stay below it, as everything else may pass a limit.
#[derive(Default)]
struct Player(Vec<u64>);

impl Player {
    fn play(&mut self, tx: &mut dyn LedgerTx, op: &Op) -> Result<String, StoreError> {
        Ok(match op {
            Op::Reserve { budgets, amount, write } => {
                self.0.push(*amount);
                let mut asked = reservation(self.0.len() as u32, lines(budgets, *amount));
                asked.dedup = write.map(|write| Dedup { key: [write; 32], window_ms: 1_000 });
                format!("{:?}", reserve(tx, &asked)?)
            }
            Op::Finish(number, settlement) => {
                let amount = self.0.get(*number as usize - 1).copied().unwrap_or_default();
                let settlement = match settlement {
                    Settlement::Settle { confirmed: Some(some) } => {
                        Settlement::Settle { confirmed: Some(amount.min(*some)) }
                    }
                    other => *other,
                };
                format!("{:?}", finish(tx, &id(*number), settlement, Some(200), None)?)
            }
            Op::Resolve(number, done) => format!("{:?}", resolve(tx, &id(*number), *done, None)?),
            Op::Restart => format!("{:?}", recover(tx)?),
        })
    }
}

/// Each step in a transaction of its own. Answers what each said, and how all stands at the end.
fn run(store: &dyn LedgerStore, ops: &[Op]) -> Result<Vec<String>, TestCaseError> {
    let (mut said, mut player) = (Vec::new(), Player::default());
    for op in ops {
        let before = state(store);
        let came = within(store, |tx| player.play(tx, op));
        if matches!(op, Op::Reserve { .. }) && came != "Yes" {
            prop_assert_eq!(before, state(store), "all or none");
        }
        said.push(came);
        check(store)?;
    }
    said.push(state(store));
    Ok(said)
}

/// All steps in one transaction, as the audit trail's writer commits together what has waited.
fn run_together(store: &dyn LedgerStore, ops: &[Op]) -> Result<Vec<String>, TestCaseError> {
    let mut player = Player::default();
    let mut said: Vec<_> =
        within(store, |tx| ops.iter().map(|op| player.play(tx, op)).collect::<Result<_, _>>());
    check(store)?;
    said.push(state(store));
    Ok(said)
}

fn state(store: &dyn LedgerStore) -> String {
    format!("{:?} {:?}", store.counters().unwrap(), entries(store))
}

/// No limit is passed, and what is reserved and held is what the open reservations say.
fn check(store: &dyn LedgerStore) -> Result<(), TestCaseError> {
    let (counters, entries) = (store.counters().unwrap(), entries(store));
    for line in lines(&[0, 1, 2, 3, 4, 5, 6], 0) {
        let tally = tally(store, &line);
        prop_assert!(
            tally.counted() <= line.limit,
            "{} counts {tally:?} of {}",
            line.counter.name,
            line.limit
        );
        if line.window == Window::AtOnce {
            prop_assert_eq!((tally.held, tally.settled), (0, 0));
        }
        if line.unit == Unit::Requests {
            prop_assert_eq!(tally.held, 0);
        }
    }
    let sum = |state| {
        let lines = entries.iter().filter(|entry| entry.state == state).flat_map(|entry| &entry.lines);
        lines.map(|line| line.amount).sum::<u64>()
    };
    prop_assert_eq!(counters.iter().map(|row| row.tally.reserved).sum::<u64>(), sum(EntryState::UnderWay));
    prop_assert_eq!(counters.iter().map(|row| row.tally.held).sum::<u64>(), sum(EntryState::Held));
    let held = entries.iter().filter(|entry| entry.state == EntryState::Held).flat_map(|entry| &entry.lines);
    prop_assert!(held.into_iter().all(|line| line.kind == LineKind::Money));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]
    #[test]
    fn no_sequence_passes_a_limit(ops in proptest::collection::vec(op(), 1..60)) {
        run(&MemoryAudit::new(), &ops)?;
    }
}

proptest! {
    // Each step is a flush to the disk.
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]
    #[test]
    fn both_stores_do_the_same(ops in proptest::collection::vec(op(), 1..60)) {
        let folder = tempfile::tempdir().unwrap();
        let sqlite = SqliteAudit::open(&folder.path().join("audit.db")).unwrap();
        prop_assert_eq!(run(&MemoryAudit::new(), &ops)?, run(&sqlite, &ops)?);
    }

    #[test]
    fn together_is_the_same_as_one_by_one(ops in proptest::collection::vec(op(), 1..60)) {
        let folder = tempfile::tempdir().unwrap();
        let sqlite = SqliteAudit::open(&folder.path().join("audit.db")).unwrap();
        prop_assert_eq!(run(&MemoryAudit::new(), &ops)?, run_together(&sqlite, &ops)?);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]
    #[test]
    fn what_fails_is_undone(
        ops in proptest::collection::vec(op(), 1..30),
        undone in proptest::collection::vec(op(), 1..30),
        later in proptest::collection::vec(op(), 1..30),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let sqlite = SqliteAudit::open(&folder.path().join("audit.db")).unwrap();
        let memory = MemoryAudit::new();
        let mut ends = Vec::new();
        for store in [&sqlite as &dyn LedgerStore, &memory] {
            let mut player = Player::default();
            let play = |store: &dyn LedgerStore, player: &mut Player, ops: &[Op]| -> Vec<String> {
                within(store, |tx| ops.iter().map(|op| player.play(tx, op)).collect())
            };
            play(store, &mut player, &ops);
            let before = state(store);
            let failed = store.ledger(&mut |tx| {
                for op in &undone {
                    player.play(tx, op)?;
                }
                prune(tx, Millis(NOW.0 + 5_000))?;
                Err(StoreError::Failed("the disk is full".to_owned()))
            });
            prop_assert!(failed.is_err());
            prop_assert_eq!(&before, &state(store));
            let said = play(store, &mut player, &later);
            check(store)?;
            ends.push((said, state(store)));
        }
        prop_assert_eq!(&ends[0], &ends[1]);
    }
}

#[test]
fn many_threads_at_one_file_pass_no_limit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.db");
    let reserved: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4_u32)
            .map(|thread| {
                let path = &path;
                scope.spawn(move || {
                    let store = SqliteAudit::open(path).unwrap();
                    let mut reserved = 0;
                    for step in 0..30 {
                        let number = 1 + thread * 1_000 + step;
                        let asked = reservation(number, lines(&[0, 2], 7));
                        if within(&store, |tx| reserve(tx, &asked)) == Reserved::Yes {
                            reserved += 7;
                        }
                    }
                    reserved
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    let store = SqliteAudit::open(&path).unwrap();
    check(&store).unwrap();
    // 42 times 7 fit in 300, and 43 times don't.
    assert_eq!(reserved, 294);
}

#[test]
fn two_handles_of_one_file_see_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.db");
    let (one, two) = (SqliteAudit::open(&path).unwrap(), SqliteAudit::open(&path).unwrap());
    for number in 1..=4 {
        let store = if number % 2 == 0 { &two } else { &one };
        assert_eq!(within(store, |tx| reserve(tx, &reservation(number, lines(&[0], 125)))), Reserved::Yes);
    }
    // Each ends what the other began.
    assert!(within(&one, |tx| finish(tx, &id(2), Settlement::Release, None, None)));
    assert!(within(&two, |tx| finish(tx, &id(1), Settlement::Release, None, None)));
    assert!(!within(&one, |tx| finish(tx, &id(1), Settlement::Settle { confirmed: None }, None, None)));
    assert_eq!(tally(&one, &lines(&[0], 0)[0]), Tally { reserved: 250, held: 0, settled: 0 });
    let over = within(&one, |tx| reserve(tx, &reservation(5, lines(&[0], 251))));
    assert!(matches!(over, Reserved::OverBudget(_)));
}
