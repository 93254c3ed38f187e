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
//!   → ledger   settled, or still held: with its record, in one transaction
//! ```
//!
//! No policy, token or budget has a say: the read is the operator's, by the connection's file, and nothing of its reply reaches
//! an agent.

mod watch;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::Pipeline;
use super::gate::{failure_record, reply_record, unrecorded};
use crate::audit::{Audit, AuditError, Became, Event, Outcome, Pending, SendBegin, SendBegun, SendPlan};
use crate::clock::{Clock, Millis};
use crate::connection::{LiveConnections, Lookup, LostWrite, ReconcileRule, SecretOf, TypedSend};
use crate::egress::{Egress, Handover, Reply};
use crate::ids::{CallId, ConnectionName, Realm, ReservationId};
use crate::kill::{Kills, Subjects};
use crate::ledger::{Resolved, Settlement};
use crate::metrics::Metrics;
use crate::policy::Permitted;
use crate::reach::Reach;
use crate::refusal::SendFailure;
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The write's reservation.
    #[serde(rename = "id")]
    pub hold: ReservationId,
    /// What became of it.
    pub became: Became,
    /// What counts as spent or is still held, in minor units. `None`: it's about no money.
    pub amount: Option<u64>,
    /// Its currency.
    pub currency: Option<String>,
    /// Why it's still held, if so.
    pub why: Option<String>,
    /// The call that the look is recorded under. `None`: there was nothing to be sent.
    pub call: Option<CallId>,
    /// Whether a look was made that got no reply, or none that may be read.
    #[serde(skip)]
    pub unanswered: bool,
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

/// What is known of a held write.
struct Known {
    entry: EntryRow,
    /// Whether no other attempt at it was made: its key is the same for all of them.
    is_only: bool,
    /// The record of its request, if this host sent it.
    begun: Option<SendBegun>,
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
    /// Looks up what became of a held write, and settles it where it's clear that it was carried out. `by` is a token's id,
    /// `cli` or `host`; a reservation beyond the reach doesn't exist, where one is given. Dropping the future stops the look
    /// and records it as cancelled.
    ///
    /// # Errors
    /// [`ReconcileError`].
    pub async fn reconcile(
        &self,
        reach: Option<&Reach>,
        hold: &ReservationId,
        by: &str,
    ) -> Result<Report, ReconcileError> {
        let known = self
            .known(hold)
            .await?
            .filter(|known| reach.is_none_or(|reach| reach.covers(&known.entry.realm)))
            .ok_or(ReconcileError::Unknown)?;
        if known.entry.state == EntryState::UnderWay {
            return Err(ReconcileError::UnderWay);
        }
        let Look { rule, key, lookup } = match self.prepare(&known) {
            Ok(look) => look,
            Err(why) => return Ok(Report::of(&known.entry, Err(why), None)),
        };
        let (entry, call) = (known.entry, CallId::fresh(self.clock.now()));
        let pending = self.audit.begin_reconcile(call.clone(), entry.realm.clone(), hold.clone(), by).await?;
        let looked = self.look(&entry.realm, &pending, lookup).await;
        let outcome = match &looked {
            Ok(reply) => Outcome::ok(&reply.body),
            Err(failure) => Outcome::failed(failure.reason.code()),
        };
        pending.finish(outcome, ()).await?;
        let unanswered = looked.is_err();
        let (audit, id, of) = (self.audit.clone(), hold.clone(), call.clone());
        // A reply may be long, and the ledger waits for the disk.
        let done = blocking(move || {
            let found = found(&rule, &key, looked);
            audit.reconciled(&of, &id, &found).map(|resolved| (found, resolved))
        });
        let (found, resolved) = done.await??;
        if let Resolved::Done(entry) = resolved {
            return Ok(Report { unanswered, ..Report::of(&entry, found, Some(call)) });
        }
        // An operator was quicker, or another look.
        if let Ok(amount) = found {
            tracing::warn!(%hold, %call, amount, "a held write was found to be carried out, but it was settled or released \
                meanwhile: see that it wasn't released");
        }
        Err(ReconcileError::Unknown)
    }

    /// What is held now, was begun after one time and up to another, was sent by this host, and can be looked up by what its
    /// connection says: the oldest first.
    ///
    /// # Errors
    /// [`StoreError`] when the ledger can't be read.
    pub fn candidates(&self, after: Millis, up_to: Millis) -> Result<Vec<EntryRow>, StoreError> {
        let connections = self.connections.load();
        let has_rule = |entry: &EntryRow| {
            let (Some(name), Some(operation)) = (&entry.connection, &entry.operation) else { return false };
            let connection = connections.get(&entry.realm, name.as_str());
            connection.is_some_and(|connection| connection.reconciles(operation).is_some())
        };
        let mut held = self.ledger.held_begun(after, up_to)?;
        // Of what can't be read, the look says so.
        held.retain(|entry| has_rule(entry) && !matches!(sent(&self.audit, &entry.id), Ok(None)));
        Ok(held)
    }

    /// A reservation and what is known of its write, if it's open.
    async fn known(&self, hold: &ReservationId) -> Result<Option<Known>, AuditError> {
        let (ledger, audit, id) = (self.ledger.clone(), self.audit.clone(), hold.clone());
        blocking(move || {
            let Some((entry, write)) = ledger.reservation(&id)? else { return Ok(None) };
            let is_only = write.is_some_and(|write| write.reservation == id && write.attempt == 0);
            Ok(Some(Known { entry, is_only, begun: sent(&audit, &id)? }))
        })
        .await?
    }

    /// The request that looks a write up; or why it can't be.
    fn prepare(&self, known: &Known) -> Result<Look, String> {
        let Known { entry, is_only, begun } = known;
        let (Some(name), Some(operation)) = (&entry.connection, &entry.operation) else {
            return Err("it's no request".to_owned());
        };
        let connection = self.connections.load().get(&entry.realm, name.as_str());
        let connection = connection.ok_or_else(|| format!("there is no connection {name} any more"))?;
        let rule = connection
            .reconciles(operation)
            .cloned()
            .ok_or_else(|| format!("the connection {name} doesn't say how {operation} is looked up"))?;
        let begun = begun.as_ref().ok_or("this host didn't send it: an enforcement point was allowed it")?;
        let key = begun.key.as_ref().ok_or(
            "no key was written into it: it's part of no conversation, or older than the connection's key_field",
        )?;
        if !is_only {
            return Err("there may be another attempt at it, which carries the same key".to_owned());
        }
        let is_users = connection.secret_of == SecretOf::User;
        if begun.secret != connection.secret || begun.user.is_some() != is_users {
            return Err(format!("the connection {name} uses another secret than the one it was made with"));
        }
        let write = LostWrite { key, begun: entry.at };
        let lookup =
            connection.lookup(&rule, write, begun.user.as_ref()).map_err(|failure| failure.message)?;
        self.kills.check(&subjects(&entry.realm, None, name)).map_err(|killed| killed.failure().message)?;
        Ok(Look { rule, key: key.clone(), lookup })
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
        let count = self.metrics.send_started(&connection, &operation);
        let looked = self.send(permit, subjects, intent.handover()).await;
        count.finished(looked.as_ref().map(|reply| reply.status).map_err(|failure| failure.reason));
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
    /// Of a reservation, by what was found: what its write came to, or why that's unclear.
    fn of(entry: &EntryRow, found: Result<Option<u64>, String>, call: Option<CallId>) -> Self {
        let reserved = entry.cost.as_ref().and_then(|cost| u64::try_from(cost.amount_minor).ok());
        let (became, amount, why) = match found {
            Ok(amount) => (Became::Settled, amount.or(reserved), None),
            Err(why) => (Became::Held, reserved, Some(why)),
        };
        let currency = entry.cost.as_ref().map(|cost| cost.currency.clone());
        Self { hold: entry.id.clone(), became, amount, currency, why, call, unanswered: false }
    }
}

/// The record of a write's request, if this host sent it.
fn sent(audit: &Audit, id: &ReservationId) -> Result<Option<SendBegun>, AuditError> {
    let filter = RowFilter { call: Some(id.call.clone()), limit: u32::MAX, ..RowFilter::default() };
    Ok(audit.rows(&filter)?.into_iter().find_map(|row| match row.event {
        Event::SendBegun(begun) if begun.send == id.send => Some(begun),
        _ => None,
    }))
}

/// What a write came to by a look at it; or why that's unclear. A redirect isn't followed, as everywhere.
fn found(rule: &ReconcileRule, key: &str, looked: Result<Reply, SendFailure>) -> Result<Option<u64>, String> {
    let reply = looked.map_err(|failure| failure.message)?;
    if !(200..=299).contains(&reply.status) {
        return Err(format!("the upstream answered the look with {}", reply.status));
    }
    rule.found(key, &reply.body)
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
