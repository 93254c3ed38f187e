//! `GET /v1/audit` and `GET /v1/audit/{call}`: the trail within an operator's reach.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;

use super::query::{bad, number, pairs};
use super::router::{Door, Route, last_segment};
use super::wire::{AuditCall, AuditPage, json};
use crate::audit::Row;
use crate::auth::Caller;
use crate::ids::{CallId, InvalidName};
use crate::refusal::{Code, Refusal};
use crate::store::RowFilter;

/// Rows on a page when the request doesn't say.
const PAGE_ROWS: u32 = 100;
/// Rows on a page at most: about half a megabyte of JSON.
const PAGE_ROWS_MAX: u32 = 1_000;
/// Rows of one call at most. A call has two, four for each send, two of them its approval's, and one for all that it wanted to
/// send beyond its limit, which is 10,000 at most.
const CALL_ROWS_MAX: u32 = 40_003;

/// The newest rows, or those before a number.
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
    let caller = door.operator(request.headers())?;
    let Query { limit, before, call } = Query::parse(request.uri().query().unwrap_or(""))?;
    let rows = read(door, RowFilter { call, before, limit, newest_first: true, ..own(&caller) }).await?;
    let is_full = u32::try_from(rows.len()).is_ok_and(|count| count >= limit);
    let next_before = rows.last().map(|row| row.seq).filter(|seq| is_full && *seq > 1);
    Ok(json(&AuditPage { rows, next_before }))
}

async fn of_call(door: &Door, request: Request) -> Result<Response, Refusal> {
    let caller = door.operator(request.headers())?;
    let missing =
        || Refusal::new(Code::NotFound, "the audit trail has no such call within this token's reach");
    let call: CallId = last_segment(&request).parse().map_err(|_| missing())?;
    let filter = RowFilter { call: Some(call.clone()), limit: CALL_ROWS_MAX, ..own(&caller) };
    let rows = read(door, filter).await?;
    if rows.is_empty() { Err(missing()) } else { Ok(json(&AuditCall { call, rows })) }
}

/// By INVARIANT (environments) every read of the trail starts from this filter.
fn own(caller: &Caller) -> RowFilter {
    RowFilter { reach: Some(caller.reach()), ..RowFilter::default() }
}

async fn read(door: &Door, filter: RowFilter) -> Result<Vec<Row>, Refusal> {
    let audit = door.app.audit.clone();
    let rows = tokio::task::spawn_blocking(move || audit.rows(&filter)).await;
    let failed = |cause: String| {
        tracing::error!(cause, "the audit trail can't be read");
        Refusal::new(
            Code::Internal,
            "the audit trail can't be read now; the host's operator can see why in the log",
        )
    };
    rows.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))
}

/// What is asked for behind the `?`.
#[derive(Debug, PartialEq, Eq)]
struct Query {
    limit: u32,
    before: Option<u64>,
    call: Option<CallId>,
}

impl Query {
    /// Reads `limit`, `before` and `call`, each at most once. An unknown key is an error: left unread, it would widen the
    /// answer.
    fn parse(text: &str) -> Result<Self, Refusal> {
        let (mut limit, mut before, mut call) = (None, None, None);
        for (key, value) in pairs(text) {
            let twice = match key {
                "limit" => limit.replace(number(key, value, PAGE_ROWS_MAX)?).is_some(),
                "before" => before.replace(number(key, value, u64::MAX)?).is_some(),
                "call" => {
                    let id: CallId =
                        value.parse().map_err(|e: InvalidName| bad(&format!("{key}: {}", e.rule)))?;
                    call.replace(id).is_some()
                }
                _ => return Err(bad("only limit, before and call can be given")),
            };
            if twice {
                return Err(bad(&format!("{key}: give it once")));
            }
        }
        Ok(Self { limit: limit.unwrap_or(PAGE_ROWS), before, call })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read_strictly() {
        let call = "call_00000000000000000000000000000001";
        assert_eq!(Query::parse("").unwrap(), Query { limit: PAGE_ROWS, before: None, call: None });
        assert_eq!(
            Query::parse(&format!("limit=2&before=7&call={call}")).unwrap(),
            Query { limit: 2, before: Some(7), call: Some(call.parse().unwrap()) }
        );
        for bad in [
            "limit=0",
            "limit=1001",
            "limit=-1",
            "limit=+1",
            "limit=",
            "limit",
            "limit=1&limit=1",
            "before=0",
            "before=99999999999999999999",
            "call=x",
            "call=",
            "tenant=other",
            "token=kbo_x",
        ] {
            assert_eq!(Query::parse(bad).unwrap_err().code, Code::BadRequest, "{bad}");
        }
    }
}
