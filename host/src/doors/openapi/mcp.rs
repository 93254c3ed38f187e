//! The door of the Model Context Protocol, described: one path, one message at a time.

use serde_json::{Value, json};

use super::{call_headers, headers, operation, reference};

pub(super) fn post() -> Value {
    let id = json!({ "description": "A call's id in the audit trail.", "schema": reference("CallId") });
    let message = json!({ "type": "object", "description": "A JSON-RPC 2.0 message." });
    let answer = json!({
        "description": "The answer: the token's tools, a tool's result as one text, or what went wrong. A refused call is a \
            result with `isError`, whose text is a problem's `detail` and whose `_meta` holds the problem.",
        "headers": { headers::CALL_ID.as_str(): id },
        "content": { "application/json": { "schema": message } },
    });
    let summary = "The same tools for clients of the Model Context Protocol (streamable HTTP, stateless): initialize, ping, \
        tools/list, tools/call";
    let mut post = operation("mcp", summary, Some("agent"), call_headers().into(), ("200", answer));
    let content = json!({ "application/json": { "schema": message } });
    post.insert("requestBody".to_owned(), json!({ "required": true, "content": content }));
    if let Some(responses) = post.get_mut("responses").and_then(Value::as_object_mut) {
        let about = "A notification: nothing is answered, and nothing is done.";
        responses.insert("202".to_owned(), json!({ "description": about }));
    }
    post.into()
}
