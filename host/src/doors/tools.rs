//! `GET /v1/tools` and `POST /v1/tools/{name}`: what agents use.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use tracing::Instrument as _;

use super::problem::Problem;
use super::router::{Door, Route, last_segment};
use super::wire::{ToolEntry, ToolList, json};
use super::{body, headers};
use crate::auth::Caller;
use crate::dto::Narrow;
use crate::ids::{CallId, ToolName};
use crate::pipeline::CallRequest;
use crate::policy::{CallContext, unknown_tool};
use crate::refusal::{Code, Refusal};

/// The tools that the token may call, by name.
pub(super) async fn list(State(door): State<Arc<Door>>, request: Request) -> Response {
    let listed = door.agent(request.headers()).map(|caller| {
        let tools = door.app.pipeline.tools(&caller);
        json(&ToolList { tools: tools.iter().map(ToolEntry::from).collect() })
    });
    door.answer(Route::Tools, listed)
}

/// Runs one tool. When the client hangs up, this future is dropped, which stops the call and records it.
pub(super) async fn call(State(door): State<Arc<Door>>, request: Request) -> Response {
    let started = Instant::now();
    let result = match door.agent(request.headers()) {
        // A 401 has no call id: see the invariant in `access`.
        Err(refusal) => Err(Problem::from(refusal)),
        Ok(caller) => {
            let id = CallId::fresh(door.app.clock.now());
            asked(&door, caller, id.clone(), request, started)
                .await
                .map(|narrow| result_response(narrow.into_bytes(), &id))
                .map_err(|refusal| Problem::of_call(refusal, id))
        }
    };
    door.answer(Route::Call, result)
}

async fn asked(
    door: &Door,
    caller: Arc<Caller>,
    call: CallId,
    request: Request,
    started: Instant,
) -> Result<Narrow, Refusal> {
    let asked = Asked::new(door, last_segment(&request), request.headers())?;
    // The body's time is part of the call's: the agent waits for both.
    let time_max = door.body_time_max.min(asked.deadline);
    let arguments = body::read(request.into_body(), door.body_bytes_max, time_max).await?;
    let arguments = if arguments.is_empty() { Bytes::from_static(b"{}") } else { arguments };
    run(door, caller, call, asked, arguments, started).await
}

/// What a call's name and headers say, whichever door they came through.
pub(super) struct Asked {
    tool: ToolName,
    context: CallContext,
    deadline: Duration,
}

impl Asked {
    /// Reads them, if calls are taken at all.
    ///
    /// # Errors
    /// [`Code::ShuttingDown`]; [`Code::UnknownTool`] for what can't be a tool's name; [`Code::BadRequest`] for a
    /// malformed header.
    pub(super) fn new(door: &Door, name: &str, headers: &HeaderMap) -> Result<Self, Refusal> {
        if door.is_draining() {
            return Err(Refusal::new(Code::ShuttingDown, "the host is stopping; try again in a moment"));
        }
        let tool = name.parse().map_err(|_| unknown_tool(name))?;
        let context = headers::context(headers)?;
        let deadline = headers::deadline(headers, door.deadline, door.deadline_max)?;
        Ok(Self { tool, context, deadline })
    }
}

/// Runs a tool, if there's a place. While the call waits for people, it holds none.
///
/// # Errors
/// [`Code::Busy`], and whatever the call comes to.
pub(super) async fn run(
    door: &Door,
    caller: Arc<Caller>,
    call: CallId,
    asked: Asked,
    arguments: Bytes,
    started: Instant,
) -> Result<Narrow, Refusal> {
    let Asked { tool, context, deadline } = asked;
    let mut place = door.place(&tool)?;
    // Ids only: arguments and results are never logged.
    let span = tracing::info_span!("call", %call, %tool, token = %caller.token());
    let deadline = deadline.saturating_sub(started.elapsed());
    let tool = tool.as_str().to_owned();
    let request = CallRequest { caller, tool, arguments, call, context, deadline, program: None };
    door.app.pipeline.call_at(request, &mut place).instrument(span).await.into_result()
}

/// The result alone, as the body: nothing is wrapped around it, so that a model sees what the schema promises.
fn result_response(json: Bytes, call: &CallId) -> Response {
    let mut response = Response::new(Body::from(json));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Ok(id) = HeaderValue::from_str(call.as_str()) {
        response.headers_mut().insert(headers::CALL_ID, id);
    }
    response
}
