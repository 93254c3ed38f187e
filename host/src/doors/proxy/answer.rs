//! An upstream's reply → the SDK's answer. It was capped, decompressed and searched by then, and its headers are those
//! that the connection lets through.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use hyper::body::Frame;

use super::super::headers::CALL_ID;
use super::profile;
use crate::connection::ErrorProfile;
use crate::egress::Reply;
use crate::ids::CallId;

/// The upstream's status, headers and body, and the call's id.
pub(super) fn response(reply: Reply, method: &Method, profile: ErrorProfile, call: &CallId) -> Response {
    let is_head = *method == Method::HEAD;
    // A 204 has no length at all (RFC 9110 §8.6).
    let announced = reply.announced.filter(|_| is_head && reply.status != 204);
    let is_untold = is_head && announced.is_none();
    let mut response = Response::new(if is_untold { Body::new(Untold) } else { Body::from(reply.body) });
    // Egress lets no status through that isn't one.
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let headers = response.headers_mut();
    for (name, value) in reply.headers {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(&value)) {
            headers.append(name, value);
        }
    }
    if let Some(length) = announced {
        headers.insert(CONTENT_LENGTH, length.into());
    }
    // In place of whatever the upstream calls by this name.
    if let Ok(id) = HeaderValue::from_str(call.as_str()) {
        headers.insert(CALL_ID, id);
    }
    profile::hold_back(profile, method, &mut response);
    response
}

/// The body of an answer to a `HEAD` whose length is unknown: of an empty one, the router would say that it's 0.
struct Untold;

impl hyper::body::Body for Untold {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }
}
