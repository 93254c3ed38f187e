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

pub use audit::{FoundRecord, SqliteAudit};
pub use control::SqliteControl;
