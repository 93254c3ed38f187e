//! Opens a database file: its mode, its settings, its schema.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fs::{self, OpenOptions, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, MAIN_DB, OpenFlags, Transaction, TransactionBehavior, ffi};

use super::place::Place;
use crate::store::{StoreError, in_turns};

/// How long to pause between two looks whether another process's transaction is over, in microseconds. A busy host lets
/// the lock go for some hundreds of them between two flushes, and SQLite's own pauses of up to 100 milliseconds miss that
/// again and again.
const BUSY_PAUSE_US: u64 = 250;

/// How long to wait until nobody reads in the log, so that it can be emptied.
const LOG_WAIT_MS: u64 = 100;

/// How much of the log is kept on the disk, in bytes, once all of it is in the database: several times what it grows to
/// before it's begun anew, unless someone reads for long.
const LOG_KEPT_BYTES: u32 = 16 * 1024 * 1024;

/// How many prepared statements a connection keeps: more than the code has.
const STATEMENTS_MAX: usize = 64;

/// What a file of this program holds.
pub(super) struct Schema {
    /// What the file is, for messages.
    pub(super) what: &'static str,
    /// SQLite's `application_id`, so that one file isn't taken for the other, or for another program's.
    pub(super) application: i32,
    /// SQLite's `user_version`: the version of the tables.
    pub(super) version: i32,
    /// The statements that make an empty file into one of this version, each of them with `IF NOT EXISTS`: an index that
    /// a file of this version lacks is made too. One whose columns change gets another name.
    pub(super) tables: &'static [&'static str],
    /// What to do where the file is gone.
    pub(super) remedy: &'static str,
}

/// What is done about a file that is missing, or empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Absent {
    /// It's made, with mode 0600.
    Made,
    /// It's refused: what was in it would seem never to have been.
    Refused,
}

/// How long a transaction waits for another process's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// Two seconds: a caller's deadline is four, and it should hear the reason before that.
    Host,
    /// Ten seconds: nobody waits for a command but who typed it, and on a slow disk each turn takes a while to come.
    Command,
}

impl Patience {
    fn most(self) -> Duration {
        match self {
            Self::Host => Duration::from_secs(2),
            Self::Command => Duration::from_secs(10),
        }
    }
}

/// A connection that one thread uses at a time.
#[derive(Debug)]
pub(super) struct Shared {
    connection: Mutex<Connection>,
    patience: Patience,
    place: Place,
}

impl Shared {
    /// Opens the file.
    pub(super) fn open(
        path: &Path,
        schema: &Schema,
        absent: Absent,
        patience: Patience,
    ) -> Result<Self, StoreError> {
        let found = match absent {
            Absent::Made => create_private(path),
            Absent::Refused => make_private(path),
        };
        found.map_err(|error| match error.kind() {
            ErrorKind::NotFound if absent == Absent::Refused => gone(path, schema),
            _ => StoreError::Failed(format!("{}: {error}", path.display())),
        })?;
        let connection = connect(path, schema, absent, patience).map_err(|error| naming(path, error))?;
        Ok(Self { connection: Mutex::new(connection), patience, place: Place::of(path) })
    }

    /// The connection, for reading.
    pub(super) fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic can't leave a transaction open: `Transaction` rolls back when it's dropped.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where it lies.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Reads every page and says what is wrong with the first that isn't sound.
    pub(super) fn check_pages(&self) -> Result<(), StoreError> {
        self.check("PRAGMA quick_check(1)")
    }

    /// Reads a table and its indexes, and says what is wrong first: a row that isn't in one of them, say.
    pub(super) fn check_indexes(&self, table: &'static str) -> Result<(), StoreError> {
        self.check(&format!("PRAGMA integrity_check({table})"))
    }

    fn check(&self, pragma: &str) -> Result<(), StoreError> {
        let found: Result<String, _> = self.lock().query_row(pragma, [], |row| row.get(0));
        let wrong = match found {
            Ok(found) if found == "ok" => return Ok(()),
            Ok(found) => StoreError::Damaged(found.replace('\n', " ")),
            Err(error) => error.into(),
        };
        Err(naming(self.place.path(), wrong))
    }

    /// Writes what is committed at this moment into a new file, which its owner alone may read. Others go on reading and
    /// writing. The copy is on the disk when this returns.
    pub(super) fn copy_to(&self, copy: &Path) -> Result<(), StoreError> {
        let failed = |error: std::io::Error| StoreError::Failed(format!("{}: {error}", copy.display()));
        let path = copy.to_str().ok_or_else(|| failed(ErrorKind::InvalidFilename.into()))?;
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(copy).map_err(failed)?;
        // Into a file that is empty; it makes one that isn't there for all to read.
        let done = self.lock().execute("VACUUM INTO ?1", [path]);
        done.map_err(|error| naming(copy, error.into()))?;
        file.sync_all().map_err(failed)
    }

    /// Does something in a writing transaction, which is durable when this returns `Ok` and undone otherwise.
    pub(super) fn write<T>(
        &self,
        act: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.place.look()?;
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let done = act(&transaction)?;
        transaction.commit()?;
        Ok(done)
    }

    /// Does a part of something in a transaction and the next part in another, as [`in_turns`] does.
    pub(super) fn write_in_turns(
        &self,
        mut part: impl FnMut(&Transaction<'_>) -> Result<usize, StoreError>,
    ) -> Result<(), StoreError> {
        in_turns(|| Ok(self.write(&mut part)? as u64)).map(drop)
    }

    /// As [`Self::write`], for what nobody is to find in the files any more.
    pub(super) fn erase<T>(
        &self,
        act: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let done = self.write(act)?;
        if let Err(error) = self.empty_log() {
            tracing::warn!(cause = %error, "what was removed is still in the database's log");
        }
        Ok(done)
    }

    /// Writes what is in the log into the file, and empties the log. Waits for nobody long: while others are at work in the
    /// database, it fails.
    fn empty_log(&self) -> Result<(), StoreError> {
        let mut connection = self.lock();
        connection.busy_timeout(Duration::from_millis(LOG_WAIT_MS))?;
        let busy: rusqlite::Result<bool> =
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
        wait_for_others(&mut connection, self.patience)?;
        if busy? {
            return Err(StoreError::Failed("others are at work in it".to_owned()));
        }
        Ok(())
    }
}

/// Creates the file if it's missing, and takes rights on it away from everyone but its owner. SQLite gives its
/// `-wal` and `-shm` files the mode of this one.
///
/// INVARIANT (locked): a file that is there isn't opened here. Closing it again would take back the locks that SQLite
/// holds on it for another connection of this process; the next program that closes the database would take itself for
/// the last one, and remove the log under the feet of this one.
fn create_private(path: &Path) -> std::io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => make_private(path),
        created => created.map(drop),
    }
}

/// Takes rights on a file that is there away from everyone but its owner.
fn make_private(path: &Path) -> std::io::Result<()> {
    let mode = fs::metadata(path)?.permissions().mode();
    if mode & 0o077 != 0 {
        fs::set_permissions(path, Permissions::from_mode(mode & 0o700))?;
    }
    Ok(())
}

/// The error with the file that it's about.
fn naming(path: &Path, error: StoreError) -> StoreError {
    match error {
        StoreError::Damaged(why) => StoreError::Damaged(format!("{}: {why}", path.display())),
        StoreError::Failed(why) => StoreError::Failed(format!("{}: {why}", path.display())),
        other => other,
    }
}

fn gone(path: &Path, schema: &Schema) -> StoreError {
    StoreError::Gone(format!("{} is gone, or empty: {}", path.display(), schema.remedy))
}

/// Has a connection look again and again, as long as its patience lasts, where another process's transaction is in its way.
fn wait_for_others(connection: &mut Connection, patience: Patience) -> rusqlite::Result<()> {
    let mut since = Instant::now();
    connection.busy_handler(Some(move |looks: i32| {
        if looks == 0 {
            since = Instant::now();
        }
        std::thread::sleep(Duration::from_micros(BUSY_PAUSE_US));
        since.elapsed() < patience.most()
    }))
}

fn connect(
    path: &Path,
    schema: &Schema,
    absent: Absent,
    patience: Patience,
) -> Result<Connection, StoreError> {
    // Each connection is behind a mutex of ours, so it needs none of SQLite's.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    // It's known from now on, and nothing else says it: where nothing can be written, SQLite can't make the index of the
    // log, and says no more than that it can't open a file.
    if connection.is_readonly(MAIN_DB)? {
        return Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_READONLY), None).into());
    }
    wait_for_others(&mut connection, patience)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    // Before anything is written to it, even its journal mode.
    let to_be_made = is_empty(&connection.transaction()?, path, schema)?;
    if to_be_made && absent == Absent::Refused {
        return Err(gone(path, schema));
    }
    switch_to_wal(&connection, patience)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // What is deleted is overwritten: the key that a removed secret was sealed with is still in use.
    connection.pragma_update(None, "secure_delete", true)?;
    // Views and triggers in a file that someone tampered with must not call functions with side effects.
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "journal_size_limit", LOG_KEPT_BYTES)?;
    if to_be_made {
        make(&mut connection, path, schema)?;
    } else {
        // All tables are there, so it's no more than an index.
        make_tables(&connection, schema)?;
    }
    // The index of the log is there from the first look in that mode on, and belongs to the place.
    connection.pragma_query_value(None, "schema_version", |_| Ok(()))?;
    Ok(connection)
}

/// Makes the tables in a file that was empty.
fn make(connection: &mut Connection, path: &Path, schema: &Schema) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Asked again under the lock: another process may have made them meanwhile.
    if is_empty(&transaction, path, schema)? {
        make_tables(&transaction, schema)?;
        transaction.pragma_update(None, "application_id", schema.application)?;
        transaction.pragma_update(None, "user_version", schema.version)?;
        transaction.commit()?;
    }
    Ok(())
}

fn make_tables(connection: &Connection, schema: &Schema) -> rusqlite::Result<()> {
    schema.tables.iter().try_for_each(|tables| connection.execute_batch(tables))
}

/// Turns the write-ahead log on, which stays on in the file. SQLite doesn't wait for other processes here, of which
/// each may be about to do the same; so this does.
fn switch_to_wal(connection: &Connection, patience: Patience) -> Result<(), StoreError> {
    let started = Instant::now();
    let mode: String = loop {
        match connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0)) {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && started.elapsed() < patience.most() =>
            {
                std::thread::sleep(Duration::from_micros(BUSY_PAUSE_US));
            }
            other => break other?,
        }
    };
    if mode == "wal" {
        return Ok(());
    }
    Err(StoreError::Failed(format!("its journal mode is {mode}; this file system can't do WAL")))
}

/// Whether the file holds nothing yet. A file that holds something else than this schema is refused. In a
/// transaction, so that its parts are of one moment.
fn is_empty(connection: &Transaction<'_>, path: &Path, schema: &Schema) -> Result<bool, StoreError> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let (application, version) = (pragma("application_id")?, pragma("user_version")?);
    let objects: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let Schema { what, version: known, .. } = schema;
    if (application, version, objects) == (0, 0, 0) {
        return Ok(true);
    }
    let why = match version.cmp(known) {
        _ if application != schema.application => format!("is not a Keybearer {what}"),
        Ordering::Greater => format!(
            "was made by a newer keybearer: it has version {version} of the {what}'s tables, and this program knows \
             version {known}; use that program, or a newer one"
        ),
        Ordering::Less => format!(
            "was made by an older keybearer: it has version {version} of the {what}'s tables, and this program needs \
             version {known}; use that program, or begin with a new home"
        ),
        Ordering::Equal => match missing(connection, schema)? {
            None => return Ok(false),
            Some(column) => format!(
                "was made by an older keybearer: its tables lack {column}, which this program's {what} has; use that \
                 program, or begin with a new home"
            ),
        },
    };
    Err(StoreError::Unsupported(format!("{} {why}", path.display())))
}

/// A column that the tables should have and don't.
fn missing(connection: &Connection, schema: &Schema) -> rusqlite::Result<Option<String>> {
    let needed = Connection::open_in_memory()?;
    make_tables(&needed, schema)?;
    let there = columns(connection)?;
    Ok(columns(&needed)?.into_iter().find(|column| !there.contains(column)))
}

/// The columns of all tables, each as `table.name TYPE`.
fn columns(connection: &Connection) -> rusqlite::Result<BTreeSet<String>> {
    let sql = "SELECT t.name || '.' || c.name || ' ' || c.type || iif(c.\"notnull\", ' NOT NULL', '') \
               || iif(c.pk, ' PRIMARY KEY ' || c.pk, '') \
               FROM sqlite_schema t, pragma_table_info(t.name) c WHERE t.type = 'table'";
    connection.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
}

#[cfg(test)]
mod tests;
