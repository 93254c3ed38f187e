//! Who waits for people in this process: one request for each approval.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::ids::ApprovalId;

/// The approvals that a request waits for.
#[derive(Default)]
pub(super) struct Waiting(Mutex<HashSet<ApprovalId>>);

/// The only request that waits for an approval, for as long as this lives.
pub(super) struct Sole<'w> {
    waiting: &'w Waiting,
    id: ApprovalId,
}

impl Waiting {
    /// Lets a request wait for this one. `None`: another one does already.
    pub(super) fn alone(&self, id: &ApprovalId) -> Option<Sole<'_>> {
        self.ids().insert(id.clone()).then(|| Sole { waiting: self, id: id.clone() })
    }

    fn ids(&self) -> MutexGuard<'_, HashSet<ApprovalId>> {
        // Nothing can panic half way: ids are added and removed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Sole<'_> {
    fn drop(&mut self) {
        self.waiting.ids().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_waits_for_each_and_another_once_that_has_gone() {
        let (waiting, one, other) = (Waiting::default(), ApprovalId::fresh(), ApprovalId::fresh());
        let sole = waiting.alone(&one);
        assert!(sole.is_some() && waiting.alone(&one).is_none());
        assert!(waiting.alone(&other).is_some());
        drop(sole);
        assert!(waiting.alone(&one).is_some());
        assert!(waiting.ids().is_empty());
    }
}
