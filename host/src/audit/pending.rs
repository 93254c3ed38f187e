//! Calls and sends whose intents are on the disk.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::call::Call;
use super::entry::{Begun, Entry, LedgerStep, Reply};
use super::plan::{SendBegin, SendPlan};
use super::progress::{OpenSend, SendEnd};
use super::{AuditError, Outcome, SendResult, Trail, outcome};
use crate::audit::{CallBegun, Event, SendBegun, SendKnown, SendRefused};
use crate::connection::TypedSend;
use crate::egress::Handover;
use crate::ids::{CallId, Realm, ReservationId};
use crate::ledger::{CallLimit, Refund, Reservation, Settlement, call_lines};
use crate::policy::Permitted;
use crate::refusal::{Code, RequestSent};
use crate::text::visible;

/// A call whose intent is on the disk; or that goes there with the first thing that comes of it, before anything is
/// sent.
///
/// INVARIANT (no orphan): dropping it unfinished records that the call was cancelled, and its open sends with it.
#[must_use = "a call that is dropped is recorded as cancelled"]
pub struct Pending {
    call: Arc<Call>,
}

/// A send whose intent is on the disk. Dropping it unfinished records that nobody knows what came of it, or that it was not
/// sent, where no connection had it.
#[must_use = "a send that is dropped is recorded as cancelled"]
pub struct PendingSend {
    call: Arc<Call>,
    send: u32,
    /// Which attempt at this write it is to the upstream.
    pub(super) attempt: u32,
    handover: Handover,
    /// What its reply gives back to budgets.
    refund: Option<Box<Refund>>,
}

/// An answer whose record is on the disk.
///
/// INVARIANT (recorded): built only by [`Pending::finish`]. The doors answer tool calls with nothing else.
#[derive(Debug)]
pub struct Audited<T>(T);

impl<T> Audited<T> {
    /// The answer.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl Pending {
    pub(super) async fn begin(
        trail: &Arc<Trail>,
        id: CallId,
        realm: Realm,
        intent: Event,
        limits: &[CallLimit],
    ) -> Result<Self, AuditError> {
        let has_places = !limits.is_empty();
        let call = Call::new(trail, id.clone(), realm.clone(), has_places);
        let places = has_places.then(|| Reservation {
            id: ReservationId { call: id.clone(), send: 0 },
            realm: realm.clone(),
            connection: None,
            operation: None,
            cost: None,
            lines: call_lines(&realm, limits),
            dedup: None,
            at: call.begun_at,
        });
        let guard = Self { call: Arc::new(call) };
        let (reply, begun) = oneshot::channel();
        let mut entry = Entry::new(Some(realm), Some(id), intent, Reply::Call(guard, reply));
        entry.ledger = places.map(|places| LedgerStep::Reserve(Box::new(places)));
        trail.queue.push_intent(entry);
        trail.flush();
        begun.await.unwrap_or_else(|_| Err(AuditError::stopped()))
    }

    /// A call that is nothing but a request to be forwarded. Its intent goes with what comes of it, unless the call takes
    /// places, the queue has no room or the trail couldn't be written when that was tried last: then it goes first, so that
    /// no outcomes pile up for calls that can't be recorded.
    pub(super) async fn begin_forward(
        trail: &Arc<Trail>,
        id: CallId,
        realm: Realm,
        intent: CallBegun,
        limits: &[CallLimit],
    ) -> Result<Self, AuditError> {
        if limits.is_empty() && trail.queue.is_open() {
            return Ok(Self::begin_with_send(trail, id, realm, intent));
        }
        Self::begin(trail, id, realm, Event::CallBegun(intent), limits).await
    }

    /// A call of which there's nothing that it could do before its request has an intent of its own, so both are written
    /// together.
    fn begin_with_send(trail: &Arc<Trail>, id: CallId, realm: Realm, intent: CallBegun) -> Self {
        let call = Call::new(trail, id.clone(), realm.clone(), false);
        call.progress().first = Some(Box::new(Entry::outcome(realm, id, Event::CallBegun(intent))));
        Self { call: Arc::new(call) }
    }

    /// Has the call's own intent on the disk when this resolves, where that would still wait for what comes of it: for
    /// records of others that belong to the call.
    ///
    /// # Errors
    /// As for [`Self::send_begun`]; the intent goes with what comes of the call then.
    pub async fn recorded(&self) -> Result<(), AuditError> {
        let Some(mut first) = self.call.progress().first.take() else { return Ok(()) };
        let (reply, written) = oneshot::channel();
        first.reply = Reply::First(Arc::clone(&self.call), reply);
        self.call.push_intent(*first);
        written.await.unwrap_or_else(|_| Err(AuditError::stopped()))
    }

    /// The call's id.
    #[must_use]
    pub fn call(&self) -> &CallId {
        &self.call.id
    }

    /// What is known so far of whether any upstream has seen a request of this call. A send that is under way may
    /// have been seen.
    #[must_use]
    pub fn request_sent(&self) -> RequestSent {
        self.call.progress().request_sent()
    }

    /// Records the intent to send a request, and reserves what it takes: both are on the disk when this resolves, or
    /// neither. Sends are numbered from 1; a number whose intent couldn't be written isn't used again.
    ///
    /// # Errors
    /// [`AuditError::Full`] and [`AuditError::Unavailable`]: nothing was recorded, so nothing may be sent.
    pub async fn send_begun(
        &self,
        permit: &Permitted<TypedSend>,
        plan: SendPlan,
    ) -> Result<SendBegin, AuditError> {
        let send = permit.request();
        let begun = self.begin_send(|number| {
            let intent = SendBegun {
                send: number,
                connection: send.connection_name().clone(),
                operation: send.operation_name().clone(),
                request: send.request().digest(),
                body_bytes: outcome::size(send.request().body_bytes().len()),
                secret: send.secret().clone(),
                user: send.user().cloned(),
                cost: send.cost().cloned(),
                budgets: plan.takes.as_ref().map_or(0, |takes| outcome::size(takes.lines.iter().len())),
                approval: plan.approval,
                policy: plan.policy,
                question: plan.question,
                key: send.key().map(str::to_owned),
            };
            let reservation = plan.takes.map(|takes| {
                let id = ReservationId { call: self.call.id.clone(), send: number };
                let what = (send.connection_name().clone(), send.operation_name().clone());
                takes.reservation(id, self.call.realm.clone(), what, send.cost().cloned())
            });
            (intent, reservation)
        });
        Ok(match begun.await? {
            Begun::Yes(send) => SendBegin::Begun(send),
            Begun::No(refused) => SendBegin::Refused(refused),
        })
    }

    /// Records that the call asked for a request that was refused before it began. It isn't waited for: the row lies
    /// before the call's next one, and goes to the disk with it, or after 100 ms if that's earlier.
    pub fn send_refused(&self, connection: &str, code: Code, known: SendKnown) {
        let refused = Event::SendRefused(SendRefused { connection: visible(connection, 64), code, known });
        let mut entry = Entry::outcome(self.call.realm.clone(), self.call.id.clone(), refused);
        let mut progress = self.call.progress();
        entry.first = progress.first.take();
        self.call.trail.queue.push_outcomes([entry]);
    }

    pub(super) async fn begin_send(
        &self,
        intent: impl FnOnce(u32) -> (SendBegun, Option<Reservation>),
    ) -> Result<Begun, AuditError> {
        let (reply, begun) = oneshot::channel();
        let send = self.call.progress().open_send(self.call.trail.clock.now());
        let (intent, reservation) = intent(send);
        if reservation.is_some() {
            self.call.progress().reserve(send);
        }
        let handover = Handover::default();
        let guard = PendingSend {
            call: Arc::clone(&self.call),
            send,
            attempt: 0,
            handover: handover.clone(),
            refund: None,
        };
        let (realm, id) = (self.call.realm.clone(), self.call.id.clone());
        let (event, reply) = (Event::SendBegun(intent), Reply::Send(guard, reply));
        let mut entry = Entry::new(Some(realm), Some(id), event, reply);
        entry.ledger = reservation.map(|reservation| LedgerStep::Reserve(Box::new(reservation)));
        entry.first = self.call.progress().first.take();
        self.call.push_intent(entry);
        let begun = begun.await.unwrap_or_else(|_| Err(AuditError::stopped()))?;
        // There's no await between here and the caller: from now on it can send.
        self.call.progress().hand_over(send, handover);
        Ok(begun)
    }

    /// Records what came of the call, and of its sends before. Both are on the disk when this resolves, and `value`
    /// may leave the host.
    ///
    /// # Errors
    /// [`AuditError::Unavailable`]: `value` is gone, since its record couldn't be written. As soon as the trail can be
    /// written again, the call is recorded as failed.
    pub async fn finish<T>(self, outcome: Outcome, value: T) -> Result<Audited<T>, AuditError> {
        let (reply, written) = oneshot::channel();
        self.call.close(outcome, Reply::Written(reply));
        written.await.unwrap_or_else(|_| Err(AuditError::stopped()))?;
        Ok(Audited(value))
    }

    /// The intent wasn't written, so there's nothing to finish.
    pub(super) fn never_began(&self) {
        self.call.progress().over = true;
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.call.close(Outcome::cancelled(), Reply::Nobody);
    }
}

impl PendingSend {
    /// Which send of its call this is, from 1.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.send
    }

    /// Which attempt at this write it is to the upstream; 0 for the first, and for what isn't recognised again.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// What tells which secret was attached, and whether a connection has the request: for whoever sends it.
    pub(crate) fn handover(&self) -> &Handover {
        &self.handover
    }

    /// Has what the upstream confirmed as refunded given back to budgets, in the transaction that records the outcome.
    pub fn give_back(&mut self, refund: Refund) {
        self.refund = Some(Box::new(refund));
    }

    /// Records what came of the send. It isn't waited for: the row lies before the call's next one, and goes to the disk
    /// with it, or after 100 ms if that's earlier.
    ///
    /// `settlement` is what becomes of what was reserved, in the same transaction; `reply` what a repetition of the same
    /// write gets: sealed bytes.
    pub fn finished(mut self, result: SendResult, settlement: Settlement, reply: Option<Vec<u8>>) {
        let refund = self.refund.take();
        self.call.close_send(self.send, |_| SendEnd { result, settlement, reply, refund });
    }

    /// The intent was written.
    pub(super) fn began(&self) {
        self.call.decided(|_| {});
    }

    /// The intent wasn't written, so there's nothing to finish. If `first` wasn't either, it goes with what comes next.
    pub(super) fn never_began(&self, first: Option<Box<Entry>>) {
        self.call.decided(|progress| {
            progress.take_back(self.send);
            progress.first = first.or(progress.first.take());
        });
    }
}

impl Drop for PendingSend {
    fn drop(&mut self) {
        self.call.close_send(self.send, OpenSend::abandoned);
    }
}
