//! The thread that writes the trail.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::checkpoint::OpenCalls;
use super::entry::{Entry, LedgerStep, Reply};
use super::{
    ADMIN_CHARS_MAX, AuditError, CallBegun, CallRefused, Decided, Decision, Event, SendBegun, SendKnown,
    SendRefused, Trail,
};
use crate::clock::Clock;
use crate::ledger::{self, Reserved};
use crate::refusal::Code;
use crate::store::{AuditStore, StoreError, TrailTx};

/// How long the writer lets a store that fails rest before it tries again by itself, in milliseconds. A new intent makes it
/// try at once.
const RETRY_MS: u64 = 250;

/// What is recorded when the trail can be written again, where nothing else is there to be written.
pub(super) const RESUMED: &str = "audit.resume";

pub(super) fn spawn(trail: Arc<Trail>) -> Result<JoinHandle<()>, AuditError> {
    let builder = std::thread::Builder::new().name("audit".to_owned());
    let spawned = builder.spawn(move || run(&trail));
    spawned.map_err(|error| StoreError::Failed(format!("no thread for the audit trail: {error}")).into())
}

fn run(trail: &Trail) {
    let mut owed = trail.owed();
    loop {
        let failure = trail.queue.health().err();
        let patience = failure.is_some().then_some(Duration::from_millis(RETRY_MS));
        if !trail.queue.take(&mut owed, patience) {
            break;
        }
        // Where a balancer asks for readiness first, no call comes to find out that there's room again; and a question alone
        // needs none.
        if owed.iter().all(|entry| entry.event.is_none())
            && let Some(failure) = failure
        {
            owed.push(resumed(&failure));
        }
        trail.write(&mut owed);
    }
    if !owed.is_empty() {
        tracing::error!(rows = owed.len(), "outcomes could not be written; the next start marks their calls");
    }
}

/// A row that says what kept the trail from being written. It's dropped if it can't be written either.
fn resumed(failure: &AuditError) -> Entry {
    let event = Event::Admin {
        action: RESUMED.to_owned(),
        subject: "the audit trail".to_owned(),
        by: "host".to_owned(),
        reason: Some(failure.to_string().chars().take(ADMIN_CHARS_MAX).collect()),
        token: None,
    };
    Entry::new(None, None, event, Reply::MayBeLost)
}

impl Trail {
    /// Writes what is queued here and now, if the store never waits. A thread does it otherwise.
    pub(super) fn flush(&self) {
        if !self.store.is_instant() {
            return;
        }
        while self.queue.has_more() {
            // Who writes looks again after it has let go, so what was queued meanwhile isn't left behind.
            let Ok(mut owed) = self.owed.try_lock() else { return };
            if self.queue.take_now(&mut owed) {
                self.write(&mut owed);
            }
        }
    }

    fn owed(&self) -> MutexGuard<'_, Vec<Entry>> {
        // Each critical section leaves whole entries behind at every point where it could panic.
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what is owed and what was taken with it. What is left in the end is owed.
    fn write(&self, batch: &mut Vec<Entry>) {
        match self.append(batch) {
            Ok(()) => {
                if self.queue.health().is_err() {
                    tracing::info!("the audit trail can be written again");
                    self.queue.set_health(None);
                }
                batch.drain(..).for_each(Entry::written);
            }
            Err(error) => {
                let error = AuditError::from(error);
                if self.queue.health().is_ok() {
                    tracing::error!(%error, "calls are refused until the audit trail can be written again");
                }
                self.queue.set_health(Some(error.clone()));
                let failed = std::mem::take(batch).into_iter();
                *batch = failed.filter_map(|entry| entry.failed(&error)).collect();
            }
        }
    }

    /// Writes a batch, with a checkpoint if one is due, and follows which calls are open afterwards.
    fn append(&self, batch: &mut Vec<Entry>) -> Result<(), StoreError> {
        let mut open_calls = self.open_calls();
        batch.extend(open_calls.as_mut().and_then(|open_calls| open_calls.due(&*self.store)));
        let (before, last) = append(&*self.store, &*self.clock, batch)?;
        if let Some(open_calls) = &mut *open_calls {
            open_calls.follow(before, batch, last);
        }
        Ok(())
    }

    pub(super) fn open_calls(&self) -> MutexGuard<'_, Option<OpenCalls>> {
        // Nothing that could panic comes between two steps of following a batch.
        self.open_calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes rows in one transaction, all of them recorded at one time, and does with the ledger what goes with them. Answers the
/// numbers of the rows before and at the end.
fn append(store: &dyn AuditStore, clock: &dyn Clock, batch: &mut [Entry]) -> Result<(u64, u64), StoreError> {
    let mut entries = batch.iter_mut();
    let (mut before, mut last) = (0, 0);
    store.write(&mut |tx| {
        let mut head = tx.head()?;
        before = head.0;
        // As in `chain::append`: under the lock.
        let at = clock.now();
        entries.by_ref().try_for_each(|entry| {
            if let Some(first) = &mut entry.first
                && let Some(row) = first.take_row()?
            {
                tx.insert(row.seal(at, &mut head))?;
            }
            if let Some(refused) = in_ledger(tx, entry)? {
                entry.replace(entry.event.as_ref().map(|intent| in_place_of(intent, &refused)));
                entry.ledger = Some(LedgerStep::Refused(refused));
            }
            match entry.take_row()? {
                Some(row) => tx.insert(row.seal(at, &mut head)),
                None => Ok(()),
            }
        })?;
        last = head.0;
        Ok(())
    })?;
    Ok((before, last))
}

/// The ledger's part of an entry; a refusal, if it's one.
fn in_ledger(tx: &mut dyn TrailTx, entry: &mut Entry) -> Result<Option<Reserved>, StoreError> {
    match &entry.ledger {
        None | Some(LedgerStep::Refused(_)) => Ok(None),
        Some(LedgerStep::Reserve(reservation)) => match ledger::reserve_attempt(tx.ledger(), reservation)? {
            (Reserved::Yes, attempt) => {
                if let Reply::Send(guard, _) = &mut entry.reply {
                    guard.attempt = attempt;
                }
                Ok(None)
            }
            (refused, _) => Ok(Some(refused)),
        },
        Some(LedgerStep::Spend(reservation)) => match ledger::spend(tx.ledger(), reservation)? {
            // It was counted when it was asked for the first time.
            Reserved::Yes | Reserved::Duplicate { .. } => Ok(None),
            refused => Ok(Some(refused)),
        },
        Some(LedgerStep::Foresee(takes)) => takes.foreseen(tx.ledger()),
        Some(LedgerStep::Finish(end)) => {
            ledger::finish(tx.ledger(), &end.id, end.settlement, end.status, end.reply.clone())?;
            if let Some(refund) = &end.refund {
                ledger::give_back(tx.ledger(), refund)?;
            }
            Ok(None)
        }
    }
}

/// What is recorded in place of an intent that the ledger refused.
fn in_place_of(intent: &Event, refused: &Reserved) -> Event {
    let code = match refused {
        Reserved::RateLimited(_) => Code::RateLimited,
        Reserved::Duplicate { .. } | Reserved::InProgress { .. } => Code::Duplicate,
        Reserved::OverBudget(_) | Reserved::Yes => Code::OverBudget,
    };
    match intent {
        Event::SendBegun(SendBegun { connection, operation, cost, policy, question, .. }) => {
            let known = SendKnown {
                operation: Some(operation.clone()),
                cost: cost.clone(),
                policy: Some(*policy),
                repeats: refused.first().cloned(),
                question: question.clone(),
            };
            Event::SendRefused(SendRefused { connection: connection.to_string(), code, known })
        }
        Event::CallBegun(CallBegun { token, agent, conversation, policy, model_call, tool, .. }) => {
            Event::CallRefused(CallRefused {
                token: token.clone(),
                agent: agent.clone(),
                conversation: conversation.clone(),
                policy: *policy,
                model_call: model_call.clone(),
                tool: tool.as_ref().map_or_else(|| "proxy".to_owned(), ToString::to_string),
                // However few it may have: its place comes back when another call ends, or the limit goes.
                code: Code::RateLimited,
            })
        }
        Event::Decided(decided) => {
            Event::Decided(Decided { decision: Decision::Denied, reason: Some(code), ..decided.clone() })
        }
        other => other.clone(),
    }
}
