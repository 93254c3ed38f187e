//! Strict JSON: one reading, whoever reads it.
//!
//! `serde_json` takes the last of two members with one name, and rounds an integer that doesn't fit. A checker and
//! a receiver that resolve such a text differently see two different values, so neither is accepted here.

pub(crate) mod object;

pub(crate) use object::Object;

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::text::is_printable;

/// How deep arrays and objects may be nested. The schemas that a model can fill in are far flatter; every reader
/// of a checked value may recurse this deep without a thought for its stack.
pub(crate) const DEPTH_MAX: usize = 32;

/// Why a text is not acceptable JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Too many bytes.
    #[error("it has {bytes} bytes, at most {bytes_max} are allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// Not UTF-8.
    #[error("it is not UTF-8: byte {0} is not valid")]
    NotUtf8(usize),
    /// A syntax error.
    #[error("it is not valid JSON: {0}")]
    Syntax(String),
    /// A rule beyond the syntax is broken somewhere inside.
    #[error("{}{what}", at(.pointer))]
    Rule {
        /// Where, as a JSON pointer. Empty: at the top.
        pointer: String,
        /// What is wrong.
        what: String,
    },
}

/// The place, its names fit to be shown: nobody has looked at them yet.
fn at(pointer: &str) -> String {
    let shown: String = pointer.chars().map(|c| if is_printable(c) { c } else { '\u{fffd}' }).collect();
    if shown.is_empty() { shown } else { format!("at {shown}: ") }
}

/// Reads one JSON text.
pub(crate) fn parse(bytes: &[u8], bytes_max: usize) -> Result<Value, JsonError> {
    if bytes.len() > bytes_max {
        return Err(JsonError::TooLarge { bytes: bytes.len(), bytes_max });
    }
    let text = std::str::from_utf8(bytes).map_err(|e| JsonError::NotUtf8(e.valid_up_to()))?;
    let mut reading = Reading::default();
    let mut from = serde_json::Deserializer::from_str(text);
    let mut value = Node { reading: &mut reading, depth: 0 }
        .deserialize(&mut from)
        .and_then(|value| from.end().map(|()| value))
        .map_err(|e| reading.explain(&e))?;
    if reading.rounded
        && let Some(literal) = unfit_integer(text)
    {
        return Err(JsonError::Rule {
            pointer: String::new(),
            what: format!("the integer {literal} doesn't fit into 64 bits"),
        });
    }
    // One order of members, whatever `serde_json` was built to keep: what is digested and sent is this order's text.
    if reading.unsorted {
        value.sort_all_objects();
    }
    Ok(value)
}

/// A value as text: canonical, if it came from [`parse`].
pub(crate) fn text(value: &Value) -> String {
    /// Most fit into it: growing it is what writing costs most.
    const EXPECTED_BYTES: usize = 512;
    let mut text = Vec::with_capacity(EXPECTED_BYTES);
    // Writing into a vector can't fail, and neither can a value: its names are texts.
    match serde_json::to_writer(&mut text, value).map(|()| String::from_utf8(text)) {
        Ok(Ok(text)) => text,
        Ok(Err(_)) | Err(_) => value.to_string(),
    }
}

/// A JSON pointer's token for a member's name.
pub(crate) fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// What is noticed on the way, beside the value.
#[derive(Default)]
struct Reading {
    /// The rule that was broken, if it wasn't the syntax.
    broken: Option<String>,
    /// The way to it, innermost first. Filled while the error travels up.
    trail: Vec<String>,
    /// A number came as a float that might have been written as an integer.
    rounded: bool,
    /// Some object's members came in another order than that of their names.
    unsorted: bool,
}

impl Reading {
    fn broken<E: serde::de::Error>(&mut self, what: String) -> E {
        self.broken = Some(what);
        E::custom("a rule is broken")
    }

    fn explain(&mut self, error: &serde_json::Error) -> JsonError {
        match self.broken.take() {
            None => JsonError::Syntax(error.to_string()),
            Some(what) => JsonError::Rule {
                pointer: self.trail.iter().rev().fold(String::new(), |all, one| format!("{all}/{one}")),
                what,
            },
        }
    }
}

/// One value, at some depth.
struct Node<'r> {
    reading: &'r mut Reading,
    depth: usize,
}

impl Node<'_> {
    fn enter<E: serde::de::Error>(&mut self) -> Result<(), E> {
        if self.depth >= DEPTH_MAX {
            return Err(self.reading.broken(format!("it is nested deeper than {DEPTH_MAX} levels")));
        }
        self.depth += 1;
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        self.reading.rounded |= value.abs() >= INTEGRAL_MAX;
        shortest(value).map(Value::Number).ok_or_else(|| E::custom("a number is out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Value, A::Error> {
        self.enter()?;
        let mut all = Vec::new();
        loop {
            let item = Node { reading: &mut *self.reading, depth: self.depth };
            match items.next_element_seed(item) {
                Ok(Some(item)) => all.push(item),
                Ok(None) => return Ok(Value::Array(all)),
                Err(error) => {
                    self.reading.trail.push(all.len().to_string());
                    return Err(error);
                }
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<Value, A::Error> {
        self.enter()?;
        let mut all = Map::new();
        let mut unsorted = false;
        while let Some(name) = members.next_key::<String>()? {
            // Names are compared as they read once their escapes are resolved: `"\u0061"` is `"a"`.
            // As long as names come in order, none can be there already.
            unsorted = unsorted || all.keys().next_back().is_some_and(|last| *last >= name);
            if unsorted && all.contains_key(&name) {
                return Err(self.reading.broken(format!("the name {name:?} appears twice")));
            }
            match members.next_value_seed(Node { reading: &mut *self.reading, depth: self.depth }) {
                Ok(value) => all.insert(name, value),
                Err(error) => {
                    self.reading.trail.push(escape(&name));
                    return Err(error);
                }
            };
        }
        self.reading.unsorted |= unsorted;
        Ok(Value::Object(all))
    }
}

/// From here on floats hold integers alone, and no longer all of them: 2^53.
const INTEGRAL_MAX: f64 = 9_007_199_254_740_992.0;

/// The canonical number for a float: an integer where it is one exactly (`1.0`, `1e2`, `-0`), so that equal numbers
/// have equal texts and a tool that expects an integer can read it.
fn shortest(value: f64) -> Option<Number> {
    if value.fract() == 0.0 && value.abs() < INTEGRAL_MAX {
        #[expect(clippy::cast_possible_truncation, reason = "integral and below 2^53: it fits exactly")]
        return Some(Number::from(value as i64));
    }
    Number::from_f64(value)
}

/// The first integer in a valid JSON text that neither `i64` nor `u64` holds.
fn unfit_integer(text: &str) -> Option<&str> {
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c == '"' || c == '-' || c.is_ascii_digit()) {
        rest = rest.get(start..)?;
        if let Some(string) = rest.strip_prefix('"') {
            rest = after_string(string)?;
            continue;
        }
        let end =
            rest.find(|c: char| !matches!(c, '0'..='9' | '-' | '+' | '.' | 'e' | 'E')).unwrap_or(rest.len());
        let (number, tail) = rest.split_at_checked(end)?;
        let is_integer = !number.contains(['.', 'e', 'E']);
        if is_integer && number.parse::<i64>().is_err() && number.parse::<u64>().is_err() {
            return Some(number);
        }
        rest = tail;
    }
    None
}

/// What follows a string whose opening quote has been read.
fn after_string(text: &str) -> Option<&str> {
    let mut escaped = false;
    let end = text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })?;
    text.get(end + 1..)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, String> {
        parse(text.as_bytes(), 1 << 20).map(|v| v.to_string()).map_err(|e| e.to_string())
    }

    fn refused(text: &str, why: &str) {
        let error = read(text).expect_err(text);
        assert!(error.contains(why), "{text}: {error}");
    }

    #[test]
    fn members_are_sorted_and_numbers_shortest() {
        assert_eq!(
            read(r#" {"b": 1.0, "a": [1e2, -0, -0.0, 0.5, 1e300]} "#).unwrap(),
            r#"{"a":[100,0,0,0.5,1e+300],"b":1}"#
        );
        assert_eq!(read("18446744073709551615").unwrap(), "18446744073709551615");
        assert_eq!(read("-9223372036854775808").unwrap(), "-9223372036854775808");
    }

    #[test]
    fn a_name_may_appear_once_however_it_is_written() {
        refused(r#"{"a":1,"a":2}"#, r#"the name "a" appears twice"#);
        refused(r#"{"a":1,"\u0061":2}"#, "appears twice");
        refused(r#"{"x":[0,{"y/z":{"a":1,"a":1}}]}"#, "at /x/1/y~1z: the name");
        refused(r#"{"\u001b[2J":{"\u202e":1,"\u202e":1}}"#, "at /\u{fffd}[2J: the name \"\\u{202e}\"");
        assert!(read(r#"[{"a":1},{"a":2}]"#).is_ok());
    }

    #[test]
    fn nesting_ends_at_the_limit() {
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(read(&nested(DEPTH_MAX)).is_ok());
        refused(&nested(DEPTH_MAX + 1), "nested deeper than 32");
        refused(&"[".repeat(500_000), "nested deeper than 32");
        refused(&"{\"a\":".repeat(100_000), "nested deeper than 32");
    }

    #[test]
    fn integers_that_would_be_rounded_are_refused() {
        refused("18446744073709551616", "18446744073709551616 doesn't fit");
        refused(
            r#"{"s":"1\\\"99999999999999999999999","n":-9223372036854775809}"#,
            "-9223372036854775809 doesn't",
        );
        assert!(read(r#"{"s":"99999999999999999999999","n":1e22,"m":6.02e23}"#).is_ok());
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for bad in [
            "",
            " ",
            "{",
            "{}{}",
            "{} x",
            "nul",
            "NaN",
            "Infinity",
            "1e999",
            "-1e999",
            "01",
            "+1",
            "1.",
            ".5",
            "'a'",
            "{a:1}",
            "[1,]",
            "{\"a\":1,}",
            "\u{feff}{}",
            "\"\t\"",
            "\"\\x\"",
            r#""\ud800""#,
            r#""\udc00\ud800""#,
            "// c\n{}",
            "{}\0",
        ] {
            refused(bad, "not valid JSON");
        }
        assert_eq!(parse(b"\"\xff\"", 10), Err(JsonError::NotUtf8(1)));
        assert_eq!(parse(b"\"\xed\xa0\x80\"", 10), Err(JsonError::NotUtf8(1)), "a surrogate in UTF-8");
        assert_eq!(parse(b"[1,2,3]", 6), Err(JsonError::TooLarge { bytes: 7, bytes_max: 6 }));
    }
}
