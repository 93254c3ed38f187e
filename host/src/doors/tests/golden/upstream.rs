//! The upstream of the corpus: it counts what reaches it, and answers as it's told.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::HeaderMap;

use crate::egress::{BoxFuture, Pieces, Wire, WireError, WireErrorKind, WireReply, WireRequest};
use crate::refusal::RequestSent;

/// What the upstream does with the next requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mood {
    /// It answers so.
    Answers(u16, String),
    /// It takes requests and never answers.
    Silent,
    /// It can't be reached.
    Gone,
}

pub(super) struct Upstream {
    seen: AtomicUsize,
    mood: Mutex<Mood>,
}

impl Upstream {
    pub(super) fn new() -> Self {
        Self { seen: AtomicUsize::new(0), mood: Mutex::new(Mood::Answers(200, "{}".to_owned())) }
    }

    pub(super) fn be(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// How many requests have reached it.
    pub(super) fn seen(&self) -> usize {
        self.seen.load(Ordering::SeqCst)
    }
}

impl Wire for Upstream {
    fn exchange(
        &self,
        _: WireRequest,
        _: tokio::time::Instant,
    ) -> BoxFuture<'_, Result<WireReply, WireError>> {
        let mood = self.mood.lock().unwrap().clone();
        if mood != Mood::Gone {
            self.seen.fetch_add(1, Ordering::SeqCst);
        }
        Box::pin(async move {
            match mood {
                Mood::Answers(status, body) => Ok(WireReply {
                    status,
                    headers: HeaderMap::new(),
                    body: Box::new(Pieces::from(Bytes::from(body))),
                }),
                Mood::Silent => std::future::pending().await,
                Mood::Gone => Err(WireError {
                    kind: WireErrorKind::Connect,
                    request_sent: RequestSent::No,
                    cause: "told to".to_owned(),
                }),
            }
        })
    }
}
