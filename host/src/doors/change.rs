//! What the routes share that read or change what the host stores.

use std::fmt::Display;

use axum::response::{IntoResponse as _, Response};
use http::header::CACHE_CONTROL;
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::wire::json;
use crate::audit::AuditError;
use crate::json::Object;
use crate::refusal::{Code, Refusal};

/// The body of a request, an object, as one of the wire structs.
///
/// # Errors
/// [`Code::BadRequest`] with what is wrong and where.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(bytes)
        .map(|Object(body)| body)
        .map_err(|error| Refusal::new(Code::BadRequest, format!("the body can't be used: {error}")))
}

/// A `201` answer. No cache keeps it: it may hold a token.
pub(super) fn created(body: &impl Serialize) -> Response {
    let mut response = json(body);
    *response.status_mut() = StatusCode::CREATED;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A `204` answer.
pub(super) fn done() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

/// Lets a change and its record run to their end together, even when the client hangs up in between.
pub(super) async fn settled<T: Send + 'static>(
    work: impl Future<Output = Result<T, Refusal>> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::spawn(work).await.map_err(broke_down)?
}

/// The store's work waits for the disk: not on a thread that serves.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.map_err(broke_down)
}

/// A change that was made and could not be recorded, or was taken back for that reason: `sentence` says which.
pub(super) fn unrecorded(error: &AuditError, subject: &str, sentence: &str) -> Refusal {
    tracing::error!(cause = %error, subject, "a change could not be recorded");
    Refusal::new(Code::AuditUnavailable, sentence)
}

/// What the host can't do now: `what` goes on from "the host can't". The cause is for its log alone.
pub(super) fn unable(what: &str, cause: &dyn Display) -> Refusal {
    tracing::error!(%cause, "the host can't {what}");
    Refusal::new(Code::Internal, format!("the host can't {what} now; its operator can see why in the log"))
}

fn broke_down(error: tokio::task::JoinError) -> Refusal {
    tracing::error!(cause = %error, "a change broke down");
    Refusal::new(Code::Internal, "the host failed; its operator can see why in the log")
}
