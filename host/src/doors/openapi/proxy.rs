//! The proxy door, described: one path, every method.

use serde_json::{Map, Value, json};

use super::{header, headers, label, model_call, operation, reference};

/// Every method of the path, each with the same words.
pub(super) fn item() -> Value {
    let methods = ["get", "head", "post", "put", "patch", "delete"];
    Value::Object(
        methods.into_iter().map(|method| (method.to_owned(), forward(method))).collect::<Map<_, _>>(),
    )
}

fn forward(method: &str) -> Value {
    let name = json!({ "type": "string", "pattern": "^[a-z0-9][a-z0-9_-]{0,63}$" });
    let parameters = json!([
        { "name": "connection", "in": "path", "required": true, "description": "The connection's name.",
          "schema": name },
        { "name": "path", "in": "path", "required": true, "schema": { "type": "string" },
          "description": "The path below the connection's base URL, of any number of segments." },
        header(&headers::CONVERSATION, "The conversation. A token bound to one refuses any other.", label()),
        header(&headers::TURN, "The turn of that conversation.", label()),
        header(&headers::INTENT, "What the caller calls this intended effect.", label()),
        model_call(),
        header(
            &headers::DEADLINE,
            "How long the caller waits, in milliseconds.",
            json!({ "type": "integer", "minimum": 1, "maximum": 999_999_999 }),
        ),
    ]);
    let id = json!({ "description": "The call's id in the audit trail.", "schema": reference("CallId") });
    let answer = json!({
        "description": "The upstream's answer: its status, the headers that the connection lets through, its body.",
        "headers": { headers::CALL_ID.as_str(): id },
        "content": { "*/*": {} },
    });
    let summary = "Forwards a request of a vendor's own SDK to the connection's upstream, if it's one of the \
        connection's operations. Errors of the host look as that SDK expects (the connection's error_profile)";
    let mut forward =
        operation(&format!("forward_{method}"), summary, Some("agent"), parameters, ("2XX", answer));
    forward.insert("security".to_owned(), json!([{ "agent": [] }, { "sdk": [] }]));
    if !matches!(method, "get" | "head") {
        let any = json!({ "required": false, "content": { "*/*": {} } });
        forward.insert("requestBody".to_owned(), any);
    }
    Value::Object(forward)
}
