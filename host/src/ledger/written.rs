//! A budget as one line of text: `50000 usd day connection=stripe`.

use std::fmt;
use std::str::FromStr;

use super::{Budget, Unit, Window};
use crate::connection::Effect;

/// Why a text is no budget, or a budget can't be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0}; write a budget as LIMIT UNIT WINDOW, for example \"50000 usd day\", \"60 requests minute\" or \"50000 usd day \
         connection=stripe\""
)]
pub struct InvalidBudget(String);

impl Budget {
    /// Whether this one counts, over the same time, everything that the other one counts: what is spent in the other
    /// one is then spent in this one too.
    #[must_use]
    pub fn includes(&self, other: &Self) -> bool {
        fn wider<T: PartialEq>(this: Option<&T>, other: Option<&T>) -> bool {
            this.is_none() || this == other
        }
        self.unit == other.unit
            && self.window == other.window
            && self.time_zone == other.time_zone
            && wider(self.connection.as_ref(), other.connection.as_ref())
            && wider(self.operation.as_ref(), other.operation.as_ref())
            && wider(self.effect.as_ref(), other.effect.as_ref())
    }
}

/// `LIMIT UNIT WINDOW`, then any of `connection=NAME`, `operation=NAME`, `effect=read|write`, `time_zone=NAME`, each once.
/// The limit is a whole number of minor units (cents) or of requests.
impl FromStr for Budget {
    type Err = InvalidBudget;

    fn from_str(text: &str) -> Result<Self, InvalidBudget> {
        let mut words = text.split_ascii_whitespace();
        let (Some(limit), Some(unit), Some(window)) = (words.next(), words.next(), words.next()) else {
            return Err(InvalidBudget(format!("{text:?} is no budget: it has less than three words")));
        };
        // `parse` alone would let a plus sign through.
        let digits = limit.bytes().all(|b| b.is_ascii_digit());
        let limit = limit.parse().ok().filter(|_| digits).ok_or_else(|| {
            InvalidBudget(format!(
                "{limit:?} is no limit: it's a whole number, of money in the smallest unit (50000 is 500.00 USD)"
            ))
        })?;
        let unit: Unit = unit.parse().map_err(InvalidBudget)?;
        let window = Window::ALL.into_iter().find(|known| known.as_str() == window).ok_or_else(|| {
            let known: Vec<_> = Window::ALL.iter().map(|window| window.as_str()).collect();
            InvalidBudget(format!("{window:?} is no window: it's one of {}", known.join(", ")))
        })?;
        let mut budget =
            Self { limit, unit, window, time_zone: None, connection: None, operation: None, effect: None };
        for word in words {
            narrow(&mut budget, word)?;
        }
        budget.check().map_err(|(_, rule)| InvalidBudget(rule))?;
        Ok(budget)
    }
}

fn narrow(budget: &mut Budget, word: &str) -> Result<(), InvalidBudget> {
    fn set<T>(slot: &mut Option<T>, word: &str, value: Option<T>) -> Result<(), InvalidBudget> {
        let value = value.ok_or_else(|| InvalidBudget(format!("{word:?} has a value that can't be")))?;
        if slot.replace(value).is_some() {
            return Err(InvalidBudget(format!("{word:?} says a thing for the second time")));
        }
        Ok(())
    }
    match word.split_once('=') {
        Some(("connection", name)) => set(&mut budget.connection, word, name.parse().ok()),
        Some(("operation", name)) => set(&mut budget.operation, word, name.parse().ok()),
        Some(("time_zone", name)) => set(&mut budget.time_zone, word, Some(name.to_owned())),
        Some(("effect", "read")) => set(&mut budget.effect, word, Some(Effect::Read)),
        Some(("effect", "write")) => set(&mut budget.effect, word, Some(Effect::Write)),
        _ => Err(InvalidBudget(format!(
            "{word:?} is nothing that a budget can be narrowed by: connection=, operation=, effect=read, effect=write, \
             time_zone="
        ))),
    }
}

/// As it's read back.
impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.limit, self.unit, self.window.as_str())?;
        if let Some(connection) = &self.connection {
            write!(f, " connection={connection}")?;
        }
        if let Some(operation) = &self.operation {
            write!(f, " operation={operation}")?;
        }
        if let Some(effect) = self.effect {
            write!(f, " effect={}", effect.as_str())?;
        }
        match &self.time_zone {
            Some(zone) => write!(f, " time_zone={zone}"),
            None => Ok(()),
        }
    }
}

impl Window {
    /// Every window.
    pub const ALL: [Self; 7] =
        [Self::PerCall, Self::AtOnce, Self::Minute, Self::Hour, Self::Day, Self::Month, Self::Total];
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(text: &str) -> Budget {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_written_is_read_back() {
        for text in [
            "50000 usd day",
            "0 usd total",
            "60 requests minute",
            "5 requests at_once",
            "9223372036854775807 jpy month time_zone=Asia/Tokyo",
            "50000 eur day connection=stripe operation=create_charge effect=write time_zone=Europe/Paris",
            "100 requests hour effect=read",
            "20000 usd per_call",
        ] {
            assert_eq!(budget(text).to_string(), text);
        }
        assert_eq!(budget(" 5\tUSD  day ").to_string(), "5 usd day");
    }

    #[test]
    fn what_is_no_budget_is_explained() {
        for (text, hint) in [
            ("", "less than three words"),
            ("50000 usd", "less than three words"),
            ("500.00 usd day", "whole number"),
            ("+5 usd day", "whole number"),
            ("-5 usd day", "whole number"),
            ("18446744073709551616 usd day", "whole number"),
            ("9223372036854775808 usd day", "more than can be counted"),
            ("5 dollars day", "three letters"),
            ("5 usd week", "at_once"),
            ("5 usd day stripe", "narrowed by"),
            ("5 usd day connection=", "can't be"),
            ("5 usd day connection=a/b", "can't be"),
            ("5 usd day effect=both", "narrowed by"),
            ("5 usd day connection=a connection=a", "second time"),
            ("5 usd day time_zone=Mars/Olympus", "is no time zone"),
            ("5 usd hour time_zone=Europe/Paris", "only days and months"),
        ] {
            let error = text.parse::<Budget>().unwrap_err().to_string();
            assert!(error.contains(hint) && error.contains("for example"), "{text}: {error}");
        }
    }

    #[test]
    fn a_wider_budget_covers_a_narrower_one() {
        let whole = budget("5 usd day");
        for narrower in ["9 usd day", "5 usd day connection=stripe", "5 usd day effect=write"] {
            assert!(whole.includes(&budget(narrower)), "{narrower}");
        }
        for other in ["5 eur day", "5 usd month", "5 requests day", "5 usd day time_zone=Europe/Paris"] {
            assert!(!whole.includes(&budget(other)), "{other}");
        }
        assert!(!budget("5 usd day connection=stripe").includes(&whole));
        assert!(!budget("5 usd day connection=stripe").includes(&budget("5 usd day connection=other")));
    }
}
