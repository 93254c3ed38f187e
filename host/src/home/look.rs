//! How files look from outside: enough to see that they have changed.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Files with their sizes and times of change, by path. Two looks that are the same mean that nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Look(Vec<(PathBuf, u64, Option<SystemTime>)>);

impl Look {
    /// Every file of a folder. A folder that isn't there has none.
    #[must_use]
    pub fn folder(dir: &Path) -> Self {
        let entries = std::fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
        let mut found: Vec<_> = entries.filter_map(|entry| seen(entry.path())).collect();
        found.sort();
        Self(found)
    }

    /// One file, which needn't be there.
    #[must_use]
    pub fn file(path: &Path) -> Self {
        Self(seen(path.to_owned()).into_iter().collect())
    }
}

fn seen(path: PathBuf) -> Option<(PathBuf, u64, Option<SystemTime>)> {
    let data = std::fs::metadata(&path).ok()?;
    Some((path, data.len(), data.modified().ok()))
}
