//! The ledger's port: counters, reservations that are open, and writes that were made.
//!
//! They lie in the audit trail's database, so that a send's intent and its reservation are one commit.

use crate::clock::Millis;
use crate::connection::Cost;
use crate::ids::{ConnectionName, OperationName, Realm, ReservationId};
use crate::reach::Reach;
use crate::store::StoreError;

/// A counter's number. It's never given to another counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CounterId(pub i64);

/// What a counter counts, and from when on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CounterKey {
    /// What it counts: the text of a [`Counted`](crate::ledger::Counted), which holds the realm.
    pub name: String,
    /// When its window began; the zero of time where there's no window.
    pub start: Millis,
}

/// What a counter has counted.
///
/// INVARIANT (counted): a counter stands for `reserved + held + settled`, and each of them is at most `i64::MAX`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// For requests under way.
    pub reserved: u64,
    /// For requests of which nobody knows whether they were carried out.
    pub held: u64,
    /// For requests that were carried out.
    pub settled: u64,
}

/// A counter with what it has counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CounterRow {
    /// What it counts.
    pub key: CounterKey,
    /// When its window ends; `None`: never.
    pub ends: Option<Millis>,
    /// What it has counted.
    pub tally: Tally,
}

/// A reservation whose end isn't known yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryRow {
    /// Its id.
    pub id: ReservationId,
    /// Whose it is.
    pub realm: Realm,
    /// Where the request goes. `None`: it's a call's place among those at once.
    pub connection: Option<ConnectionName>,
    /// What it does there.
    pub operation: Option<OperationName>,
    /// What it costs.
    pub cost: Option<Cost>,
    /// When it was made.
    pub at: Millis,
    /// How it stands.
    pub state: EntryState,
    /// Its share in each counter.
    pub lines: Vec<EntryLine>,
    /// The key of its write, if it's one that mustn't be made twice.
    pub write: Option<[u8; 32]>,
}

/// How an open reservation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntryState {
    /// The request is under way.
    UnderWay,
    /// Nobody knows whether the request was carried out.
    Held,
}

/// A reservation's share in a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryLine {
    /// The counter.
    pub counter: CounterId,
    /// How much.
    pub amount: u64,
    /// What becomes of it at the end.
    pub kind: LineKind,
}

/// What becomes of a share at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LineKind {
    /// Money: it's spent, returned or held.
    Money,
    /// A request: it counts unless it was surely not sent.
    Request,
    /// A place among those at once: it's always returned.
    AtOnce,
}

/// A write that was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteRow {
    /// The reservation that stands for it.
    pub reservation: ReservationId,
    /// When it was begun.
    pub at: Millis,
    /// Up to when the same write is taken for a repetition, unless it's still under way.
    pub until: Millis,
    /// What came of it.
    pub state: WriteState,
    /// Which attempt at it this is to the upstream: those before it were refused, given up or over.
    pub attempt: u32,
}

/// What came of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteState {
    /// It's under way.
    UnderWay,
    /// It was carried out.
    Done {
        /// The upstream's status; `None` when an operator said that it was carried out.
        status: Option<u16>,
        /// The reply, sealed, if it was kept.
        reply: Option<Vec<u8>>,
    },
    /// Nobody knows.
    Unknown,
    /// It wasn't carried out, by the upstream's answer or an operator's word, and may be made again.
    Refused,
}

/// How old what is pruned has to be, and how much of it goes at once.
#[derive(Debug, Clone, Copy)]
pub struct PruneBefore {
    /// Counters whose window ended before this go.
    pub ended: Millis,
    /// Counters go whose window was at most an hour and ended before this.
    pub short_ended: Millis,
    /// The replies of writes whose time was over before this go.
    pub replies: Millis,
    /// Writes whose time was over before this go, unless they're under way.
    pub writes: Millis,
    /// At most so many rows of each kind go in one transaction.
    pub most: u32,
}

/// The ledger inside one writing transaction. Nobody else writes it meanwhile, in this process or another; and what
/// is changed is undone when the transaction isn't committed.
pub trait LedgerTx {
    /// The counter of a key, if it has counted anything yet.
    fn find(&mut self, key: &CounterKey) -> Result<Option<(CounterId, Tally)>, StoreError>;
    /// Adds a counter, whose key has none.
    fn create(&mut self, row: &CounterRow) -> Result<CounterId, StoreError>;
    /// What a counter has counted. `None`: it has been pruned.
    fn tally(&mut self, id: CounterId) -> Result<Option<Tally>, StoreError>;
    /// Sets what a counter has counted.
    fn set_tally(&mut self, id: CounterId, tally: Tally) -> Result<(), StoreError>;

    /// Adds an open reservation. Fails with [`StoreError::Exists`] when its id is taken.
    fn insert_entry(&mut self, row: &EntryRow) -> Result<(), StoreError>;
    /// An open reservation.
    fn entry(&mut self, id: &ReservationId) -> Result<Option<EntryRow>, StoreError>;
    /// Changes how an open reservation stands, and its shares.
    fn update_entry(
        &mut self,
        id: &ReservationId,
        state: EntryState,
        lines: &[EntryLine],
    ) -> Result<(), StoreError>;
    /// Removes a reservation that isn't open any more.
    fn remove_entry(&mut self, id: &ReservationId) -> Result<(), StoreError>;
    /// All open reservations that stand so, oldest first.
    fn entries(&mut self, state: EntryState) -> Result<Vec<EntryRow>, StoreError>;

    /// What is known of a write.
    fn write(&mut self, key: &[u8; 32]) -> Result<Option<WriteRow>, StoreError>;
    /// Sets what is known of a write.
    fn put_write(&mut self, key: &[u8; 32], row: &WriteRow) -> Result<(), StoreError>;
    /// Forgets a write.
    fn remove_write(&mut self, key: &[u8; 32]) -> Result<(), StoreError>;

    /// Notes a refund, for ever. False when it's noted already.
    fn note_refund(&mut self, key: &[u8; 32], at: Millis) -> Result<bool, StoreError>;

    /// Removes the counters without an end whose names begin so.
    fn remove_totals(&mut self, names: &str) -> Result<(), StoreError>;
    /// Removes what is too old to count, or some of it, and answers how many rows that were: none where none is left.
    fn prune(&mut self, before: PruneBefore) -> Result<u64, StoreError>;
}

/// The ledger of a store, outside of the audit trail's own transactions.
pub trait LedgerStore: Send + Sync + 'static {
    /// Does something in a transaction of its own, which is durable when this returns `Ok` and undone otherwise.
    fn ledger(
        &self,
        act: &mut dyn FnMut(&mut dyn LedgerTx) -> Result<(), StoreError>,
    ) -> Result<(), StoreError>;
    /// All counters, by name and start.
    fn counters(&self) -> Result<Vec<CounterRow>, StoreError>;
    /// Those whose window isn't over at a time, within a reach where one is given: at most so many.
    fn current_counters(
        &self,
        at: Millis,
        reach: Option<&Reach>,
        limit: u32,
    ) -> Result<Vec<CounterRow>, StoreError>;
    /// What is held, within a reach where one is given: the oldest, at most so many. It keeps no transaction waiting.
    fn held(&self, reach: Option<&Reach>, limit: u32) -> Result<Vec<EntryRow>, StoreError>;
    /// What is held, and was begun after one time and up to another: the oldest first. It keeps no transaction waiting either.
    fn held_begun(&self, after: Millis, up_to: Millis) -> Result<Vec<EntryRow>, StoreError>;
    /// An open reservation, and what is known of its write. Nor does this.
    fn reservation(&self, id: &ReservationId) -> Result<Option<(EntryRow, Option<WriteRow>)>, StoreError>;
}

impl Tally {
    /// All that counts against a limit.
    #[must_use]
    pub fn counted(self) -> u64 {
        self.reserved.saturating_add(self.held).saturating_add(self.settled)
    }
}
