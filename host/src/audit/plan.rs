//! What is known of a send before it begins, and what came of beginning it.

use super::PendingSend;
use crate::clock::Millis;
use crate::connection::Cost;
use crate::ids::{ApprovalId, ConnectionName, Digest, OperationName, Realm, ReservationId};
use crate::ledger::{Dedup, Lines, Reservation, Reserved, made_before, no_room};
use crate::store::{LedgerTx, StoreError};

/// What came of the intent to send.
pub enum SendBegin {
    /// It's on the disk, and what it takes is reserved.
    Begun(PendingSend),
    /// The ledger refused it, which is on the disk. Nothing may be sent.
    Refused(Reserved),
}

/// What is known of a send before it begins, beside the request itself.
#[derive(Debug)]
pub struct SendPlan {
    /// What it takes from budgets. `None`: nothing is reserved, and no repetition is recognised.
    pub takes: Option<Takes>,
    /// The approval that it was given.
    pub approval: Option<ApprovalId>,
    /// The hash of the policies that permitted it.
    pub policy: Digest,
    /// The request as the policies were asked about it, sealed, where that's kept.
    pub question: Option<String>,
}

/// What an enforcement point was allowed, and what that takes from budgets.
#[derive(Debug)]
pub struct Spends {
    /// Where.
    pub connection: ConnectionName,
    /// What is done there.
    pub operation: OperationName,
    /// What it costs.
    pub cost: Option<Cost>,
    /// What it takes.
    pub takes: Takes,
}

/// What a send takes from budgets.
#[derive(Debug)]
pub struct Takes {
    /// How much of which.
    pub lines: Lines,
    /// Set for a write that mustn't be made twice.
    pub dedup: Option<Dedup>,
    /// The time that its windows were chosen by.
    pub at: Millis,
}

impl Takes {
    /// What reserving all of it would be refused with: as [`reserve`](crate::ledger::reserve) says then.
    pub(super) fn foreseen(&self, tx: &mut dyn LedgerTx) -> Result<Option<Reserved>, StoreError> {
        if let Some(dedup) = &self.dedup
            && let Some(known) = tx.write(&dedup.key)?
            && let Some(made) = made_before(known, self.at)
        {
            return Ok(Some(made));
        }
        for line in self.lines.iter() {
            let counted = tx.find(&line.counter)?.map_or(0, |(_, tally)| tally.counted());
            if let Some(refused) = no_room(line, counted) {
                return Ok(Some(refused));
            }
        }
        Ok(None)
    }

    /// All of it, reserved for an operation under this id.
    pub(super) fn reservation(
        self,
        id: ReservationId,
        realm: Realm,
        (connection, operation): (ConnectionName, OperationName),
        cost: Option<Cost>,
    ) -> Reservation {
        let Self { lines, dedup, at } = self;
        let (connection, operation) = (Some(connection), Some(operation));
        Reservation { id, realm, connection, operation, cost, lines, dedup, at }
    }
}
