//! `POST|GET /v1/tokens` and `DELETE /v1/tokens/{id}`: what an operator uses.
//!
//! An operator sees and changes the tokens within its reach alone. Another tenant's token, or one of an environment beyond
//! that, is answered as one that doesn't exist. Operators' and monitors' tokens are minted on the host's command line only, so that a stolen one can't
//! be used to make itself a successor.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::Response;

use super::agents::missing as missing_agent;
use super::body;
use super::change::{blocking, created, done, parse, settled, unable, unrecorded};
use super::query::{self, bad, number};
use super::realm::{realm_of, recorded_in};
use super::router::{Door, Route, last_segment};
use super::wire::{MintBody, MintedBody, TokenEntry, TokenList, json};
use crate::app::App;
use crate::auth::{AuthError, Caller, Grant, Mint, Minted};
use crate::ids::TokenId;
use crate::ledger::Budget;
use crate::refusal::{Code, Refusal};
use crate::store::{AgentRow, TokenKind};

/// Tokens on a page, at most and when the request doesn't say: about half a megabyte of JSON with ordinary grants.
const PAGE_ROWS_MAX: u32 = 1_000;

/// The tokens within reach, newest first.
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
    let caller = door.reader(request.headers())?;
    let [limit, before] = query::read(request.uri(), ["limit", "before"])?;
    let limit = number("limit", limit, PAGE_ROWS_MAX)?.unwrap_or(PAGE_ROWS_MAX);
    let before = before.map(str::parse::<TokenId>).transpose();
    let before = before.map_err(|_| bad("before: give a token's public id"))?;
    let app = door.app.clone();
    let page = blocking(move || {
        let reach = caller.reach();
        if let Some(id) = &before
            && app.auth.find(id, &reach)?.is_none()
        {
            return Ok(None);
        }
        app.auth.page(&reach, before.as_ref(), limit).map(Some)
    });
    let rows = page.await?.map_err(|error| failed(&error))?;
    let rows = rows.ok_or_else(|| bad("before: there is no such token within this token's reach"))?;
    let is_full = u32::try_from(rows.len()).is_ok_and(|count| count >= limit);
    let next_before = rows.last().filter(|_| is_full).map(|row| row.id.clone());
    Ok(json(&TokenList { tokens: rows.into_iter().map(TokenEntry::from).collect(), next_before }))
}

async fn minted(door: &Door, request: Request) -> Result<Response, Refusal> {
    let caller = door.operator(request.headers())?;
    let bytes = body::read(request.into_body(), door.body_bytes_max, door.body_time_max).await?;
    let wanted: MintBody = parse(&bytes)?;
    let is_registered = wanted.agent_id.is_some();
    let request = request_of(&door.app, &caller, wanted).await?;
    let minted = settled(mint_recorded(door.app.clone(), caller, request, is_registered)).await?;
    Ok(created(&MintedBody { token: minted.token.as_str(), entry: minted.row.into() }))
}

async fn revoked(door: &Door, request: Request) -> Result<Response, Refusal> {
    let caller = door.operator(request.headers())?;
    let missing = || Refusal::new(Code::NotFound, "there is no such token within this token's reach");
    let id: TokenId = last_segment(&request).parse().map_err(|_| missing())?;
    let found = settled(revoke_recorded(door.app.clone(), caller, id)).await?;
    if found { Ok(done()) } else { Err(missing()) }
}

/// What a body asks for, its registered agent looked up.
async fn request_of(app: &Arc<App>, caller: &Arc<Caller>, wanted: MintBody) -> Result<Mint, Refusal> {
    let realm = realm_of(caller, wanted.environment)?;
    Budget::find_all_names(&wanted.budgets, &app.connections.load(), &realm)
        .map_err(|sentence| Refusal::new(Code::BadRequest, sentence))?;
    let (agent, role) = match (wanted.agent, wanted.agent_id) {
        (Some(agent), None) => (agent, wanted.role),
        (None, Some(id)) => {
            let (app, caller) = (app.clone(), caller.clone());
            let found = blocking(move || app.auth.agent(&caller.reach(), &id)).await?;
            // One that is registered for another environment isn't there in this one.
            let is_there =
                |row: &AgentRow| row.environment.as_ref().is_none_or(|name| *name == realm.environment);
            let record = found.map_err(|error| failed(&error))?.filter(is_there).ok_or_else(missing_agent)?;
            if wanted.role.is_some() && wanted.role != record.role {
                return Err(Refusal::new(
                    Code::BadRequest,
                    "the role is not the one that this agent is registered with; leave it out",
                ));
            }
            (record.id, record.role)
        }
        _ => {
            return Err(Refusal::new(
                Code::BadRequest,
                "say whom the token is for: agent (any name) or agentId (a registered agent), not both",
            ));
        }
    };
    Ok(Mint {
        kind: TokenKind::Agent,
        realm,
        every_environment: false,
        agent,
        conversation: wanted.conversation,
        role,
        task: wanted.task,
        user: wanted.user,
        grant: Grant {
            tools: wanted.tools,
            operations: wanted.operations,
            budgets: wanted.budgets,
            may_delegate: wanted.may_delegate,
            may_store_secrets: wanted.may_store_secrets,
        },
        lifetime: Duration::from_secs(wanted.expires_in_seconds),
    })
}

/// Mints a token and records it: both or neither. A registered agent's is minted only while that is there.
pub(super) async fn mint_recorded(
    app: Arc<App>,
    caller: Arc<Caller>,
    request: Mint,
    is_registered: bool,
) -> Result<Minted, Refusal> {
    let minted = {
        let (app, caller) = (app.clone(), caller.clone());
        blocking(move || match caller.as_operator() {
            Some(operator) if is_registered => app.auth.mint_for_registered(&operator, request),
            Some(operator) => app.auth.mint_for(&operator, request).map(Some),
            None => Err(AuthError::Unauthorized),
        })
        .await?
        .map_err(|error| failed(&error))?
        .ok_or_else(missing_agent)?
    };
    let id = minted.row.id.clone();
    if let Err(error) = app.audit.given("token.mint", &minted.row, caller.token().as_str()).await {
        let refusal =
            unrecorded(&error, id.as_str(), "the host can't write its audit trail, so no token was minted");
        let _ = blocking(move || app.auth.revoke(&id, None)).await?;
        return Err(refusal);
    }
    Ok(minted)
}

async fn revoke_recorded(app: Arc<App>, caller: Arc<Caller>, id: TokenId) -> Result<bool, Refusal> {
    let found = {
        let (app, caller, id) = (app.clone(), caller.clone(), id.clone());
        blocking(move || {
            app.auth.revoke(&id, Some(&caller.reach()))?;
            app.auth.find(&id, &caller.reach())
        })
        .await?
        .map_err(|error: AuthError| failed(&error))?
    };
    let Some(row) = found else { return Ok(false) };
    let environment = (!row.every_environment).then_some(&row.realm.environment);
    // The revocation comes first: a trail that can't be written must not keep a stolen token alive.
    let recorded = app
        .audit
        .admin(Some(recorded_in(&caller, environment)), "token.revoke", id.as_str(), caller.token().as_str())
        .await;
    recorded.map_err(|error| {
        unrecorded(
            &error,
            id.as_str(),
            "the token is revoked, but the host can't write its audit trail to record it",
        )
    })?;
    Ok(true)
}

/// What a caller is told of it.
pub(super) fn failed(error: &AuthError) -> Refusal {
    match error {
        AuthError::InvalidMint(sentence) => Refusal::new(Code::BadRequest, sentence.as_str()),
        AuthError::MayNotDelegate(sentence) => Refusal::new(Code::Denied, *sentence),
        AuthError::Unauthorized => Refusal::new(Code::Unauthorized, error.to_string()),
        AuthError::Store(cause) => unable("read or change tokens", cause),
    }
}
