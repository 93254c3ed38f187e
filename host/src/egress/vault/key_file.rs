//! Key files: the key in use, and beside it the one before.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{MasterKey, MasterKeyError};
use crate::ids::random;

/// A key file is shorter than this: a few comments and one line.
const FILE_BYTES_MAX: u64 = 4096;

/// How the name of a file ends that isn't in its place yet.
const UNFINISHED: &str = ".new";

const HEADER: &str = "# keybearer master key v1: without it nobody can read the vault, with it anybody who has the database can\n";

/// A new random key in a new file.
pub(super) fn create(path: &Path) -> Result<MasterKey, MasterKeyError> {
    let (text, key) = fresh();
    match write(path, text.as_bytes(), None) {
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

/// Where the key before this one lies: beside the file itself, where `path` is a link to it.
pub(super) fn previous(path: &Path) -> PathBuf {
    beside(&followed(path), ".previous")
}

/// Whether a file belongs to a key's file, or leads to one that does: it's the key, the one before it, the lock of its
/// rotations, or what one that was killed left half written.
pub(crate) fn belongs_to_key(file: &Path, key: &Path) -> bool {
    let (file, key) = (followed(file), followed(key));
    [beside(&key, ".previous"), beside(&key, ".lock")].contains(&file)
        || file == key
        || folder(&file) == folder(&key) && is_unfinished(&file, &key)
}

/// Keeps other rotations of this file away for as long as the answer lives, and removes what one that was killed left
/// half written: it holds a key.
pub(super) fn lock(path: &Path) -> Result<File, MasterKeyError> {
    let path = followed(path);
    let lock = beside(&path, ".lock");
    let file = File::options().create(true).append(true).open(&lock).map_err(failed(&lock))?;
    file.lock().map_err(failed(&lock))?;
    let was = fs::metadata(&path).map_err(failed(&path))?;
    keep_owner(&file, &was).map_err(failed(&lock))?;
    let folder = folder(&path);
    for entry in fs::read_dir(folder).map_err(failed(folder))? {
        let left = entry.map_err(failed(folder))?.path();
        if is_unfinished(&left, &path) {
            fs::remove_file(&left).map_err(failed(&left))?;
        }
    }
    Ok(file)
}

/// Puts a new random key into the file, and the old one into `FILE.previous`. At every moment in between, both files
/// together hold the old key, and from the moment that it can be in use, the new one. Both belong to whom the file
/// belonged to; where that can't be, nothing is changed.
pub(super) fn replace(path: &Path) -> Result<MasterKey, MasterKeyError> {
    let path = &followed(path);
    let (before, was) = (previous(path), fs::metadata(path).map_err(failed(path))?);
    write(&before, read_text(path)?.as_bytes(), Some(&was)).map_err(failed(&before))?;
    let (text, key) = fresh();
    write(path, text.as_bytes(), Some(&was)).map_err(failed(path))?;
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

/// Writes a file that only its owner may read, all of it or nothing, durable when this returns: a new one, or one in the
/// place, and with the owner and the mode, of the one that `was`.
fn write(path: &Path, bytes: &[u8], was: Option<&fs::Metadata>) -> io::Result<()> {
    let folder = folder(path);
    // Made with mode 0600, under a name that nobody can foresee.
    let mut file = tempfile::Builder::new().prefix(&hidden(path)).suffix(UNFINISHED).tempfile_in(folder)?;
    if let Some(was) = was {
        keep_owner(file.as_file(), was)?;
        file.as_file().set_permissions(was.permissions())?;
    }
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    match was {
        None => file.persist_noclobber(path)?,
        Some(_) => file.persist(path)?,
    };
    // The name is durable once the folder is.
    File::open(folder)?.sync_all()
}

/// Gives a file to whom another one belongs. Its group has no rights, so it doesn't matter.
#[cfg(unix)]
fn keep_owner(file: &File, was: &fs::Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt as _, fchown};

    if file.metadata()?.uid() == was.uid() {
        return Ok(());
    }
    fchown(file, Some(was.uid()), Some(was.gid())).map_err(|cause| {
        let owner = was.uid();
        io::Error::new(
            cause.kind(),
            format!(
                "it can't be given to the user {owner}, who owns the key ({cause}): run this as that user"
            ),
        )
    })
}

#[cfg(not(unix))]
fn keep_owner(_file: &File, _was: &fs::Metadata) -> io::Result<()> {
    Ok(())
}

/// The file that a path leads to. A link stays one: what it leads to is replaced.
fn followed(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// How the name of a file begins that is to take the place of this one.
fn hidden(path: &Path) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(path.file_name().unwrap_or_default());
    prefix.push(".");
    prefix
}

/// Whether a file was to take the place of this one, or of the one before it.
fn is_unfinished(file: &Path, of: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().as_encoded_bytes();
    name.starts_with(hidden(of).as_encoded_bytes()) && name.ends_with(UNFINISHED.as_bytes())
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

    #[test]
    fn a_link_stays_one_and_the_key_that_it_leads_to_is_replaced() {
        let home = tempfile::tempdir().unwrap();
        let (key, link) = (home.path().join("keys/the.key"), home.path().join("master.key"));
        fs::create_dir(home.path().join("keys")).unwrap();
        let first = create(&key).ok().unwrap();
        std::os::unix::fs::symlink("keys/the.key", &link).unwrap();
        set_mode(&key, 0o400);
        let _lock = lock(&link).ok().unwrap();
        let second = replace(&link).ok().unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(read(&link).ok().unwrap().id(), second.id());
        assert_eq!(read(&previous(&link)).ok().unwrap().id(), first.id());
        assert_eq!((mode(&key), mode(&previous(&key))), (0o400, 0o400));
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 2, "everything else lies beside the key");
    }

    #[test]
    fn a_key_stays_its_owner_s_whoever_replaces_it() {
        use std::os::unix::fs::{MetadataExt as _, chown};

        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("master.key");
        create(&path).ok().unwrap();
        let uid = |path: &Path| fs::metadata(path).unwrap().uid();
        // Only root can give files away.
        if uid(&path) != 0 {
            return;
        }
        chown(&path, Some(65534), Some(65534)).unwrap();
        drop(lock(&path).ok().unwrap());
        replace(&path).ok().unwrap();
        for file in [path.clone(), previous(&path), beside(&path, ".lock")] {
            assert_eq!(uid(&file), 65534, "{}", file.display());
        }
    }

    #[test]
    fn what_a_killed_rotation_left_is_removed_by_the_next() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("master.key");
        create(&path).ok().unwrap();
        let left = [".master.key.Ab12Cd.new", ".master.key.previous.Ab12Cd.new"];
        let others = [".master.key.swp", ".other.key.Ab12Cd.new"];
        for name in left.iter().chain(&others) {
            fs::write(home.path().join(name), "a key").unwrap();
        }
        drop(lock(&path).ok().unwrap());
        assert!(left.iter().all(|name| !home.path().join(name).exists()));
        assert!(others.iter().all(|name| home.path().join(name).exists()));
    }
}
