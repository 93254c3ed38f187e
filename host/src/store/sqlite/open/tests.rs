//! A database file as it's opened, made and shared.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::ids::Digest;
use crate::store::sqlite::{audit, control};

const TABLE: &str = "CREATE TABLE IF NOT EXISTS t (a TEXT) STRICT";

const SCHEMA: Schema =
    Schema { what: "test file", application: 42, version: 3, tables: &[TABLE], remedy: "look for it" };

fn open(path: &Path) -> Result<Shared, StoreError> {
    Shared::open(path, &SCHEMA, Absent::Made, Patience::Command)
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
    drop(open(&path).unwrap());
    for (version, words) in [
        (4, "was made by a newer keybearer: it has version 4 of the test file's tables"),
        (2, "was made by an older keybearer: it has version 2 of the test file's tables"),
        (0, "was made by an older keybearer: it has version 0 of the test file's tables"),
    ] {
        Connection::open(&path).unwrap().pragma_update(None, "user_version", version).unwrap();
        let error = open(&path).unwrap_err();
        assert!(matches!(error, StoreError::Unsupported(_)));
        said(error, words);
    }
}

#[test]
fn a_file_without_what_the_program_needs_is_refused_and_an_index_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    drop(open(&path).unwrap());
    let needs =
        |tables| Shared::open(&path, &Schema { tables, ..SCHEMA }, Absent::Refused, Patience::Command);
    let lacking: [(&[&str], &str); 3] = [
        (&["CREATE TABLE IF NOT EXISTS t (a TEXT, b INTEGER) STRICT"], "its tables lack t.b INTEGER,"),
        (&["CREATE TABLE IF NOT EXISTS t (a TEXT NOT NULL) STRICT"], "its tables lack t.a TEXT NOT NULL,"),
        (&[TABLE, "CREATE TABLE IF NOT EXISTS u (c TEXT)"], "its tables lack u.c TEXT,"),
    ];
    for (tables, words) in lacking {
        let error = needs(tables).unwrap_err();
        assert!(matches!(error, StoreError::Unsupported(_)));
        said(error, words);
    }
    let shared = needs(&[TABLE, "CREATE INDEX IF NOT EXISTS t_a ON t (a)"]).unwrap();
    let sql = "SELECT count(*) FROM t INDEXED BY t_a WHERE a = 'x'";
    let rows: u32 = shared.lock().query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 0);
    drop(open(&path).unwrap());
}

#[test]
fn no_more_of_the_log_is_kept_than_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let (shared, reader) = (open(&path).unwrap(), open(&path).unwrap());
    let insert = |bytes: u32| {
        let sql = "INSERT INTO t VALUES (hex(zeroblob(?1)))";
        shared.write(|to| Ok(to.execute(sql, [bytes])?)).unwrap();
    };
    let length = || std::fs::metadata(folder.path().join("a.db-wal")).unwrap().len();
    let reading = reader.lock();
    reading.execute_batch("BEGIN; SELECT count(*) FROM t").unwrap();
    insert(LOG_KEPT_BYTES);
    assert!(length() > u64::from(LOG_KEPT_BYTES));
    reading.execute_batch("COMMIT").unwrap();
    // The first writes what is in the log into the database, the next begins it anew.
    insert(1);
    insert(1);
    assert!(length() <= u64::from(LOG_KEPT_BYTES), "{}", length());
}

/// Whoever changes a table raises its schema's version, and writes the new digest here.
#[test]
fn the_tables_of_a_version_are_always_the_same() {
    let digest = |schema: &Schema| {
        let connection = Connection::open_in_memory().unwrap();
        make_tables(&connection, schema).unwrap();
        let sql =
            "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name";
        let mut statement = connection.prepare(sql).unwrap();
        let tables = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
        let lines: Vec<_> =
            tables.map(|sql| sql.unwrap().split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        Digest::of(lines.join("\n").as_bytes()).hex()
    };
    for (schema, version, tables) in [
        (control::SCHEMA, 1, "eea976da96aa0f2a852a5adaf341496b5f04cff75336771ecebf9870de27eff8"),
        (audit::SCHEMA, 2, "dd53b89a9d0d5c38a81e9dcb376c17039e506152b63eea4ffdf6ef0912136c8a"),
    ] {
        assert_eq!((schema.version, digest(&schema).as_str()), (version, tables), "{}", schema.what);
        // Making them anew where they are changes nothing.
        let connection = Connection::open_in_memory().unwrap();
        make_tables(&connection, &schema).unwrap();
        make_tables(&connection, &schema).unwrap();
    }
}

#[test]
fn what_is_done_in_turns_lets_others_have_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    // As of two processes: they have no lock in common but SQLite's.
    let (busy, other) = (open(&path).unwrap(), open(&path).unwrap());
    let (begun, had_turn) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let working = scope.spawn(|| {
            let deadline = Instant::now() + Duration::from_secs(10);
            busy.write_in_turns(|_| {
                begun.store(true, Ordering::Relaxed);
                if had_turn.load(Ordering::Relaxed) {
                    return Ok(0);
                }
                if Instant::now() > deadline {
                    return Err(StoreError::Failed("nobody had a turn".to_owned()));
                }
                std::thread::sleep(Duration::from_millis(20));
                Ok(1)
            })
        });
        while !begun.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        other.write(|to| Ok(to.execute("INSERT INTO t VALUES ('x')", [])?)).unwrap();
        had_turn.store(true, Ordering::Relaxed);
        working.join().unwrap().unwrap();
    });
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
    let existing = || Shared::open(&path, &SCHEMA, Absent::Refused, Patience::Command);
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
fn a_log_that_is_read_is_not_said_to_be_emptied() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let (shared, reader) = (open(&path).unwrap(), open(&path).unwrap());
    let insert = || shared.erase(|to| Ok(to.execute("INSERT INTO t VALUES ('x')", [])?)).unwrap();
    let length = || std::fs::metadata(folder.path().join("a.db-wal")).unwrap().len();
    insert();
    assert_eq!(length(), 0);
    let mut reading = reader.lock();
    let reading = reading.transaction().unwrap();
    reading.query_row("SELECT count(*) FROM t", [], |_| Ok(())).unwrap();
    insert();
    said(shared.empty_log().unwrap_err(), "others are at work in it");
    assert!(length() > 0);
    drop(reading);
    shared.empty_log().unwrap();
    assert_eq!(length(), 0);
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

/// As beside a busy host on a slow disk, which takes the lock again right after each flush.
#[test]
fn the_lock_is_got_where_another_one_lets_it_go_for_a_moment() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let busy = open(&path).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let held = busy.write(|to| {
                    to.execute("INSERT INTO t VALUES ('busy')", [])?;
                    std::thread::sleep(Duration::from_millis(10));
                    Ok(())
                });
                held.unwrap();
                std::thread::sleep(Duration::from_micros(300));
            }
        });
        let results: Vec<_> = (0..50)
            .map(|_| {
                let beside = Shared::open(&path, &SCHEMA, Absent::Refused, Patience::Host)?;
                beside.write(|to| Ok(to.execute("INSERT INTO t VALUES ('beside')", [])?))
            })
            .collect();
        done.store(true, Ordering::Relaxed);
        let failed: Vec<_> = results.into_iter().filter_map(Result::err).collect();
        assert!(failed.is_empty(), "{failed:?}");
    });
}

#[test]
fn a_file_that_is_made_is_opened_while_another_one_writes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let busy = open(&path).unwrap();
    busy.write(|to| {
        to.execute("INSERT INTO t VALUES ('x')", [])?;
        Shared::open(&path, &SCHEMA, Absent::Refused, Patience::Host).map(drop)
    })
    .unwrap();
}
