//! An operator's word on what is held, and its record: one transaction, so that neither is there without the other.

use super::chain::Unsealed;
use super::{Audit, AuditError, Event};
use crate::ids::{CallId, ReservationId};
use crate::ledger::{self, Resolved, money};
use crate::reach::Reach;
use crate::store::EntryRow;

/// What an operator found out of a held request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldWord {
    /// It was carried out, at this amount in minor units where that's known better than by what was reserved.
    CarriedOut {
        /// The amount.
        amount: Option<u64>,
    },
    /// It wasn't.
    NotCarriedOut,
}

impl HeldWord {
    /// The amount in minor units that counts as spent by it, if it's about money.
    #[must_use]
    pub fn amount(self, entry: &EntryRow) -> Option<u64> {
        let reserved = entry.cost.as_ref().and_then(|cost| u64::try_from(cost.amount_minor).ok());
        match self {
            Self::CarriedOut { amount } => amount.or(reserved),
            Self::NotCarriedOut => reserved,
        }
    }

    /// `5.00 USD`, or `no money`.
    #[must_use]
    pub fn shown(self, entry: &EntryRow) -> String {
        match (self.amount(entry), &entry.cost) {
            (Some(minor), Some(cost)) => money::shown(minor, &cost.currency),
            _ => "no money".to_owned(),
        }
    }
}

impl Audit {
    /// Ends a held reservation as an operator says, and records it in the same transaction, which blocks. `by` is a
    /// token's id or `cli`; a reservation beyond the reach doesn't exist, where one is given.
    ///
    /// # Errors
    /// [`AuditError::Unavailable`] when the store can't be written; nothing has changed then.
    pub fn resolve_held(
        &self,
        reach: Option<&Reach>,
        id: &ReservationId,
        word: HeldWord,
        by: &str,
    ) -> Result<Resolved, AuditError> {
        let action = match word {
            HeldWord::CarriedOut { .. } => "budget.settle",
            HeldWord::NotCarriedOut => "budget.release",
        };
        self.end_held(reach, id, Some(word), None, |entry| Event::Admin {
            action: action.to_owned(),
            subject: format!("{id} {}", word.shown(entry)),
            by: by.to_owned(),
            reason: None,
            token: None,
        })
    }

    /// Ends a held reservation, or leaves it held where there's no word on it, and writes the row that `event` makes of it, which
    /// belongs to `call`.
    pub(super) fn end_held(
        &self,
        reach: Option<&Reach>,
        id: &ReservationId,
        word: Option<HeldWord>,
        call: Option<&CallId>,
        event: impl Fn(&EntryRow) -> Event,
    ) -> Result<Resolved, AuditError> {
        let mut resolved = Resolved::Unknown;
        self.trail.store.write(&mut |tx| {
            let Some(entry) = tx.ledger().entry(id)? else { return Ok(()) };
            if reach.is_some_and(|reach| !reach.covers(&entry.realm)) {
                return Ok(());
            }
            resolved = match word {
                Some(HeldWord::CarriedOut { amount }) => ledger::resolve(tx.ledger(), id, true, amount)?,
                Some(HeldWord::NotCarriedOut) => ledger::resolve(tx.ledger(), id, false, None)?,
                None => Resolved::Done(Box::new(entry)),
            };
            let Resolved::Done(entry) = &resolved else { return Ok(()) };
            let row = Unsealed::new(Some(&entry.realm), call, &event(entry))?;
            let mut head = tx.head()?;
            tx.insert(row.seal(self.trail.clock.now(), &mut head))
        })?;
        Ok(resolved)
    }
}
