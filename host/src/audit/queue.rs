//! Rows on their way to the writer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::AuditError;
use super::chain::Unsealed;
use super::pending::{Pending, PendingSend};
use crate::audit::{CallMark, Event};
use crate::ids::{CallId, Realm};
use crate::ledger::{Refund, Reservation, ReservationId, Reserved, Settlement};
use crate::refusal::Code;
use crate::store::StoreError;

/// How many intents may wait. At a thousand commits a second the last of them waits a few milliseconds; if the disk
/// stands still, new calls are refused at once instead of piling up.
pub(super) const INTENTS_MAX: usize = 4_096;

/// How many rows go into one commit: enough to make a flush cheap per row, few enough that the first of them doesn't
/// wait long for the last.
pub(super) const BATCH_ROWS_MAX: usize = 1_024;

/// How many rows of a commit somebody has to have waited for before the writer lets more come for the next one: fewer
/// calls than that gain nothing by waiting for each other.
const SHARED_ROWS_MIN: usize = 4;

/// How long it lets them come at most, in microseconds: about as long as a flush takes, of which it spares some.
const GATHER_US_MAX: u64 = 400;

/// One row to be written, and who waits for it.
pub(super) struct Entry {
    pub(super) realm: Option<Realm>,
    pub(super) call: Option<CallId>,
    pub(super) event: Event,
    pub(super) reply: Reply,
    /// What the ledger does in the same transaction.
    pub(super) ledger: Option<LedgerStep>,
    /// The row that the event makes. `None`: it has yet to be encoded.
    row: Option<Unsealed>,
}

/// What the ledger does with a send.
pub(super) enum LedgerStep {
    /// Reserves, or refuses: then the send's intent isn't recorded, but that it was refused.
    Reserve(Box<Reservation>),
    /// Refused it was, and why. Set by the writer.
    Refused(Reserved),
    /// Ends a reservation.
    Finish(Box<Finish>),
}

/// How a reservation ends.
pub(super) struct Finish {
    pub(super) id: ReservationId,
    pub(super) settlement: Settlement,
    pub(super) status: Option<u16>,
    /// The reply, sealed, for a repetition of the same write.
    pub(super) reply: Option<Vec<u8>>,
    /// What it gives back to budgets.
    pub(super) refund: Option<Box<Refund>>,
}

/// Who waits for a row.
///
/// INVARIANT (no orphan): an intent's guard travels with the intent. If its row is written but nobody waits for the
/// guard any more, the guard is dropped, which records that the call or send was given up.
pub(super) enum Reply {
    /// Nobody: the row is an outcome that must not be lost.
    Nobody,
    /// Someone who wants to know that it's on the disk.
    Written(oneshot::Sender<Result<(), AuditError>>),
    /// The caller of a tool, who gets the guard.
    Call(Pending, oneshot::Sender<Result<Pending, AuditError>>),
    /// A call that sends, which gets the guard.
    Send(PendingSend, oneshot::Sender<Result<Begun, AuditError>>),
}

/// What came of the intent to send.
pub(super) enum Begun {
    /// It's on the disk, and everything is reserved.
    Yes(PendingSend),
    /// The ledger refused it, which is on the disk.
    No(Reserved),
}

impl Reply {
    /// Tells that the row is on the disk. Whoever has stopped waiting drops the guard.
    fn written(self, refused: Option<Reserved>) {
        match self {
            Self::Nobody => {}
            Self::Written(to) => drop(to.send(Ok(()))),
            Self::Call(guard, to) => match refused {
                None => drop(to.send(Ok(guard))),
                Some(_) => {
                    guard.never_began();
                    drop(to.send(Err(AuditError::TooManyCalls)));
                }
            },
            Self::Send(guard, to) => match refused {
                None => drop(to.send(Ok(Begun::Yes(guard)))),
                Some(refused) => {
                    guard.never_began();
                    drop(to.send(Ok(Begun::No(refused))));
                }
            },
        }
    }
}

impl Entry {
    /// A row, and who waits for it. It's encoded here, where it arises, so that the writer needn't; an event that can't be
    /// is the writer's to report.
    pub(super) fn new(realm: Option<Realm>, call: Option<CallId>, event: Event, reply: Reply) -> Self {
        let row = Unsealed::new(realm.as_ref(), call.as_ref(), &event).ok();
        Self { realm, call, event, reply, ledger: None, row }
    }

    /// An outcome that nobody waits for.
    pub(super) fn outcome(realm: Realm, call: CallId, event: Event) -> Self {
        Self::new(Some(realm), Some(call), event, Reply::Nobody)
    }

    /// The row, to be sealed.
    pub(super) fn take_row(&mut self) -> Result<Unsealed, StoreError> {
        match self.row.take() {
            Some(row) => Ok(row),
            None => Unsealed::new(self.realm.as_ref(), self.call.as_ref(), &self.event),
        }
    }

    /// Puts another event in its place.
    pub(super) fn replace(&mut self, event: Event) {
        (self.event, self.row) = (event, None);
    }

    /// Whether somebody waits for it.
    fn is_waited_for(&self) -> bool {
        !matches!(self.reply, Reply::Nobody)
    }

    /// Tells that the row is on the disk.
    pub(super) fn written(self) {
        let refused = match self.ledger {
            Some(LedgerStep::Refused(refused)) => Some(refused),
            _ => None,
        };
        self.reply.written(refused);
    }

    fn is_intent(&self) -> bool {
        match self.event {
            Event::CallBegun(_)
            | Event::CallRefused(_)
            | Event::SendBegun(_)
            | Event::Approval(_)
            | Event::Decided(_)
            | Event::Admin { .. } => true,
            Event::CallFinished(_)
            | Event::SendFinished(_)
            | Event::SendRefused(_)
            | Event::ShadowDiffered(_)
            | Event::HostStarted { .. } => false,
        }
    }

    /// Tells that the row could not be written. Answers what must be written in its stead as soon as possible: an
    /// outcome, since its intent is in the trail; nothing for an intent.
    pub(super) fn failed(mut self, error: &AuditError) -> Option<Self> {
        match std::mem::replace(&mut self.reply, Reply::Nobody) {
            Reply::Nobody => return Some(self),
            Reply::Written(to) => drop(to.send(Err(error.clone()))),
            Reply::Call(guard, to) => {
                guard.never_began();
                drop(to.send(Err(error.clone())));
            }
            Reply::Send(guard, to) => {
                guard.never_began();
                drop(to.send(Err(error.clone())));
            }
        }
        let Event::CallFinished(outcome) = &mut self.event else { return None };
        // The result was withheld, since its record couldn't be written.
        (outcome.mark, outcome.code) = (CallMark::Failed, Some(Code::AuditUnavailable));
        (outcome.result, outcome.result_bytes) = (None, 0);
        self.row = None;
        Some(self)
    }
}

/// A queue in which intents may find no room, and outcomes always do: there are at most as many outcomes to come as
/// there were intents, and an intent without its outcome is what the trail must avoid.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
    /// How many calls are open: each of them waits for a row, or may yet bring one.
    open: AtomicUsize,
}

#[derive(Default)]
struct State {
    entries: Vec<Entry>,
    /// How many of them are intents.
    intents: usize,
    /// How many of them somebody waits for.
    waited_for: usize,
    /// How many of the last batch somebody waited for.
    shared: usize,
    writer: Writer,
    /// Whether no more intents are let in.
    closed: bool,
    /// Whether the writer has taken the last entry and ended.
    ended: bool,
    failure: Option<AuditError>,
}

/// What the writer does, so that nobody pays for waking it without need.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Writer {
    #[default]
    Awake,
    /// It sleeps until there's a row.
    Asleep,
    /// It has rows and lets more come.
    Gathering,
}

impl Queue {
    /// A call is open from now on, until [`Self::ended`].
    pub(super) fn begun(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    /// A call is over.
    pub(super) fn ended(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// Adds an intent, if there's room. If there isn't, who waits for it is told so.
    pub(super) fn push_intent(&self, entry: Entry) {
        let mut state = self.lock();
        let refusal = match (state.closed, state.intents >= INTENTS_MAX) {
            (true, _) => AuditError::stopped(),
            (false, true) => AuditError::Full,
            (false, false) => {
                state.intents += 1;
                state.add(entry);
                return self.wake(state);
            }
        };
        drop(state);
        // Nothing takes the place of an intent.
        let _ = entry.failed(&refusal);
    }

    /// Adds outcomes. Once the writer has ended they're dropped, and who waits for them hears of it; the next start
    /// finds their intents.
    pub(super) fn push_outcomes(&self, entries: impl IntoIterator<Item = Entry>) {
        let mut state = self.lock();
        if state.ended {
            return;
        }
        // What came of a send goes to the disk with its call's next row, which is never long in coming: the call is
        // still open. A commit of its own would cost each call one more flush.
        let waits = |entry: &Entry| !matches!(entry.event, Event::SendFinished(_) | Event::SendRefused(_));
        let mut to_wake = false;
        for entry in entries {
            to_wake |= waits(&entry);
            state.add(entry);
        }
        if to_wake {
            self.wake(state);
        }
    }

    /// Takes what is queued into `batch`, up to its size; waits until there is something, `patience` has passed or the
    /// queue was closed. False: it's closed and empty.
    ///
    /// Where calls at once have shared the last commit, and others than those that wait by now are under way, it lets
    /// more rows come for a moment: a flush costs as much for one row as for many.
    pub(super) fn take(&self, batch: &mut Vec<Entry>, patience: Option<Duration>) -> bool {
        let mut state = self.lock();
        while state.entries.is_empty() && !state.closed {
            state.writer = Writer::Asleep;
            match patience {
                None => state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(patience) => {
                    let woken =
                        self.wake.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner);
                    state = woken.0;
                    if woken.1.timed_out() {
                        break;
                    }
                }
            }
        }
        self.gather(state).take(batch)
    }

    /// Takes what is queued, as [`Self::take`], and waits for nothing.
    pub(super) fn take_now(&self, batch: &mut Vec<Entry>) -> bool {
        self.lock().take(batch)
    }

    fn gather<'s>(&'s self, mut state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        let end = Instant::now() + Duration::from_micros(GATHER_US_MAX);
        while self.gains_by_waiting(&state) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state.writer = Writer::Gathering;
            state = self.wake.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.writer = Writer::Awake;
        state
    }

    fn gains_by_waiting(&self, state: &State) -> bool {
        !state.closed
            && state.shared >= SHARED_ROWS_MIN
            && (1..BATCH_ROWS_MAX).contains(&state.entries.len())
            && state.waited_for < self.open.load(Ordering::Relaxed)
    }

    /// Whether something waits, or the queue was closed and that isn't settled yet.
    pub(super) fn has_more(&self) -> bool {
        let state = self.lock();
        !state.entries.is_empty() || (state.closed && !state.ended)
    }

    /// Lets no more intents in, and lets the writer end once it has written what is there.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        self.wake(state);
    }

    /// How many rows wait.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().entries.len()
    }

    /// Notes how the last attempt to write went.
    pub(super) fn set_health(&self, failure: Option<AuditError>) {
        self.lock().failure = failure;
    }

    /// How the last attempt to write went.
    pub(super) fn health(&self) -> Result<(), AuditError> {
        self.lock().failure.clone().map_or(Ok(()), Err)
    }

    /// Wakes the writer, if that's what it waits for.
    fn wake(&self, mut state: MutexGuard<'_, State>) {
        let wakes = match state.writer {
            Writer::Awake => false,
            Writer::Asleep => true,
            Writer::Gathering => !self.gains_by_waiting(&state),
        };
        if wakes {
            state.writer = Writer::Awake;
        }
        drop(state);
        if wakes {
            self.wake.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each critical section leaves a whole state at every point where it could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add(&mut self, entry: Entry) {
        self.waited_for += usize::from(entry.is_waited_for());
        self.entries.push(entry);
    }

    /// Adds what waits to a batch that may hold what is owed.
    fn take(&mut self, batch: &mut Vec<Entry>) -> bool {
        self.ended = self.entries.is_empty() && self.closed;
        if self.ended {
            return false;
        }
        let count = self.entries.len().min(BATCH_ROWS_MAX);
        self.shared = 0;
        // The room of neither is given back: the next rows need it again.
        for entry in self.entries.drain(..count) {
            self.shared += usize::from(entry.is_waited_for());
            self.intents -= usize::from(entry.is_intent());
            batch.push(entry);
        }
        self.waited_for -= self.shared;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waited_for() -> Entry {
        let event = Event::Admin { action: "a".into(), subject: "s".into(), by: "cli".into(), reason: None };
        Entry::new(None, None, event, Reply::Written(oneshot::channel().0))
    }

    /// A queue of which so many rows that somebody waited for were taken together, with so many calls open.
    fn queue(shared: usize, open: usize) -> Queue {
        let queue = Queue::default();
        for _ in 0..shared {
            queue.push_intent(waited_for());
        }
        assert_eq!(taken(&queue), shared);
        for _ in 0..open {
            queue.begun();
        }
        queue
    }

    fn taken(queue: &Queue) -> usize {
        let mut batch = Vec::new();
        assert!(queue.take(&mut batch, None));
        batch.len()
    }

    fn gains(queue: &Queue) -> bool {
        queue.gains_by_waiting(&queue.lock())
    }

    #[test]
    fn rows_are_gathered_while_others_may_come() {
        let queue = queue(SHARED_ROWS_MIN, 3);
        assert!(!gains(&queue), "there's nothing to write yet");
        for more in [true, true, false] {
            queue.push_intent(waited_for());
            assert_eq!(gains(&queue), more);
        }
        assert_eq!(taken(&queue), 3);
        queue.push_intent(waited_for());
        assert!(!gains(&queue), "three are too few to go on like that");
    }

    #[test]
    fn a_call_that_has_gone_is_not_waited_for() {
        let queue = queue(SHARED_ROWS_MIN, 2);
        queue.push_intent(waited_for());
        assert!(gains(&queue));
        queue.ended();
        assert!(!gains(&queue));
    }

    #[test]
    fn few_calls_do_not_wait_for_each_other_and_an_end_for_nobody() {
        let few = queue(SHARED_ROWS_MIN - 1, 9);
        few.push_intent(waited_for());
        assert!(!gains(&few));
        let ending = queue(SHARED_ROWS_MIN, 9);
        ending.push_intent(waited_for());
        assert!(gains(&ending));
        ending.close();
        assert!(!gains(&ending));
    }
}
