//! Parameter types in a connection file.

use std::collections::BTreeMap;

use regex::RegexBuilder;

use super::reader::{Field, Table};
use crate::connection::limits::{ITEMS_DEFAULT, STRING_LENGTH_DEFAULT, TYPE_DEPTH_LIMIT};
use crate::connection::{Kind, Parameter};

/// How large a compiled pattern may become, in bytes: patterns of ids and dates stay far below.
const PATTERN_BYTES_MAX: usize = 256 * 1024;

/// Where a parameter stands, and so what it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Where {
    /// In the path: always there, one value.
    Path,
    /// In the query or a form: one value.
    Pair,
    /// In a JSON body: anything.
    Json,
}

/// All parameters of one table (`path`, `query`, `body` or an object's `properties`).
pub(super) fn parameters(table: &Table<'_, '_>, place: Where, depth: usize) -> BTreeMap<String, Parameter> {
    let fields = table.fields();
    for field in fields.iter().filter(|_| place == Where::Pair) {
        let alias = fields.iter().find(|other| stem(&field.name) == other.name && field.name != other.name);
        if let Some(other) = alias {
            field.problem(format!(
                "is another spelling of {:?} to servers that read brackets: declare one of them",
                other.name
            ));
        }
    }
    let read = |field: &Field<'_, '_>| {
        if let Err(rule) = name_rule(&field.name) {
            field.problem(rule);
        }
        Some((field.name.clone(), parameter(field, place, depth)?))
    };
    fields.iter().filter_map(read).collect()
}

/// The part of a form name before its first bracket: `amount[0]` is read as `amount` by many servers.
pub(in crate::connection) fn stem(name: &str) -> &str {
    name.split('[').next().unwrap_or(name)
}

fn name_rule(name: &str) -> Result<(), &'static str> {
    let known = |b: u8| b.is_ascii_alphanumeric() || b"_-.:$@[]".contains(&b);
    if name.is_empty() || name.len() > 128 || !name.bytes().all(known) {
        return Err("a parameter's name is 1 to 128 letters, digits and any of '_-.:$@[]'");
    }
    Ok(())
}

fn parameter(field: &Field<'_, '_>, place: Where, depth: usize) -> Option<Parameter> {
    let mut table = field.table()?;
    let optional = table.optional("optional");
    if let Some(optional) = optional.as_ref().filter(|_| place == Where::Path) {
        optional.problem("a path parameter is always there");
    }
    let optional = optional.and_then(|f| f.boolean()).unwrap_or(false);
    let nullable = table.optional("nullable");
    if let Some(nullable) = nullable.as_ref().filter(|_| place != Where::Json) {
        nullable
            .problem("null stands in JSON bodies only: a path, a query and a form have no way to write it");
    }
    let nullable = nullable.and_then(|f| f.boolean()).unwrap_or(false);
    let kind = kind(&mut table, place, depth);
    table.finish();
    Some(Parameter { kind: kind?, optional, nullable })
}

fn kind(table: &mut Table<'_, '_>, place: Where, depth: usize) -> Option<Kind> {
    let name = table.required("type", "write type = \"string\", \"integer\", \"number\" or \"boolean\"")?;
    let kind = name.string()?;
    if depth >= TYPE_DEPTH_LIMIT {
        name.problem(format!("types are nested deeper than {TYPE_DEPTH_LIMIT} levels"));
        return None;
    }
    match kind {
        "string" => Some(string(table)),
        "integer" => Some(integer(table)),
        "number" => {
            let minimum = table.optional("minimum").and_then(|f| f.number()).unwrap_or(f64::MIN);
            let maximum = table.optional("maximum").and_then(|f| f.number()).unwrap_or(f64::MAX);
            if minimum > maximum {
                table.problem("minimum is above maximum", None);
            }
            Some(Kind::Number { minimum, maximum })
        }
        "boolean" => Some(Kind::Boolean),
        "array" | "object" if place != Where::Json => {
            name.problem_hint(
                format!("an {kind} can stand in a JSON body only"),
                "declare each name of a form, brackets included: body.\"metadata[order]\" = { … }",
            );
            None
        }
        "array" => array(table, depth),
        "object" => {
            let properties = table.required("properties", "write properties = { name = { type = … } }")?;
            Some(Kind::Object { properties: parameters(&properties.table()?, Where::Json, depth + 1) })
        }
        other => {
            name.problem_hint(
                format!("unknown type {other:?}"),
                "use string, integer, number, boolean, array or object",
            );
            None
        }
    }
}

fn string(table: &mut Table<'_, '_>) -> Kind {
    let pattern = table.optional("pattern").and_then(|field| {
        let compiled = RegexBuilder::new(field.string()?).size_limit(PATTERN_BYTES_MAX).build();
        compiled.map_err(|error| field.problem(format!("isn't a usable pattern: {}", last_line(&error)))).ok()
    });
    let allowed = table.optional("enum").and_then(|field| {
        let allowed = field.list(|text| Ok::<_, String>(text.to_owned()))?;
        if allowed.is_empty() {
            field.problem("allows no value");
        }
        Some(allowed)
    });
    let length = |field: Option<Field<'_, '_>>, default: usize| {
        let most = super::super::limits::REQUEST_BYTES_LIMIT as u64;
        let value = field.and_then(|f| f.within(0, most)).and_then(|value| usize::try_from(value).ok());
        value.unwrap_or(default)
    };
    let min_length = length(table.optional("min_length"), 0);
    let max_length = length(table.optional("max_length"), STRING_LENGTH_DEFAULT.max(min_length));
    if min_length > max_length {
        table.problem("min_length is above max_length", None);
    }
    Kind::String { pattern, allowed: allowed.unwrap_or_default(), min_length, max_length }
}

fn integer(table: &mut Table<'_, '_>) -> Kind {
    let minimum = table.optional("minimum").and_then(|f| f.integer()).unwrap_or(i64::MIN);
    let maximum = table.optional("maximum").and_then(|f| f.integer()).unwrap_or(i64::MAX);
    if minimum > maximum {
        table.problem("minimum is above maximum", None);
    }
    let allowed = table.optional("enum").and_then(|field| {
        let items = field.array()?;
        if items.is_empty() {
            field.problem("allows no value");
        }
        Some(items.iter().filter_map(Field::integer).collect())
    });
    Kind::Integer { minimum, maximum, allowed: allowed.unwrap_or_default() }
}

fn array(table: &mut Table<'_, '_>, depth: usize) -> Option<Kind> {
    let items_max = 100_000;
    let count = |field: Option<Field<'_, '_>>, default: usize| {
        let value = field.and_then(|f| f.within(0, items_max)).and_then(|value| usize::try_from(value).ok());
        value.unwrap_or(default)
    };
    let min_items = count(table.optional("min_items"), 0);
    let max_items = count(table.optional("max_items"), ITEMS_DEFAULT.max(min_items));
    if min_items > max_items {
        table.problem("min_items is above max_items", None);
    }
    let items = table.required("items", "write items = { type = … }")?;
    let mut inner = items.table()?;
    let kind = kind(&mut inner, Where::Json, depth + 1);
    inner.finish();
    Some(Kind::Array { items: Box::new(kind?), min_items, max_items })
}

/// A pattern's error takes several lines to draw; its last one says what is wrong.
fn last_line(error: &regex::Error) -> String {
    let text = error.to_string();
    text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}
