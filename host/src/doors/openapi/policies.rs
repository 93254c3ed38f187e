//! Posted policies, and the question whether an agent may do something.

use serde_json::{Value, json};

use super::identity::with_body;
use super::schemas::{closed, described, list as list_of, nullable};
use super::{LOOKING, answer, operation, path_parameter, reference};

pub(super) fn list() -> Value {
    operation(
        "listPolicies",
        "The posted policies within the operator's reach, the oldest first",
        Some(LOOKING),
        json!([]),
        ("200", answer("The policies.", "PolicyList")),
    )
    .into()
}

pub(super) fn post() -> Value {
    with_body(
        operation(
            "postPolicy",
            "Takes a policy over `api://…` resources, for all that the operator reaches",
            Some("operator"),
            json!([]),
            ("201", answer("The policy, with its id. It's in force.", "Policy")),
        ),
        "PostPolicy",
    )
}

pub(super) fn remove() -> Value {
    operation(
        "removePolicy",
        "Removes a posted policy",
        Some("operator"),
        json!([path_parameter("id", "The policy's id.", "PolicyId")]),
        ("204", json!({ "description": "It's removed." })),
    )
    .into()
}

pub(super) fn enforce() -> Value {
    with_body(
        operation(
            "enforce",
            "Whether the holder of a capability token may do something that the host doesn't do itself",
            Some("operator"),
            json!([]),
            ("200", answer("The decision: it's on record.", "EnforceAnswer")),
        ),
        "Enforce",
    )
}

/// The schemas of all this by name.
pub(super) fn schemas() -> Value {
    let posted = |more: Value, optional: &[&str]| {
        let members = json!({
            "name": { "type": "string", "minLength": 1, "maxLength": 128 },
            "actions": { "type": "array", "minItems": 1, "maxItems": 100, "items": { "type": "string", "maxLength": 128 } },
            "resources": { "type": "array", "minItems": 1, "maxItems": 100,
                "items": { "type": "string", "pattern": "^api://" },
                "description": "`api://tasks/7`, or `api://tasks/*` for everything below." },
            "effect": { "enum": ["allow", "deny"], "description": "A deny holds whatever else allows." },
            "constraints": reference("Constraints"),
            "role": described("Slug", "For agents of this role only."),
            "agents": list_of("Label"),
        });
        closed(super::schemas::with(members, more), &[optional, &["constraints", "role", "agents"]].concat())
    };
    json!({
        "PolicyId": { "type": "string", "pattern": "^pol_[0-9a-f]{24}$" },
        "DecisionId": { "type": "string", "pattern": "^dec_[0-9a-f]{24}$" },
        "Decision": { "enum": ["allowed", "denied", "approval_required"] },
        "Constraints": closed(json!({
            "requiresApproval": { "type": "boolean", "description": "Whichever policy allows it." },
            "maxConcurrentTasks": { "type": "integer", "minimum": 0,
                "description": "How many calls (of tools, or at the proxy door) each of its agents may have under way at \
                    once. Not with `deny`." },
        }), &["requiresApproval", "maxConcurrentTasks"]),
        "PostPolicy": posted(json!({}), &[]),
        "Policy": posted(json!({
            "id": reference("PolicyId"),
            "environment": { "oneOf": [reference("Slug"), { "type": "null" }],
                "description": "Where it applies; null: in every environment." },
            "cedar": { "type": "string", "description": "What it means, as Cedar." },
            "created_at": reference("Time"),
        }), &[]),
        "PolicyList": closed(json!({ "policies": list_of("Policy") }), &[]),
        "Enforce": closed(json!({
            "requestId": { "type": "string", "minLength": 1, "maxLength": 128,
                "description": "Names one act: the same question under it takes from budgets once." },
            "capabilityToken": { "type": "string" },
            "action": { "type": "string", "description": "A word, or an operation's name." },
            "resourceId": { "type": "string", "description": "`api://…`, or `connection://NAME`." },
            "tenantId": { "type": ["string", "null"],
                "description": "The platform key's own tenant, or `default-tenant` for that." },
            "context": { "type": "object",
                "description": "`conversation`; for an operation its parameters under `path`, `query` and `body`." },
            "approvalId": nullable("ApprovalId"),
        }), &["tenantId", "context", "approvalId"]),
        "EnforceAnswer": closed(json!({
            "decision": reference("Decision"),
            "reason": nullable("Code"),
            "message": { "type": "string" },
            "requestId": { "type": "string" },
            "decisionId": reference("DecisionId"),
            "approvalId": { "anyOf": [reference("ApprovalId"), { "type": "null" }],
                "description": "What it waits for. The same question again, once people have agreed, is allowed once." },
        }), &[]),
    })
}
