//! The thread that writes the trail.

use std::sync::Arc;
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
    // Outcomes that a failing store didn't take. There are no more of them than there were open calls and sends when
    // it began to fail, since no new ones begin.
    let mut owed: Vec<Entry> = Vec::new();
    loop {
        let patience = (!owed.is_empty()).then_some(Duration::from_millis(RETRY_MS));
        let Some(taken) = trail.queue.take(patience) else { break };
        let mut batch = std::mem::take(&mut owed);
        batch.extend(taken);
        match append(&*trail.store, trail.clock.now(), &batch) {
            Ok(()) => {
                if trail.queue.health().is_err() {
                    tracing::info!("the audit trail can be written again");
                }
                trail.queue.set_health(None);
                for entry in batch {
                    entry.reply.written();
                }
            }
            Err(error) => {
                let error = AuditError::from(error);
                if trail.queue.health().is_ok() {
                    tracing::error!(%error, "calls are refused until the audit trail can be written again");
                }
                trail.queue.set_health(Some(error.clone()));
                owed = batch.into_iter().filter_map(|entry| entry.failed(&error)).collect();
            }
        }
    }
    if !owed.is_empty() {
        tracing::error!(rows = owed.len(), "outcomes could not be written; the next start marks their calls");
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
