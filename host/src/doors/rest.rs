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

use super::body::DISCARD_BYTES_MAX;

/// How long that may take. A client that waits for the answer before it sends its body waits for this.
const TIME_MAX: Duration = Duration::from_millis(500);

/// A request's body on its way to a route, which hands back what it didn't read when it's dropped.
#[derive(Debug)]
pub(super) struct Lent {
    left: Left,
    rest: Rest,
}

/// What is left of a body.
#[derive(Debug, Default)]
enum Left {
    /// It came to its end.
    #[default]
    Nothing,
    /// It can't be read any further.
    Broken,
    Unread(Incoming),
}

/// What a route has handed back.
#[derive(Debug, Clone, Default)]
pub(super) struct Rest(Arc<Mutex<Left>>);

impl Lent {
    pub(super) fn new(body: Incoming) -> (Self, Rest) {
        let rest = Rest::default();
        (Self { left: Left::Unread(body), rest: rest.clone() }, rest)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // Nothing can panic while it's locked.
        *self.rest.0.lock().unwrap_or_else(PoisonError::into_inner) = std::mem::take(&mut self.left);
    }
}

impl Body for Lent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Left::Unread(body) = &mut self.left else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        match frame {
            Some(Ok(_)) => {}
            Some(Err(_)) => self.left = Left::Broken,
            None => self.left = Left::Nothing,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        if let Left::Unread(body) = &self.left { body.is_end_stream() } else { true }
    }

    fn size_hint(&self) -> SizeHint {
        if let Left::Unread(body) = &self.left { body.size_hint() } else { SizeHint::with_exact(0) }
    }
}

impl Rest {
    /// Reads it, once the route is done; `false`: not to its end. A client that waits to be told to send it isn't told.
    pub(super) async fn drained(self, waits: bool) -> bool {
        let body = match std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)) {
            Left::Nothing => return true,
            Left::Broken => return false,
            Left::Unread(body) if body.is_end_stream() => return true,
            Left::Unread(body) => body,
        };
        let is_short = body.size_hint().lower() <= DISCARD_BYTES_MAX as u64;
        !waits && is_short && tokio::time::timeout(TIME_MAX, read(body)).await.unwrap_or(false)
    }
}

async fn read(mut body: Incoming) -> bool {
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return false };
        length += frame.data_ref().map_or(0, Bytes::len);
        if length > DISCARD_BYTES_MAX {
            return false;
        }
    }
    true
}
