//! Helpers, and one file a matter.

mod book;
mod budgets;
mod dedup;
mod random;
mod refunds;

use crate::clock::Millis;
use crate::connection::{Connections, Cost, Effect};
use crate::ids::{
    AgentId, CallId, ConnectionName, ConversationId, OperationName, Realm, ReservationId, RoleName, TokenId,
};
use crate::ledger::{
    Budget, Budgets, Customer, Dedup, Line, Lines, Link, Period, Reservation, Reserved, SpendFacts, Subject,
    Unit, Window,
};
use crate::store::sqlite::SqliteAudit;
use crate::store::{CounterKey, EntryRow, EntryState, LedgerStore, LedgerTx, MemoryAudit, StoreError, Tally};

/// Saturday, 21 November 2026, 10:00 UTC.
const NOW: Millis = Millis(1_795_255_200_000);

/// Does the same with a ledger in a file and with one in memory.
fn on_both(test: impl Fn(&dyn LedgerStore)) {
    test(&MemoryAudit::new());
    let folder = tempfile::tempdir().unwrap();
    test(&SqliteAudit::open(&folder.path().join("audit.db")).unwrap());
}

/// Does something in a transaction that is committed.
fn within<T>(store: &dyn LedgerStore, mut act: impl FnMut(&mut dyn LedgerTx) -> Result<T, StoreError>) -> T {
    let mut done = None;
    store
        .ledger(&mut |tx| {
            done = Some(act(tx)?);
            Ok(())
        })
        .unwrap();
    done.unwrap()
}

fn realm() -> Realm {
    Realm { tenant: "acme".parse().unwrap(), environment: "production".parse().unwrap() }
}

fn id(number: u32) -> ReservationId {
    ReservationId { call: "call_000000000000000000000000000000aa".parse::<CallId>().unwrap(), send: number }
}

/// A line that counts in the counter of this name.
fn line(name: &str, unit: &str, window: Window, limit: u64, amount: u64) -> Line {
    let counter = CounterKey { name: format!("{name} {unit} {}", window.as_str()), start: Millis(0) };
    let unit: Unit = unit.parse().unwrap();
    Line {
        subject: Subject::Tenant,
        own: true,
        unit,
        window,
        period: Period::FOR_EVER,
        limit,
        amount,
        counter,
    }
}

fn reservation(number: u32, lines: impl IntoIterator<Item = Line>) -> Reservation {
    let mut all = Lines::none();
    lines.into_iter().for_each(|line| all.push(line));
    Reservation {
        id: id(number),
        realm: realm(),
        connection: Some("stripe".parse().unwrap()),
        operation: Some("create_charge".parse().unwrap()),
        cost: Some(Cost { amount_minor: 5, currency: "usd".to_owned() }),
        lines: all,
        dedup: None,
        at: NOW,
    }
}

fn tally(store: &dyn LedgerStore, line: &Line) -> Tally {
    let rows = store.counters().unwrap();
    rows.iter().find(|row| row.key == line.counter).map(|row| row.tally).unwrap_or_default()
}

fn entries(store: &dyn LedgerStore) -> Vec<EntryRow> {
    within(store, |tx| {
        let mut all = tx.entries(EntryState::UnderWay)?;
        all.extend(tx.entries(EntryState::Held)?);
        Ok(all)
    })
}
