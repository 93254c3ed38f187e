//! `GET /openapi.json`: this interface, described for machines.
//!
//! It's the same for every host and every caller: what a token may call is in `GET /v1/tools`.

mod approvals;
mod budgets;
mod code;
mod identity;
mod mcp;
mod policies;
mod proxy;
mod schemas;
#[cfg(test)]
mod tests;
mod user_secrets;

use std::sync::{Arc, LazyLock};

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use serde_json::{Map, Value, json};

use super::headers;
use super::problem::MEDIA_TYPE;
use super::router::{Door, PROXY_ROOT, Route};

static TEXT: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(document().to_string()));

pub(super) async fn serve(State(door): State<Arc<Door>>) -> Response {
    let mut response = Response::new(Body::from(TEXT.clone()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    door.answered(Route::OpenApi, response)
}

/// The OpenAPI 3.1 document of the HTTP interface.
#[must_use]
pub fn document() -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Keybearer",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Runs agent tools that never hold the key. Times are milliseconds since \
                1970-01-01T00:00:00Z.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths(),
        "components": {
            "securitySchemes": {
                "agent": { "type": "http", "scheme": "bearer", "description": "A token `kbt_…`: it calls tools." },
                "sdk": { "type": "http", "scheme": "basic",
                    "description": "A token `kbt_…` as the user name, without a password." },
                "operator": { "type": "http", "scheme": "bearer",
                    "description": "A token `kbo_…`: it manages the environment that it was minted in, or every one of its \
                        tenant if it was minted for that: its reach. It may stand in `X-Api-Key` instead." },
                "monitor": { "type": "http", "scheme": "bearer",
                    "description": "A token `kbm_…`: it looks at what an operator of the same reach manages, and changes \
                        nothing. It may stand in `X-Api-Key` instead." },
            },
            "responses": {
                "Problem": {
                    "description": "What went wrong, in words that a model or a person can act on.",
                    "content": { MEDIA_TYPE: { "schema": reference("Problem") } },
                },
            },
            "schemas": schemas::all(),
        },
    })
}

fn paths() -> Value {
    let entries = [
        (Route::Tools, json!({ "get": list_tools() })),
        (Route::Call, json!({ "post": call_tool() })),
        (Route::Mcp, json!({ "post": mcp::post() })),
        (Route::Code, json!({ "post": code::run() })),
        (Route::Tokens, json!({ "get": list_tokens(), "post": mint_token() })),
        (Route::Token, json!({ "delete": revoke_token() })),
        (Route::UserSecrets, json!({ "get": user_secrets::list() })),
        (Route::UserSecret, json!({ "put": user_secrets::put(), "delete": user_secrets::remove() })),
        (Route::VaultKeys, json!({ "post": identity::mint_vault_key() })),
        (Route::Agents, json!({ "get": identity::list_agents(), "post": identity::register_agent() })),
        (Route::Agent, json!({ "delete": identity::remove_agent() })),
        (Route::Policies, json!({ "get": policies::list(), "post": policies::post() })),
        (Route::Policy, json!({ "delete": policies::remove() })),
        (Route::Enforce, json!({ "post": policies::enforce() })),
        (Route::Approvals, json!({ "get": approvals::list() })),
        (Route::Approval, json!({ "get": approvals::show() })),
        (
            Route::Approve,
            json!({ "post": approvals::decide("approveRequest", "Says yes to a request that waits for people") }),
        ),
        (Route::Deny, json!({ "post": approvals::decide("denyRequest", "Says no to it: one no is enough") })),
        (Route::Budgets, json!({ "get": budgets::list() })),
        (Route::Held, json!({ "get": budgets::held() })),
        (Route::SettleHeld, json!({ "post": budgets::settle() })),
        (Route::ReleaseHeld, json!({ "post": budgets::release() })),
        (Route::ReconcileHeld, json!({ "post": budgets::reconcile() })),
        (Route::Delegate, json!({ "post": identity::delegate_token() })),
        (Route::Kills, json!({ "get": identity::list_kills(), "post": identity::throw_kill() })),
        (Route::Kill, json!({ "delete": identity::lift_kill() })),
        (Route::Audit, json!({ "get": list_audit() })),
        (Route::AuditCall, json!({ "get": show_call() })),
        (Route::Proxy, proxy::item()),
        (Route::Health, json!({ "get": open("health", "The process answers", "Status", "It answers.") })),
        (Route::Ready, json!({ "get": open("ready", "Calls can be run", "Status", "They can.") })),
        (Route::Metrics, json!({ "get": metrics() })),
        (Route::OpenApi, json!({ "get": this() })),
    ];
    let mut paths: Map<_, _> =
        entries.into_iter().map(|(route, item)| (route.path().to_owned(), item)).collect();
    paths.insert(PROXY_ROOT.to_owned(), proxy::root());
    Value::Object(paths)
}

fn list_tools() -> Value {
    operation(
        "listTools",
        "The tools that this token may call, by name",
        Some("agent"),
        json!([]),
        ("200", answer("The tools.", "ToolList")),
    )
    .into()
}

/// What a caller may say of a call of a tool.
fn call_headers() -> Vec<Value> {
    vec![
        header(&headers::CONVERSATION, "The conversation. A token bound to one refuses any other.", label()),
        header(&headers::TURN, "The turn of that conversation.", label()),
        header(&headers::INTENT, "What the caller calls this intended effect.", label()),
        model_call(),
        header(
            &headers::APPROVAL,
            "The approvals that people gave to exactly this call, and to what it sends: at most four, with commas between them.",
            reference("ApprovalIds"),
        ),
        header(
            &headers::APPROVAL_WAIT,
            "`yes`: where a person has to approve the call first, wait for that, for three quarters of its time; where one has to approve a request of it, nearly up to the deadline.",
            json!({ "enum": ["yes", "no"] }),
        ),
        header(
            &headers::DEADLINE,
            "How long the caller waits, in milliseconds: 4000 unless the host is set up otherwise. More than the \
             host allows is cut down to that.",
            json!({ "type": "integer", "minimum": 1, "maximum": 999_999_999 }),
        ),
        header(
            &headers::TRACEPARENT,
            "W3C trace context; its trace id goes to the audit trail.",
            json!({ "type": "string" }),
        ),
    ]
}

fn call_tool() -> Value {
    let mut parameters = vec![path_parameter("name", "The tool's name.", "ToolName")];
    parameters.extend(call_headers());
    let mut call = operation(
        "callTool",
        "Runs one tool",
        Some("agent"),
        parameters.into(),
        (
            "200",
            json!({
                "description": "What the tool's output schema promises, and nothing else.",
                "headers": { headers::CALL_ID.as_str(): {
                    "description": "The call's id in the audit trail. It's always the host's own.",
                    "schema": reference("CallId"),
                } },
                "content": { "application/json": { "schema": { "type": "object" } } },
            }),
        ),
    );
    call.insert(
        "requestBody".to_owned(),
        json!({
            "description": "The arguments, as the tool's input schema says. No body is `{}`; null stands for an \
                optional argument that isn't given.",
            "content": { "application/json": { "schema": { "type": "object" } } },
        }),
    );
    Value::Object(call)
}

fn list_tokens() -> Value {
    operation(
        "listTokens",
        "The tokens within the operator's reach, newest first",
        Some(LOOKING),
        json!([
            query(
                "limit",
                "Tokens on the page: 1000 unless given.",
                json!({ "type": "integer", "minimum": 1, "maximum": 1000 })
            ),
            query(
                "before",
                "Tokens that come after this one only: `next_before` of the page before.",
                reference("TokenId")
            ),
        ]),
        ("200", answer("A page: the tokens, without their text.", "TokenList")),
    )
    .into()
}

fn mint_token() -> Value {
    let minted = answer("The token. Its text is shown this once.", "MintedToken");
    let mut mint = operation(
        "mintToken",
        "Mints a token for an agent within the operator's reach",
        Some("operator"),
        json!([]),
        ("201", minted),
    );
    mint.insert(
        "requestBody".to_owned(),
        json!({ "required": true, "content": { "application/json": { "schema": reference("Mint") } } }),
    );
    Value::Object(mint)
}

fn revoke_token() -> Value {
    operation(
        "revokeToken",
        "Revokes a token: the very next request that would be sent for it is refused",
        Some("operator"),
        json!([path_parameter("id", "The token's public id.", "TokenId")]),
        ("204", json!({ "description": "It's revoked." })),
    )
    .into()
}

fn list_audit() -> Value {
    operation(
        "listAudit",
        "The audit trail within the operator's reach, newest first",
        Some(LOOKING),
        json!([
            query(
                "limit",
                "Rows on the page: 100 unless given.",
                json!({ "type": "integer", "minimum": 1, "maximum": 1000 })
            ),
            query(
                "before",
                "Rows before this number only: `next_before` of the page before.",
                json!({ "type": "integer", "minimum": 1 })
            ),
            query("call", "Rows of this call only.", reference("CallId")),
            query(
                "conversation",
                "All rows of the calls of this conversation only, and those that say that a token was made for it.",
                reference("Label")
            ),
            query(
                "agent",
                "All rows of the calls of this agent, and those that say what was done to it or its tokens.",
                reference("Label")
            ),
            query(
                "token",
                "All rows of the calls with this token, and those that say what was done to it.",
                reference("TokenId")
            ),
            query("since", "Rows that were recorded then or later only.", moment()),
            query("until", "Rows that were recorded before only.", moment()),
        ]),
        ("200", answer("A page.", "AuditPage")),
    )
    .into()
}

/// A time in a query: RFC 3339, or a date.
fn moment() -> Value {
    json!({ "type": "string", "examples": ["2026-07-01T08:00:00Z", "2026-07-01"] })
}

fn show_call() -> Value {
    operation(
        "showCall",
        "One call in the audit trail, from its beginning on",
        Some(LOOKING),
        json!([path_parameter("call", "The call's id.", "CallId")]),
        ("200", answer("Its rows.", "AuditCall")),
    )
    .into()
}

fn metrics() -> Value {
    let text = json!({
        "description": "Counters by tool, connection, operation, code and status: no tenant, token or call.",
        "content": { "application/openmetrics-text": { "schema": { "type": "string" } } },
    });
    operation("metrics", "The host's counters, for Prometheus", None, json!([]), ("200", text)).into()
}

fn this() -> Value {
    let text = json!({
        "description": "An OpenAPI 3.1 document.",
        "content": { "application/json": { "schema": { "type": "object" } } },
    });
    operation("openapi", "This document", None, json!([]), ("200", text)).into()
}

/// An operation that needs no token.
fn open(id: &str, summary: &str, schema: &str, about: &str) -> Value {
    operation(id, summary, None, json!([]), ("200", answer(about, schema))).into()
}

/// For an operation that changes nothing of what an operator manages: a monitor's token does, and so does an operator's.
const LOOKING: &str = "monitor";

fn operation(
    id: &str,
    summary: &str,
    token: Option<&str>,
    parameters: Value,
    (status, answer): (&str, Value),
) -> Map<String, Value> {
    let security = match token {
        None => json!([]),
        Some(LOOKING) => json!([{ "operator": [] }, { LOOKING: [] }]),
        Some(scheme) => json!([{ scheme: [] }]),
    };
    let problem = json!({ "$ref": "#/components/responses/Problem" });
    let mut operation = Map::new();
    operation.insert("operationId".to_owned(), id.into());
    operation.insert("summary".to_owned(), summary.into());
    operation.insert("security".to_owned(), security);
    operation.insert("parameters".to_owned(), parameters);
    operation.insert("responses".to_owned(), json!({ status: answer, "default": problem }));
    operation
}

fn answer(about: &str, schema: &str) -> Value {
    json!({ "description": about, "content": { "application/json": { "schema": reference(schema) } } })
}

fn path_parameter(name: &str, about: &str, schema: &str) -> Value {
    json!({ "name": name, "in": "path", "required": true, "description": about, "schema": reference(schema) })
}

fn query(name: &str, about: &str, schema: Value) -> Value {
    json!({ "name": name, "in": "query", "description": about, "schema": schema })
}

fn header(name: &http::HeaderName, about: &str, schema: Value) -> Value {
    json!({ "name": name.as_str(), "in": "header", "description": about, "schema": schema })
}

fn model_call() -> Value {
    let about = "What the model calls this call, as it's to be found in the audit trail.";
    header(&headers::MODEL_CALL, about, reference("ModelCallId"))
}

fn label() -> Value {
    reference("Label")
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}
