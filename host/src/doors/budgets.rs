//! `GET /v1/budgets`, `GET /v1/budgets/held`, and `POST …/held/{id}/settle`, `…/release` and `…/reconcile`: what was
//! spent within an operator's reach, and what nobody knows the end of.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::body;
use super::change::{blocking, parse, settled, unable};
use super::query::{self, number};
use super::router::{Door, Route, last_but_one_segment};
use super::wire::json;
use crate::app::App;
use crate::audit::{AuditError, HeldWord};
use crate::auth::Caller;
use crate::clock::Millis;
use crate::connection::{Cost, Effect};
use crate::ids::{ConnectionName, Environment, OperationName, ReservationId, TenantId};
use crate::ledger::report::{Standing, standings};
use crate::ledger::{AMOUNT_MAX, Resolved, Unit, Window};
use crate::pipeline::ReconcileError;
use crate::refusal::{Code, Refusal};
use crate::store::{EntryRow, StoreError};

/// Budgets, or requests that are held, in an answer when the request doesn't say.
const PAGE: usize = 1_000;
/// Of either in an answer at most.
const PAGE_MAX: usize = 10_000;

/// How budgets stand that anything was spent of.
pub(super) async fn list(State(door): State<Arc<Door>>, request: Request) -> Response {
    let result = listed(&door, request).await;
    door.answer(Route::Budgets, result)
}

/// What is held.
pub(super) async fn held(State(door): State<Arc<Door>>, request: Request) -> Response {
    let result = list_held(&door, request).await;
    door.answer(Route::Held, result)
}

/// A held request was carried out.
pub(super) async fn settle(State(door): State<Arc<Door>>, request: Request) -> Response {
    let result = resolved(&door, request, true).await;
    door.answer(Route::SettleHeld, result)
}

/// It wasn't.
pub(super) async fn release(State(door): State<Arc<Door>>, request: Request) -> Response {
    let result = resolved(&door, request, false).await;
    door.answer(Route::ReleaseHeld, result)
}

/// What became of it is looked up.
pub(super) async fn reconcile(State(door): State<Arc<Door>>, request: Request) -> Response {
    let result = reconciled(&door, request).await;
    door.answer(Route::ReconcileHeld, result)
}

/// `GET /v1/budgets`.
#[derive(Debug, Serialize)]
pub(super) struct BudgetList {
    pub(super) budgets: Vec<BudgetEntry>,
    /// Whether there are more than the answer has room for.
    pub(super) more: bool,
}

/// A budget and one of those whom it limits.
#[derive(Debug, Serialize)]
pub(super) struct BudgetEntry {
    tenant: TenantId,
    environment: Environment,
    subject: String,
    unit: Unit,
    window: Window,
    time_zone: Option<String>,
    connection: Option<ConnectionName>,
    operation: Option<OperationName>,
    effect: Option<Effect>,
    /// When its window ends; null: never.
    ends: Option<Millis>,
    spent: u64,
    under_way: u64,
    held: u64,
    /// The smallest limit that holds now; null where there's none any more.
    limit: Option<u64>,
    left: Option<u64>,
}

impl From<Standing> for BudgetEntry {
    fn from(standing: Standing) -> Self {
        let left = standing.left();
        let Standing { counted, ends, tally, limit } = standing;
        Self {
            tenant: counted.realm.tenant,
            environment: counted.realm.environment,
            subject: counted.subject,
            unit: counted.unit,
            window: counted.window,
            time_zone: counted.time_zone,
            connection: counted.connection,
            operation: counted.operation,
            effect: counted.effect,
            ends,
            spent: tally.settled,
            under_way: tally.reserved,
            held: tally.held,
            limit,
            left,
        }
    }
}

/// `GET /v1/budgets/held`, the oldest first.
#[derive(Debug, Serialize)]
pub(super) struct HeldList {
    pub(super) held: Vec<HeldEntry>,
    /// Whether there are newer ones than the answer has room for.
    pub(super) more: bool,
}

/// A request that nobody knows the end of.
#[derive(Debug, Serialize)]
pub(super) struct HeldEntry {
    id: ReservationId,
    tenant: TenantId,
    environment: Environment,
    connection: Option<ConnectionName>,
    operation: Option<OperationName>,
    cost: Option<Cost>,
    since: Millis,
}

impl From<EntryRow> for HeldEntry {
    fn from(row: EntryRow) -> Self {
        let EntryRow { id, realm, connection, operation, cost, at, .. } = row;
        let (tenant, environment) = (realm.tenant, realm.environment);
        Self { id, tenant, environment, connection, operation, cost, since: at }
    }
}

/// The body of `POST …/settle`. None is `{}`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SettleBody {
    /// How much it really was, in minor units; what was reserved, unless given.
    #[serde(default)]
    amount: Option<u64>,
}

/// What became of it.
#[derive(Debug, Serialize)]
pub(super) struct HeldAnswer {
    pub(super) id: ReservationId,
    /// `settled` or `released`.
    pub(super) became: &'static str,
    /// What counts as spent, or is there again; null where it's about no money.
    pub(super) amount: Option<u64>,
    pub(super) currency: Option<String>,
}

async fn listed(door: &Door, request: Request) -> Result<Response, Refusal> {
    let caller = door.reader(request.headers())?;
    let limit = limit(&request)?;
    let app = door.app.clone();
    let all = blocking(move || {
        let mut rows = app.ledger.current_counters(app.clock.now(), Some(&caller.reach()), asked(limit))?;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let all = standings(&rows, &app.spending.budgets().load(), |id| app.control.token_by_id(id))?;
        Ok((all, more))
    });
    let (all, more) = all.await?.map_err(|error: StoreError| failed(&error))?;
    Ok(json(&BudgetList { budgets: all.into_iter().map(BudgetEntry::from).collect(), more }))
}

async fn list_held(door: &Door, request: Request) -> Result<Response, Refusal> {
    let caller = door.reader(request.headers())?;
    let limit = limit(&request)?;
    let app = door.app.clone();
    let rows = blocking(move || app.ledger.held(Some(&caller.reach()), asked(limit)));
    let mut rows = rows.await?.map_err(|error| failed(&error))?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    Ok(json(&HeldList { held: rows.into_iter().map(HeldEntry::from).collect(), more }))
}

async fn resolved(door: &Door, request: Request, carried_out: bool) -> Result<Response, Refusal> {
    let caller = door.operator(request.headers())?;
    let id: ReservationId = last_but_one_segment(&request).parse().map_err(|_| missing())?;
    let bytes = body::read(request.into_body(), door.body_bytes_max, door.body_time_max).await?;
    let body: SettleBody = if bytes.is_empty() { SettleBody::default() } else { parse(&bytes)? };
    let bad = |sentence: &str| Err(Refusal::new(Code::BadRequest, sentence));
    let word = match (carried_out, body.amount) {
        (true, Some(amount)) if amount > AMOUNT_MAX => return bad("the amount is more than can be counted"),
        (true, amount) => HeldWord::CarriedOut { amount },
        (false, None) => HeldWord::NotCarriedOut,
        (false, Some(_)) => return bad("what wasn't carried out has no amount: leave it out"),
    };
    settled(resolve(door.app.clone(), caller, id, word)).await
}

async fn resolve(
    app: Arc<App>,
    caller: Arc<Caller>,
    id: ReservationId,
    word: HeldWord,
) -> Result<Response, Refusal> {
    let done = {
        let id = id.clone();
        blocking(move || app.audit.resolve_held(Some(&caller.reach()), &id, word, caller.token().as_str()))
    };
    match done.await?.map_err(|error| unwritten(&error))? {
        Resolved::Unknown => Err(missing()),
        Resolved::UnderWay => Err(under_way()),
        Resolved::Done(entry) => Ok(json(&HeldAnswer {
            id,
            became: if matches!(word, HeldWord::NotCarriedOut) { "released" } else { "settled" },
            amount: word.amount(&entry),
            currency: entry.cost.map(|cost| cost.currency),
        })),
    }
}

async fn reconciled(door: &Door, request: Request) -> Result<Response, Refusal> {
    let caller = door.operator(request.headers())?;
    let id: ReservationId = last_but_one_segment(&request).parse().map_err(|_| missing())?;
    let app = door.app.clone();
    settled(async move {
        let reconciler = app.pipeline.reconciler(app.ledger.clone());
        match reconciler.reconcile(Some(&caller.reach()), &id, caller.token().as_str()).await {
            Ok(report) => Ok(json(&report)),
            Err(ReconcileError::Unknown) => Err(missing()),
            Err(ReconcileError::UnderWay) => Err(under_way()),
            Err(ReconcileError::Audit(error)) => Err(unwritten(&error)),
        }
    })
    .await
}

/// How many are asked for behind the `?`.
fn limit(request: &Request) -> Result<usize, Refusal> {
    let [limit] = query::read(request.uri(), ["limit"])?;
    Ok(number("limit", limit, PAGE_MAX)?.unwrap_or(PAGE))
}

/// How many to read: one over the limit shows that there are more.
fn asked(limit: usize) -> u32 {
    u32::try_from(limit).unwrap_or(u32::MAX).saturating_add(1)
}

fn missing() -> Refusal {
    Refusal::new(Code::NotFound, "nothing is held under this id within this token's reach")
}

fn under_way() -> Refusal {
    Refusal::new(Code::Denied, "the request is under way: the host itself will see the end of it")
}

fn unwritten(error: &AuditError) -> Refusal {
    tracing::error!(cause = %error, "an operator's word on a held request could not be recorded");
    Refusal::new(
        Code::AuditUnavailable,
        "the host can't write its ledger and its audit trail, so nothing has changed",
    )
}

fn failed(error: &StoreError) -> Refusal {
    unable("read its ledger", error)
}
