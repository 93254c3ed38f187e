//! What goes over the wire, as serde structs. `openapi` describes the same, and its tests hold the two together.
//!
//! Times are whole milliseconds since 1970-01-01T00:00:00Z, here as in the audit trail.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::audit::Row;
use crate::auth::{OperationPattern, ToolPattern};
use crate::catalog::Tool;
use crate::clock::Millis;
use crate::ids::{
    AgentId, CallId, ConversationId, Environment, RoleName, TenantId, TokenId, ToolName, UserId,
};
use crate::json::object;
use crate::ledger::Budget;
use crate::refusal::{Code, RequestSent, Retry};
use crate::store::{TokenKind, TokenRow};

/// An error, `application/problem+json`.
#[derive(Debug, Serialize)]
pub(super) struct ProblemBody<'a> {
    pub(super) r#type: String,
    pub(super) title: String,
    pub(super) status: u16,
    pub(super) detail: String,
    pub(super) code: Code,
    pub(super) request_sent: RequestSent,
    pub(super) retry: Retry,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) call: Option<&'a CallId>,
}

/// `GET /v1/tools`.
#[derive(Debug, Serialize)]
pub(super) struct ToolList<'a> {
    pub(super) tools: Vec<ToolEntry<'a>>,
}

/// One tool, as an agent needs to know it.
#[derive(Debug, Serialize)]
pub(super) struct ToolEntry<'a> {
    name: &'a ToolName,
    description: &'a str,
    input_schema: &'a Value,
    output_schema: &'a Value,
}

impl<'a> From<&'a Arc<Tool>> for ToolEntry<'a> {
    fn from(tool: &'a Arc<Tool>) -> Self {
        Self {
            name: &tool.name,
            description: &tool.description,
            input_schema: tool.input.value(),
            output_schema: tool.output.value(),
        }
    }
}

/// The body of `POST /v1/tokens`. An unknown or repeated member is an error.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MintBody {
    /// Any name.
    pub(super) agent: Option<AgentId>,
    /// A registered agent, in place of a name: its role goes with it.
    #[serde(rename = "agentId")]
    pub(super) agent_id: Option<AgentId>,
    pub(super) environment: Option<Environment>,
    pub(super) conversation: Option<ConversationId>,
    pub(super) role: Option<RoleName>,
    pub(super) task: Option<String>,
    pub(super) user: Option<UserId>,
    #[serde(default)]
    pub(super) tools: Vec<ToolPattern>,
    #[serde(default)]
    pub(super) operations: Vec<OperationPattern>,
    #[serde(default, deserialize_with = "object::list")]
    pub(super) budgets: Vec<Budget>,
    #[serde(default)]
    pub(super) may_delegate: bool,
    #[serde(default)]
    pub(super) may_store_secrets: bool,
    #[serde(alias = "expiresIn")]
    pub(super) expires_in_seconds: u64,
}

/// `GET /v1/tokens`: newest first.
#[derive(Debug, Serialize)]
pub(super) struct TokenList {
    pub(super) tokens: Vec<TokenEntry>,
    pub(super) next_before: Option<TokenId>,
}

/// A token without its text and without its hash.
#[derive(Debug, Serialize)]
pub(super) struct TokenEntry {
    id: TokenId,
    kind: TokenKind,
    tenant: TenantId,
    environment: Environment,
    /// An operator's or a monitor's: whether it reaches every environment of the tenant.
    every_environment: bool,
    agent: AgentId,
    conversation: Option<ConversationId>,
    role: Option<RoleName>,
    task: Option<String>,
    user: Option<UserId>,
    parent: Option<TokenId>,
    /// The operator's name, or `cli:` and a user of the host's machine.
    minted_by: Option<AgentId>,
    tools: Vec<ToolPattern>,
    operations: Vec<OperationPattern>,
    budgets: Vec<Budget>,
    may_delegate: bool,
    may_store_secrets: bool,
    created_at: Millis,
    expires_at: Millis,
    revoked_at: Option<Millis>,
}

impl From<TokenRow> for TokenEntry {
    fn from(row: TokenRow) -> Self {
        Self {
            id: row.id,
            kind: row.kind,
            tenant: row.realm.tenant,
            environment: row.realm.environment,
            every_environment: row.every_environment,
            agent: row.agent,
            conversation: row.conversation,
            role: row.role,
            task: row.task,
            user: row.user,
            parent: row.parent,
            minted_by: row.minted_by,
            tools: row.grant.tools,
            operations: row.grant.operations,
            budgets: row.grant.budgets,
            may_delegate: row.grant.may_delegate,
            may_store_secrets: row.grant.may_store_secrets,
            created_at: row.created_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
        }
    }
}

/// The answer to `POST /v1/tokens`: the one time that the token itself is shown.
#[derive(Serialize)]
pub(super) struct MintedBody<'a> {
    pub(super) token: &'a str,
    #[serde(flatten)]
    pub(super) entry: TokenEntry,
}

/// `GET /v1/audit`: newest first.
#[derive(Debug, Serialize)]
pub(super) struct AuditPage {
    pub(super) rows: Vec<Row>,
    pub(super) next_before: Option<u64>,
}

/// `GET /v1/audit/{call}`: oldest first.
#[derive(Debug, Serialize)]
pub(super) struct AuditCall {
    pub(super) call: CallId,
    pub(super) rows: Vec<Row>,
}

/// `/healthz` and `/readyz`.
#[derive(Debug, Serialize)]
pub(super) struct StatusBody {
    pub(super) status: &'static str,
}

/// A `200` answer of one of these structs.
pub(super) fn json(body: &impl Serialize) -> Response {
    // They are strings, numbers and lists of these: they can't fail to serialize.
    let bytes = serde_json::to_vec(body).unwrap_or_default();
    let mut response = Response::new(Body::from(Bytes::from(bytes)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
