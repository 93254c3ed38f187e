//! `GET /v1/approvals`, `GET /v1/approvals/{id}`, and `POST …/approve` and `…/deny`.
//!
//! An operator sees and decides what is within its reach. A monitor sees there what is asked by whom and who has decided,
//! but not what approvers read: that is sealed in the store, and the trail hasn't it. An agent sees how its own requests
//! stand and nothing more: not what approvers read, not who decides.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use serde::Serialize;

use super::change::{self, unable};
use super::query::{self, bad, number};
use super::router::{Door, Route, last_but_one_segment, last_segment};
use super::wire::json;
use crate::approval::{Approver, DecideError, Rendering};
use crate::auth::Caller;
use crate::clock::Millis;
use crate::ids::{
    AgentId, ApprovalId, ConnectionName, ConversationId, Digest, Environment, OperationName, RoleName,
    TenantId, TokenId, ToolName,
};
use crate::policy::About;
use crate::refusal::{Code, Refusal};
use crate::store::{ApprovalRow, ApprovalState, StoreError, TokenKind, Vote};

/// Approvals in an answer when the request doesn't say.
const PAGE: u32 = 100;
/// Approvals in an answer at most.
const PAGE_MAX: u32 = 1_000;

/// The approvals within reach, newest first.
pub(super) async fn list(State(door): State<Arc<Door>>, request: Request) -> Response {
    let result = listed(&door, request).await;
    door.answer(Route::Approvals, result)
}

/// One approval.
pub(super) async fn show(State(door): State<Arc<Door>>, request: Request) -> Response {
    let result = shown(&door, request).await;
    door.answer(Route::Approval, result)
}

/// A yes.
pub(super) async fn approve(State(door): State<Arc<Door>>, request: Request) -> Response {
    let result = decided(&door, request, true).await;
    door.answer(Route::Approve, result)
}

/// A no.
pub(super) async fn deny(State(door): State<Arc<Door>>, request: Request) -> Response {
    let result = decided(&door, request, false).await;
    door.answer(Route::Deny, result)
}

/// The answer to `GET /v1/approvals`.
#[derive(Debug, Serialize)]
pub(super) struct ApprovalList {
    pub(super) approvals: Vec<ApprovalEntry>,
}

/// An approval, without what it's about.
#[derive(Debug, Serialize)]
pub(super) struct ApprovalEntry {
    id: ApprovalId,
    state: ApprovalState,
    tenant: TenantId,
    environment: Environment,
    token: TokenId,
    agent: AgentId,
    role: Option<RoleName>,
    conversation: Option<ConversationId>,
    /// Null for what isn't an operation of a connection.
    connection: Option<ConnectionName>,
    operation: Option<OperationName>,
    /// Null for what is. `call:…` for a call of a tool, `run_code` for code.
    action: Option<String>,
    /// Null for calls and code as well.
    resource: Option<String>,
    /// The tool that would be called, or run code; otherwise null.
    tool: Option<ToolName>,
    quorum: u32,
    votes: Vec<Vote>,
    asked_at: Millis,
    expires_at: Millis,
    fingerprint: Digest,
}

/// An approval for who decides it. What it's about is null where it can't be read; then it can be denied only.
#[derive(Debug, Serialize)]
pub(super) struct ApprovalDetail {
    #[serde(flatten)]
    pub(super) entry: ApprovalEntry,
    pub(super) text: Option<String>,
    pub(super) request: Option<Rendering>,
}

/// An approval for who asked.
#[derive(Debug, Serialize)]
pub(super) struct ApprovalStatus {
    pub(super) id: ApprovalId,
    pub(super) state: ApprovalState,
    pub(super) expires_at: Millis,
}

impl ApprovalEntry {
    pub(super) fn of(row: ApprovalRow, now: Millis) -> Self {
        let (state, tool) = (row.state(now), row.about.tool().cloned());
        let (connection, operation, action, resource) = match row.about {
            about @ (About::Call { .. } | About::Code { .. }) => {
                (None, None, Some(about.word().into_owned()), None)
            }
            About::Operation { connection, operation } => (Some(connection), Some(operation), None, None),
            About::Api { action, resource } => (None, None, Some(action), Some(resource)),
        };
        Self {
            state,
            id: row.id,
            tenant: row.realm.tenant,
            environment: row.realm.environment,
            token: row.token,
            agent: row.agent,
            role: row.role,
            conversation: row.conversation,
            connection,
            operation,
            action,
            resource,
            tool,
            quorum: row.quorum,
            votes: row.votes,
            asked_at: row.asked_at,
            expires_at: row.expires_at,
            fingerprint: row.fingerprint.digest(),
        }
    }
}

async fn listed(door: &Door, request: Request) -> Result<Response, Refusal> {
    let caller = door.reader(request.headers())?;
    let [state, limit] = query::read(request.uri(), ["state", "limit"])?;
    let state = state.map(str::parse::<ApprovalState>).transpose().map_err(|rule| bad(&rule))?;
    let limit = number("limit", limit, PAGE_MAX)?.unwrap_or(PAGE);
    let approvals = door.app.approvals.approvals().clone();
    let now = approvals.now();
    let rows = blocking(move || approvals.list(Some(&caller.reach()), state, limit)).await?;
    let approvals = rows.into_iter().map(|row| ApprovalEntry::of(row, now)).collect();
    Ok(json(&ApprovalList { approvals }))
}

async fn shown(door: &Door, request: Request) -> Result<Response, Refusal> {
    let caller = door.any_reader(request.headers())?;
    let id: ApprovalId = last_segment(&request).parse().map_err(|_| missing())?;
    let approvals = door.app.approvals.approvals().clone();
    let now = approvals.now();
    blocking(move || {
        let row = approvals.get(Some(&caller.reach()), &id)?;
        let row = row.filter(|row| is_seen_by(row, &caller));
        Ok(row.map(|row| match caller.kind() {
            TokenKind::Agent => json(&status(&row, now)),
            TokenKind::Monitor => json(&ApprovalEntry::of(row, now)),
            TokenKind::Operator => {
                let note = approvals.note(&row).inspect_err(|error| {
                    tracing::error!(approval = %row.id, cause = %error, "an approval can't be shown");
                });
                let request = note.ok().map(|note| note.rendering);
                let text = request.as_ref().map(Rendering::text);
                json(&ApprovalDetail { entry: ApprovalEntry::of(row, now), text, request })
            }
        }))
    })
    .await?
    .ok_or_else(missing)
}

/// An operator and a monitor see what is within their reach; an agent what its own token asked for.
fn is_seen_by(row: &ApprovalRow, caller: &Caller) -> bool {
    match caller.kind() {
        TokenKind::Operator | TokenKind::Monitor => caller.reach().covers(&row.realm),
        TokenKind::Agent => row.token == *caller.token() && row.realm == *caller.realm(),
    }
}

async fn decided(door: &Door, request: Request, yes: bool) -> Result<Response, Refusal> {
    let caller = door.operator(request.headers())?;
    let id: ApprovalId = last_but_one_segment(&request).parse().map_err(|_| missing())?;
    let approver = Approver::Operator {
        name: caller.agent().clone(),
        token: caller.token().clone(),
        reach: caller.reach(),
    };
    let desk = &door.app.approvals;
    let done = if yes { desk.approve(approver, &id).await } else { desk.deny(approver, &id).await };
    done.map_err(|error| refused(&error, yes))?;
    let approvals = desk.approvals().clone();
    let now = approvals.now();
    let row = blocking(move || approvals.get(Some(&caller.reach()), &id)).await?;
    row.map(|row| json(&status(&row, now))).ok_or_else(missing)
}

fn status(row: &ApprovalRow, now: Millis) -> ApprovalStatus {
    ApprovalStatus { id: row.id.clone(), state: row.state(now), expires_at: row.expires_at }
}

fn missing() -> Refusal {
    Refusal::new(Code::NotFound, "there is no such approval, or none that this token may see")
}

fn refused(error: &DecideError, yes: bool) -> Refusal {
    match error {
        DecideError::Unknown => missing(),
        DecideError::Decided(_)
        | DecideError::Expired
        | DecideError::Own
        | DecideError::Twice
        | DecideError::Enough
        | DecideError::NotAllowed => Refusal::new(Code::Denied, error.to_string()),
        DecideError::Unreadable(cause) => {
            tracing::error!(cause, "an approval can't be shown");
            Refusal::new(
                Code::Internal,
                "what is to be approved can't be shown, so it can only be denied; the log says why",
            )
        }
        DecideError::Unrecorded(cause) => {
            tracing::error!(%cause, "a decision could not be recorded");
            Refusal::new(
                Code::AuditUnavailable,
                match yes {
                    true => "the host can't write its audit trail, so the yes doesn't count",
                    false => "the request is denied, but the host can't write its audit trail to record it",
                },
            )
        }
        DecideError::Store(error) => failed(error),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Refusal> {
    change::blocking(work).await?.map_err(|error| failed(&error))
}

fn failed(error: &StoreError) -> Refusal {
    unable("read or change approvals", error)
}
