//! A record's canonical form, its hash, and the way from event to record and back.

use std::fmt;

use sha2::{Digest as _, Sha256};

use super::filed;
use crate::audit::{Event, Row};
use crate::clock::{Clock, Millis};
use crate::digested::Digested;
use crate::ids::{CallId, Digest, Realm};
use crate::store::{AuditRecord, AuditStore, Filed, LedgerTx, StoreError};

/// Starts what is hashed of a content, so that no hash of another kind or version can be passed off as one of these.
const CONTENT: &[u8] = b"keybearer audit content 1\0";
/// The same for a row.
const ROW: &[u8] = b"keybearer audit row 2\0";

/// What a record will say, before it has a number. It's encoded and digested by whoever records it: the writer, whom
/// everyone waits for, has only to chain it on.
pub(super) struct Unsealed {
    realm: Option<Realm>,
    call: Option<CallId>,
    filed: Filed,
    event: String,
    content: Digest,
}

impl Unsealed {
    /// Encodes an event.
    pub(super) fn new(
        realm: Option<&Realm>,
        call: Option<&CallId>,
        event: &Event,
    ) -> Result<Self, StoreError> {
        Ok(Self { filed: filed::of(event), ..Self::of_text(realm, call, encode(event)?) })
    }

    /// Takes an event that is encoded, and filed under nothing.
    pub(super) fn of_text(realm: Option<&Realm>, call: Option<&CallId>, event: String) -> Self {
        let content = content(realm, call, &event);
        Self { realm: realm.cloned(), call: call.cloned(), filed: Filed::default(), event, content }
    }

    /// The record after `head`, recorded at `at`; moves `head` on to it.
    pub(super) fn seal(self, at: Millis, head: &mut (u64, Digest)) -> AuditRecord {
        let Self { realm, call, filed, event, content } = self;
        let (seq, prev) = (head.0.saturating_add(1), head.1);
        let hash = chained(seq, at, content, prev);
        *head = (seq, hash);
        AuditRecord { seq, at, realm, call, filed, event, prev, hash }
    }
}

/// Appends rows in one transaction, with what is to be done to the ledger. Their time is taken inside it. Answers the number
/// of the last row then.
pub(super) fn append(
    store: &dyn AuditStore,
    clock: &dyn Clock,
    rows: Vec<Unsealed>,
    act: &mut dyn FnMut(&mut dyn LedgerTx) -> Result<(), StoreError>,
) -> Result<u64, StoreError> {
    let mut rows = rows.into_iter();
    let mut last = 0;
    store.write(&mut |tx| {
        act(tx.ledger())?;
        let mut head = tx.head()?;
        // Not before the lock was got: another process may have recorded something meanwhile, at a later time.
        let at = clock.now();
        rows.by_ref().try_for_each(|row| tx.insert(row.seal(at, &mut head)))?;
        last = head.0;
        Ok(())
    })?;
    Ok(last)
}

/// The hash that a record should have.
pub(super) fn hash(record: &AuditRecord) -> Digest {
    let content = content(record.realm.as_ref(), record.call.as_ref(), &record.event);
    chained(record.seq, record.at, content, record.prev)
}

/// An event as the text that is stored and hashed.
fn encode(event: &Event) -> Result<String, StoreError> {
    /// Nearly all fit into it: growing it is what writing costs most.
    const EXPECTED_BYTES: usize = 640;
    let cannot = |error: &dyn fmt::Display| StoreError::Failed(format!("an event can't be encoded: {error}"));
    let mut text = Vec::with_capacity(EXPECTED_BYTES);
    serde_json::to_writer(&mut text, event).map_err(|error| cannot(&error))?;
    String::from_utf8(text).map_err(|error| cannot(&error))
}

/// The digest of what a record says.
///
/// A text has its length in front, or one zero byte in its place when there's none: so no two contents have the same
/// canonical form.
fn content(realm: Option<&Realm>, call: Option<&CallId>, event: &str) -> Digest {
    let mut digested = Digested::of(CONTENT);
    let texts = [
        realm.map(|realm| realm.tenant.as_str()),
        realm.map(|realm| realm.environment.as_str()),
        call.map(CallId::as_str),
        Some(event),
    ];
    texts.into_iter().for_each(|text| digested.part_or_none(text.map(str::as_bytes)));
    digested.digest()
}

/// A record's hash: over its number, its time, its content and the hash before, all of fixed width, numbers big-endian.
fn chained(seq: u64, at: Millis, content: Digest, prev: Digest) -> Digest {
    let mut sha = Sha256::new();
    sha.update(ROW);
    sha.update(seq.to_be_bytes());
    sha.update(at.0.to_be_bytes());
    sha.update(content.0);
    sha.update(prev.0);
    Digest(sha.finalize().into())
}

impl TryFrom<AuditRecord> for Row {
    type Error = StoreError;

    fn try_from(record: AuditRecord) -> Result<Self, StoreError> {
        let AuditRecord { seq, at, realm, call, event, prev, hash, filed: _ } = record;
        let event = serde_json::from_str(&event)
            .map_err(|error| StoreError::Damaged(format!("audit row {seq}: column event: {error}")))?;
        Ok(Self { seq, at, realm, call, event, prev, hash })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reckoned by another program, from what the comments here say.
    #[test]
    fn hashes_are_made_as_they_are_described() {
        let realm = Realm { tenant: "acme".parse().unwrap(), environment: "prod".parse().unwrap() };
        let call: CallId = "call_00000000000000000000000000000001".parse().unwrap();
        let mut head = (0, Digest([0; 32]));
        let first = Unsealed::of_text(None, None, r#"{"event":"x"}"#.to_owned()).seal(Millis(1), &mut head);
        let second = Unsealed::of_text(Some(&realm), Some(&call), "{}".to_owned()).seal(Millis(2), &mut head);
        assert_eq!((first.seq, second.seq, second.prev, head), (1, 2, first.hash, (2, second.hash)));
        assert_eq!([hash(&first), hash(&second)], [first.hash, second.hash]);
        assert_eq!(first.hash.hex(), "83bb2458d1f341d19d1446eca641405740ebddcf99ea8928f6148f401dfb993f");
        assert_eq!(second.hash.hex(), "039eacd9d3803f369030c3da9cdb7e2090605736eb8541fbc2e58c3e5e18f150");
    }
}
