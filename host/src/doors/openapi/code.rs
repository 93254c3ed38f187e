//! The door for code, described.

use serde_json::{Value, json};

use super::schemas::closed;
use super::{answer, header, headers, label, model_call, operation, reference};
use crate::doors::code::BLOCKS_MAX;

/// `POST /v1/code`.
pub(super) fn run() -> Value {
    let parameters = json!([
        header(&headers::CONVERSATION, "The conversation. A token bound to one refuses any other.", label()),
        header(&headers::TURN, "The turn of that conversation.", label()),
        header(&headers::INTENT, "What the caller calls this intended effect.", label()),
        model_call(),
        header(
            &headers::APPROVAL,
            "The approvals that people gave to exactly this code, all of its blocks, and to what it sends: at most four, with commas \
             between them.",
            reference("ApprovalIds"),
        ),
        header(
            &headers::APPROVAL_WAIT,
            "`yes`: where a person has to approve the code first, wait for that, for three quarters of its time; where one has to approve a request of it, nearly up to the deadline.",
            json!({ "enum": ["yes", "no"] }),
        ),
        header(
            &headers::DEADLINE,
            "How long the caller waits, in milliseconds, where that is shorter than `timeout_ms`.",
            json!({ "type": "integer", "minimum": 1, "maximum": 999_999_999 }),
        ),
        header(
            &headers::TRACEPARENT,
            "W3C trace context; its trace id goes to the audit trail.",
            json!({ "type": "string" }),
        ),
    ]);
    let summary = "Runs code that an agent wrote, in a sandbox, one block after the other until one fails. A program \
        that fails is a 200 with its exit code: 124 when the time was up, 134 when the interpreter broke down, 137 when it \
        went over a limit. When the caller hangs up, what runs is stopped";
    let answered = answer("What came of it.", "CodeResult");
    let mut run = operation("runCode", summary, Some("agent"), parameters, ("200", answered));
    run.insert(
        "requestBody".to_owned(),
        json!({ "required": true, "content": { "application/json": { "schema": reference("RunCode") } } }),
    );
    Value::Object(run)
}

/// What goes over the wire there.
pub(super) fn schemas() -> Value {
    let block = closed(
        json!({
            "language": { "type": "string", "description": "`python` or `py`, in any case. Any other isn't run: exit code 1." },
            "code": { "type": "string", "description": "Each block runs in a fresh interpreter." },
        }),
        &[],
    );
    json!({
        "RunCode": closed(json!({
            "blocks": { "type": "array", "items": block, "minItems": 1, "maxItems": BLOCKS_MAX },
            "timeout_ms": { "type": "integer", "minimum": 1,
                "description": "For all blocks together: 60000 unless given or the host is set up otherwise. More than the \
                    host allows (300000) is cut down to that." },
        }), &["timeout_ms"]),
        "CodeResult": closed(json!({
            "exit_code": { "type": "integer", "description": "Of the last block that ran." },
            "output": { "type": "string",
                "description": "What all blocks wrote to their standard output and error. It ends in `Timeout` when the time \
                    was up." },
            "result": { "type": "string",
                "description": "The value of the last block's last expression: JSON where it can be, else its repr." },
            "calls": { "type": "array", "items": reference("CallId"),
                "description": "The call that each block was, in the audit trail." },
        }), &["result"]),
    })
}
