//! `keybearer backup`.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde_json::json;

use super::Done;
use super::out::Out;
use crate::config::{Config, MasterKeySource};
use crate::egress::vault::belongs_to_key;
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
        let (key, key_file) = match &config.master_key {
            MasterKeySource::File(path) => {
                (format!("the master key in {}", path.display()), Some(path.as_path()))
            }
            MasterKeySource::Env(name) => (format!("the master key in ${name}"), None),
            MasterKeySource::Passphrase(_) => ("the master passphrase".to_owned(), None),
        };
        copy_home(&home, &copy, key_file)?;
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
///
/// `key`: the master key's file.
fn copy_home(home: &Home, to: &Home, key: Option<&Path>) -> anyhow::Result<()> {
    let root = to.root();
    match DirBuilder::new().mode(0o700).create(root) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            bail!("{} is there already; name a folder to be made", root.display());
        }
        made => made.with_context(|| format!("can't make {}", root.display()))?,
    }
    let place = fs::canonicalize(root).with_context(|| format!("can't find {}", root.display()))?;
    let parts = [home.root().to_owned(), home.tools_dir(), home.connections_dir(), home.policies_dir()];
    if parts.iter().any(|part| fs::canonicalize(part).is_ok_and(|part| place.starts_with(part))) {
        fs::remove_dir(root).with_context(|| format!("can't remove {}", root.display()))?;
        bail!("{} is in the home itself; name a folder elsewhere", root.display());
    }
    let (audit, control, config) = (home.audit_db(), home.control_db(), home.config_file());
    SqliteAudit::existing(&audit).and_then(|it| it.copy_to(&to.audit_db())).context("can't copy audit.db")?;
    SqliteControl::existing(&control)
        .and_then(|it| it.copy_to(&to.control_db()))
        .context("can't copy control.db")?;
    let mut copying = Copying { key, within: vec![place] };
    for (from, to) in [
        (home.tools_dir(), to.tools_dir()),
        (home.connections_dir(), to.connections_dir()),
        (home.policies_dir(), to.policies_dir()),
        (home.budgets_file(), to.budgets_file()),
    ] {
        copying.copy(&from, &to)?;
    }
    copy_file(&config, &to.config_file()).with_context(|| format!("can't copy {}", config.display()))?;
    File::open(root)
        .and_then(|folder| folder.sync_all())
        .with_context(|| format!("can't write {}", root.display()))
}

/// A copy that is being made.
struct Copying<'a> {
    /// The master key's file, which isn't copied, wherever it lies and whatever leads to it.
    key: Option<&'a Path>,
    /// Where the copy is made, and the folders that are being copied: a link that leads back to one isn't followed.
    within: Vec<PathBuf>,
}

impl Copying<'_> {
    /// Copies a file, or a folder with all that is in it, for its owner alone. It's on the disk when this returns. What isn't
    /// there any more needn't be: files that take another one's place have a name of their own for a moment.
    fn copy(&mut self, from: &Path, to: &Path) -> anyhow::Result<()> {
        if self.key.is_some_and(|key| belongs_to_key(from, key)) {
            return Ok(());
        }
        let folder = fs::metadata(from).and_then(|found| match found.is_dir() {
            true => Ok(Some((fs::canonicalize(from)?, names(from)?))),
            false if found.is_file() => copy_file(from, to).map(|()| None),
            // A pipe, a socket or a device: nothing of a home is kept in one.
            false => Ok(None),
        });
        match folder {
            Err(error) if error.kind() == ErrorKind::NotFound && is_gone(from) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("can't copy {}", from.display())),
            Ok(Some((place, names))) if !self.within.contains(&place) => {
                self.within.push(place);
                self.copy_folder(from, &names, to)?;
                self.within.pop();
                Ok(())
            }
            Ok(_) => Ok(()),
        }
    }

    fn copy_folder(&mut self, from: &Path, names: &[OsString], to: &Path) -> anyhow::Result<()> {
        let failed = || format!("can't write {}", to.display());
        DirBuilder::new().mode(0o700).create(to).with_context(failed)?;
        for name in names {
            self.copy(&from.join(name), &to.join(name))?;
        }
        File::open(to).and_then(|folder| folder.sync_all()).with_context(failed)
    }
}

fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    let mut file = File::open(from)?;
    let mut copy = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    io::copy(&mut file, &mut copy)?;
    copy.sync_all()
}

fn names(folder: &Path) -> io::Result<Vec<OsString>> {
    fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.file_name())).collect()
}

/// A link that leads nowhere is there.
fn is_gone(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

#[cfg(test)]
mod tests;
