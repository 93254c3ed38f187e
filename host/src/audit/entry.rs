//! One row on its way to the writer, and who waits for it.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::AuditError;
use super::call::Call;
use super::chain::Unsealed;
use super::pending::{Pending, PendingSend};
use super::plan::Takes;
use crate::audit::{CallMark, Event};
use crate::ids::{CallId, Realm, ReservationId};
use crate::ledger::{Refund, Reservation, Reserved, Settlement};
use crate::refusal::Code;
use crate::store::StoreError;

/// One row to be written, and who waits for it.
pub(super) struct Entry {
    pub(super) realm: Option<Realm>,
    pub(super) call: Option<CallId>,
    /// `None`: no row is written; it's the ledger that is asked.
    pub(super) event: Option<Event>,
    pub(super) reply: Reply,
    /// What the ledger does in the same transaction.
    pub(super) ledger: Option<LedgerStep>,
    /// The beginning of its call, where that has yet to be recorded: both rows are written, this one first, or neither.
    pub(super) first: Option<Box<Entry>>,
    /// The row that the event makes. `None`: it has yet to be encoded.
    row: Option<Unsealed>,
}

/// What the ledger does with a send.
pub(super) enum LedgerStep {
    /// Reserves, or refuses: then the send's intent isn't recorded, but that it was refused.
    Reserve(Box<Reservation>),
    /// Counts what an enforcement point was allowed, or refuses: then it's recorded as denied.
    Spend(Box<Reservation>),
    /// Says what reserving it would be refused with.
    Foresee(Takes),
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
/// guard any more, the guard is dropped, which records that the call or send was given up. What hasn't been written has no
/// outcome: a call that is over while intents of its own wait is recorded as over after them.
pub(super) enum Reply {
    /// Nobody: the row is an outcome that must not be lost.
    Nobody,
    /// Nobody, and nothing is amiss if it can't be written.
    MayBeLost,
    /// Someone who wants to know that it's on the disk.
    Written(oneshot::Sender<Result<(), AuditError>>),
    /// Whoever wants to know whether there was room, or would be.
    Decided(oneshot::Sender<Result<Option<Reserved>, AuditError>>),
    /// A call whose own intent goes by itself.
    First(Arc<Call>, oneshot::Sender<Result<(), AuditError>>),
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
            Self::Nobody | Self::MayBeLost => {}
            Self::Written(to) => drop(to.send(Ok(()))),
            Self::Decided(to) => drop(to.send(Ok(refused))),
            Self::First(call, to) => {
                call.decided(|_| {});
                drop(to.send(Ok(())));
            }
            Self::Call(guard, to) => match refused {
                None => drop(to.send(Ok(guard))),
                Some(_) => {
                    guard.never_began();
                    drop(to.send(Err(AuditError::TooManyCalls)));
                }
            },
            Self::Send(guard, to) => match refused {
                None => {
                    guard.began();
                    drop(to.send(Ok(Begun::Yes(guard))));
                }
                Some(refused) => {
                    guard.never_began(None);
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
        Self { realm, call, event: Some(event), reply, ledger: None, first: None, row }
    }

    /// A question to the ledger, as it stands after all that was queued before.
    pub(super) fn question(takes: Takes, reply: Reply) -> Self {
        let ledger = Some(LedgerStep::Foresee(takes));
        Self { realm: None, call: None, event: None, reply, ledger, first: None, row: None }
    }

    /// An outcome that nobody waits for.
    pub(super) fn outcome(realm: Realm, call: CallId, event: Event) -> Self {
        Self::new(Some(realm), Some(call), event, Reply::Nobody)
    }

    /// The row, to be sealed. `None`: none is to be written.
    pub(super) fn take_row(&mut self) -> Result<Option<Unsealed>, StoreError> {
        match (self.row.take(), &self.event) {
            (None, Some(event)) => Unsealed::new(self.realm.as_ref(), self.call.as_ref(), event).map(Some),
            (row, _) => Ok(row),
        }
    }

    /// Puts another event in its place.
    pub(super) fn replace(&mut self, event: Option<Event>) {
        (self.event, self.row) = (event, None);
    }

    /// Whether somebody waits for it.
    pub(super) fn is_waited_for(&self) -> bool {
        !matches!(self.reply, Reply::Nobody | Reply::MayBeLost)
    }

    /// Tells that the row is on the disk.
    pub(super) fn written(self) {
        let refused = match self.ledger {
            Some(LedgerStep::Refused(refused)) => Some(refused),
            _ => None,
        };
        self.reply.written(refused);
    }

    /// Whether it takes up room for intents: it's one, or a question, or the beginning of its call comes with it.
    pub(super) fn is_intent(&self) -> bool {
        match self.event {
            None
            | Some(
                Event::CallBegun(_)
                | Event::CallRefused(_)
                | Event::SendBegun(_)
                | Event::Approval(_)
                | Event::Decided(_)
                | Event::ReconcileBegun(_)
                | Event::Reconciled(_)
                | Event::ShadowDiffered(_)
                | Event::Admin { .. },
            ) => true,
            Some(
                Event::CallFinished(_)
                | Event::SendFinished(_)
                | Event::SendRefused(_)
                | Event::HostStarted { .. }
                | Event::Checkpoint { .. },
            ) => self.first.is_some(),
        }
    }

    /// Tells that the row could not be written. Answers what must be written in its stead as soon as possible: an
    /// outcome, since its intent is in the trail or comes with it; nothing for an intent.
    pub(super) fn failed(mut self, error: &AuditError) -> Option<Self> {
        match std::mem::replace(&mut self.reply, Reply::Nobody) {
            Reply::Nobody => return Some(self),
            Reply::MayBeLost => return None,
            Reply::Written(to) => drop(to.send(Err(error.clone()))),
            Reply::Decided(to) => drop(to.send(Err(error.clone()))),
            Reply::First(call, to) => {
                // It goes with what comes next.
                call.decided(|progress| progress.first = Some(Box::new(self)));
                drop(to.send(Err(error.clone())));
                return None;
            }
            Reply::Call(guard, to) => {
                guard.never_began();
                drop(to.send(Err(error.clone())));
            }
            Reply::Send(guard, to) => {
                guard.never_began(self.first.take());
                drop(to.send(Err(error.clone())));
            }
        }
        let Some(Event::CallFinished(outcome)) = &mut self.event else { return None };
        // The result was withheld, since its record couldn't be written.
        (outcome.mark, outcome.code) = (CallMark::Failed, Some(Code::AuditUnavailable));
        (outcome.result, outcome.result_bytes) = (None, 0);
        self.row = None;
        Some(self)
    }
}
