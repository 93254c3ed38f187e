//! Agents, what is minted for them and by them, and what stops them.

use serde_json::{Map, Value, json};

use super::schemas::{
    closed, described, list, may_delegate, may_store_secrets, nullable, operations, task, tools, user,
};
use super::{LOOKING, answer, operation, path_parameter, reference};
use crate::ledger::Window;

pub(super) fn delegate_token() -> Value {
    let minted = answer("The token. Its text is shown this once.", "MintedToken");
    let mut delegate = operation(
        "delegateToken",
        "Mints a token below the caller's own: it may do nothing that the caller may not, and ends with it",
        Some("agent"),
        json!([]),
        ("201", minted),
    );
    delegate.insert(
        "requestBody".to_owned(),
        json!({ "required": true, "content": { "application/json": { "schema": reference("Delegate") } } }),
    );
    Value::Object(delegate)
}

pub(super) fn list_kills() -> Value {
    operation(
        "listKills",
        "The kill switches within the operator's reach that are in force, newest first",
        Some(LOOKING),
        json!([]),
        ("200", answer("The switches.", "KillList")),
    )
    .into()
}

pub(super) fn throw_kill() -> Value {
    let mut throw = operation(
        "throwKill",
        "Stops something within the operator's reach: what is under way, what waits, and what comes, until it's lifted",
        Some("operator"),
        json!([]),
        ("201", answer("The switch. Nothing that it stops is sent from now on.", "Kill")),
    );
    throw.insert(
        "requestBody".to_owned(),
        json!({ "required": true, "content": { "application/json": { "schema": reference("ThrowKill") } } }),
    );
    Value::Object(throw)
}

pub(super) fn lift_kill() -> Value {
    operation(
        "liftKill",
        "Lifts a kill switch",
        Some("operator"),
        json!([path_parameter("id", "The switch's id.", "KillId")]),
        ("204", json!({ "description": "It's lifted." })),
    )
    .into()
}

pub(super) fn mint_vault_key() -> Value {
    with_body(
        operation(
            "mintVaultKey",
            "Mints an agent's token for a vendor's SDK: a daily cap, the allowed endpoints, a lifetime",
            Some("operator"),
            json!([]),
            ("201", answer("The key. It's shown this once.", "VaultKey")),
        ),
        "MintVaultKey",
    )
}

pub(super) fn list_agents() -> Value {
    operation(
        "listAgents",
        "The registered agents within the operator's reach, the oldest first",
        Some(LOOKING),
        json!([]),
        ("200", answer("The agents.", "AgentList")),
    )
    .into()
}

pub(super) fn register_agent() -> Value {
    with_body(
        operation(
            "registerAgent",
            "Registers an agent",
            Some("operator"),
            json!([]),
            ("201", answer("The agent, with its id.", "Agent")),
        ),
        "RegisterAgent",
    )
}

pub(super) fn remove_agent() -> Value {
    operation(
        "removeAgent",
        "Removes an agent and revokes its tokens, and so all that was delegated from them",
        Some("operator"),
        json!([path_parameter("id", "The agent's id.", "Label")]),
        ("204", json!({ "description": "It's removed." })),
    )
    .into()
}

/// The operation with a body that has to be there.
pub(super) fn with_body(mut operation: Map<String, Value>, schema: &str) -> Value {
    operation.insert(
        "requestBody".to_owned(),
        json!({ "required": true, "content": { "application/json": { "schema": reference(schema) } } }),
    );
    Value::Object(operation)
}

/// The schemas of all this by name.
pub(super) fn schemas() -> Value {
    json!({
        "Mint": { "oneOf": [reference("MintByName"), reference("MintById")] },
        "MintById": closed(json!({
            "agentId": described("Label", "A registered agent. Its role goes with it."),
            "expiresIn": { "type": "integer", "minimum": 1, "maximum": 31_536_000, "description": "In seconds." },
            "environment": described("Slug", "One within the operator's reach; its own unless given."),
            "conversation": described("Label", "Binds the token to one conversation."),
            "task": task(),
            "user": user(),
            "tools": tools(),
            "operations": operations(),
            "budgets": list("Budget"),
            "may_delegate": may_delegate(),
            "may_store_secrets": may_store_secrets(),
        }), &["environment", "conversation", "task", "user", "tools", "operations", "budgets", "may_delegate",
            "may_store_secrets"]),
        "MintByName": closed(json!({
            "agent": reference("Label"),
            "environment": described("Slug", "One within the operator's reach; its own unless given."),
            "conversation": described("Label", "Binds the token to one conversation."),
            "role": described("Slug", "What the agent is for: policies speak of roles."),
            "task": task(),
            "user": user(),
            "tools": tools(),
            "operations": operations(),
            "budgets": list("Budget"),
            "may_delegate": may_delegate(),
            "may_store_secrets": may_store_secrets(),
            "expires_in_seconds": { "type": "integer", "minimum": 1, "maximum": 31_536_000 },
        }), &["environment", "conversation", "role", "task", "user", "tools", "operations", "budgets", "may_delegate",
            "may_store_secrets"]),
        "Delegate": closed(json!({
            "agent": described("Label", "The caller's own unless given."),
            "role": described("Slug", "The caller's own unless given. It opens nothing that the caller's doesn't."),
            "task": task(),
            "conversation": described("Label", "The caller's own, and no other if the caller is bound to one."),
            "tools": tools(),
            "operations": operations(),
            "budgets": list("Budget"),
            "may_delegate": may_delegate(),
            "may_store_secrets": may_store_secrets(),
            "expires_in_seconds": { "type": "integer", "minimum": 1, "maximum": 31_536_000,
                "description": "As long as the caller's own unless given, and no longer." },
        }), &["agent", "role", "task", "conversation", "tools", "operations", "budgets", "may_delegate",
            "may_store_secrets", "expires_in_seconds"]),
        "Budget": budget(),
        "RegisterAgent": closed(json!({
            "name": { "type": "string", "minLength": 1, "maxLength": 128 },
            "description": { "type": "string", "maxLength": 2000 },
            "metadata": metadata(),
        }), &["description", "metadata"]),
        "Agent": closed(json!({
            "id": reference("Label"),
            "environment": { "oneOf": [reference("Slug"), { "type": "null" }],
                "description": "Where its tokens may be minted; null: in every environment." },
            "name": { "type": "string" },
            "description": { "type": "string" },
            "role": nullable("Slug"),
            "metadata": metadata(),
            "created_at": reference("Time"),
        }), &[]),
        "AgentList": closed(json!({ "agents": list("Agent") }), &[]),
        "Cap": closed(json!({
            "amount": { "type": "integer", "minimum": 0, "description": "In the currency's smallest unit." },
            "currency": { "type": "string", "pattern": "^[A-Za-z]{3}$" },
        }), &[]),
        "MintVaultKey": vault_key_body(),
        "VaultKey": closed(json!({
            "vault_key": { "type": "string", "description": "The key itself. It can't be shown again." },
            "id": reference("TokenId"),
            "connection": reference("Slug"),
            "base_path": { "type": "string", "description": "The SDK's base URL, below this host's." },
            "operations": operations(),
            "daily_cap": reference("Cap"),
            "conversation_id": nullable("Label"),
            "expires_at": reference("Time"),
        }), &[]),
        "KillId": { "type": "string", "pattern": "^kill_[0-9a-f]{24}$" },
        "KillScope": { "type": "string",
            "description": "call:ID, conversation:ID, agent:NAME, role:NAME, tool:NAME, connection:NAME, token:ID or tenant.",
            "pattern": "^(tenant|(call|conversation|agent|role|tool|connection|token):[A-Za-z0-9][A-Za-z0-9_.:@-]{0,127})$" },
        "Reason": { "type": "string", "minLength": 1, "maxLength": 200,
            "description": "One line, for operators: agents aren't told it." },
        "ThrowKill": closed(json!({
            "scope": reference("KillScope"),
            "environment": described("Slug",
                "In this environment only. All that the operator reaches unless given; the scope `tenant` without it takes a \
                 token for every environment."),
            "reason": reference("Reason"),
        }), &["environment"]),
        "Kill": closed(json!({
            "id": reference("KillId"),
            "scope": reference("KillScope"),
            "tenant": reference("Slug"),
            "environment": nullable("Slug"),
            "reason": reference("Reason"),
            "by": { "type": "string", "description": "A token's id, or `cli`." },
            "at": reference("Time"),
        }), &[]),
        "KillList": closed(json!({ "kills": list("Kill") }), &[]),
    })
}

fn metadata() -> Value {
    json!({ "type": "object", "description": "At most 16 KiB. A member `role` that is a role's name is the agent's role." })
}

fn vault_key_body() -> Value {
    let mut body = closed(
        json!({
            "daily_cap_usd": { "type": "number", "minimum": 0,
                "description": "In dollars, at most two decimals. 0 allows no writes." },
            "daily_cap": reference("Cap"),
            "allowed_endpoints": { "type": "array", "minItems": 1, "items": { "type": "string" },
                "description": "`POST /v1/charges`, or without a method for all; `*` is one segment, at the end one or more." },
            "ttl_seconds": { "type": "integer", "minimum": 1, "maximum": 31_536_000 },
            "conversation_id": described("Label", "Binds the key to one conversation."),
            "agent": described("Label", "`vault-key` unless given."),
            "role": described("Slug", "What the agent is for: policies speak of roles."),
            "task": task(),
            "connection": described("Slug", "The only one there is, unless given."),
            "environment": described("Slug", "One within the operator's reach; its own unless given."),
        }),
        &[
            "daily_cap_usd",
            "daily_cap",
            "conversation_id",
            "agent",
            "role",
            "task",
            "connection",
            "environment",
        ],
    );
    if let Some(body) = body.as_object_mut() {
        body.insert(
            "oneOf".to_owned(),
            json!([{ "required": ["daily_cap_usd"] }, { "required": ["daily_cap"] }]),
        );
    }
    body
}

fn budget() -> Value {
    let narrowed = json!({
        "limit": { "type": "integer", "minimum": 0, "description": "In minor units of the currency, or in requests." },
        "unit": { "type": "string", "pattern": "^([A-Za-z]{3}|requests)$" },
        "window": { "enum": Window::ALL.map(Window::as_str) },
        "time_zone": { "type": "string", "description": "When a day or a month begins: an IANA name. UTC unless given." },
        "connection": reference("Slug"),
        "operation": reference("ToolName"),
        "effect": { "enum": ["read", "write"] },
    });
    closed(narrowed, &["time_zone", "connection", "operation", "effect"])
}
