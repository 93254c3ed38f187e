//! Stripe's error object, as its SDKs read it.
//!
//! They go by the status: 401 is `AuthenticationError`, 402 `CardError`, 403 `PermissionError`, 400 and 404
//! `InvalidRequestError` (`IdempotencyError` where the type says so), 429 `RateLimitError`, all else `APIError`. They
//! try 409 and every 5xx again by themselves, unless `Stripe-Should-Retry` says not to.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;

use super::super::headers::CALL_ID;
use super::super::problem::{detail, proxied_status};
use crate::ids::CallId;
use crate::refusal::{Code, Refusal, RequestSent, Retry};

const SHOULD_RETRY: HeaderName = HeaderName::from_static("stripe-should-retry");
const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

#[derive(Serialize)]
struct Envelope<'a> {
    error: ErrorObject<'a>,
}

/// The members that SDKs know, and two of ours, which they hand on as they are.
#[derive(Serialize)]
struct ErrorObject<'a> {
    r#type: &'static str,
    code: Code,
    message: &'a str,
    request_sent: RequestSent,
    retry: Retry,
}

/// A refusal, as an answer of Stripe's would look.
pub(super) fn refused(refusal: &Refusal, call: Option<&CallId>) -> Response {
    let status = status(refusal.code);
    let error = ErrorObject {
        r#type: kind(refusal.code, status),
        code: refusal.code,
        message: &message(refusal),
        request_sent: refusal.request_sent,
        retry: refusal.retry(),
    };
    // Serializing strings and unit enums can't fail; an empty body beside the right status would be the least harm if
    // it did.
    let body = serde_json::to_vec(&Envelope { error }).unwrap_or_default();
    let mut response = Response::new(Body::from(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    match refusal.retry() {
        Retry::Safe if status == StatusCode::SERVICE_UNAVAILABLE => {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        // Safe, but in half a second it would be one too many again.
        Retry::Safe if refusal.code == Code::RateLimited => hold_back(headers),
        Retry::Safe => {}
        Retry::No | Retry::CheckFirst => hold_back(headers),
    }
    if let Some(id) = call.and_then(|call| HeaderValue::from_str(call.as_str()).ok()) {
        headers.insert(REQUEST_ID, id.clone());
        headers.insert(CALL_ID, id);
    }
    response
}

/// Tells the SDK not to send the same again by itself.
pub(super) fn hold_back(headers: &mut HeaderMap) {
    headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
}

/// A spent budget is a 401, not a 402: to these SDKs 402 is a declined card, and a program that asks its customer for
/// another card, or tries the next one on file, would be the wrong one to hear of it. 401 says what is meant: this
/// key doesn't do.
fn status(code: Code) -> StatusCode {
    match code {
        Code::OverBudget => StatusCode::UNAUTHORIZED,
        // 404 would be read as "there is no such customer".
        Code::UnknownOperation => StatusCode::FORBIDDEN,
        // 409 would be tried again, and 413 isn't read as the caller's mistake.
        Code::Duplicate | Code::TooLarge => StatusCode::BAD_REQUEST,
        _ => proxied_status(code),
    }
}

fn kind(code: Code, status: StatusCode) -> &'static str {
    match code {
        Code::Duplicate => "idempotency_error",
        _ if status.is_server_error() => "api_error",
        _ => "invalid_request_error",
    }
}

fn message(refusal: &Refusal) -> String {
    match refusal.code {
        Code::OverBudget => {
            let capped =
                Refusal { message: format!("a spending cap: {}", refusal.message), ..refusal.clone() };
            detail(&capped)
        }
        _ => detail(refusal),
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use serde_json::Value;

    use super::*;
    use crate::clock::Millis;

    /// What the Python SDK makes of a status and a type (`_api_requestor.py`).
    fn exception(status: u16, kind: &str) -> &'static str {
        match (status, kind) {
            (429, _) => "RateLimitError",
            (400 | 404, "idempotency_error") => "IdempotencyError",
            (400 | 404, _) => "InvalidRequestError",
            (401, _) => "AuthenticationError",
            (402, _) => "CardError",
            (403, _) => "PermissionError",
            _ => "APIError",
        }
    }

    async fn read(response: Response) -> (u16, HeaderMap, Value) {
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (head.status.as_u16(), head.headers, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn every_code_becomes_an_exception_that_says_what_to_do() {
        for (code, expected) in [
            (Code::Unauthorized, "AuthenticationError"),
            (Code::OverBudget, "AuthenticationError"),
            (Code::Denied, "PermissionError"),
            (Code::ConversationMismatch, "PermissionError"),
            (Code::ApprovalRequired, "PermissionError"),
            (Code::Killed, "PermissionError"),
            (Code::UnknownOperation, "PermissionError"),
            (Code::InvalidRequest, "InvalidRequestError"),
            (Code::BadRequest, "InvalidRequestError"),
            (Code::TooLarge, "InvalidRequestError"),
            (Code::Duplicate, "IdempotencyError"),
            (Code::RateLimited, "RateLimitError"),
            (Code::NoSecret, "APIError"),
            (Code::UpstreamTimeout, "APIError"),
            (Code::UpstreamUnreachable, "APIError"),
            (Code::UpstreamRefused, "APIError"),
            (Code::DeadlineExceeded, "APIError"),
            (Code::AuditUnavailable, "APIError"),
            (Code::Internal, "APIError"),
        ] {
            let refusal = Refusal::new(code, "why");
            let (status, _, body) = read(refused(&refusal, None)).await;
            let kind = body["error"]["type"].as_str().unwrap();
            assert_eq!(exception(status, kind), expected, "{code:?}");
            assert_eq!(body["error"]["code"], code.as_str());
            assert!(body["error"]["message"].as_str().unwrap().contains("Nothing was sent."));
        }
    }

    #[tokio::test]
    async fn no_sdk_is_left_to_try_again_where_that_could_do_harm() {
        for code in Code::ALL {
            for sent in [RequestSent::No, RequestSent::Yes, RequestSent::Unknown] {
                let refusal = Refusal::new(*code, "why").sent(sent);
                let retry = refusal.retry();
                let (status, headers, _) = read(refused(&refusal, None)).await;
                let held_back = headers.get(SHOULD_RETRY).is_some_and(|value| value == "false");
                let tried_again = retry == Retry::Safe && *code != Code::RateLimited;
                assert_eq!(held_back, !tried_again, "{code:?} {sent:?}");
                assert!(status != 409 && status != 402, "{code:?}");
                assert_eq!(headers.contains_key(RETRY_AFTER), retry == Retry::Safe && status == 503);
                assert_eq!(headers.contains_key(WWW_AUTHENTICATE), status == 401);
            }
        }
    }

    #[tokio::test]
    async fn a_spent_budget_says_cap_and_the_calls_id_is_the_request_id() {
        let call = CallId::fresh(Millis(1));
        let refusal = Refusal::new(Code::OverBudget, "2000 usd are more than the 500 left today");
        let (status, headers, body) = read(refused(&refusal, Some(&call))).await;
        assert_eq!(status, 401);
        assert!(body["error"]["message"].as_str().unwrap().contains("a spending cap: 2000 usd"), "{body}");
        assert_eq!((&headers[REQUEST_ID], &headers[CALL_ID]), (&headers[CALL_ID], &headers[REQUEST_ID]));
        assert_eq!(headers[REQUEST_ID], call.as_str());
    }
}
