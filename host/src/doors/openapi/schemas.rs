//! The schemas of what goes over the wire. All objects are closed, so that the tests, which hold real values of the
//! wire structs against them, see a member that only one side has.

use serde_json::{Map, Value, json};

use super::super::problem;
use super::reference;
use crate::refusal::Code;

/// Every schema by name.
pub(super) fn all() -> Value {
    with(
        with(
            with(known(), super::approvals::schemas()),
            with(super::budgets::schemas(), super::code::schemas()),
        ),
        with(
            with(super::identity::schemas(), super::policies::schemas()),
            with(super::user_secrets::schemas(), super::proxy::schemas()),
        ),
    )
}

fn known() -> Value {
    json!({
        "ToolName": { "type": "string", "pattern": "^[a-z][a-z0-9_]{0,63}$" },
        "Slug": { "type": "string", "pattern": "^[a-z0-9][a-z0-9_-]{0,63}$" },
        "Label": { "type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9_.:@-]{0,127}$" },
        "ModelCallId": { "type": "string", "pattern": "^[!-~]{1,128}$" },
        "CallId": { "type": "string", "pattern": "^call_[0-9a-f]{32}$" },
        "TokenId": { "type": "string", "pattern": "^tok_[0-9a-f]{24}$" },
        "ApprovalId": { "type": "string", "pattern": "^apr_[0-9a-f]{24}$" },
        "ApprovalIds": { "type": "string", "pattern": "^apr_[0-9a-f]{24}( *, *apr_[0-9a-f]{24}){0,3}$" },
        "Digest": { "type": "string", "pattern": "^sha256:[0-9a-f]{64}$" },
        "Time": { "type": "integer", "description": "Milliseconds since 1970-01-01T00:00:00Z." },
        "Count": { "type": "integer", "minimum": 0 },
        "Code": code(),
        "RequestSent": { "enum": ["no", "yes", "unknown"],
            "description": "Whether any upstream may have seen a request of this call." },
        "Retry": { "enum": ["no", "safe", "check_first"],
            "description": "Whether to try the same call again: `check_first` means that something may have been done." },
        "Problem": closed(json!({
            "type": { "type": "string" },
            "title": { "type": "string" },
            "status": { "type": "integer", "minimum": 400, "maximum": 599 },
            "detail": { "type": "string",
                "description": "Stands alone: that the call failed, why, whether anything was sent, whether to try again." },
            "code": reference("Code"),
            "request_sent": reference("RequestSent"),
            "retry": reference("Retry"),
            "call": { "$ref": "#/components/schemas/CallId",
                "description": "The call's id in the host's log, and in the audit trail if the call began. Not there outside calls." },
        }), &["call"]),
        "ToolList": closed(json!({ "tools": list("Tool") }), &[]),
        "Tool": closed(json!({
            "name": reference("ToolName"),
            "description": { "type": "string" },
            "input_schema": { "type": "object", "description": "A JSON Schema." },
            "output_schema": { "type": "object", "description": "A JSON Schema." },
        }), &[]),
        "Token": closed(token(), &[]),
        "TokenList": closed(json!({
            "tokens": list("Token"),
            "next_before": { "oneOf": [reference("TokenId"), { "type": "null" }],
                "description": "`before` of the next page; null on the last." },
        }), &[]),
        "MintedToken": closed(with(token(), json!({
            "token": { "type": "string", "description": "The token itself. It can't be shown again." },
        })), &[]),
        "AuditPage": closed(json!({
            "rows": list("AuditRow"),
            "next_before": { "type": ["integer", "null"], "description": "`before` of the next page; null on the last." },
        }), &[]),
        "AuditCall": closed(json!({ "call": reference("CallId"), "rows": list("AuditRow") }), &[]),
        "AuditRow": audit_row(),
        "Status": closed(json!({ "status": { "enum": ["ok", "ready"] } }), &[]),
    })
}

/// The codes, each with its status.
fn code() -> Value {
    let codes: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
    let statuses: Map<_, _> = Code::ALL
        .iter()
        .map(|code| (code.as_str().to_owned(), problem::status(*code).as_u16().into()))
        .collect();
    json!({
        "enum": codes,
        "description": "Stable: a code is never renamed or given another meaning. `x-status` has each one's status.",
        "x-status": statuses,
    })
}

fn token() -> Value {
    json!({
        "id": reference("TokenId"),
        "kind": { "enum": ["agent", "operator", "monitor"] },
        "tenant": reference("Slug"),
        "environment": reference("Slug"),
        "every_environment": { "type": "boolean",
            "description": "An operator's or a monitor's: whether it reaches every environment of the tenant." },
        "agent": reference("Label"),
        "conversation": nullable("Label"),
        "role": nullable("Slug"),
        "task": { "type": ["string", "null"] },
        "user": nullable("Label"),
        "parent": { "oneOf": [reference("TokenId"), { "type": "null" }],
            "description": "The token that it was delegated from." },
        "minted_by": { "oneOf": [reference("Label"), { "type": "null" }],
            "description": "The operator who minted it: a name, or `cli:` and a user of the host's machine." },
        "tools": tools(),
        "operations": operations(),
        "budgets": list("Budget"),
        "may_delegate": may_delegate(),
        "may_store_secrets": may_store_secrets(),
        "created_at": reference("Time"),
        "expires_at": reference("Time"),
        "revoked_at": nullable("Time"),
    })
}

pub(super) fn task() -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": 512,
        "description": "What the agent is to do: one line. It's on record and shown to approvers." })
}

pub(super) fn may_delegate() -> Value {
    json!({ "type": "boolean", "description": "Whether tokens may be delegated from it. False unless given." })
}

pub(super) fn user() -> Value {
    described("Label", "The person whose own secrets the token may use.")
}

pub(super) fn may_store_secrets() -> Value {
    json!({ "type": "boolean",
        "description": "Whether it may store, list and remove that user's secrets. False unless given." })
}

pub(super) fn tools() -> Value {
    json!({ "type": "array", "description": "Names of tools, or `*` for all. None: no tool.",
        "items": { "type": "string", "pattern": "^(\\*|[a-z][a-z0-9_]{0,63})$" } })
}

pub(super) fn operations() -> Value {
    json!({ "type": "array", "description": "`CONNECTION:OPERATION`, or `CONNECTION:*`. None: nothing is sent.",
        "items": { "type": "string", "pattern": "^[a-z0-9][a-z0-9_-]{0,63}:(\\*|[a-z][a-z0-9_]{0,63})$" } })
}

/// A row is one of the events, each with what every row has.
fn audit_row() -> Value {
    let text = json!({ "type": "string" });
    let optional_text = json!({ "type": ["string", "null"] });
    let optional_count = json!({ "type": ["integer", "null"], "minimum": 0 });
    let cost = closed(json!({ "amount_minor": reference("Count"), "currency": text }), &[]);
    let events = [
        ("host_started", json!({ "version": text, "recovered": reference("Count") })),
        ("checkpoint", json!({ "row": reference("Count"), "calls": list("CallId") })),
        (
            "call_begun",
            json!({
                "door": { "enum": ["tool", "code", "proxy"] }, "token": reference("TokenId"),
                "agent": reference("Label"), "role": nullable("Slug"), "task": text, "conversation": nullable("Label"),
                "turn": nullable("Label"), "tool": nullable("ToolName"), "component": nullable("Digest"),
                "arguments": nullable("Digest"), "policy": nullable("Digest"), "arguments_bytes": reference("Count"), "trace": optional_text,
                "approval": reference("ApprovalId"), "model_call": reference("ModelCallId"),
            }),
        ),
        (
            "call_refused",
            json!({
                "token": reference("TokenId"), "agent": reference("Label"), "conversation": nullable("Label"),
                "tool": text, "code": reference("Code"), "policy": reference("Digest"), "model_call": reference("ModelCallId"),
            }),
        ),
        (
            "send_begun",
            json!({
                "send": reference("Count"), "connection": reference("Slug"), "operation": reference("ToolName"),
                "request": reference("Digest"), "body_bytes": reference("Count"), "secret": reference("Label"),
                "user": reference("Label"),
                "cost": { "oneOf": [cost, { "type": "null" }] },
                "budgets": reference("Count"), "approval": nullable("ApprovalId"), "policy": reference("Digest"), "question": text, "key": text,
            }),
        ),
        (
            "send_refused",
            json!({
                "connection": text, "operation": reference("ToolName"), "cost": cost, "code": reference("Code"),
                "policy": reference("Digest"), "repeats": reference("ReservationId"), "question": text,
            }),
        ),
        (
            "send_finished",
            json!({
                "send": reference("Count"), "status": optional_count, "failure": nullable("Code"),
                "request_sent": reference("RequestSent"), "secret_version": optional_count, "settlement": optional_text,
                "refunded": cost,
                "reply": nullable("Digest"), "reply_bytes": reference("Count"), "took_ms": reference("Count"),
            }),
        ),
        (
            "call_finished",
            json!({
                "mark": { "enum": ["ok", "failed", "cancelled", "unknown"] }, "code": nullable("Code"),
                "request_sent": reference("RequestSent"), "sends": reference("Count"),
                "result": nullable("Digest"), "result_bytes": reference("Count"), "took_ms": reference("Count"),
            }),
        ),
        (
            "approval",
            json!({
                "id": reference("ApprovalId"), "step": { "enum": ["asked", "approved", "denied", "claimed"] },
                "by": reference("Label"), "token": nullable("TokenId"), "fingerprint": reference("Digest"),
                "conversation": reference("Label"),
            }),
        ),
        (
            "decided",
            json!({
                "id": reference("DecisionId"), "request": text, "by": reference("TokenId"), "token": nullable("TokenId"),
                "agent": nullable("Label"), "action": text, "resource": text, "decision": reference("Decision"),
                "reason": nullable("Code"), "policies": { "type": "array", "items": text },
                "policy": reference("Digest"), "approval": reference("ApprovalId"),
            }),
        ),
        ("reconcile_begun", json!({ "hold": reference("ReservationId"), "by": text })),
        (
            "reconciled",
            json!({
                "hold": reference("ReservationId"), "became": { "enum": ["settled", "held"] },
                "amount": { "oneOf": [cost, { "type": "null" }] }, "why": text,
            }),
        ),
        (
            "shadow_differed",
            json!({
                "who": reference("Label"), "subject": text, "live": reference("Decision"),
                "candidate": reference("Decision"), "policies": { "type": "array", "items": text },
                "policy": reference("Digest"),
            }),
        ),
        (
            "admin",
            json!({ "action": text, "subject": text, "by": text, "reason": text, "token": token_given() }),
        ),
    ];
    let realm = closed(json!({ "tenant": reference("Slug"), "environment": reference("Slug") }), &[]);
    let every = json!({
        "seq": { "type": "integer", "minimum": 1 },
        "at": reference("Time"),
        "realm": { "oneOf": [realm, { "type": "null" }] },
        "call": nullable("CallId"),
        "prev": reference("Digest"),
        "hash": reference("Digest"),
    });
    let rows = events.into_iter().map(|(event, members)| {
        let tag = json!({ "event": { "const": event } });
        let optional: &[&str] = match event {
            "admin" => &["reason", "token"],
            "approval" => &["conversation"],
            "call_begun" => &["task", "approval", "model_call"],
            "call_refused" => &["policy", "model_call"],
            "decided" => &["policy", "approval"],
            "send_begun" => &["user", "question", "key"],
            "reconciled" => &["why"],
            "send_refused" => &["operation", "cost", "policy", "repeats", "question"],
            "send_finished" => &["refunded"],
            _ => &[],
        };
        closed(with(with(every.clone(), tag), members), optional)
    });
    json!({ "oneOf": rows.collect::<Vec<_>>() })
}

/// A token as the row says of it that has it minted or delegated.
fn token_given() -> Value {
    let grant = json!({
        "tools": tools(), "operations": operations(), "budgets": list("Budget"), "may_delegate": may_delegate(),
        "may_store_secrets": may_store_secrets(),
    });
    closed(
        json!({
            "kind": { "enum": ["agent", "operator", "monitor"] }, "every_environment": { "type": "boolean" },
            "agent": reference("Label"), "role": nullable("Slug"), "task": { "type": ["string", "null"] },
            "conversation": nullable("Label"), "user": nullable("Label"), "minted_by": nullable("Label"),
            "expires_at": reference("Time"),
            "grant": closed(grant, &["budgets", "may_delegate", "may_store_secrets"]),
            "left_out": { "type": "integer", "minimum": 0,
                "description": "How many more tools and operations it names: a row has 64 of each at most." },
        }),
        &[],
    )
}

/// An object with these members, all required but the optional ones, and no others.
pub(super) fn closed(properties: Value, optional: &[&str]) -> Value {
    let names = properties.as_object().into_iter().flat_map(Map::keys);
    let required: Vec<_> = names.filter(|name| !optional.contains(&name.as_str())).cloned().collect();
    json!({ "type": "object", "additionalProperties": false, "required": required, "properties": properties })
}

pub(super) fn with(mut members: Value, more: Value) -> Value {
    if let (Value::Object(members), Value::Object(more)) = (&mut members, more) {
        members.extend(more);
    }
    members
}

pub(super) fn list(schema: &str) -> Value {
    json!({ "type": "array", "items": reference(schema) })
}

pub(super) fn nullable(schema: &str) -> Value {
    json!({ "oneOf": [reference(schema), { "type": "null" }] })
}

pub(super) fn described(schema: &str, about: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}"), "description": about })
}
