//! The ledger in SQLite, in the audit trail's file.
//!
//! Counters that a transaction has touched are kept in memory until its end and written once: when sixty sends are
//! committed together, the tenant's counter is read once and written once.

use std::collections::HashMap;

use rusqlite::{Connection, Row, params};

use super::error::is_taken;
use super::fields::{Fields, all, first};
use crate::clock::Millis;
use crate::connection::Cost;
use crate::ids::Realm;
use crate::ledger::ReservationId;
use crate::store::{
    CounterId, CounterKey, CounterRow, EntryLine, EntryRow, EntryState, LedgerTx, LineKind, PruneBefore,
    StoreError, Tally, WriteRow, WriteState,
};

// AUTOINCREMENT: the number of a counter that was pruned mustn't be given to another, as an old reservation may still
// name it.
pub(super) const TABLES: &str = "
    CREATE TABLE ledger_counters (
        id       INTEGER PRIMARY KEY AUTOINCREMENT,
        name     TEXT NOT NULL,
        start    INTEGER NOT NULL,
        ends     INTEGER,
        reserved INTEGER NOT NULL CHECK (reserved >= 0),
        held     INTEGER NOT NULL CHECK (held >= 0),
        settled  INTEGER NOT NULL CHECK (settled >= 0),
        UNIQUE (name, start)
    ) STRICT;
    CREATE INDEX ledger_counters_ends ON ledger_counters (ends) WHERE ends IS NOT NULL;
    CREATE TABLE ledger_entries (
        call        TEXT NOT NULL,
        send        INTEGER NOT NULL,
        tenant      TEXT NOT NULL,
        environment TEXT NOT NULL,
        connection  TEXT NOT NULL,
        operation   TEXT NOT NULL,
        amount      INTEGER,
        currency    TEXT,
        at          INTEGER NOT NULL,
        state       TEXT NOT NULL,
        lines       TEXT NOT NULL,
        write_key   BLOB,
        PRIMARY KEY (call, send)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE ledger_writes (
        write_key BLOB PRIMARY KEY,
        call      TEXT NOT NULL,
        send      INTEGER NOT NULL,
        at        INTEGER NOT NULL,
        until     INTEGER NOT NULL,
        state     TEXT NOT NULL,
        status    INTEGER,
        reply     BLOB
    ) STRICT;
    CREATE INDEX ledger_writes_until ON ledger_writes (until);
";

const ENTRY: &str = "SELECT call, send, tenant, environment, connection, operation, amount, currency, at, state, lines, write_key \
     FROM ledger_entries";

/// Does something with the ledger inside a transaction. What it has counted is written when it has ended well; it's
/// the caller who commits.
pub(super) fn with<T>(
    transaction: &Connection,
    act: impl FnOnce(&mut dyn LedgerTx) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let mut ledger = SqliteLedger { transaction, ids: HashMap::new(), touched: HashMap::new() };
    let done = act(&mut ledger)?;
    ledger.flush()?;
    Ok(done)
}

/// All counters, by name and start.
pub(super) fn counters(connection: &Connection) -> Result<Vec<CounterRow>, StoreError> {
    let sql = "SELECT name, start, ends, reserved, held, settled FROM ledger_counters ORDER BY name, start";
    all(&mut *connection.prepare_cached(sql)?, [], |row| {
        let fields = Fields::new(row, "ledger counter", &["name", "start"]);
        Ok(CounterRow {
            key: CounterKey { name: fields.get("name")?, start: Millis(fields.get("start")?) },
            ends: fields.get::<Option<i64>>("ends")?.map(Millis),
            tally: tally(&fields)?,
        })
    })
}

/// INVARIANT (written once): a counter in `touched` is newer there than in its table. Nothing reads or removes a
/// counter past `touched`, and `flush` writes all of it.
struct SqliteLedger<'t> {
    transaction: &'t Connection,
    ids: HashMap<CounterKey, CounterId>,
    touched: HashMap<CounterId, Touched>,
}

struct Touched {
    tally: Tally,
    changed: bool,
}

impl SqliteLedger<'_> {
    fn flush(&mut self) -> Result<(), StoreError> {
        let sql = "UPDATE ledger_counters SET reserved = ?2, held = ?3, settled = ?4 WHERE id = ?1";
        let mut update = self.transaction.prepare_cached(sql)?;
        for (id, touched) in self.touched.drain().filter(|(_, touched)| touched.changed) {
            let Tally { reserved, held, settled } = touched.tally;
            update.execute(params![id.0, signed(reserved)?, signed(held)?, signed(settled)?])?;
        }
        self.ids.clear();
        Ok(())
    }
}

impl LedgerTx for SqliteLedger<'_> {
    fn find(&mut self, key: &CounterKey) -> Result<Option<(CounterId, Tally)>, StoreError> {
        if let Some(id) = self.ids.get(key)
            && let Some(touched) = self.touched.get(id)
        {
            return Ok(Some((*id, touched.tally)));
        }
        let sql = "SELECT id, name, start, reserved, held, settled FROM ledger_counters WHERE name = ?1 AND start = ?2";
        let mut select = self.transaction.prepare_cached(sql)?;
        let found = first(&mut select, params![key.name, key.start.0], |row| {
            let fields = Fields::new(row, "ledger counter", &["name", "start"]);
            Ok((CounterId(fields.get("id")?), tally(&fields)?))
        })?;
        let Some((id, tally)) = found else { return Ok(None) };
        self.ids.insert(key.clone(), id);
        // One that was reached by its number before may have changed since.
        let touched = self.touched.entry(id).or_insert(Touched { tally, changed: false });
        Ok(Some((id, touched.tally)))
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
        self.ids.insert(row.key.clone(), id);
        self.touched.insert(id, Touched { tally: row.tally, changed: false });
        Ok(id)
    }

    fn tally(&mut self, id: CounterId) -> Result<Option<Tally>, StoreError> {
        if let Some(touched) = self.touched.get(&id) {
            return Ok(Some(touched.tally));
        }
        let sql = "SELECT name, start, reserved, held, settled FROM ledger_counters WHERE id = ?1";
        let found = first(&mut *self.transaction.prepare_cached(sql)?, params![id.0], |row| {
            tally(&Fields::new(row, "ledger counter", &["name", "start"]))
        })?;
        if let Some(tally) = found {
            self.touched.insert(id, Touched { tally, changed: false });
        }
        Ok(found)
    }

    fn set_tally(&mut self, id: CounterId, tally: Tally) -> Result<(), StoreError> {
        if self.tally(id)?.is_none() {
            return Err(StoreError::Missing(format!("the counter {}", id.0)));
        }
        self.touched.insert(id, Touched { tally, changed: true });
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
            row.connection.as_str(),
            row.operation.as_str(),
            row.cost.as_ref().map(|cost| cost.amount_minor),
            row.cost.as_ref().map(|cost| cost.currency.as_str()),
            row.at.0,
            state_text(row.state),
            lines_text(&row.lines)?,
            row.write.as_ref().map(<[u8; 32]>::as_slice),
        ]);
        match inserted {
            Err(error) if is_taken(&error) => Err(StoreError::Exists(format!("the reservation {}", row.id))),
            other => other.map(drop).map_err(StoreError::from),
        }
    }

    fn entry(&mut self, id: &ReservationId) -> Result<Option<EntryRow>, StoreError> {
        let sql = format!("{ENTRY} WHERE call = ?1 AND send = ?2");
        first(&mut *self.transaction.prepare_cached(&sql)?, params![id.call.as_str(), id.send], entry)
    }

    fn update_entry(
        &mut self,
        id: &ReservationId,
        state: EntryState,
        lines: &[EntryLine],
    ) -> Result<(), StoreError> {
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
        let sql = "DELETE FROM ledger_entries WHERE call = ?1 AND send = ?2";
        self.transaction.prepare_cached(sql)?.execute(params![id.call.as_str(), id.send])?;
        Ok(())
    }

    fn entries(&mut self, state: EntryState) -> Result<Vec<EntryRow>, StoreError> {
        let sql = format!("{ENTRY} WHERE state = ?1 ORDER BY at, call, send");
        all(&mut *self.transaction.prepare_cached(&sql)?, params![state_text(state)], entry)
    }

    fn write(&mut self, key: &[u8; 32]) -> Result<Option<WriteRow>, StoreError> {
        let sql =
            "SELECT call, send, at, until, state, status, reply FROM ledger_writes WHERE write_key = ?1";
        first(&mut *self.transaction.prepare_cached(sql)?, params![key.as_slice()], write)
    }

    fn put_write(&mut self, key: &[u8; 32], row: &WriteRow) -> Result<(), StoreError> {
        let (status, reply) = match &row.state {
            WriteState::Done { status, reply } => (*status, reply.as_deref()),
            WriteState::UnderWay | WriteState::Unknown => (None, None),
        };
        let sql = "INSERT INTO ledger_writes (write_key, call, send, at, until, state, status, reply) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (write_key) DO UPDATE SET call = ?2, \
                   send = ?3, at = ?4, until = ?5, state = ?6, status = ?7, reply = ?8";
        self.transaction.prepare_cached(sql)?.execute(params![
            key.as_slice(),
            row.reservation.call.as_str(),
            row.reservation.send,
            row.at.0,
            row.until.0,
            write_text(&row.state),
            status,
            reply,
        ])?;
        Ok(())
    }

    fn remove_write(&mut self, key: &[u8; 32]) -> Result<(), StoreError> {
        let sql = "DELETE FROM ledger_writes WHERE write_key = ?1";
        self.transaction.prepare_cached(sql)?.execute(params![key.as_slice()])?;
        Ok(())
    }

    fn prune(&mut self, before: PruneBefore) -> Result<u64, StoreError> {
        self.flush()?;
        let counters = self
            .transaction
            .prepare_cached(
                "DELETE FROM ledger_counters WHERE ends < ?1 OR (ends < ?2 AND ends - start <= 3600000)",
            )?
            .execute(params![before.ended.0, before.short_ended.0])?;
        let writes = self
            .transaction
            .prepare_cached("DELETE FROM ledger_writes WHERE until <= ?1 AND state <> 'under_way'")?
            .execute(params![before.writes.0])?;
        // Held without money: it stood for its write alone.
        let entries = self.transaction.prepare_cached(
            "DELETE FROM ledger_entries WHERE state = 'held' AND lines = '[]' AND NOT EXISTS (SELECT 1 FROM \
             ledger_writes w WHERE w.write_key = ledger_entries.write_key AND w.call = ledger_entries.call AND \
             w.send = ledger_entries.send)",
        )?.execute([])?;
        Ok((counters + writes + entries) as u64)
    }
}

fn tally(fields: &Fields<'_, '_>) -> Result<Tally, StoreError> {
    Ok(Tally {
        reserved: fields.unsigned("reserved")?,
        held: fields.unsigned("held")?,
        settled: fields.unsigned("settled")?,
    })
}

fn entry(row: &Row<'_>) -> Result<EntryRow, StoreError> {
    let fields = Fields::new(row, "ledger entry", &["call", "send"]);
    let cost = match (fields.get::<Option<i64>>("amount")?, fields.get::<Option<String>>("currency")?) {
        (Some(amount_minor), Some(currency)) => Some(Cost { amount_minor, currency }),
        (None, None) => None,
        _ => return Err(fields.damaged("currency", &"an amount and a currency go together")),
    };
    let state: String = fields.get("state")?;
    let lines: String = fields.get("lines")?;
    Ok(EntryRow {
        id: ReservationId { call: fields.parse("call")?, send: fields.unsigned("send")? },
        realm: Realm { tenant: fields.parse("tenant")?, environment: fields.parse("environment")? },
        connection: fields.parse("connection")?,
        operation: fields.parse("operation")?,
        cost,
        at: Millis(fields.get("at")?),
        state: [EntryState::UnderWay, EntryState::Held]
            .into_iter()
            .find(|known| state_text(*known) == state)
            .ok_or_else(|| fields.damaged("state", &"no such state"))?,
        lines: lines_of(&lines).ok_or_else(|| fields.damaged("lines", &"these are no lines"))?,
        write: fields.get("write_key")?,
    })
}

fn write(row: &Row<'_>) -> Result<WriteRow, StoreError> {
    let fields = Fields::new(row, "ledger write", &["call", "send"]);
    let state: String = fields.get("state")?;
    let status: Option<i64> = fields.get("status")?;
    let status = status.map(u16::try_from).transpose().map_err(|error| fields.damaged("status", &error))?;
    Ok(WriteRow {
        reservation: ReservationId { call: fields.parse("call")?, send: fields.unsigned("send")? },
        at: Millis(fields.get("at")?),
        until: Millis(fields.get("until")?),
        state: match state.as_str() {
            "under_way" => WriteState::UnderWay,
            "done" => WriteState::Done { status, reply: fields.get("reply")? },
            "unknown" => WriteState::Unknown,
            _ => return Err(fields.damaged("state", &"no such state")),
        },
    })
}

fn state_text(state: EntryState) -> &'static str {
    match state {
        EntryState::UnderWay => "under_way",
        EntryState::Held => "held",
    }
}

fn write_text(state: &WriteState) -> &'static str {
    match state {
        WriteState::UnderWay => "under_way",
        WriteState::Done { .. } => "done",
        WriteState::Unknown => "unknown",
    }
}

/// `[[12,500,"money"],[13,1,"request"]]`.
fn lines_text(lines: &[EntryLine]) -> Result<String, StoreError> {
    let rows: Vec<_> = lines.iter().map(|line| (line.counter.0, line.amount, kind_text(line.kind))).collect();
    serde_json::to_string(&rows).map_err(|error| StoreError::Failed(error.to_string()))
}

fn lines_of(text: &str) -> Option<Vec<EntryLine>> {
    let rows: Vec<(i64, u64, String)> = serde_json::from_str(text).ok()?;
    let kinds = [LineKind::Money, LineKind::Request, LineKind::AtOnce];
    rows.into_iter()
        .map(|(counter, amount, kind)| {
            let kind = kinds.into_iter().find(|known| kind_text(*known) == kind)?;
            Some(EntryLine { counter: CounterId(counter), amount, kind })
        })
        .collect()
}

fn kind_text(kind: LineKind) -> &'static str {
    match kind {
        LineKind::Money => "money",
        LineKind::Request => "request",
        LineKind::AtOnce => "at_once",
    }
}

/// By INVARIANT (counted) it always fits.
fn signed(amount: u64) -> Result<i64, StoreError> {
    i64::try_from(amount).map_err(|_| StoreError::Failed(format!("{amount} is more than a counter holds")))
}
