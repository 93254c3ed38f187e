//! The proxy door, described: one path, and the one with nothing below the connection's name, with every method.

use serde_json::{Map, Value, json};

use super::schemas::{closed, with};
use super::{MEDIA_TYPE, call_headers, headers, operation, path_parameter, reference};

/// Every method of the path, each with the same words.
pub(super) fn item() -> Value {
    let path = json!({ "name": "path", "in": "path", "required": true, "schema": { "type": "string" },
        "description": "The path below the connection's base URL, of any number of segments." });
    methods("forward", &[path])
}

/// The same of the path that ends behind the connection's name.
pub(super) fn root() -> Value {
    methods("forward_root", &[])
}

fn methods(id: &str, parameters: &[Value]) -> Value {
    let methods = ["get", "head", "post", "put", "patch", "delete"];
    let described = |method: &str| (method.to_owned(), forward(id, method, parameters));
    Value::Object(methods.into_iter().map(described).collect::<Map<_, _>>())
}

fn forward(id: &str, method: &str, more: &[Value]) -> Value {
    let connection = path_parameter("connection", "The connection's name.", "Slug");
    let parameters: Vec<_> =
        [connection].into_iter().chain(more.iter().cloned()).chain(call_headers()).collect();
    let call = json!({ "description": "The call's id in the audit trail.", "schema": reference("CallId") });
    let call = json!({ headers::CALL_ID.as_str(): call });
    let answer = json!({
        "description": "The upstream's answer: its status, the headers that the connection lets through, its body.",
        "headers": call,
        "content": { "*/*": {} },
    });
    let summary = "Forwards a request of a vendor's own SDK to the connection's upstream, if it's one of the \
        connection's operations. Errors of the host look as that SDK expects (the connection's error_profile)";
    let mut forward =
        operation(&format!("{id}_{method}"), summary, Some("agent"), parameters.into(), ("2XX", answer));
    forward.insert("security".to_owned(), json!([{ "agent": [] }, { "sdk": [] }]));
    if let Some(Value::Object(responses)) = forward.get_mut("responses") {
        let any = json!({ "description": "The upstream's." });
        let other = json!({
            "description": "The upstream's answer, with any other status; or the host's refusal, a problem or as the \
                connection's error_profile says. What is refused before the caller is known has no id.",
            "headers": call,
            "content": {
                MEDIA_TYPE: { "schema": { "anyOf": [reference("Problem"), any] } },
                "application/json": { "schema": { "anyOf": [reference("StripeError"), any] } },
                "*/*": {},
            },
        });
        responses.insert("default".to_owned(), other);
    }
    if !matches!(method, "get" | "head") {
        let any = json!({ "required": false, "content": { "*/*": {} } });
        forward.insert("requestBody".to_owned(), any);
    }
    Value::Object(forward)
}

/// What the host's refusals look like there.
pub(super) fn schemas() -> Value {
    let error = closed(
        json!({
            "type": { "enum": ["api_error", "idempotency_error", "invalid_request_error"] },
            "code": reference("Code"),
            "message": { "type": "string", "description": "A problem's `detail`." },
            "request_sent": reference("RequestSent"),
            "retry": reference("Retry"),
        }),
        &[],
    );
    let about = json!({ "description": "A refusal of the host's where `error_profile = \"stripe\"`. Its status is one \
        that Stripe's SDKs read right." });
    json!({ "StripeError": with(closed(json!({ "error": error }), &[]), about) })
}
