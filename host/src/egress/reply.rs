//! What came off the wire → what a tool may have.
//!
//! In this order: the head's size, the body whole and capped, decompressed and capped again, the leak sweep over all
//! headers and the body, and last the allow-list of headers. The sweep comes before the allow-list, because a header
//! that would be dropped still shows that the upstream sends secrets back. A long body is decompressed and swept aside.

use std::io::Read as _;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName};
use tokio::time::{Instant, timeout_at};

use super::aside::{Aside, SHORT_BYTES_MAX};
use super::wire::{WireBody, WireReply};
use super::{Reply, Sweep};
use crate::connection::Connection;
use crate::refusal::{FailureReason, RequestSent, SendFailure};

/// The most headers that a reply may have. Real APIs send about thirty.
pub(super) const HEADERS_MAX: usize = 96;
/// The most bytes that a reply's headers may have, names and values together.
const HEADER_BYTES_MAX: usize = 32 * 1024;

/// Reads, checks and cleans a reply.
pub(super) async fn clean(
    reply: WireReply,
    connection: &Connection,
    deadline: Instant,
    aside: &Aside,
    sweep: &Arc<Sweep>,
    secret_version: u32,
) -> Result<Reply, SendFailure> {
    let WireReply { status, headers, mut body } = reply;
    if !(200..=599).contains(&status) {
        return Err(refused("the upstream answered with a status that means nothing"));
    }
    check_head(&headers)?;
    let encoding = Encoding::of(&headers)?;
    let cap = connection.response_bytes_max;
    let body = read(body.as_mut(), cap, deadline).await?;
    let unswept = Unswept { head: head_text(&headers), body, encoding, sweep: sweep.clone() };
    let body = match unswept.body(cap.min(SHORT_BYTES_MAX))? {
        Some(body) => body,
        None => match aside.run(deadline, move || unswept.body(cap)).await {
            Some(body) => body?.ok_or_else(|| too_large(cap))?,
            None => {
                return Err(after_reply(
                    FailureReason::Timeout,
                    "the upstream answered, and its reply couldn't be searched for the credential in time",
                ));
            }
        },
    };
    Ok(Reply {
        status,
        headers: allowed(&headers, connection),
        body,
        announced: announced(&headers, encoding),
        secret_version,
        sweep: sweep.clone(),
    })
}

/// A reply that hasn't been searched yet.
struct Unswept {
    head: Vec<u8>,
    body: Bytes,
    encoding: Encoding,
    sweep: Arc<Sweep>,
}

impl Unswept {
    /// The body, decompressed, where the secret is neither in it nor in the head. `None`: it's larger than `max`.
    fn body(&self, max: usize) -> Result<Option<Bytes>, SendFailure> {
        let Some(body) = self.encoding.decode(&self.body, max)? else { return Ok(None) };
        if self.sweep.finds(&self.head) || self.sweep.finds(&body) {
            return Err(refused(
                "the upstream sent the credential back, so its reply was thrown away; tell the operator",
            ));
        }
        Ok(Some(body))
    }
}

fn check_head(headers: &HeaderMap) -> Result<(), SendFailure> {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if headers.len() > HEADERS_MAX || bytes > HEADER_BYTES_MAX {
        return Err(after_reply(
            FailureReason::ResponseTooLarge,
            "the upstream's reply has more headers than the host takes",
        ));
    }
    Ok(())
}

async fn read(body: &mut dyn WireBody, cap: usize, deadline: Instant) -> Result<Bytes, SendFailure> {
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    loop {
        let piece = match timeout_at(deadline, body.next()).await {
            Err(_) => {
                return Err(after_reply(
                    FailureReason::Timeout,
                    "the upstream began to answer and didn't finish in time",
                ));
            }
            Ok(Err(error)) => {
                let broken = "the upstream began to answer and hung up";
                return Err(after_reply(FailureReason::Unreachable, broken).because(error.cause));
            }
            Ok(Ok(None)) => break,
            Ok(Ok(Some(piece))) => piece,
        };
        if first.len() + whole.len() + piece.len() > cap {
            return Err(too_large(cap));
        }
        // Most bodies come in one piece, which needn't be copied.
        if first.is_empty() && whole.is_empty() {
            first = piece;
        } else {
            whole.extend_from_slice(&std::mem::take(&mut first));
            whole.extend_from_slice(&piece);
        }
    }
    Ok(if whole.is_empty() { first } else { whole.freeze() })
}

/// How a body is compressed. The host asks for gzip and takes deflate too; whatever it can't look into is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Identity,
    Gzip,
    Deflate,
}

impl Encoding {
    fn of(headers: &HeaderMap) -> Result<Self, SendFailure> {
        let content = only(headers, CONTENT_ENCODING);
        // The HTTP library undoes `chunked` and hands on what any other transfer coding has made of a body.
        let known = match (only(headers, TRANSFER_ENCODING).as_deref(), content.as_deref()) {
            (Some(b"" | b"chunked"), Some(b"" | b"identity")) => Some(Self::Identity),
            (Some(b"" | b"chunked"), Some(b"gzip" | b"x-gzip")) => Some(Self::Gzip),
            (Some(b"" | b"chunked"), Some(b"deflate")) => Some(Self::Deflate),
            _ => None,
        };
        known.ok_or_else(|| {
            refused("the upstream's reply is compressed in a way that the host can't look into")
        })
    }

    /// A body as it was before. `None`: it's larger than `max`, compressed or not.
    fn decode(self, body: &Bytes, max: usize) -> Result<Option<Bytes>, SendFailure> {
        if body.len() > max {
            return Ok(None);
        }
        if body.is_empty() {
            return Ok(Some(Bytes::new()));
        }
        // One byte over the limit shows that there's more.
        let limit = max as u64 + 1;
        let mut plain = Vec::new();
        let read = match self {
            Self::Identity => return Ok(Some(body.clone())),
            Self::Gzip => MultiGzDecoder::new(body.as_ref()).take(limit).read_to_end(&mut plain),
            Self::Deflate => ZlibDecoder::new(body.as_ref()).take(limit).read_to_end(&mut plain),
        };
        match read {
            Ok(_) if plain.len() > max => Ok(None),
            Ok(_) => Ok(Some(plain.into())),
            Err(error) => {
                Err(refused("the upstream's reply can't be decompressed").because(error.to_string()))
            }
        }
    }
}

/// A header's value in lower case, empty where there's none. `None`: there's more than one.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<Vec<u8>> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().map(|value| value.as_bytes().trim_ascii().to_ascii_lowercase());
    values.next().is_none().then(|| value.unwrap_or_default())
}

/// The length that the head gives a body which isn't compressed.
fn announced(headers: &HeaderMap, encoding: Encoding) -> Option<u64> {
    let length = only(headers, CONTENT_LENGTH).filter(|_| encoding == Encoding::Identity)?;
    std::str::from_utf8(&length).ok()?.parse().ok()
}

/// All headers as one text to sweep, with a byte between them that stands in no escape.
fn head_text(headers: &HeaderMap) -> Vec<u8> {
    const BETWEEN: u8 = 0x1f;
    let mut text = Vec::with_capacity(1024);
    for (name, value) in headers {
        text.extend_from_slice(name.as_str().as_bytes());
        text.push(BETWEEN);
        text.extend_from_slice(value.as_bytes());
        text.push(BETWEEN);
    }
    text
}

/// The headers that the connection lets through. A value that isn't visible ASCII is left out.
fn allowed(headers: &HeaderMap, connection: &Connection) -> Vec<(String, String)> {
    let listed =
        |name: &HeaderName| connection.response_headers.iter().any(|allowed| allowed == name.as_str());
    headers
        .iter()
        .filter(|(name, _)| listed(name))
        .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
        .collect()
}

fn after_reply(reason: FailureReason, message: impl Into<String>) -> SendFailure {
    SendFailure::unsent(reason, message).sent(RequestSent::Yes)
}

fn refused(message: &str) -> SendFailure {
    after_reply(FailureReason::ResponseRefused, message)
}

fn too_large(cap: usize) -> SendFailure {
    after_reply(
        FailureReason::ResponseTooLarge,
        format!("the upstream's reply is larger than the {cap} bytes that the connection allows"),
    )
}
