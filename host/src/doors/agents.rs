//! `POST|GET /v1/agents` and `DELETE /v1/agents/{id}`: an operator's register of agents.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::body;
use super::change::{blocking, created, done, parse, settled, unrecorded};
use super::realm::recorded_in;
use super::router::{Door, Route, last_segment};
use super::tokens::failed;
use super::wire::json;
use crate::app::App;
use crate::auth::{Caller, Registration};
use crate::clock::Millis;
use crate::ids::{AgentId, Environment, RoleName};
use crate::refusal::{Code, Refusal};
use crate::store::AgentRow;

/// The body of `POST /v1/agents`. An unknown or repeated member is an error.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RegisterBody {
    name: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    metadata: Map<String, Value>,
}

/// A registered agent.
#[derive(Debug, Serialize)]
pub(super) struct AgentEntry {
    id: AgentId,
    /// Where its tokens may be minted; null: in every environment.
    environment: Option<Environment>,
    name: String,
    description: String,
    role: Option<RoleName>,
    metadata: Value,
    created_at: Millis,
}

impl From<AgentRow> for AgentEntry {
    fn from(row: AgentRow) -> Self {
        let AgentRow { id, environment, name, description, metadata, role, created_at, .. } = row;
        Self { id, environment, name, description, role, metadata, created_at }
    }
}

/// `GET /v1/agents`.
#[derive(Debug, Serialize)]
pub(super) struct AgentList {
    pub(super) agents: Vec<AgentEntry>,
}

/// The agents within reach, the oldest first.
pub(super) async fn list(State(door): State<Arc<Door>>, request: Request) -> Response {
    let result = listed(&door, request).await;
    door.answer(Route::Agents, result)
}

/// Registers an agent.
pub(super) async fn register(State(door): State<Arc<Door>>, request: Request) -> Response {
    let result = registered(&door, request).await;
    door.answer(Route::Agents, result)
}

/// Removes an agent and revokes its tokens.
pub(super) async fn remove(State(door): State<Arc<Door>>, request: Request) -> Response {
    let result = removed(&door, request).await;
    door.answer(Route::Agent, result)
}

async fn listed(door: &Door, request: Request) -> Result<Response, Refusal> {
    let caller = door.reader(request.headers())?;
    let app = door.app.clone();
    let rows = blocking(move || app.auth.agents(&caller.reach())).await?;
    let agents = rows.map_err(|error| failed(&error))?.into_iter().map(AgentEntry::from).collect();
    Ok(json(&AgentList { agents }))
}

async fn registered(door: &Door, request: Request) -> Result<Response, Refusal> {
    let caller = door.operator(request.headers())?;
    let bytes = body::read(request.into_body(), door.body_bytes_max, door.body_time_max).await?;
    settled(register_recorded(door.app.clone(), caller, parse(&bytes)?)).await
}

async fn removed(door: &Door, request: Request) -> Result<Response, Refusal> {
    let caller = door.operator(request.headers())?;
    let id: AgentId = last_segment(&request).parse().map_err(|_| missing())?;
    settled(remove_recorded(door.app.clone(), caller, id)).await
}

async fn register_recorded(
    app: Arc<App>,
    caller: Arc<Caller>,
    wanted: RegisterBody,
) -> Result<Response, Refusal> {
    let RegisterBody { name, description, metadata } = wanted;
    let wanted = Registration { name, description, metadata: Value::Object(metadata) };
    let row = {
        let (app, caller) = (app.clone(), caller.clone());
        blocking(move || app.auth.register(&caller.reach(), wanted)).await?.map_err(|error| failed(&error))?
    };
    let (realm, by) = (recorded_in(&caller, row.environment.as_ref()), caller.token().as_str());
    if let Err(error) = app.audit.admin(Some(realm), "agent.register", row.id.as_str(), by).await {
        let id = row.id.clone();
        let refusal = unrecorded(
            &error,
            id.as_str(),
            "the host can't write its audit trail, so no agent was registered",
        );
        let _ = blocking(move || app.auth.remove_agent(&caller.reach(), &id)).await?;
        return Err(refusal);
    }
    Ok(created(&AgentEntry::from(row)))
}

async fn remove_recorded(app: Arc<App>, caller: Arc<Caller>, id: AgentId) -> Result<Response, Refusal> {
    let (agent, revoked) = {
        let (app, caller, id) = (app.clone(), caller.clone(), id.clone());
        blocking(move || app.auth.remove_agent(&caller.reach(), &id))
            .await?
            .map_err(|error| failed(&error))?
            .ok_or_else(missing)?
    };
    // As with a revocation, the act comes first.
    let by = caller.token().as_str();
    let acts =
        revoked.iter().map(|token| ("token.revoke", token.id.as_str(), Some(&token.realm.environment)));
    let mut recorded = Ok(());
    for (action, subject, environment) in
        acts.chain([("agent.remove", id.as_str(), agent.environment.as_ref())])
    {
        let row = app.audit.admin(Some(recorded_in(&caller, environment)), action, subject, by).await;
        recorded = recorded.and(row);
    }
    recorded.map_err(|error| {
        unrecorded(
            &error,
            id.as_str(),
            "the agent is removed and its tokens are revoked, but the host can't write its audit trail to record it",
        )
    })?;
    Ok(done())
}

/// The one answer for an agent that isn't there and for one beyond reach.
pub(super) fn missing() -> Refusal {
    Refusal::new(Code::NotFound, "there is no such agent within this token's reach")
}
