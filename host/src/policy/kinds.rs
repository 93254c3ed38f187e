//! The types of parameters, as Cedar has them, and values of them.
//!
//! | parameter | Cedar |
//! |---|---|
//! | string | `String` |
//! | integer | `Long`: one beyond 64 bits with a sign has none, and is refused where a policy looks at it |
//! | boolean | `Bool` |
//! | number | `decimal`: a value with more than four decimal places has none, and is refused likewise |
//! | array | `Set`: order and repetition can't be asked for |
//! | object | a record; members that may be absent have a `?` |
//! | null, where it may be | nothing: the member is absent |
//!
//! Every type of the subset that connections and tools may use has its place here; nothing is left out.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use cedar_policy::RestrictedExpression as Expression;
use serde_json::{Map, Value};

use super::looks::Looks;
use super::names::quoted;
use crate::connection::{INTEGER, Kind, Parameter};

/// What any other number must be.
const DECIMAL: &str = "must have at most four decimal places and lie within 922337203685477 of zero";

/// A type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Type {
    String,
    Long,
    Bool,
    Decimal,
    Set(Box<Self>),
    Record(Record),
}

/// The members of a closed record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) members: BTreeMap<String, Member>,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) kind: Type,
    /// Whether it may be absent, as what is null is.
    pub(super) optional: bool,
    /// Whether it may be null.
    pub(super) nullable: bool,
}

/// Why a value can't be given to the policy: where, and what.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{at} {rule}")]
pub(super) struct Unfit {
    /// The way to the value, as a policy would write it.
    pub(super) at: String,
    /// What is wrong.
    pub(super) rule: &'static str,
}

impl Record {
    /// The type of an operation's parameters of one place.
    pub(super) fn of_parameters(parameters: &BTreeMap<String, Parameter>) -> Self {
        let member = |p: &Parameter| Member {
            kind: Type::of_kind(&p.kind),
            optional: p.optional || p.nullable,
            nullable: p.nullable,
        };
        Self { members: parameters.iter().map(|(name, p)| (name.clone(), member(p))).collect() }
    }

    /// The type of a tool's arguments, from its input schema, which is in the subset that tools may use.
    pub(super) fn of_schema(schema: &Value) -> Self {
        let required: Vec<&str> = schema
            .get("required")
            .and_then(Value::as_array)
            .map(|names| names.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
        let properties = schema.get("properties").and_then(Value::as_object);
        let member = |(name, schema): (&String, &Value)| {
            let optional = !required.contains(&name.as_str());
            Some((name.clone(), Member { kind: Type::of_schema(schema)?, optional, nullable: false }))
        };
        Self { members: properties.into_iter().flatten().filter_map(member).collect() }
    }

    /// Whether anything in it may be null, at any depth.
    pub(super) fn has_nullable(&self) -> bool {
        self.members.values().any(|member| member.nullable || member.kind.has_nullable())
    }

    /// As Cedar's schema writes it.
    pub(super) fn write(&self, out: &mut String) {
        out.push('{');
        for (index, (name, member)) in self.members.iter().enumerate() {
            out.push_str(if index > 0 { ", " } else { " " });
            let mark = if member.optional { "?" } else { "" };
            // Writing to a string can't fail.
            let _ = write!(out, "{}{mark}: ", quoted(name));
            member.kind.write(out);
        }
        out.push_str(if self.members.is_empty() { "}" } else { " }" });
    }

    /// A value of this type, with those members that are looked at. All are of their types, looked at or not; members that aren't
    /// declared, or missing, were refused before.
    pub(super) fn value(
        &self,
        at: &str,
        map: &Map<String, Value>,
        looks: Option<&Looks>,
    ) -> Result<Option<Expression>, Unfit> {
        let mut pairs = Vec::new();
        for (name, value) in map {
            let Some(member) = self.members.get(name) else {
                return Err(Unfit { at: within(at, name), rule: "isn't declared" });
            };
            if value.is_null() && member.nullable {
                continue;
            }
            let looks = looks.and_then(|looks| looks.member(name));
            let value = member.kind.value(value, looks).map_err(|unfit| unfit.inside(at, name))?;
            pairs.extend(value.map(|value| (name.clone(), value)));
        }
        if let Some((name, _)) = self.members.iter().find(|(n, m)| !m.optional && !map.contains_key(*n)) {
            return Err(Unfit { at: within(at, name), rule: "is missing" });
        }
        let record = looks.map(|_| Expression::new_record(pairs)).transpose();
        record.map_err(|_| Unfit { at: at.to_owned(), rule: "has a member twice" })
    }
}

impl Type {
    fn of_kind(kind: &Kind) -> Self {
        match kind {
            Kind::String { .. } => Self::String,
            Kind::Integer { .. } => Self::Long,
            Kind::Number { .. } => Self::Decimal,
            Kind::Boolean => Self::Bool,
            Kind::Array { items, .. } => Self::Set(Box::new(Self::of_kind(items))),
            Kind::Object { properties } => Self::Record(Record::of_parameters(properties)),
        }
    }

    fn of_schema(schema: &Value) -> Option<Self> {
        Some(match schema.get("type")?.as_str()? {
            "string" => Self::String,
            "integer" => Self::Long,
            "number" => Self::Decimal,
            "boolean" => Self::Bool,
            "array" => Self::Set(Box::new(Self::of_schema(schema.get("items")?)?)),
            "object" => Self::Record(Record::of_schema(schema)),
            _ => return None,
        })
    }

    fn has_nullable(&self) -> bool {
        match self {
            Self::String | Self::Long | Self::Bool | Self::Decimal => false,
            Self::Set(items) => items.has_nullable(),
            Self::Record(record) => record.has_nullable(),
        }
    }

    fn write(&self, out: &mut String) {
        match self {
            Self::String => out.push_str("String"),
            Self::Long => out.push_str("Long"),
            Self::Bool => out.push_str("Bool"),
            Self::Decimal => out.push_str("decimal"),
            Self::Set(items) => {
                out.push_str("Set<");
                items.write(out);
                out.push('>');
            }
            Self::Record(record) => record.write(out),
        }
    }

    /// The value, if it's looked at.
    fn value(&self, value: &Value, looks: Option<&Looks>) -> Result<Option<Expression>, Unfit> {
        let unfit = |rule| Unfit { at: String::new(), rule };
        Ok(match self {
            // Their types have room for more numbers than policies can compare.
            Self::Long if looks.is_none() && value.as_f64().is_some_and(|number| number.fract() == 0.0) => {
                None
            }
            Self::Decimal if looks.is_none() && value.is_number() => None,
            Self::String => {
                let text = value.as_str().ok_or(unfit("isn't a string"))?;
                looks.map(|_| Expression::new_string(text.to_owned()))
            }
            Self::Long => {
                let number = value.as_i64().ok_or(unfit(INTEGER))?;
                Some(Expression::new_long(number))
            }
            Self::Bool => {
                let bool = value.as_bool().ok_or(unfit("isn't true or false"))?;
                looks.map(|_| Expression::new_bool(bool))
            }
            Self::Decimal => {
                let number = decimal(value).ok_or(unfit(DECIMAL))?;
                Some(Expression::new_decimal(number))
            }
            Self::Set(items) => {
                let mut all = Vec::new();
                for (index, item) in value.as_array().ok_or(unfit("isn't a list"))?.iter().enumerate() {
                    let item = items.value(item, looks.map(|_| &Looks::Whole));
                    all.extend(item.map_err(|e| Unfit { at: format!("[{index}]{}", e.at), rule: e.rule })?);
                }
                looks.map(|_| Expression::new_set(all))
            }
            Self::Record(record) => {
                record.value("", value.as_object().ok_or(unfit("isn't an object"))?, looks)?
            }
        })
    }
}

impl Unfit {
    fn inside(self, at: &str, name: &str) -> Self {
        let inner = self.at;
        Self { at: format!("{}{inner}", within(at, name)), rule: self.rule }
    }
}

/// `body.amount`, or `body["metadata[order]"]` where the name is no identifier.
fn within(at: &str, name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.chars().all(plain) && !name.is_empty() {
        format!("{at}.{name}")
    } else {
        let shown: String = name.chars().take(64).collect();
        format!("{at}[{}]", quoted(&shown))
    }
}

/// The number as Cedar's `decimal` takes it, if it's exactly that: an integer of 64 bits over ten thousand.
fn decimal(value: &Value) -> Option<String> {
    let text = value.as_number()?.to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    // An exponent is always out of range.
    if !digits(whole.strip_prefix('-').unwrap_or(whole)) || !digits(fraction) || fraction.len() > 4 {
        return None;
    }
    format!("{whole}{fraction:0<4}").parse::<i64>().ok()?;
    Some(format!("{whole}.{fraction}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn decimals_are_exact_or_nothing() {
        for (value, known) in [
            (json!(5), Some("5.0")),
            (json!(-5.25), Some("-5.25")),
            (json!(0.0001), Some("0.0001")),
            (json!(0.00001), None),
            (json!(1e300), None),
            (json!(922_337_203_685_477_i64), Some("922337203685477.0")),
            (json!(922_337_203_685_478_i64), None),
            (json!(-922_337_203_685_477_i64), Some("-922337203685477.0")),
            (json!(-0.5), Some("-0.5")),
            (json!(0.1 + 0.2), None),
            (json!("5"), None),
        ] {
            assert_eq!(decimal(&value).as_deref(), known, "{value}");
        }
    }

    #[test]
    fn schemas_become_records() {
        let record = Record::of_schema(&json!({
            "type": "object", "required": ["a", "lines"],
            "properties": {
                "a": { "type": "integer" }, "b": { "type": "string" }, "c": { "type": "number" },
                "lines": { "type": "array", "items": {
                    "type": "object", "properties": { "ok": { "type": "boolean" } }, "required": ["ok"] } },
            },
        }));
        let mut text = String::new();
        record.write(&mut text);
        assert_eq!(text, r#"{ "a": Long, "b"?: String, "c"?: decimal, "lines": Set<{ "ok": Bool }> }"#);
        let seen = |v: &Value, looks| record.value("arguments", v.as_object().unwrap(), looks).map(|_| ());
        let value = |v: Value| seen(&v, None);
        assert_eq!(value(json!({ "a": 1, "lines": [{ "ok": true }] })), Ok(()));
        for (wrong, sentence) in [
            (json!({ "a": 1, "lines": [{ "ok": 1 }] }), "arguments.lines[0].ok isn't true or false"),
            (json!({ "lines": [] }), "arguments.a is missing"),
            (
                json!({ "a": 1.5, "lines": [] }),
                "arguments.a must be an integer between -2^63 and 2^63-1, written plainly",
            ),
            (json!({ "a": 1, "lines": [], "x y": 1 }), "arguments[\"x y\"] isn't declared"),
        ] {
            assert_eq!(value(wrong).unwrap_err().to_string(), sentence);
        }
        for (wrong, at, rule) in [
            (json!({ "a": u64::MAX, "lines": [] }), "arguments.a", INTEGER),
            (json!({ "a": 1e18, "lines": [] }), "arguments.a", INTEGER),
            (json!({ "a": 1, "c": 0.00001, "lines": [] }), "arguments.c", DECIMAL),
            (json!({ "a": 1, "c": 1e15, "lines": [] }), "arguments.c", DECIMAL),
        ] {
            assert_eq!(seen(&wrong, Some(&Looks::Whole)), Err(Unfit { at: at.to_owned(), rule }));
            assert_eq!(value(wrong), Ok(()), "nothing looks at it");
        }
    }
}
