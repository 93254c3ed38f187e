//! A request's body, capped in size and time.

use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;

use crate::refusal::{Code, Refusal};

/// How much of a body past its cap, or of one that a route leaves unread, is read and thrown away. A client that is still sending often doesn't look for
/// the answer, and closing on it can destroy the answer that says what is wrong.
pub(super) const DISCARD_BYTES_MAX: usize = 1 << 20;

/// Reads a body of at most `bytes_max` bytes, within `time_max`.
///
/// # Errors
/// [`Code::TooLarge`], [`Code::DeadlineExceeded`] when it doesn't arrive in time, [`Code::BadRequest`] when it breaks
/// off or is wrongly framed.
pub(super) async fn read(body: Body, bytes_max: usize, time_max: Duration) -> Result<Bytes, Refusal> {
    read_past(body, bytes_max, DISCARD_BYTES_MAX, time_max, &mut |_| {}).await
}

/// The same, and of a body that is too large `past` gets to see all parts, from the first on, up to
/// `discard_bytes_max` bytes beyond the cap.
///
/// # Errors
/// As for [`read`].
pub(super) async fn read_past(
    body: Body,
    bytes_max: usize,
    discard_bytes_max: usize,
    time_max: Duration,
    past: &mut (dyn FnMut(&[u8]) + Send),
) -> Result<Bytes, Refusal> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let last = bytes_max.saturating_add(discard_bytes_max);
    match tokio::time::timeout(time_max, gather(body, bytes_max, last, past)).await {
        Ok(result) => result,
        Err(_) => Err(Refusal::new(
            Code::DeadlineExceeded,
            format!("the request's body did not arrive within {} ms", time_max.as_millis()),
        )),
    }
}

async fn gather(
    mut body: Body,
    bytes_max: usize,
    last: usize,
    past: &mut (dyn FnMut(&[u8]) + Send),
) -> Result<Bytes, Refusal> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > last {
        return Err(too_large(bytes_max));
    }
    // Nearly every body arrives as one frame, which is then handed on without a copy.
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    let mut length = 0_usize;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| {
            Refusal::new(Code::BadRequest, "the request's body broke off or is not framed as its headers say")
        })?;
        let Ok(data) = frame.into_data() else { continue };
        length = length.saturating_add(data.len());
        if length > bytes_max {
            // What was kept so far comes first; the first frame stands in `rest` too once there's a second one.
            past(if rest.is_empty() { &first } else { &rest });
            past(&data);
            (first, rest) = (Bytes::new(), BytesMut::new());
            if length > last {
                break;
            }
        } else if first.is_empty() {
            first = data;
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&first);
            }
            rest.extend_from_slice(&data);
        }
    }
    if length > bytes_max {
        return Err(too_large(bytes_max));
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}

fn too_large(bytes_max: usize) -> Refusal {
    Refusal::new(Code::TooLarge, format!("the request's body is larger than {bytes_max} bytes"))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use hyper::body::Frame;

    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    /// A body in frames, and what comes after the last: its end, nothing ever, or one byte after the other.
    struct Frames(Vec<&'static str>, After);

    #[derive(Clone, Copy)]
    enum After {
        End,
        Silence,
        Drip,
    }

    impl hyper::body::Body for Frames {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let next = (!self.0.is_empty()).then(|| self.0.remove(0));
            match (next, self.1) {
                (Some(text), _) => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(text.as_bytes()))))),
                (None, After::End) => Poll::Ready(None),
                (None, After::Silence) => Poll::Pending,
                (None, After::Drip) => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x"))))),
            }
        }
    }

    async fn read_frames(frames: &[&'static str], after: After, bytes_max: usize) -> Result<Bytes, Refusal> {
        read(Body::new(Frames(frames.to_vec(), after)), bytes_max, LONG).await
    }

    #[tokio::test]
    async fn bodies_up_to_the_cap_are_read_whole() {
        assert_eq!(read(Body::empty(), 0, LONG).await.unwrap(), "");
        assert_eq!(read(Body::from("1234"), 4, LONG).await.unwrap(), "1234");
        assert_eq!(read_frames(&["12", "3", "4"], After::End, 4).await.unwrap(), "1234");
        assert_eq!(read_frames(&["", "12", "", "34"], After::End, 4).await.unwrap(), "1234");
    }

    #[tokio::test]
    async fn bodies_over_the_cap_are_refused_however_they_are_framed() {
        assert_eq!(read(Body::from("12345"), 4, LONG).await.unwrap_err().code, Code::TooLarge);
        for frames in [&["12", "34", "5"][..], &["12345", "6"], &["12345"]] {
            assert_eq!(read_frames(frames, After::End, 4).await.unwrap_err().code, Code::TooLarge);
        }
    }

    #[tokio::test]
    async fn what_is_thrown_away_can_be_looked_at_up_to_the_end() {
        for frames in [&["12345", "67", "8"][..], &["1", "2", "3456", "78"], &["12345678"]] {
            let mut seen = Vec::new();
            let body = Body::new(Frames(frames.to_vec(), After::End));
            let read = read_past(body, 4, 4, LONG, &mut |part: &[u8]| seen.extend_from_slice(part)).await;
            assert_eq!((read.unwrap_err().code, seen), (Code::TooLarge, b"12345678".to_vec()), "{frames:?}");
        }
        let mut seen = 0;
        let body = Body::new(Frames(vec![], After::Drip));
        let read = read_past(body, 4, 4, LONG, &mut |part: &[u8]| seen += part.len()).await;
        assert_eq!((read.unwrap_err().code, seen), (Code::TooLarge, 9));
    }

    #[tokio::test]
    async fn a_body_without_end_is_given_up() {
        assert_eq!(read_frames(&[], After::Drip, 4).await.unwrap_err().code, Code::TooLarge);
    }

    #[tokio::test]
    async fn a_body_that_stops_is_given_up() {
        let body = Body::new(Frames(vec!["{"], After::Silence));
        let refusal = read(body, 4, Duration::from_millis(20)).await.unwrap_err();
        assert_eq!(refusal.code, Code::DeadlineExceeded);
    }
}
