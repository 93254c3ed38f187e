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
        Self::files([path])
    }

    /// These files, which needn't be there.
    #[must_use]
    pub fn files<'p>(paths: impl IntoIterator<Item = &'p Path>) -> Self {
        Self(paths.into_iter().filter_map(|path| seen(path.to_owned())).collect())
    }
}

/// Tells when changed files can be read: once two looks, one after the other, found them the same. A file that a copy or an
/// editor is just writing is another one at the next look.
#[derive(Debug, Clone, Default)]
pub struct Settled {
    /// How they looked when they were read last.
    read: Look,
    /// How they looked the last time.
    last: Look,
    /// They're to be read again, changed or not.
    due: bool,
}

impl Settled {
    /// For files that were read when they looked like this.
    #[must_use]
    pub fn new(read: Look) -> Self {
        Self { last: read.clone(), read, due: false }
    }

    /// Takes a look. True: they're to be read now. `anyway`: even if they haven't changed, as soon as they're settled.
    #[must_use]
    pub fn look(&mut self, now: Look, anyway: bool) -> bool {
        self.due |= anyway;
        if self.last != now {
            self.last = now;
            return false;
        }
        if self.read == now && !self.due {
            return false;
        }
        self.read = now;
        self.due = false;
        true
    }
}

fn seen(path: PathBuf) -> Option<(PathBuf, u64, Option<SystemTime>)> {
    let data = std::fs::metadata(&path).ok()?;
    Some((path, data.len(), data.modified().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(bytes: u64) -> Look {
        Look(vec![(PathBuf::from("a"), bytes, None)])
    }

    #[test]
    fn files_are_read_once_two_looks_are_the_same() {
        let mut settled = Settled::new(look(1));
        for (step, (now, anyway, read)) in [
            (look(1), false, false),
            // It's being written.
            (look(0), false, false),
            (look(2), false, false),
            (look(3), false, false),
            (look(3), false, true),
            (look(3), false, false),
            // It was touched and is as it was.
            (look(4), false, false),
            (look(3), false, false),
            (look(3), false, false),
            // What it speaks of has changed.
            (look(3), true, true),
            (look(3), false, false),
            // Both at once: not before it's settled.
            (look(0), true, false),
            (look(5), false, false),
            (look(5), false, true),
            (Look::default(), false, false),
            (Look::default(), false, true),
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(settled.look(now, anyway), read, "{step}");
        }
    }
}
