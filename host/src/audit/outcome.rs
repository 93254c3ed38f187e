//! What came of a call or a send, in the words of the pipeline.

use crate::audit::CallMark;
use crate::ids::Digest;
use crate::refusal::{Code, RequestSent};

/// What came of a call. Whether anything was sent isn't said here: the trail knows it from the call's sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    pub(super) mark: CallMark,
    pub(super) code: Option<Code>,
    pub(super) result: Option<(Digest, u32)>,
}

impl Outcome {
    /// The agent gets this result.
    #[must_use]
    pub fn ok(result: &[u8]) -> Self {
        let result = Some((Digest::of(result), size(result.len())));
        Self { mark: CallMark::Ok, code: None, result }
    }

    /// The agent gets a refusal or an error.
    #[must_use]
    pub fn failed(code: Code) -> Self {
        Self { mark: CallMark::Failed, code: Some(code), result: None }
    }

    /// The caller hung up, or the call was stopped.
    #[must_use]
    pub fn cancelled() -> Self {
        Self { mark: CallMark::Cancelled, code: Some(Code::Cancelled), result: None }
    }
}

/// What came of a send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendResult {
    /// The upstream's status, if it answered.
    pub status: Option<u16>,
    /// Why there was no reply, if there was none.
    pub failure: Option<Code>,
    /// Whether the upstream may have seen the request.
    pub request_sent: RequestSent,
    /// The digest and the size in bytes of the reply's body, decompressed.
    pub reply: Option<(Digest, u32)>,
}

impl SendResult {
    /// A send that nobody saw the end of.
    pub(super) fn abandoned(request_sent: RequestSent) -> Self {
        Self { status: None, failure: Some(Code::Cancelled), request_sent, reply: None }
    }
}

/// A size in bytes as the trail keeps it. Every limit of the host is far below four gigabytes.
pub(super) fn size(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}
