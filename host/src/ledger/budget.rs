//! A limit on spend, as it's written on a token or in the operator's budget file.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::connection::Effect;
use crate::ids::{ConnectionName, OperationName};

/// One limit. It says how much, of what, over which time, and of which requests; *who* it limits is said where it
/// stands: on a token it limits that token and all that were delegated from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// How much, in the unit. 0 means none at all: a budget of money of 0 refuses every write it covers, whatever that
    /// costs.
    pub limit: u64,
    /// Of what.
    pub unit: Unit,
    /// Over which time.
    pub window: Window,
    /// The time zone in which days and months begin: an IANA name. UTC unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// Requests to this connection only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<ConnectionName>,
    /// Requests of this operation only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<OperationName>,
    /// Reads only, or writes only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,
}

/// What a budget counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Unit {
    /// Requests.
    Requests,
    /// Money in this currency (three letters in lower case), in its minor unit.
    Money(String),
}

/// The time over which a budget counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// One request alone.
    PerCall,
    /// Requests under way at the same time: what ended counts no more.
    AtOnce,
    /// A minute by the clock.
    Minute,
    /// An hour by the clock.
    Hour,
    /// A day in the budget's time zone.
    Day,
    /// A month in the budget's time zone.
    Month,
    /// As long as the subject exists.
    Total,
}

impl FromStr for Unit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "requests" {
            return Ok(Self::Requests);
        }
        if text.len() == 3 && text.bytes().all(|b| b.is_ascii_alphabetic()) {
            return Ok(Self::Money(text.to_ascii_lowercase()));
        }
        Err(format!("{text:?} is no unit of a budget: write a currency of three letters, or \"requests\""))
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requests => f.write_str("requests"),
            Self::Money(currency) => f.write_str(currency),
        }
    }
}

impl TryFrom<String> for Unit {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Unit> for String {
    fn from(unit: Unit) -> Self {
        unit.to_string()
    }
}

impl Window {
    /// As it's written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PerCall => "per_call",
            Self::AtOnce => "at_once",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
            Self::Total => "total",
        }
    }
}
