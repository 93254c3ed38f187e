//! What breaks a schema, in sentences that a model can act on.

use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use jsonschema::paths::LocationSegment;
use jsonschema::{JsonType, ValidationError};
use serde_json::Value;

/// How many violations are named. A model mends a few at a time; a hostile text could hold thousands.
const NAMED_MAX: usize = 5;

/// How many choices of an `enum` are listed.
const CHOICES_MAX: usize = 20;

/// How many bytes of a name are repeated.
const NAME_CHARS_MAX: usize = 64;

/// Joins violations into one text. `part` is what a member is called (`argument`), `whole` what holds them. Types
/// and names are repeated, values never are.
pub(super) fn sentences<'e>(
    part: &str,
    whole: &str,
    errors: impl Iterator<Item = ValidationError<'e>>,
) -> String {
    let mut errors = errors.peekable();
    let mut all: Vec<String> = errors.by_ref().take(NAMED_MAX).map(|e| sentence(part, whole, &e)).collect();
    if errors.peek().is_some() {
        all.push("and more".to_owned());
    }
    all.join("; ")
}

/// The JSON type of a value, as a model knows it.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn sentence(part: &str, whole: &str, error: &ValidationError<'_>) -> String {
    let at = path(error);
    let subject = if at.is_empty() { whole.to_owned() } else { format!("{part} `{at}`") };
    let inside = |name: &str| {
        let name = shown(name);
        if at.is_empty() { name } else { format!("{at}.{name}") }
    };
    match error.kind() {
        Kind::Required { property } => {
            format!("{part} `{}` is missing", inside(property.as_str().unwrap_or_default()))
        }
        Kind::AdditionalProperties { unexpected } => {
            let names: Vec<_> =
                unexpected.iter().take(NAMED_MAX).map(|name| format!("`{}`", inside(name))).collect();
            format!("{part} {} is not known; leave it out", names.join(", "))
        }
        Kind::Type { kind } => {
            format!("{subject} must be {}, got {}", expected(kind), type_name(error.instance()))
        }
        Kind::Enum { options } => format!("{subject} must be one of {}", choices(options)),
        Kind::Constant { expected_value } => format!("{subject} must be {expected_value}"),
        Kind::Minimum { limit } => format!("{subject} must be at least {limit}"),
        Kind::Maximum { limit } => format!("{subject} must be at most {limit}"),
        Kind::ExclusiveMinimum { limit } => format!("{subject} must be greater than {limit}"),
        Kind::ExclusiveMaximum { limit } => format!("{subject} must be less than {limit}"),
        Kind::MultipleOf { multiple_of } => format!("{subject} must be a multiple of {multiple_of}"),
        Kind::MinLength { limit: 1 } => format!("{subject} must not be empty"),
        Kind::MinLength { limit } => format!("{subject} must have at least {limit} characters"),
        Kind::MaxLength { limit } => format!("{subject} must have at most {limit} characters"),
        Kind::MinItems { limit } => format!("{subject} must have at least {limit} items"),
        Kind::MaxItems { limit } => format!("{subject} must have at most {limit} items"),
        Kind::UniqueItems => format!("{subject} must not hold an item twice"),
        Kind::Pattern { pattern } => format!("{subject} must match the pattern {pattern}"),
        other => format!("{subject} breaks the rule `{}` of the schema", other.keyword()),
    }
}

/// `items[2].amount`.
fn path(error: &ValidationError<'_>) -> String {
    let mut path = String::new();
    for segment in error.instance_path().segments() {
        match segment {
            LocationSegment::Index(index) => path.push_str(&format!("[{index}]")),
            LocationSegment::Property(name) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(&shown(&name));
            }
        }
    }
    path
}

/// A name that someone made up, fit to be repeated in a sentence.
fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control() && *c != '`').take(NAME_CHARS_MAX).collect()
}

fn expected(kind: &TypeKind) -> String {
    match kind {
        TypeKind::Single(one) => article(*one).to_owned(),
        TypeKind::Multiple(set) => set.iter().map(article).collect::<Vec<_>>().join(" or "),
    }
}

fn article(kind: JsonType) -> &'static str {
    match kind {
        JsonType::Array => "an array",
        JsonType::Boolean => "a boolean",
        JsonType::Integer => "an integer",
        JsonType::Null => "null",
        JsonType::Number => "a number",
        JsonType::Object => "an object",
        JsonType::String => "a string",
    }
}

fn choices(options: &Value) -> String {
    let options = options.as_array().map(Vec::as_slice).unwrap_or_default();
    let mut listed: Vec<_> = options.iter().take(CHOICES_MAX).map(Value::to_string).collect();
    if options.len() > CHOICES_MAX {
        listed.push("…".to_owned());
    }
    listed.join(", ")
}
