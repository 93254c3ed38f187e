//! The type of a parameter: a subset of JSON Schema, compiled once when the connection is loaded.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::Value;

/// A declared parameter.
#[derive(Debug)]
#[non_exhaustive]
pub struct Parameter {
    /// What it may be.
    pub kind: Kind,
    /// Whether it may be left out.
    pub optional: bool,
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

impl Kind {
    /// The typed value of a text from a path, query or form.
    ///
    /// # Errors
    /// The rule that the text breaks.
    pub fn of_text(&self, _text: &str) -> Result<Value, Mismatch> {
        Err(Mismatch { at: String::new(), rule: "must be typed".into() })
    }

    /// Checks a value of a JSON body.
    ///
    /// # Errors
    /// The rule that the value breaks, and where.
    pub fn check(&self, _value: &Value) -> Result<(), Mismatch> {
        Err(Mismatch { at: String::new(), rule: "must be typed".into() })
    }
}
