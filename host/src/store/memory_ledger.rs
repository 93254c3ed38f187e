//! The ledger in memory, for fixtures and tests.

use std::collections::BTreeMap;

use super::{
    CounterId, CounterKey, CounterRow, EntryLine, EntryRow, EntryState, LedgerTx, PruneBefore, StoreError,
    Tally, WriteRow, WriteState,
};
use crate::ledger::ReservationId;

/// A ledger that lives as long as this value. A transaction is a copy that takes the place of the first when it's
/// committed.
#[derive(Debug, Clone, Default)]
pub struct MemoryLedger {
    newest: i64,
    ids: BTreeMap<CounterKey, CounterId>,
    counters: BTreeMap<CounterId, CounterRow>,
    entries: BTreeMap<ReservationId, EntryRow>,
    writes: BTreeMap<[u8; 32], WriteRow>,
}

impl MemoryLedger {
    /// All counters, by name and start.
    pub(super) fn counters(&self) -> Vec<CounterRow> {
        self.ids.values().filter_map(|id| self.counters.get(id)).cloned().collect()
    }
}

impl LedgerTx for MemoryLedger {
    fn find(&mut self, key: &CounterKey) -> Result<Option<(CounterId, Tally)>, StoreError> {
        let found = self.ids.get(key).and_then(|id| self.counters.get(id).map(|row| (*id, row.tally)));
        Ok(found)
    }

    fn create(&mut self, row: &CounterRow) -> Result<CounterId, StoreError> {
        if self.ids.contains_key(&row.key) {
            return Err(StoreError::Exists(format!("the counter {}", row.key.name)));
        }
        self.newest += 1;
        let id = CounterId(self.newest);
        self.ids.insert(row.key.clone(), id);
        self.counters.insert(id, row.clone());
        Ok(id)
    }

    fn tally(&mut self, id: CounterId) -> Result<Option<Tally>, StoreError> {
        Ok(self.counters.get(&id).map(|row| row.tally))
    }

    fn set_tally(&mut self, id: CounterId, tally: Tally) -> Result<(), StoreError> {
        match self.counters.get_mut(&id) {
            Some(row) => {
                row.tally = tally;
                Ok(())
            }
            None => Err(StoreError::Missing(format!("the counter {}", id.0))),
        }
    }

    fn insert_entry(&mut self, row: &EntryRow) -> Result<(), StoreError> {
        if self.entries.contains_key(&row.id) {
            return Err(StoreError::Exists(format!("the reservation {}", row.id)));
        }
        self.entries.insert(row.id.clone(), row.clone());
        Ok(())
    }

    fn entry(&mut self, id: &ReservationId) -> Result<Option<EntryRow>, StoreError> {
        Ok(self.entries.get(id).cloned())
    }

    fn update_entry(
        &mut self,
        id: &ReservationId,
        state: EntryState,
        lines: &[EntryLine],
    ) -> Result<(), StoreError> {
        match self.entries.get_mut(id) {
            Some(row) => {
                (row.state, row.lines) = (state, lines.to_vec());
                Ok(())
            }
            None => Err(StoreError::Missing(format!("the reservation {id}"))),
        }
    }

    fn remove_entry(&mut self, id: &ReservationId) -> Result<(), StoreError> {
        self.entries.remove(id);
        Ok(())
    }

    fn entries(&mut self, state: EntryState) -> Result<Vec<EntryRow>, StoreError> {
        let mut found: Vec<_> = self.entries.values().filter(|row| row.state == state).cloned().collect();
        found.sort_by(|a, b| (a.at, &a.id).cmp(&(b.at, &b.id)));
        Ok(found)
    }

    fn write(&mut self, key: &[u8; 32]) -> Result<Option<WriteRow>, StoreError> {
        Ok(self.writes.get(key).cloned())
    }

    fn put_write(&mut self, key: &[u8; 32], row: &WriteRow) -> Result<(), StoreError> {
        self.writes.insert(*key, row.clone());
        Ok(())
    }

    fn remove_write(&mut self, key: &[u8; 32]) -> Result<(), StoreError> {
        self.writes.remove(key);
        Ok(())
    }

    fn prune(&mut self, before: PruneBefore) -> Result<u64, StoreError> {
        let rows = |ledger: &Self| ledger.counters.len() + ledger.writes.len() + ledger.entries.len();
        let were = rows(self);
        self.counters.retain(|_, row| !is_over(row, before));
        let counters = &self.counters;
        self.ids.retain(|_, id| counters.contains_key(id));
        self.writes.retain(|_, row| row.state == WriteState::UnderWay || row.until > before.writes);
        let writes = &self.writes;
        let stands = |row: &EntryRow| {
            let write = row.write.as_ref().and_then(|key| writes.get(key));
            write.is_some_and(|write| write.reservation == row.id)
        };
        self.entries
            .retain(|_, row| row.state == EntryState::UnderWay || !row.lines.is_empty() || stands(row));
        Ok((were - rows(self)) as u64)
    }
}

fn is_over(row: &CounterRow, before: PruneBefore) -> bool {
    const HOUR_MS: i64 = 3_600_000;
    let Some(ends) = row.ends else { return false };
    ends < before.ended || (ends < before.short_ended && ends.0.saturating_sub(row.key.start.0) <= HOUR_MS)
}
