//! JSON from outside: stricter than the grammar, so that two readers of one text can't see two things.

use std::fmt;

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// How deep arrays and objects may be nested. Real APIs stay under ten; recursion over a value stays cheap.
pub const DEPTH_MAX: usize = 32;

/// Why a text isn't taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not JSON, too deep, or with a key that is there twice.
    #[error("{0}")]
    Malformed(String),
    /// A number that would be another one, or written otherwise, after it was read and written again.
    #[error("the number {0} can't be kept exactly: write it in its shortest form, or as a string")]
    Number(String),
}

/// Reads one JSON text. Refused are keys that are there twice in one object, nesting beyond [`DEPTH_MAX`], and
/// numbers that don't come out the same when they are written again.
///
/// # Errors
/// The rule that is broken, and the place where it shows.
pub fn parse(text: &str) -> Result<Value, JsonError> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let malformed = |error: serde_json::Error| JsonError::Malformed(error.to_string());
    let value = Strict { depth_left: DEPTH_MAX }.deserialize(&mut reader).map_err(malformed)?;
    reader.end().map_err(malformed)?;
    numbers_survive(text)?;
    Ok(value)
}

/// Reads any value, one level deep at a time.
#[derive(Clone, Copy)]
struct Strict {
    depth_left: usize,
}

impl Strict {
    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        match self.depth_left.checked_sub(1) {
            Some(depth_left) => Ok(Self { depth_left }),
            None => Err(E::custom(format_args!("nested deeper than {DEPTH_MAX} levels"))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: de::Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number that isn't finite"))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let deeper = self.deeper()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(deeper)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let deeper = self.deeper()?;
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if object.contains_key(&key) {
                let shown: String = key.chars().take(64).collect();
                return Err(de::Error::custom(format_args!("the key {shown:?} is there twice")));
            }
            object.insert(key, entries.next_value_seed(deeper)?);
        }
        Ok(Value::Object(object))
    }
}

/// Compares each number of a valid JSON text with what it's written as after reading.
fn numbers_survive(text: &str) -> Result<(), JsonError> {
    // Up to 15 digits are exact in every reader; they are most numbers there are.
    const SURELY_EXACT_DIGITS: usize = 15;
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c == '"' || c == '-' || c.is_ascii_digit()) {
        let (_, from) = rest.split_at(at);
        if let Some(inside) = from.strip_prefix('"') {
            rest = after_string(inside);
            continue;
        }
        let end =
            from.find(|c: char| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E')).unwrap_or(from.len());
        let (token, after) = from.split_at(end);
        let plain = token.len() <= SURELY_EXACT_DIGITS && token.bytes().all(|b| b.is_ascii_digit());
        if !plain && serde_json::from_str::<Number>(token).ok().is_none_or(|n| n.to_string() != token) {
            return Err(JsonError::Number(token.chars().take(40).collect()));
        }
        rest = after;
    }
    Ok(())
}

/// What follows a string's closing quote.
fn after_string(mut inside: &str) -> &str {
    while let Some(at) = inside.find(['"', '\\']) {
        let (_, from) = inside.split_at(at);
        if let Some(after) = from.strip_prefix('"') {
            return after;
        }
        let mut escape = from.chars();
        escape.nth(1);
        inside = escape.as_str();
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_json_is_read() {
        let text = r#" {"a":[1,-2,0.5,1e+21,null,true,"x \" 1e5 \\"],"b":{"a":18446744073709551615}} "#;
        assert_eq!(parse(text).unwrap(), serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn a_key_that_is_there_twice_is_refused_at_any_depth() {
        for text in [r#"{"a":1,"a":1}"#, r#"[{"b":{"c":1,"d":2,"c":3}}]"#, r#"{"a":1,"\u0061":2}"#] {
            assert!(parse(text).unwrap_err().to_string().contains("twice"), "{text}");
        }
        assert!(parse(r#"[{"a":1},{"a":1}]"#).is_ok());
    }

    #[test]
    fn nesting_has_an_end() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(&nested(DEPTH_MAX)).is_ok());
        assert!(parse(&nested(DEPTH_MAX + 1)).unwrap_err().to_string().contains("deeper"));
        assert!(parse(&"[".repeat(100_000)).is_err());
    }

    #[test]
    fn numbers_that_change_are_refused() {
        for text in
            ["12345678901234567890123", "0.10000000000000000001", "1.10", "1E5", "-0", "[1,1e400]", "1e2"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
        for text in ["9007199254740993", "0.1", "-1.5", "0", "100000000000000000"] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in ["", "{", "{} {}", "NaN", "{'a':1}", "[1,]", "\u{feff}{}", "\"\n\"", "nul"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
