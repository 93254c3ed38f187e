//! Rows on their way to the writer.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::AuditError;
use super::pending::{Pending, PendingSend};
use crate::audit::{CallMark, Event};
use crate::ids::{CallId, Realm};
use crate::ledger::{Refund, Reservation, ReservationId, Reserved, Settlement};
use crate::refusal::Code;

/// How many intents may wait. At a thousand commits a second the last of them waits a few milliseconds; if the disk
/// stands still, new calls are refused at once instead of piling up.
pub(super) const INTENTS_MAX: usize = 4_096;

/// How many rows go into one commit: enough to make a flush cheap per row, few enough that the first of them doesn't
/// wait long for the last.
pub(super) const BATCH_ROWS_MAX: usize = 1_024;

/// One row to be written, and who waits for it.
pub(super) struct Entry {
    pub(super) realm: Option<Realm>,
    pub(super) call: Option<CallId>,
    pub(super) event: Event,
    pub(super) reply: Reply,
    /// What the ledger does in the same transaction.
    pub(super) ledger: Option<LedgerStep>,
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
    /// An outcome that nobody waits for.
    pub(super) fn outcome(realm: Realm, call: CallId, event: Event) -> Self {
        Self { realm: Some(realm), call: Some(call), event, reply: Reply::Nobody, ledger: None }
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
        Some(self)
    }
}

/// A queue in which intents may find no room, and outcomes always do: there are at most as many outcomes to come as
/// there were intents, and an intent without its outcome is what the trail must avoid.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    entries: Vec<Entry>,
    /// How many of them are intents.
    intents: usize,
    /// Whether the writer sleeps, so that nobody pays for waking it when it doesn't.
    asleep: bool,
    /// Whether no more intents are let in.
    closed: bool,
    /// Whether the writer has taken the last entry and ended.
    ended: bool,
    failure: Option<AuditError>,
}

impl Queue {
    /// Adds an intent, if there's room. If there isn't, who waits for it is told so.
    pub(super) fn push_intent(&self, entry: Entry) {
        let mut state = self.lock();
        let refusal = match (state.closed, state.intents >= INTENTS_MAX) {
            (true, _) => AuditError::stopped(),
            (false, true) => AuditError::Full,
            (false, false) => {
                state.intents += 1;
                state.entries.push(entry);
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
        let before = state.entries.len();
        state.entries.extend(entries);
        // What came of a send goes to the disk with its call's next row, which is never long in coming: the call is
        // still open. A commit of its own would cost each call one more flush.
        let waits = |entry: &Entry| !matches!(entry.event, Event::SendFinished(_) | Event::SendRefused(_));
        if state.entries.iter().skip(before).any(waits) {
            self.wake(state);
        }
    }

    /// Takes what is queued, up to the size of a batch; waits until there is something, `patience` has passed or the
    /// queue was closed. `None`: it's closed and empty.
    pub(super) fn take(&self, patience: Option<Duration>) -> Option<Vec<Entry>> {
        let mut state = self.lock();
        while state.entries.is_empty() && !state.closed {
            state.asleep = true;
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
        state.asleep = false;
        state.ended = state.entries.is_empty() && state.closed;
        if state.ended {
            return None;
        }
        let count = state.entries.len().min(BATCH_ROWS_MAX);
        let rest = state.entries.split_off(count);
        let taken = std::mem::replace(&mut state.entries, rest);
        state.intents -= taken.iter().filter(|entry| entry.is_intent()).count();
        Some(taken)
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

    fn wake(&self, mut state: MutexGuard<'_, State>) {
        let asleep = std::mem::take(&mut state.asleep);
        drop(state);
        if asleep {
            self.wake.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each critical section leaves a whole state at every point where it could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
