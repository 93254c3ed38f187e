//! Stamps: files that say from what something was made, so that it's made again only when that changes.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::failure::{Outcome, cannot};
use crate::place::Place;

/// Folders that hold what was built, not what it's built from.
const NOT_SOURCES: &[&str] = &["target", ".git", "__pycache__"];

/// What something is made from, and the file that remembers it.
pub(super) struct Stamp {
    file: PathBuf,
    content: String,
}

impl Stamp {
    /// A stamp over texts: versions, lists of packages.
    pub(super) fn over_text(place: &Place, name: &str, content: String) -> Outcome<Self> {
        Ok(Self { file: place.folder("stamps")?.join(name), content })
    }

    /// A stamp over files and folders: every file's path, size and time of change.
    pub(super) fn over_files(place: &Place, name: &str, sources: &[PathBuf]) -> Outcome<Self> {
        let mut hasher = DefaultHasher::new();
        for source in sources {
            hash_tree(source, &mut hasher);
        }
        Self::over_text(place, name, format!("{:016x}", hasher.finish()))
    }

    /// Whether the thing was made from the same before.
    pub(super) fn is_fresh(&self) -> bool {
        fs::read_to_string(&self.file).is_ok_and(|before| before == self.content)
    }

    /// Remembers that the thing was made.
    pub(super) fn write(&self) -> Outcome<()> {
        fs::write(&self.file, &self.content).map_err(cannot("write", &self.file))
    }
}

fn hash_tree(path: &Path, hasher: &mut DefaultHasher) {
    if path.is_dir() {
        let mut inside: Vec<PathBuf> =
            fs::read_dir(path).into_iter().flatten().flatten().map(|e| e.path()).collect();
        inside
            .retain(|path| !path.file_name().is_some_and(|name| NOT_SOURCES.iter().any(|not| name == *not)));
        inside.sort();
        for path in inside {
            hash_tree(&path, hasher);
        }
    } else if let Ok(metadata) = path.metadata() {
        path.hash(hasher);
        metadata.len().hash(hasher);
        let changed = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        changed.unwrap_or_default().hash(hasher);
    }
}
