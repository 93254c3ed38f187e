//! Folders that last as long as a chore.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::failure::{Outcome, cannot};

/// A folder for this run alone, removed when dropped.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// Makes a folder below `parent`, with the purpose in its name.
    pub(crate) fn create(parent: &Path, purpose: &str) -> Outcome<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let name = format!("keybearer-{purpose}-{}-{}", std::process::id(), now.subsec_nanos());
        let path = parent.join(name);
        // Fails if the name is taken: the folder is ours or there is none.
        DirBuilder::new().mode(0o700).create(&path).map_err(cannot("make", &path))?;
        Ok(Self(path))
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.0
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("can't remove {}: {error}", self.0.display());
        }
    }
}
