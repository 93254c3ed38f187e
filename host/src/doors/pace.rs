//! How long a client may take: to send a request's head, and to take the next bytes of an answer.
//!
//! The HTTP library has one timer for both an idle connection and a head that arrives slowly. A client's pool wants
//! the first to be long, a host under attack wants the second to be short. So this stream knows which of them it is.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// Where a connection is, told by the two that know: the stream (bytes came) and the service (a request began, an
/// answer is ready).
#[derive(Debug, Clone)]
pub(super) struct Phase(Arc<AtomicU8>);

/// A request's head is awaited or under way. A new connection starts here: whoever connects means to send.
const HEAD: u8 = 0;
/// A request is being answered. Its body has a limit of its own.
const ANSWER: u8 = 1;
/// Between an answer and the next request.
const IDLE: u8 = 2;

impl Phase {
    pub(super) fn new() -> Self {
        Self(Arc::new(AtomicU8::new(HEAD)))
    }

    /// A request's head has arrived.
    pub(super) fn request(&self) {
        self.0.store(ANSWER, Ordering::Relaxed);
    }

    /// Its answer is ready.
    pub(super) fn answered(&self) {
        self.0.store(IDLE, Ordering::Relaxed);
    }

    fn bytes_came(&self) {
        let _ = self.0.compare_exchange(IDLE, HEAD, Ordering::Relaxed, Ordering::Relaxed);
    }

    fn is_head(&self) -> bool {
        self.0.load(Ordering::Relaxed) == HEAD
    }
}

/// A stream that fails with [`io::ErrorKind::TimedOut`] when its client takes too long.
#[derive(Debug)]
pub(super) struct Paced<S> {
    stream: S,
    phase: Phase,
    time_max: Duration,
    head: Option<Pin<Box<Sleep>>>,
    write: Option<Pin<Box<Sleep>>>,
}

impl<S> Paced<S> {
    pub(super) fn new(stream: S, phase: Phase, time_max: Duration) -> Self {
        Self { stream, phase, time_max, head: None, write: None }
    }

    /// The result of a write, or a failure when none has got on for too long. The timer is made only when the
    /// client's window is full, which it hardly ever is.
    fn written<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.write = None;
            return result;
        }
        wait(&mut self.write, self.time_max, cx)
    }
}

fn wait<T>(
    timer: &mut Option<Pin<Box<Sleep>>>,
    time_max: Duration,
    cx: &mut Context<'_>,
) -> Poll<io::Result<T>> {
    let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(time_max)));
    timer.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        let result = Pin::new(&mut me.stream).poll_read(cx, to);
        if result.is_ready() {
            me.phase.bytes_came();
        }
        if !me.phase.is_head() {
            me.head = None;
        } else if result.is_pending() {
            // The timer runs on over the reads of one head: a byte now and then doesn't put it off.
            return wait(&mut me.head, me.time_max, cx);
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let me = self.get_mut();
        let result = Pin::new(&mut me.stream).poll_write(cx, from);
        me.written(cx, result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let me = self.get_mut();
        let result = Pin::new(&mut me.stream).poll_write_vectored(cx, from);
        me.written(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        let result = Pin::new(&mut me.stream).poll_flush(cx);
        me.written(cx, result)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        let result = Pin::new(&mut me.stream).poll_shutdown(cx);
        me.written(cx, result)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    const SHORT: Duration = Duration::from_millis(40);

    #[tokio::test]
    async fn a_head_that_drips_is_given_up() {
        let (mut client, server) = duplex(64);
        let mut paced = Paced::new(server, Phase::new(), SHORT);
        let dripping = tokio::spawn(async move {
            while client.write_all(b"x").await.is_ok() {
                tokio::time::sleep(SHORT / 4).await;
            }
        });
        let mut all = Vec::new();
        assert_eq!(paced.read_to_end(&mut all).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(all.len() < 10, "{}", all.len());
        drop(paced);
        dripping.await.unwrap();
    }

    #[tokio::test]
    async fn an_answer_under_way_and_an_idle_connection_are_left_alone() {
        let (_client, server) = duplex(64);
        let phase = Phase::new();
        let mut paced = Paced::new(server, phase.clone(), SHORT);
        for tell in [Phase::request, Phase::answered] {
            tell(&phase);
            let read = tokio::time::timeout(SHORT * 3, paced.read_u8()).await;
            assert!(read.is_err(), "{read:?}");
        }
    }

    #[tokio::test]
    async fn the_first_byte_after_an_answer_starts_the_time_again() {
        let (mut client, server) = duplex(64);
        let phase = Phase::new();
        let mut paced = Paced::new(server, phase.clone(), SHORT);
        phase.request();
        phase.answered();
        client.write_all(b"G").await.unwrap();
        assert_eq!(paced.read_u8().await.unwrap(), b'G');
        assert_eq!(paced.read_u8().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_is_given_up() {
        let (_client, server) = duplex(8);
        let mut paced = Paced::new(server, Phase::new(), SHORT);
        assert_eq!(paced.write_all(&[0; 64]).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
