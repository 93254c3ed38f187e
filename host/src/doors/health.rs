//! `/healthz`, `/readyz` and `/metrics`: for whoever runs the host. No token is needed, and nothing is shown that
//! belongs to a tenant.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::HeaderValue;
use http::header::CONTENT_TYPE;

use super::problem::Problem;
use super::router::{Door, Route};
use super::wire::{StatusBody, json};
use crate::metrics;
use crate::refusal::Code;

/// The process answers.
pub(super) async fn live(State(door): State<Arc<Door>>) -> Response {
    door.answered(Route::Health, json(&StatusBody { status: "ok" }))
}

/// Calls can be run: the audit trail can be written, what operators set can be read, the vault's master key is at hand,
/// and the host isn't stopping. The catalog is loaded before the door opens, so whoever gets an answer at all needs no
/// look at it.
pub(super) async fn ready(State(door): State<Arc<Door>>) -> Response {
    let result = if door.is_draining() {
        Err(Problem::new(Code::ShuttingDown, "the host is stopping"))
    } else if let Err(error) = door.app.audit.check() {
        tracing::warn!(cause = %error, "not ready: the audit trail can't be written");
        Err(Problem::new(Code::AuditUnavailable, "the host can't write its audit trail"))
    } else if let Err(error) = door.app.control.version() {
        tracing::warn!(cause = %error, "not ready: what operators set can't be read");
        Err(Problem::not_ready(Code::Internal, "the host can't read what its operators set"))
    } else if let Err(error) = door.app.vault.check_in_use() {
        tracing::warn!(cause = %error, "not ready: the vault can't be opened");
        Err(Problem::not_ready(Code::Internal, "the host can't open its vault"))
    } else {
        Ok(json(&StatusBody { status: "ready" }))
    };
    door.answer(Route::Ready, result)
}

/// The counters.
pub(super) async fn metrics(State(door): State<Arc<Door>>) -> Response {
    let mut response = Response::new(Body::from(door.app.metrics.render()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(metrics::CONTENT_TYPE));
    door.answered(Route::Metrics, response)
}
