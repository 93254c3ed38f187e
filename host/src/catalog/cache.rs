//! Compiled code on disk: `cache/<engine>/<digest>`. It can be deleted at any time.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use keybearer_artifact::CacheKey;

use crate::catalog::{CatalogError, files};
use crate::ids::{Digest, random};
use crate::runtime::{Artifact, Runtime};

/// The length of the key in its file, in bytes.
const KEY_BYTES: usize = 32;

/// Compiled code on disk, or no cache at all. Whatever goes wrong here costs a compilation and nothing else.
#[derive(Debug)]
pub struct CodeCache {
    place: Option<Place>,
}

#[derive(Debug)]
struct Place {
    dir: PathBuf,
    key: CacheKey,
}

impl CodeCache {
    /// No cache: everything is compiled each time.
    #[must_use]
    pub fn off() -> Self {
        Self { place: None }
    }

    /// A cache in `dir`, sealed with the key in `key_file`, which is made if it isn't there. A key that isn't this
    /// user's alone is replaced: who knows it can make this host run anything. In another user's folder, as where root
    /// works in a service's home, there's no cache: that user's code isn't run, and that user's key isn't replaced.
    #[must_use]
    pub fn open(dir: &Path, key_file: &Path) -> Self {
        match read_or_make_key(key_file) {
            Ok(key) => Self { place: Some(Place { dir: dir.to_owned(), key }) },
            Err(error) => {
                tracing::warn!(%error, file = %key_file.display(), "no cache for compiled code: its key can't be kept");
                Self::off()
            }
        }
    }

    /// The cache that a user's commands share, in a folder which is made if it isn't there: `code/`, and its key beside it.
    #[must_use]
    pub fn shared(folder: &Path) -> Self {
        // What can't be made can't be used, which is found out next, and logged.
        let _ = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        Self::open(&folder.join("code"), &folder.join("code.key"))
    }

    /// Where it is; `None` for no cache.
    pub(super) fn dir(&self) -> Option<&Path> {
        self.place.as_ref().map(|place| place.dir.as_path())
    }

    /// The compiled code of these bytes, if it's there and authentic.
    ///
    /// # Errors
    /// What [`Runtime::restore`] refuses before it looks at compiled code.
    pub(super) fn load(&self, runtime: &Runtime, bytes: &[u8]) -> Result<Option<Artifact>, CatalogError> {
        let Some(place) = &self.place else { return Ok(None) };
        let path = place.path(runtime, Digest::of(bytes));
        let sealed = match fs::read(&path) {
            Ok(sealed) => sealed,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(%error, file = %path.display(), "cached code can't be read");
                }
                return Ok(None);
            }
        };
        match runtime.restore(bytes, &sealed, &place.key)? {
            Ok(artifact) => Ok(Some(artifact)),
            Err(error) => {
                tracing::warn!(%error, file = %path.display(), "cached code is not used; compiling again");
                Ok(None)
            }
        }
    }

    /// Keeps compiled code for the next start.
    pub(super) fn save(&self, runtime: &Runtime, artifact: &Artifact) {
        let Some(place) = &self.place else { return };
        let path = place.path(runtime, artifact.digest());
        let write = |sealed: Vec<u8>| {
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            files::replace(&path, &sealed)
        };
        let saved = match runtime.seal(artifact, &place.key) {
            Ok(sealed) => write(sealed).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = saved {
            tracing::warn!(%error, file = %path.display(), "compiled code can't be cached");
        }
    }
}

impl Place {
    fn path(&self, runtime: &Runtime, digest: Digest) -> PathBuf {
        self.dir.join(runtime.engine_key()).join(digest.hex())
    }
}

fn read_or_make_key(path: &Path) -> io::Result<CacheKey> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if fs::metadata(folder)?.uid() != this_user() {
        return Err(io::Error::other("it lies in another user's folder"));
    }
    match read_key(path) {
        Ok(Some(key)) => return Ok(key),
        Ok(None) => {
            tracing::warn!(file = %path.display(), "the cache key is damaged or not this user's alone; making another");
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut bytes = [0; KEY_BYTES];
    random(&mut bytes);
    let key = CacheKey::new(bytes);
    files::replace(path, &key.to_bytes())?;
    // Another process may have made one at the same time: the one that is there now is everyone's.
    Ok(read_key(path)?.unwrap_or(key))
}

/// The key, or `None` when the file is something else, another user's, or others may touch it.
fn read_key(path: &Path) -> io::Result<Option<CacheKey>> {
    let file = File::open(path)?;
    let about = file.metadata()?;
    let mut bytes = Vec::with_capacity(KEY_BYTES + 1);
    file.take(KEY_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    let is_private = about.is_file() && about.uid() == this_user() && about.mode() & 0o077 == 0;
    Ok(bytes.try_into().ok().filter(|_| is_private).map(CacheKey::new))
}

/// Whose code this process may run.
fn this_user() -> u32 {
    rustix::process::geteuid().as_raw()
}
