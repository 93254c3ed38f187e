//! `POST|GET /v1/policies` and `DELETE /v1/policies/{id}`: policies over `api://…` resources, for all that an operator
//! reaches.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;

use super::body;
use super::change::{blocking, created, done, parse, settled, unable, unrecorded};
use super::realm::recorded_in;
use super::router::{Door, Route, last_segment};
use super::wire::json;
use crate::app::App;
use crate::auth::Caller;
use crate::clock::Millis;
use crate::ids::{Environment, PolicyId};
use crate::policy::PostedPolicy;
use crate::reach::Reach;
use crate::refusal::{Code, Refusal};
use crate::store::{PolicyRow, StoreError};

/// At most so many policies posted for one environment, and for a tenant as a whole: each is evaluated for each question
/// there.
const POSTED_MAX: usize = 500;

/// A posted policy.
#[derive(Debug, Serialize)]
pub(super) struct PolicyEntry {
    id: PolicyId,
    /// Where it applies; null: in every environment.
    environment: Option<Environment>,
    /// As it was posted.
    #[serde(flatten)]
    source: Value,
    /// What it means.
    cedar: String,
    created_at: Millis,
}

impl From<PolicyRow> for PolicyEntry {
    fn from(row: PolicyRow) -> Self {
        let PolicyRow { id, environment, source, cedar, created_at, .. } = row;
        Self { id, environment, source, cedar, created_at }
    }
}

/// `GET /v1/policies`.
#[derive(Debug, Serialize)]
pub(super) struct PolicyList {
    pub(super) policies: Vec<PolicyEntry>,
}

/// The posted policies within reach, the oldest first.
pub(super) async fn list(State(door): State<Arc<Door>>, request: Request) -> Response {
    let result = listed(&door, request).await;
    door.answer(Route::Policies, result)
}

/// Posts a policy.
pub(super) async fn post(State(door): State<Arc<Door>>, request: Request) -> Response {
    let result = posted(&door, request).await;
    door.answer(Route::Policies, result)
}

/// Removes a policy.
pub(super) async fn remove(State(door): State<Arc<Door>>, request: Request) -> Response {
    let result = removed(&door, request).await;
    door.answer(Route::Policy, result)
}

async fn listed(door: &Door, request: Request) -> Result<Response, Refusal> {
    let caller = door.reader(request.headers())?;
    let app = door.app.clone();
    let rows = blocking(move || app.control.policies(Some(&caller.reach()))).await?;
    let policies = rows.map_err(|error| failed(&error))?.into_iter().map(PolicyEntry::from).collect();
    Ok(json(&PolicyList { policies }))
}

async fn posted(door: &Door, request: Request) -> Result<Response, Refusal> {
    let caller = door.operator(request.headers())?;
    let bytes = body::read(request.into_body(), door.body_bytes_max, door.body_time_max).await?;
    settled(post_recorded(door.app.clone(), caller, parse(&bytes)?)).await
}

async fn removed(door: &Door, request: Request) -> Result<Response, Refusal> {
    let caller = door.operator(request.headers())?;
    let id: PolicyId = last_segment(&request).parse().map_err(|_| missing())?;
    settled(remove_recorded(door.app.clone(), caller, id)).await
}

async fn post_recorded(
    app: Arc<App>,
    caller: Arc<Caller>,
    wanted: PostedPolicy,
) -> Result<Response, Refusal> {
    let reach = caller.reach();
    let (tenant, environment) = (reach.tenant().clone(), reach.environment().cloned());
    let bad = |sentence: String| Refusal::new(Code::BadRequest, sentence);
    let cedar = wanted.cedar(&tenant).map_err(bad)?;
    let source = serde_json::to_value(&wanted).map_err(|error| bad(error.to_string()))?;
    let (id, created_at) = (PolicyId::fresh(), app.clock.now());
    let row = PolicyRow { id, tenant, environment, name: wanted.name, source, cedar, created_at };
    app.policy.check_stored(&row).map_err(|problems| bad(format!("the policy can't be used: {problems}")))?;
    // The record comes first: nothing is allowed that the trail doesn't know of.
    let unwritten = "the host can't write its audit trail, so the policy was not taken";
    record(&app, &caller, "policy.post", &row, unwritten).await?;
    let posted = {
        let (app, row) = (app.clone(), row.clone());
        blocking(move || put_in_force(&app, &reach, &row)).await?.map_err(|error| failed(&error))?
    };
    match posted {
        Posted::InForce => Ok(created(&PolicyEntry::from(row))),
        Posted::Full => Err(bad(
            "there are 500 posted policies already; remove those that aren't used any more".to_owned(),
        )),
        Posted::TakenBack => {
            let unwritten = "the policy was not taken, but the host can't write its audit trail to record it";
            record(&app, &caller, "policy.remove", &row, unwritten).await?;
            Err(Refusal::new(
                Code::Internal,
                "the policy was not taken: what is posted for the same place can't be used together with it; \
                 the host's log says why",
            ))
        }
    }
}

/// What became of a policy.
enum Posted {
    InForce,
    /// There are as many as there may be.
    Full,
    /// It could not be put in force, so it isn't there.
    TakenBack,
}

/// Stores a policy and has it hold at once, or leaves all as it was: whoever posts a deny relies on it from the answer on.
fn put_in_force(app: &App, reach: &Reach, row: &PolicyRow) -> Result<Posted, StoreError> {
    // Those of one environment leave room for another's.
    let beside = |other: &&PolicyRow| other.environment == row.environment;
    if app.control.policies(Some(reach))?.iter().filter(beside).count() >= POSTED_MAX {
        return Ok(Posted::Full);
    }
    app.control.insert_policy(row)?;
    take_up(app);
    if app.policy.holds(row) != Some(false) {
        return Ok(Posted::InForce);
    }
    app.control.remove_policy(reach, &row.id)?;
    take_up(app);
    Ok(Posted::TakenBack)
}

async fn remove_recorded(app: Arc<App>, caller: Arc<Caller>, id: PolicyId) -> Result<Response, Refusal> {
    let known = {
        let (app, caller) = (app.clone(), caller.clone());
        blocking(move || app.control.policies(Some(&caller.reach())))
            .await?
            .map_err(|error| failed(&error))?
    };
    let row = known.into_iter().find(|row| row.id == id).ok_or_else(missing)?;
    // The record comes first: what this policy denied may be allowed without it.
    let unwritten = "the host can't write its audit trail, so the policy was not removed";
    record(&app, &caller, "policy.remove", &row, unwritten).await?;
    let (removed, holds) = blocking(move || {
        let removed = app.control.remove_policy(&caller.reach(), &id)?;
        take_up(&app);
        Ok((removed, app.policy.holds(&row) == Some(true)))
    })
    .await?
    .map_err(|error: StoreError| failed(&error))?;
    match (removed, holds) {
        (false, _) => Err(missing()),
        (true, false) => Ok(done()),
        (true, true) => Err(Refusal::new(
            Code::Internal,
            "the policy is removed, but it holds until what is posted for the same place can be used again; \
             the host's log says why it can't",
        )),
    }
}

/// Has the change hold at once, in this process, whatever is wrong with a file.
fn take_up(app: &App) {
    if let Err(problems) = app.policy.refresh() {
        tracing::error!(%problems, "the policies have mistakes: those of the files stay as they were");
    }
}

async fn record(
    app: &App,
    caller: &Caller,
    action: &str,
    row: &PolicyRow,
    unwritten: &str,
) -> Result<(), Refusal> {
    let (realm, by) = (recorded_in(caller, row.environment.as_ref()), caller.token().as_str());
    let recorded = app.audit.admin(Some(realm), action, row.id.as_str(), by).await;
    recorded.map_err(|error| unrecorded(&error, row.id.as_str(), unwritten))
}

fn missing() -> Refusal {
    Refusal::new(Code::NotFound, "there is no such policy within this token's reach")
}

fn failed(error: &StoreError) -> Refusal {
    unable("read or change its policies", error)
}
