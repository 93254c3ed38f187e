//! Approvals.

use serde_json::{Value, json};

use super::schemas::{closed, list as list_of, nullable, with};
use super::{LOOKING, answer, operation, path_parameter, query, reference};

pub(super) fn list() -> Value {
    operation(
        "listApprovals",
        "The requests within the operator's reach that were put before people, newest first",
        Some(LOOKING),
        json!([
            query("state", "Those in this state only.", reference("ApprovalState")),
            query(
                "limit",
                "At most so many: 100 unless given.",
                json!({ "type": "integer", "minimum": 1, "maximum": 1000 })
            ),
        ]),
        ("200", answer("They.", "ApprovalList")),
    )
    .into()
}

pub(super) fn show() -> Value {
    let shown = json!({
        "description": "All of it for an operator who reaches it; for a monitor all but what would be sent. The token that \
            asked sees how it stands; for any other agent it doesn't exist.",
        "content": { "application/json": { "schema": {
            "oneOf": [reference("ApprovalDetail"), reference("Approval"), reference("ApprovalStatus")],
        } } },
    });
    let mut show = operation("showApproval", "One of them", None, json!([id()]), ("200", shown));
    show.insert("security".to_owned(), json!([{ "operator": [] }, { LOOKING: [] }, { "agent": [] }]));
    Value::Object(show)
}

pub(super) fn decide(name: &str, summary: &str) -> Value {
    let stands = answer("How it stands now.", "ApprovalStatus");
    operation(name, summary, Some("operator"), json!([id()]), ("200", stands)).into()
}

fn id() -> Value {
    path_parameter("id", "The approval's id.", "ApprovalId")
}

pub(super) fn schemas() -> Value {
    let text = json!({ "type": "string" });
    let optional_text = json!({ "type": ["string", "null"] });
    let entry = json!({
        "id": reference("ApprovalId"),
        "state": reference("ApprovalState"),
        "tenant": reference("Slug"),
        "environment": reference("Slug"),
        "token": reference("TokenId"),
        "agent": reference("Label"),
        "role": nullable("Slug"),
        "conversation": nullable("Label"),
        "connection": nullable("Slug"),
        "operation": nullable("ToolName"),
        "action": { "type": ["string", "null"],
            "description": "`call:…` for a call of a tool, `run_code` for code, the word for an enforcement point's question about \
                something outside of the host." },
        "resource": optional_text,
        "tool": { "oneOf": [reference("ToolName"), { "type": "null" }],
            "description": "The tool that would be called, or run code." },
        "quorum": { "type": "integer", "minimum": 1,
            "description": "How many people have to say yes at least. It stays pending while the policies in force want \
                somebody else to agree as well." },
        "votes": list_of("Vote"),
        "asked_at": reference("Time"),
        "expires_at": reference("Time"),
        "fingerprint": { "$ref": "#/components/schemas/Digest",
            "description": "Over the exact request, who asks, the policies and the secret's version." },
    });
    json!({
        "ApprovalState": { "enum": ["pending", "granted", "denied", "used", "expired"] },
        "ApprovalStatus": closed(json!({
            "id": reference("ApprovalId"),
            "state": reference("ApprovalState"),
            "expires_at": reference("Time"),
        }), &[]),
        "Vote": closed(json!({
            "by": reference("Label"), "yes": { "type": "boolean" }, "at": reference("Time"),
        }), &[]),
        "Approval": closed(entry.clone(), &[]),
        "ApprovalList": closed(json!({ "approvals": list_of("Approval") }), &[]),
        "ApprovalDetail": closed(with(entry, json!({
            "request": nullable("Rendering"),
            "text": { "type": ["string", "null"],
                "description": "The same as lines for a terminal: printable ASCII, at most 76 wide." },
        })), &[]),
        "Rendering": closed(json!({
            "connection": text, "upstream": text, "operation": text, "request": text,
            "effect": { "enum": ["read", "write"] },
            "amount": optional_text, "customer": optional_text,
            "parameters": list_of("Shown"),
            "left_out": { "type": "integer", "minimum": 0,
                "description": "How many more parameters there are than are shown." },
            "tool": { "type": ["string", "null"], "description": "The tool that is called, or that runs code." },
            "code": { "type": "array", "items": reference("ShownCode"),
                "description": "All the code that is run, block by block: nothing of it is left out." },
            "raw_body": optional_text,
            "asked_by": closed(json!({
                "realm": text, "agent": text, "role": optional_text, "token": text, "tool": optional_text,
                "question": { "type": "boolean",
                    "description": "An enforcement point asks: the agent's own code does it, not the host." },
            }), &[]),
            "words": { "type": "array", "items": reference("Shown"),
                "description": "What the agent or its operator wrote, unchecked." },
        }), &[]),
        "Shown": closed(json!({ "name": text, "value": text }), &[]),
        "ShownCode": closed(json!({
            "language": text, "bytes": { "type": "integer", "minimum": 0 },
            "lines": { "type": "array", "items": text,
                "description": "Printable ASCII: `\\\\` is one backslash, and what is no plain character is written as its number." },
        }), &[]),
    })
}
