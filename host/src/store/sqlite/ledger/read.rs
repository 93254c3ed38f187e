//! What the ledger's tables say.

use rusqlite::{Connection, Row, params};

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
    all(&mut *connection.prepare_cached(sql)?, [], counter)
}

fn counter(row: &Row<'_>) -> Result<CounterRow, StoreError> {
    let fields = Fields::new(row, "ledger counter", &["name", "start"]);
    Ok(CounterRow {
        key: CounterKey { name: fields.get("name")?, start: Millis(fields.get("start")?) },
        ends: fields.get::<Option<i64>>("ends")?.map(Millis),
        tally: tally(&fields)?,
    })
}

/// Those whose window isn't over at a time, within a reach: at most so many, by name.
pub(in crate::store::sqlite) fn current_counters(
    connection: &Connection,
    at: Millis,
    reach: Option<&Reach>,
    limit: u32,
) -> Result<Vec<CounterRow>, StoreError> {
    let (from, before) = names_within(reach);
    let params = params![from, before, at.0, limit];
    all(&mut *connection.prepare_cached(CURRENT_COUNTERS)?, params, counter)
}

/// Its parameters: the first name and the one after the last, time, limit.
const CURRENT_COUNTERS: &str = "SELECT name, start, ends, reserved, held, settled FROM ledger_counters \
     WHERE name >= ?1 AND name < ?2 AND start <= ?3 AND (ends IS NULL OR ends > ?3) ORDER BY name, start LIMIT ?4";

/// Between which names those of a reach's counters lie: each is a JSON array that begins with the tenant and the
/// environment, in which there's nothing to be escaped.
fn names_within(reach: Option<&Reach>) -> (String, String) {
    let from = match reach.map(|reach| (reach.tenant(), reach.environment())) {
        None => String::new(),
        Some((tenant, None)) => format!("[\"{tenant}\","),
        Some((tenant, Some(environment))) => format!("[\"{tenant}\",\"{environment}\","),
    };
    let before = beyond(&from);
    (from, before)
}

/// What is after all names that begin so: none goes on with the last character that there is.
pub(super) fn beyond(names: &str) -> String {
    format!("{names}{}", char::MAX)
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

    use super::super::{PRUNE_ENDED, PRUNE_IDLE, PRUNE_REPLIES, PRUNE_SHORT, PRUNE_WRITES, TABLES};
    use super::*;
    use crate::ids::Realm;

    fn plan(sql: &str, with: &[&dyn ToSql]) -> Vec<String> {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(TABLES).unwrap();
        crate::store::sqlite::plan(&connection, sql, with)
    }

    #[test]
    fn counters_within_a_reach_are_read_in_the_order_of_their_names() {
        let by_name = "ledger_counters USING INDEX sqlite_autoindex_ledger_counters_1 (name>? AND name<?)";
        assert_eq!(plan(CURRENT_COUNTERS, params!["a", "b", 1, 9]), [format!("SEARCH {by_name}")]);
    }

    #[test]
    fn what_is_pruned_is_found_by_its_index() {
        for (sql, wanted) in [
            (PRUNE_ENDED, "INDEX ledger_counters_ends (ends<?)"),
            (PRUNE_SHORT, "INDEX ledger_counters_short (ends<?)"),
            (PRUNE_WRITES, "INDEX ledger_writes_until (until<?)"),
            (PRUNE_REPLIES, "INDEX ledger_writes_replies (until<?)"),
            (PRUNE_IDLE, "INDEX ledger_entries_idle"),
        ] {
            let plan = plan(sql, params![1, 9]);
            let (found, others): (Vec<_>, Vec<_>) = plan.iter().partition(|step| step.ends_with(wanted));
            let reads_all = others.iter().any(|step| step.starts_with("SCAN"));
            assert_eq!((found.len(), reads_all), (1, false), "{plan:?}");
        }
    }

    #[test]
    fn what_is_held_is_read_by_its_index() {
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
