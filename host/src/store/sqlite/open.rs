//! Opens a database file: its mode, its settings, its schema.

use std::fs::{OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use crate::store::StoreError;

/// How long a transaction waits for another process's, in milliseconds. Ours take well under one; a caller's deadline
/// is four seconds, and it should hear the reason before that.
const BUSY_MS_MAX: u64 = 2_000;

/// How many prepared statements a connection keeps: more than the code has.
const STATEMENTS_MAX: usize = 64;

/// What a file of this program holds.
pub(super) struct Schema {
    /// What the file is, for messages.
    pub(super) what: &'static str,
    /// SQLite's `application_id`, so that one file isn't taken for the other, or for another program's.
    pub(super) application: i32,
    /// SQLite's `user_version`: the version of `tables`.
    pub(super) version: i32,
    /// The statements that make an empty file into one of this version.
    pub(super) tables: &'static str,
}

/// A connection that one thread uses at a time.
#[derive(Debug)]
pub(super) struct Shared(Mutex<Connection>);

impl Shared {
    /// Opens the file, which is created with mode 0600 if it's missing.
    pub(super) fn open(path: &Path, schema: &Schema) -> Result<Self, StoreError> {
        create_private(path).map_err(|error| StoreError::Failed(format!("{}: {error}", path.display())))?;
        connect(path, schema).map(|connection| Self(Mutex::new(connection))).map_err(|error| match error {
            StoreError::Damaged(why) => StoreError::Damaged(format!("{}: {why}", path.display())),
            StoreError::Failed(why) => StoreError::Failed(format!("{}: {why}", path.display())),
            other => other,
        })
    }

    /// The connection, for reading.
    pub(super) fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic can't leave a transaction open: `Transaction` rolls back when it's dropped.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something in a writing transaction, which is durable when this returns `Ok` and undone otherwise.
    pub(super) fn write<T>(
        &self,
        act: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let done = act(&transaction)?;
        transaction.commit()?;
        Ok(done)
    }
}

/// Creates the file if it's missing, and takes rights on it away from everyone but its owner. SQLite gives its
/// `-wal` and `-shm` files the mode of this one.
fn create_private(path: &Path) -> std::io::Result<()> {
    let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    let mode = file.metadata()?.permissions().mode();
    if mode & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(mode & 0o700))?;
    }
    Ok(())
}

fn connect(path: &Path, schema: &Schema) -> Result<Connection, StoreError> {
    // Each connection is behind a mutex of ours, so it needs none of SQLite's.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_millis(BUSY_MS_MAX))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    if mode != "wal" {
        return Err(StoreError::Failed(format!("its journal mode is {mode}; this file system can't do WAL")));
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Views and triggers in a file that someone tampered with must not call functions with side effects.
    connection.pragma_update(None, "trusted_schema", false)?;

    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let application: i32 = transaction.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version: i32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let objects: i64 = transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if (application, version, objects) == (0, 0, 0) {
        transaction.execute_batch(schema.tables)?;
        transaction.pragma_update(None, "application_id", schema.application)?;
        transaction.pragma_update(None, "user_version", schema.version)?;
        transaction.commit()?;
        return Ok(connection);
    }
    let Schema { what, version: known, .. } = schema;
    if application != schema.application {
        return Err(StoreError::Unsupported(format!("{} is not a Keybearer {what}", path.display())));
    }
    if version != *known {
        return Err(StoreError::Unsupported(format!(
            "{} has version {version} of the {what}'s schema and this program knows version {known}: use the \
             program that wrote it, or a newer one",
            path.display()
        )));
    }
    drop(transaction);
    Ok(connection)
}
