//! `keybearer backup`.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{self, Path, PathBuf};

use anyhow::{Context as _, bail};
use serde_json::json;

use super::Done;
use super::out::Out;
use crate::config::{Config, MasterKeySource};
use crate::home::Home;
use crate::store::sqlite::{SqliteAudit, SqliteControl};

/// Flags of `backup`.
#[derive(Debug, clap::Args)]
pub(super) struct Backup {
    /// The folder to make, with mode 0700. It mustn't be there yet.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

impl Backup {
    pub(super) fn run(self, home: Option<PathBuf>, out: &Out) -> anyhow::Result<Done> {
        let home = Home::named(home)?.existing()?;
        let config = Config::load(&home.config_file())?;
        let copy = Home::named(Some(self.folder))?;
        copy_home(&home, &copy)?;
        let key = match config.master_key {
            MasterKeySource::File(path) => format!("the master key in {}", path.display()),
            MasterKeySource::Env(name) => format!("the master key in ${name}"),
            MasterKeySource::Passphrase(_) => "the master passphrase".to_owned(),
        };
        out.line(format!("copied {} to {}", home.root().display(), copy.root().display()));
        out.line(format!("  without {key}, which opens it: keep that apart from it"));
        out.line("  without what keybearer.toml names beyond connections/, policies/ and tools/, such as certificates");
        out.value(&json!({ "home": home.root(), "copy": copy.root() }));
        Ok(Done::Well)
    }
}

/// Copies what the rest can't be made from again. It's a home once all of it is there: the configuration comes last.
///
/// The trail comes first: of what is done meanwhile, the control database says what was revoked and which approvals were
/// used, and has every key that something in the trail was sealed with. What it names in `tools/` was there before it.
fn copy_home(home: &Home, to: &Home) -> anyhow::Result<()> {
    let root = to.root();
    if path::absolute(root)?.starts_with(path::absolute(home.root())?) {
        bail!("{} is in the home itself; name a folder elsewhere", root.display());
    }
    match DirBuilder::new().mode(0o700).create(root) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            bail!("{} is there already; name a folder to be made", root.display());
        }
        made => made.with_context(|| format!("can't make {}", root.display()))?,
    }
    let (audit, control) = (home.audit_db(), home.control_db());
    SqliteAudit::existing(&audit).and_then(|it| it.copy_to(&to.audit_db())).context("can't copy audit.db")?;
    SqliteControl::existing(&control)
        .and_then(|it| it.copy_to(&to.control_db()))
        .context("can't copy control.db")?;
    for (from, to) in [
        (home.tools_dir(), to.tools_dir()),
        (home.connections_dir(), to.connections_dir()),
        (home.policies_dir(), to.policies_dir()),
        (home.budgets_file(), to.budgets_file()),
        (home.config_file(), to.config_file()),
    ] {
        if from.exists() {
            copy(&from, &to).with_context(|| format!("can't copy {}", from.display()))?;
        }
    }
    File::open(root)
        .and_then(|folder| folder.sync_all())
        .with_context(|| format!("can't write {}", root.display()))
}

/// Copies a file, or a folder with all that is in it, for its owner alone. It's on the disk when this returns.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if !from.is_dir() {
        let mut copy = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
        io::copy(&mut File::open(from)?, &mut copy)?;
        return copy.sync_all();
    }
    DirBuilder::new().mode(0o700).create(to)?;
    for entry in fs::read_dir(from)? {
        let name = entry?.file_name();
        copy(&from.join(&name), &to.join(&name))?;
    }
    File::open(to)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::audit;
    use crate::auth::Minted;
    use crate::cli::context::Opened;
    use crate::cli::init;
    use crate::ids::Realm;

    fn backup(home: &Home, to: &Path) -> anyhow::Result<()> {
        copy_home(home, &Home::named(Some(to.to_owned()))?)
    }

    fn made(root: &Path) -> (Home, Opened, Minted) {
        let home = Home::named(Some(root.to_owned())).unwrap();
        let realm = Realm { tenant: "acme".parse().unwrap(), environment: "prod".parse().unwrap() };
        let (opened, minted) = init::make(home.clone(), realm).unwrap();
        (home, opened, minted)
    }

    #[test]
    fn a_home_that_is_written_to_is_copied_and_the_copy_is_one() {
        let dir = tempfile::tempdir().unwrap();
        let copied = dir.path().join("copy");
        let (home, opened, minted) = made(&dir.path().join("home"));
        fs::create_dir(home.connections_dir().join("more")).unwrap();
        fs::write(home.connections_dir().join("more/ca.pem"), "a").unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let writing = scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    opened.record(None, "test", "something").unwrap();
                }
            });
            let result = backup(&home, &copied);
            done.store(true, Ordering::Relaxed);
            writing.join().unwrap();
            result.unwrap();
        });

        let entries = fs::read_dir(&copied).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        let expected = ["audit.db", "connections", "control.db", "keybearer.toml", "policies", "tools"];
        assert_eq!(names, expected, "neither the master key nor a cache");
        for (name, mode) in
            [("", 0o700), ("audit.db", 0o600), ("control.db", 0o600), ("connections/more/ca.pem", 0o600)]
        {
            let found = fs::metadata(copied.join(name)).unwrap().permissions().mode();
            assert_eq!(found & 0o777, mode, "{name}");
        }
        for (to, words) in [(&copied, "name a folder to be made"), (&home.tools_dir().join("x"), "elsewhere")]
        {
            let error = backup(&home, to).unwrap_err().to_string();
            assert!(error.ends_with(words), "{error}");
        }

        // As the documentation says it's put back: with the master key of that time.
        fs::copy(home.root().join("master.key"), copied.join("master.key")).unwrap();
        let restored = Opened::open(Some(copied)).unwrap();
        restored.vault().unwrap();
        assert_eq!(restored.control.token_by_id(&minted.row.id).unwrap(), Some(minted.row));
        let trail = restored.audit_store().unwrap();
        trail.check_pages().unwrap();
        assert!(audit::verify(&*trail, None).unwrap().head.seq >= 1);
        restored.record(None, "test", "after").unwrap();
    }

    #[test]
    fn a_copy_that_was_cut_short_is_no_home() {
        let dir = tempfile::tempdir().unwrap();
        let copied = dir.path().join("copy");
        let (home, ..) = made(&dir.path().join("home"));
        std::os::unix::fs::symlink("nowhere", home.policies_dir().join("gone.cedar")).unwrap();
        let error = format!("{:#}", backup(&home, &copied).unwrap_err());
        assert!(error.contains("can't copy") && error.contains("policies"), "{error}");
        assert!(Home::named(Some(copied)).unwrap().existing().is_err());
    }
}
