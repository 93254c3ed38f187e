//! The thread that writes the trail.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::chain::{self, Unsealed, encode};
use super::queue::Entry;
use super::{AuditError, Trail};
use crate::clock::Millis;
use crate::store::{AuditStore, StoreError};

/// How long the writer lets a store that fails rest before it tries again to write outcomes, in milliseconds. A new
/// intent makes it try at once.
const RETRY_MS: u64 = 250;

pub(super) fn spawn(trail: Arc<Trail>) -> Result<JoinHandle<()>, AuditError> {
    let builder = std::thread::Builder::new().name("audit".to_owned());
    let spawned = builder.spawn(move || run(&trail));
    spawned.map_err(|error| StoreError::Failed(format!("no thread for the audit trail: {error}")).into())
}

fn run(trail: &Trail) {
    let mut owed = trail.owed();
    loop {
        let patience = (!owed.is_empty()).then_some(Duration::from_millis(RETRY_MS));
        let Some(taken) = trail.queue.take(patience) else { break };
        trail.write(&mut owed, taken);
    }
    if !owed.is_empty() {
        tracing::error!(rows = owed.len(), "outcomes could not be written; the next start marks their calls");
    }
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
            if let Some(taken) = self.queue.take(Some(Duration::ZERO)) {
                self.write(&mut owed, taken);
            }
        }
    }

    fn owed(&self) -> MutexGuard<'_, Vec<Entry>> {
        // Each critical section leaves whole entries behind at every point where it could panic.
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, owed: &mut Vec<Entry>, taken: Vec<Entry>) {
        let mut batch = std::mem::take(owed);
        batch.extend(taken);
        match append(&*self.store, self.clock.now(), &batch) {
            Ok(()) => {
                if self.queue.health().is_err() {
                    tracing::info!("the audit trail can be written again");
                    self.queue.set_health(None);
                }
                for entry in batch {
                    entry.reply.written();
                }
            }
            Err(error) => {
                let error = AuditError::from(error);
                if self.queue.health().is_ok() {
                    tracing::error!(%error, "calls are refused until the audit trail can be written again");
                }
                self.queue.set_health(Some(error.clone()));
                *owed = batch.into_iter().filter_map(|entry| entry.failed(&error)).collect();
            }
        }
    }
}

/// Writes rows in one transaction, all of them recorded at `at`.
fn append(store: &dyn AuditStore, at: Millis, batch: &[Entry]) -> Result<(), StoreError> {
    // Encoded before the transaction begins, which keeps other processes waiting.
    let mut unsealed = Vec::with_capacity(batch.len());
    for Entry { realm, call, event, .. } in batch {
        unsealed.push(Unsealed { at, realm: realm.clone(), call: call.clone(), event: encode(event)? });
    }
    chain::append(store, unsealed)
}
