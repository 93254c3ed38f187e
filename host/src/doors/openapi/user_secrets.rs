//! Users' own secrets, described.

use serde_json::{Map, Value, json};

use super::schemas::{closed, list as list_of, with};
use super::{LOOKING, answer, operation, path_parameter, query, reference};

pub(super) fn list() -> Value {
    let mut list = operation(
        "listUserSecrets",
        "The labels and versions of a user's own secrets: never a value",
        None,
        json!([user(), environment()]),
        ("200", answer("They.", "OwnSecretList")),
    );
    list.insert("security".to_owned(), json!([{ "operator": [] }, { LOOKING: [] }, { "agent": [] }]));
    list.into()
}

pub(super) fn put() -> Value {
    let stored = answer("It's stored. The reference may stand in a message in its place.", "StoredSecret");
    let summary =
        "Stores a user's own secret, in place of the one before. For connections with `secret_of = \"user\"`";
    let parameters = json!([user(), label(), environment()]);
    let mut put = operation("putUserSecret", summary, None, parameters, ("200", stored));
    let content = json!({ "application/json": { "schema": reference("PutSecret") } });
    put.insert("requestBody".to_owned(), json!({ "required": true, "content": content }));
    of_both(put)
}

pub(super) fn remove() -> Value {
    of_both(operation(
        "removeUserSecret",
        "Removes a user's own secret: the very next request that would use it is refused",
        None,
        json!([user(), label(), environment()]),
        ("204", json!({ "description": "It's removed." })),
    ))
}

pub(super) fn schemas() -> Value {
    let secret = json!({
        "reference": { "type": "string", "pattern": "^secret:" },
        "label": reference("Label"),
        "version": { "type": "integer", "minimum": 1 },
    });
    let listed = with(secret.clone(), json!({ "stored_at": reference("Time") }));
    json!({
        "PutSecret": closed(json!({ "secret": { "type": "string", "minLength": 8, "maxLength": 8192, "writeOnly": true } }), &[]),
        "StoredSecret": closed(secret, &[]),
        "OwnSecret": closed(listed, &[]),
        "OwnSecretList": closed(json!({ "secrets": list_of("OwnSecret") }), &[]),
    })
}

/// For an operator's token, and for an agent's that is bound to the user and may store secrets.
fn of_both(mut operation: Map<String, Value>) -> Value {
    operation.insert("security".to_owned(), json!([{ "operator": [] }, { "agent": [] }]));
    operation.into()
}

fn user() -> Value {
    path_parameter("user", "The user's id, as the operator's application knows it.", "Label")
}

fn label() -> Value {
    path_parameter("label", "The label that connections name.", "Label")
}

fn environment() -> Value {
    query("environment", "The token's own unless given; an operator may name another.", reference("Slug"))
}
