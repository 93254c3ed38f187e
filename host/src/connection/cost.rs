//! What an operation costs.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Operation, Parameter, Parameters};

/// Where an operation's cost is found in its request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CostRule {
    /// The parameter that holds the amount in minor units: a required integer, at least zero.
    pub amount: Place,
    /// The currency.
    pub currency: Currency,
}

/// Where a parameter is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A path parameter.
    Path(String),
    /// A query parameter.
    Query(String),
    /// A form field, or a top-level property of a JSON body.
    Body(String),
}

impl Place {
    /// The parameter's declaration.
    #[must_use]
    pub fn parameter<'o>(&self, operation: &'o Operation) -> Option<&'o Parameter> {
        match self {
            Self::Path(name) => operation.path_parameters.get(name),
            Self::Query(name) => operation.query_parameters.get(name),
            Self::Body(name) => operation.body_parameters.get(name),
        }
    }

    /// The parameter's value in a request.
    #[must_use]
    pub fn value<'p>(&self, parameters: &'p Parameters) -> Option<&'p Value> {
        match self {
            Self::Path(name) => parameters.path.get(name),
            Self::Query(name) => parameters.query.get(name),
            Self::Body(name) => parameters.body.get(name),
        }
    }
}

/// Where the currency comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Currency {
    /// It's always this: three letters in lower case.
    Constant(String),
    /// A required string parameter.
    Parameter(Place),
}

/// Where a reply says what was really spent: JSON pointers (RFC 6901) into a reply with a 2xx status. Where it doesn't
/// say, the cost stands as it was reserved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettleRule {
    /// The amount in minor units: an integer of at least zero.
    pub amount: String,
}

/// What one request costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// The amount in the currency's minor unit (cents), at least zero.
    pub amount_minor: i64,
    /// The currency: three letters in lower case.
    pub currency: String,
}

impl CostRule {
    /// What a request costs.
    ///
    /// # Errors
    /// The rule that its parameters break.
    pub(super) fn cost(&self, parameters: &Parameters) -> Result<Cost, &'static str> {
        let amount = self.amount.value(parameters).and_then(Value::as_i64).filter(|amount| *amount >= 0);
        let currency = match &self.currency {
            Currency::Constant(currency) => Some(currency.clone()),
            Currency::Parameter(place) => place.value(parameters).and_then(Value::as_str).and_then(currency),
        };
        Ok(Cost {
            amount_minor: amount.ok_or("the amount that this costs isn't a whole number of at least 0")?,
            currency: currency.ok_or("the currency isn't a code of three letters")?,
        })
    }
}

/// One spelling for a currency, so that no budget is counted under two.
fn currency(text: &str) -> Option<String> {
    let code = text.len() == 3 && text.bytes().all(|b| b.is_ascii_alphabetic());
    code.then(|| text.to_ascii_lowercase())
}
