//! Objects of JSON that are none but objects.
//!
//! What is derived for a struct takes a list as well, its values in the order of the members: `["agent:a", null, "x"]`
//! would throw a switch. Nobody means that, and what nobody means isn't read.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// What an object, and nothing else, is read as.
#[derive(Debug)]
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Members(PhantomData))
    }
}

/// A member that is a list of objects: `#[serde(deserialize_with = "object::list")]`.
///
/// # Errors
/// What is wrong with the list, or with one of them.
pub(crate) fn list<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    let objects = Vec::<Object<T>>::deserialize(from)?;
    Ok(objects.into_iter().map(|Object(value)| value).collect())
}

/// A member that is an object or null: `#[serde(default, deserialize_with = "object::option")]`.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn option<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    let object = Option::<Object<T>>::deserialize(from)?;
    Ok(object.map(|Object(value)| value))
}

struct Members<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Object<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(members)).map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[serde(deserialize_with = "list")]
        many: Vec<Inner>,
        #[serde(default, deserialize_with = "option")]
        one: Option<Inner>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        a: u8,
    }

    fn read(text: &str) -> Result<Outer, String> {
        serde_json::from_str::<Object<Outer>>(text)
            .map(|Object(outer)| outer)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn objects_are_read_as_without_it() {
        for text in
            [r#"{"many":[]}"#, r#" {"many":[{"a":1},{"a":2}],"one":null}"#, r#"{"one":{"a":3},"many":[]}"#]
        {
            assert_eq!(read(text).unwrap(), serde_json::from_str(text).unwrap(), "{text}");
        }
        for (text, wrong) in [
            (r#"{"many":[],"more":1}"#, "unknown field `more`"),
            (r#"{"many":[],"many":[]}"#, "duplicate field `many`"),
            (r#"{"many":[{}]}"#, "missing field `a`"),
            (r#"{"many":[]} x"#, "trailing characters"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(wrong) && error.contains(" at line 1 column "), "{text}: {error}");
        }
    }

    #[test]
    fn lists_are_no_objects_at_any_depth() {
        for text in
            ["[[]]", "[]", "7", "null", r#"{"many":[[1]]}"#, r#"{"many":[null]}"#, r#"{"many":[],"one":[1]}"#]
        {
            let error = read(text).unwrap_err();
            assert!(error.contains("expected an object"), "{text}: {error}");
        }
    }
}
