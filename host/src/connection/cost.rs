//! What an operation costs.

use serde::Serialize;

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

/// Where the currency comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Currency {
    /// It's always this: three letters in lower case.
    Constant(String),
    /// A required string parameter.
    Parameter(Place),
}

/// What one request costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cost {
    /// The amount in the currency's minor unit (cents), at least zero.
    pub amount_minor: i64,
    /// The currency: three letters in lower case.
    pub currency: String,
}
