//! Where the host keeps what must outlive it: behind ports, in two databases.
//!
//! [`ControlStore`] holds what an operator sets: tokens, wrapped keys, secrets' ciphertexts, components. It's made of
//! smaller ports as well: [`AgentStore`], [`ApprovalStore`], [`KillStore`] and [`PolicyStore`]. All of it is read often
//! and written rarely, possibly by another process (the command line beside a running host).
//! [`AuditStore`] holds the audit trail: appended to all the time by one writer, read rarely. [`LedgerStore`] lies in
//! the same file, so that an intent and what it reserves are one commit.

mod agents;
mod approvals;
mod kills;
mod ledger;
mod memory;
mod memory_control;
mod memory_ledger;
mod policies;
mod rows;
pub mod sqlite;
mod watch;

pub use agents::{AgentRow, AgentStore};
pub use approvals::{
    ApprovalFilter, ApprovalRow, ApprovalState, ApprovalStore, Opening, PendingLimits, Stage, Vote,
};
pub use kills::{KillRow, KillStore};
pub use ledger::{
    CounterId, CounterKey, CounterRow, EntryLine, EntryRow, EntryState, LedgerStore, LedgerTx, LineKind,
    PruneBefore, Tally, WriteRow, WriteState,
};
pub use memory::MemoryAudit;
pub use memory_control::MemoryControl;
pub use memory_ledger::MemoryLedger;
pub use policies::{PolicyRow, PolicyStore};
pub use rows::{
    AuditRecord, ComponentKind, ComponentRow, Filed, SecretRow, TenantKeyRow, TokenKind, TokenRow,
};
pub use watch::POLL_MS;
pub(crate) use watch::{Waiter, Watch};

use std::time::Instant;

use crate::clock::Millis;
use crate::ids::{AgentId, CallId, ConversationId, Digest, Realm, SecretLabel, TenantId, TokenId, UserId};
use crate::reach::Reach;

/// Why the store couldn't do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The row is there already.
    #[error("{0} exists already")]
    Exists(String),
    /// The row isn't there.
    #[error("{0} does not exist")]
    Missing(String),
    /// What is stored can't be understood. The text names the row and the column, or the file.
    #[error("the database is damaged: {0}")]
    Damaged(String),
    /// The file is another program's, or a newer version of this one wrote it.
    #[error("{0}")]
    Unsupported(String),
    /// The file is missing or empty, and isn't to be made. The text says what to do.
    #[error("{0}")]
    Gone(String),
    /// The file is another one than was opened, or isn't there any more. Nothing that is read or written counts.
    #[error(
        "{0} was replaced, moved or removed while the host had it open, so what is changed there isn't seen here, and \
         what is recorded here would be lost: stop the host, put the file in place that is to count, and start it again"
    )]
    Replaced(String),
    /// A search was given up, as others wait for it. The text says what to ask instead.
    #[error("{0}")]
    TooLong(String),
    /// The database or its disk failed.
    #[error("the database failed: {0}")]
    Failed(String),
}

/// Does a part of something, and the next, until one has changed no row; answers how many rows that were in all. In between
/// others have their turn: a lock goes to whoever asks first, which would be this again.
pub(crate) fn in_turns<E>(mut part: impl FnMut() -> Result<u64, E>) -> Result<u64, E> {
    let mut changed = 0;
    loop {
        let began = Instant::now();
        match part()? {
            0 => return Ok(changed),
            rows => changed += rows,
        }
        std::thread::sleep(began.elapsed());
    }
}

/// What is told which tokens are about to be removed.
pub type BeforeForgotten<'f> = &'f mut dyn FnMut(&[(Realm, TokenId)]) -> Result<(), StoreError>;

/// Operator-set state. Every call blocks for a short time; writes are durable when they return.
pub trait ControlStore: AgentStore + ApprovalStore + KillStore + PolicyStore + Send + Sync + 'static {
    /// A number that changes whenever any process has committed a change. Cheap (microseconds): it is read before
    /// every send, so that a revocation by another process is seen by the very next one. Fails where no process could be
    /// heard of any more, as the file was replaced.
    fn version(&self) -> Result<u64, StoreError>;

    /// Adds a token.
    fn insert_token(&self, row: &TokenRow) -> Result<(), StoreError>;
    /// Adds a token of a registered agent, if that's still registered: false otherwise.
    fn insert_registered(&self, row: &TokenRow) -> Result<bool, StoreError>;
    /// The token with this hash.
    fn token_by_hash(&self, hash: &[u8; 32]) -> Result<Option<TokenRow>, StoreError>;
    /// The token with this id.
    fn token_by_id(&self, id: &TokenId) -> Result<Option<TokenRow>, StoreError>;
    /// Adds a token that was delegated, unless `most` tokens are kept already below `root`, which an operator minted: false
    /// then. Those that ended are among them.
    fn insert_delegated(&self, row: &TokenRow, root: &TokenId, most: u32) -> Result<bool, StoreError>;
    /// Removes the tokens that expired or were revoked before a time. Of some at a time, `first` is told which they are,
    /// outside of any transaction; where it fails, they stay.
    fn forget_tokens(&self, before: Millis, first: BeforeForgotten<'_>) -> Result<(), StoreError>;
    /// All tokens, those within a reach where one is given, newest first.
    fn tokens(&self, reach: Option<&Reach>) -> Result<Vec<TokenRow>, StoreError>;
    /// So many of these at most: the first of them, or those after one of them.
    fn token_page(
        &self,
        reach: Option<&Reach>,
        after: Option<&TokenId>,
        limit: u32,
    ) -> Result<Vec<TokenRow>, StoreError>;
    /// Marks a token as revoked. False when there's no such token (within this reach); revoking twice keeps the first
    /// time and answers true.
    fn revoke_token(&self, id: &TokenId, reach: Option<&Reach>, at: Millis) -> Result<bool, StoreError>;

    /// The wrapped key-encryption key of a tenant.
    fn tenant_key(&self, tenant: &TenantId) -> Result<Option<TenantKeyRow>, StoreError>;
    /// All tenants' wrapped keys.
    fn tenant_keys(&self) -> Result<Vec<TenantKeyRow>, StoreError>;
    /// Adds a tenant's key unless it has one; answers the one that is stored afterwards. `None`: it has none, and none
    /// was added, since the value `in_use` doesn't name the master key that wrapped this one.
    fn ensure_tenant_key(&self, row: &TenantKeyRow, in_use: &str)
    -> Result<Option<TenantKeyRow>, StoreError>;
    /// Puts the keys `now` in the place of their tenants' and sets the value `in_use` to the id of the `master` key that wraps
    /// all of them then, or does neither. Fails if the keys that are stored aren't `was` any more.
    fn replace_tenant_keys(
        &self,
        was: &[TenantKeyRow],
        now: &[TenantKeyRow],
        in_use: &str,
        master: &str,
    ) -> Result<(), StoreError>;

    /// A small named value (for example the salt of the passphrase, or a check value).
    fn setting(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError>;
    /// Sets a named value unless it is set; answers the one that is stored afterwards.
    fn ensure_setting(&self, name: &str, value: &[u8]) -> Result<Vec<u8>, StoreError>;
    /// Sets a named value, whatever it was.
    fn put_setting(&self, name: &str, value: &[u8]) -> Result<(), StoreError>;

    /// Adds a version of a secret and sets the value `counter` to its number: both or neither. Fails with
    /// [`StoreError::Exists`] when that version is there, or when `counter` isn't `was` any more and so the number is
    /// taken.
    fn insert_next_secret(
        &self,
        row: &SecretRow,
        counter: &str,
        was: Option<&[u8]>,
    ) -> Result<(), StoreError>;
    /// The newest version of a secret: a user's own, or an operator's for `None`.
    fn newest_secret(
        &self,
        realm: &Realm,
        user: Option<&UserId>,
        label: &SecretLabel,
    ) -> Result<Option<SecretRow>, StoreError>;
    /// Every stored version, of one tenant where one is given, by realm, user (an operator's first), label and version.
    fn secrets(&self, tenant: Option<&TenantId>) -> Result<Vec<SecretRow>, StoreError>;
    /// Every stored version of a user's own secrets in a realm, by label and version.
    fn user_secrets(&self, realm: &Realm, user: &UserId) -> Result<Vec<SecretRow>, StoreError>;
    /// Removes one version, or all of them; answers how many there were.
    fn remove_secret(
        &self,
        realm: &Realm,
        user: Option<&UserId>,
        label: &SecretLabel,
        version: Option<u32>,
    ) -> Result<u32, StoreError>;

    /// Adds a component, or makes a known one the active one of its name: the earlier one of that name stays, inactive.
    fn activate_component(&self, row: &ComponentRow) -> Result<(), StoreError>;
    /// All components, the active ones first.
    fn components(&self) -> Result<Vec<ComponentRow>, StoreError>;
    /// Takes a component out of use by name. False when there's no such active component.
    fn deactivate_component(&self, name: &str) -> Result<bool, StoreError>;
}

/// Which audit rows to read.
#[derive(Debug, Clone, Default)]
pub struct RowFilter {
    /// Rows within this reach only. `None`: all (the host's operator).
    pub reach: Option<Reach>,
    /// Rows of this call only.
    pub call: Option<CallId>,
    /// All rows of the calls of this conversation, and those without a call that are filed under it. The host's own aren't
    /// anybody's.
    pub conversation: Option<ConversationId>,
    /// The same of an agent.
    pub agent: Option<AgentId>,
    /// The same of a token.
    pub token: Option<TokenId>,
    /// Rows that were recorded at this time or later only.
    pub since: Option<Millis>,
    /// Rows that were recorded before this time only.
    pub until: Option<Millis>,
    /// Rows before this sequence number only, for paging backwards.
    pub before: Option<u64>,
    /// Rows from this sequence number on only, for walking forwards.
    pub from: Option<u64>,
    /// At most so many rows. Zero: none.
    pub limit: u32,
    /// Newest first, instead of oldest first.
    pub newest_first: bool,
}

impl RowFilter {
    /// Whether the rows are those of somebody: of a conversation, an agent or a token.
    #[must_use]
    pub fn is_of_someone(&self) -> bool {
        self.conversation.is_some() || self.agent.is_some() || self.token.is_some()
    }

    /// Whether no time is in between its two, whatever there is.
    #[must_use]
    pub fn is_of_no_time(&self) -> bool {
        self.since.zip(self.until).is_some_and(|(since, until)| since >= until)
    }
}

/// One transaction on the audit trail. No other process writes to it meanwhile.
pub trait TrailTx {
    /// The number and hash of the last record, by whichever process; `(0, all zeros)` when there's none.
    fn head(&mut self) -> Result<(u64, Digest), StoreError>;
    /// Adds a record, numbered and chained on from the last.
    fn insert(&mut self, record: AuditRecord) -> Result<(), StoreError>;
    /// The ledger: what is changed in it is part of the same transaction.
    fn ledger(&mut self) -> &mut dyn LedgerTx;
}

/// What is done in one transaction. It may be tried only once.
pub type TrailWork<'w> = &'w mut dyn FnMut(&mut dyn TrailTx) -> Result<(), StoreError>;

/// The audit trail. Only `audit` writes to it.
pub trait AuditStore: Send + Sync + 'static {
    /// Does something in one transaction, durable when this returns; after an error nothing of it is stored. `work` is
    /// called at most once.
    fn write(&self, work: TrailWork<'_>) -> Result<(), StoreError>;
    /// Whether what is written is still found where others look for it.
    fn check(&self) -> Result<(), StoreError> {
        Ok(())
    }
    /// Whether a write never waits, for a disk or anything else. Then it's done where it's asked for.
    fn is_instant(&self) -> bool {
        false
    }
    /// Reads records.
    fn rows(&self, filter: &RowFilter) -> Result<Vec<AuditRecord>, StoreError>;
    /// The number and hash of the last record; `(0, all zeros)` when there's none.
    fn head(&self) -> Result<(u64, Digest), StoreError>;
    /// The numbers of the records that are older, by the clock, than the one before them, in order: where the store keeps
    /// them, to find records by their time.
    fn set_back(&self) -> Result<Option<Vec<u64>>, StoreError> {
        Ok(None)
    }
}
