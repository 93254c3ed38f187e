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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::failure::Failure;

    #[test]
    fn a_folder_is_gone_with_all_that_is_in_it_after_a_failure_too() {
        let mut path = PathBuf::new();
        let mut fail = || -> Outcome<()> {
            let scratch = Scratch::create(&std::env::temp_dir(), "selftest")?;
            path = scratch.folder().to_owned();
            fs::create_dir(scratch.path("inner")).expect("a folder of ours");
            fs::write(scratch.path("inner/file"), "x").expect("a folder of ours");
            let mode = fs::metadata(&path).expect("a folder of ours").permissions().mode();
            assert_eq!(mode & 0o777, 0o700, "it's nobody else's");
            Err(Failure::Interrupted)
        };
        assert!(matches!(fail(), Err(Failure::Interrupted)));
        assert!(path.is_absolute() && !path.exists());
    }
}
