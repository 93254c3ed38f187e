//! A call behind its guards: it queues what comes of itself and of its sends.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::entry::{Entry, Finish, LedgerStep, Reply};
use super::progress::{End, OpenSend, Progress, SendEnd};
use super::{Outcome, Trail};
use crate::audit::{CallFinished, Event, SendFinished};
use crate::clock::Millis;
use crate::ids::{CallId, Realm, ReservationId};
use crate::ledger::Settlement;

/// A call, for as long as it or one of its sends is open.
pub(super) struct Call {
    pub(super) trail: Arc<Trail>,
    pub(super) id: CallId,
    pub(super) realm: Realm,
    pub(super) begun_at: Millis,
    /// Whether it has taken places among its agents' calls at once.
    has_places: bool,
    progress: Mutex<Progress>,
}

impl Call {
    pub(super) fn new(trail: &Arc<Trail>, id: CallId, realm: Realm, has_places: bool) -> Self {
        trail.queue.begun();
        let begun_at = trail.clock.now();
        Self { trail: Arc::clone(trail), id, realm, begun_at, has_places, progress: Mutex::default() }
    }

    /// Queues an intent of the call's, which begins nothing until it's [decided](Self::decided).
    pub(super) fn push_intent(&self, intent: Entry) {
        self.progress().waiting += 1;
        self.trail.queue.push_intent(intent);
        self.trail.flush();
    }

    /// An intent was written, or is never going to be; `note` says what that changes.
    pub(super) fn decided(&self, note: impl FnOnce(&mut Progress)) {
        let mut progress = self.progress();
        progress.waiting -= 1;
        note(&mut progress);
        self.queue_end(progress);
    }

    /// Ends the call, once: whatever comes later finds it over.
    pub(super) fn close(&self, outcome: Outcome, reply: Reply) {
        let mut progress = self.progress();
        if progress.over {
            return;
        }
        progress.over = true;
        progress.end = Some(End { outcome, at: self.trail.clock.now(), reply });
        self.queue_end(progress);
    }

    /// Queues the outcome, if the call has ended and none of its intents waits: only what is in the trail is closed there.
    fn queue_end(&self, mut progress: MutexGuard<'_, Progress>) {
        if progress.waiting > 0 {
            return;
        }
        let Some(End { outcome, at, reply }) = progress.end.take() else { return };
        let open = std::mem::take(&mut progress.open);
        let mut entries: Vec<_> = open
            .iter()
            .map(|open| {
                let end = open.abandoned();
                progress.request_sent = progress.request_sent.and(end.result.request_sent);
                self.send_finished(open, end, at)
            })
            .collect();
        let (result, result_bytes) = outcome.result.unzip();
        let finished = CallFinished {
            mark: outcome.mark,
            code: outcome.code,
            request_sent: progress.request_sent,
            sends: progress.sends,
            result,
            result_bytes: result_bytes.unwrap_or(0),
            took_ms: took_ms(self.begun_at, at),
        };
        let mut last = Entry::outcome(self.realm.clone(), self.id.clone(), Event::CallFinished(finished));
        last.reply = reply;
        last.ledger = self.has_places.then(|| {
            let id = ReservationId { call: self.id.clone(), send: 0 };
            let settlement = Settlement::Release;
            LedgerStep::Finish(Box::new(Finish { id, settlement, status: None, reply: None, refund: None }))
        });
        entries.push(last);
        if let Some(earliest) = entries.first_mut() {
            earliest.first = progress.first.take();
        }
        self.trail.queue.push_outcomes(entries);
        // Writing may drop guards of this very call, which look at its progress.
        drop(progress);
        self.trail.flush();
    }

    /// Queues what came of a send, once.
    pub(super) fn close_send(&self, send: u32, end: impl FnOnce(&OpenSend) -> SendEnd) {
        let now = self.trail.clock.now();
        let mut progress = self.progress();
        let Some(index) = progress.open.iter().position(|open| open.send == send) else { return };
        let open = progress.open.remove(index);
        let end = end(&open);
        progress.request_sent = progress.request_sent.and(end.result.request_sent);
        // Queued under the lock, so that the call's own outcome can't come first.
        self.trail.queue.push_outcomes([self.send_finished(&open, end, now)]);
    }

    fn send_finished(&self, open: &OpenSend, end: SendEnd, now: Millis) -> Entry {
        let SendEnd { result, settlement, reply: kept, refund } = end;
        let (reply, reply_bytes) = result.reply.unzip();
        let finished = SendFinished {
            send: open.send,
            status: result.status,
            failure: result.failure,
            request_sent: result.request_sent,
            secret_version: open.secret_version(),
            settlement: open.reserved.then(|| settlement.as_str().to_owned()),
            refunded: refund.as_ref().map(|refund| refund.amount.clone()),
            reply,
            reply_bytes: reply_bytes.unwrap_or(0),
            took_ms: took_ms(open.begun_at, now),
        };
        let mut entry = Entry::outcome(self.realm.clone(), self.id.clone(), Event::SendFinished(finished));
        entry.ledger = (open.reserved || refund.is_some()).then(|| {
            let id = ReservationId { call: self.id.clone(), send: open.send };
            LedgerStep::Finish(Box::new(Finish {
                id,
                settlement,
                status: result.status,
                reply: kept,
                refund,
            }))
        });
        entry
    }

    pub(super) fn progress(&self) -> MutexGuard<'_, Progress> {
        // No critical section can panic half way: they move plain values.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.trail.queue.ended();
    }
}

fn took_ms(from: Millis, to: Millis) -> u32 {
    u32::try_from(to.0.saturating_sub(from.0).max(0)).unwrap_or(u32::MAX)
}
