//! The audit trail in SQLite.

mod found;
mod times;

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{CachedStatement, Connection, Row, Transaction};

use super::fields::{Fields, all, first};
use super::ledger;
use super::open::{Absent, Patience, Schema, Shared};
use super::within;
use crate::clock::Millis;
use crate::ids::{Digest, Realm, ReservationId};
use crate::reach::Reach;
use crate::store::{
    AuditRecord, AuditStore, CounterRow, EntryRow, Filed, LedgerStore, LedgerTx, RowFilter, StoreError,
    TrailTx, TrailWork, WriteRow,
};
use found::Search;

pub(super) const SCHEMA: Schema = Schema {
    what: "audit trail",
    application: 0x4b62_4155,
    version: 2,
    tables: &[
        "
        CREATE TABLE IF NOT EXISTS audit (
            seq          INTEGER PRIMARY KEY CHECK (seq > 0),
            at           INTEGER NOT NULL,
            tenant       TEXT,
            environment  TEXT,
            call         TEXT,
            token        TEXT,
            agent        TEXT,
            conversation TEXT,
            event        TEXT NOT NULL,
            prev         BLOB NOT NULL,
            hash         BLOB NOT NULL
        ) STRICT;
        CREATE INDEX IF NOT EXISTS audit_call ON audit (call) WHERE call IS NOT NULL;
        CREATE INDEX IF NOT EXISTS audit_tenant ON audit (tenant) WHERE tenant IS NOT NULL;
        CREATE INDEX IF NOT EXISTS audit_realm ON audit (tenant, environment) WHERE tenant IS NOT NULL;
        CREATE INDEX IF NOT EXISTS audit_conversation ON audit (tenant, environment, conversation)
            WHERE conversation IS NOT NULL;
        CREATE INDEX IF NOT EXISTS audit_agent ON audit (tenant, environment, agent) WHERE agent IS NOT NULL;
        CREATE INDEX IF NOT EXISTS audit_token ON audit (tenant, environment, token) WHERE token IS NOT NULL;
    ",
        times::TABLE,
        ledger::TABLES,
    ],
    remedy: "put its copy back; without one, `keybearer audit new` begins another, with nothing spent and nothing held",
};

const INSERT: &str = "INSERT INTO audit \
                      (seq, at, tenant, environment, call, token, agent, conversation, event, prev, hash) \
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";

/// What is read of a row.
const COLUMNS: &str = "seq, at, tenant, environment, call, token, agent, conversation, event, prev, hash";

/// How long a search for somebody's rows may take in a host: others wait for their turn.
const SEARCH_MAX: Duration = Duration::from_secs(2);

/// The audit trail in a file of its own.
#[derive(Debug)]
pub struct SqliteAudit {
    writer: Shared,
    /// Apart from the writer, so that no reader keeps a call waiting.
    reader: Shared,
    /// Apart from the reader, for what may take long: so neither the writer's checkpoint nor whoever looks at a budget waits for a
    /// search.
    searcher: Shared,
    /// How long a search may take, if that's limited.
    search_max: Option<Duration>,
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
    /// typed a command after ten. A search for somebody's rows is given up after two ([`StoreError::TooLong`]).
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
            searcher: Shared::open(path, &SCHEMA, absent, patience)?,
            search_max: (patience == Patience::Host).then_some(SEARCH_MAX),
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

    /// Reads all rows and indexes of the trail, and answers whether each row is in every index that it belongs to: a row that
    /// was taken out of one isn't found by it. It takes seconds for a million rows, in which no search goes on here.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] says which isn't.
    pub fn check_indexes(&self) -> Result<(), StoreError> {
        self.searcher.check_indexes("audit")
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
        self.read(filter, COLUMNS, |row| Ok((named(row).unsigned("seq")?, record(row))))
    }

    /// The numbers of the records that [`Self::each_row`] would read: eight bytes for each, however many of them are wanted.
    ///
    /// # Errors
    /// Where the file can't be read, or a row has an impossible number.
    pub fn numbers(&self, filter: &RowFilter) -> Result<Vec<u64>, StoreError> {
        if !filter.is_of_someone() || filter.call.is_some() {
            return self.read(filter, "seq", |row| named(row).unsigned("seq"));
        }
        let mut connection = self.searcher.lock();
        let transaction = connection.transaction()?;
        let Some(range) = times::range(&transaction, filter)? else { return Ok(Vec::new()) };
        let numbers = self.search(&transaction, filter).numbers(range)?.into_iter();
        numbers.map(|seq| u64::try_from(seq).map_err(|_| impossible(seq))).collect()
    }

    /// Reads the records within reach that have these numbers, as [`Self::each_row`] does. One that is gone meanwhile is left
    /// out.
    ///
    /// # Errors
    /// As for [`Self::each_row`].
    pub fn each_of(&self, reach: Option<&Reach>, numbers: &[u64]) -> Result<Vec<FoundRecord>, StoreError> {
        let numbers = numbers.iter().copied().map(signed);
        one_by_one(&self.reader.lock(), reach, numbers, |row| Ok((named(row).unsigned("seq")?, record(row))))
    }

    /// Reads these `columns` of what a filter wants, in one transaction.
    fn read<T>(
        &self,
        filter: &RowFilter,
        columns: &str,
        of: impl Fn(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let shared = if filter.is_of_someone() { &self.searcher } else { &self.reader };
        let mut connection = shared.lock();
        let transaction = connection.transaction()?;
        let Some((from, last)) = times::range(&transaction, filter)? else { return Ok(Vec::new()) };
        if filter.is_of_someone() {
            let search = self.search(&transaction, filter);
            match &filter.call {
                None => {
                    let numbers = search.numbers((from, last))?;
                    return one_by_one(&transaction, filter.reach.as_ref(), numbers, of);
                }
                Some(call) if !search.is_of_them(call.as_str())? => return Ok(Vec::new()),
                // All of its rows are.
                Some(_) => {}
            }
        }
        let mut statement = transaction.prepare_cached(&query(filter, columns))?;
        let (tenant, environment) = within::parts(filter.reach.as_ref());
        let call = filter.call.as_ref().map(|call| call.as_str());
        let (since, until) = (filter.since.map(|since| since.0), filter.until.map(|until| until.0));
        let with = rusqlite::params![tenant, environment, call, from, last, since, until, filter.limit];
        all(&mut statement, with, of)
    }

    fn search<'s>(&self, connection: &'s Connection, filter: &'s RowFilter) -> Search<'s> {
        let until = self.search_max.map(|most| (Instant::now() + most, most));
        Search { connection, filter, until }
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
        self.transact(|transaction, ledger| {
            work(&mut Tx { transaction, insert: None, last_at: None, ledger })
        })
    }

    fn check(&self) -> Result<(), StoreError> {
        self.writer.place().look()
    }

    fn rows(&self, filter: &RowFilter) -> Result<Vec<AuditRecord>, StoreError> {
        self.read(filter, COLUMNS, record)
    }

    fn head(&self) -> Result<(u64, Digest), StoreError> {
        head(&self.reader.lock())
    }

    fn set_back(&self) -> Result<Option<Vec<u64>>, StoreError> {
        let numbers = times::set_back(&self.reader.lock())?.into_iter();
        numbers.map(|seq| u64::try_from(seq).map_err(|_| impossible(seq))).collect::<Result<_, _>>().map(Some)
    }
}

/// A writing transaction.
struct Tx<'t> {
    transaction: &'t Connection,
    insert: Option<CachedStatement<'t>>,
    /// When the last record was recorded, once one was inserted.
    last_at: Option<Millis>,
    ledger: &'t mut dyn LedgerTx,
}

impl TrailTx for Tx<'_> {
    fn head(&mut self) -> Result<(u64, Digest), StoreError> {
        head(self.transaction)
    }

    fn insert(&mut self, record: AuditRecord) -> Result<(), StoreError> {
        let seq = i64::try_from(record.seq)
            .map_err(|_| StoreError::Failed("the audit trail has used up its numbers".to_owned()))?;
        let last_at = match self.last_at {
            Some(last_at) => Some(last_at),
            None => times::at(self.transaction, seq - 1)?,
        };
        if last_at.is_some_and(|last_at| record.at < last_at) {
            times::add(self.transaction, seq)?;
        }
        self.last_at = Some(record.at);
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
            record.filed.token.as_ref().map(|token| token.as_str()),
            record.filed.agent.as_ref().map(|agent| agent.as_str()),
            record.filed.conversation.as_ref().map(|conversation| conversation.as_str()),
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

/// Reads rows by their numbers, as far as they are within reach.
fn one_by_one<T>(
    connection: &Connection,
    reach: Option<&Reach>,
    numbers: impl IntoIterator<Item = i64>,
    of: impl Fn(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM audit WHERE {} AND seq = ?3", looked_through(reach));
    let mut statement = connection.prepare_cached(&sql)?;
    let (tenant, environment) = within::parts(reach);
    let mut rows = Vec::new();
    for seq in numbers {
        rows.extend(first(&mut statement, rusqlite::params![tenant, environment, seq], &of)?);
    }
    Ok(rows)
}

/// The condition that rows are within reach, of rows that are found otherwise: `+` keeps SQLite from the indexes.
fn looked_through(reach: Option<&Reach>) -> &'static str {
    match reach.map(Reach::environment) {
        None => within::condition(None),
        Some(None) => "+tenant = ?1 AND ?2 IS NULL",
        Some(Some(_)) => "+tenant = ?1 AND +environment = ?2",
    }
}

/// Its parameters: tenant, environment, call, first and last number, since, until, limit.
fn query(filter: &RowFilter, columns: &str) -> String {
    // Each index ends in `seq`, so each of these reads the rows it answers and no others; with a call, its few rows are
    // looked through for those within reach. Of those that begin with the tenant, SQLite can't know that one has far fewer
    // rows.
    let reach = filter.reach.as_ref();
    let within = if filter.call.is_some() { looked_through(reach) } else { within::condition(reach) };
    let call = if filter.call.is_some() { "call = ?3" } else { "?3 IS NULL" };
    let index = match (reach.map(Reach::environment), &filter.call) {
        (Some(None), None) => "INDEXED BY audit_tenant",
        (Some(Some(_)), None) => "INDEXED BY audit_realm",
        _ => "",
    };
    // Beyond the numbers alone only where the clock went back.
    let since = if filter.since.is_some() { "at >= ?6" } else { "?6 IS NULL" };
    let until = if filter.until.is_some() { "at < ?7" } else { "?7 IS NULL" };
    let order = if filter.newest_first { "DESC" } else { "ASC" };
    format!(
        "SELECT {columns} FROM audit {index} \
         WHERE {within} AND {call} AND seq >= ?4 AND seq <= ?5 AND {since} AND {until} ORDER BY seq {order} LIMIT ?8"
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
        filed: Filed {
            token: fields.parse_optional("token")?,
            agent: fields.parse_optional("agent")?,
            conversation: fields.parse_optional("conversation")?,
        },
        event: fields.get("event")?,
        prev: Digest(fields.get("prev")?),
        hash: Digest(fields.get("hash")?),
    })
}

fn named<'a, 's>(row: &'a Row<'s>) -> Fields<'a, 's> {
    Fields::new(row, "audit row", &["seq"])
}

fn impossible(seq: i64) -> StoreError {
    StoreError::Damaged(format!("audit row {seq}: column seq: it has an impossible number"))
}

fn signed(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
