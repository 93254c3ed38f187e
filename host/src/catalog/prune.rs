//! Files of components that nothing in use needs any more.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::catalog::{CatalogError, CodeCache, active};
use crate::ids::Digest;
use crate::store::ControlStore;

/// How old a file has to be: a younger one may be of a component that is just being added.
const SETTLED: Duration = Duration::from_secs(3_600);

/// A file that no component in use needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unused {
    /// Where it is.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
}

impl Unused {
    /// Finds the files that no component in use needs: in `tools_dir`, the bytes of others; in the cache, the compiled code
    /// of others, and what was compiled for another engine than this one. Those of the last hour aren't among them.
    ///
    /// # Errors
    /// When a folder or the store can't be read. A folder that isn't there is an empty one.
    pub fn find(
        tools_dir: &Path,
        cache: &CodeCache,
        engine: &str,
        store: &dyn ControlStore,
    ) -> Result<Vec<Self>, CatalogError> {
        let components = files(tools_dir)?;
        let mut compiled = Vec::new();
        for folder in cache.dir().map(folders).transpose()?.unwrap_or_default() {
            let is_for_this = folder.file_name() == Some(OsStr::new(engine));
            compiled.extend(files(&folder)?.into_iter().map(|file| (is_for_this, file)));
        }
        // Last: what has been added since then has files that are young.
        let rows = active(store)?;
        let is_in_use = |digest: Digest| rows.iter().any(|row| row.digest == digest);
        let needs_code =
            |(is_for_this, file): &(bool, Self)| *is_for_this && file.digest().is_some_and(is_in_use);
        let components = components.into_iter().filter(|file| {
            let is_component = file.path.extension() == Some(OsStr::new("wasm"));
            is_component && file.digest().is_some_and(|digest| !is_in_use(digest))
        });
        let compiled = compiled.into_iter().filter(|file| !needs_code(file)).map(|(_, file)| file);
        Ok(components.chain(compiled).collect())
    }

    /// Removes it, and answers whether it did: not where it's gone already, or young again, since its component was added
    /// once more.
    ///
    /// # Errors
    /// When it can't be removed.
    pub fn remove(&self) -> Result<bool, CatalogError> {
        if !fs::metadata(&self.path).is_ok_and(|about| is_old(&about)) {
            return Ok(false);
        }
        match fs::remove_file(&self.path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => {
                Err(CatalogError::File { what: format!("can't remove {}", self.path.display()), error })
            }
        }
    }

    /// The digest that it's named by.
    fn digest(&self) -> Option<Digest> {
        self.path.file_stem()?.to_str()?.parse().ok()
    }
}

/// The files in a folder that are old enough to be removed.
fn files(dir: &Path) -> Result<Vec<Unused>, CatalogError> {
    let old = |entry: &fs::DirEntry| {
        let about = entry.metadata().ok()?;
        let file = Unused { path: entry.path(), bytes: about.len() };
        (about.is_file() && is_old(&about)).then_some(file)
    };
    let mut found: Vec<_> = entries(dir)?.iter().filter_map(old).collect();
    found.sort();
    Ok(found)
}

/// By a clock that was put back, a file is of the future, and as good as new.
fn is_old(about: &fs::Metadata) -> bool {
    let age = about.modified().ok().and_then(|at| SystemTime::now().duration_since(at).ok());
    age.is_some_and(|age| age >= SETTLED)
}

fn folders(dir: &Path) -> Result<Vec<PathBuf>, CatalogError> {
    let is_folder = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    let mut found: Vec<_> =
        entries(dir)?.iter().filter(|entry| is_folder(entry)).map(fs::DirEntry::path).collect();
    found.sort();
    Ok(found)
}

fn entries(dir: &Path) -> Result<Vec<fs::DirEntry>, CatalogError> {
    match fs::read_dir(dir).and_then(Iterator::collect) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(CatalogError::File { what: format!("can't read {}", dir.display()), error }),
        Ok(entries) => Ok(entries),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::files::write_component;
    use crate::clock::Millis;
    use crate::store::{ComponentKind, ComponentRow, MemoryControl};

    /// A file whose age is so many hours.
    fn file(path: &Path, hours: u64) -> PathBuf {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "four").unwrap();
        let changed = SystemTime::now() - Duration::from_secs(hours * 3_600 + 60);
        fs::File::options().append(true).open(path).unwrap().set_modified(changed).unwrap();
        path.to_owned()
    }

    #[test]
    fn what_nothing_in_use_needs_is_found_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let (tools, cache_dir) = (dir.path().join("tools"), dir.path().join("cache"));
        let cache = CodeCache::open(&cache_dir, &dir.path().join("cache.key"));
        let store = MemoryControl::new();
        let find = || Unused::find(&tools, &cache, "this", &store).unwrap();
        assert!(find().is_empty(), "there are no folders yet");

        let [used, before, fresh] = [&b"used"[..], b"before", b"fresh"].map(Digest::of);
        let row = |digest| ComponentRow {
            name: "pay".to_owned(),
            kind: ComponentKind::Tool,
            digest,
            described: String::new(),
            connections: Vec::new(),
            added_at: Millis(1),
            active: true,
        };
        store.activate_component(&row(before)).unwrap();
        store.activate_component(&row(used)).unwrap();
        let component = |digest: Digest| tools.join(format!("{}.wasm", digest.hex()));
        let compiled = |engine: &str, digest: Digest| cache_dir.join(engine).join(digest.hex());
        let gone = [
            file(&component(before), 2),
            file(&compiled("other", used), 2),
            file(&compiled("other", before), 2),
            file(&compiled("this", before), 2),
        ];
        let stay = [
            file(&component(used), 2),
            file(&component(fresh), 0),
            file(&tools.join("notes.txt"), 2),
            file(&tools.join("notes.wasm"), 2),
            file(&compiled("this", used), 2),
            file(&compiled("this", fresh), 0),
            file(&compiled("other", fresh), 0),
        ];
        let found = find();
        let mut paths: Vec<_> = found.iter().map(|unused| unused.path.clone()).collect();
        paths.sort();
        let mut expected = gone.to_vec();
        expected.sort();
        assert_eq!(paths, expected);
        assert!(found.iter().all(|unused| unused.bytes == 4));

        assert!(found.iter().all(|unused| unused.remove().unwrap()));
        assert!(!found.iter().any(|unused| unused.remove().unwrap()), "another one may have been as quick");
        assert!(gone.iter().all(|path| !path.exists()) && stay.iter().all(|path| path.exists()));
        assert!(find().is_empty());
    }

    #[test]
    fn what_is_added_again_is_as_good_as_new() {
        let dir = tempfile::tempdir().unwrap();
        let digest = Digest::of(b"four");
        file(&dir.path().join(format!("{}.wasm", digest.hex())), 2);
        let find = || Unused::find(dir.path(), &CodeCache::off(), "this", &MemoryControl::new()).unwrap();
        let found = find();
        assert_eq!(found.len(), 1);
        write_component(dir.path(), digest, b"four").unwrap();
        assert!(find().is_empty());
        assert!(!found[0].remove().unwrap() && found[0].path.exists(), "it was found before that");
    }
}
