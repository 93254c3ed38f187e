//! What is reserved for one request, its id, and what came of trying.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Dedup, FirstOutcome, Lines, Shortfall};
use crate::clock::Millis;
use crate::connection::Cost;
use crate::ids::{CallId, ConnectionName, InvalidName, OperationName, Realm};

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

/// The id of a reservation: the call's id and the send's number in it, as in `call_….2`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReservationId {
    /// The call.
    pub call: CallId,
    /// Which send of the call, from 1; 0 for the call itself, of which nothing is ever held.
    pub send: u32,
}

impl fmt::Display for ReservationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.call, self.send)
    }
}

impl FromStr for ReservationId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let invalid = || InvalidName {
            what: "reservation id",
            value: text.chars().take(80).collect(),
            rule: "it is a call's id, a dot and the send's number, as in call_….1",
        };
        let (call, send) = text.rsplit_once('.').ok_or_else(invalid)?;
        // One spelling only: no sign, no leading zero.
        let number: u32 = send.parse().map_err(|_| invalid())?;
        if number == 0 || number.to_string() != send {
            return Err(invalid());
        }
        Ok(Self { call: call.parse().map_err(|_| invalid())?, send: number })
    }
}

impl Serialize for ReservationId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ReservationId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_parse_back_and_have_one_spelling() {
        let id = ReservationId { call: CallId::fresh(Millis(5)), send: 12 };
        assert_eq!(id.to_string().parse::<ReservationId>().unwrap(), id);
        for bad in ["", "1", ".1", &format!("{}.0", id.call), &format!("{}.+1", id.call), &format!("{id}.1")]
        {
            assert!(bad.parse::<ReservationId>().is_err(), "{bad:?}");
        }
        assert!(format!("{}.01", id.call).parse::<ReservationId>().is_err());
    }
}
