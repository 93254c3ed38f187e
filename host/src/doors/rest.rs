//! What a route leaves unread of a request's body.
//!
//! A refusal is often ready before all of the body is there. The HTTP library then stops reading, and closes the
//! connection without having said so: a client's pool keeps it, and its next request fails. So what is left is read and
//! thrown away, up to a limit. Where there's more, the answer has to say that the connection ends with it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};

/// How much of it is read, in bytes.
const BYTES_MAX: usize = 1 << 20;

/// How long that may take. A client that waits for the answer before it sends its body waits for this.
const TIME_MAX: Duration = Duration::from_millis(500);

/// A request's body on its way to a route, which hands back what it didn't read when it's dropped.
#[derive(Debug)]
pub(super) struct Lent {
    /// `None` once it has come to its end, or has failed.
    body: Option<Incoming>,
    rest: Rest,
}

/// What a route has handed back.
#[derive(Debug, Clone, Default)]
pub(super) struct Rest(Arc<Mutex<Option<Incoming>>>);

impl Lent {
    pub(super) fn new(body: Incoming) -> (Self, Rest) {
        let rest = Rest::default();
        (Self { body: Some(body), rest: rest.clone() }, rest)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // Nothing can panic while it's locked.
        *self.rest.0.lock().unwrap_or_else(PoisonError::into_inner) = self.body.take();
    }
}

impl Body for Lent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            self.body = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Rest {
    /// Reads it, once the route is done; `false`: not to its end. A client that waits to be told to send it isn't told.
    pub(super) async fn drained(self, waits: bool) -> bool {
        let Some(body) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() else { return true };
        if body.is_end_stream() {
            return true;
        }
        let is_short = body.size_hint().lower() <= BYTES_MAX as u64;
        !waits && is_short && tokio::time::timeout(TIME_MAX, read(body)).await.unwrap_or(false)
    }
}

async fn read(mut body: Incoming) -> bool {
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return false };
        length += frame.data_ref().map_or(0, Bytes::len);
        if length > BYTES_MAX {
            return false;
        }
    }
    true
}
