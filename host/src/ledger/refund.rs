//! A refund that gives room back to budgets.
//!
//! INVARIANT (never over): what a counter has counted is at least what was spent less what was given back, since nothing
//! is taken from it below zero, and each refund is taken once. So with refunds, too, no more than the limit is out at any
//! time.

use crate::clock::Millis;
use crate::connection::{Cost, Refunded};
use crate::digested::Digested;
use crate::ids::{ConnectionName, Realm};
use crate::store::{CounterKey, LedgerTx, StoreError};

/// Starts what is hashed, so that no hash of another kind can be passed off as one of these.
const DOMAIN: &[u8] = b"keybearer refund 1\0";

/// A refund that the upstream has confirmed, and where it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refund {
    /// The same for the same refund of the same upstream: it counts once.
    pub key: [u8; 32],
    /// How much was given back.
    pub amount: Cost,
    /// The counters that get it back.
    pub counters: Vec<CounterKey>,
    /// When it was confirmed.
    pub at: Millis,
}

impl Refund {
    /// A refund of an upstream.
    #[must_use]
    pub fn new(
        realm: &Realm,
        connection: &ConnectionName,
        refunded: Refunded,
        counters: Vec<CounterKey>,
        at: Millis,
    ) -> Self {
        let mut digested = Digested::of(DOMAIN);
        let parts = [realm.tenant.as_str(), realm.environment.as_str(), connection.as_str(), &refunded.id];
        parts.into_iter().for_each(|part| digested.part(part.as_bytes()));
        Self { key: digested.digest().0, amount: refunded.amount, counters, at }
    }
}

/// Gives a refund back: from what was spent, and nothing from what is under way or held. False when it was given back
/// before.
///
/// # Errors
/// [`StoreError`]; the transaction has to be undone then.
pub fn give_back(tx: &mut dyn LedgerTx, refund: &Refund) -> Result<bool, StoreError> {
    if !tx.note_refund(&refund.key, refund.at)? {
        return Ok(false);
    }
    let amount = u64::try_from(refund.amount.amount_minor).unwrap_or(0);
    for key in &refund.counters {
        // A counter that isn't there has counted nothing.
        if let Some((id, mut tally)) = tx.find(key)? {
            tally.settled = tally.settled.saturating_sub(amount);
            tx.set_tally(id, tally)?;
        }
    }
    Ok(true)
}
