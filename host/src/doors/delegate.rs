//! `POST /v1/tokens/delegate`: what an agent uses to hand on a part of what it may do.
//!
//! The new token stands below the one that asked. It may do nothing that this one, or any above it, may not; it ends
//! with the first of them.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::Response;
use serde::Deserialize;

use super::body;
use super::change::{blocking, created, parse, settled, unrecorded};
use super::router::{Door, Route};
use super::tokens::failed;
use super::wire::MintedBody;
use crate::app::App;
use crate::auth::{Caller, Delegation, Grant, OperationPattern, ToolPattern};
use crate::ids::{AgentId, ConversationId, RoleName};
use crate::json::object;
use crate::ledger::Budget;
use crate::refusal::{Code, Refusal};

/// The body. An unknown or repeated member is an error.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DelegateBody {
    agent: Option<AgentId>,
    role: Option<RoleName>,
    task: Option<String>,
    conversation: Option<ConversationId>,
    #[serde(default)]
    tools: Vec<ToolPattern>,
    #[serde(default)]
    operations: Vec<OperationPattern>,
    #[serde(default, deserialize_with = "object::list")]
    budgets: Vec<Budget>,
    #[serde(default)]
    may_delegate: bool,
    #[serde(default)]
    may_store_secrets: bool,
    expires_in_seconds: Option<u64>,
}

/// Mints a token below the caller's.
pub(super) async fn delegate(State(door): State<Arc<Door>>, request: Request) -> Response {
    let result = delegated(&door, request).await;
    door.answer(Route::Delegate, result)
}

async fn delegated(door: &Door, request: Request) -> Result<Response, Refusal> {
    let caller = door.agent(request.headers())?;
    let bytes = body::read(request.into_body(), door.body_bytes_max, door.body_time_max).await?;
    settled(delegate_recorded(door.app.clone(), caller, parse(&bytes)?)).await
}

async fn delegate_recorded(
    app: Arc<App>,
    parent: Arc<Caller>,
    wanted: DelegateBody,
) -> Result<Response, Refusal> {
    // Whether there's a connection that its own grant doesn't open, a caller isn't told: that is refused as too wide.
    if wanted.budgets.iter().all(|budget| parent.grant().opens(budget)) {
        Budget::find_all_names(&wanted.budgets, &app.connections.load(), parent.realm())
            .map_err(|sentence| Refusal::new(Code::BadRequest, sentence))?;
    }
    let request = wanted.into();
    let minted = {
        let (app, parent) = (app.clone(), parent.clone());
        blocking(move || app.auth.delegate(&parent, request)).await?.map_err(|error| failed(&error))?
    };
    let id = minted.row.id.clone();
    let recorded = app.audit.given("token.delegate", &minted.row, parent.token().as_str()).await;
    if let Err(error) = recorded {
        let refusal = unrecorded(
            &error,
            id.as_str(),
            "the host can't write its audit trail, so no token was delegated",
        );
        let _ = blocking(move || app.auth.revoke(&id, None)).await?;
        return Err(refusal);
    }
    Ok(created(&MintedBody { token: minted.token.as_str(), entry: minted.row.into() }))
}

impl From<DelegateBody> for Delegation {
    fn from(body: DelegateBody) -> Self {
        Self {
            agent: body.agent,
            role: body.role,
            task: body.task,
            conversation: body.conversation,
            grant: Grant {
                tools: body.tools,
                operations: body.operations,
                budgets: body.budgets,
                may_delegate: body.may_delegate,
                may_store_secrets: body.may_store_secrets,
            },
            lifetime: body.expires_in_seconds.map(Duration::from_secs),
        }
    }
}
