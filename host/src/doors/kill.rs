//! `POST|GET /v1/kill` and `DELETE /v1/kill/{id}`: an operator's kill switches.
//!
//! An operator stops what is within its reach, and sees and lifts the switches there alone: a whole tenant is for a token
//! that manages every environment, and the whole host is stopped on its command line.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::body;
use super::change::{blocking, created, done, parse, settled, unable, unrecorded};
use super::realm::{realm_of, recorded_in};
use super::router::{Door, Route, last_segment};
use super::wire::json;
use crate::app::App;
use crate::auth::Caller;
use crate::clock::Millis;
use crate::ids::{Environment, KillId, TenantId};
use crate::kill::{KillError, Order, Reason, Scope};
use crate::refusal::{Code, Refusal};
use crate::store::KillRow;

/// The body of `POST /v1/kill`. An unknown or repeated member is an error.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ThrowBody {
    scope: Scope,
    environment: Option<Environment>,
    reason: Reason,
}

/// A switch.
#[derive(Debug, Serialize)]
pub(super) struct KillEntry {
    id: KillId,
    scope: Scope,
    tenant: Option<TenantId>,
    environment: Option<Environment>,
    reason: Reason,
    by: String,
    at: Millis,
}

impl From<KillRow> for KillEntry {
    fn from(row: KillRow) -> Self {
        let KillRow { id, tenant, environment, scope, reason, by, at } = row;
        Self { id, scope, tenant, environment, reason, by, at }
    }
}

/// `GET /v1/kill`.
#[derive(Debug, Serialize)]
pub(super) struct KillList {
    pub(super) kills: Vec<KillEntry>,
}

/// The switches within reach, newest first.
pub(super) async fn list(State(door): State<Arc<Door>>, request: Request) -> Response {
    let result = listed(&door, request).await;
    door.answer(Route::Kills, result)
}

/// Throws a switch.
pub(super) async fn throw(State(door): State<Arc<Door>>, request: Request) -> Response {
    let result = thrown(&door, request).await;
    door.answer(Route::Kills, result)
}

/// Lifts a switch.
pub(super) async fn lift(State(door): State<Arc<Door>>, request: Request) -> Response {
    let result = lifted(&door, request).await;
    door.answer(Route::Kill, result)
}

async fn listed(door: &Door, request: Request) -> Result<Response, Refusal> {
    let caller = door.reader(request.headers())?;
    let app = door.app.clone();
    let rows = blocking(move || app.kills.list(Some(&caller.reach()))).await?;
    let kills = rows.map_err(|error| failed(&error))?.into_iter().map(KillEntry::from).collect();
    Ok(json(&KillList { kills }))
}

async fn thrown(door: &Door, request: Request) -> Result<Response, Refusal> {
    let caller = door.operator(request.headers())?;
    let bytes = body::read(request.into_body(), door.body_bytes_max, door.body_time_max).await?;
    let wanted: ThrowBody = parse(&bytes)?;
    if wanted.scope == Scope::Everything {
        return Err(Refusal::new(
            Code::Denied,
            "an operator's token stops what is within its reach; the whole host is stopped on its command line",
        ));
    }
    let environment = environment_of(&caller, &wanted)?;
    settled(throw_recorded(door.app.clone(), caller, ThrowBody { environment, ..wanted })).await
}

/// Where a switch holds: in the environment that is named, or in all that the token reaches.
fn environment_of(caller: &Caller, wanted: &ThrowBody) -> Result<Option<Environment>, Refusal> {
    match (caller.reach().environment(), &wanted.environment) {
        (None, named) => Ok(named.clone()),
        // Whoever asks for the whole tenant to be stopped mustn't believe that it is.
        (Some(own), None) if wanted.scope == Scope::Tenant => Err(Refusal::new(
            Code::Denied,
            format!(
                "this operator's token doesn't reach the whole tenant, so nothing is stopped: to stop all of its own \
                 environment, give \"environment\": \"{own}\"; the tenant takes a token for every environment"
            ),
        )),
        (Some(_), named) => Ok(Some(realm_of(caller, named.clone())?.environment)),
    }
}

async fn lifted(door: &Door, request: Request) -> Result<Response, Refusal> {
    let caller = door.operator(request.headers())?;
    let missing = || Refusal::new(Code::NotFound, "there is no such kill switch within this token's reach");
    let id: KillId = last_segment(&request).parse().map_err(|_| missing())?;
    let found = settled(lift_recorded(door.app.clone(), caller, id)).await?;
    if found { Ok(done()) } else { Err(missing()) }
}

async fn throw_recorded(app: Arc<App>, caller: Arc<Caller>, wanted: ThrowBody) -> Result<Response, Refusal> {
    let ThrowBody { scope, environment, reason } = wanted;
    let order = Order {
        scope,
        tenant: Some(caller.realm().tenant.clone()),
        environment,
        reason,
        by: caller.token().to_string(),
    };
    let row = {
        let app = app.clone();
        blocking(move || app.kills.throw(order)).await?.map_err(|error| failed(&error))?
    };
    // The switch comes first: a trail that can't be written must not keep going what an operator wants stopped.
    let unwritten = "it is stopped, but the host can't write its audit trail to record it";
    record(&app, &caller, "kill.throw", &row, unwritten).await?;
    Ok(created(&KillEntry::from(row)))
}

async fn lift_recorded(app: Arc<App>, caller: Arc<Caller>, id: KillId) -> Result<bool, Refusal> {
    let found = {
        let (app, caller, id) = (app.clone(), caller.clone(), id.clone());
        blocking(move || app.kills.find(&id, Some(&caller.reach()))).await?.map_err(|error| failed(&error))?
    };
    let Some(row) = found else { return Ok(false) };
    // The record comes first: nothing goes on again that the trail doesn't know of.
    let unwritten = "the host can't write its audit trail, so the kill switch was not lifted";
    record(&app, &caller, "kill.lift", &row, unwritten).await?;
    let lifted = blocking(move || app.kills.lift(&id, Some(&caller.reach()))).await?;
    Ok(lifted.map_err(|error| failed(&error))?.is_some())
}

async fn record(
    app: &App,
    caller: &Caller,
    action: &str,
    row: &KillRow,
    unwritten: &str,
) -> Result<(), Refusal> {
    let (realm, by) = (recorded_in(caller, row.environment.as_ref()), caller.token().as_str());
    let reason = Some(row.reason.as_str());
    let recorded = app.audit.admin_for(Some(realm), action, &row.subject(), by, reason).await;
    recorded.map_err(|error| unrecorded(&error, row.id.as_str(), unwritten))
}

fn failed(error: &KillError) -> Refusal {
    match error {
        KillError::Invalid(sentence) => Refusal::new(Code::BadRequest, *sentence),
        KillError::Store(cause) => unable("read or change its kill switches", cause),
    }
}
