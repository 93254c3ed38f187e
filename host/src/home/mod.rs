//! The home: the one folder that holds everything a host keeps.

mod look;

pub use look::{Look, Settled};

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use fs4::TryLockError;

use crate::catalog::CodeCache;
use crate::policy::START;

/// Why a home can't be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// No folder was named and none can be derived.
    #[error("no home is named: give --home DIR or set KEYBEARER_HOME")]
    Unnamed,
    /// It isn't there, or isn't a home.
    #[error("{0} is not a Keybearer home: run `keybearer init --home {0}` to make it one")]
    NotAHome(String),
    /// It is one already.
    #[error("{0} is a Keybearer home already; nothing was changed")]
    Exists(String),
    /// A master key lies where one is to be made.
    #[error(
        "{0} is there already, and isn't of a home that was begun here; nothing was changed. Move it away, or make the \
         home in another folder"
    )]
    ForeignKey(String),
    /// Another host serves from it.
    #[error("another host serves from {0}; stop it first, or use another home")]
    InUse(String),
    /// A file or folder can't be read or written.
    #[error("{path}: {cause}")]
    Io {
        /// Which one.
        path: String,
        /// What the system said.
        cause: std::io::Error,
    },
}

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

    /// A home that exists.
    ///
    /// # Errors
    /// [`HomeError::NotAHome`] when its configuration file isn't there, [`HomeError::Io`] when that can't be told, as with
    /// another user's home.
    pub fn existing(self) -> Result<Self, HomeError> {
        let file = self.config_file();
        match fs::metadata(&file) {
            Ok(found) if found.is_file() => Ok(self),
            Err(cause) if cause.kind() != ErrorKind::NotFound => Err(io(&file, cause)),
            _ => Err(HomeError::NotAHome(self.shown())),
        }
    }

    /// Begins a home: makes the folder (mode 0700), its sub-folders and the first policies. What an earlier begin left
    /// is completed. It's a home once it's [finished](Self::finish), so that whatever cuts this short, it can be begun
    /// again.
    ///
    /// # Errors
    /// [`HomeError::Exists`] when it's a home already, [`HomeError::ForeignKey`] when something else's master key is
    /// here, [`HomeError::Io`] when something can't be made, or other policies are where the first ones would be.
    pub fn begin(&self) -> Result<(), HomeError> {
        if self.config_file().exists() {
            return Err(HomeError::Exists(self.shown()));
        }
        let (key, first) = (self.root.join("master.key"), self.policies_dir().join("start.cedar"));
        // As far as they were written.
        let is_begun = fs::read(&first).is_ok_and(|left| START.as_bytes().starts_with(&left));
        // The policies are written before a key is made: a key without them is somebody else's.
        if key.exists() && !is_begun {
            return Err(HomeError::ForeignKey(key.display().to_string()));
        }
        for folder in [
            self.root.clone(),
            self.connections_dir(),
            self.policies_dir(),
            self.tools_dir(),
            self.cache_dir(),
        ] {
            make_private_dir(&folder).map_err(|cause| io(&folder, cause))?;
        }
        if is_begun {
            return fs::write(&first, START).map_err(|cause| io(&first, cause));
        }
        write_new(&first, START)
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
    #[cfg(unix)]
    let made = {
        use std::os::unix::fs::DirBuilderExt as _;
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::DirBuilder::new().mode(0o700).create(path)
    };
    #[cfg(not(unix))]
    let made = fs::create_dir_all(path);
    match made {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        other => other,
    }
}

fn write_new(file: &Path, text: &str) -> Result<(), HomeError> {
    let mut out =
        fs::OpenOptions::new().write(true).create_new(true).open(file).map_err(|cause| io(file, cause))?;
    out.write_all(text.as_bytes()).map_err(|cause| io(file, cause))
}

fn io(path: &Path, cause: std::io::Error) -> HomeError {
    HomeError::Io { path: path.display().to_string(), cause }
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
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(home.root()).unwrap().permissions().mode() & 0o777, 0o700);
        }
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
