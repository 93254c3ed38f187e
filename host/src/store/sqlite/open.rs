//! Opens a database file: its mode, its settings, its schema.

use std::fs::{self, OpenOptions, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};

use super::place::Place;
use crate::store::StoreError;

/// How long a transaction waits for another process's, in milliseconds. Ours take well under one; a caller's deadline
/// is four seconds, and it should hear the reason before that.
const BUSY_MS_MAX: u64 = 2_000;

/// How long to pause between attempts where SQLite doesn't wait by itself, in milliseconds.
const BUSY_PAUSE_MS: u64 = 5;

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

/// A connection that one thread uses at a time.
#[derive(Debug)]
pub(super) struct Shared {
    connection: Mutex<Connection>,
    place: Place,
}

impl Shared {
    /// Opens the file.
    pub(super) fn open(path: &Path, schema: &Schema, absent: Absent) -> Result<Self, StoreError> {
        let found = match absent {
            Absent::Made => create_private(path),
            Absent::Refused => make_private(path),
        };
        found.map_err(|error| match error.kind() {
            ErrorKind::NotFound if absent == Absent::Refused => gone(path, schema),
            _ => StoreError::Failed(format!("{}: {error}", path.display())),
        })?;
        let connection = connect(path, schema, absent).map_err(|error| naming(path, error))?;
        Ok(Self { connection: Mutex::new(connection), place: Place::of(path) })
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
        let found: Result<String, _> = self.lock().query_row("PRAGMA quick_check(1)", [], |row| row.get(0));
        let wrong = match found {
            Ok(found) if found == "ok" => return Ok(()),
            Ok(found) => StoreError::Damaged(found.replace('\n', " ")),
            Err(error) => error.into(),
        };
        Err(naming(self.place.path(), wrong))
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

fn connect(path: &Path, schema: &Schema, absent: Absent) -> Result<Connection, StoreError> {
    // Each connection is behind a mutex of ours, so it needs none of SQLite's.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_millis(BUSY_MS_MAX))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    // Before anything is written to it, even its journal mode.
    if is_empty(&connection.transaction()?, path, schema)? && absent == Absent::Refused {
        return Err(gone(path, schema));
    }
    switch_to_wal(&connection)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Views and triggers in a file that someone tampered with must not call functions with side effects.
    connection.pragma_update(None, "trusted_schema", false)?;
    // Asked again under the lock: another process may be creating the tables.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if is_empty(&transaction, path, schema)? {
        for tables in schema.tables {
            transaction.execute_batch(tables)?;
        }
        transaction.pragma_update(None, "application_id", schema.application)?;
        transaction.pragma_update(None, "user_version", schema.version)?;
        transaction.commit()?;
    } else {
        drop(transaction);
    }
    Ok(connection)
}

/// Turns the write-ahead log on, which stays on in the file. SQLite doesn't wait for other processes here, of which
/// each may be about to do the same; so this does.
fn switch_to_wal(connection: &Connection) -> Result<(), StoreError> {
    let started = Instant::now();
    let mode: String = loop {
        match connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0)) {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && started.elapsed() < Duration::from_millis(BUSY_MS_MAX) =>
            {
                std::thread::sleep(Duration::from_millis(BUSY_PAUSE_MS));
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
    let path = path.display();
    if (application, version, objects) == (0, 0, 0) {
        Ok(true)
    } else if application != schema.application {
        Err(StoreError::Unsupported(format!("{path} is not a Keybearer {what}")))
    } else if version != *known {
        Err(StoreError::Unsupported(format!(
            "{path} has version {version} of the {what}'s schema and this program knows version {known}: use the \
             program that wrote it, or a newer one"
        )))
    } else {
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: Schema = Schema {
        what: "test file",
        application: 42,
        version: 3,
        tables: &["CREATE TABLE t (a TEXT) STRICT"],
        remedy: "look for it",
    };

    fn open(path: &Path) -> Result<Shared, StoreError> {
        Shared::open(path, &SCHEMA, Absent::Made)
    }

    #[expect(clippy::needless_pass_by_value, reason = "each test is done with its error")]
    fn said(error: StoreError, words: &str) {
        assert!(error.to_string().contains(words), "{error}");
    }

    #[test]
    fn a_file_and_its_companions_are_their_owner_s_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let _open = open(&path).unwrap();
        for name in ["a.db", "a.db-wal", "a.db-shm"] {
            let mode = std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn a_file_of_another_version_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let newer = Schema { version: 4, ..SCHEMA };
        drop(Shared::open(&path, &newer, Absent::Made).unwrap());
        let error = open(&path).unwrap_err();
        assert!(matches!(error, StoreError::Unsupported(_)));
        said(error, "has version 4 of the test file's schema and this program knows version 3");
    }

    #[test]
    fn another_program_s_file_is_refused_and_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        Connection::open(&path).unwrap().execute_batch("CREATE TABLE theirs (a)").unwrap();
        let before = std::fs::read(&path).unwrap();
        said(open(&path).unwrap_err(), "is not a Keybearer test file");
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }

    #[test]
    fn what_is_no_database_is_reported_as_damage() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        std::fs::write(&path, "not a database, whatever it says on the tin".repeat(40)).unwrap();
        let error = open(&path).unwrap_err();
        assert!(matches!(error, StoreError::Damaged(_)));
        said(error, "a.db: file is not a database");
    }

    #[test]
    fn connections_keep_their_lock_when_another_one_is_opened() {
        use std::os::unix::fs::MetadataExt as _;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let _all = [(); 3].map(|()| open(&path).unwrap());
        let (own, inode) = (std::process::id(), std::fs::metadata(&path).unwrap().ino());
        let locks = std::fs::read_to_string("/proc/locks").unwrap();
        // Whoever closes the database asks for all of this range, to learn whether it's the last one.
        let kept = format!("READ {own} ");
        let held = |line: &&str| line.contains(&kept) && line.contains(&format!(":{inode} 1073741826 "));
        assert_eq!(locks.lines().filter(held).count(), 1, "{locks}");
    }

    #[test]
    fn a_file_that_should_be_there_is_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let existing = || Shared::open(&path, &SCHEMA, Absent::Refused);
        said(existing().unwrap_err(), "a.db is gone, or empty: look for it");
        assert!(!path.exists());
        std::fs::write(&path, "").unwrap();
        let error = existing().unwrap_err();
        assert!(matches!(error, StoreError::Gone(_)), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"");
        drop(open(&path).unwrap());
        existing().unwrap();
    }

    #[test]
    fn nothing_is_written_to_a_file_that_was_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (path, aside) = (folder.path().join("a.db"), folder.path().join("aside.db"));
        let shared = open(&path).unwrap();
        let insert = || shared.write(|to| Ok(to.execute("INSERT INTO t VALUES ('x')", [])?));
        insert().unwrap();
        std::fs::rename(&path, &aside).unwrap();
        std::fs::write(&path, "").unwrap();
        assert!(matches!(insert(), Err(StoreError::Replaced(_))));
        std::fs::rename(&aside, &path).unwrap();
        let rows: u32 = shared.lock().query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 1);
    }

    #[test]
    fn a_page_that_was_overwritten_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let shared = open(&path).unwrap();
        shared.write(|to| Ok(to.execute("INSERT INTO t VALUES ('x')", [])?)).unwrap();
        shared.check_pages().unwrap();
        drop(shared);
        let mut bytes = std::fs::read(&path).unwrap();
        let last = bytes.len() - 4096;
        bytes[last..].fill(0xa5);
        std::fs::write(&path, bytes).unwrap();
        let error = open(&path).unwrap().check_pages().unwrap_err();
        assert!(matches!(error, StoreError::Damaged(_)), "{error}");
        said(error, "a.db: ");
    }

    #[test]
    fn a_missing_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing/a.db");
        said(open(&path).unwrap_err(), "missing/a.db: No such file");
    }

    #[test]
    fn many_may_open_a_new_file_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        std::thread::scope(|scope| {
            let opening: Vec<_> = (0..8).map(|_| scope.spawn(|| open(&path).map(drop))).collect();
            for opened in opening {
                opened.join().unwrap().unwrap();
            }
        });
    }
}
