//! What the ledger's tables say.

use rusqlite::{Connection, params};

use super::rows::{entry, state_text, tally, write};
use crate::clock::Millis;
use crate::ids::ReservationId;
use crate::reach::Reach;
use crate::store::sqlite::fields::{Fields, all, first};
use crate::store::sqlite::within;
use crate::store::{CounterKey, CounterRow, EntryRow, EntryState, StoreError, WriteRow};

macro_rules! select_entry {
    ($condition:literal) => {
        concat!(
            "SELECT call, send, tenant, environment, connection, operation, amount, currency, at, state, lines, \
             write_key FROM ledger_entries ",
            $condition
        )
    };
}

/// All counters, by name and start.
pub(in crate::store::sqlite) fn counters(connection: &Connection) -> Result<Vec<CounterRow>, StoreError> {
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

/// What is held within a reach: the oldest, at most so many.
pub(in crate::store::sqlite) fn held(
    connection: &Connection,
    reach: Option<&Reach>,
    limit: u32,
) -> Result<Vec<EntryRow>, StoreError> {
    let (tenant, environment) = within::parts(reach);
    all(&mut *connection.prepare_cached(&held_query(reach))?, params![tenant, environment, limit], entry)
}

/// Its parameters: tenant, environment, limit. The state is written out: so SQLite sees that the index of what is held has
/// all of it.
fn held_query(reach: Option<&Reach>) -> String {
    let (select, within) = (select_entry!("WHERE state = 'held' AND "), within::condition(reach));
    format!("{select}{within} ORDER BY at, call, send LIMIT ?3")
}

/// What is held and was begun after one time and up to another, the oldest first.
pub(in crate::store::sqlite) fn held_begun(
    connection: &Connection,
    after: Millis,
    up_to: Millis,
) -> Result<Vec<EntryRow>, StoreError> {
    all(&mut *connection.prepare_cached(HELD_BEGUN)?, params![after.0, up_to.0], entry)
}

const HELD_BEGUN: &str =
    select_entry!("WHERE state = 'held' AND at > ?1 AND at <= ?2 ORDER BY at, call, send");

/// An open reservation.
pub(in crate::store::sqlite) fn entry_of(
    connection: &Connection,
    id: &ReservationId,
) -> Result<Option<EntryRow>, StoreError> {
    let sql = select_entry!("WHERE call = ?1 AND send = ?2");
    first(&mut *connection.prepare_cached(sql)?, params![id.call.as_str(), id.send], entry)
}

/// What is known of a write.
pub(in crate::store::sqlite) fn write_of(
    connection: &Connection,
    key: &[u8; 32],
) -> Result<Option<WriteRow>, StoreError> {
    let sql =
        "SELECT call, send, at, until, state, status, reply, attempt FROM ledger_writes WHERE write_key = ?1";
    first(&mut *connection.prepare_cached(sql)?, params![key.as_slice()], write)
}

/// All open reservations that stand so, oldest first.
pub(super) fn entries_of(connection: &Connection, state: EntryState) -> Result<Vec<EntryRow>, StoreError> {
    let sql = select_entry!("WHERE state = ?1 ORDER BY at, call, send");
    all(&mut *connection.prepare_cached(sql)?, params![state_text(state)], entry)
}

#[cfg(test)]
mod tests {
    use rusqlite::ToSql;

    use super::super::TABLES;
    use super::*;
    use crate::ids::Realm;

    #[test]
    fn what_is_held_is_read_by_its_index() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(TABLES).unwrap();
        let plan = |sql: &str, with: &[&dyn ToSql]| -> Vec<String> {
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let rows = statement.query_map(with, |row| row.get("detail")).unwrap();
            rows.map(Result::unwrap).collect()
        };
        let realm = Realm { tenant: "acme".parse().unwrap(), environment: "prod".parse().unwrap() };
        for (reach, wanted) in [
            (None, "SCAN ledger_entries USING INDEX ledger_entries_begun"),
            (
                Some(Reach::every(realm.tenant.clone())),
                "SEARCH ledger_entries USING INDEX ledger_entries_held (tenant=?)",
            ),
            (
                Some(Reach::one(realm)),
                "SEARCH ledger_entries USING INDEX ledger_entries_held (tenant=? AND environment=?)",
            ),
        ] {
            let plan = plan(&held_query(reach.as_ref()), params!["a", "e", 9]);
            assert_eq!(plan[0], wanted, "{plan:?}");
        }
        let by_time = "SEARCH ledger_entries USING INDEX ledger_entries_begun (at>? AND at<?)";
        assert_eq!(plan(HELD_BEGUN, params![1, 2]), [by_time]);
    }
}
