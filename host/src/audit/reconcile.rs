//! The record of a look at what became of a write: a call of the host's own, and what came of it.

use super::{Audit, AuditError, Became, Event, HeldWord, Pending, ReconcileBegun, Reconciled};
use crate::connection::Cost;
use crate::ids::{CallId, Realm, ReservationId};
use crate::ledger::Resolved;

impl Audit {
    /// Records the intent to look up what became of a write. It's on the disk when this resolves. `by` is a token's id, `cli`
    /// or `host`.
    ///
    /// # Errors
    /// As for [`Self::begin`].
    pub async fn begin_reconcile(
        &self,
        call: CallId,
        realm: Realm,
        hold: ReservationId,
        by: &str,
    ) -> Result<Pending, AuditError> {
        let event = Event::ReconcileBegun(ReconcileBegun { hold, by: by.to_owned() });
        Pending::begin(&self.trail, call, realm, event, &[]).await
    }

    /// Records what a look at a held write found, which blocks: that the write was carried out, at which amount, and then its
    /// reservation ends in the same transaction; or why that isn't clear. What isn't held any more stays as it is, and nothing
    /// is recorded.
    ///
    /// # Errors
    /// As for [`Self::resolve_held`].
    pub fn reconciled(
        &self,
        call: &CallId,
        hold: &ReservationId,
        found: &Result<Option<u64>, String>,
    ) -> Result<Resolved, AuditError> {
        let word = found.as_ref().ok().map(|amount| HeldWord::CarriedOut { amount: *amount });
        self.end_held(None, hold, word, Some(call), |entry| {
            let amount = |cost: &Cost| Cost {
                amount_minor: word
                    .and_then(|word| word.amount(entry))
                    .map_or(cost.amount_minor, |minor| minor.try_into().unwrap_or(i64::MAX)),
                currency: cost.currency.clone(),
            };
            Event::Reconciled(Reconciled {
                hold: hold.clone(),
                became: if word.is_some() { Became::Settled } else { Became::Held },
                amount: entry.cost.as_ref().map(amount),
                why: found.as_ref().err().cloned(),
            })
        })
    }
}
