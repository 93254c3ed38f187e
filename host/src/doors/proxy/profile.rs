//! A refusal in the words of the vendor whose SDK asked: an SDK that can't read an error takes it for its own.

use axum::response::{IntoResponse as _, Response};
use http::StatusCode;

use super::super::problem::Problem;
use super::{is_safe, stripe};
use crate::connection::{Connection, ErrorProfile};
use crate::ids::CallId;
use crate::refusal::Refusal;

/// A refusal on its way out, with the id of the call that it ended, if there was one.
pub(super) struct Refused {
    pub(super) profile: ErrorProfile,
    pub(super) refusal: Refusal,
    pub(super) call: Option<CallId>,
}

/// The shape of errors for this connection; problems where there's none.
pub(super) fn of(connection: Option<&Connection>) -> ErrorProfile {
    connection.map(|connection| connection.error_profile).unwrap_or_default()
}

impl Refused {
    /// As it's sent.
    pub(super) fn answer(self) -> Response {
        match self.profile {
            ErrorProfile::Problem => Problem::of_request(self.refusal, self.call).into_response(),
            ErrorProfile::Stripe => stripe::refused(&self.refusal, self.call.as_ref()),
        }
    }
}

/// Adds to an upstream's own reply what keeps the SDK from sending a write again by itself.
pub(super) fn hold_back(profile: ErrorProfile, method: &http::Method, response: &mut Response) {
    let tempts = response.status() == StatusCode::CONFLICT || response.status().is_server_error();
    if tempts && !is_safe(method) {
        match profile {
            ErrorProfile::Problem => {}
            ErrorProfile::Stripe => stripe::hold_back(response.headers_mut()),
        }
    }
}
