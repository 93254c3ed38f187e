//! Who may change a home: the user that it belongs to, and root.
//!
//! Whoever writes a connection's file chooses where the key is sent, and whoever writes a folder's name can put another
//! one in its place.

use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::error::io;
use super::{Home, HomeError};

/// The user who may change everything anyway.
const ROOT: u32 = 0;
/// The bits of a mode that let others than the owner change something.
const OTHERS_WRITE: u32 = 0o022;
/// The bits of a folder's mode that let others than the owner come by what is in it.
const OTHERS_ENTER: u32 = 0o011;

/// Looks at the home's folder, and at all in it that says what is done with a secret. Root may work in anybody's home: it
/// has to be that user's, then.
pub(super) fn check(home: &Home) -> Result<(), HomeError> {
    let user = rustix::process::geteuid().as_raw();
    let owner = fs::metadata(&home.root).map_err(|cause| io(&home.root, cause))?.uid();
    if user != ROOT && ![ROOT, user].contains(&owner) {
        return Err(HomeError::AnothersHome { path: home.shown(), owner });
    }
    let mut owner = Owner { user: if user == ROOT { owner } else { user }, closed: None };
    let inside = owner.check(&home.root, true)?;
    if !inside {
        owner.closed = Some(fs::canonicalize(&home.root).map_err(|cause| io(&home.root, cause))?);
    }
    for file in
        [home.config_file(), home.budgets_file(), home.master_key_file(), home.control_db(), home.audit_db()]
    {
        owner.check(&file, inside)?;
    }
    let folders = [home.connections_dir(), home.policies_dir(), home.tools_dir()];
    let mut paths = Vec::from(folders.map(|folder| (folder, inside)));
    // A link can lead back to a folder above it.
    let mut followed = HashSet::new();
    while let Some((path, reached)) = paths.pop() {
        let inside = owner.check(&path, reached)?;
        if !path.is_symlink() || followed.insert(fs::canonicalize(&path).ok()) {
            paths.extend(files(&path)?.into_iter().map(|file| (file, inside)));
        }
    }
    Ok(())
}

/// The user that a home belongs to.
struct Owner {
    user: u32,
    /// Where the home lies, if others don't come by what is in it.
    closed: Option<PathBuf>,
}

impl Owner {
    /// Checks one path. `reached`: others come by it. Answers whether they come by what is inside.
    fn check(&self, path: &Path, mut reached: bool) -> Result<bool, HomeError> {
        let found = match fs::metadata(path) {
            // It needn't be there.
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(false),
            found => found.map_err(|cause| io(path, cause))?,
        };
        if ![ROOT, self.user].contains(&found.uid()) {
            return Err(HomeError::AnothersPart {
                path: path.display().to_string(),
                owner: found.uid(),
                wanted: self.user,
            });
        }
        if path.is_symlink() {
            let target = fs::canonicalize(path).map_err(|cause| io(path, cause))?;
            // What a link leads to is reached by its own way as well.
            reached |= self.closed.as_ref().is_none_or(|home| !target.starts_with(home));
            // Whoever may write the folder that it lies in can put another one in its place.
            if let Some(folder) = target.parent() {
                self.check(folder, reached)?;
            }
        }
        if reached && found.mode() & OTHERS_WRITE != 0 {
            return Err(HomeError::Writable {
                path: path.display().to_string(),
                mode: found.mode() & 0o7777,
            });
        }
        Ok(reached && found.mode() & OTHERS_ENTER != 0)
    }
}

/// What lies in a folder that may be looked into, if it's one.
fn files(folder: &Path) -> Result<Vec<PathBuf>, HomeError> {
    use ErrorKind::{NotADirectory, NotFound, PermissionDenied};

    let entries = match fs::read_dir(folder) {
        Err(cause) if matches!(cause.kind(), NotADirectory | NotFound | PermissionDenied) => {
            return Ok(Vec::new());
        }
        entries => entries.map_err(|cause| io(folder, cause))?,
    };
    entries.map(|entry| entry.map(|entry| entry.path()).map_err(|cause| io(folder, cause))).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

    use super::*;

    /// All that is looked at: the home itself is the first.
    const PARTS: &[&str] = &[
        "",
        "keybearer.toml",
        "budgets.toml",
        "master.key",
        "control.db",
        "audit.db",
        "connections",
        "connections/a.toml",
        "connections/ca",
        "connections/ca/root.pem",
        "policies",
        "policies/start.cedar",
        "tools",
        "tools/a.wasm",
    ];

    /// A home with a file in each of its folders, into which others may look.
    fn home() -> (tempfile::TempDir, Home) {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::named(Some(dir.path().join("home"))).unwrap();
        home.begin().unwrap();
        home.finish().unwrap();
        fs::create_dir(home.connections_dir().join("ca")).unwrap();
        for file in PARTS.iter().filter(|name| Path::new(name).extension().is_some()) {
            fs::write(home.root().join(file), "").unwrap();
        }
        for name in PARTS {
            set_mode(&part(&home, name), 0o755);
        }
        check(&home).unwrap();
        (dir, home)
    }

    fn part(home: &Home, name: &str) -> PathBuf {
        if name.is_empty() { home.root().to_owned() } else { home.root().join(name) }
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_others_may_write_is_refused() {
        for name in PARTS {
            for right in [0o020, 0o002] {
                let (_dir, home) = home();
                let path = part(&home, name);
                set_mode(&path, 0o755 | right);
                let error = home.clone().existing().unwrap_err();
                assert!(matches!(&error, HomeError::Writable { .. }), "{name}: {error}");
                let said = error.to_string();
                assert!(said.contains(&format!("chmod go-w {}", path.display())), "{name}: {said}");
                set_mode(&path, 0o755);
                home.existing().unwrap();
            }
        }
    }

    #[test]
    fn what_others_do_not_come_by_may_have_any_mode() {
        let (_dir, home) = home();
        for name in &PARTS[1..] {
            set_mode(&part(&home, name), 0o775);
        }
        set_mode(home.root(), 0o700);
        check(&home).unwrap();
        set_mode(home.root(), 0o711);
        assert!(matches!(check(&home), Err(HomeError::Writable { .. })));
    }

    #[test]
    fn what_a_link_leads_to_is_looked_at_wherever_it_lies() {
        let (dir, home) = home();
        set_mode(home.root(), 0o700);
        let (folder, file) = (dir.path().join("shared"), dir.path().join("shared.toml"));
        fs::create_dir(&folder).unwrap();
        fs::write(&file, "").unwrap();
        fs::remove_dir_all(home.connections_dir()).unwrap();
        symlink(&folder, home.connections_dir()).unwrap();
        symlink(&file, folder.join("a.toml")).unwrap();
        symlink("nowhere", folder.join(".#a.toml")).unwrap();
        for (path, mode) in [(&folder, 0o755), (&file, 0o644)] {
            set_mode(&folder, 0o755);
            set_mode(&file, 0o644);
            check(&home).unwrap();
            set_mode(path, mode | 0o020);
            assert!(matches!(check(&home), Err(HomeError::Writable { .. })), "{}", path.display());
        }
    }

    #[test]
    fn whoever_may_put_another_file_where_a_link_leads_is_kept_out() {
        let (dir, home) = home();
        let (open, inside) = (dir.path().join("open"), home.root().join("open"));
        for folder in [&open, &inside] {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join("stripe.toml"), "").unwrap();
            set_mode(folder, 0o777);
        }
        let link = home.connections_dir().join("stripe.toml");
        for (target, mode, is_refused) in [
            (&open, 0o755, true),
            (&open, 0o700, true),
            (&inside, 0o755, true),
            // Others don't come by it there.
            (&inside, 0o700, false),
        ] {
            set_mode(home.root(), mode);
            symlink(target.join("stripe.toml"), &link).unwrap();
            let checked = check(&home);
            let named = matches!(&checked, Err(HomeError::Writable { path, .. }) if path.ends_with("/open"));
            assert_eq!(
                (named, checked.is_err()),
                (is_refused, is_refused),
                "{target:?} {mode:o}: {checked:?}"
            );
            fs::remove_file(&link).unwrap();
        }
    }

    #[test]
    fn a_link_that_leads_back_is_followed_once() {
        let (_dir, home) = home();
        for name in ["again", "ca/above"] {
            symlink(home.connections_dir(), home.connections_dir().join(name)).unwrap();
        }
        check(&home).unwrap();
    }

    #[test]
    fn what_belongs_to_another_user_is_refused_and_root_works_in_anybody_s_home() {
        // Only root can give files away.
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let give = |path: &Path, user| chown(path, Some(user), None).unwrap();
        for name in &PARTS[1..] {
            let (_dir, home) = home();
            let path = part(&home, name);
            // Others don't come by it, and may have put it there before.
            set_mode(home.root(), 0o700);
            give(&path, 65_534);
            let error = check(&home).unwrap_err().to_string();
            let told = format!("{} belongs to the user 65534", path.display());
            assert!(error.starts_with(&told) && error.contains("chown 0 "), "{name}: {error}");
            // As a service's home, with a file that root put there.
            give(home.root(), 65_534);
            check(&home).unwrap();
            give(home.root(), 65_533);
            assert!(matches!(check(&home), Err(HomeError::AnothersPart { wanted: 65_533, .. })), "{name}");
        }
    }
}
