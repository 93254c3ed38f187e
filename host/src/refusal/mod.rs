//! What an agent is told when it gets no result: a stable code, a sentence, whether anything was sent, and
//! whether to try again. The cause stays in the host's log.

mod send;

pub use send::{FailureReason, SendFailure};

use serde::{Deserialize, Serialize};

/// A refused or failed call, fit to be shown to an agent.
///
/// INVARIANT (public): `message` holds no secret and no path of this machine, and of an upstream's body only what a tool
/// put into a message of its own, which is searched for secrets and cut. Causes go to the log beside the call's id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The stable code.
    pub code: Code,
    /// A sentence that a model or a person can act on.
    pub message: String,
    /// Whether any upstream may have seen a request of this call.
    pub request_sent: RequestSent,
}

impl Refusal {
    /// A refusal before anything was sent.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), request_sent: RequestSent::No }
    }

    /// The same refusal with what is known of the wire.
    #[must_use]
    pub fn sent(mut self, request_sent: RequestSent) -> Self {
        self.request_sent = request_sent;
        self
    }

    /// Whether the same call may be tried again, and what to do first.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match (self.code.is_passing(), self.request_sent) {
            (false, _) => Retry::No,
            (true, RequestSent::No) => Retry::Safe,
            (true, _) => Retry::CheckFirst,
        }
    }
}

/// Whether an upstream may have seen a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestSent {
    /// Surely not.
    No,
    /// Surely: it answered.
    Yes,
    /// It may have.
    Unknown,
}

impl RequestSent {
    /// What is known after two sends: the worse of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        self.max(other)
    }

    /// `no`, `yes` or `unknown`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Yes => "yes",
            Self::Unknown => "unknown",
        }
    }
}

/// Whether to try the same call again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Retry {
    /// It would fail again.
    No,
    /// Nothing was sent: trying again can't do a thing twice.
    Safe,
    /// Something may have been done: look before a write is tried again.
    CheckFirst,
}

impl Retry {
    /// `no`, `safe` or `check_first`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Safe => "safe",
            Self::CheckFirst => "check_first",
        }
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, $passing:literal;)+) => {
        /// The stable codes. They're part of the HTTP interface: a code is never renamed or given another
        /// meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Code {
            $($(#[$doc])* #[serde(rename = $text)] $variant,)+
        }

        impl Code {
            /// Every code, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The code as it is sent.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// Whether the same request may succeed later without a change by anyone.
            #[must_use]
            pub fn is_passing(self) -> bool {
                match self { $(Self::$variant => $passing),+ }
            }
        }
    };
}

codes! {
    /// No token, or none that is valid here and now.
    Unauthorized = "unauthorized", false;
    /// The token is bound to another conversation.
    ConversationMismatch = "conversation_mismatch", false;
    /// The token may not do this.
    Denied = "denied", false;
    /// A person has to approve first. The message names the approval to come back with.
    ApprovalRequired = "approval_required", false;
    /// It would exceed a budget.
    OverBudget = "over_budget", false;
    /// Too many requests in a time, or at once.
    RateLimited = "rate_limited", true;
    /// An operator has stopped this call, conversation, agent, role, tool, connection or tenant.
    Killed = "killed", false;
    /// The same write is under way in this conversation, nobody knows what became of it, or it was made and its reply isn't
    /// kept.
    Duplicate = "duplicate", false;
    /// There's no tool of this name, or the token may not call it.
    UnknownTool = "unknown_tool", false;
    /// The arguments don't fit the tool's input schema, or one can't be put to the policies.
    InvalidArguments = "invalid_arguments", false;
    /// The HTTP request itself is malformed.
    BadRequest = "bad_request", false;
    /// No such path or record.
    NotFound = "not_found", false;
    /// The path is known, the method isn't.
    MethodNotAllowed = "method_not_allowed", false;
    /// A body, header block or value is over its limit.
    TooLarge = "too_large", false;
    /// Too many calls at once.
    Busy = "busy", true;
    /// The host is stopping.
    ShuttingDown = "shutting_down", true;
    /// The deadline passed.
    DeadlineExceeded = "deadline_exceeded", true;
    /// The caller hung up, or the call was stopped.
    Cancelled = "cancelled", true;
    /// The tool broke down: a trap.
    ToolTrapped = "tool_trapped", false;
    /// The tool went over one of its limits: memory, output, sends.
    ToolLimit = "tool_limit", false;
    /// The tool reported an error of its own.
    ToolFailed = "tool_failed", false;
    /// The tool says that what was asked for doesn't exist.
    ToolNotFound = "tool_not_found", false;
    /// The tool's result isn't what its output schema promises.
    InvalidOutput = "invalid_output", false;
    /// A secret was found in what would have left the host.
    LeakBlocked = "leak_blocked", false;
    /// The tool asked for a connection, or for an operation, that isn't there.
    UnknownOperation = "unknown_operation", false;
    /// The tool's request breaks a rule of form.
    InvalidRequest = "invalid_request", false;
    /// There's no secret for this connection in this tenant and environment.
    NoSecret = "no_secret", false;
    /// The upstream couldn't be reached, or hung up.
    UpstreamUnreachable = "upstream_unreachable", true;
    /// The upstream took too long.
    UpstreamTimeout = "upstream_timeout", true;
    /// The upstream's reply is too large.
    UpstreamTooLarge = "upstream_too_large", false;
    /// The upstream's reply broke a rule, for example by sending the credential back.
    UpstreamRefused = "upstream_refused", false;
    /// The upstream answered with an error: one that passes or one that stays, as the message says.
    UpstreamError = "upstream_error", true;
    /// The audit trail can't be written, so nothing is run.
    AuditUnavailable = "audit_unavailable", true;
    /// The host failed in a way that the log explains.
    Internal = "internal", false;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_is_safe_only_when_nothing_was_sent() {
        let refusal = Refusal::new(Code::UpstreamTimeout, "…");
        assert_eq!(refusal.retry(), Retry::Safe);
        assert_eq!(refusal.clone().sent(RequestSent::Unknown).retry(), Retry::CheckFirst);
        assert_eq!(Refusal::new(Code::Denied, "…").retry(), Retry::No);
    }

    #[test]
    fn codes_are_distinct() {
        let mut texts: Vec<_> = Code::ALL.iter().map(|c| c.as_str()).collect();
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), Code::ALL.len());
    }
}
