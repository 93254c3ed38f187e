//! Approvals in memory.

use super::MemoryControl;
use crate::clock::Millis;
use crate::ids::ApprovalId;
use crate::store::{ApprovalFilter, ApprovalRow, ApprovalStore, Opening, PendingLimits, Stage, StoreError};

impl ApprovalStore for MemoryControl {
    fn foresee_approval(&self, row: &ApprovalRow, limits: PendingLimits) -> Result<Opening, StoreError> {
        Ok(foresee(&self.read().approvals, row, limits))
    }

    fn open_approval(&self, row: &ApprovalRow, limits: PendingLimits) -> Result<Opening, StoreError> {
        let mut tables = self.write();
        let opening = foresee(&tables.approvals, row, limits);
        if opening == Opening::Fresh {
            tables.approvals.push(row.clone());
        }
        Ok(opening)
    }

    fn approval(&self, id: &ApprovalId) -> Result<Option<ApprovalRow>, StoreError> {
        Ok(self.read().approvals.iter().find(|row| row.id == *id).cloned())
    }

    fn approvals(&self, filter: &ApprovalFilter) -> Result<Vec<ApprovalRow>, StoreError> {
        let tables = self.read();
        let wanted = |row: &&ApprovalRow| {
            filter.reach.as_ref().is_none_or(|reach| reach.covers(&row.realm))
                && filter.state.is_none_or(|state| row.state(filter.now) == state)
        };
        Ok(tables.approvals.iter().rev().filter(wanted).take(size(filter.limit)).cloned().collect())
    }

    fn change_approval(
        &self,
        id: &ApprovalId,
        change: &mut dyn FnMut(&mut ApprovalRow),
    ) -> Result<bool, StoreError> {
        let mut tables = self.write();
        let Some(row) = tables.approvals.iter_mut().find(|row| row.id == *id) else { return Ok(false) };
        let mut changed = row.clone();
        change(&mut changed);
        (row.stage, row.votes) = (changed.stage, changed.votes);
        Ok(true)
    }

    fn forget_approvals(&self, at: Millis) -> Result<(), StoreError> {
        self.write().approvals.retain(|row| row.expires_at > at);
        Ok(())
    }
}

fn foresee(approvals: &[ApprovalRow], row: &ApprovalRow, limits: PendingLimits) -> Opening {
    let live = || approvals.iter().filter(|known| known.expires_at > row.asked_at);
    let same = |known: &&ApprovalRow| {
        known.realm.tenant == row.realm.tenant
            && known.fingerprint == row.fingerprint
            && known.stage != Stage::Used
    };
    if let Some(known) = live().rev().find(same) {
        return Opening::Known(Box::new(known.clone()));
    }
    let of_token = live()
        .filter(|known| known.root == row.root)
        .filter(|known| matches!(known.stage, Stage::Pending | Stage::Denied));
    if of_token.count() >= size(limits.per_token_max) {
        return Opening::TokenFull;
    }
    let of_environment = live().filter(|known| known.realm == row.realm && known.stage == Stage::Pending);
    if of_environment.count() >= size(limits.per_environment_max) {
        return Opening::EnvironmentFull;
    }
    Opening::Fresh
}

fn size(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
