//! Refusal → HTTP. The one file that picks a status code; at the proxy door, a vendor's profile may pick another that
//! its SDK reads right.
//!
//! AutoGen's HttpTool hands the body's text to the model whatever the status is. So `detail` alone has to say that
//! the call failed, why, whether anything was sent, and whether to try again.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};

use super::headers::CALL_ID;
use super::wire::ProblemBody;
use crate::ids::CallId;
use crate::refusal::{Code, Refusal, RequestSent, Retry};

/// The media type of errors (RFC 9457).
pub(super) const MEDIA_TYPE: &str = "application/problem+json";

/// A refusal on its way out, with the id of the call that it ended, if there was one.
#[derive(Debug)]
pub(super) struct Problem {
    refusal: Refusal,
    call: Option<CallId>,
    status: StatusCode,
}

impl Problem {
    /// The refusal of this call.
    pub(super) fn of_call(refusal: Refusal, call: CallId) -> Self {
        Self { call: Some(call), ..refusal.into() }
    }

    /// The refusal of a request that the caller itself drafted.
    pub(super) fn of_request(refusal: Refusal, call: Option<CallId>) -> Self {
        Self { status: proxied_status(refusal.code), refusal, call }
    }

    /// A problem outside any call.
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Refusal::new(code, message).into()
    }

    /// What keeps the host from taking calls, whatever its code is.
    pub(super) fn not_ready(code: Code, message: &str) -> Self {
        Self { status: StatusCode::SERVICE_UNAVAILABLE, ..Self::new(code, message) }
    }

    /// The answer to a head that never became a request, with the status that the HTTP library picks for it; `None` if
    /// it picks none for that.
    pub(super) fn of_head(status: StatusCode) -> Option<Self> {
        let (code, sentence) = match status {
            StatusCode::BAD_REQUEST => (Code::BadRequest, "the request can't be read: it's not HTTP/1.1"),
            StatusCode::URI_TOO_LONG => {
                (Code::TooLarge, "the request's address is longer than the host takes")
            }
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
                (Code::TooLarge, "the request's address and headers are larger than the host takes")
            }
            _ => return None,
        };
        Some(Self { status, ..Refusal::new(code, sentence).into() })
    }

    /// As it's sent.
    pub(super) fn body(&self) -> ProblemBody<'_> {
        let code = self.refusal.code;
        ProblemBody {
            r#type: format!("urn:keybearer:problem:{}", code.as_str()),
            title: title(code),
            status: self.status.as_u16(),
            detail: detail(&self.refusal),
            code,
            request_sent: self.refusal.request_sent,
            retry: self.refusal.retry(),
            call: self.call.as_ref(),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self { status: status(refusal.code), refusal, call: None }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let code = self.refusal.code;
        // Serializing strings and unit enums can't fail; an empty body beside the right status would be the least
        // harm if it did.
        let body = serde_json::to_vec(&self.body()).unwrap_or_default();
        let mut response = Response::new(Body::from(Bytes::from(body)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if code == Code::Unauthorized {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        // Clients retry by themselves when they see this header, so it's there only where that can't do harm.
        if self.refusal.retry() == Retry::Safe && self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if let Some(id) = self.call.and_then(|call| HeaderValue::from_str(call.as_str()).ok()) {
            headers.insert(CALL_ID, id);
        }
        response
    }
}

/// The status of a code. 502 is for everything behind the host (a tool or an upstream that failed), 500 for the host
/// itself, so that an operator's alarm on 500 means what it says.
pub(super) fn status(code: Code) -> StatusCode {
    match code {
        Code::BadRequest => StatusCode::BAD_REQUEST,
        Code::Unauthorized => StatusCode::UNAUTHORIZED,
        Code::ConversationMismatch | Code::Denied | Code::ApprovalRequired | Code::Killed => {
            StatusCode::FORBIDDEN
        }
        Code::OverBudget => StatusCode::PAYMENT_REQUIRED,
        Code::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        Code::Duplicate => StatusCode::CONFLICT,
        Code::UnknownTool | Code::NotFound | Code::ToolNotFound => StatusCode::NOT_FOUND,
        Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::InvalidArguments => StatusCode::UNPROCESSABLE_ENTITY,
        Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        Code::ToolTrapped
        | Code::ToolLimit
        | Code::ToolFailed
        | Code::InvalidOutput
        | Code::LeakBlocked
        | Code::UnknownOperation
        | Code::InvalidRequest
        | Code::UpstreamUnreachable
        | Code::UpstreamTooLarge
        | Code::UpstreamRefused
        | Code::UpstreamError => StatusCode::BAD_GATEWAY,
        Code::Busy | Code::ShuttingDown | Code::Cancelled | Code::NoSecret | Code::AuditUnavailable => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        Code::DeadlineExceeded | Code::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
    }
}

/// The status of a code at the proxy door, where it's the caller and no tool that drafted the request: what is wrong
/// with it is the caller's to mend.
pub(super) fn proxied_status(code: Code) -> StatusCode {
    match code {
        Code::InvalidRequest => StatusCode::BAD_REQUEST,
        Code::UnknownOperation => StatusCode::NOT_FOUND,
        _ => status(code),
    }
}

/// `The call failed (denied): … Nothing was sent. …`: it stands alone.
pub(super) fn detail(refusal: &Refusal) -> String {
    let message = refusal.message.trim_end_matches(['.', ' ', '\n']);
    let sent = match refusal.request_sent {
        RequestSent::No => "Nothing was sent.",
        RequestSent::Yes => "A request was sent, and the upstream answered it.",
        RequestSent::Unknown => "A request may have been sent.",
    };
    let retry = match refusal.retry() {
        Retry::No if refusal.code == Code::ApprovalRequired => {
            "Trying again helps once a person has approved it."
        }
        Retry::No => "Trying the same again won't help.",
        Retry::Safe => "It's safe to try again.",
        Retry::CheckFirst => "Check what was done before you try again.",
    };
    format!("The call failed ({}): {message}. {sent} {retry}", refusal.code.as_str())
}

/// The code in words: `Upstream timeout`.
fn title(code: Code) -> String {
    let mut words = code.as_str().replace('_', " ");
    if let Some(first) = words.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::STATUSES;

    #[test]
    fn the_detail_stands_alone() {
        let refusal = Refusal::new(Code::Denied, "this token may not use stripe:create_charge.");
        assert_eq!(
            detail(&refusal),
            "The call failed (denied): this token may not use stripe:create_charge. Nothing was sent. \
             Trying the same again won't help."
        );
        assert_eq!(
            detail(&Refusal::new(Code::ApprovalRequired, "it waits as apr_1")),
            "The call failed (approval_required): it waits as apr_1. Nothing was sent. Trying again helps once a person \
             has approved it."
        );
        let unknown = Refusal::new(Code::UpstreamTimeout, "the upstream was slow").sent(RequestSent::Unknown);
        assert_eq!(
            detail(&unknown),
            "The call failed (upstream_timeout): the upstream was slow. A request may have been sent. \
             Check what was done before you try again."
        );
    }

    #[test]
    fn every_code_has_an_error_status_and_a_title() {
        for code in Code::ALL {
            let status = status(*code);
            assert!(status.is_client_error() || status.is_server_error(), "{code:?}");
            assert!(title(*code).starts_with(|c: char| c.is_ascii_uppercase()));
        }
        assert_eq!(title(Code::UpstreamTimeout), "Upstream timeout");
    }

    #[test]
    fn every_code_is_counted_under_its_own_status() {
        for code in Code::ALL {
            for status in [status(*code), proxied_status(*code)] {
                assert!(STATUSES.contains(&status.as_u16()), "{code:?}: {status}");
            }
        }
    }

    #[test]
    fn only_a_safe_retry_is_offered_to_automatic_clients() {
        let retry_after =
            |refusal: Refusal| Problem::from(refusal).into_response().headers().get(RETRY_AFTER).cloned();
        assert!(retry_after(Refusal::new(Code::Busy, "…")).is_some());
        assert!(retry_after(Refusal::new(Code::Busy, "…").sent(RequestSent::Unknown)).is_none());
        assert!(retry_after(Refusal::new(Code::NoSecret, "…")).is_none());
        assert!(retry_after(Refusal::new(Code::UpstreamTimeout, "…")).is_none());
    }

    #[test]
    fn only_a_401_names_the_scheme() {
        for code in Code::ALL {
            let response = Problem::new(*code, "…").into_response();
            let named = response.headers().contains_key(WWW_AUTHENTICATE);
            assert_eq!(named, response.status() == StatusCode::UNAUTHORIZED, "{code:?}");
        }
    }
}
