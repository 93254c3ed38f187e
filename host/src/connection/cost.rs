//! What an operation costs.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Operation, Parameter, Parameters};
use crate::ids::OperationName;

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

/// Where a successful reply to a refund says what was given back: JSON pointers (RFC 6901). A reply that doesn't say all of
/// it confirms nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundRule {
    /// The operation whose money is given back.
    pub of: OperationName,
    /// The refund's id: each counts once, however often the upstream confirms it.
    pub id: String,
    /// The amount in minor units: an integer of at least one.
    pub amount: String,
    /// The currency.
    pub currency: String,
    /// Where a text is, and which it has to be, for the refund to be final.
    pub status: Option<(String, String)>,
}

/// A refund that a reply confirms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refunded {
    /// The upstream's id of it.
    pub id: String,
    /// How much.
    pub amount: Cost,
}

/// The longest id of a refund, in bytes.
const REFUND_ID_BYTES_MAX: usize = 512;

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

impl RefundRule {
    /// What the body of a reply with a 2xx status confirms. `None`: nothing that could be counted.
    #[must_use]
    pub fn confirmed(&self, body: &[u8]) -> Option<Refunded> {
        let reply: Value = serde_json::from_slice(body).ok()?;
        let text = |pointer: &String| reply.pointer(pointer).and_then(Value::as_str);
        if let Some((at, wanted)) = &self.status
            && text(at) != Some(wanted)
        {
            return None;
        }
        let id = text(&self.id).filter(|id| (1..=REFUND_ID_BYTES_MAX).contains(&id.len()))?.to_owned();
        let amount_minor = reply.pointer(&self.amount)?.as_i64().filter(|amount| *amount > 0)?;
        let currency = text(&self.currency).and_then(currency)?;
        Some(Refunded { id, amount: Cost { amount_minor, currency } })
    }
}

/// One spelling for a currency, so that no budget is counted under two.
fn currency(text: &str) -> Option<String> {
    let code = text.len() == 3 && text.bytes().all(|b| b.is_ascii_alphabetic());
    code.then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refund_is_confirmed_whole_or_not_at_all() {
        let rule = RefundRule {
            of: "create_charge".parse().unwrap(),
            id: "/id".to_owned(),
            amount: "/amount".to_owned(),
            currency: "/currency".to_owned(),
            status: Some(("/status".to_owned(), "succeeded".to_owned())),
        };
        let said = |body: &str| rule.confirmed(body.as_bytes());
        let good = r#"{"id":"re_1","amount":250,"currency":"USD","status":"succeeded"}"#;
        let amount = Cost { amount_minor: 250, currency: "usd".to_owned() };
        assert_eq!(said(good), Some(Refunded { id: "re_1".to_owned(), amount }));
        for (part, other) in [
            ("succeeded", "pending"),
            ("\"re_1\"", "\"\""),
            ("\"re_1\"", "1"),
            ("250", "0"),
            ("250", "-250"),
            ("250", "2.5"),
            ("250", "\"250\""),
            ("250", "9223372036854775808"),
            ("USD", "US"),
            ("USD", "dollars"),
            ("\"amount\"", "\"sum\""),
            ("}", ""),
        ] {
            assert_eq!(said(&good.replace(part, other)), None, "{part} -> {other}");
        }
        let long = good.replace("re_1", &"r".repeat(REFUND_ID_BYTES_MAX + 1));
        assert_eq!(said(&long), None);
    }
}
