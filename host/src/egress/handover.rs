//! What is known of a request on its way: which secret it was given, and whether it was ever handed to a connection.
//!
//! A wait that ends before there's a connection leaves nothing unknown: the request went nowhere. What tells is its body.
//! hyper asks each body whether it's empty before it writes the first byte of its request, and nothing else asks that.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};

use crate::refusal::RequestSent;

/// The request waits for a connection.
const WAITING: u8 = 1;
/// A connection has it.
const HANDED: u8 = 2;
/// It was dropped, and no connection had it.
const UNSENT: u8 = 3;

/// What is known of a request on its way. Where no [`WatchedBody`] says anything, nothing is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Handover(Arc<OnItsWay>);

#[derive(Debug, Default)]
struct OnItsWay {
    stage: AtomicU8,
    secret_version: OnceLock<u32>,
}

impl Handover {
    /// A secret of this version was attached.
    pub(super) fn attached(&self, secret_version: u32) {
        let _ = self.0.secret_version.set(secret_version);
    }

    /// The version of the secret that was attached, if one was: whatever came of the request.
    pub(crate) fn secret_version(&self) -> Option<u32> {
        self.0.secret_version.get().copied()
    }

    /// Whether the request waits for a connection. One may take it the very next moment.
    pub(super) fn is_waiting(&self) -> bool {
        self.0.stage.load(Ordering::Acquire) == WAITING
    }

    /// Whether the upstream may have seen a request that nobody waits for any more. `No` is certain: the request is gone.
    pub(crate) fn request_sent(&self) -> RequestSent {
        match self.0.stage.load(Ordering::Acquire) {
            UNSENT => RequestSent::No,
            _ => RequestSent::Unknown,
        }
    }
}

/// A request's body, which tells what becomes of its request.
///
/// INVARIANT (unsent): a connection that takes a request asks its body before it writes anything, and can't take it once
/// the body is dropped. So a body that is dropped unasked is one whose request was not sent and won't be.
pub(crate) struct WatchedBody {
    body: Full<Bytes>,
    handover: Handover,
}

impl WatchedBody {
    /// A body of these bytes, for a request that waits for a connection.
    pub(crate) fn new(bytes: Bytes, handover: Handover) -> Self {
        handover.0.stage.store(WAITING, Ordering::Release);
        Self { body: Full::new(bytes), handover }
    }

    fn asked(&self) {
        self.handover.0.stage.store(HANDED, Ordering::Release);
    }
}

impl Body for WatchedBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.asked();
        Pin::new(&mut self.get_mut().body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.asked();
        self.body.is_end_stream()
    }

    /// It's looked at before there's a connection, too, and so tells nothing.
    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for WatchedBody {
    fn drop(&mut self) {
        // It fails where a connection has asked.
        let stage = &self.handover.0.stage;
        let _ = stage.compare_exchange(WAITING, UNSENT, Ordering::AcqRel, Ordering::Acquire);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn watched(text: &'static str) -> (Handover, WatchedBody) {
        let handover = Handover::default();
        (handover.clone(), WatchedBody::new(Bytes::from_static(text.as_bytes()), handover))
    }

    #[test]
    fn what_no_connection_asked_for_is_surely_unsent_once_it_is_dropped() {
        for text in ["", "{}"] {
            let (handover, body) = watched(text);
            assert_eq!(body.size_hint().exact(), Some(text.len() as u64));
            assert!(handover.is_waiting());
            assert_eq!(handover.request_sent(), RequestSent::Unknown, "it can still be sent");
            drop(body);
            assert!(!handover.is_waiting());
            assert_eq!(handover.request_sent(), RequestSent::No, "{text:?}");
        }
    }

    #[test]
    fn what_a_connection_asked_for_may_have_been_sent() {
        for text in ["", "{}"] {
            let (handover, body) = watched(text);
            assert_eq!(body.is_end_stream(), text.is_empty());
            assert!(!handover.is_waiting());
            drop(body);
            assert_eq!(handover.request_sent(), RequestSent::Unknown, "{text:?}");
        }
        let (handover, mut body) = watched("{}");
        assert!(Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop())).is_ready());
        drop(body);
        assert_eq!(handover.request_sent(), RequestSent::Unknown);
    }

    #[test]
    fn where_no_body_says_anything_nothing_is_known() {
        let handover = Handover::default();
        assert!(!handover.is_waiting());
        assert_eq!(handover.request_sent(), RequestSent::Unknown);
    }
}
