//! Budgets: how they stand, and what is held.

use serde_json::{Value, json};

use super::schemas::{closed, list as list_of, nullable};
use super::{LOOKING, answer, operation, path_parameter, query, reference};

pub(super) fn list() -> Value {
    operation(
        "listBudgets",
        "How the budgets within the operator's reach stand that anything was spent of",
        Some(LOOKING),
        json!([limit()]),
        ("200", answer("They, by whom they limit.", "BudgetList")),
    )
    .into()
}

pub(super) fn held() -> Value {
    operation(
        "listHeld",
        "The requests within the operator's reach that nobody knows the end of, the oldest first",
        Some(LOOKING),
        json!([limit()]),
        ("200", answer("They.", "HeldList")),
    )
    .into()
}

pub(super) fn settle() -> Value {
    let mut settle = operation(
        "settleHeld",
        "Says that a held request was carried out: its money counts as spent",
        Some("operator"),
        json!([id()]),
        ("200", answer("It counts.", "HeldAnswer")),
    );
    settle.insert(
        "requestBody".to_owned(),
        json!({ "content": { "application/json": { "schema": reference("SettleHeld") } } }),
    );
    Value::Object(settle)
}

pub(super) fn release() -> Value {
    operation(
        "releaseHeld",
        "Says that a held request wasn't carried out: its money is there again, and the same write may be made again",
        Some("operator"),
        json!([id()]),
        ("200", answer("It's there again.", "HeldAnswer")),
    )
    .into()
}

pub(super) fn reconcile() -> Value {
    operation(
        "reconcileHeld",
        "Looks up what became of a held request, where its connection says how: settles it, or leaves it held",
        Some("operator"),
        json!([id()]),
        ("200", answer("What was found.", "ReconcileAnswer")),
    )
    .into()
}

fn limit() -> Value {
    query(
        "limit",
        "At most so many: 1000 unless given.",
        json!({ "type": "integer", "minimum": 1, "maximum": 10_000 }),
    )
}

fn id() -> Value {
    path_parameter("id", "The reservation's id.", "ReservationId")
}

pub(super) fn schemas() -> Value {
    let text = json!({ "type": "string" });
    let optional_text = json!({ "type": ["string", "null"] });
    let optional_count = json!({ "type": ["integer", "null"], "minimum": 0 });
    let optional_time = nullable("Time");
    let more = json!({ "type": "boolean", "description": "There are more than the answer has room for." });
    let cost = closed(json!({ "amount_minor": reference("Count"), "currency": text }), &[]);
    json!({
        "ReservationId": { "type": "string", "pattern": "^call_[0-9a-f]{32}\\.[1-9][0-9]{0,9}$" },
        "BudgetList": closed(json!({ "budgets": list_of("BudgetStanding"), "more": more }), &[]),
        "BudgetStanding": closed(json!({
            "tenant": reference("Slug"), "environment": reference("Slug"),
            "subject": { "type": "string", "description": "Whom it limits: `agent:billing`, `customer:cus_1`, `tenant`." },
            "unit": { "type": "string", "description": "`requests`, or a currency of three letters." },
            "window": { "enum": ["per_call", "at_once", "minute", "hour", "day", "month", "total"] },
            "time_zone": optional_text, "connection": nullable("Slug"), "operation": nullable("ToolName"),
            "effect": { "enum": ["read", "write", null] },
            "ends": optional_time,
            "spent": reference("Count"), "under_way": reference("Count"), "held": reference("Count"),
            "limit": optional_count, "left": optional_count,
        }), &[]),
        "HeldList": closed(json!({ "held": list_of("Held"), "more": more }), &[]),
        "Held": closed(json!({
            "id": reference("ReservationId"), "tenant": reference("Slug"), "environment": reference("Slug"),
            "connection": nullable("Slug"), "operation": nullable("ToolName"),
            "cost": { "oneOf": [cost, { "type": "null" }] }, "since": reference("Time"),
        }), &[]),
        "SettleHeld": closed(json!({
            "amount": { "type": ["integer", "null"], "minimum": 0,
                "description": "How much it really was, in minor units: what was reserved, unless given." },
        }), &["amount"]),
        "HeldAnswer": closed(json!({
            "id": reference("ReservationId"), "became": { "enum": ["settled", "released"] },
            "amount": optional_count, "currency": optional_text,
        }), &[]),
        "ReconcileAnswer": closed(json!({
            "id": reference("ReservationId"), "became": { "enum": ["settled", "held"] },
            "amount": optional_count, "currency": optional_text,
            "why": { "type": ["string", "null"], "description": "Why it's still held." },
            "call": nullable("CallId"),
        }), &[]),
    })
}
