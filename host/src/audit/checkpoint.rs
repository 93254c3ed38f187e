//! Now and then, a host that runs records which of the calls in the trail are open: so that the next start, which looks for
//! those without an outcome, needn't read all that was recorded since the last one.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use super::entry::{Entry, Reply};
use super::{Event, Row};
use crate::ids::CallId;
use crate::store::{AuditStore, RowFilter, StoreError};

/// So many rows after the last start or checkpoint there's another one: a start reads them in half a second.
pub(super) const EVERY_ROWS: u64 = 50_000;

/// The calls that are open, as the rows tell: a host's writer follows what it writes.
pub(super) struct OpenCalls {
    calls: BTreeSet<CallId>,
    /// The newest row that was followed.
    row: u64,
    /// The row of the last start or checkpoint.
    last: u64,
    /// Rows that other processes have written since, which make calls, too. They're read once it matters.
    others: Vec<RangeInclusive<u64>>,
}

impl OpenCalls {
    /// From the row of a host's start on: that has marked all that was open.
    pub(super) fn since(start: u64) -> Self {
        Self { calls: BTreeSet::new(), row: start, last: start, others: Vec::new() }
    }

    /// Follows a batch that was written after the row `before`, and up to the row `last`.
    pub(super) fn follow(&mut self, before: u64, batch: &[Entry], last: u64) {
        if before > self.row {
            self.others.push(self.row + 1..=before);
        }
        self.row = last;
        for entry in batch {
            let first = entry.first.as_ref().and_then(|first| first.event.as_ref());
            for event in first.into_iter().chain(&entry.event) {
                self.step(entry.call.as_ref(), event);
            }
        }
    }

    /// A checkpoint, if one is due. If what others wrote can't be read, there's none this time.
    pub(super) fn due(&mut self, store: &dyn AuditStore) -> Option<Entry> {
        if self.row.saturating_sub(self.last) < EVERY_ROWS {
            return None;
        }
        let others = std::mem::take(&mut self.others);
        if others.iter().try_for_each(|rows| self.read(store, rows)).is_err() {
            self.others = others;
            return None;
        }
        let event = Event::Checkpoint { row: self.row, calls: self.calls.iter().cloned().collect() };
        Some(Entry::new(None, None, event, Reply::MayBeLost))
    }

    fn read(&mut self, store: &dyn AuditStore, rows: &RangeInclusive<u64>) -> Result<(), StoreError> {
        let (from, before) = (Some(*rows.start()), Some(rows.end().saturating_add(1)));
        for record in store.rows(&RowFilter { from, before, limit: u32::MAX, ..RowFilter::default() })? {
            let row = Row::try_from(record)?;
            self.step(row.call.as_ref(), &row.event);
        }
        Ok(())
    }

    fn step(&mut self, call: Option<&CallId>, event: &Event) {
        match (event, call) {
            (Event::CallBegun(_) | Event::ReconcileBegun(_), Some(call)) => {
                self.calls.insert(call.clone());
            }
            (Event::CallFinished(_), Some(call)) => {
                self.calls.remove(call);
            }
            (Event::Checkpoint { .. }, None) => self.last = self.row,
            _ => {}
        }
    }
}
