//! `POST /mcp`: the same tools for clients of the Model Context Protocol (streamable HTTP).
//!
//! ```text
//! head   no web page's, token → caller or refusal
//!   → body     capped; of one that's too large a glance at its id and method
//!     → message   notification: 202, and nothing is done
//!       → method    initialize · ping · tools/list · tools/call
//!         → tools     as at `POST /v1/tools/{name}`
//!           → answer    one JSON message
//! ```
//!
//! No session, no stream: every request stands for itself, so a host that restarts or a second one behind a proxy
//! makes no difference, and there is no session id that could be guessed or lost.
//!
//! INVARIANT (200): once a client has shaken hands it gets HTTP 200 for whatever it asks. AutoGen's workbench takes one
//! error of HTTP for the end of the connection: the call that met it hangs for minutes, and none after it works. So a
//! token that was revoked is an error in a result, and a program that waits for an id gets one with that id.
//!
//! INVARIANT (one refusal): whatever is wrong with a token, `initialize` gets the one 401 of all doors, and any other
//! method one and the same text.

mod answer;
mod glance;
mod message;
mod methods;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Request as HttpRequest, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::header::ORIGIN;
use http::request::Parts;
use http::{HeaderMap, StatusCode};

use super::places::full;
use super::problem::Problem;
use super::router::{Door, Route};
use super::{body, headers};
use crate::auth::Caller;
use crate::config::DoorLimits;
use crate::refusal::{Code, Refusal};
use glance::Glance;
use message::{Fault, Id, Message, Request, Unread};

const INITIALIZE: &str = "initialize";
const PING: &str = "ping";
const LIST: &str = "tools/list";
const CALL: &str = "tools/call";

/// How much of a body past its cap is looked through for the id that its client waits for, in bytes.
const GLANCE_BYTES_MAX: usize = 16 << 20;

/// The same where the client has no token, or it isn't asked for one.
const STRANGERS_GLANCE_BYTES_MAX: usize = 1 << 20;

/// How much of such a client's body is kept, in bytes: for its answer, its id and its method are all that is needed, and
/// many can send bodies at once.
const STRANGERS_BODY_BYTES_MAX: usize = 4 << 10;

/// Takes one message.
pub(super) async fn post(State(door): State<Arc<Door>>, request: HttpRequest) -> Response {
    let started = Instant::now();
    let (head, body) = request.into_parts();
    let response = answered(&door, &head, body, started).await;
    door.answered(Route::Mcp, response)
}

/// The answer on a connection that there's no room for: its client waits for an answer with its id, too.
pub(super) async fn turned_away(request: HttpRequest, limits: &DoorLimits) -> Response {
    let (head, body) = request.into_parts();
    if is_of_a_page(&head.headers) {
        return not_for_pages();
    }
    let time_max = Duration::from_millis(limits.read_ms_max);
    let bytes_max = limits.body_bytes_max.min(STRANGERS_BODY_BYTES_MAX);
    let (id, method) = match read(body, bytes_max, STRANGERS_GLANCE_BYTES_MAX, time_max).await {
        Err(unread) => (unread.id, unread.method),
        Ok(bytes) => match Message::parse(&bytes) {
            Err(unread) => (unread.id, unread.method),
            Ok(Message::Silent) => return StatusCode::ACCEPTED.into_response(),
            Ok(Message::Request(request)) => (Some(request.id), Some(request.method.into_owned())),
        },
    };
    unheard(Unread { id, method, fault: Fault::Refused, refusal: full() }, Some(full()))
}

async fn answered(door: &Door, head: &Parts, body: Body, started: Instant) -> Response {
    if is_of_a_page(&head.headers) {
        return not_for_pages();
    }
    let caller = door.agent(&head.headers);
    let (bytes_max, glance_max) = match caller {
        Ok(_) => (door.body_bytes_max, GLANCE_BYTES_MAX),
        Err(_) => (door.body_bytes_max.min(STRANGERS_BODY_BYTES_MAX), STRANGERS_GLANCE_BYTES_MAX),
    };
    // The body's time is part of the call's, where one is asked for that can be had.
    let deadline = headers::deadline(&head.headers, door.deadline, door.deadline_max);
    let time_max = deadline.map_or(door.body_time_max, |deadline| door.body_time_max.min(deadline));
    let bytes = match read(body, bytes_max, glance_max, time_max).await {
        Ok(bytes) => bytes,
        Err(unread) => return unheard(unread, caller.err()),
    };
    match Message::parse(&bytes) {
        Err(unread) => unheard(unread, caller.err()),
        Ok(Message::Silent) => StatusCode::ACCEPTED.into_response(),
        Ok(Message::Request(request)) => served(door, caller, &request, &head.headers, started).await,
    }
}

async fn served(
    door: &Door,
    caller: Result<Arc<Caller>, Refusal>,
    request: &Request<'_>,
    headers: &HeaderMap,
    started: Instant,
) -> Response {
    let id = &request.id;
    match (&*request.method, caller) {
        (INITIALIZE, Ok(_)) => methods::initialize(request),
        (INITIALIZE, Err(refusal)) => Problem::from(refusal).into_response(),
        (PING, Ok(_)) => answer::result(id, &serde_json::json!({})),
        (LIST, Ok(caller)) => methods::list(door, &caller, request),
        (CALL, Ok(caller)) => methods::call(door, caller, request, headers, started).await,
        (PING | LIST | CALL, Err(refusal)) => refused(Some(id), &request.method, Fault::Refused, refusal),
        // The same for everyone: newer clients ask for a method of theirs first, and shake hands after this answer.
        (other, _) => {
            let other: String = other.chars().take(64).collect();
            let methods = [INITIALIZE, PING, LIST, CALL].join(", ");
            let message = format!("there is no method {other:?}; this host has {methods}");
            answer::error(id, Fault::Method, &message)
        }
    }
}

/// The answer to what could not be read. `refusal` is why the sender may not ask for anything, if it may not.
fn unheard(unread: Unread, refusal: Option<Refusal>) -> Response {
    match refusal {
        Some(refusal) if !unread.is_under_way() => Problem::from(refusal).into_response(),
        Some(refusal) => {
            refused(unread.id.as_ref(), unread.method.as_deref().unwrap_or(""), Fault::Refused, refusal)
        }
        None => {
            let Unread { id, method, fault, refusal } = unread;
            refused(id.as_ref(), method.as_deref().unwrap_or(""), fault, refusal)
        }
    }
}

fn refused(id: Option<&Id>, method: &str, fault: Fault, refusal: Refusal) -> Response {
    match id {
        Some(id) if method == CALL => answer::not_called(id, refusal, None),
        _ => answer::refused(id, fault, refusal),
    }
}

async fn read(body: Body, bytes_max: usize, glance_max: usize, time_max: Duration) -> Result<Bytes, Unread> {
    let mut glance = Glance::default();
    let read = body::read_past(body, bytes_max, glance_max, time_max, &mut |part| glance.see(part)).await;
    read.map_err(|refusal| Unread::of(&glance, Fault::Request, refusal))
}

/// Browsers alone send this header. No page of the host's asks here, so it's another site's: one that found a way to a
/// host on its visitor's own machine, by a name that leads there, has to find a token as well, and isn't heard at all.
fn is_of_a_page(headers: &HeaderMap) -> bool {
    headers.contains_key(ORIGIN)
}

fn not_for_pages() -> Response {
    Problem::new(Code::Denied, "requests of web pages are refused here: leave the Origin header out")
        .into_response()
}
