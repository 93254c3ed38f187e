//! `GET /v1/audit` and `GET /v1/audit/{call}`: the trail within an operator's or a monitor's reach.

use std::str::FromStr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;

use super::change::{blocking, unable};
use super::query::{self, bad, number, parsed};
use super::router::{Door, Route, last_segment};
use super::wire::{AuditCall, AuditPage, json};
use crate::audit::{AuditError, Row, when};
use crate::auth::Caller;
use crate::clock::Millis;
use crate::ids::{CallId, InvalidName};
use crate::refusal::{Code, Refusal};
use crate::store::{RowFilter, StoreError};

/// Rows on a page when the request doesn't say.
const PAGE_ROWS: u32 = 100;
/// Rows on a page at most: about half a megabyte of JSON.
const PAGE_ROWS_MAX: u32 = 1_000;
/// Rows of one call at most. A call has two, two of its own approval, four for each send, two of them that one's approval's, and
/// one for all that it wanted to send beyond its limit, which is 10,000 at most.
const CALL_ROWS_MAX: u32 = 40_005;

/// The newest rows, or those before a number: all of them, or those of a call, a conversation, an agent, a token, a time.
pub(super) async fn page(State(door): State<Arc<Door>>, request: Request) -> Response {
    let result = paged(&door, request).await;
    door.answer(Route::Audit, result)
}

/// One call, from its beginning on.
pub(super) async fn call(State(door): State<Arc<Door>>, request: Request) -> Response {
    let result = of_call(&door, request).await;
    door.answer(Route::AuditCall, result)
}

async fn paged(door: &Door, request: Request) -> Result<Response, Refusal> {
    let caller = door.reader(request.headers())?;
    let keys = ["limit", "before", "call", "conversation", "agent", "token", "since", "until"];
    let [limit, before, call, conversation, agent, token, since, until] = query::read(request.uri(), keys)?;
    let limit = number("limit", limit, PAGE_ROWS_MAX)?.unwrap_or(PAGE_ROWS);
    let before = number("before", before, u64::MAX)?;
    let call = call.map(str::parse::<CallId>).transpose();
    let call = call.map_err(|error| bad(&format!("call: {}", error.rule)))?;
    let filter = RowFilter {
        call,
        conversation: parsed("conversation", conversation, named)?,
        agent: parsed("agent", agent, named)?,
        token: parsed("token", token, named)?,
        since: parsed("since", since, time)?,
        until: parsed("until", until, time)?,
        before,
        limit,
        newest_first: true,
        ..own(&caller)
    };
    if filter.is_of_no_time() {
        return Err(bad("until: it has to come after since"));
    }
    let rows = read(door, &caller, filter).await?;
    let is_full = u32::try_from(rows.len()).is_ok_and(|count| count >= limit);
    let next_before = rows.last().map(|row| row.seq).filter(|seq| is_full && *seq > 1);
    Ok(json(&AuditPage { rows, next_before }))
}

async fn of_call(door: &Door, request: Request) -> Result<Response, Refusal> {
    let caller = door.reader(request.headers())?;
    let missing =
        || Refusal::new(Code::NotFound, "the audit trail has no such call within this token's reach");
    let call: CallId = last_segment(&request).parse().map_err(|_| missing())?;
    let filter = RowFilter { call: Some(call.clone()), limit: CALL_ROWS_MAX, ..own(&caller) };
    let rows = read(door, &caller, filter).await?;
    if rows.is_empty() { Err(missing()) } else { Ok(json(&AuditCall { call, rows })) }
}

/// A name, or the rule that it breaks.
fn named<T: FromStr<Err = InvalidName>>(text: &str) -> Result<T, &'static str> {
    text.parse().map_err(|error: InvalidName| error.rule)
}

/// A time, or what one looks like.
fn time(text: &str) -> Result<Millis, &'static str> {
    when(text).map_err(|error| error.rule)
}

/// By INVARIANT (environments) every read of the trail starts from this filter.
fn own(caller: &Caller) -> RowFilter {
    RowFilter { reach: Some(caller.reach()), ..RowFilter::default() }
}

async fn read(door: &Door, caller: &Caller, filter: RowFilter) -> Result<Vec<Row>, Refusal> {
    let turns = if filter.is_of_someone() { &door.searches } else { &door.reads };
    let turn = turns.take(&caller.realm().tenant).await?;
    let audit = door.app.audit.clone();
    let read = blocking(move || {
        let rows = audit.rows(&filter);
        drop(turn);
        rows
    });
    read.await?.map_err(|error| match &error {
        AuditError::Unavailable(cause) if matches!(**cause, StoreError::TooLong(_)) => {
            Refusal::new(Code::BadRequest, cause.to_string())
        }
        _ => unable("read its audit trail", &error),
    })
}
