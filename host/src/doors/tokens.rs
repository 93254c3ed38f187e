//! `POST|GET /v1/tokens` and `DELETE /v1/tokens/{id}`: what an operator uses.
//!
//! An operator sees and changes the tokens of its own tenant alone. Another tenant's token is answered as one that
//! doesn't exist. Operator tokens are minted on the host's command line only, so that a stolen one can't be used to
//! make itself a successor.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::header::CACHE_CONTROL;
use http::{HeaderValue, StatusCode};

use super::body;
use super::router::{Door, Route, last_segment};
use super::wire::{MintBody, MintedBody, TokenEntry, TokenList, json};
use crate::app::App;
use crate::auth::{AuthError, Caller, Grant, Mint};
use crate::ids::{Realm, TokenId};
use crate::refusal::{Code, Refusal};
use crate::store::TokenKind;

/// The tenant's tokens, newest first.
pub(super) async fn list(State(door): State<Arc<Door>>, request: Request) -> Response {
    let result = listed(&door, request).await;
    door.answer(Route::Tokens, result)
}

/// Mints an agent's token.
pub(super) async fn mint(State(door): State<Arc<Door>>, request: Request) -> Response {
    let result = minted(&door, request).await;
    door.answer(Route::Tokens, result)
}

/// Revokes a token: the very next send with it is refused.
pub(super) async fn revoke(State(door): State<Arc<Door>>, request: Request) -> Response {
    let result = revoked(&door, request).await;
    door.answer(Route::Token, result)
}

async fn listed(door: &Door, request: Request) -> Result<Response, Refusal> {
    let caller = door.operator(request.headers())?;
    let app = door.app.clone();
    let rows = blocking(move || app.auth.list(Some(&caller.realm().tenant))).await?;
    let tokens = rows.map_err(|error| failed(&error))?.into_iter().map(TokenEntry::from).collect();
    Ok(json(&TokenList { tokens }))
}

async fn minted(door: &Door, request: Request) -> Result<Response, Refusal> {
    let caller = door.operator(request.headers())?;
    let bytes = body::read(request.into_body(), door.body_bytes_max, door.body_time_max).await?;
    let wanted: MintBody = serde_json::from_slice(&bytes)
        .map_err(|error| Refusal::new(Code::BadRequest, format!("the body can't be used: {error}")))?;
    settled(mint_recorded(door.app.clone(), caller, wanted)).await
}

async fn revoked(door: &Door, request: Request) -> Result<Response, Refusal> {
    let caller = door.operator(request.headers())?;
    let missing = || Refusal::new(Code::NotFound, "there is no such token in this tenant");
    let id: TokenId = last_segment(&request).parse().map_err(|_| missing())?;
    let found = settled(revoke_recorded(door.app.clone(), caller, id)).await?;
    if found { Ok(StatusCode::NO_CONTENT.into_response()) } else { Err(missing()) }
}

async fn mint_recorded(app: Arc<App>, caller: Arc<Caller>, wanted: MintBody) -> Result<Response, Refusal> {
    let environment = wanted.environment.unwrap_or_else(|| caller.realm().environment.clone());
    let realm = Realm { tenant: caller.realm().tenant.clone(), environment };
    let request = Mint {
        kind: TokenKind::Agent,
        realm: realm.clone(),
        agent: wanted.agent,
        conversation: wanted.conversation,
        role: None,
        task: None,
        grant: Grant { tools: wanted.tools, operations: wanted.operations, ..Grant::default() },
        lifetime: Duration::from_secs(wanted.expires_in_seconds),
    };
    let minted = {
        let (app, caller) = (app.clone(), caller.clone());
        blocking(move || match caller.as_operator() {
            Some(operator) => app.auth.mint_for(&operator, request),
            None => Err(AuthError::Unauthorized),
        })
        .await?
        .map_err(|error| failed(&error))?
    };
    let id = minted.row.id.clone();
    if let Err(error) = app.audit.admin(Some(realm), "token.mint", id.as_str(), caller.token().as_str()).await
    {
        tracing::error!(cause = %error, token = %id, "a minted token could not be recorded; it's revoked");
        let _ = blocking(move || app.auth.revoke(&id, None)).await?;
        return Err(Refusal::new(
            Code::AuditUnavailable,
            "the host can't write its audit trail, so no token was minted",
        ));
    }
    let body = MintedBody { token: minted.token.as_str(), entry: minted.row.into() };
    let mut response = json(&body);
    *response.status_mut() = StatusCode::CREATED;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

async fn revoke_recorded(app: Arc<App>, caller: Arc<Caller>, id: TokenId) -> Result<bool, Refusal> {
    let found = {
        let (app, caller, id) = (app.clone(), caller.clone(), id.clone());
        blocking(move || app.auth.revoke(&id, Some(&caller.realm().tenant)))
            .await?
            .map_err(|error| failed(&error))?
    };
    if !found {
        return Ok(false);
    }
    // The revocation comes first: a trail that can't be written must not keep a stolen token alive.
    let recorded = app
        .audit
        .admin(Some(caller.realm().clone()), "token.revoke", id.as_str(), caller.token().as_str())
        .await;
    recorded.map_err(|error| {
        tracing::error!(cause = %error, token = %id, "a revocation could not be recorded");
        Refusal::new(
            Code::AuditUnavailable,
            "the token is revoked, but the host can't write its audit trail to record it",
        )
    })?;
    Ok(true)
}

/// Lets a change and its record run to their end together, even when the client hangs up in between.
async fn settled<T: Send + 'static>(
    work: impl Future<Output = Result<T, Refusal>> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::spawn(work).await.map_err(broke_down)?
}

/// The store's writes wait for the disk: not on a thread that serves.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.map_err(broke_down)
}

fn broke_down(error: tokio::task::JoinError) -> Refusal {
    tracing::error!(cause = %error, "a change of tokens broke down");
    Refusal::new(Code::Internal, "the host failed; its operator can see why in the log")
}

fn failed(error: &AuthError) -> Refusal {
    match error {
        AuthError::InvalidMint(sentence) => Refusal::new(Code::BadRequest, sentence.as_str()),
        AuthError::Unauthorized => Refusal::new(Code::Unauthorized, error.to_string()),
        AuthError::Store(cause) => {
            tracing::error!(%cause, "the token store failed");
            Refusal::new(
                Code::Internal,
                "the host can't read or change tokens now; its operator can see why in the log",
            )
        }
    }
}
