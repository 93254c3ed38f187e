//! An audit trail in memory, for fixtures and for benchmarks that leave the disk out.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{
    AuditRecord, AuditStore, CounterRow, EntryRow, Filed, LedgerStore, LedgerTx, MemoryLedger, RowFilter,
    StoreError, TrailTx, TrailWork, WriteRow,
};
use crate::clock::Millis;
use crate::ids::{Digest, ReservationId};
use crate::reach::Reach;

/// An audit trail that ends with the process. It grows without bound: no host serves with it.
#[derive(Debug, Default)]
pub struct MemoryAudit {
    records: Mutex<Vec<AuditRecord>>,
    ledger: Mutex<MemoryLedger>,
}

impl MemoryAudit {
    /// An empty trail.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn records(&self) -> MutexGuard<'_, Vec<AuditRecord>> {
        // A panic half way leaves whole records, chained on from those before.
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AuditStore for MemoryAudit {
    fn write(&self, work: TrailWork<'_>) -> Result<(), StoreError> {
        let mut records = self.records();
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let before = records.len();
        // A panic inside leaves what the next transaction of the ledger undoes first.
        let done = ledger.transact(|ledger| work(&mut Tx { records: &mut records, ledger }));
        if done.is_err() {
            records.truncate(before);
        }
        done
    }

    fn is_instant(&self) -> bool {
        true
    }

    fn rows(&self, filter: &RowFilter) -> Result<Vec<AuditRecord>, StoreError> {
        let records = self.records();
        let is_within = |record: &AuditRecord| {
            let covers = |reach: &Reach| record.realm.as_ref().is_some_and(|realm| reach.covers(realm));
            filter.reach.as_ref().is_none_or(covers)
        };
        let is_theirs = |record: &AuditRecord| {
            record.realm.is_some() && is_within(record) && is_filed(&record.filed, filter)
        };
        let calls: HashSet<_> = if filter.is_of_someone() {
            records
                .iter()
                .filter(|record| is_theirs(record))
                .filter_map(|record| record.call.clone())
                .collect()
        } else {
            HashSet::new()
        };
        let wanted = |record: &&AuditRecord| {
            let is_of_them = || match &record.call {
                Some(call) => calls.contains(call),
                None => is_theirs(record),
            };
            is_within(record)
                && (!filter.is_of_someone() || is_of_them())
                && filter.since.is_none_or(|since| record.at >= since)
                && filter.until.is_none_or(|until| record.at < until)
                && filter.call.as_ref().is_none_or(|wanted| record.call.as_ref() == Some(wanted))
                && filter.before.is_none_or(|before| record.seq < before)
                && filter.from.is_none_or(|from| record.seq >= from)
        };
        let limit = usize::try_from(filter.limit).unwrap_or(usize::MAX);
        Ok(if filter.newest_first {
            records.iter().rev().filter(wanted).take(limit).cloned().collect()
        } else {
            records.iter().filter(wanted).take(limit).cloned().collect()
        })
    }

    fn head(&self) -> Result<(u64, Digest), StoreError> {
        Ok(head(&self.records()))
    }
}

/// A transaction: its rows are added at the end of those that are there.
struct Tx<'t> {
    records: &'t mut Vec<AuditRecord>,
    ledger: &'t mut dyn LedgerTx,
}

impl TrailTx for Tx<'_> {
    fn head(&mut self) -> Result<(u64, Digest), StoreError> {
        Ok(head(self.records))
    }

    fn insert(&mut self, mut record: AuditRecord) -> Result<(), StoreError> {
        // They are kept for good.
        record.event.shrink_to_fit();
        self.records.push(record);
        Ok(())
    }

    fn ledger(&mut self) -> &mut dyn LedgerTx {
        self.ledger
    }
}

impl LedgerStore for MemoryAudit {
    fn ledger(
        &self,
        act: &mut dyn FnMut(&mut dyn LedgerTx) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        // A panic inside leaves what the next transaction undoes first.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner).transact(act)
    }

    fn counters(&self) -> Result<Vec<CounterRow>, StoreError> {
        Ok(self.ledger.lock().unwrap_or_else(PoisonError::into_inner).counters())
    }

    fn current_counters(
        &self,
        at: Millis,
        reach: Option<&Reach>,
        limit: u32,
    ) -> Result<Vec<CounterRow>, StoreError> {
        Ok(self.ledger.lock().unwrap_or_else(PoisonError::into_inner).current_counters(at, reach, limit))
    }

    fn held(&self, reach: Option<&Reach>, limit: u32) -> Result<Vec<EntryRow>, StoreError> {
        Ok(self.ledger.lock().unwrap_or_else(PoisonError::into_inner).held(reach, limit))
    }

    fn held_begun(&self, after: Millis, up_to: Millis) -> Result<Vec<EntryRow>, StoreError> {
        Ok(self.ledger.lock().unwrap_or_else(PoisonError::into_inner).held_begun(after, up_to))
    }

    fn reservation(&self, id: &ReservationId) -> Result<Option<(EntryRow, Option<WriteRow>)>, StoreError> {
        Ok(self.ledger.lock().unwrap_or_else(PoisonError::into_inner).reservation(id))
    }
}

/// Whether a record is filed under all that is asked for.
fn is_filed(filed: &Filed, filter: &RowFilter) -> bool {
    filter.token.as_ref().is_none_or(|token| filed.token.as_ref() == Some(token))
        && filter.agent.as_ref().is_none_or(|agent| filed.agent.as_ref() == Some(agent))
        && filter.conversation.as_ref().is_none_or(|name| filed.conversation.as_ref() == Some(name))
}

fn head(records: &[AuditRecord]) -> (u64, Digest) {
    records.last().map_or((0, Digest([0; 32])), |last| (last.seq, last.hash))
}
