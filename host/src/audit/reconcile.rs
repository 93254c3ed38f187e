//! The record of a look at what became of a write: a call of the host's own, and what came of it.

use super::{Audit, AuditError, Became, Event, HeldWord, Pending, ReconcileBegun, Reconciled};
use crate::connection::Cost;
use crate::ids::{CallId, Realm};
use crate::ledger::{ReservationId, Resolved};
use crate::store::EntryRow;

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

    /// Ends a held reservation as a look at its write says, and records it in the same transaction, which blocks.
    ///
    /// # Errors
    /// As for [`Self::resolve_held`].
    pub fn reconciled(
        &self,
        call: &CallId,
        hold: &ReservationId,
        word: HeldWord,
    ) -> Result<Resolved, AuditError> {
        let became = word.became();
        self.end_held(None, hold, word, Some(call), |entry| {
            let amount = entry.cost.as_ref().map(|cost| Cost {
                amount_minor: word.amount(entry).and_then(|minor| minor.try_into().ok()).unwrap_or(i64::MAX),
                currency: cost.currency.clone(),
            });
            Event::Reconciled(Reconciled { hold: hold.clone(), became, amount, why: None })
        })
    }

    /// Records that a look at a write has changed nothing, and why. It's on the disk when this resolves.
    ///
    /// # Errors
    /// As for [`Self::begin`].
    pub async fn not_reconciled(&self, call: CallId, entry: &EntryRow, why: &str) -> Result<(), AuditError> {
        let event = Event::Reconciled(Reconciled {
            hold: entry.id.clone(),
            became: Became::Held,
            amount: entry.cost.clone(),
            why: Some(why.to_owned()),
        });
        self.written(Some(entry.realm.clone()), Some(call), event).await
    }
}

impl HeldWord {
    /// What becomes of a reservation by it.
    #[must_use]
    pub fn became(self) -> Became {
        match self {
            Self::CarriedOut { .. } => Became::Settled,
            Self::NotCarriedOut => Became::Released,
        }
    }
}
