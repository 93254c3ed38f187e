//! A limit on spend, as it's written on a token or in the operator's budget file.

use std::fmt;
use std::str::FromStr;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::{AMOUNT_MAX, SpendFacts};
use crate::connection::{Connections, Effect};
use crate::ids::{ConnectionName, OperationName, Realm};

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

/// The most budgets that one grant may hold: each is checked for every send of the token and of all below it.
pub const GRANT_BUDGETS_MAX: usize = 32;

impl Budget {
    /// Whether the budget makes sense. To be asked before a token is minted with it.
    ///
    /// # Errors
    /// The key that is wrong, and what to do: fit to be shown to whoever wrote it.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        if self.limit > AMOUNT_MAX {
            return Err((
                "limit",
                format!("{} is more than can be counted: the most is {AMOUNT_MAX}", self.limit),
            ));
        }
        if self.operation.is_some() && self.connection.is_none() {
            return Err((
                "operation",
                "an operation is one of a connection: say which connection too".to_owned(),
            ));
        }
        let Some(zone) = &self.time_zone else { return Ok(()) };
        if !matches!(self.window, Window::Day | Window::Month) {
            let window = self.window.as_str();
            return Err((
                "time_zone",
                format!("only days and months have a time zone, and this is {window}"),
            ));
        }
        match TimeZone::get(zone) {
            Ok(_) => Ok(()),
            Err(_) => {
                Err(("time_zone", format!("{zone:?} is no time zone: write a name like \"Europe/Berlin\"")))
            }
        }
    }

    /// Checks all budgets of a grant.
    ///
    /// # Errors
    /// A sentence that says what to change.
    pub fn check_all(budgets: &[Self]) -> Result<(), String> {
        if budgets.len() > GRANT_BUDGETS_MAX {
            return Err(format!(
                "a grant holds at most {GRANT_BUDGETS_MAX} budgets, and this has {}",
                budgets.len()
            ));
        }
        budgets.iter().enumerate().try_for_each(|(index, budget)| {
            budget.check().map_err(|(key, rule)| format!("budgets[{index}].{key}: {rule}"))
        })
    }

    /// Whether what it names is there, for a realm where one is given: on what isn't it would limit nothing, and nobody
    /// would notice.
    ///
    /// # Errors
    /// The key that is wrong, what isn't there, and the names that are.
    pub fn find_names(
        &self,
        connections: &Connections,
        realm: Option<&Realm>,
    ) -> Result<(), (&'static str, String, Vec<String>)> {
        let Some(name) = &self.connection else { return Ok(()) };
        let there = || connections.iter().filter(move |one| realm.is_none_or(|realm| one.is_for(realm)));
        let Some(connection) = there().find(|one| one.name == *name) else {
            let known = there().map(|one| one.name.to_string()).collect();
            return Err(("connection", format!("there is no connection {name}"), known));
        };
        let Some(operation) = &self.operation else { return Ok(()) };
        if connection.operations.iter().any(|one| one.name == *operation) {
            return Ok(());
        }
        let known = connection.operations.iter().map(|one| one.name.to_string()).collect();
        Err(("operation", format!("the connection {name} has no operation {operation}"), known))
    }

    /// Looks for what all budgets of a grant name, in the realm that it's for.
    ///
    /// # Errors
    /// A sentence that says what isn't there. It doesn't say what is.
    pub fn find_all_names(budgets: &[Self], connections: &Connections, realm: &Realm) -> Result<(), String> {
        budgets.iter().enumerate().try_for_each(|(index, budget)| {
            budget.find_names(connections, Some(realm)).map_err(|(key, missing, _)| {
                format!("budgets[{index}].{key}: {missing} in {realm}, so this would limit nothing")
            })
        })
    }

    /// Whether a request is one of those that it limits.
    #[must_use]
    pub fn covers(&self, facts: &SpendFacts<'_>) -> bool {
        self.connection.as_ref().is_none_or(|connection| connection == facts.connection)
            && self.operation.as_ref().is_none_or(|operation| operation == facts.operation)
            && self.effect.is_none_or(|effect| effect == facts.effect)
    }
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

impl FromStr for Window {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::PerCall, Self::AtOnce, Self::Minute, Self::Hour, Self::Day, Self::Month, Self::Total]
            .into_iter()
            .find(|window| window.as_str() == text)
            .ok_or_else(|| {
                format!(
                    "{text:?} is no window of a budget: write \"per_call\", \"at_once\", \"minute\", \"hour\", \
                     \"day\", \"month\" or \"total\""
                )
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(json: &str) -> Budget {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_budget_that_makes_no_sense_is_refused() {
        let wrong = |json: &str| budget(json).check().unwrap_err().0;
        assert_eq!(wrong(r#"{"limit":9223372036854775808,"unit":"usd","window":"total"}"#), "limit");
        assert_eq!(wrong(r#"{"limit":1,"unit":"usd","window":"total","operation":"charge"}"#), "operation");
        assert_eq!(
            wrong(r#"{"limit":1,"unit":"usd","window":"hour","time_zone":"Europe/Berlin"}"#),
            "time_zone"
        );
        assert_eq!(
            wrong(r#"{"limit":1,"unit":"usd","window":"day","time_zone":"Europe/Berln"}"#),
            "time_zone"
        );
        assert_eq!(
            budget(r#"{"limit":0,"unit":"USD","window":"day","time_zone":"Asia/Tokyo"}"#).check(),
            Ok(())
        );
    }

    #[test]
    fn a_grant_holds_so_many_budgets_and_no_more() {
        let one = budget(r#"{"limit":1,"unit":"requests","window":"minute"}"#);
        assert!(Budget::check_all(&vec![one.clone(); GRANT_BUDGETS_MAX]).is_ok());
        assert!(
            Budget::check_all(&vec![one.clone(); GRANT_BUDGETS_MAX + 1]).unwrap_err().contains("at most 32")
        );
        let bad = Budget { limit: u64::MAX, ..one.clone() };
        assert!(Budget::check_all(&[one, bad]).unwrap_err().starts_with("budgets[1].limit: "));
    }

    #[test]
    fn what_a_budget_names_has_to_be_there_for_its_realm() {
        let file = "base_url = \"https://api.example.com\"\nsecret = \"s\"\nattach = { kind = \"bearer\" }\n\
                    environments = [\"production\"]\n[operations.pay]\nrequest = \"POST /x\"\neffect = \"write\"\n";
        let connections = Connections::parse(&[("stripe.toml", file)]).unwrap();
        let realm =
            |name: &str| Realm { tenant: "acme".parse().unwrap(), environment: name.parse().unwrap() };
        let find = |names: &str, environment: &str| {
            let one = budget(&format!(r#"{{"limit":1,"unit":"usd","window":"day"{names}}}"#));
            Budget::find_all_names(&[one], &connections, &realm(environment))
        };
        for there in ["", r#","connection":"stripe""#, r#","connection":"stripe","operation":"pay""#] {
            assert_eq!(find(there, "production"), Ok(()), "{there}");
        }
        assert_eq!(find("", "test"), Ok(()));
        for (slip, environment, told) in [
            (r#","connection":"strpe""#, "production", "budgets[0].connection: there is no connection strpe"),
            (r#","connection":"stripe""#, "test", "there is no connection stripe in acme/test"),
            (r#","connection":"stripe","operation":"pai""#, "production", "has no operation pai"),
        ] {
            let sentence = find(slip, environment).unwrap_err();
            assert!(sentence.contains(told), "{sentence}");
        }
    }

    #[test]
    fn units_and_windows_are_read_strictly() {
        assert_eq!("JPY".parse(), Ok(Unit::Money("jpy".to_owned())));
        for bad in ["", "us", "usdt", "u$d", "Requests", "request", "€uro"] {
            assert!(bad.parse::<Unit>().is_err(), "{bad:?}");
        }
        assert_eq!("at_once".parse(), Ok(Window::AtOnce));
        assert!("week".parse::<Window>().is_err());
        assert!(serde_json::from_str::<Budget>(r#"{"limit":-1,"unit":"usd","window":"day"}"#).is_err());
        assert!(
            serde_json::from_str::<Budget>(r#"{"limit":1,"unit":"usd","window":"day","max":1}"#).is_err()
        );
    }
}
