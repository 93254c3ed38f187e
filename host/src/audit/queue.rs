//! Rows on their way to the writer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::AuditError;
use super::entry::Entry;
use crate::audit::Event;

/// How many intents may wait, with those that outcomes bring along. At a thousand commits a second the last of them waits
/// a few milliseconds; if the disk stands still, new calls are refused at once instead of piling up.
pub(super) const INTENTS_MAX: usize = 4_096;

/// How many rows go into one commit: enough to make a flush cheap per row, few enough that the first of them doesn't
/// wait long for the last.
pub(super) const BATCH_ROWS_MAX: usize = 1_024;

/// How many rows of a commit somebody has to have waited for before the writer lets more come for the next one: fewer
/// calls than that gain nothing by waiting for each other.
const SHARED_ROWS_MIN: usize = 4;

/// How long it lets them come at most, in microseconds: about as long as a flush takes, of which it spares some.
const GATHER_US_MAX: u64 = 400;

/// How long what came of a send waits for its call's next row, in milliseconds. Most calls are over by then; others go on
/// for minutes, and what isn't on the disk is lost in a crash.
const OUTCOMES_WAIT_MS: u64 = 100;

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
        // What came of a send goes to the disk with its call's next row, if that isn't long in coming: the call is still
        // open. A commit of its own would cost each call one more flush.
        let waits =
            |entry: &Entry| !matches!(entry.event, Some(Event::SendFinished(_) | Event::SendRefused(_)));
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
            match patience.or_else(|| self.outcomes_wait()) {
                None => state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(time) => {
                    let woken = self.wake.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner);
                    state = woken.0;
                    if woken.1.timed_out() && patience.is_some() {
                        break;
                    }
                }
            }
        }
        self.gather(state).take(batch)
    }

    /// When the writer looks for rows that don't wake it. `None`: no call is open that could have some.
    fn outcomes_wait(&self) -> Option<Duration> {
        (self.open.load(Ordering::Relaxed) > 0).then_some(Duration::from_millis(OUTCOMES_WAIT_MS))
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

    /// Whether an intent finds room now, and the last attempt to write succeeded.
    pub(super) fn is_open(&self) -> bool {
        let state = self.lock();
        !state.closed && state.failure.is_none() && state.intents < INTENTS_MAX
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
        self.intents += usize::from(entry.is_intent());
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
    use tokio::sync::oneshot;

    use super::*;
    use crate::audit::entry::Reply;

    fn waited_for() -> Entry {
        let (action, subject, by) = ("a".into(), "s".into(), "cli".into());
        let event = Event::Admin { action, subject, by, reason: None, token: None };
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
