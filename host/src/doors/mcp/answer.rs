//! What goes back: always HTTP 200 with one JSON-RPC message, once a client has shaken hands.
//!
//! A model sees the text of a result, marked as an error or not, or the message of an error. So both are the sentence
//! that stands in a problem's `detail` at other doors.

use axum::response::Response;
use http::HeaderValue;
use serde::Serialize;

use super::message::{Fault, Id};
use crate::doors::headers::CALL_ID;
use crate::doors::problem::{Problem, detail};
use crate::doors::wire::{ProblemBody, json};
use crate::dto::Narrow;
use crate::ids::CallId;
use crate::refusal::Refusal;

/// A result.
pub(super) fn result(id: &Id, result: &impl Serialize) -> Response {
    json(&Success { jsonrpc: "2.0", id, result })
}

/// An error of the protocol.
pub(super) fn error(id: &Id, fault: Fault, message: &str) -> Response {
    let error = Error { code: fault as i32, message, data: None };
    json(&Failure { jsonrpc: "2.0", id: Some(id), error })
}

/// A refusal outside any call of a tool. Without an id nobody can tell what it answers, and it's still no silence.
pub(super) fn refused(id: Option<&Id>, fault: Fault, refusal: Refusal) -> Response {
    let message = detail(&refusal);
    let problem = Problem::from(refusal);
    let error = Error { code: fault as i32, message: &message, data: Some(problem.body()) };
    json(&Failure { jsonrpc: "2.0", id, error })
}

/// A tool's result as a text, which is all that every client shows its model.
pub(super) fn called(id: &Id, narrow: &Narrow, call: &CallId) -> Response {
    // A result is JSON, so it's UTF-8: nothing is replaced.
    let text = String::from_utf8_lossy(narrow.as_bytes());
    let content = [Text { r#type: "text", text: &text }];
    of_call(result(id, &Called { content, is_error: false, meta: None }), Some(call))
}

/// A call that brought no result: the model reads why, a program finds the same in `_meta`.
pub(super) fn not_called(id: &Id, refusal: Refusal, call: Option<CallId>) -> Response {
    let text = detail(&refusal);
    let problem = match call.clone() {
        Some(call) => Problem::of_call(refusal, call),
        None => Problem::from(refusal),
    };
    let content = [Text { r#type: "text", text: &text }];
    let meta = Some(Meta { problem: problem.body() });
    of_call(result(id, &Called { content, is_error: true, meta }), call.as_ref())
}

fn of_call(mut response: Response, call: Option<&CallId>) -> Response {
    if let Some(id) = call.and_then(|call| HeaderValue::from_str(call.as_str()).ok()) {
        response.headers_mut().insert(CALL_ID, id);
    }
    response
}

#[derive(Serialize)]
struct Success<'a, T> {
    jsonrpc: &'static str,
    id: &'a Id,
    result: &'a T,
}

#[derive(Serialize)]
struct Failure<'a> {
    jsonrpc: &'static str,
    id: Option<&'a Id>,
    error: Error<'a>,
}

#[derive(Serialize)]
struct Error<'a> {
    code: i32,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<ProblemBody<'a>>,
}

#[derive(Serialize)]
struct Called<'a> {
    content: [Text<'a>; 1],
    #[serde(rename = "isError")]
    is_error: bool,
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    meta: Option<Meta<'a>>,
}

#[derive(Serialize)]
struct Text<'a> {
    r#type: &'static str,
    text: &'a str,
}

#[derive(Serialize)]
struct Meta<'a> {
    #[serde(rename = "keybearer/problem")]
    problem: ProblemBody<'a>,
}
