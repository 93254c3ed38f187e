//! How far a call and its sends have come: plain values, which the guards of `pending` change.

use super::entry::{Entry, Reply};
use super::{Outcome, SendResult};
use crate::clock::Millis;
use crate::egress::Handover;
use crate::ledger::{Refund, Settlement};
use crate::refusal::RequestSent;

/// How far a call and its sends have come.
pub(super) struct Progress {
    /// The number of the newest send. It's never given to another, even if its intent wasn't written: a guard that
    /// still is about to go must not close another's send.
    newest: u32,
    /// How many sends were begun.
    pub(super) sends: u32,
    /// Those that haven't finished.
    pub(super) open: Vec<OpenSend>,
    /// What is known from those that have.
    pub(super) request_sent: RequestSent,
    /// Whether the call has ended, or never began.
    pub(super) over: bool,
    /// How many of its intents the writer has yet to write or to refuse, apart from the one that began it.
    pub(super) waiting: u32,
    /// How the call ended, until its outcome is queued: what that says of its sends is known once no intent waits.
    pub(super) end: Option<End>,
    /// The call's own intent, until the first row that comes of it takes it along.
    pub(super) first: Option<Box<Entry>>,
}

/// How a call ended.
pub(super) struct End {
    pub(super) outcome: Outcome,
    pub(super) at: Millis,
    /// Who waits for the record of it.
    pub(super) reply: Reply,
}

/// A send that hasn't finished.
pub(super) struct OpenSend {
    pub(super) send: u32,
    pub(super) begun_at: Millis,
    /// What tells of the wire, once the pipeline has got hold of it. As long as it hasn't, surely nothing was sent.
    handover: Option<Handover>,
    /// Whether something is reserved for it.
    pub(super) reserved: bool,
}

/// What became of a send, and what the ledger does about it.
pub(super) struct SendEnd {
    pub(super) result: SendResult,
    pub(super) settlement: Settlement,
    /// The reply, sealed, for a repetition of the same write.
    pub(super) reply: Option<Vec<u8>>,
    pub(super) refund: Option<Box<Refund>>,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            newest: 0,
            sends: 0,
            open: Vec::new(),
            request_sent: RequestSent::No,
            over: false,
            waiting: 0,
            end: None,
            first: None,
        }
    }
}

impl Progress {
    pub(super) fn open_send(&mut self, begun_at: Millis) -> u32 {
        self.newest += 1;
        self.sends += 1;
        self.open.push(OpenSend { send: self.newest, begun_at, handover: None, reserved: false });
        self.newest
    }

    pub(super) fn reserve(&mut self, send: u32) {
        if let Some(open) = self.open.iter_mut().find(|open| open.send == send) {
            open.reserved = true;
        }
    }

    pub(super) fn hand_over(&mut self, send: u32, handover: Handover) {
        if let Some(open) = self.open.iter_mut().find(|open| open.send == send) {
            open.handover = Some(handover);
        }
    }

    /// Forgets a send that didn't get into the trail.
    pub(super) fn take_back(&mut self, send: u32) {
        if let Some(index) = self.open.iter().position(|open| open.send == send) {
            self.open.remove(index);
            self.sends -= 1;
        }
    }

    pub(super) fn request_sent(&self) -> RequestSent {
        let open = self.open.iter().map(|open| open.request_sent());
        open.fold(self.request_sent, RequestSent::and)
    }
}

impl OpenSend {
    /// What becomes of it when nobody saw its end.
    pub(super) fn abandoned(&self) -> SendEnd {
        let request_sent = self.request_sent();
        let settlement = match request_sent {
            RequestSent::No => Settlement::Release,
            RequestSent::Yes | RequestSent::Unknown => Settlement::Hold,
        };
        SendEnd { result: SendResult::abandoned(request_sent), settlement, reply: None, refund: None }
    }

    /// The version of the secret that was attached to it, if one was.
    pub(super) fn secret_version(&self) -> Option<u32> {
        self.handover.as_ref().and_then(Handover::secret_version)
    }

    /// What is known of the wire while nobody has seen its end.
    pub(super) fn request_sent(&self) -> RequestSent {
        self.handover.as_ref().map_or(RequestSent::No, Handover::request_sent)
    }
}
