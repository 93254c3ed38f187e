//! An audit trail in memory, for fixtures and for benchmarks that leave the disk out.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{
    AuditRecord, AuditStore, CounterRow, LedgerStore, LedgerTx, MemoryLedger, RowFilter, StoreError,
};
use crate::ids::Digest;

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
        // A panic elsewhere can't leave the vector half written: records are added by one `extend`.
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AuditStore for MemoryAudit {
    fn append(&self, seal: &mut dyn FnMut(u64, Digest) -> Vec<AuditRecord>) -> Result<(), StoreError> {
        let mut records = self.records();
        let (seq, hash) = head(&records);
        let added = seal(seq, hash);
        records.extend(added);
        Ok(())
    }

    fn rows(&self, filter: &RowFilter) -> Result<Vec<AuditRecord>, StoreError> {
        let records = self.records();
        let wanted = |record: &&AuditRecord| {
            let tenant = record.realm.as_ref().map(|realm| &realm.tenant);
            filter.tenant.as_ref().is_none_or(|wanted| tenant == Some(wanted))
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
}

fn head(records: &[AuditRecord]) -> (u64, Digest) {
    records.last().map_or((0, Digest([0; 32])), |last| (last.seq, last.hash))
}
