//! Component files, under the digests of their bytes.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::catalog::CatalogError;
use crate::ids::Digest;
use crate::runtime::COMPONENT_BYTES_MAX;

/// The bytes of a component, which have this digest.
pub(super) fn read_component(dir: &Path, digest: Digest) -> Result<Vec<u8>, CatalogError> {
    let path = path(dir, digest);
    let failed = |error| CatalogError::File { what: format!("can't read {}", path.display()), error };
    let mut bytes = Vec::new();
    // One byte more than is taken shows that there's more.
    let limit = COMPONENT_BYTES_MAX as u64 + 1;
    File::open(&path).and_then(|file| file.take(limit).read_to_end(&mut bytes)).map_err(failed)?;
    match Digest::of(&bytes) {
        found if found == digest => Ok(bytes),
        found => Err(CatalogError::OtherBytes { expected: digest, found }),
    }
}

/// Stores the bytes of a component under their digest. Durable when it returns.
pub(super) fn write_component(dir: &Path, digest: Digest, bytes: &[u8]) -> Result<(), CatalogError> {
    let path = path(dir, digest);
    // One that is there already is as good as new from now on, so that nobody removes it as unused.
    let renew = || File::options().append(true).open(&path)?.set_modified(SystemTime::now());
    if read_component(dir, digest).is_ok() && renew().is_ok() {
        return Ok(());
    }
    let failed = |error| CatalogError::File { what: format!("can't write {}", path.display()), error };
    fs::create_dir_all(dir).and_then(|()| replace(&path, bytes)).map_err(failed)
}

/// Puts a file in place as a whole or not at all, readable by its owner alone. Durable when it returns.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(dir)?.sync_all()
}

fn path(dir: &Path, digest: Digest) -> PathBuf {
    dir.join(format!("{}.wasm", digest.hex()))
}
