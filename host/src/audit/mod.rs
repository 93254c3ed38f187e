//! The audit trail: intents before acts, outcomes before answers, rows chained by hash.
//!
//! ```text
//! Audit::begin → Pending ─ send_begun → PendingSend ─ finished
//!                   └───── finish → Audited<T>, which is all that a door answers with
//! ```
//!
//! One thread writes. It takes whatever has been queued while the last commit was on its way to the disk and commits
//! that at once, so many calls share the cost of one flush. A store that never waits for a disk needs no thread: what
//! is queued is written where it was queued.
//!
//! What the chain shows: a row that was changed, added, removed or moved, unless the hashes from there on were made anew. What
//! it can't show by itself: that they were, by someone who can write the file, that the newest rows were cut off, or that one
//! was appended. For rows up to a [`Head`], keep that somewhere else and give it to [`Audit::verify`].

mod call;
mod chain;
mod checkpoint;
mod entry;
mod error;
pub mod export;
mod filed;
mod given;
mod held;
mod outcome;
mod pending;
mod plan;
mod progress;
mod queue;
mod reconcile;
mod recover;
mod row;
mod verify;
mod when;
mod writer;

pub use error::AuditError;
pub use given::TokenGiven;
pub use held::HeldWord;
pub use outcome::{Outcome, SendResult};
pub use pending::{Audited, Pending, PendingSend};
pub use plan::{SendBegin, SendPlan, Spends, Takes};
pub use row::{
    ApprovalStep, Became, CallBegun, CallFinished, CallMark, CallRefused, Decided, Decision, Event,
    ReconcileBegun, Reconciled, Row, SendBegun, SendFinished, SendKnown, SendRefused, ShadowDiffered, Step,
};
pub use verify::{Fault, Head, Verified, VerifyError, verify};
pub use when::when;

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use crate::auth::Caller;
use crate::clock::Clock;
use crate::ids::{ApprovalId, CallId, Realm, ReservationId, TokenId};
use crate::ledger::{CallLimit, Reserved};
use crate::policy::{CallContext, CallDenied, Door, Invocation, Permitted};
use crate::store::{AuditStore, RowFilter, StoreError, in_turns};
use crate::text::visible;
use checkpoint::OpenCalls;
use entry::{Entry, LedgerStep, Reply};
use queue::Queue;

/// How many characters each text of an [`Event::Admin`] keeps: they are names and ids, a row stays small.
const ADMIN_CHARS_MAX: usize = 256;

/// The audit trail of a host. Clones share one writer.
#[derive(Clone)]
pub struct Audit {
    trail: Arc<Trail>,
    writer: Arc<Writer>,
}

/// What the writer, the handle and every pending call share.
struct Trail {
    store: Arc<dyn AuditStore>,
    clock: Arc<dyn Clock>,
    queue: Queue,
    /// Outcomes that a failing store didn't take. There are no more of them than there were open calls and sends when
    /// that was found out: from then on none begins that it hasn't taken. Whoever holds the lock is the one that writes.
    owed: Mutex<Vec<Entry>>,
    /// What a host follows for its checkpoints, from its start on. A command knows of no calls but its own.
    open_calls: Mutex<Option<OpenCalls>>,
}

/// The writing thread. It's told to end, and waited for, when the last handle goes.
struct Writer {
    trail: Arc<Trail>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Audit {
    /// Starts the writer.
    ///
    /// # Errors
    /// [`AuditError::Unavailable`] when the store can't be read or no thread can be started.
    pub fn start(store: Arc<dyn AuditStore>, clock: Arc<dyn Clock>) -> Result<Self, AuditError> {
        store.head()?;
        let (queue, owed, open_calls) = (Queue::default(), Mutex::default(), Mutex::default());
        let trail = Arc::new(Trail { store, clock, queue, owed, open_calls });
        let thread = if trail.store.is_instant() { None } else { Some(writer::spawn(Arc::clone(&trail))?) };
        let writer = Writer { trail: Arc::clone(&trail), thread: Mutex::new(thread) };
        Ok(Self { trail, writer: Arc::new(writer) })
    }

    /// Records the intent to run a tool, by the `approval` that people gave to that, and takes the call's place where `limits`
    /// say how many calls its agents may have under way at once. It's on the disk when this resolves.
    ///
    /// A caller that stops waiting leaves no open call behind: if the intent was written, so is a
    /// [`CallMark::Cancelled`].
    ///
    /// # Errors
    /// [`AuditError::Full`] when too many intents wait already; [`AuditError::Unavailable`] when the trail can't be
    /// written: then nothing was recorded. [`AuditError::TooManyCalls`] when there's no place. Either way the tool must
    /// not run.
    pub async fn begin(
        &self,
        permit: &Permitted<Invocation>,
        approval: Option<ApprovalId>,
        limits: &[CallLimit],
    ) -> Result<Pending, AuditError> {
        let invocation = permit.request();
        let (caller, arguments) = (&invocation.caller, &invocation.arguments);
        let intent = CallBegun {
            tool: Some(invocation.tool.clone()),
            component: Some(invocation.component),
            arguments: Some(arguments.digest()),
            arguments_bytes: outcome::size(arguments.as_str().len()),
            policy: Some(permit.policy()),
            approval,
            ..begun(invocation.door(), caller, &invocation.context)
        };
        let (call, realm) = (invocation.call.clone(), caller.realm().clone());
        Pending::begin(&self.trail, call, realm, Event::CallBegun(intent), limits).await
    }

    /// Records the intent to forward a request. It's on the disk no later than the intent to send that request, in the same
    /// transaction: until then the call can do nothing. Where it takes a place among its agents' calls, it's on the disk
    /// when this resolves, and so it is while nobody knows whether the trail can be written.
    ///
    /// # Errors
    /// As for [`Self::begin`].
    pub async fn begin_forward(
        &self,
        call: CallId,
        caller: &Caller,
        context: &CallContext,
        limits: &[CallLimit],
    ) -> Result<Pending, AuditError> {
        let intent = begun(Door::Proxy, caller, context);
        Pending::begin_forward(&self.trail, call, caller.realm().clone(), intent, limits).await
    }

    /// Records that a call was refused before it began. It's on the disk when this resolves.
    ///
    /// # Errors
    /// As for [`Self::begin`].
    pub async fn refused(
        &self,
        call: CallId,
        caller: &Caller,
        context: &CallContext,
        tool: &str,
        denied: &CallDenied,
    ) -> Result<(), AuditError> {
        let event = Event::CallRefused(CallRefused {
            token: caller.token().clone(),
            agent: caller.agent().clone(),
            conversation: caller.conversation().or(context.conversation.as_ref()).cloned(),
            tool: visible(tool, 64),
            code: denied.refusal.code,
            policy: denied.policy,
            model_call: context.model_call.clone(),
        });
        self.written(Some(caller.realm().clone()), Some(call), event).await
    }

    /// Records what an operator did. It's on the disk when this resolves.
    ///
    /// `action` is a word like `token.mint`; `subject` an id or a name, never a secret; `by` a token id or `cli`. Each
    /// is cut to 256 characters.
    ///
    /// # Errors
    /// As for [`Self::begin`].
    pub async fn admin(
        &self,
        realm: Option<Realm>,
        action: &str,
        subject: &str,
        by: &str,
    ) -> Result<(), AuditError> {
        self.admin_for(realm, action, subject, by, None).await
    }

    /// Records what an operator did, and why. As [`Self::admin`].
    ///
    /// # Errors
    /// As for [`Self::begin`].
    pub async fn admin_for(
        &self,
        realm: Option<Realm>,
        action: &str,
        subject: &str,
        by: &str,
        reason: Option<&str>,
    ) -> Result<(), AuditError> {
        let cut = |text: &str| text.chars().take(ADMIN_CHARS_MAX).collect();
        let (action, subject, by) = (cut(action), cut(subject), cut(by));
        let event = Event::Admin { action, subject, by, reason: reason.map(cut), token: None };
        self.written(realm, None, event).await
    }

    /// Records an answer to an enforcement point, its texts cut to 256 characters, and takes what it `spends` from
    /// budgets, both or neither. It's on the disk when this resolves. Where there's no room, it's recorded as denied, and
    /// what was short is answered.
    ///
    /// What is spent has an id as a send's: of a call of its own, which the row belongs to.
    ///
    /// # Errors
    /// As for [`Self::begin`].
    pub async fn decided(
        &self,
        realm: Realm,
        mut row: Decided,
        spends: Option<Spends>,
    ) -> Result<Option<Reserved>, AuditError> {
        for text in [&mut row.action, &mut row.resource, &mut row.request] {
            *text = text.chars().take(ADMIN_CHARS_MAX).collect();
        }
        let call = spends.as_ref().map(|spends| CallId::fresh(spends.takes.at));
        let (reply, written) = oneshot::channel();
        let mut entry =
            Entry::new(Some(realm.clone()), call.clone(), Event::Decided(row), Reply::Decided(reply));
        entry.ledger = spends.zip(call).map(|(spends, call)| {
            let Spends { connection, operation, cost, takes } = spends;
            let id = ReservationId { call, send: 1 };
            LedgerStep::Spend(Box::new(takes.reservation(id, realm, (connection, operation), cost)))
        });
        self.trail.queue.push_intent(entry);
        self.trail.flush();
        written.await.unwrap_or_else(|_| Err(AuditError::stopped()))
    }

    /// Records that policies which are tried decide otherwise. It isn't waited for, and is dropped where the trail can't
    /// be written or too much waits already: the metrics count it.
    pub fn shadow_differed(&self, realm: Realm, difference: ShadowDiffered) {
        let event = Event::ShadowDiffered(difference);
        self.trail.queue.push_intent(Entry::new(Some(realm), None, event, Reply::MayBeLost));
        self.trail.flush();
    }

    /// Writes one row that stands for itself.
    async fn written(
        &self,
        realm: Option<Realm>,
        call: Option<CallId>,
        event: Event,
    ) -> Result<(), AuditError> {
        let (reply, written) = oneshot::channel();
        self.trail.queue.push_intent(Entry::new(realm, call, event, Reply::Written(reply)));
        self.trail.flush();
        written.await.unwrap_or_else(|_| Err(AuditError::stopped()))
    }

    /// Records a step of an approval, as part of a call where there's one. It's on the disk when this resolves.
    ///
    /// # Errors
    /// As for [`Self::begin`].
    pub async fn approval(
        &self,
        realm: &Realm,
        call: Option<&CallId>,
        step: ApprovalStep,
    ) -> Result<(), AuditError> {
        self.written(Some(realm.clone()), call.cloned(), Event::Approval(step)).await
    }

    /// Marks every call that an earlier run of the host left open as [`CallMark::Unknown`], and records that the host
    /// has started. Answers how many there were.
    ///
    /// To be called once, before serving, by the only host that uses this trail: it can't tell another host's running
    /// calls from abandoned ones. It looks back no further than the last start or checkpoint, and all it writes is one
    /// transaction; so if it's interrupted, the next start does the same again. From then on, this writes a checkpoint every
    /// 50,000 rows.
    ///
    /// # Errors
    /// [`AuditError::Unavailable`] when the trail can't be read or written, or holds a damaged row.
    pub fn recover(&self) -> Result<u32, AuditError> {
        let (recovered, started) = recover::recover(&*self.trail.store, &*self.trail.clock)?;
        *self.trail.open_calls() = Some(OpenCalls::since(started));
        Ok(recovered)
    }

    /// Removes from the ledger what is too old to count; answers how many rows. It blocks for as long as that takes, in
    /// many short transactions between which calls have their turn: for every hour or so.
    ///
    /// # Errors
    /// [`AuditError::Unavailable`] when the store can't be written.
    pub fn prune_ledger(&self) -> Result<u64, AuditError> {
        let now = self.trail.clock.now();
        in_turns(|| {
            let mut rows = 0;
            self.trail.store.write(&mut |tx| {
                rows = crate::ledger::prune(tx.ledger(), now)?;
                Ok(())
            })?;
            Ok(rows)
        })
    }

    /// Removes from the ledger what tokens have spent in all that are over, in one transaction. To be done before they're
    /// removed: afterwards nobody could tell which they were.
    ///
    /// # Errors
    /// When the store can't be written.
    pub fn forget_tokens(&self, over: &[(Realm, TokenId)]) -> Result<(), StoreError> {
        self.trail.store.write(&mut |tx| crate::ledger::forget_tokens(tx.ledger(), over))
    }

    /// What a request that takes this would be refused with now, after all that was recorded before: that the same write
    /// was made or is under way, or which budget has no room. `None`: nothing is known against it. Nothing is reserved.
    ///
    /// # Errors
    /// As for [`Self::begin`], when that can't be told.
    pub async fn foreseen(&self, takes: Takes) -> Result<Option<Reserved>, AuditError> {
        let (reply, foreseen) = oneshot::channel();
        self.trail.queue.push_intent(Entry::question(takes, Reply::Decided(reply)));
        self.trail.flush();
        foreseen.await.unwrap_or_else(|_| Err(AuditError::stopped()))
    }

    /// Reads rows.
    ///
    /// # Errors
    /// [`AuditError::Unavailable`] when the trail can't be read or a row that was asked for is damaged.
    pub fn rows(&self, filter: &RowFilter) -> Result<Vec<Row>, AuditError> {
        let records = self.trail.store.rows(filter)?;
        Ok(records.into_iter().map(Row::try_from).collect::<Result<_, _>>()?)
    }

    /// Walks the whole chain; see [`verify()`].
    ///
    /// # Errors
    /// [`VerifyError`] names the first row that doesn't hold, and why.
    pub fn verify(&self, kept: Option<&Head>) -> Result<Verified, VerifyError> {
        verify(&*self.trail.store, kept)
    }

    /// The number and hash of the newest row, to be kept elsewhere.
    ///
    /// # Errors
    /// [`AuditError::Unavailable`] when the trail can't be read.
    pub fn head(&self) -> Result<Head, AuditError> {
        Ok(self.trail.store.head()?.into())
    }

    /// Whether the last attempt to write succeeded, and the trail is still where others look for it, for the readiness
    /// check.
    ///
    /// # Errors
    /// The error of that attempt; [`StoreError::Replaced`].
    pub fn check(&self) -> Result<(), AuditError> {
        self.trail.store.check()?;
        self.trail.queue.health()
    }

    /// Writes what is queued and ends the writer; blocks until that's done. Calls that are still pending can't be
    /// finished afterwards: the next start marks them. Dropping the last handle does the same.
    pub fn shutdown(self) {
        self.writer.stop();
    }
}

/// What is known of every call, whichever door it came through.
fn begun(door: Door, caller: &Caller, context: &CallContext) -> CallBegun {
    CallBegun {
        door,
        token: caller.token().clone(),
        agent: caller.agent().clone(),
        role: caller.role().cloned(),
        task: caller.task().map(str::to_owned),
        conversation: context.conversation.clone(),
        turn: context.turn.clone(),
        tool: None,
        component: None,
        arguments: None,
        arguments_bytes: 0,
        policy: None,
        approval: None,
        trace: context.trace.clone(),
        model_call: context.model_call.clone(),
    }
}

impl Writer {
    fn stop(&self) {
        self.trail.queue.close();
        self.trail.flush();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // The thread logs its own end; a panic in it has been printed by the panic hook.
        let _ = thread.map(JoinHandle::join);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests;
