//! The home: the one folder that holds everything a host keeps.

mod error;
mod keep;

pub use error::HomeError;

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use fs4::TryLockError;

use self::error::io;
use crate::catalog::CodeCache;
use crate::policy::START;

/// A home folder. Its parts have fixed names.
#[derive(Debug, Clone)]
pub struct Home {
    root: PathBuf,
    /// The folder of a cache of compiled code that isn't its own.
    shared_cache: Option<PathBuf>,
}

/// Held while a host serves from a home; a second host is refused.
#[derive(Debug)]
pub struct HomeLock {
    _file: fs::File,
}

impl Home {
    /// The folder that a flag names, else `KEYBEARER_HOME`, else `~/.keybearer`.
    ///
    /// # Errors
    /// [`HomeError::Unnamed`] when there's none of them.
    pub fn named(flag: Option<PathBuf>) -> Result<Self, HomeError> {
        let env = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let root = flag
            .or_else(|| env("KEYBEARER_HOME"))
            .or_else(|| env("HOME").map(|home| home.join(".keybearer")))
            .ok_or(HomeError::Unnamed)?;
        Ok(Self { root, shared_cache: None })
    }

    /// The same with compiled code in a [shared cache](CodeCache::shared): for a home that is thrown away, and would have
    /// everything compiled anew each time.
    #[must_use]
    pub fn with_shared_cache(self, folder: Option<PathBuf>) -> Self {
        Self { shared_cache: folder, ..self }
    }

    /// A home that exists, and that nobody can change but the user that it belongs to, and root.
    ///
    /// # Errors
    /// [`HomeError::NotAHome`] when its configuration file isn't there, [`HomeError::Io`] when that can't be told, as with
    /// another user's home; [`HomeError::AnothersHome`], [`HomeError::AnothersPart`] and [`HomeError::Writable`] when others
    /// can change it.
    pub fn existing(self) -> Result<Self, HomeError> {
        let file = self.config_file();
        match fs::metadata(&file) {
            Ok(found) if found.is_file() => keep::check(&self).map(|()| self),
            Err(cause) if cause.kind() != ErrorKind::NotFound => Err(io(&file, cause)),
            _ => Err(HomeError::NotAHome(self.shown())),
        }
    }

    /// Begins a home: makes the folder (mode 0700), its sub-folders and the first policies. An empty folder of this user's
    /// is given that mode. What an earlier begin left is completed. It's a home once it's [finished](Self::finish), so that
    /// whatever cuts this short, it can be begun again.
    ///
    /// # Errors
    /// [`HomeError::Exists`] when it's a home already, [`HomeError::ForeignKey`] when something else's master key is
    /// here, [`HomeError::AnothersHome`] when the folder is another user's, [`HomeError::NotAlone`] when it's there with
    /// something in it and others may enter it, [`HomeError::Io`] when something can't be made, or other policies are where
    /// the first ones would be.
    pub fn begin(&self) -> Result<(), HomeError> {
        if self.config_file().exists() {
            return Err(HomeError::Exists(self.shown()));
        }
        let (key, first) = (self.master_key_file(), self.policies_dir().join("start.cedar"));
        // As far as they were written.
        let is_begun = fs::read(&first).is_ok_and(|left| START.as_bytes().starts_with(&left));
        // The policies are written before a key is made: a key without them is somebody else's.
        if key.exists() && !is_begun {
            return Err(HomeError::ForeignKey(key.display().to_string()));
        }
        make_private_dir(&self.root).map_err(|cause| io(&self.root, cause))?;
        self.keep_alone()?;
        for folder in [self.connections_dir(), self.policies_dir(), self.tools_dir(), self.cache_dir()] {
            make_private_dir(&folder).map_err(|cause| io(&folder, cause))?;
        }
        if is_begun {
            return fs::write(&first, START).map_err(|cause| io(&first, cause));
        }
        write_new(&first, START)
    }

    /// Keeps others out of the folder that a home is to be made in, or refuses it. The mode of one that has something in
    /// it isn't changed: others may need to come by that.
    fn keep_alone(&self) -> Result<(), HomeError> {
        let failed = |cause| io(&self.root, cause);
        let found = fs::metadata(&self.root).map_err(failed)?;
        if found.uid() != rustix::process::geteuid().as_raw() {
            return Err(HomeError::AnothersHome { path: self.shown(), owner: found.uid() });
        }
        if found.mode() & 0o077 == 0 {
            return Ok(());
        }
        if fs::read_dir(&self.root).map_err(failed)?.next().is_some() {
            return Err(HomeError::NotAlone(self.shown()));
        }
        fs::set_permissions(&self.root, fs::Permissions::from_mode(0o700)).map_err(failed)
    }

    /// Makes what was begun a home, with a commented configuration file.
    ///
    /// # Errors
    /// [`HomeError::Io`] when the file is there already, or can't be written.
    pub fn finish(&self) -> Result<(), HomeError> {
        write_new(&self.config_file(), CONFIG_TEMPLATE)
    }

    /// Takes the home for a serving host.
    ///
    /// # Errors
    /// [`HomeError::InUse`] when another host has it.
    pub fn lock(&self) -> Result<HomeLock, HomeError> {
        let path = self.root.join("serve.lock");
        let file = fs::OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(false)
            .open(&path)
            .map_err(|cause| io(&path, cause))?;
        match fs4::FileExt::try_lock(&file) {
            Ok(()) => Ok(HomeLock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(HomeError::InUse(self.shown())),
            Err(TryLockError::Error(cause)) => Err(io(&path, cause)),
        }
    }

    /// The folder itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `keybearer.toml`.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.root.join("keybearer.toml")
    }

    /// Where the master key is kept unless the configuration says otherwise.
    fn master_key_file(&self) -> PathBuf {
        self.root.join("master.key")
    }

    /// The connections' TOML files.
    #[must_use]
    pub fn connections_dir(&self) -> PathBuf {
        self.root.join("connections")
    }

    /// The policies' Cedar files.
    #[must_use]
    pub fn policies_dir(&self) -> PathBuf {
        self.root.join("policies")
    }

    /// The operator's budgets.
    #[must_use]
    pub fn budgets_file(&self) -> PathBuf {
        self.root.join("budgets.toml")
    }

    /// The components, each under its digest.
    #[must_use]
    pub fn tools_dir(&self) -> PathBuf {
        self.root.join("tools")
    }

    /// Compiled components.
    #[must_use]
    pub fn code_cache(&self) -> CodeCache {
        match &self.shared_cache {
            Some(folder) => CodeCache::shared(folder),
            None => CodeCache::open(&self.cache_dir(), &self.root.join("cache.key")),
        }
    }

    fn cache_dir(&self) -> PathBuf {
        self.root.join("cache")
    }

    /// Tokens, wrapped keys, secrets' ciphertexts, components.
    #[must_use]
    pub fn control_db(&self) -> PathBuf {
        self.root.join("control.db")
    }

    /// The audit trail.
    #[must_use]
    pub fn audit_db(&self) -> PathBuf {
        self.root.join("audit.db")
    }

    fn shown(&self) -> String {
        self.root.display().to_string()
    }
}

/// A folder that its owner alone can enter; one that is there already keeps its mode.
fn make_private_dir(path: &Path) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        other => other,
    }
}

/// A new file that its owner alone may read.
fn write_new(file: &Path, text: &str) -> Result<(), HomeError> {
    let mut options = fs::OpenOptions::new();
    let mut out =
        options.write(true).create_new(true).mode(0o600).open(file).map_err(|cause| io(file, cause))?;
    out.write_all(text.as_bytes()).map_err(|cause| io(file, cause))
}

/// What `init` writes: every key with its default, commented out.
pub const CONFIG_TEMPLATE: &str = include_str!("keybearer.toml");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_is_made_once_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::named(Some(dir.path().join("kb"))).unwrap();
        assert!(matches!(home.clone().existing(), Err(HomeError::NotAHome(_))));
        home.begin().unwrap();
        assert!(matches!(home.clone().existing(), Err(HomeError::NotAHome(_))));
        home.finish().unwrap();
        assert!(home.clone().existing().is_ok());
        assert!(matches!(home.begin(), Err(HomeError::Exists(_))));
        for (path, mode) in [
            (home.root().to_owned(), 0o700),
            (home.connections_dir(), 0o700),
            (home.config_file(), 0o600),
            (home.policies_dir().join("start.cedar"), 0o600),
        ] {
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, mode, "{}", path.display());
        }
    }

    #[test]
    fn an_empty_folder_is_made_private_and_one_that_others_see_into_is_refused() {
        for mode in [0o777, 0o755, 0o710] {
            let dir = tempfile::tempdir().unwrap();
            let set_mode = |mode| fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
            let home = Home::named(Some(dir.path().to_owned())).unwrap();
            set_mode(mode);
            fs::write(dir.path().join("notes"), "").unwrap();
            let error = home.begin().unwrap_err();
            assert!(matches!(&error, HomeError::NotAlone(_)), "{mode:o}: {error}");
            assert!(error.to_string().contains("chmod 700"), "{error}");
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
            assert_eq!(fs::metadata(dir.path()).unwrap().mode() & 0o777, mode);
            fs::remove_file(dir.path().join("notes")).unwrap();
            home.begin().unwrap();
            assert_eq!(fs::metadata(dir.path()).unwrap().mode() & 0o777, 0o700);
        }
    }

    #[test]
    fn no_home_is_made_in_another_user_s_folder() {
        // Only root can give a folder away.
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::chown(dir.path(), Some(65_534), None).unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let error = Home::named(Some(dir.path().to_owned())).unwrap().begin().unwrap_err();
        assert!(matches!(&error, HomeError::AnothersHome { owner: 65_534, .. }), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_home_that_was_begun_can_be_begun_again_and_nothing_else_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::named(Some(dir.path().to_owned())).unwrap();
        home.begin().unwrap();
        let policies = home.policies_dir().join("start.cedar");
        for left in [START, &START[..40], ""] {
            fs::write(&policies, left).unwrap();
            home.begin().unwrap();
            assert_eq!(fs::read_to_string(&policies).unwrap(), START, "{left:?}");
        }
        fs::write(&policies, "// somebody's own").unwrap();
        let error = home.begin().unwrap_err().to_string();
        assert!(error.contains("start.cedar: File exists"), "{error}");
        assert_eq!(fs::read_to_string(&policies).unwrap(), "// somebody's own");
    }

    #[test]
    fn nothing_is_made_beside_somebody_else_s_master_key() {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("master.key");
        fs::write(&key, "whose").unwrap();
        let error = Home::named(Some(dir.path().to_owned())).unwrap().begin().unwrap_err();
        assert!(matches!(&error, HomeError::ForeignKey(at) if at.ends_with("master.key")), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_eq!(fs::read_to_string(&key).unwrap(), "whose");
    }

    #[test]
    fn what_can_not_be_looked_at_is_not_said_to_be_no_home() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        // Root may look everywhere; a path through a file can't be looked at by anyone.
        let error = Home::named(Some(file)).unwrap().existing().unwrap_err();
        assert!(matches!(&error, HomeError::Io { .. }), "{error}");
        assert!(error.to_string().contains("keybearer.toml: "), "{error}");
    }

    #[test]
    fn one_host_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::named(Some(dir.path().to_owned())).unwrap();
        let held = home.lock().unwrap();
        assert!(matches!(home.lock(), Err(HomeError::InUse(_))));
        drop(held);
        assert!(home.lock().is_ok());
    }

    #[test]
    fn the_template_is_the_default_and_names_every_key() {
        let file = Path::new("/x/keybearer.toml");
        crate::config::Config::parse(CONFIG_TEMPLATE, file).unwrap();
        let uncommented: String = CONFIG_TEMPLATE
            .lines()
            .map(|line| line.strip_prefix("#= ").unwrap_or(line))
            .flat_map(|line| [line, "\n"])
            .collect();
        let (default, told) = (
            crate::config::Config::parse("", file).unwrap(),
            crate::config::Config::parse(&uncommented, file).unwrap(),
        );
        assert_eq!(format!("{default:?}"), format!("{told:?}"));
    }
}
