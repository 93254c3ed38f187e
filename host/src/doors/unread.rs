//! Answers to what never becomes a request: a head that can't be read, or is too large.
//!
//! The HTTP library answers these by itself, with a status and an empty body. [`Spoken`] lies below it, and sees when it
//! speaks for itself: when all that was handed to the routes is answered, and on its way. Then a problem as everywhere
//! else takes the place of the empty body.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use http::StatusCode;
use hyper::body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::problem::{MEDIA_TYPE, Problem};

/// The line by which the library says that its own answer has no body.
const EMPTY: &str = "content-length: 0\r\n";

/// What is owed to the client: one request of a connection is with the routes at a time.
#[derive(Debug, Clone)]
pub(super) struct Turn(Arc<AtomicU8>);

/// Whatever is written now, no route has said.
const NOTHING: u8 = 0;
/// A request is with the routes, or its answer under way.
const ANSWER: u8 = 1;
/// The answer was handed over whole, and may still lie in a buffer.
const GIVEN: u8 = 2;

impl Turn {
    pub(super) fn new() -> Self {
        Self(Arc::new(AtomicU8::new(NOTHING)))
    }

    /// A request is handed to the routes.
    pub(super) fn request(&self) {
        self.0.store(ANSWER, Ordering::Relaxed);
    }

    fn given(&self) {
        self.0.store(GIVEN, Ordering::Relaxed);
    }

    fn flushed(&self) {
        let _ = self.0.compare_exchange(GIVEN, NOTHING, Ordering::Relaxed, Ordering::Relaxed);
    }

    fn is_nothing(&self) -> bool {
        self.0.load(Ordering::Relaxed) == NOTHING
    }
}

/// A route's body, which the library drops when it has all of it.
#[derive(Debug)]
pub(super) struct Given {
    body: Body,
    turn: Turn,
}

impl Given {
    pub(super) fn new(body: Body, turn: Turn) -> Self {
        Self { body, turn }
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        self.turn.given();
    }
}

impl hyper::body::Body for Given {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream that gives the library's own answers a body.
#[derive(Debug)]
pub(super) struct Spoken<S> {
    stream: S,
    turn: Turn,
    /// What is left of such an answer. It's the last thing that is said on a connection.
    own: Option<Bytes>,
}

impl<S> Spoken<S> {
    pub(super) fn new(stream: S, turn: Turn) -> Self {
        Self { stream, turn, own: None }
    }

    /// Notices that the library speaks for itself. What isn't its answer as it's known is left alone.
    fn notice(&mut self, said: &[u8]) {
        if self.own.is_none() && self.turn.is_nothing() {
            self.own = answer(said);
        }
    }
}

impl<S: AsyncWrite + Unpin> Spoken<S> {
    /// Writes what is left of the own answer; then all that the library wrote counts as written.
    fn poll_own(&mut self, cx: &mut Context<'_>, count: usize) -> Option<Poll<io::Result<usize>>> {
        let left = self.own.as_mut()?;
        while !left.is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, left) {
                Poll::Ready(Ok(0)) => return Some(Poll::Ready(Err(io::ErrorKind::WriteZero.into()))),
                Poll::Ready(Ok(written)) => drop(left.split_to(written)),
                Poll::Ready(Err(error)) => return Some(Poll::Ready(Err(error))),
                Poll::Pending => return Some(Poll::Pending),
            }
        }
        Some(Poll::Ready(Ok(count)))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Spoken<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, to)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Spoken<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let me = self.get_mut();
        me.notice(from);
        match me.poll_own(cx, from.len()) {
            Some(written) => written,
            None => Pin::new(&mut me.stream).poll_write(cx, from),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let me = self.get_mut();
        me.notice(from.iter().find(|slice| !slice.is_empty()).map_or(&[][..], |slice| &**slice));
        match me.poll_own(cx, from.iter().map(|slice| slice.len()).sum()) {
            Some(written) => written,
            None => Pin::new(&mut me.stream).poll_write_vectored(cx, from),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        ready!(Pin::new(&mut me.stream).poll_flush(cx))?;
        // The library flushes once it has written all that it holds.
        me.turn.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

/// The library's answer with a problem as its body; `None` if it isn't one that has no body.
fn answer(said: &[u8]) -> Option<Bytes> {
    let head = std::str::from_utf8(said).ok()?.strip_suffix("\r\n\r\n")?;
    let status: StatusCode = head.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
    let body = serde_json::to_vec(&Problem::of_head(status)?.body()).ok()?;
    let (before, after) = head.split_once(EMPTY)?;
    let length = body.len();
    let head = format!(
        "{before}{after}\r\ncontent-type: {MEDIA_TYPE}\r\ncache-control: no-store\r\ncontent-length: {length}\r\n\r\n"
    );
    Some([head.into_bytes(), body].concat().into())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    const OWN: &[u8] =
        b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\ndate: now\r\n\r\n";

    #[tokio::test]
    async fn only_what_no_route_has_said_is_given_a_body() {
        let (mut client, server) = duplex(16);
        let reading = tokio::spawn(async move {
            let mut all = String::new();
            client.read_to_string(&mut all).await.unwrap();
            all
        });
        let turn = Turn::new();
        let mut spoken = Spoken::new(server, turn.clone());
        // A route may say the same.
        turn.request();
        spoken.write_all(OWN).await.unwrap();
        drop(Given::new(Body::empty(), turn.clone()));
        spoken.write_all(OWN).await.unwrap();
        spoken.flush().await.unwrap();
        spoken.write_all(OWN).await.unwrap();
        spoken.shutdown().await.unwrap();
        drop(spoken);
        let all = reading.await.unwrap();
        let own = std::str::from_utf8(OWN).unwrap();
        let last = all.strip_prefix(&format!("{own}{own}")).unwrap();
        let (head, body) = last.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\nconnection: close\r\ndate: now\r\n"), "{head}");
        assert!(head.ends_with(&format!("content-length: {}", body.len())), "{head}");
        assert!(body.contains(r#""code":"bad_request""#), "{body}");
    }

    #[test]
    fn what_is_not_known_is_left_alone() {
        for said in [
            &b""[..],
            b"HTTP/1.1 100 Continue\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 400 Bad Request\r\ncontent-length: 5\r\n\r\n",
            b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n",
            b"HTTP/1.1 4\xff0 Bad Request\r\ncontent-length: 0\r\n\r\n",
        ] {
            assert_eq!(answer(said), None, "{said:?}");
        }
    }
}
