//! Which rows a time can be among. Rows are written in the order of the clock, but where it was put back: those numbers are on
//! record, so between two of them a row is found by halving.

use rusqlite::{Connection, OptionalExtension as _};

use super::signed;
use crate::clock::Millis;
use crate::store::{RowFilter, StoreError};

pub(super) const TABLE: &str = "CREATE TABLE IF NOT EXISTS audit_back (seq INTEGER PRIMARY KEY) STRICT";

/// The numbers of the rows that are older, by the clock, than the row before them; in order.
pub(super) fn set_back(connection: &Connection) -> Result<Vec<i64>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT seq FROM audit_back ORDER BY seq")?;
    Ok(statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

/// Remembers such a row.
pub(super) fn add(connection: &Connection, seq: i64) -> Result<(), StoreError> {
    connection.prepare_cached("INSERT OR IGNORE INTO audit_back (seq) VALUES (?1)")?.execute([seq])?;
    Ok(())
}

/// When a row was recorded, or the last one before it that is there.
pub(super) fn at(connection: &Connection, seq: i64) -> Result<Option<Millis>, StoreError> {
    let sql = "SELECT at FROM audit WHERE seq <= ?1 ORDER BY seq DESC LIMIT 1";
    Ok(connection.prepare_cached(sql)?.query_row([seq], |row| row.get(0).map(Millis)).optional()?)
}

/// The first and the last number that rows within the filter's numbers and times can have; among them may be others. `None`:
/// there are no such rows.
pub(super) fn range(connection: &Connection, filter: &RowFilter) -> Result<Option<(i64, i64)>, StoreError> {
    // Without a bound, rows with impossible numbers are read too, and reported.
    let first = filter.from.map_or(i64::MIN, signed);
    let last = filter.before.map_or(i64::MAX, |before| signed(before).saturating_sub(1));
    if filter.since.is_none() && filter.until.is_none() {
        return Ok(Some((first, last)));
    }
    let newest = "SELECT seq FROM audit ORDER BY seq DESC LIMIT 1";
    let Some(newest) = connection.query_row(newest, [], |row| row.get::<_, i64>(0)).optional()? else {
        return Ok(None);
    };
    let runs = runs(connection, newest)?;
    let (mut from, mut to) = (1, newest);
    if let Some(since) = filter.since {
        // The first run that reaches the time has the first row.
        let Some(run) = find(&mut runs.iter(), |run| is(connection, run.1, |at| at >= since))? else {
            return Ok(None);
        };
        from = halve(*run, |seq| is(connection, seq, |at| at >= since))?;
    }
    if let Some(until) = filter.until {
        let Some(run) = find(&mut runs.iter().rev(), |run| is(connection, run.0, |at| at < until))? else {
            return Ok(None);
        };
        let (_, end) = *run;
        let after = halve((run.0, end.saturating_add(1)), |seq| {
            Ok(seq > end || is(connection, seq, |at| at >= until)?)
        })?;
        to = after.saturating_sub(1);
    }
    Ok(Some((first.max(from), last.min(to))))
}

/// The first and last numbers of the runs of rows in which the clock never went back.
fn runs(connection: &Connection, newest: i64) -> Result<Vec<(i64, i64)>, StoreError> {
    let mut runs = Vec::new();
    let mut start = 1;
    for next in set_back(connection)?.into_iter().filter(|seq| (2..=newest).contains(seq)) {
        runs.push((start, next - 1));
        start = next;
    }
    runs.push((start, newest));
    Ok(runs)
}

fn is(connection: &Connection, seq: i64, rule: impl Fn(Millis) -> bool) -> Result<bool, StoreError> {
    Ok(at(connection, seq)?.is_some_and(rule))
}

fn find<'r>(
    runs: &mut dyn Iterator<Item = &'r (i64, i64)>,
    rule: impl Fn(&(i64, i64)) -> Result<bool, StoreError>,
) -> Result<Option<&'r (i64, i64)>, StoreError> {
    for run in runs {
        if rule(run)? {
            return Ok(Some(run));
        }
    }
    Ok(None)
}

/// The first number of a run of which the rule holds, which holds of the last one, and of all after one of which it does.
fn halve(
    (mut low, mut high): (i64, i64),
    holds: impl Fn(i64) -> Result<bool, StoreError>,
) -> Result<i64, StoreError> {
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle)? {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Ok(low)
}
