//! The type of a parameter: a subset of JSON Schema, compiled once when the connection is loaded.

use std::collections::BTreeMap;
use std::fmt;

use regex::Regex;
use serde_json::{Map, Number, Value};

use crate::json;

/// The longest JSON text that a number may be, in bytes: no 64-bit float needs more than 25.
const NUMBER_BYTES_MAX: usize = 32;

/// What a value that is null must be.
const NO_NULL: &str = "must not be null, since it isn't declared with nullable = true";

/// What an integer must be, in a text and in JSON.
pub(crate) const INTEGER: &str = "must be an integer between -2^63 and 2^63-1, written plainly";

/// A declared parameter.
#[derive(Debug)]
#[non_exhaustive]
pub struct Parameter {
    /// What it may be.
    pub kind: Kind,
    /// Whether it may be left out.
    pub optional: bool,
    /// Whether it may be null, in JSON bodies only. To policies a null is as though it weren't there.
    pub nullable: bool,
}

/// What a value may be. Bounds are inclusive.
#[derive(Debug)]
pub enum Kind {
    /// A text.
    String {
        /// Found somewhere in the text; anchor it with `^` and `$` to cover the whole.
        pattern: Option<Regex>,
        /// The only values, when not empty.
        allowed: Vec<String>,
        /// The fewest characters.
        min_length: usize,
        /// The most characters.
        max_length: usize,
    },
    /// A whole number of 64 bits.
    Integer {
        /// The least value.
        minimum: i64,
        /// The greatest value.
        maximum: i64,
        /// The only values, when not empty.
        allowed: Vec<i64>,
    },
    /// Any finite number.
    Number {
        /// The least value.
        minimum: f64,
        /// The greatest value.
        maximum: f64,
    },
    /// `true` or `false`.
    Boolean,
    /// A list, in JSON bodies only.
    Array {
        /// What each item may be.
        items: Box<Kind>,
        /// The fewest items.
        min_items: usize,
        /// The most items.
        max_items: usize,
    },
    /// A closed object, in JSON bodies only.
    Object {
        /// Its properties; no others are allowed.
        properties: BTreeMap<String, Parameter>,
    },
}

/// Why a value doesn't fit its type: where inside it, and the rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// Where inside the parameter, `[0].name` for example; empty for the parameter itself.
    pub at: String,
    /// The rule that the value breaks, as in "must be an integer".
    pub rule: String,
}

impl Mismatch {
    fn new(rule: impl Into<String>) -> Self {
        Self { at: String::new(), rule: rule.into() }
    }

    fn inside(self, at: impl fmt::Display) -> Self {
        Self { at: format!("{at}{}", self.at), rule: self.rule }
    }
}

impl Kind {
    /// The typed value of a text from a path, query or form. Numbers are written at their shortest: no sign `+`, no zero
    /// that says nothing.
    ///
    /// # Errors
    /// The rule that the text breaks.
    pub fn of_text(&self, text: &str) -> Result<Value, Mismatch> {
        let value = match self {
            Self::String { .. } => Value::from(text),
            Self::Integer { .. } => match text.parse::<i64>() {
                Ok(number) if number.to_string() == text => Value::from(number),
                _ => return Err(Mismatch::new(INTEGER)),
            },
            Self::Number { .. } => {
                number(text).ok_or_else(|| Mismatch::new("must be a number, written plainly"))?
            }
            Self::Boolean => match text {
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                _ => return Err(Mismatch::new("must be true or false")),
            },
            Self::Array { .. } | Self::Object { .. } => {
                return Err(Mismatch::new("must be in a JSON body"));
            }
        };
        self.check(&value)?;
        Ok(value)
    }

    /// Checks a value of a JSON body.
    ///
    /// # Errors
    /// The rule that the value breaks, and where.
    pub fn check(&self, value: &Value) -> Result<(), Mismatch> {
        match self {
            Self::String { pattern, allowed, min_length, max_length } => {
                let text = value.as_str().ok_or_else(|| Mismatch::new("must be a string"))?;
                if !allowed.is_empty() && !allowed.iter().any(|one| one == text) {
                    return Err(Mismatch::new(format!("must be one of {}", allowed.join(", "))));
                }
                let length = text.chars().count();
                if length < *min_length || length > *max_length {
                    return Err(Mismatch::new(format!("must have {min_length} to {max_length} characters")));
                }
                match pattern {
                    Some(pattern) if !pattern.is_match(text) => {
                        Err(Mismatch::new(format!("must match the pattern {}", pattern.as_str())))
                    }
                    _ => Ok(()),
                }
            }
            Self::Integer { minimum, maximum, allowed } => {
                let number = value.as_i64().ok_or_else(|| Mismatch::new(INTEGER))?;
                if !allowed.is_empty() && !allowed.contains(&number) {
                    let allowed: Vec<_> = allowed.iter().map(i64::to_string).collect();
                    return Err(Mismatch::new(format!("must be one of {}", allowed.join(", "))));
                }
                bounds(&number, minimum, maximum, (*minimum > i64::MIN, *maximum < i64::MAX))
            }
            Self::Number { minimum, maximum } => {
                let number = value.as_f64().ok_or_else(|| Mismatch::new("must be a number"))?;
                bounds(&number, minimum, maximum, (*minimum > f64::MIN, *maximum < f64::MAX))
            }
            Self::Boolean if value.is_boolean() => Ok(()),
            Self::Boolean => Err(Mismatch::new("must be true or false")),
            Self::Array { items, min_items, max_items } => {
                let list = value.as_array().ok_or_else(|| Mismatch::new("must be an array"))?;
                if list.len() < *min_items || list.len() > *max_items {
                    return Err(Mismatch::new(format!("must have {min_items} to {max_items} items")));
                }
                let mut numbered = list.iter().enumerate();
                numbered.try_for_each(|(index, item)| {
                    items.check(item).map_err(|mismatch| mismatch.inside(format_args!("[{index}]")))
                })
            }
            Self::Object { properties } => {
                let object = value.as_object().ok_or_else(|| Mismatch::new("must be an object"))?;
                check_object(properties, object).map_err(|mismatch| mismatch.inside('.'))
            }
        }
    }
}

/// The number that a text stands for, as a JSON body has it. It's written as JSON has it, or with the same digits and
/// without an exponent, as most programs do (`0.000001`, `-0`). More digits than it takes could be another number to
/// whoever reads it upstream than to the policies.
fn number(text: &str) -> Option<Value> {
    if let Ok(Value::Number(number)) = json::parse(text.as_bytes(), NUMBER_BYTES_MAX)
        && number.to_string() == text
    {
        return Some(number.into());
    }
    let value: f64 = text.parse().ok()?;
    let number = Number::from_f64(value).filter(|_| value.to_string() == text)?;
    Some(if value == 0.0 { Value::from(0) } else { number.into() })
}

/// Checks a closed object: no property missing, none undeclared, each of its type, or null where it may be.
pub(super) fn check_object(
    properties: &BTreeMap<String, Parameter>,
    object: &Map<String, Value>,
) -> Result<(), Mismatch> {
    for (name, value) in object {
        let Some(parameter) = properties.get(name) else {
            return Err(Mismatch::new("isn't declared").inside(shown_name(name)));
        };
        let checked = match value {
            Value::Null if parameter.nullable => Ok(()),
            Value::Null => Err(Mismatch::new(NO_NULL)),
            value => parameter.kind.check(value),
        };
        checked.map_err(|mismatch| mismatch.inside(name))?;
    }
    match properties.iter().find(|(name, parameter)| !parameter.optional && !object.contains_key(*name)) {
        Some((name, _)) => Err(Mismatch::new("is missing").inside(name)),
        None => Ok(()),
    }
}

/// A guest's name in a message: printable and cut.
pub(super) fn shown_name(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(64).collect()
}

fn bounds<T: PartialOrd + fmt::Display>(
    value: &T,
    least: &T,
    most: &T,
    stated: (bool, bool),
) -> Result<(), Mismatch> {
    if value >= least && value <= most {
        return Ok(());
    }
    Err(Mismatch::new(match stated {
        (true, true) => format!("must be from {least} to {most}"),
        (true, false) => format!("must be at least {least}"),
        _ => format!("must be at most {most}"),
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn integer(minimum: i64, maximum: i64) -> Kind {
        Kind::Integer { minimum, maximum, allowed: vec![] }
    }

    fn string(pattern: Option<&str>) -> Kind {
        let pattern = pattern.map(|p| Regex::new(p).unwrap());
        Kind::String { pattern, allowed: vec![], min_length: 1, max_length: 8 }
    }

    #[test]
    fn integers_have_one_spelling() {
        assert_eq!(integer(0, 10).of_text("5").unwrap(), json!(5));
        for bad in ["05", "+5", "5.0", "5e0", " 5", "", "-0", "١", "9223372036854775808", "-1", "11"] {
            assert!(integer(0, 10).of_text(bad).is_err(), "{bad:?}");
        }
        assert!(integer(0, 10).check(&json!("5")).is_err());
        assert!(integer(0, 10).check(&json!(5.0)).is_err());
        assert_eq!(integer(1, i64::MAX).of_text("0").unwrap_err().rule, "must be at least 1");
        for (text, value) in [("18446744073709551615", json!(u64::MAX)), ("1e18", json!(1e18))] {
            assert_eq!(integer(0, i64::MAX).of_text(text).unwrap_err().rule, INTEGER);
            assert_eq!(integer(0, i64::MAX).check(&value).unwrap_err().rule, INTEGER);
        }
    }

    #[test]
    fn strings_keep_to_pattern_and_length() {
        assert!(string(Some("^in_[a-z]+$")).of_text("in_abc").is_ok());
        for bad in ["in_", "xin_a", "in_a\n", "in_a/b", "in_abcdefgh"] {
            assert!(string(Some("^in_[a-z]+$")).of_text(bad).is_err(), "{bad:?}");
        }
        assert!(string(None).of_text("").is_err());
        assert!(string(None).check(&json!(null)).is_err());
    }

    #[test]
    fn numbers_and_booleans() {
        let number = Kind::Number { minimum: 0.0, maximum: 1.0 };
        assert_eq!(number.of_text("0.5").unwrap(), json!(0.5));
        for bad in ["NaN", "inf", "0.50", "1e0", "2", "", "true", "0x1"] {
            assert!(number.of_text(bad).is_err(), "{bad:?}");
        }
        let any = Kind::Number { minimum: f64::MIN, maximum: f64::MAX };
        for (value, text) in [
            (json!(0), "-0"),
            (json!(-5), "-5"),
            (json!(0.000_001), "0.000001"),
            (json!(-1.5e-7), "-0.00000015"),
            (json!(1e21), "1000000000000000000000"),
            (json!(18_446_744_073_709_551_615_u64), "18446744073709551615"),
            (json!(5e-324), 5e-324_f64.to_string().as_str()),
            (json!(f64::MAX), f64::MAX.to_string().as_str()),
            (json!(1e21), json!(1e21).to_string().as_str()),
        ] {
            assert_eq!(any.of_text(text).unwrap(), value, "{text}");
        }
        for bad in [
            "-0.0",
            "+1",
            "1.",
            ".5",
            "01",
            "0.1000000000000000055511151231257827",
            "500.00000000000001",
            "1000000000000000000001",
            "1E21",
            "infinity",
            "-inf",
            "1_000",
            " 1",
        ] {
            assert!(any.of_text(bad).is_err(), "{bad:?}");
        }
        assert_eq!(Kind::Boolean.of_text("true").unwrap(), json!(true));
        assert!(Kind::Boolean.of_text("True").is_err());
    }

    #[test]
    fn nested_values_say_where_they_are_wrong() {
        let item = Parameter { kind: integer(0, 9), optional: false, nullable: false };
        let kind = Kind::Array {
            items: Box::new(Kind::Object { properties: BTreeMap::from([("n".to_owned(), item)]) }),
            min_items: 0,
            max_items: 2,
        };
        assert!(kind.check(&json!([{"n": 1}])).is_ok());
        for (value, at, rule) in [
            (json!([{"n": 1}, {"n": 10}]), "[1].n", "must be from 0 to 9"),
            (json!([{}]), "[0].n", "is missing"),
            (json!([{"n": 1, "m": 2}]), "[0].m", "isn't declared"),
            (json!([1, 2, 3]), "", "must have 0 to 2 items"),
            (json!({}), "", "must be an array"),
        ] {
            let mismatch = kind.check(&value).unwrap_err();
            assert_eq!((mismatch.at.as_str(), mismatch.rule.as_str()), (at, rule));
        }
    }

    #[test]
    fn null_stands_only_where_it_may() {
        let declared = |optional, nullable| {
            let parameter = Parameter { kind: integer(1, 9), optional, nullable };
            BTreeMap::from([("n".to_owned(), parameter)])
        };
        let checked = |declared: &BTreeMap<String, Parameter>, value: Value| {
            check_object(declared, value.as_object().unwrap())
                .map_err(|mismatch| format!("{} {}", mismatch.at, mismatch.rule))
        };
        for (optional, nullable, value, told) in [
            (false, true, json!({"n": null}), Ok(())),
            (true, true, json!({"n": null}), Ok(())),
            (true, true, json!({}), Ok(())),
            (false, true, json!({}), Err("n is missing")),
            (false, true, json!({"n": 10}), Err("n must be from 1 to 9")),
            (
                true,
                false,
                json!({"n": null}),
                Err("n must not be null, since it isn't declared with nullable = true"),
            ),
        ] {
            assert_eq!(checked(&declared(optional, nullable), value), told.map_err(str::to_owned));
        }
        // In a list nothing is null, but in the objects of one.
        let objects = Kind::Object { properties: declared(false, true) };
        let list = Kind::Array { items: Box::new(objects), min_items: 0, max_items: 2 };
        assert!(list.check(&json!([{"n": null}])).is_ok());
        assert!(list.check(&json!([null])).is_err());
    }
}
