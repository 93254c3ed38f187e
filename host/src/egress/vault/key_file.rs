//! Key files: the key in use, and beside it the one before.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{MasterKey, MasterKeyError};
use crate::ids::random;

/// A key file is shorter than this: a few comments and one line.
const FILE_BYTES_MAX: u64 = 4096;

const HEADER: &str = "# keybearer master key v1: without it nobody can read the vault, with it anybody who has the database can\n";

/// A new random key in a new file.
pub(super) fn create(path: &Path) -> Result<MasterKey, MasterKeyError> {
    let (text, key) = fresh();
    match write(path, text.as_bytes(), Existing::Keep) {
        Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {
            Err(MasterKeyError::Exists(path.to_owned()))
        }
        done => done.map_err(failed(path)).map(|()| key),
    }
}

/// The key in a file.
pub(super) fn read(path: &Path) -> Result<MasterKey, MasterKeyError> {
    MasterKey::parse(&read_text(path)?, &path.display().to_string())
}

/// Where the key before this one lies.
pub(super) fn previous(path: &Path) -> PathBuf {
    beside(path, ".previous")
}

/// Keeps other rotations of this file away for as long as the answer lives.
pub(super) fn lock(path: &Path) -> Result<File, MasterKeyError> {
    let lock = beside(path, ".lock");
    let file = File::options().create(true).append(true).open(&lock).map_err(failed(&lock))?;
    file.lock().map_err(failed(&lock))?;
    Ok(file)
}

/// Puts a new random key into the file, and the old one into `FILE.previous`. At every moment in between, both files
/// together hold the old key, and from the moment that it can be in use, the new one.
pub(super) fn replace(path: &Path) -> Result<MasterKey, MasterKeyError> {
    let before = previous(path);
    write(&before, read_text(path)?.as_bytes(), Existing::Replace).map_err(failed(&before))?;
    let (text, key) = fresh();
    write(path, text.as_bytes(), Existing::Replace).map_err(failed(path))?;
    Ok(key)
}

fn fresh() -> (Zeroizing<String>, MasterKey) {
    let mut bytes = Zeroizing::new([0_u8; 32]);
    random(&mut *bytes);
    let mut digits = Zeroizing::new([0_u8; 64]);
    let mut text = Zeroizing::new(String::with_capacity(HEADER.len() + digits.len() + 1));
    text.push_str(HEADER);
    if hex::encode_to_slice(*bytes, &mut *digits).is_ok() {
        text.extend(digits.iter().map(|digit| char::from(*digit)));
    }
    text.push('\n');
    (text, MasterKey::derive(&bytes))
}

fn read_text(path: &Path) -> Result<Zeroizing<String>, MasterKeyError> {
    let file = match File::open(path) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
            return Err(MasterKeyError::NoFile(path.to_owned()));
        }
        opened => opened.map_err(failed(path))?,
    };
    // Of the open file, not of its name: what is checked is what is read.
    check_private(path, &file.metadata().map_err(failed(path))?)?;
    let mut text = Zeroizing::new(String::with_capacity(FILE_BYTES_MAX as usize + 1));
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(failed(path))?;
    Ok(text)
}

#[cfg(unix)]
fn check_private(path: &Path, metadata: &fs::Metadata) -> Result<(), MasterKeyError> {
    use std::os::unix::fs::PermissionsExt as _;

    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 { Err(MasterKeyError::Shared { path: path.to_owned(), mode }) } else { Ok(()) }
}

/// Elsewhere, files have no mode; the home folder's own protection has to do.
#[cfg(not(unix))]
fn check_private(_path: &Path, _metadata: &fs::Metadata) -> Result<(), MasterKeyError> {
    Ok(())
}

enum Existing {
    Keep,
    Replace,
}

/// Writes a file that only its owner may read, all of it or nothing, durable when this returns.
fn write(path: &Path, bytes: &[u8], existing: Existing) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Made with mode 0600, under a name that nobody can foresee.
    let mut file = tempfile::Builder::new().prefix(".master.").tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    match existing {
        Existing::Keep => file.persist_noclobber(path)?,
        Existing::Replace => file.persist(path)?,
    };
    // The name is durable once the folder is.
    File::open(folder)?.sync_all()
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn failed(path: &Path) -> impl Fn(io::Error) -> MasterKeyError {
    let path = path.to_owned();
    move |cause| MasterKeyError::File { path: path.clone(), cause }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_created_key_is_private_and_reads_back() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("master.key");
        let made = create(&path).ok().unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(read(&path).ok().unwrap().id(), made.id());
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1, "nothing else is left behind");
    }

    #[test]
    fn a_key_is_never_overwritten() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("master.key");
        let made = create(&path).ok().unwrap();
        assert!(matches!(create(&path), Err(MasterKeyError::Exists(_))));
        assert_eq!(read(&path).ok().unwrap().id(), made.id());
    }

    #[test]
    fn a_file_that_others_may_read_or_change_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("master.key");
        create(&path).ok().unwrap();
        for shared in [0o640, 0o604, 0o620, 0o602, 0o644, 0o666] {
            set_mode(&path, shared);
            let error = read(&path).err().unwrap();
            assert!(matches!(error, MasterKeyError::Shared { .. }), "{shared:o}");
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
        set_mode(&path, 0o400);
        assert!(read(&path).is_ok());
    }

    #[test]
    fn a_missing_or_strange_file_is_a_sentence() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("master.key");
        assert!(matches!(read(&path), Err(MasterKeyError::NoFile(_))));
        for bad in [&b"\xff\xfe"[..], &[b'a'; 10_000], b""] {
            fs::write(&path, bad).unwrap();
            set_mode(&path, 0o600);
            let error = read(&path).err().unwrap().to_string();
            assert!(error.contains("master.key"), "{error}");
        }
    }

    #[test]
    fn a_replaced_key_stays_beside_the_new_one() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("master.key");
        let ids: Vec<_> = [create(&path), replace(&path), replace(&path)]
            .into_iter()
            .map(|key| key.ok().unwrap().id().to_owned())
            .collect();
        assert_eq!(read(&path).ok().unwrap().id(), ids[2]);
        assert_eq!(read(&previous(&path)).ok().unwrap().id(), ids[1]);
        assert_eq!(mode(&previous(&path)), 0o600);
    }
}
