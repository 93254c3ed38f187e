//! The subset of JSON Schema that a tool may use.
//!
//! AutoGen's HTTP tool rebuilds a Python type from the input schema, and breaks, or silently loses a rule, on much
//! of JSON Schema: unions, references, formats, a property without a type, arrays of arrays. A schema that it can't
//! carry is refused when the tool is loaded, with what to write instead, rather than when an agent first calls it.

use std::cell::Cell;
use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::dto::schema::SchemaError;
use crate::json::escape;
use crate::text::is_printable;

/// Which way a schema's values travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// From the agent.
    Input,
    /// To the agent.
    Output,
}

/// What is needed to tell a `null` that stands for an absent member from one that means something.
#[derive(Debug)]
pub(super) enum Shape {
    /// Holds no objects.
    Leaf,
    /// Items of one shape.
    Array(Box<Self>),
    /// Members by name.
    Object(BTreeMap<String, Member>),
}

/// A member of an object.
#[derive(Debug)]
pub(super) struct Member {
    shape: Shape,
    /// It may be left out and may not be null: so null can only mean that it's left out.
    null_is_absent: bool,
}

impl Shape {
    /// Takes out the members whose null means that they're absent.
    pub(super) fn drop_nulls(&self, value: &mut Value) {
        match (self, value) {
            (Self::Array(shape), Value::Array(items)) => {
                items.iter_mut().for_each(|item| shape.drop_nulls(item))
            }
            (Self::Object(members), Value::Object(map)) => {
                map.retain(|name, value| {
                    !(value.is_null() && members.get(name).is_some_and(|member| member.null_is_absent))
                });
                for (name, value) in map {
                    if let Some(member) = members.get(name) {
                        member.shape.drop_nulls(value);
                    }
                }
            }
            _ => {}
        }
    }
}

/// Checks a whole schema; answers how many patterns it has as well.
pub(super) fn check(schema: &Value, direction: Direction) -> Result<(Shape, usize), SchemaError> {
    let walk = Walk { direction, patterns: Cell::default() };
    let top = "";
    texts(schema, top)?;
    let map = object(schema, top)?;
    if map.get("type").and_then(Value::as_str) != Some("object") {
        return Err(error(top, r#"write "type": "object": a tool takes and returns one JSON object"#));
    }
    let shape = walk.node(map, top)?;
    Ok((shape, walk.patterns.get()))
}

/// A schema without what it says of its own name and dialect: it's read as one of this subset, and as nothing else.
pub(super) fn nameless(schema: &Value) -> Value {
    let mut schema = schema.clone();
    if let Some(map) = schema.as_object_mut() {
        map.retain(|keyword, _| !ABOUT_ITSELF.contains(&keyword.as_str()));
    }
    schema
}

/// Checks that every `default` passes the schema that it's part of. (AutoGen sends it when the model leaves the
/// argument out.)
pub(super) fn check_defaults(schema: &Value, whole: &jsonschema::Validator) -> Result<(), SchemaError> {
    // A default can only be tried where it would stand: alone in an object, other members' absence not counted.
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return Ok(()) };
    for (name, property) in properties {
        let Some(default) = property.get("default") else { continue };
        let mut probe = Map::new();
        probe.insert(name.clone(), default.clone());
        let at = format!("/{}", escape(name));
        let probe = Value::Object(probe);
        if whole.iter_errors(&probe).any(|e| e.instance_path().as_str().starts_with(&at)) {
            let pointer = format!("/properties/{}/default", escape(name));
            return Err(error(
                &pointer,
                "this default breaks the property's own rules; write one that passes them",
            ));
        }
    }
    Ok(())
}

/// Checks every text of a schema, its names included. Operators consent to it and models are led by it: what can't be seen
/// could hide, or say otherwise, what they agree to.
fn texts(schema: &Value, at: &str) -> Result<(), SchemaError> {
    match schema {
        Value::String(text) => seen(text, at),
        Value::Array(items) => {
            let mut items = items.iter().enumerate();
            items.try_for_each(|(index, item)| texts(item, &format!("{at}/{index}")))
        }
        Value::Object(members) => members.iter().try_for_each(|(name, value)| {
            seen(name, at)?;
            texts(value, &format!("{at}/{}", escape(name)))
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

fn seen(text: &str, at: &str) -> Result<(), SchemaError> {
    // The schema is shown as JSON, which writes these two out.
    let hidden = text.chars().find(|char| !is_printable(*char) && !matches!(char, '\n' | '\t'));
    hidden.map_or(Ok(()), |char| {
        let char = char.escape_unicode();
        Err(error(at, &format!("a text has the character {char}, which can't be seen; take it out")))
    })
}

struct Walk {
    direction: Direction,
    /// How many there were so far.
    patterns: Cell<usize>,
}

/// The most patterns of one schema: each is compiled.
const PATTERNS_MAX: usize = 32;

/// How names start that pydantic keeps for its models.
const PROTECTED: &[&str] = &["model_dump", "model_validate"];

/// Keywords that a whole schema may have and that aren't used.
const ABOUT_ITSELF: &[&str] = &["$schema", "$id"];

/// Keywords that bound a number.
const BOUNDS: &[&str] = &["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"];

/// What leaves room for a value: the least of it, the most of it, and whether the two may be equal.
const ROOM: &[(&str, &str, bool)] = &[
    ("minLength", "maxLength", true),
    ("minItems", "maxItems", true),
    ("minimum", "maximum", true),
    ("minimum", "exclusiveMaximum", false),
    ("exclusiveMinimum", "maximum", false),
    ("exclusiveMinimum", "exclusiveMaximum", false),
];

/// Keywords that every schema may have and that say nothing about values.
const NOTES: &[&str] = &["title", "description", "default", "examples", "deprecated"];

impl Walk {
    fn node(&self, schema: &Map<String, Value>, at: &str) -> Result<Shape, SchemaError> {
        let kind = self.kind(schema, at)?;
        let allowed: &[&str] = match kind {
            "object" => &["properties", "required", "additionalProperties"],
            "array" => match self.direction {
                Direction::Input => &["items", "minItems", "maxItems"],
                Direction::Output => &["items", "minItems", "maxItems", "uniqueItems"],
            },
            "string" => &["enum", "minLength", "maxLength", "pattern"],
            "integer" => {
                &["enum", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"]
            }
            "number" => BOUNDS,
            _ => &[],
        };
        for keyword in schema.keys().map(String::as_str) {
            let known = keyword == "type" || allowed.contains(&keyword) || NOTES.contains(&keyword);
            let of_the_root = at.is_empty() && ABOUT_ITSELF.contains(&keyword);
            if !known && !of_the_root {
                return Err(error(&format!("{at}/{}", escape(keyword)), &instead(keyword, kind)));
            }
        }
        if schema.contains_key("pattern") {
            self.patterns.set(self.patterns.get() + 1);
            if self.patterns.get() > PATTERNS_MAX {
                let rule = format!("a schema has at most {PATTERNS_MAX} patterns; say it in the description");
                return Err(error(&format!("{at}/pattern"), &rule));
            }
        }
        self.choices(schema, kind, at)?;
        room(schema, at)?;
        if kind == "integer" && self.direction == Direction::Input {
            whole_bounds(schema, at)?;
        }
        match kind {
            "object" => self.object(schema, at),
            "array" => self.array(schema, at),
            _ => Ok(Shape::Leaf),
        }
    }

    /// The one type of a schema, `null` aside.
    fn kind<'s>(&self, schema: &'s Map<String, Value>, at: &str) -> Result<&'s str, SchemaError> {
        const KINDS: &str = "object, array, string, integer, number or boolean";
        let known =
            |kind: &&str| matches!(*kind, "object" | "array" | "string" | "integer" | "number" | "boolean");
        match schema.get("type") {
            Some(Value::String(kind)) => Some(kind.as_str()).filter(known).ok_or_else(|| {
                error(&format!("{at}/type"), &format!("{kind:?} can't be used here; write {KINDS}"))
            }),
            Some(Value::Array(kinds)) if self.direction == Direction::Output => {
                let mut named = kinds.iter().filter_map(Value::as_str).filter(|kind| *kind != "null");
                match (named.next().filter(known), named.next(), kinds.len()) {
                    (Some(kind), None, 1 | 2) => Ok(kind),
                    _ => Err(error(&format!("{at}/type"), "write one type, or one type and \"null\"")),
                }
            }
            Some(_) => Err(error(
                &format!("{at}/type"),
                "write one type as a string; a value that may be absent is left out of `required` instead",
            )),
            // A union or reference is the likelier reason for a missing type than forgetfulness.
            None => match schema
                .keys()
                .find(|k| ["$ref", "anyOf", "oneOf", "allOf", "const"].contains(&k.as_str()))
            {
                Some(keyword) => Err(error(&format!("{at}/{}", escape(keyword)), &instead(keyword, "value"))),
                None => Err(error(at, &format!("write a \"type\": {KINDS}"))),
            },
        }
    }

    fn object(&self, schema: &Map<String, Value>, at: &str) -> Result<Shape, SchemaError> {
        if schema.get("additionalProperties") != Some(&Value::Bool(false)) {
            return Err(error(
                at,
                "write \"additionalProperties\": false; for names that aren't known beforehand, \
                 write an array of objects with a name and a value",
            ));
        }
        let properties = match schema.get("properties") {
            Some(properties) => object(properties, &format!("{at}/properties"))?,
            None => return Err(error(at, "write \"properties\", {} if there are none")),
        };
        let required = self.required(schema, properties, at)?;
        let mut members = BTreeMap::new();
        for (name, property) in properties {
            let at = format!("{at}/properties/{}", escape(name));
            self.name(name, &at)?;
            let property = object(property, &at)?;
            let shape = self.node(property, &at)?;
            let null_is_absent = !required.contains(&name.as_str()) && !nullable(property);
            members.insert(name.clone(), Member { shape, null_is_absent });
        }
        Ok(Shape::Object(members))
    }

    fn required<'s>(
        &self,
        schema: &'s Map<String, Value>,
        properties: &Map<String, Value>,
        at: &str,
    ) -> Result<Vec<&'s str>, SchemaError> {
        let at = format!("{at}/required");
        let Some(required) = schema.get("required") else { return Ok(Vec::new()) };
        let names: Option<Vec<&str>> =
            required.as_array().and_then(|names| names.iter().map(Value::as_str).collect());
        let names = names.ok_or_else(|| error(&at, "write a list of property names"))?;
        match names.iter().find(|name| !properties.contains_key(**name)) {
            Some(name) => {
                Err(error(&at, &format!("there is no property {name:?}; add it, or take it out of the list")))
            }
            None => Ok(names),
        }
    }

    fn array(&self, schema: &Map<String, Value>, at: &str) -> Result<Shape, SchemaError> {
        let Some(items) = schema.get("items") else {
            return Err(error(at, "write \"items\" with the schema of one item"));
        };
        let at = format!("{at}/items");
        let items = object(items, &at)?;
        if self.direction == Direction::Input && items.get("type").and_then(Value::as_str) == Some("array") {
            return Err(error(
                &at,
                "an array of arrays loses its item type on the way to the model; write an array of objects",
            ));
        }
        Ok(match self.node(items, &at)? {
            Shape::Leaf => Shape::Leaf,
            shape => Shape::Array(Box::new(shape)),
        })
    }

    /// A property's name must also be the name of a field in a Python model.
    fn name(&self, name: &str, at: &str) -> Result<(), SchemaError> {
        let fits = match self.direction {
            Direction::Input => {
                name.len() <= 64
                    && name.starts_with(|c: char| c.is_ascii_alphabetic())
                    && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            }
            Direction::Output => (1..=64).contains(&name.len()) && name.chars().all(|c| c.is_ascii_graphic()),
        };
        match (fits, self.direction) {
            (true, Direction::Input) if is_pydantics(name) => Err(error(
                at,
                "pydantic keeps this name for its models: no client could send it; write another one",
            )),
            (true, _) => Ok(()),
            (false, Direction::Input) => {
                Err(error(at, "name it with a letter, then up to 63 letters, digits and underscores"))
            }
            (false, Direction::Output) => {
                Err(error(at, "name it with 1 to 64 ASCII letters, digits and signs, without spaces"))
            }
        }
    }

    fn choices(&self, schema: &Map<String, Value>, kind: &str, at: &str) -> Result<(), SchemaError> {
        let Some(choices) = schema.get("enum") else { return Ok(()) };
        let null = self.direction == Direction::Output && nullable(schema);
        let fits = |choice: &Value| match kind {
            "string" => choice.is_string() || null && choice.is_null(),
            _ => choice.is_i64() || choice.is_u64() || null && choice.is_null(),
        };
        match choices.as_array() {
            Some(choices) if !choices.is_empty() && choices.iter().all(fits) => Ok(()),
            _ => Err(error(&format!("{at}/enum"), &format!("write at least one choice, each a JSON {kind}"))),
        }
    }
}

/// Checks that the bounds of a value leave room for one: otherwise nobody could ever send it, or return it.
fn room(schema: &Map<String, Value>, at: &str) -> Result<(), SchemaError> {
    let empty = |(least, most, equal): &&(&str, &str, bool)| {
        let order = schema.get(*least).zip(schema.get(*most)).and_then(|(least, most)| order(least, most));
        order.is_some_and(|order| order == Ordering::Greater || order == Ordering::Equal && !equal)
    };
    ROOM.iter().find(empty).map_or(Ok(()), |(least, most, _)| {
        let rule = format!("no value is within this and {most:?}; write bounds that leave room for one");
        Err(error(&format!("{at}/{least}"), &rule))
    })
}

/// How two numbers stand to each other. `None`: one of them is none, which is told elsewhere.
fn order(a: &Value, b: &Value) -> Option<Ordering> {
    let whole = |number: &Value| number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
    match (whole(a), whole(b)) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
    }
}

/// Checks that what bounds an integer is one itself: AutoGen fails on anything else.
fn whole_bounds(schema: &Map<String, Value>, at: &str) -> Result<(), SchemaError> {
    let broken = |bound: &&&str| schema.get(**bound).is_some_and(|value| !value.is_i64() && !value.is_u64());
    BOUNDS.iter().find(broken).map_or(Ok(()), |bound| {
        Err(error(&format!("{at}/{bound}"), "write an integer, without a point: what it bounds is one"))
    })
}

/// Whether a property of a pydantic model can't have this name.
fn is_pydantics(name: &str) -> bool {
    matches!(name, "Config" | "model_config") || PROTECTED.iter().any(|start| name.starts_with(start))
}

fn nullable(schema: &Map<String, Value>) -> bool {
    schema.get("type").and_then(Value::as_array).is_some_and(|kinds| kinds.iter().any(|k| k == "null"))
}

fn object<'s>(schema: &'s Value, at: &str) -> Result<&'s Map<String, Value>, SchemaError> {
    schema.as_object().ok_or_else(|| error(at, "write a JSON object here"))
}

fn error(at: &str, message: &str) -> SchemaError {
    SchemaError { pointer: at.to_owned(), message: message.to_owned() }
}

/// What to write in place of a keyword that isn't in the subset.
fn instead(keyword: &str, kind: &str) -> String {
    let advice = match keyword {
        "$ref" | "$defs" | "definitions" | "$dynamicRef" | "$anchor" => {
            "references get lost on the way to the model; write the schema out where it's used"
        }
        "anyOf" | "oneOf" => {
            "unions can't be carried; write one type, or one optional property for each alternative"
        }
        "allOf" => "write the properties of all parts into one object",
        "const" => "write \"enum\" with one choice",
        "format" => "AutoGen fails on formats; write a \"pattern\", or say it in the description",
        "patternProperties" | "propertyNames" | "unevaluatedProperties" => {
            "objects are closed; write an array of objects with a name and a value"
        }
        "nullable" => "leave the property out of `required` instead",
        "uniqueItems" => "AutoGen makes a set of such an array and can't send it; say it in the description",
        "enum" => "choices can be strings or integers; write one of these types",
        _ => return format!("the keyword {keyword:?} can't be used for a JSON {kind}; leave it out"),
    };
    format!("the keyword {keyword:?} can't be used: {advice}")
}
