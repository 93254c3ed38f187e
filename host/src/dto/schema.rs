//! A tool's input and output schema, compiled once.

use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::Value;

use crate::dto::subset::{self, Direction, Shape};
use crate::json;

/// The most bytes of one schema. It is part of every prompt that offers the tool, so a few KiB is already a lot.
pub const SCHEMA_BYTES_MAX: usize = 64 * 1024;

/// How large the compiled form of one `pattern` may be. Linear time is the engine's promise; this bounds memory.
const PATTERN_BYTES_MAX: usize = 1024 * 1024;

/// How large the compiled forms of all patterns of a schema may be together: a component has up to 128 schemas, and they're
/// compiled before anyone consents to it.
const PATTERNS_BYTES_MAX: usize = 2 * PATTERN_BYTES_MAX;

/// What a tool accepts: a closed object, in the subset of JSON Schema that AutoGen's HTTP tool can carry.
#[derive(Debug)]
pub struct InputSchema(Compiled);

impl InputSchema {
    /// Compiles a schema from its JSON text.
    ///
    /// # Errors
    /// [`SchemaError`] names the place and what to write there instead.
    pub fn parse(text: &str) -> Result<Self, SchemaError> {
        Compiled::parse(text, Direction::Input).map(Self)
    }

    /// The schema as canonical JSON.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// The schema as a value.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.0.value
    }

    pub(super) fn drop_nulls(&self, value: &mut Value) {
        self.0.shape.drop_nulls(value);
    }

    pub(super) fn is_valid(&self, value: &Value) -> bool {
        self.0.validator.is_valid(value)
    }

    pub(super) fn errors<'v>(&'v self, value: &'v Value) -> impl Iterator<Item = ValidationError<'v>> {
        self.0.validator.iter_errors(value)
    }
}

/// What a tool returns: a closed object. Beside the input's subset, a member may be declared nullable
/// (`"type": ["string", "null"]`) and arrays may hold arrays, since no client builds types from it.
#[derive(Debug)]
pub struct OutputSchema(Compiled);

impl OutputSchema {
    /// Compiles a schema from its JSON text.
    ///
    /// # Errors
    /// [`SchemaError`] names the place and what to write there instead.
    pub fn parse(text: &str) -> Result<Self, SchemaError> {
        Compiled::parse(text, Direction::Output).map(Self)
    }

    /// The schema as canonical JSON.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// The schema as a value.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.0.value
    }

    pub(super) fn drop_nulls(&self, value: &mut Value) {
        self.0.shape.drop_nulls(value);
    }

    pub(super) fn is_valid(&self, value: &Value) -> bool {
        self.0.validator.is_valid(value)
    }

    pub(super) fn errors<'v>(&'v self, value: &'v Value) -> impl Iterator<Item = ValidationError<'v>> {
        self.0.validator.iter_errors(value)
    }
}

/// Why a schema was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at {}: {message}", if .pointer.is_empty() { "the top" } else { .pointer })]
pub struct SchemaError {
    /// The place, as a JSON pointer. Empty: the top.
    pub pointer: String,
    /// What is wrong, and what to write instead.
    pub message: String,
}

#[derive(Debug)]
struct Compiled {
    value: Value,
    text: String,
    shape: Shape,
    validator: Validator,
}

impl Compiled {
    fn parse(text: &str, direction: Direction) -> Result<Self, SchemaError> {
        let at_top = |message: String| SchemaError { pointer: String::new(), message };
        let value = json::parse(text.as_bytes(), SCHEMA_BYTES_MAX)
            .map_err(|e| at_top(format!("the schema can't be read: {e}")))?;
        let (shape, patterns) = subset::check(&value, direction)?;
        let pattern_bytes = (PATTERNS_BYTES_MAX / patterns.max(1)).min(PATTERN_BYTES_MAX);
        // Only the linear engine: a pattern is the tool author's, the text it meets is anybody's.
        let validator = jsonschema::options()
            .with_draft(jsonschema::Draft::Draft202012)
            .with_pattern_options(PatternOptions::regex().size_limit(pattern_bytes))
            .offline()
            .build(&subset::nameless(&value))
            .map_err(|e| SchemaError { pointer: e.instance_path().to_string(), message: unusable(&e) })?;
        subset::check_defaults(&value, &validator)?;
        Ok(Self { text: value.to_string(), value, shape, validator })
    }
}

fn unusable(error: &ValidationError<'_>) -> String {
    if error.instance_path().as_str().ends_with("/pattern") {
        "this pattern can't be used; write a regular expression without look-around and back-references, and a \
         smaller one if it's large or one of many"
            .to_owned()
    } else {
        format!("this is no valid JSON Schema: {error}")
    }
}

#[cfg(test)]
mod tests;
