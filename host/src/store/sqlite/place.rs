//! Whether a database is still where its path says.
//!
//! A file that is replaced, moved or removed stays open under who has it open, and nobody else sees it any more: a switch
//! that the command line throws goes into another one, and what is recorded here is lost.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::store::StoreError;

/// For how long a look that found the files in their place is good, in milliseconds: what is under way looks as often
/// whether the store has changed.
const GOOD_MS: u64 = 25;

/// The files of a database, as they were when it was opened.
///
/// INVARIANT (locked): they're looked at by name and never opened, as `open` explains.
#[derive(Debug)]
pub(super) struct Place {
    /// The database, and the index of its log: whoever puts a copy back removes that.
    files: [(PathBuf, Option<Identity>); 2],
    opened: Instant,
    /// Until when the last look is good, in milliseconds from `opened` on.
    good_until: AtomicU64,
}

/// The device of a file and its number there.
type Identity = (u64, u64);

impl Place {
    /// That of the database at this path, to which a connection is open.
    pub(super) fn of(path: &Path) -> Self {
        let mut index = path.as_os_str().to_owned();
        index.push("-shm");
        let files = [path.to_owned(), PathBuf::from(index)].map(|file| {
            let identity = identity(&file);
            (file, identity)
        });
        Self { files, opened: Instant::now(), good_until: AtomicU64::new(0) }
    }

    /// The database's path, for messages.
    pub(super) fn path(&self) -> &Path {
        let [(path, _), _] = &self.files;
        path
    }

    /// Looks whether the files are those that were opened: two system calls.
    pub(super) fn look(&self) -> Result<(), StoreError> {
        for (file, opened) in &self.files {
            if identity(file) != *opened {
                return Err(StoreError::Replaced(file.display().to_string()));
            }
        }
        Ok(())
    }

    /// The same, by a look that is at most [`GOOD_MS`] old: for what is asked several times a request.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let now = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        if now < self.good_until.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.look()?;
        self.good_until.store(now.saturating_add(GOOD_MS), Ordering::Relaxed);
        Ok(())
    }
}

fn identity(file: &Path) -> Option<Identity> {
    fs::metadata(file).ok().map(|found| (found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_file_that_was_replaced_moved_or_removed_is_noticed_and_so_is_that_it_is_back() {
        let folder = tempfile::tempdir().unwrap();
        let (path, aside) = (folder.path().join("a.db"), folder.path().join("aside"));
        for name in ["a.db", "a.db-shm"] {
            let file = folder.path().join(name);
            for made in ["a.db", "a.db-shm"] {
                fs::write(folder.path().join(made), "1").unwrap();
            }
            let place = Place::of(&path);
            place.look().unwrap();
            place.check().unwrap();
            // What is written into it changes nothing.
            fs::write(&file, "2").unwrap();
            place.look().unwrap();

            fs::rename(&file, &aside).unwrap();
            assert!(matches!(place.look(), Err(StoreError::Replaced(_))), "{name} was moved");
            fs::copy(&aside, &file).unwrap();
            let error = place.look().unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("{} ", file.display())) && error.contains("stop the host"),
                "{error}"
            );
            std::thread::sleep(Duration::from_millis(GOOD_MS));
            assert!(place.check().is_err(), "{name} was replaced");
            fs::rename(&aside, &file).unwrap();
            place.check().unwrap();
        }
    }
}
