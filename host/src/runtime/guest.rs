//! The host's side of one instance: what it has used, and where its imports lead.

use tokio::time::Instant;
use wasmtime::ResourceLimiter;

use crate::refusal::SendFailure;
use crate::runtime::imports::EmptyWasi;
use crate::runtime::{Limits, Outbound};

/// What the store of one run holds.
pub(super) struct Guest {
    pub(super) limits: Limits,
    pub(super) deadline: Instant,
    pub(super) usage: Usage,
    pub(super) ceiling: Ceiling,
    /// Where imports lead. `None` while a component describes itself: it has no rights then.
    pub(super) outbound: Option<Box<dyn Outbound>>,
    /// Made when a guest first asks for it: most never do.
    pub(super) wasi: Option<Box<EmptyWasi>>,
}

impl Guest {
    pub(super) fn new(limits: &Limits, deadline: Instant, outbound: Option<Box<dyn Outbound>>) -> Self {
        Self {
            ceiling: Ceiling::new(limits),
            limits: limits.clone(),
            deadline,
            usage: Usage::default(),
            outbound,
            wasi: None,
        }
    }
}

/// What a run has used of its imports.
#[derive(Debug, Default)]
pub(super) struct Usage {
    pub(super) sends: u32,
    pub(super) sends_refused: u32,
    pub(super) log_lines: u32,
    pub(super) log_dropped: u32,
    pub(super) last_failure: Option<SendFailure>,
}

/// Counts memory and tables against their limits.
#[derive(Debug)]
pub(super) struct Ceiling {
    memory_bytes: Share,
    table_elements: Share,
    core_instances_max: usize,
    memories_max: usize,
    tables_max: usize,
}

impl Ceiling {
    fn new(limits: &Limits) -> Self {
        Self {
            memory_bytes: Share::of(limits.memory_bytes_max),
            table_elements: Share::of(limits.table_elements_max),
            core_instances_max: limits.core_instances_max,
            memories_max: limits.memories_max,
            tables_max: limits.tables_max,
        }
    }

    /// Whether the guest was refused memory or table space. What traps after that most likely traps because of it.
    pub(super) fn was_hit(&self) -> bool {
        self.memory_bytes.refused || self.table_elements.refused
    }
}

impl ResourceLimiter for Ceiling {
    fn memory_growing(&mut self, current: usize, wanted: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.memory_bytes.take(wanted.saturating_sub(current)))
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory_bytes.give_back();
        Ok(())
    }

    fn table_growing(&mut self, current: usize, wanted: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.table_elements.take(wanted.saturating_sub(current)))
    }

    fn table_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.table_elements.give_back();
        Ok(())
    }

    fn instances(&self) -> usize {
        self.core_instances_max
    }

    fn tables(&self) -> usize {
        self.tables_max
    }

    fn memories(&self) -> usize {
        self.memories_max
    }
}

/// One quantity that all memories, or all tables, of a component share.
#[derive(Debug)]
struct Share {
    max: usize,
    used: usize,
    /// What was taken last, and may still turn out not to be had.
    pending: usize,
    refused: bool,
}

impl Share {
    fn of(max: usize) -> Self {
        Self { max, used: 0, pending: 0, refused: false }
    }

    fn take(&mut self, more: usize) -> bool {
        match self.used.checked_add(more).filter(|&sum| sum <= self.max) {
            Some(sum) => {
                self.used = sum;
                self.pending = more;
                true
            }
            None => {
                self.refused = true;
                self.pending = 0;
                false
            }
        }
    }

    fn give_back(&mut self) {
        self.used -= self.pending;
        self.pending = 0;
        self.refused = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_share_one_limit() {
        let mut share = Share::of(10);
        assert!(share.take(6));
        assert!(!share.take(5));
        assert!(share.take(4));
        assert!(!share.take(1));
        assert!(!share.take(usize::MAX));
        assert_eq!(share.used, 10);
    }

    #[test]
    fn what_could_not_be_had_is_not_counted() {
        let mut share = Share::of(10);
        assert!(share.take(8));
        share.give_back();
        share.give_back();
        assert_eq!(share.used, 0);
        assert!(share.refused);
    }
}
