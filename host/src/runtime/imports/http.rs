//! `credentialed-http`.

use bytes::Bytes;

use crate::egress::{Draft, DraftBody};
use crate::refusal::{FailureReason, RequestSent, SendFailure};
use crate::runtime::GuestReply;
use crate::runtime::bindings::keybearer::tool::credentialed_http as wit;
use crate::runtime::guest::Guest;
use crate::runtime::imports::NoRights;

impl wit::Host for Guest {
    async fn send(&mut self, request: wit::Request) -> wasmtime::Result<Result<wit::Response, wit::Failure>> {
        let Some(outbound) = self.outbound.as_mut() else {
            return Err(NoRights("credentialed-http.send").into());
        };
        if self.usage.sends >= self.limits.sends_max {
            self.usage.sends_refused = self.usage.sends_refused.saturating_add(1);
            let failure = send_limit(self.limits.sends_max);
            self.usage.last_failure = Some(failure.clone());
            return Ok(Err(failure.into()));
        }
        self.usage.sends += 1;
        match outbound.send(request.into()).await {
            Ok(reply) => {
                self.usage.last_failure = None;
                Ok(Ok(reply.into()))
            }
            Err(failure) => {
                self.usage.last_failure = Some(failure.clone());
                Ok(Err(failure.into()))
            }
        }
    }
}

fn send_limit(sends_max: u32) -> SendFailure {
    SendFailure::unsent(
        FailureReason::SendLimit,
        format!("a call may send {sends_max} requests, and this one has"),
    )
}

impl From<wit::Request> for Draft {
    fn from(request: wit::Request) -> Self {
        Self {
            connection: request.connection,
            method: request.method,
            path: request.path,
            query: request.query,
            headers: request.headers,
            body: request.body.map(DraftBody::from),
        }
    }
}

impl From<wit::Body> for DraftBody {
    fn from(body: wit::Body) -> Self {
        match body {
            wit::Body::Json(text) => Self::Json(text),
            wit::Body::Form(fields) => Self::Form(fields),
            wit::Body::Bytes(raw) => {
                Self::Bytes { content_type: raw.content_type, data: Bytes::from(raw.data) }
            }
        }
    }
}

impl From<GuestReply> for wit::Response {
    fn from(reply: GuestReply) -> Self {
        Self { status: reply.status, headers: reply.headers, body: reply.body.into() }
    }
}

/// The cause stays behind: it's the operator's.
impl From<SendFailure> for wit::Failure {
    fn from(failure: SendFailure) -> Self {
        Self {
            reason: failure.reason.into(),
            message: failure.message,
            request_sent: failure.request_sent.into(),
        }
    }
}

impl From<FailureReason> for wit::Reason {
    fn from(reason: FailureReason) -> Self {
        match reason {
            FailureReason::Denied | FailureReason::Duplicate => Self::Denied,
            FailureReason::ApprovalRequired => Self::ApprovalRequired,
            FailureReason::OverBudget => Self::OverBudget,
            FailureReason::RateLimited => Self::RateLimited,
            FailureReason::Revoked | FailureReason::Killed => Self::Revoked,
            FailureReason::UnknownOperation => Self::UnknownOperation,
            FailureReason::InvalidRequest => Self::InvalidRequest,
            FailureReason::Timeout => Self::Timeout,
            FailureReason::Unreachable => Self::Unreachable,
            FailureReason::ResponseTooLarge => Self::ResponseTooLarge,
            FailureReason::ResponseRefused => Self::ResponseRefused,
            FailureReason::SendLimit => Self::SendLimit,
            FailureReason::NoSecret | FailureReason::AuditUnavailable | FailureReason::Internal => {
                Self::Unavailable
            }
        }
    }
}

impl From<RequestSent> for wit::RequestSent {
    fn from(sent: RequestSent) -> Self {
        match sent {
            RequestSent::No => Self::No,
            RequestSent::Yes => Self::Yes,
            RequestSent::Unknown => Self::Unknown,
        }
    }
}
