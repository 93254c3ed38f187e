//! What comes of a send when no reply does.

use super::{Code, RequestSent};

/// A request that brought no reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendFailure {
    /// The kind of failure.
    pub reason: FailureReason,
    /// A sentence fit for a model: no secret, no address, no upstream text.
    pub message: String,
    /// Whether the upstream may have seen the request.
    pub request_sent: RequestSent,
    /// What the operator's log says of it. Never shown to an agent or a guest.
    pub cause: Option<String>,
}

impl SendFailure {
    /// A failure before anything was sent.
    pub fn unsent(reason: FailureReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), request_sent: RequestSent::No, cause: None }
    }

    /// The same failure with what is known of the wire.
    #[must_use]
    pub fn sent(mut self, request_sent: RequestSent) -> Self {
        self.request_sent = request_sent;
        self
    }

    /// The same failure with a cause for the log.
    #[must_use]
    pub fn because(mut self, cause: impl Into<String>) -> Self {
        self.cause = Some(cause.into());
        self
    }
}

/// The kinds of failure: those of the WIT contract, each with the code that an agent sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureReason {
    /// Not allowed.
    Denied,
    /// A person has to approve first.
    ApprovalRequired,
    /// A budget would be exceeded.
    OverBudget,
    /// Too many requests.
    RateLimited,
    /// The token was revoked or has expired.
    Revoked,
    /// An operator has stopped this.
    Killed,
    /// The same write is under way, or was made and its reply isn't kept.
    Duplicate,
    /// No operation matches, or no such connection.
    UnknownOperation,
    /// A rule of form is broken.
    InvalidRequest,
    /// The deadline passed.
    Timeout,
    /// Not reached, or hung up.
    Unreachable,
    /// The reply is over its limit.
    ResponseTooLarge,
    /// The reply broke a rule.
    ResponseRefused,
    /// The call has used up its sends.
    SendLimit,
    /// There's no secret for this connection here.
    NoSecret,
    /// The audit trail can't be written.
    AuditUnavailable,
    /// The host failed.
    Internal,
}

impl FailureReason {
    /// The code that an agent sees when this ends its call.
    #[must_use]
    pub fn code(self) -> Code {
        match self {
            Self::Denied => Code::Denied,
            Self::ApprovalRequired => Code::ApprovalRequired,
            Self::OverBudget => Code::OverBudget,
            Self::RateLimited => Code::RateLimited,
            Self::Killed => Code::Killed,
            Self::Duplicate => Code::Duplicate,
            Self::Revoked => Code::Unauthorized,
            Self::UnknownOperation => Code::UnknownOperation,
            Self::InvalidRequest => Code::InvalidRequest,
            Self::Timeout => Code::UpstreamTimeout,
            Self::Unreachable => Code::UpstreamUnreachable,
            Self::ResponseTooLarge => Code::UpstreamTooLarge,
            Self::ResponseRefused => Code::UpstreamRefused,
            Self::SendLimit => Code::ToolLimit,
            Self::NoSecret => Code::NoSecret,
            Self::AuditUnavailable => Code::AuditUnavailable,
            Self::Internal => Code::Internal,
        }
    }
}
