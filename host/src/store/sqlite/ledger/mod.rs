//! The ledger in SQLite, in the audit trail's file.
//!
//! What a transaction has read or changed is kept in memory for the next ones, and a counter is written once a
//! transaction: when sixty sends are committed together, the tenant's counter is written once and not read at all.

mod read;
mod rows;

use std::collections::{HashMap, HashSet};

use rusqlite::{Connection, params};

use self::read::{beyond, entries_of};
pub(super) use self::read::{counters, current_counters, entry_of, held, held_begun, write_of};
use self::rows::{lines_text, signed, state_text, tally, write_text};
use super::error::is_taken;
use super::fields::{Fields, first};
use crate::clock::Millis;
use crate::ids::ReservationId;
use crate::store::{
    CounterId, CounterKey, CounterRow, EntryLine, EntryRow, EntryState, LedgerTx, PruneBefore, StoreError,
    Tally, WriteRow, WriteState,
};

// AUTOINCREMENT: the number of a counter that was pruned mustn't be given to another, as an old reservation may still
// name it.
pub(super) const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS ledger_counters (
        id       INTEGER PRIMARY KEY AUTOINCREMENT,
        name     TEXT NOT NULL,
        start    INTEGER NOT NULL,
        ends     INTEGER,
        reserved INTEGER NOT NULL CHECK (reserved >= 0),
        held     INTEGER NOT NULL CHECK (held >= 0),
        settled  INTEGER NOT NULL CHECK (settled >= 0),
        UNIQUE (name, start)
    ) STRICT;
    CREATE INDEX IF NOT EXISTS ledger_counters_ends ON ledger_counters (ends) WHERE ends IS NOT NULL;
    CREATE INDEX IF NOT EXISTS ledger_counters_short ON ledger_counters (ends) WHERE ends - start <= 3600000;
    CREATE TABLE IF NOT EXISTS ledger_entries (
        call        TEXT NOT NULL,
        send        INTEGER NOT NULL,
        tenant      TEXT NOT NULL,
        environment TEXT NOT NULL,
        connection  TEXT,
        operation   TEXT,
        amount      INTEGER,
        currency    TEXT,
        at          INTEGER NOT NULL,
        state       TEXT NOT NULL,
        lines       TEXT NOT NULL,
        write_key   BLOB,
        PRIMARY KEY (call, send)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS ledger_entries_held ON ledger_entries (tenant, environment, at) WHERE state = 'held';
    CREATE INDEX IF NOT EXISTS ledger_entries_begun ON ledger_entries (at) WHERE state = 'held';
    CREATE INDEX IF NOT EXISTS ledger_entries_idle ON ledger_entries (at) WHERE state = 'held' AND lines = '[]';
    CREATE TABLE IF NOT EXISTS ledger_writes (
        write_key BLOB PRIMARY KEY,
        call      TEXT NOT NULL,
        send      INTEGER NOT NULL,
        at        INTEGER NOT NULL,
        until     INTEGER NOT NULL,
        state     TEXT NOT NULL,
        status    INTEGER,
        reply     BLOB,
        attempt   INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS ledger_writes_until ON ledger_writes (until);
    CREATE INDEX IF NOT EXISTS ledger_writes_replies ON ledger_writes (until) WHERE reply IS NOT NULL;
    CREATE TABLE IF NOT EXISTS ledger_refunds (
        refund_key BLOB PRIMARY KEY,
        at         INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
";

/// The most counters that are kept in memory, a few hundred bytes each. With more, all are forgotten and read anew.
const COUNTERS_KEPT_MAX: usize = 16_384;

// What is pruned. The parameters of each: a time, and how many rows at most. The inner queries find no others than those
// that go, each by an index that holds little else.

const PRUNE_ENDED: &str = "DELETE FROM ledger_counters WHERE id IN (SELECT id FROM ledger_counters \
    INDEXED BY ledger_counters_ends WHERE ends < ?1 LIMIT ?2)";

/// Counters of an hour at most.
const PRUNE_SHORT: &str = "DELETE FROM ledger_counters WHERE id IN (SELECT id FROM ledger_counters \
    INDEXED BY ledger_counters_short WHERE ends - start <= 3600000 AND ends < ?1 LIMIT ?2)";

const PRUNE_WRITES: &str = "DELETE FROM ledger_writes WHERE rowid IN (SELECT rowid FROM ledger_writes \
    INDEXED BY ledger_writes_until WHERE until <= ?1 AND state <> 'under_way' LIMIT ?2)";

const PRUNE_REPLIES: &str = "UPDATE ledger_writes SET reply = NULL WHERE rowid IN (SELECT rowid FROM ledger_writes \
    INDEXED BY ledger_writes_replies WHERE until <= ?1 AND reply IS NOT NULL LIMIT ?2)";

/// What is held without money: it stood for its write alone, while that had its time.
const PRUNE_IDLE: &str = "DELETE FROM ledger_entries WHERE (call, send) IN (SELECT call, send FROM ledger_entries e \
    INDEXED BY ledger_entries_idle WHERE state = 'held' AND lines = '[]' AND NOT EXISTS (SELECT 1 FROM \
    ledger_writes w WHERE w.write_key = e.write_key AND w.call = e.call AND w.send = e.send AND w.until > ?1) \
    LIMIT ?2)";

/// What is known of the tables without reading them.
///
/// INVARIANT (known): it's what this connection's last committed transaction left, as of `version`. Whoever uses it
/// holds its lock from before the transaction begins until after it's committed, and empties it when that fails.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// SQLite's `data_version`: another number when another connection has committed anything.
    version: i64,
    ids: HashMap<CounterKey, CounterId>,
    tallies: HashMap<CounterId, Tally>,
    /// Those under way.
    entries: HashMap<ReservationId, EntryRow>,
}

/// Does something with the ledger inside a transaction. What it has counted is written when it has ended well; it's
/// the caller who commits.
pub(super) fn with<T>(
    transaction: &Connection,
    known: &mut Known,
    act: impl FnOnce(&mut dyn LedgerTx) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let version = transaction.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?;
    if known.version != version || known.tallies.len() > COUNTERS_KEPT_MAX {
        *known = Known { version, ..Known::default() };
    }
    let mut ledger = SqliteLedger { transaction, known, changed: HashSet::new() };
    let done = act(&mut ledger)?;
    ledger.flush()?;
    Ok(done)
}

/// INVARIANT (written once): a counter in `changed` is newer in `known` than in its table. Nothing reads or removes a
/// counter past `known`, and `flush` writes all of `changed`.
struct SqliteLedger<'t> {
    transaction: &'t Connection,
    known: &'t mut Known,
    changed: HashSet<CounterId>,
}

impl SqliteLedger<'_> {
    /// Before counters are removed past `known`.
    fn forget_known(&mut self) -> Result<(), StoreError> {
        self.flush()?;
        *self.known = Known { version: self.known.version, ..Known::default() };
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        let sql = "UPDATE ledger_counters SET reserved = ?2, held = ?3, settled = ?4 WHERE id = ?1";
        let mut update = self.transaction.prepare_cached(sql)?;
        for id in self.changed.drain() {
            if let Some(Tally { reserved, held, settled }) = self.known.tallies.get(&id) {
                update.execute(params![id.0, signed(*reserved)?, signed(*held)?, signed(*settled)?])?;
            }
        }
        Ok(())
    }
}

impl LedgerTx for SqliteLedger<'_> {
    fn find(&mut self, key: &CounterKey) -> Result<Option<(CounterId, Tally)>, StoreError> {
        if let Some(id) = self.known.ids.get(key)
            && let Some(tally) = self.known.tallies.get(id)
        {
            return Ok(Some((*id, *tally)));
        }
        let sql = "SELECT id, name, start, reserved, held, settled FROM ledger_counters WHERE name = ?1 AND start = ?2";
        let mut select = self.transaction.prepare_cached(sql)?;
        let found = first(&mut select, params![key.name, key.start.0], |row| {
            let fields = Fields::new(row, "ledger counter", &["name", "start"]);
            Ok((CounterId(fields.get("id")?), tally(&fields)?))
        })?;
        let Some((id, tally)) = found else { return Ok(None) };
        self.known.ids.insert(key.clone(), id);
        // One that was reached by its number before may have changed since.
        Ok(Some((id, *self.known.tallies.entry(id).or_insert(tally))))
    }

    fn create(&mut self, row: &CounterRow) -> Result<CounterId, StoreError> {
        let sql = "INSERT INTO ledger_counters (name, start, ends, reserved, held, settled) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let Tally { reserved, held, settled } = row.tally;
        let inserted = self.transaction.prepare_cached(sql)?.insert(params![
            row.key.name,
            row.key.start.0,
            row.ends.map(|ends| ends.0),
            signed(reserved)?,
            signed(held)?,
            signed(settled)?,
        ]);
        let id = match inserted {
            Err(error) if is_taken(&error) => {
                return Err(StoreError::Exists(format!("the counter {}", row.key.name)));
            }
            other => CounterId(other?),
        };
        self.known.ids.insert(row.key.clone(), id);
        self.known.tallies.insert(id, row.tally);
        Ok(id)
    }

    fn tally(&mut self, id: CounterId) -> Result<Option<Tally>, StoreError> {
        if let Some(tally) = self.known.tallies.get(&id) {
            return Ok(Some(*tally));
        }
        let sql = "SELECT name, start, reserved, held, settled FROM ledger_counters WHERE id = ?1";
        let found = first(&mut *self.transaction.prepare_cached(sql)?, params![id.0], |row| {
            tally(&Fields::new(row, "ledger counter", &["name", "start"]))
        })?;
        if let Some(tally) = found {
            self.known.tallies.insert(id, tally);
        }
        Ok(found)
    }

    fn set_tally(&mut self, id: CounterId, tally: Tally) -> Result<(), StoreError> {
        if self.tally(id)?.is_none() {
            return Err(StoreError::Missing(format!("the counter {}", id.0)));
        }
        self.known.tallies.insert(id, tally);
        self.changed.insert(id);
        Ok(())
    }

    fn insert_entry(&mut self, row: &EntryRow) -> Result<(), StoreError> {
        let sql = "INSERT INTO ledger_entries (call, send, tenant, environment, connection, operation, amount, \
                   currency, at, state, lines, write_key) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
        let inserted = self.transaction.prepare_cached(sql)?.execute(params![
            row.id.call.as_str(),
            row.id.send,
            row.realm.tenant.as_str(),
            row.realm.environment.as_str(),
            row.connection.as_ref().map(|connection| connection.as_str()),
            row.operation.as_ref().map(|operation| operation.as_str()),
            row.cost.as_ref().map(|cost| cost.amount_minor),
            row.cost.as_ref().map(|cost| cost.currency.as_str()),
            row.at.0,
            state_text(row.state),
            lines_text(&row.lines)?,
            row.write.as_ref().map(<[u8; 32]>::as_slice),
        ]);
        match inserted {
            Err(error) if is_taken(&error) => Err(StoreError::Exists(format!("the reservation {}", row.id))),
            other => {
                other?;
                self.known.entries.insert(row.id.clone(), row.clone());
                Ok(())
            }
        }
    }

    fn entry(&mut self, id: &ReservationId) -> Result<Option<EntryRow>, StoreError> {
        if let Some(entry) = self.known.entries.get(id) {
            return Ok(Some(entry.clone()));
        }
        entry_of(self.transaction, id)
    }

    fn update_entry(
        &mut self,
        id: &ReservationId,
        state: EntryState,
        lines: &[EntryLine],
    ) -> Result<(), StoreError> {
        self.known.entries.remove(id);
        let sql = "UPDATE ledger_entries SET state = ?3, lines = ?4 WHERE call = ?1 AND send = ?2";
        let changed = self.transaction.prepare_cached(sql)?.execute(params![
            id.call.as_str(),
            id.send,
            state_text(state),
            lines_text(lines)?,
        ])?;
        if changed == 1 { Ok(()) } else { Err(StoreError::Missing(format!("the reservation {id}"))) }
    }

    fn remove_entry(&mut self, id: &ReservationId) -> Result<(), StoreError> {
        self.known.entries.remove(id);
        let sql = "DELETE FROM ledger_entries WHERE call = ?1 AND send = ?2";
        self.transaction.prepare_cached(sql)?.execute(params![id.call.as_str(), id.send])?;
        Ok(())
    }

    fn entries(&mut self, state: EntryState) -> Result<Vec<EntryRow>, StoreError> {
        entries_of(self.transaction, state)
    }

    fn write(&mut self, key: &[u8; 32]) -> Result<Option<WriteRow>, StoreError> {
        write_of(self.transaction, key)
    }

    fn put_write(&mut self, key: &[u8; 32], row: &WriteRow) -> Result<(), StoreError> {
        let (status, reply) = match &row.state {
            WriteState::Done { status, reply } => (*status, reply.as_deref()),
            WriteState::UnderWay | WriteState::Unknown | WriteState::Refused => (None, None),
        };
        let sql = "INSERT INTO ledger_writes (write_key, call, send, at, until, state, status, reply, attempt) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (write_key) DO UPDATE SET call = ?2, \
                   send = ?3, at = ?4, until = ?5, state = ?6, status = ?7, reply = ?8, attempt = ?9";
        self.transaction.prepare_cached(sql)?.execute(params![
            key.as_slice(),
            row.reservation.call.as_str(),
            row.reservation.send,
            row.at.0,
            row.until.0,
            write_text(&row.state),
            status,
            reply,
            row.attempt,
        ])?;
        Ok(())
    }

    fn remove_write(&mut self, key: &[u8; 32]) -> Result<(), StoreError> {
        let sql = "DELETE FROM ledger_writes WHERE write_key = ?1";
        self.transaction.prepare_cached(sql)?.execute(params![key.as_slice()])?;
        Ok(())
    }

    fn note_refund(&mut self, key: &[u8; 32], at: Millis) -> Result<bool, StoreError> {
        let sql = "INSERT INTO ledger_refunds (refund_key, at) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
        Ok(self.transaction.prepare_cached(sql)?.execute(params![key.as_slice(), at.0])? == 1)
    }

    fn remove_totals(&mut self, names: &str) -> Result<(), StoreError> {
        self.forget_known()?;
        let sql = "DELETE FROM ledger_counters WHERE name >= ?1 AND name < ?2 AND ends IS NULL";
        self.transaction.prepare_cached(sql)?.execute(params![names, beyond(names)])?;
        Ok(())
    }

    fn prune(&mut self, before: PruneBefore) -> Result<u64, StoreError> {
        self.forget_known()?;
        let mut pruned = 0;
        for (sql, time) in [
            (PRUNE_ENDED, before.ended),
            (PRUNE_SHORT, before.short_ended),
            (PRUNE_WRITES, before.writes),
            (PRUNE_REPLIES, before.replies),
            (PRUNE_IDLE, before.replies),
        ] {
            pruned += self.transaction.prepare_cached(sql)?.execute(params![time.0, before.most])?;
        }
        Ok(pruned as u64)
    }
}
