//! The id of a reservation, made of a call's.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{CallId, InvalidName};

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Millis;

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
