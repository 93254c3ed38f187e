//! Where things lie.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::{Failure, Outcome, cannot};
use crate::setup::{Environment, MAIN};

/// The repository and what is built from it.
#[derive(Clone)]
pub(crate) struct Place {
    /// The root of the checkout.
    pub root: PathBuf,
    /// Cargo's target directory, wherever it's configured to be.
    pub target: PathBuf,
}

impl Place {
    /// Finds both from where this program lies: `TARGET/PROFILE/xtask`, compiled from `ROOT/xtask`.
    pub(crate) fn find() -> Outcome<Self> {
        let nowhere = || Failure::Told("run this as `cargo xtask …`".into());
        let exe = std::env::current_exe().map_err(|_| nowhere())?;
        let target = exe.ancestors().nth(2).ok_or_else(nowhere)?.to_owned();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or_else(nowhere)?.to_owned();
        Ok(Self { root, target })
    }

    /// A program that Cargo built.
    pub(crate) fn built(&self, name: &str) -> PathBuf {
        self.target.join("debug").join(name)
    }

    /// The Python of the main virtual environment.
    pub(crate) fn python(&self) -> PathBuf {
        self.venv(&MAIN).join("bin/python")
    }

    pub(crate) fn venv(&self, environment: &Environment) -> PathBuf {
        self.target.join(environment.folder)
    }

    /// A folder of ours below the target directory, made if need be.
    pub(crate) fn folder(&self, name: &str) -> Outcome<PathBuf> {
        let path = self.target.join("xtask").join(name);
        fs::create_dir_all(&path).map_err(cannot("make", &path))?;
        Ok(path)
    }

    /// A command that runs in the root of the checkout.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root);
        command
    }

    /// The host's command. Its caches are ours.
    pub(crate) fn host(&self) -> Outcome<Command> {
        let mut command = self.command(self.built("keybearer"));
        self.keep_caches(&mut command)?;
        Ok(command)
    }

    /// Has the host keep its caches below the target directory, wherever the command runs it.
    pub(crate) fn keep_caches(&self, command: &mut Command) -> Outcome<()> {
        command.env("XDG_CACHE_HOME", self.folder("cache")?);
        Ok(())
    }

    /// The same Cargo that runs this, building into the same target directory.
    pub(crate) fn cargo(&self) -> Command {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = self.command(cargo);
        command.env("CARGO_TARGET_DIR", &self.target);
        // `cargo run` sets these for us; a build script that watches one of them would be run again for nothing.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CARGO_PKG_") || name == "CARGO_MANIFEST_DIR" {
                command.env_remove(name);
            }
        }
        command
    }
}

/// The folders below `parent` that hold a file of this name, sorted.
pub(crate) fn folders_with(parent: &Path, file: &str) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.join(file).is_file())
        .collect();
    folders.sort();
    folders
}

/// A path's last part, for people.
pub(crate) fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
