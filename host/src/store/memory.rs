//! An audit trail in memory, for fixtures and for benchmarks that leave the disk out.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{AuditRecord, AuditStore, RowFilter, StoreError, TrailTx, TrailWork};
use crate::ids::Digest;

/// An audit trail that ends with the process. It grows without bound: no host serves with it.
#[derive(Debug, Default)]
pub struct MemoryAudit {
    records: Mutex<Vec<AuditRecord>>,
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
        let before = records.len();
        let done = work(&mut *records);
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

impl TrailTx for Vec<AuditRecord> {
    fn head(&mut self) -> Result<(u64, Digest), StoreError> {
        Ok(head(self))
    }

    fn insert(&mut self, record: AuditRecord) -> Result<(), StoreError> {
        self.push(record);
        Ok(())
    }
}

fn head(records: &[AuditRecord]) -> (u64, Digest) {
    records.last().map_or((0, Digest([0; 32])), |last| (last.seq, last.hash))
}
