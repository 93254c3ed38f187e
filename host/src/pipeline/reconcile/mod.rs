//! What the host finds out itself of writes that nobody knows the end of, where their connection says how.
//!
//! ```text
//! hold → connection's rule, the key and the user that the write's record names
//!   → kill     nothing that the read is part of is stopped
//!   → audit    reconcile_begun, then send_begun: on the disk
//!   → kill     once more: this is the last moment before bytes leave
//!   → egress   secret attached → reply, cleaned; a switch cuts it off
//!   → audit    what came of the read
//!   → rule     what its reply says of the write
//!   → ledger   settled, released, or still held: with its record, in one transaction
//! ```
//!
//! No policy, token or budget has a say: the read is the operator's, by the connection's file, and nothing of its reply reaches
//! an agent.

mod watch;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Pipeline;
use super::gate::{failure_record, reply_record, unrecorded};
use crate::audit::{
    Audit, AuditError, Became, Event, HeldWord, Outcome, Pending, SendBegin, SendBegun, SendPlan,
};
use crate::clock::{Clock, Millis};
use crate::connection::{Found, LiveConnections, Lookup, LostWrite, ReconcileRule, SecretOf, TypedSend};
use crate::egress::{Egress, Handover, Reply, SendFailure};
use crate::ids::{CallId, ConnectionName, Realm};
use crate::kill::{Kills, Subjects};
use crate::ledger::{ReservationId, Resolved, Settlement};
use crate::metrics::Metrics;
use crate::policy::Permitted;
use crate::reach::Reach;
use crate::store::{EntryRow, EntryState, LedgerStore, RowFilter, StoreError};

/// How long one look may take. A connection may want less.
const LOOK_MAX: Duration = Duration::from_secs(10);

/// Looks up what became of writes whose money is held.
pub struct Reconciler {
    /// Where intents and outcomes go.
    pub audit: Audit,
    /// What is held.
    pub ledger: Arc<dyn LedgerStore>,
    /// The upstreams.
    pub connections: Arc<LiveConnections>,
    /// The way to them.
    pub egress: Arc<Egress>,
    /// What is stopped.
    pub kills: Arc<Kills>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

/// What came of a look at a held write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The write's reservation.
    pub hold: ReservationId,
    /// What became of it.
    pub became: Became,
    /// What counts as spent, is there again or is still held, in minor units. `None`: it's about no money.
    pub amount: Option<u64>,
    /// Its currency.
    pub currency: Option<String>,
    /// Why it's still held, if so.
    pub why: Option<String>,
    /// The call that the look is recorded under. `None`: there was nothing to be sent.
    pub call: Option<CallId>,
}

/// Why nothing can be said of a reservation.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReconcileError {
    /// Nothing is held under this id, within reach; or not any more.
    #[error("nothing is held under this id")]
    Unknown,
    /// Its request is under way: the host itself will see the end of it.
    #[error("the request is under way: the host itself will see the end of it")]
    UnderWay,
    /// The ledger and the trail can't be read or written. Nothing has changed.
    #[error(transparent)]
    Audit(#[from] AuditError),
}

/// A write that can be looked up.
struct Look {
    rule: Arc<ReconcileRule>,
    key: String,
    lookup: Lookup,
}

impl Pipeline {
    /// What looks up writes over the pipeline's own connections.
    #[must_use]
    pub fn reconciler(&self, ledger: Arc<dyn LedgerStore>) -> Reconciler {
        let parts = &self.parts;
        Reconciler {
            audit: parts.audit.clone(),
            ledger,
            connections: parts.connections.clone(),
            egress: parts.egress.clone(),
            kills: parts.kills.clone(),
            clock: parts.clock.clone(),
            metrics: parts.metrics.clone(),
        }
    }
}

impl Reconciler {
    /// Looks up what became of a held write, and settles or releases it where that's clear. `by` is a token's id, `cli` or
    /// `host`; a reservation beyond the reach doesn't exist, where one is given. Dropping the future stops the look and
    /// records it as cancelled.
    ///
    /// # Errors
    /// [`ReconcileError`].
    pub async fn reconcile(
        &self,
        reach: Option<&Reach>,
        hold: &ReservationId,
        by: &str,
    ) -> Result<Report, ReconcileError> {
        let (entry, begun) = self.known(hold).await?;
        let entry = entry
            .filter(|entry| reach.is_none_or(|reach| reach.covers(&entry.realm)))
            .ok_or(ReconcileError::Unknown)?;
        if entry.state == EntryState::UnderWay {
            return Err(ReconcileError::UnderWay);
        }
        let Look { rule, key, lookup } = match self.prepare(&entry, begun) {
            Ok(look) => look,
            Err(why) => return Ok(Report::held(&entry, why, None)),
        };
        let call = CallId::fresh(self.clock.now());
        let pending = self.audit.begin_reconcile(call.clone(), entry.realm.clone(), hold.clone(), by).await?;
        let looked = self.look(&entry.realm, &pending, lookup).await;
        let outcome = match &looked {
            Ok(reply) => Outcome::ok(&reply.body),
            Err(failure) => Outcome::failed(failure.reason.code()),
        };
        pending.finish(outcome, ()).await?;
        let (begun, now) = (entry.at, self.clock.now());
        // A reply may be long.
        match blocking(move || word(&rule, &key, begun, looked, now)).await? {
            Ok(word) => {
                let (audit, id, of) = (self.audit.clone(), hold.clone(), call.clone());
                match blocking(move || audit.reconciled(&of, &id, word)).await?? {
                    Resolved::Done(entry) => Ok(Report::done(&entry, word, call)),
                    // An operator was quicker, or another look.
                    Resolved::Unknown | Resolved::UnderWay => Err(ReconcileError::Unknown),
                }
            }
            Err(why) => {
                self.audit.not_reconciled(call.clone(), &entry, &why).await?;
                Ok(Report::held(&entry, why, Some(call)))
            }
        }
    }

    /// What is held now that its connection says how to look up: the oldest, of so many at most.
    ///
    /// # Errors
    /// [`StoreError`] when the ledger can't be read.
    pub fn candidates(&self, limit: u32) -> Result<Vec<EntryRow>, StoreError> {
        let connections = self.connections.load();
        let has_rule = |entry: &EntryRow| {
            let (Some(name), Some(operation)) = (&entry.connection, &entry.operation) else { return false };
            let connection = connections.get(&entry.realm, name.as_str());
            connection.is_some_and(|connection| connection.reconciles(operation).is_some())
        };
        let mut held = self.ledger.held(None, limit)?;
        held.retain(has_rule);
        Ok(held)
    }

    /// A reservation, if it's open, and the record of its request.
    async fn known(&self, hold: &ReservationId) -> Result<(Option<EntryRow>, Option<SendBegun>), AuditError> {
        let (ledger, audit, id) = (self.ledger.clone(), self.audit.clone(), hold.clone());
        blocking(move || {
            let mut entry = None;
            ledger.ledger(&mut |tx| {
                entry = tx.entry(&id)?;
                Ok(())
            })?;
            let filter = RowFilter { call: Some(id.call.clone()), limit: u32::MAX, ..RowFilter::default() };
            let begun = audit.rows(&filter)?.into_iter().find_map(|row| match row.event {
                Event::SendBegun(begun) if begun.send == id.send => Some(begun),
                _ => None,
            });
            Ok((entry, begun))
        })
        .await?
    }

    /// The request that looks a write up; or why it can't be.
    fn prepare(&self, entry: &EntryRow, begun: Option<SendBegun>) -> Result<Look, String> {
        let (Some(name), Some(operation)) = (&entry.connection, &entry.operation) else {
            return Err("it's no request".to_owned());
        };
        let connection = self.connections.load().get(&entry.realm, name.as_str());
        let connection = connection.ok_or_else(|| format!("there is no connection {name} any more"))?;
        let rule = connection
            .reconciles(operation)
            .cloned()
            .ok_or_else(|| format!("the connection {name} doesn't say how {operation} is looked up"))?;
        let begun = begun.ok_or("this host didn't send it: an enforcement point was allowed it")?;
        let key = begun.key.ok_or(
            "no key was written into it: it's part of no conversation, or older than the connection's key_field",
        )?;
        let is_users = connection.secret_of == SecretOf::User;
        if begun.secret != connection.secret || begun.user.is_some() != is_users {
            return Err(format!("the connection {name} uses another secret than the one it was made with"));
        }
        let write = LostWrite { key: &key, begun: entry.at };
        let lookup =
            connection.lookup(&rule, write, begun.user.as_ref()).map_err(|failure| failure.message)?;
        self.kills.check(&subjects(&entry.realm, None, name)).map_err(|killed| killed.failure().message)?;
        Ok(Look { rule, key, lookup })
    }

    /// Sends the request, once its intent is on the disk.
    async fn look(&self, realm: &Realm, pending: &Pending, lookup: Lookup) -> Result<Reply, SendFailure> {
        let permit = Permitted::lookup(lookup);
        let send = permit.request();
        let (connection, operation) = (send.connection_name().clone(), send.operation_name().clone());
        let plan = SendPlan { takes: None, approval: None, policy: permit.policy(), question: None };
        let intent = match pending.send_begun(&permit, plan).await {
            Ok(SendBegin::Begun(intent)) => intent,
            Ok(SendBegin::Refused(_)) => return Err(unrecorded("the ledger refused it".to_owned())),
            Err(error) => return Err(unrecorded(error.to_string())),
        };
        let subjects = subjects(realm, Some(pending.call()), &connection);
        let looked = self.send(permit, subjects, intent.handover()).await;
        let told = looked.as_ref().map(|reply| reply.status).map_err(|failure| failure.reason);
        self.metrics.send(&connection, &operation, told);
        let record = match &looked {
            Ok(reply) => reply_record(reply),
            Err(failure) => {
                tracing::info!(call = %pending.call(), reason = ?failure.reason, message = %failure.message,
                    cause = failure.cause.as_deref(), "a look at a held write failed");
                failure_record(failure)
            }
        };
        // Nothing was reserved for it.
        intent.finished(record, Settlement::Settle { confirmed: None }, None);
        looked
    }

    async fn send(
        &self,
        permit: Permitted<TypedSend>,
        subjects: Subjects<'_>,
        handover: &Handover,
    ) -> Result<Reply, SendFailure> {
        // The last moment before bytes leave.
        self.kills.check(&subjects).map_err(|killed| killed.failure())?;
        let (realm, deadline) = (subjects.realm, Instant::now() + LOOK_MAX);
        tokio::select! {
            // What stops it comes first: thrown before the bytes leave, it keeps them here.
            biased;
            killed = self.kills.stopped(subjects) => Err(killed.failure().sent(handover.request_sent())),
            reply = self.egress.send_watched(permit, realm, deadline, handover) => reply,
        }
    }
}

impl Report {
    fn held(entry: &EntryRow, why: String, call: Option<CallId>) -> Self {
        let cost = entry.cost.as_ref();
        Self {
            hold: entry.id.clone(),
            became: Became::Held,
            amount: cost.and_then(|cost| u64::try_from(cost.amount_minor).ok()),
            currency: cost.map(|cost| cost.currency.clone()),
            why: Some(why),
            call,
        }
    }

    fn done(entry: &EntryRow, word: HeldWord, call: CallId) -> Self {
        Self {
            hold: entry.id.clone(),
            became: word.became(),
            amount: word.amount(entry),
            currency: entry.cost.as_ref().map(|cost| cost.currency.clone()),
            why: None,
            call: Some(call),
        }
    }
}

/// What is known of a write by a look at it; or why nothing is. A redirect isn't followed, as everywhere.
fn word(
    rule: &ReconcileRule,
    key: &str,
    begun: Millis,
    looked: Result<Reply, SendFailure>,
    now: Millis,
) -> Result<HeldWord, String> {
    let reply = looked.map_err(|failure| failure.message)?;
    if !(200..=299).contains(&reply.status) {
        return Err(format!("the upstream answered the look with {}", reply.status));
    }
    match rule.found(LostWrite { key, begun }, &reply.body, now) {
        Found::Made { amount } => Ok(HeldWord::CarriedOut { amount }),
        Found::NotMade => Ok(HeldWord::NotCarriedOut),
        Found::Unclear(why) => Err(why.to_owned()),
    }
}

/// All that a kill switch could stop a look by.
fn subjects<'s>(realm: &'s Realm, call: Option<&'s CallId>, connection: &'s ConnectionName) -> Subjects<'s> {
    Subjects { realm, caller: None, call, conversation: None, tool: None, connection: Some(connection) }
}

/// What waits for the disk, or takes long, isn't done on a thread that serves.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, AuditError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| StoreError::Failed(format!("a look at a held write broke down: {error}")).into())
}
