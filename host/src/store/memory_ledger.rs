//! The ledger in memory, for fixtures and tests.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    CounterId, CounterKey, CounterRow, EntryLine, EntryRow, EntryState, LedgerTx, PruneBefore, StoreError,
    Tally, WriteRow, WriteState,
};
use crate::clock::Millis;
use crate::ids::ReservationId;
use crate::ledger::Counted;
use crate::reach::Reach;

/// A ledger that lives as long as this value.
#[derive(Debug, Default)]
pub struct MemoryLedger {
    newest: i64,
    ids: BTreeMap<CounterKey, CounterId>,
    counters: BTreeMap<CounterId, CounterRow>,
    entries: BTreeMap<ReservationId, EntryRow>,
    writes: BTreeMap<[u8; 32], WriteRow>,
    refunds: BTreeSet<[u8; 32]>,
    /// What the transaction under way has changed, as it was before.
    undo: Vec<Was>,
}

/// A row as it was before it was changed; `None`: it wasn't there.
#[derive(Debug)]
enum Was {
    Counter(CounterId, Option<CounterRow>),
    Tally(CounterId, Tally),
    Entry(ReservationId, Option<EntryRow>),
    Write([u8; 32], Option<WriteRow>),
    NoRefund([u8; 32]),
}

impl MemoryLedger {
    /// Does something in a transaction: all of it, or nothing if it fails.
    ///
    /// # Errors
    /// What `act` fails with.
    pub fn transact<T>(
        &mut self,
        act: impl FnOnce(&mut dyn LedgerTx) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        // What a panic left half done is undone first.
        self.roll_back();
        let done = act(self);
        match done {
            Ok(_) => self.undo.clear(),
            Err(_) => self.roll_back(),
        }
        done
    }

    fn roll_back(&mut self) {
        while let Some(was) = self.undo.pop() {
            match was {
                Was::Tally(id, tally) => {
                    if let Some(row) = self.counters.get_mut(&id) {
                        row.tally = tally;
                    }
                }
                Was::Counter(id, None) => {
                    if let Some(row) = self.counters.remove(&id) {
                        self.ids.remove(&row.key);
                    }
                    self.newest = id.0 - 1;
                }
                Was::Counter(id, Some(row)) => {
                    self.ids.insert(row.key.clone(), id);
                    self.counters.insert(id, row);
                }
                Was::Entry(id, row) => put(&mut self.entries, id, row),
                Was::Write(key, row) => put(&mut self.writes, key, row),
                Was::NoRefund(key) => {
                    self.refunds.remove(&key);
                }
            }
        }
    }

    /// All counters, by name and start.
    pub(super) fn counters(&self) -> Vec<CounterRow> {
        self.ids.values().filter_map(|id| self.counters.get(id)).cloned().collect()
    }

    /// Those whose window isn't over at a time, within a reach: at most so many.
    pub(super) fn current_counters(&self, at: Millis, reach: Option<&Reach>, limit: u32) -> Vec<CounterRow> {
        let is_current = |row: &CounterRow| row.key.start <= at && row.ends.is_none_or(|ends| at < ends);
        let is_within = |row: &CounterRow| {
            reach.is_none_or(|reach| {
                Counted::of_name(&row.key.name).is_some_and(|counted| reach.covers(&counted.realm))
            })
        };
        let rows = self.ids.values().filter_map(|id| self.counters.get(id));
        let wanted = rows.filter(|row| is_current(row) && is_within(row));
        wanted.take(usize::try_from(limit).unwrap_or(usize::MAX)).cloned().collect()
    }

    /// What is held within a reach: the oldest, at most so many.
    pub(super) fn held(&self, reach: Option<&Reach>, limit: u32) -> Vec<EntryRow> {
        let mut held = self.in_state(EntryState::Held);
        held.retain(|row| reach.is_none_or(|reach| reach.covers(&row.realm)));
        held.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        held
    }

    /// What is held and was begun after one time and up to another, the oldest first.
    pub(super) fn held_begun(&self, after: Millis, up_to: Millis) -> Vec<EntryRow> {
        let mut held = self.in_state(EntryState::Held);
        held.retain(|row| after < row.at && row.at <= up_to);
        held
    }

    /// An open reservation, and what is known of its write.
    pub(super) fn reservation(&self, id: &ReservationId) -> Option<(EntryRow, Option<WriteRow>)> {
        let entry = self.entries.get(id)?;
        let write = entry.write.as_ref().and_then(|key| self.writes.get(key));
        Some((entry.clone(), write.cloned()))
    }

    /// Those that stand so, oldest first.
    fn in_state(&self, state: EntryState) -> Vec<EntryRow> {
        let mut found: Vec<_> = self.entries.values().filter(|row| row.state == state).cloned().collect();
        found.sort_by(|a, b| (a.at, &a.id).cmp(&(b.at, &b.id)));
        found
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
        self.undo.push(Was::Counter(id, None));
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
                self.undo.push(Was::Tally(id, std::mem::replace(&mut row.tally, tally)));
                Ok(())
            }
            None => Err(StoreError::Missing(format!("the counter {}", id.0))),
        }
    }

    fn insert_entry(&mut self, row: &EntryRow) -> Result<(), StoreError> {
        if self.entries.contains_key(&row.id) {
            return Err(StoreError::Exists(format!("the reservation {}", row.id)));
        }
        self.undo.push(Was::Entry(row.id.clone(), None));
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
                self.undo.push(Was::Entry(id.clone(), Some(row.clone())));
                (row.state, row.lines) = (state, lines.to_vec());
                Ok(())
            }
            None => Err(StoreError::Missing(format!("the reservation {id}"))),
        }
    }

    fn remove_entry(&mut self, id: &ReservationId) -> Result<(), StoreError> {
        let was = self.entries.remove(id);
        self.undo.push(Was::Entry(id.clone(), was));
        Ok(())
    }

    fn entries(&mut self, state: EntryState) -> Result<Vec<EntryRow>, StoreError> {
        Ok(self.in_state(state))
    }

    fn write(&mut self, key: &[u8; 32]) -> Result<Option<WriteRow>, StoreError> {
        Ok(self.writes.get(key).cloned())
    }

    fn put_write(&mut self, key: &[u8; 32], row: &WriteRow) -> Result<(), StoreError> {
        let was = self.writes.insert(*key, row.clone());
        self.undo.push(Was::Write(*key, was));
        Ok(())
    }

    fn remove_write(&mut self, key: &[u8; 32]) -> Result<(), StoreError> {
        let was = self.writes.remove(key);
        self.undo.push(Was::Write(*key, was));
        Ok(())
    }

    fn note_refund(&mut self, key: &[u8; 32], _: Millis) -> Result<bool, StoreError> {
        let is_new = self.refunds.insert(*key);
        if is_new {
            self.undo.push(Was::NoRefund(*key));
        }
        Ok(is_new)
    }

    fn remove_totals(&mut self, names: &str) -> Result<(), StoreError> {
        let is_one = |row: &CounterRow| row.ends.is_none() && row.key.name.starts_with(names);
        for (id, row) in self.counters.extract_if(.., |_, row| is_one(row)) {
            self.ids.remove(&row.key);
            self.undo.push(Was::Counter(id, Some(row)));
        }
        Ok(())
    }

    fn prune(&mut self, before: PruneBefore) -> Result<u64, StoreError> {
        let were = self.undo.len();
        let most = usize::try_from(before.most).unwrap_or(usize::MAX);
        for (id, row) in self.counters.extract_if(.., |_, row| is_over(row, before)).take(most) {
            self.ids.remove(&row.key);
            self.undo.push(Was::Counter(id, Some(row)));
        }
        let over = |row: &WriteRow| row.state != WriteState::UnderWay && row.until <= before.writes;
        let writes = self.writes.extract_if(.., |_, row| over(row)).take(most);
        self.undo.extend(writes.map(|(key, row)| Was::Write(key, Some(row))));
        let replied = |row: &WriteRow| {
            row.until <= before.replies && matches!(row.state, WriteState::Done { reply: Some(_), .. })
        };
        for (key, row) in self.writes.iter_mut().filter(|(_, row)| replied(row)).take(most) {
            let was = row.clone();
            if let WriteState::Done { reply, .. } = &mut row.state {
                *reply = None;
            }
            self.undo.push(Was::Write(*key, Some(was)));
        }
        // Held without money: it stood for its write alone, while that had its time.
        let writes = &self.writes;
        let write_is_gone = |row: &EntryRow| {
            let write = row.write.as_ref().and_then(|key| writes.get(key));
            write.is_none_or(|write| write.reservation != row.id || write.until <= before.replies)
        };
        let idle =
            |row: &EntryRow| row.state == EntryState::Held && row.lines.is_empty() && write_is_gone(row);
        let entries = self.entries.extract_if(.., |_, row| idle(row)).take(most);
        self.undo.extend(entries.map(|(id, row)| Was::Entry(id, Some(row))));
        Ok((self.undo.len() - were) as u64)
    }
}

fn put<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => drop(map.insert(key, value)),
        None => drop(map.remove(&key)),
    }
}

fn is_over(row: &CounterRow, before: PruneBefore) -> bool {
    const HOUR_MS: i64 = 3_600_000;
    let Some(ends) = row.ends else { return false };
    ends < before.ended || (ends < before.short_ended && ends.0.saturating_sub(row.key.start.0) <= HOUR_MS)
}
