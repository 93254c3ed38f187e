//! Whether a database has changed, without asking SQLite.
//!
//! Each commit, by whichever process, writes a header into the index of the write-ahead log, the file that ends in
//! `-shm`, twice (<https://sqlite.org/walformat.html#the_wal_index_header>). SQLite tells by that header whether what it
//! knows of a database is still true. `PRAGMA data_version` does the same, behind a connection's lock and several system
//! calls; this is one.

use std::fs::File;
use std::hash::{DefaultHasher, Hasher as _};
use std::mem::ManuallyDrop;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// The size of the header, of which there are two copies.
const HEADER_BYTES: usize = 48;
/// The format that is known here; SQLite has no other.
const FORMAT: u32 = 3_007_000;
/// How often to look again where a commit is being written at this very moment.
const LOOKS_MAX: usize = 4;

/// The index of a database's write-ahead log.
///
/// It's never closed: with any descriptor of a file that is closed, the system takes back all locks that the process holds
/// on that file, SQLite's too.
#[derive(Debug)]
pub(super) struct Changes(Option<ManuallyDrop<File>>);

impl Changes {
    /// Those of the database at this path. A connection to it is open, and stays open: so it's in use by all, and nobody
    /// puts another file in the index's place.
    pub(super) fn of(path: &Path) -> Self {
        let mut index = path.as_os_str().to_owned();
        index.push("-shm");
        Self(File::open(index).ok().map(ManuallyDrop::new))
    }

    /// A number that stands for the last commit: another one after the next. `None`: SQLite has to be asked.
    pub(super) fn number(&self) -> Option<u64> {
        let index = self.0.as_ref()?;
        let mut copies = [0; 2 * HEADER_BYTES];
        (0..LOOKS_MAX).find_map(|_| {
            index.read_exact_at(&mut copies, 0).ok()?;
            number(&copies)
        })
    }
}

/// The number of a header. `None`: its copies differ, so it's being written, or it isn't in use.
fn number(copies: &[u8; 2 * HEADER_BYTES]) -> Option<u64> {
    let (first, second) = copies.split_at(HEADER_BYTES);
    let format = u32::from_ne_bytes(*first.first_chunk()?);
    let in_use = first.get(12) == Some(&1);
    if first != second || format != FORMAT || !in_use {
        return None;
    }
    // It holds a counter of commits and a checksum over all of them: no two are the same.
    let mut hasher = DefaultHasher::new();
    hasher.write(first);
    Some(hasher.finish())
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    fn header() -> [u8; HEADER_BYTES] {
        let mut header = [7; HEADER_BYTES];
        header[..4].copy_from_slice(&FORMAT.to_ne_bytes());
        header[12] = 1;
        header
    }

    fn twice(header: [u8; HEADER_BYTES]) -> [u8; 2 * HEADER_BYTES] {
        [header, header].concat().try_into().unwrap()
    }

    #[test]
    fn any_other_header_has_another_number() {
        let known = number(&twice(header())).unwrap();
        for byte in (4..HEADER_BYTES).filter(|byte| *byte != 12) {
            let mut other = header();
            other[byte] += 1;
            assert_ne!(number(&twice(other)), Some(known), "byte {byte}");
        }
    }

    #[test]
    fn a_header_that_is_not_whole_has_none() {
        for byte in 0..2 * HEADER_BYTES {
            let mut torn = twice(header());
            torn[byte] += 1;
            assert_eq!(number(&torn), None, "byte {byte}");
        }
        let mut unused = header();
        unused[12] = 0;
        assert_eq!(number(&twice(unused)), None);
        assert_eq!(number(&[0; 2 * HEADER_BYTES]), None);
    }

    #[test]
    fn it_follows_every_commit_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        assert_eq!(Changes::of(&path).number(), None, "there's no log");
        let (one, other) = (Connection::open(&path).unwrap(), Connection::open(&path).unwrap());
        one.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (a TEXT)").unwrap();
        let changes = Changes::of(&path);
        let mut seen = changes.number().unwrap();
        for n in 0..50 {
            let writer = if n % 2 == 0 { &one } else { &other };
            writer.execute_batch("BEGIN; INSERT INTO t VALUES ('x'); ROLLBACK; SELECT * FROM t").unwrap();
            assert_eq!(changes.number(), Some(seen), "{n}");
            writer.execute_batch("INSERT INTO t VALUES ('x')").unwrap();
            let now = changes.number().unwrap();
            assert_ne!(now, seen, "{n}");
            seen = now;
            if n % 10 == 9 {
                writer.execute_batch("PRAGMA wal_checkpoint(RESTART)").unwrap();
                seen = changes.number().unwrap();
            }
        }
    }
}
