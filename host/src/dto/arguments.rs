//! Arguments that passed a tool's input schema.

use serde_json::Value;

use crate::dto::schema::InputSchema;
use crate::dto::violation;
use crate::ids::Digest;
use crate::json::{self, JsonError};

/// The most bytes of arguments. A model writes every one of them as a token: four pages of text are a few KiB, and
/// whoever needs more sends a reference. The same figure bounds what one call may cost before anything is checked.
pub const ARGUMENTS_BYTES_MAX: usize = 256 * 1024;

/// Checked arguments, as canonical JSON: no white space, members sorted by name.
///
/// INVARIANT (arguments): made only by [`Arguments::parse`], so they are a JSON object that passes the tool's input
/// schema, holds every name once and nests at most 32 levels.
#[derive(Debug, Clone)]
pub struct Arguments {
    json: String,
    value: Value,
}

impl Arguments {
    /// Checks arguments as they came. A `null` for an optional argument counts as absent.
    ///
    /// # Errors
    /// [`ArgumentError`], whose text tells a model what to write instead.
    pub fn parse(bytes: &[u8], schema: &InputSchema) -> Result<Self, ArgumentError> {
        let mut value = json::parse(bytes, ARGUMENTS_BYTES_MAX)?;
        if !value.is_object() {
            let got = violation::type_name(&value);
            return Err(ArgumentError::Schema(format!("the arguments must be one JSON object, got {got}")));
        }
        schema.drop_nulls(&mut value);
        if !schema.is_valid(&value) {
            return Err(ArgumentError::Schema(explain(schema, &value)));
        }
        Ok(Self { json: json::text(&value), value })
    }

    /// The canonical JSON text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.json
    }

    /// The same as a value: an object.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// Its digest.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(self.json.as_bytes())
    }
}

/// Why arguments were refused. The text is fit for a model: it repeats names and types, never values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    /// Not acceptable JSON at all.
    #[error("the arguments can't be read: {0}")]
    Json(#[from] JsonError),
    /// JSON that breaks the schema. Every violation is named, up to five.
    #[error("{0}")]
    Schema(String),
}

fn explain(schema: &InputSchema, value: &Value) -> String {
    let sentences = violation::sentences("argument", "the arguments", schema.errors(value));
    if sentences.is_empty() { "the arguments don't fit the input schema".to_owned() } else { sentences }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = r#"{
        "type": "object", "additionalProperties": false, "required": ["amount", "customer"],
        "properties": {
            "amount": {"type": "integer", "minimum": 1, "maximum": 1000},
            "customer": {"type": "string", "pattern": "^cus_", "minLength": 1},
            "currency": {"type": "string", "enum": ["usd", "eur"]},
            "note": {"type": "string", "maxLength": 10},
            "lines": {"type": "array", "maxItems": 2, "items": {
                "type": "object", "additionalProperties": false, "required": ["sku"],
                "properties": {"sku": {"type": "string"}, "count": {"type": "integer"}}
            }}
        }
    }"#;

    fn parse(text: &str) -> Result<String, String> {
        let schema = InputSchema::parse(SCHEMA).unwrap();
        Arguments::parse(text.as_bytes(), &schema).map(|a| a.as_str().to_owned()).map_err(|e| e.to_string())
    }

    fn refused(text: &str, sentence: &str) {
        assert_eq!(parse(text).expect_err(text), sentence);
    }

    #[test]
    fn arguments_come_out_canonical() {
        let canonical = r#"{"amount":5,"customer":"cus_1"}"#;
        assert_eq!(parse(r#" { "customer" : "cus_1", "amount" : 5.0 } "#).unwrap(), canonical);
        assert_eq!(parse(r#"{"amount":5,"customer":"\u0063us_1"}"#).unwrap(), canonical);
    }

    #[test]
    fn null_for_an_optional_argument_is_absent_at_any_depth() {
        assert_eq!(
            parse(r#"{"amount":5,"customer":"cus_1","note":null,"lines":[{"sku":"a","count":null}]}"#)
                .unwrap(),
            r#"{"amount":5,"customer":"cus_1","lines":[{"sku":"a"}]}"#
        );
        refused(r#"{"amount":null,"customer":"cus_1"}"#, "argument `amount` must be an integer, got null");
        refused(
            r#"{"amount":5,"customer":"cus_1","lines":[{"sku":null}]}"#,
            "argument `lines[0].sku` must be a string, got null",
        );
        refused(
            r#"{"amount":5,"customer":"cus_1","extra":null}"#,
            "argument `extra` is not known; leave it out",
        );
    }

    #[test]
    fn errors_say_what_to_write() {
        refused(r#"{"amount":"5","customer":"cus_1"}"#, "argument `amount` must be an integer, got string");
        refused(r#"{"amount":5.5,"customer":"cus_1"}"#, "argument `amount` must be an integer, got number");
        refused(r#"{"amount":0,"customer":"cus_1"}"#, "argument `amount` must be at least 1");
        refused(r#"{"amount":1001,"customer":"cus_1"}"#, "argument `amount` must be at most 1000");
        refused(r#"{"amount":5}"#, "argument `customer` is missing");
        refused(r#"{"amount":5,"customer":"c"}"#, "argument `customer` must match the pattern ^cus_");
        refused(
            r#"{"amount":5,"customer":"cus_1","currency":"gbp"}"#,
            r#"argument `currency` must be one of "usd", "eur""#,
        );
        refused(
            r#"{"amount":5,"customer":"cus_1","lines":[{"sku":"a","x`\n":1}]}"#,
            "argument `lines[0].x` is not known; leave it out",
        );
        refused("[]", "the arguments must be one JSON object, got array");
        refused("null", "the arguments must be one JSON object, got null");
        refused(
            r#"{"customer":"cus_1","customer":"cus_2"}"#,
            "the arguments can't be read: the name \"customer\" appears twice",
        );
        assert!(parse("").unwrap_err().starts_with("the arguments can't be read: it is not valid JSON: EOF"));
    }

    #[test]
    fn several_violations_are_named_at_once_and_values_never() {
        let error = parse(r#"{"amount":"hunter2","note":"hunter2hunter2"}"#).unwrap_err();
        for part in ["`amount` must be", "`customer` is missing", "`note` must have at most 10"] {
            assert!(error.contains(part), "{error}");
        }
        assert!(!error.contains("hunter2"), "{error}");
        let flood: String = (0..1000).map(|i| format!("\"k{i}\":1,")).collect();
        assert!(parse(&format!("{{{flood}\"z\":1}}")).unwrap_err().len() < 500);
    }

    #[test]
    fn arguments_have_a_size_limit() {
        let long = format!(r#"{{"amount":5,"customer":"cus_{}"}}"#, "x".repeat(ARGUMENTS_BYTES_MAX));
        assert!(parse(&long).unwrap_err().contains("at most 262144 are allowed"));
    }
}
