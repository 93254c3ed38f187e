use serde_json::json;

use super::*;

fn closed(properties: &Value) -> Value {
    json!({"type": "object", "properties": properties, "additionalProperties": false})
}

fn input(properties: Value) -> Result<InputSchema, SchemaError> {
    InputSchema::parse(&closed(&properties).to_string())
}

fn refused(properties: Value, pointer: &str, advice: &str) {
    let error = input(properties.clone()).expect_err(&properties.to_string());
    assert_eq!(error.pointer, pointer, "{error}");
    assert!(error.message.contains(advice), "{error}");
}

#[test]
fn what_a_client_can_carry_is_accepted() {
    let schema = input(json!({
        "id": {"type": "string", "description": "the id", "pattern": "^in_[a-z]+$", "minLength": 3, "maxLength": 64},
        "kind": {"type": "string", "enum": ["a", "b"], "default": "a"},
        "amount": {"type": "integer", "minimum": 1, "maximum": 10, "title": "Amount"},
        "rate": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
        "dry": {"type": "boolean", "default": false},
        "lines": {"type": "array", "minItems": 1, "maxItems": 3, "items": closed(&json!({"sku": {"type": "string"}}))},
        "address": closed(&json!({"city": {"type": "string"}})),
    }));
    assert!(schema.is_ok(), "{:?}", schema.err());
}

#[test]
fn what_breaks_a_client_is_refused_with_advice() {
    refused(json!({"a": {}}), "/properties/a", "write a \"type\"");
    refused(json!({"a": {"type": "null"}}), "/properties/a/type", "write object, array");
    refused(json!({"a": {"type": ["string", "null"]}}), "/properties/a/type", "left out of `required`");
    refused(json!({"a": {"type": "array"}}), "/properties/a", "write \"items\"");
    refused(json!({"a": {"$ref": "#/$defs/x"}}), "/properties/a/$ref", "write the schema out");
    refused(json!({"a": {"anyOf": [{"type": "string"}]}}), "/properties/a/anyOf", "one type");
    refused(json!({"a": {"const": 1}}), "/properties/a/const", "\"enum\" with one choice");
    refused(json!({"a": {"type": "string", "format": "date-time"}}), "/properties/a/format", "\"pattern\"");
    refused(json!({"a": {"type": "string", "minimum": 1}}), "/properties/a/minimum", "leave it out");
    refused(json!({"a": {"type": "number", "enum": [0.5]}}), "/properties/a/enum", "strings or integers");
    refused(json!({"a": {"type": "string", "enum": []}}), "/properties/a/enum", "at least one choice");
    refused(json!({"a": {"type": "string", "enum": ["a", 1]}}), "/properties/a/enum", "each a JSON string");
    refused(json!({"a/b": {"type": "string"}}), "/properties/a~1b", "name it with a letter");
    refused(json!({"_a": {"type": "string"}}), "/properties/_a", "name it with a letter");
    refused(
        json!({"a": {"type": "array", "items": {"type": "array"}}}),
        "/properties/a/items",
        "array of objects",
    );
    refused(json!({"a": true}), "/properties/a", "write a JSON object");
    let set = json!({"a": {"type": "array", "uniqueItems": true, "items": {"type": "string"}}});
    refused(set.clone(), "/properties/a/uniqueItems", "say it in the description");
    for bound in ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"] {
        let pointer = format!("/properties/a/{bound}");
        for value in [json!(0.5), json!(1e300)] {
            refused(json!({"a": {"type": "integer", bound: value}}), &pointer, "write an integer");
        }
        input(json!({"a": {"type": "integer", bound: 2}, "b": {"type": "number", bound: 0.5}})).unwrap();
    }
    for name in [
        "Config",
        "model_config",
        "model_dump",
        "model_dump_json",
        "model_validate",
        "model_validate_strings",
    ] {
        refused(json!({name: {"type": "string"}}), &format!("/properties/{name}"), "write another one");
    }
    // Clients make no model of what comes back, and of these names.
    let result = json!({"model_dump": {"type": "string"}, "set": set["a"]});
    OutputSchema::parse(&closed(&result).to_string()).unwrap();
    input(json!({"model": {"type": "string"}, "model_name": {"type": "string"}})).unwrap();
}

#[test]
fn bounds_that_no_value_is_within_are_refused() {
    for (kind, least, most, bounds) in [
        ("string", "minLength", "maxLength", [json!(5), json!(4)]),
        ("array", "minItems", "maxItems", [json!(1), json!(0)]),
        ("integer", "minimum", "maximum", [json!(5), json!(3)]),
        ("integer", "minimum", "maximum", [json!(i64::MAX), json!(i64::MAX - 1)]),
        ("number", "minimum", "maximum", [json!(0.5), json!(0.25)]),
        ("number", "minimum", "exclusiveMaximum", [json!(1), json!(1)]),
        ("number", "exclusiveMinimum", "maximum", [json!(1.5), json!(1.5)]),
        ("integer", "exclusiveMinimum", "exclusiveMaximum", [json!(2), json!(2)]),
    ] {
        let [low, high] = bounds;
        let mut property = json!({"type": kind, least: low, most: high});
        if kind == "array" {
            property["items"] = json!({"type": "string"});
        }
        refused(json!({"a": property}), &format!("/properties/a/{least}"), "leave room for one");
        let result = OutputSchema::parse(&closed(&json!({"a": property})).to_string()).unwrap_err();
        assert!(result.message.contains(&format!("{most:?}")), "{result}");
    }
    let exact = json!({"type": "string", "minLength": 4, "maxLength": 4});
    input(json!({"a": exact, "b": {"type": "integer", "minimum": -3, "maximum": -3}})).unwrap();
}

#[test]
fn a_text_that_can_not_be_seen_is_refused_wherever_it_is() {
    for (property, pointer) in [
        (json!({"type": "string", "description": "a\u{202e}b"}), "/properties/a/description"),
        (json!({"type": "string", "title": "a\u{200b}b"}), "/properties/a/title"),
        (json!({"type": "string", "enum": ["a", "b\u{e0041}"]}), "/properties/a/enum/1"),
        (json!({"type": "string", "default": "\u{7f}"}), "/properties/a/default"),
        (json!({"type": "string", "examples": [{"\u{1b}[2J": 1}]}), "/properties/a/examples/0"),
        (json!({"type": "string", "\u{1b}[2J": 1}), "/properties/a"),
    ] {
        refused(json!({"a": property}), pointer, "take it out");
    }
    refused(json!({"\u{1b}": {"type": "string"}}), "/properties", r"\u{1b}");
    input(json!({"a": {"type": "string", "enum": [",", "\t"], "description": "two\nlines"}})).unwrap();
}

#[test]
fn patterns_are_linear() {
    for pattern in ["(?=a)b", "(?<!a)b", r"(a)\1", "("] {
        refused(json!({"a": {"type": "string", "pattern": pattern}}), "/properties/a/pattern", "look-around");
    }
    refused(
        json!({"a": {"type": "string", "pattern": "(((a{99}){99}){99}){99}"}}),
        "/properties/a/pattern",
        "pattern",
    );
}

#[test]
fn patterns_are_few_and_small_together() {
    let schema = |count: usize, pattern: &str| {
        let names = (0..count).map(|n| format!("p{n:02}"));
        let properties: Value =
            names.map(|name| (name, json!({"type": "string", "pattern": pattern}))).collect();
        input(properties).map(drop)
    };
    schema(32, "^[a-z]+$").unwrap();
    let error = schema(33, "^[a-z]+$").unwrap_err();
    assert_eq!(error.pointer, "/properties/p32/pattern");
    assert!(error.message.contains("at most 32"), "{error}");
    // Small enough alone, too large as one of many.
    let large = r"^\p{L}{10}$";
    schema(1, large).unwrap();
    let error = schema(32, large).unwrap_err();
    assert!(error.pointer.ends_with("/pattern") && error.message.contains("one of many"), "{error}");
    // A property of that name is none.
    input(json!({"pattern": {"type": "string"}})).unwrap();
}

#[test]
fn what_a_schema_says_of_itself_changes_nothing() {
    for about in [json!({}), json!({"$schema": "https://example.com/mine", "$id": "https://example.com"})] {
        let mut schema = closed(&json!({"a": {"type": "integer", "minimum": 5}}));
        schema.as_object_mut().unwrap().extend(about.as_object().unwrap().clone());
        let schema = InputSchema::parse(&schema.to_string()).unwrap();
        assert!(schema.is_valid(&json!({"a": 5})) && !schema.is_valid(&json!({"a": 4})));
    }
    refused(json!({"a": {"type": "string", "$id": "x"}}), "/properties/a/$id", "leave it out");
}

#[test]
fn objects_are_closed_at_every_depth() {
    let open = json!({"type": "object", "properties": {}});
    refused(json!({"a": open}), "/properties/a", "\"additionalProperties\": false");
    refused(
        json!({"a": {"type": "array", "items": open}}),
        "/properties/a/items",
        "\"additionalProperties\": false",
    );
    let map = json!({"type": "object", "properties": {}, "additionalProperties": {"type": "string"}});
    refused(json!({"a": map}), "/properties/a", "a name and a value");
    let pattern = json!({"type": "object", "properties": {}, "additionalProperties": false, "patternProperties": {"": {}}});
    refused(json!({"a": pattern}), "/properties/a/patternProperties", "closed");
}

#[test]
fn the_top_is_an_object_with_sound_lists() {
    for (text, advice) in [
        (r#"{"type":"string"}"#, "write \"type\": \"object\""),
        ("true", "write a JSON object"),
        ("{", "can't be read"),
        (r#"{"type":"object","additionalProperties":false}"#, "write \"properties\""),
        (
            r#"{"type":"object","additionalProperties":false,"properties":{},"required":["a"]}"#,
            "no property \"a\"",
        ),
        (
            r#"{"type":"object","additionalProperties":false,"properties":{},"$defs":{}}"#,
            "write the schema out",
        ),
        (
            r#"{"type":"object","type":"object","additionalProperties":false,"properties":{}}"#,
            "appears twice",
        ),
    ] {
        let error = InputSchema::parse(text).expect_err(text);
        assert!(error.message.contains(advice), "{text}: {error}");
    }
    let bad_bound = input(json!({"a": {"type": "string", "minLength": -1}})).unwrap_err();
    assert!(bad_bound.message.contains("no valid JSON Schema"), "{bad_bound}");
    let huge = format!("{}{}", " ".repeat(SCHEMA_BYTES_MAX), closed(&json!({})));
    assert!(InputSchema::parse(&huge).unwrap_err().message.contains("at most 65536"));
}

#[test]
fn a_default_passes_its_own_rules() {
    refused(
        json!({"a": {"type": "integer", "minimum": 5, "default": 1}}),
        "/properties/a/default",
        "own rules",
    );
    refused(json!({"a": {"type": "string", "default": null}}), "/properties/a/default", "own rules");
}

#[test]
fn results_may_be_null_where_they_say_so() {
    let schema = |kind: Value| OutputSchema::parse(&closed(&json!({"a": {"type": kind}})).to_string());
    assert!(schema(json!(["string", "null"])).is_ok());
    assert!(schema(json!(["string", "integer"])).is_err());
    assert!(schema(json!(["null"])).is_err());
    let nested = json!({"a": {"type": "array", "items": {"type": "array", "items": {"type": "number"}}}});
    assert!(OutputSchema::parse(&closed(&nested).to_string()).is_ok());
}
