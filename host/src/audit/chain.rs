//! A record's canonical form, its hash, and the way from event to record and back.

use sha2::{Digest as _, Sha256};

use crate::audit::{Event, Row};
use crate::clock::Millis;
use crate::ids::{CallId, Digest, Realm};
use crate::store::{AuditRecord, AuditStore, LedgerTx, StoreError};

/// Starts every canonical form, so that no hash of another kind or version can be passed off as one of these.
const DOMAIN: &[u8] = b"keybearer audit row 1\0";

/// What a record will say, before it has a number.
pub(super) struct Unsealed {
    pub(super) at: Millis,
    pub(super) realm: Option<Realm>,
    pub(super) call: Option<CallId>,
    pub(super) event: String,
}

impl Unsealed {
    /// The record after `head`; moves `head` on to it.
    pub(super) fn seal(self, head: &mut (u64, Digest)) -> AuditRecord {
        let Self { at, realm, call, event } = self;
        let (seq, prev) = (head.0.saturating_add(1), head.1);
        let mut record = AuditRecord { seq, at, realm, call, event, prev, hash: prev };
        record.hash = hash(&record);
        *head = (record.seq, record.hash);
        record
    }
}

/// Appends rows in one transaction, with what is to be done to the ledger.
pub(super) fn append(
    store: &dyn AuditStore,
    rows: Vec<Unsealed>,
    act: &mut dyn FnMut(&mut dyn LedgerTx) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut rows = rows.into_iter();
    store.write(&mut |tx| {
        act(tx.ledger())?;
        let mut head = tx.head()?;
        rows.by_ref().try_for_each(|row| tx.insert(row.seal(&mut head)))
    })
}

/// An event as the text that is stored and hashed.
pub(super) fn encode(event: &Event) -> Result<String, StoreError> {
    serde_json::to_string(event)
        .map_err(|error| StoreError::Failed(format!("an event can't be encoded: {error}")))
}

/// The hash that a record should have.
///
/// Numbers are big-endian and of fixed width; a text has its length in front, or one zero byte in its place when
/// there's none: so no two records have the same canonical form.
pub(super) fn hash(record: &AuditRecord) -> Digest {
    let mut sha = Sha256::new();
    sha.update(DOMAIN);
    sha.update(record.seq.to_be_bytes());
    sha.update(record.at.0.to_be_bytes());
    let realm = record.realm.as_ref();
    let texts = [
        realm.map(|realm| realm.tenant.as_str()),
        realm.map(|realm| realm.environment.as_str()),
        record.call.as_ref().map(CallId::as_str),
        Some(record.event.as_str()),
    ];
    for text in texts {
        match text {
            None => sha.update([0]),
            Some(text) => {
                sha.update([1]);
                sha.update((text.len() as u64).to_be_bytes());
                sha.update(text);
            }
        }
    }
    sha.update(record.prev.0);
    Digest(sha.finalize().into())
}

impl TryFrom<AuditRecord> for Row {
    type Error = StoreError;

    fn try_from(record: AuditRecord) -> Result<Self, StoreError> {
        let AuditRecord { seq, at, realm, call, event, prev, hash } = record;
        let event = serde_json::from_str(&event)
            .map_err(|error| StoreError::Damaged(format!("audit row {seq}: column event: {error}")))?;
        Ok(Self { seq, at, realm, call, event, prev, hash })
    }
}
