//! The audit trail in SQLite.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rusqlite::{CachedStatement, Connection, Row, Transaction};

use super::fields::{Fields, all, first};
use super::ledger;
use super::open::{Absent, Patience, Schema, Shared};
use super::within;
use crate::clock::Millis;
use crate::ids::{Digest, Realm, ReservationId};
use crate::reach::Reach;
use crate::store::{
    AuditRecord, AuditStore, CounterRow, EntryRow, LedgerStore, LedgerTx, RowFilter, StoreError, TrailTx,
    TrailWork, WriteRow,
};

pub(super) const SCHEMA: Schema = Schema {
    what: "audit trail",
    application: 0x4b62_4155,
    version: 1,
    tables: &[
        "
        CREATE TABLE IF NOT EXISTS audit (
            seq         INTEGER PRIMARY KEY CHECK (seq > 0),
            at          INTEGER NOT NULL,
            tenant      TEXT,
            environment TEXT,
            call        TEXT,
            event       TEXT NOT NULL,
            prev        BLOB NOT NULL,
            hash        BLOB NOT NULL
        ) STRICT;
        CREATE INDEX IF NOT EXISTS audit_call ON audit (call) WHERE call IS NOT NULL;
        CREATE INDEX IF NOT EXISTS audit_tenant ON audit (tenant) WHERE tenant IS NOT NULL;
        CREATE INDEX IF NOT EXISTS audit_realm ON audit (tenant, environment) WHERE tenant IS NOT NULL;
    ",
        ledger::TABLES,
    ],
    remedy: "put its copy back; without one, `keybearer audit new` begins another, with nothing spent and nothing held",
};

const INSERT: &str = "INSERT INTO audit (seq, at, tenant, environment, call, event, prev, hash) \
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";

/// The audit trail in a file of its own.
#[derive(Debug)]
pub struct SqliteAudit {
    writer: Shared,
    /// Apart from the writer, so that no reader keeps a call waiting.
    reader: Shared,
    /// What the writer knows of the ledger.
    ledger: Mutex<ledger::Known>,
}

/// A record's number, and what it says or why it can't be read.
pub type FoundRecord = (u64, Result<AuditRecord, StoreError>);

impl SqliteAudit {
    /// Opens the trail; creates the file, with mode 0600, if it's missing.
    ///
    /// # Errors
    /// [`StoreError::Failed`] when the file can't be created or written, [`StoreError::Damaged`] when it's no
    /// database, [`StoreError::Unsupported`] when it's another program's or of another version.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::opened(path, Absent::Made, Patience::Command)
    }

    /// Opens a trail that is there.
    ///
    /// # Errors
    /// As [`Self::open`], and [`StoreError::Gone`] when the file is missing or empty.
    pub fn existing(path: &Path) -> Result<Self, StoreError> {
        Self::opened(path, Absent::Refused, Patience::Command)
    }

    /// As [`Self::existing`], for a host: its callers hear after two seconds that another process is in the way, and who
    /// typed a command after ten.
    ///
    /// # Errors
    /// As [`Self::existing`].
    pub fn for_host(path: &Path) -> Result<Self, StoreError> {
        Self::opened(path, Absent::Refused, Patience::Host)
    }

    fn opened(path: &Path, absent: Absent, patience: Patience) -> Result<Self, StoreError> {
        Ok(Self {
            writer: Shared::open(path, &SCHEMA, absent, patience)?,
            reader: Shared::open(path, &SCHEMA, absent, patience)?,
            ledger: Mutex::default(),
        })
    }

    /// Reads every page of the file, the ledger's too, and answers whether all of them are sound.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] says which isn't.
    pub fn check_pages(&self) -> Result<(), StoreError> {
        self.reader.check_pages()
    }

    /// Writes a copy, as of one moment, into a new file with mode 0600, while others read and write this one.
    ///
    /// # Errors
    /// [`StoreError::Failed`] when the file is there already or can't be written, [`StoreError::Damaged`] when this one
    /// can't be read.
    pub fn copy_to(&self, copy: &Path) -> Result<(), StoreError> {
        self.reader.copy_to(copy)
    }

    /// Reads records as [`AuditStore::rows`] does, each for itself: its number, and what it says, or why it can't be read.
    ///
    /// # Errors
    /// Where the file itself can't be read, or a row has an impossible number.
    pub fn each_row(&self, filter: &RowFilter) -> Result<Vec<FoundRecord>, StoreError> {
        self.read(filter, |row| Ok((named(row).unsigned("seq")?, record(row))))
    }

    fn read<T>(
        &self,
        filter: &RowFilter,
        of: impl Fn(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let connection = self.reader.lock();
        let mut statement = connection.prepare_cached(&query(filter))?;
        let (tenant, environment) = within::parts(filter.reach.as_ref());
        let call = filter.call.as_ref().map(|call| call.as_str());
        // Without a bound, rows with impossible numbers are read too, and reported.
        let from = filter.from.map_or(i64::MIN, signed);
        let last = filter.before.map_or(i64::MAX, |before| signed(before).saturating_sub(1));
        all(&mut statement, rusqlite::params![tenant, environment, call, from, last, filter.limit], of)
    }
}

impl SqliteAudit {
    /// Does something in a writing transaction, with the ledger in it. It's durable when this returns `Ok` and undone
    /// otherwise.
    fn transact<T>(
        &self,
        act: impl FnOnce(&Transaction<'_>, &mut dyn LedgerTx) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut shared = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        // INVARIANT (known): given back only once what it says is committed, under the lock all along. After a failure
        // or a panic nothing is known.
        let mut known = std::mem::take(&mut *shared);
        let done = self
            .writer
            .write(|transaction| ledger::with(transaction, &mut known, |ledger| act(transaction, ledger)))?;
        *shared = known;
        Ok(done)
    }
}

impl AuditStore for SqliteAudit {
    fn write(&self, work: TrailWork<'_>) -> Result<(), StoreError> {
        // INVARIANT (one chain): the head is read under the lock that the rows are written under, so two processes
        // can't chain on to the same row.
        self.transact(|transaction, ledger| work(&mut Tx { transaction, insert: None, ledger }))
    }

    fn check(&self) -> Result<(), StoreError> {
        self.writer.place().look()
    }

    fn rows(&self, filter: &RowFilter) -> Result<Vec<AuditRecord>, StoreError> {
        self.read(filter, record)
    }

    fn head(&self) -> Result<(u64, Digest), StoreError> {
        head(&self.reader.lock())
    }
}

/// A writing transaction.
struct Tx<'t> {
    transaction: &'t Connection,
    insert: Option<CachedStatement<'t>>,
    ledger: &'t mut dyn LedgerTx,
}

impl TrailTx for Tx<'_> {
    fn head(&mut self) -> Result<(u64, Digest), StoreError> {
        head(self.transaction)
    }

    fn insert(&mut self, record: AuditRecord) -> Result<(), StoreError> {
        let seq = i64::try_from(record.seq)
            .map_err(|_| StoreError::Failed("the audit trail has used up its numbers".to_owned()))?;
        let realm = record.realm.as_ref();
        // Looked up once: a transaction has up to a thousand rows.
        let insert = match &mut self.insert {
            Some(insert) => insert,
            None => self.insert.insert(self.transaction.prepare_cached(INSERT)?),
        };
        insert.execute(rusqlite::params![
            seq,
            record.at.0,
            realm.map(|realm| realm.tenant.as_str()),
            realm.map(|realm| realm.environment.as_str()),
            record.call.as_ref().map(|call| call.as_str()),
            record.event,
            record.prev.0.as_slice(),
            record.hash.0.as_slice(),
        ])?;
        Ok(())
    }

    fn ledger(&mut self) -> &mut dyn LedgerTx {
        self.ledger
    }
}

impl LedgerStore for SqliteAudit {
    fn ledger(
        &self,
        act: &mut dyn FnMut(&mut dyn LedgerTx) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.transact(|_, ledger| act(ledger))
    }

    fn counters(&self) -> Result<Vec<CounterRow>, StoreError> {
        ledger::counters(&self.reader.lock())
    }

    fn current_counters(
        &self,
        at: Millis,
        reach: Option<&Reach>,
        limit: u32,
    ) -> Result<Vec<CounterRow>, StoreError> {
        ledger::current_counters(&self.reader.lock(), at, reach, limit)
    }

    fn held(&self, reach: Option<&Reach>, limit: u32) -> Result<Vec<EntryRow>, StoreError> {
        ledger::held(&self.reader.lock(), reach, limit)
    }

    fn held_begun(&self, after: Millis, up_to: Millis) -> Result<Vec<EntryRow>, StoreError> {
        ledger::held_begun(&self.reader.lock(), after, up_to)
    }

    fn reservation(&self, id: &ReservationId) -> Result<Option<(EntryRow, Option<WriteRow>)>, StoreError> {
        let reader = self.reader.lock();
        let Some(entry) = ledger::entry_of(&reader, id)? else { return Ok(None) };
        let write = entry.write.as_ref().map(|key| ledger::write_of(&reader, key)).transpose()?.flatten();
        Ok(Some((entry, write)))
    }
}

/// Its parameters: tenant, environment, call, first and last number, limit.
fn query(filter: &RowFilter) -> String {
    // Each index ends in `seq`, so each of these reads the rows it answers and no others; with a call, its few rows are
    // looked through for those within reach (`+` keeps SQLite from the other indexes). Of the two that begin with the
    // tenant, SQLite can't know that one has far fewer rows.
    let within = match (filter.reach.as_ref().map(Reach::environment), &filter.call) {
        (Some(None), Some(_)) => "+tenant = ?1 AND ?2 IS NULL",
        (Some(Some(_)), Some(_)) => "+tenant = ?1 AND +environment = ?2",
        (None, _) | (Some(_), None) => within::condition(filter.reach.as_ref()),
    };
    let call = if filter.call.is_some() { "call = ?3" } else { "?3 IS NULL" };
    let is_of_one = filter.reach.as_ref().is_some_and(|reach| reach.environment().is_some());
    let index = if is_of_one && filter.call.is_none() { "INDEXED BY audit_realm" } else { "" };
    let order = if filter.newest_first { "DESC" } else { "ASC" };
    format!(
        "SELECT seq, at, tenant, environment, call, event, prev, hash FROM audit {index} \
         WHERE {within} AND {call} AND seq >= ?4 AND seq <= ?5 ORDER BY seq {order} LIMIT ?6"
    )
}

fn head(connection: &Connection) -> Result<(u64, Digest), StoreError> {
    let mut newest = connection.prepare_cached("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1")?;
    let found = first(&mut newest, [], |row| {
        let fields = named(row);
        Ok((fields.unsigned("seq")?, Digest(fields.get("hash")?)))
    })?;
    Ok(found.unwrap_or((0, Digest([0; 32]))))
}

fn record(row: &Row<'_>) -> Result<AuditRecord, StoreError> {
    let fields = named(row);
    let realm = match (fields.parse_optional("tenant")?, fields.parse_optional("environment")?) {
        (Some(tenant), Some(environment)) => Some(Realm { tenant, environment }),
        (None, None) => None,
        _ => return Err(fields.damaged("environment", &"a tenant and an environment go together")),
    };
    Ok(AuditRecord {
        seq: fields.unsigned("seq")?,
        at: Millis(fields.get("at")?),
        realm,
        call: fields.parse_optional("call")?,
        event: fields.get("event")?,
        prev: Digest(fields.get("prev")?),
        hash: Digest(fields.get("hash")?),
    })
}

fn named<'a, 's>(row: &'a Row<'s>) -> Fields<'a, 's> {
    Fields::new(row, "audit row", &["seq"])
}

fn signed(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
