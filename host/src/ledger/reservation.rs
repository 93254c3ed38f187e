//! What is reserved for one request, and what came of trying.

use super::{Dedup, FirstOutcome, Lines, Shortfall};
use crate::clock::Millis;
use crate::connection::Cost;
use crate::ids::{ConnectionName, OperationName, Realm, ReservationId};

/// What one request takes from all budgets that apply to it.
#[derive(Debug, Clone)]
pub struct Reservation {
    /// Its id.
    pub id: ReservationId,
    /// Whose it is.
    pub realm: Realm,
    /// Where the request goes. `None`: it's a call's place among those at once, not a request.
    pub connection: Option<ConnectionName>,
    /// What it does there.
    pub operation: Option<OperationName>,
    /// What it costs.
    pub cost: Option<Cost>,
    /// What it takes, from which budgets.
    pub lines: Lines,
    /// Set for a write that mustn't be made twice.
    pub dedup: Option<Dedup>,
    /// When it's made.
    pub at: Millis,
}

impl Reservation {
    /// Whether there's nothing to reserve and nothing to recognise again: the ledger needn't be asked then, neither
    /// before the request nor after it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.dedup.is_none()
    }
}

/// What came of an attempt to reserve.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "only what was reserved may be sent"]
pub enum Reserved {
    /// Everything is reserved. The request may be sent.
    Yes,
    /// A budget has no room, and won't have by itself. Nothing is reserved.
    OverBudget(Shortfall),
    /// A rate has no room at the moment. Nothing is reserved.
    RateLimited(Shortfall),
    /// The same write was made already. Nothing is reserved, and it mustn't be made again.
    Duplicate {
        /// The reservation that it was made with.
        first: ReservationId,
        /// What came of it.
        outcome: FirstOutcome,
    },
    /// The same write is under way. Nothing is reserved.
    InProgress {
        /// The reservation that it's made with.
        first: ReservationId,
    },
}

impl Reserved {
    /// The reservation of the same write that was begun before, where that is why nothing is reserved.
    #[must_use]
    pub fn first(&self) -> Option<&ReservationId> {
        match self {
            Self::Duplicate { first, .. } | Self::InProgress { first } => Some(first),
            Self::Yes | Self::OverBudget(_) | Self::RateLimited(_) => None,
        }
    }
}
