//! The embedded default: two SQLite files, `control.db` and `audit.db`.
//!
//! They are apart so that the stream of audit rows doesn't disturb [`ControlStore::version`], which every send reads.
//! Both run in WAL mode with `synchronous=FULL`: what a method has written is on the disk when it returns. Several
//! processes may use them at once; every writing transaction is a `BEGIN IMMEDIATE`.
//!
//! [`ControlStore::version`]: super::ControlStore::version

mod audit;
mod changes;
mod control;
mod error;
mod fields;
mod ledger;
mod open;
mod place;
mod within;

/// How SQLite would go about a query: its steps.
#[cfg(test)]
fn plan(connection: &rusqlite::Connection, sql: &str, with: &[&dyn rusqlite::ToSql]) -> Vec<String> {
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let rows = statement.query_map(with, |row| row.get("detail")).unwrap();
    rows.map(Result::unwrap).collect()
}

pub use audit::{FoundRecord, SqliteAudit};
pub use control::SqliteControl;
