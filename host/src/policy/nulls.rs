//! Where a request's body holds null. Cedar has no null, so what is null is absent from the context, and its place is in a set
//! beside it: a policy can tell what is unset from what is left alone.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// The places, each once: `limit`, `address.zip`, `lines[].note`.
pub(super) fn nulls(body: &Map<String, Value>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    in_members("", body, &mut found);
    found
}

fn in_members(at: &str, members: &Map<String, Value>, found: &mut BTreeSet<String>) {
    for (name, value) in members {
        let at = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
        in_value(at, value, found);
    }
}

fn in_value(at: String, value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Null => {
            found.insert(at);
        }
        Value::Object(members) => in_members(&at, members, found),
        Value::Array(items) => {
            let at = format!("{at}[]");
            items.iter().for_each(|item| in_value(at.clone(), item, found));
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_place_is_named_once() {
        let body = json!({
            "a": null, "b": 1, "c": { "d": null, "e": "x" }, "f": [{ "g": null }, { "g": null }, { "g": true }],
            "h": {}, "i": [],
        });
        let places: Vec<_> = nulls(body.as_object().unwrap()).into_iter().collect();
        assert_eq!(places, ["a", "c.d", "f[].g"]);
    }
}
