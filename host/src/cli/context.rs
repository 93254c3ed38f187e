//! Opening the parts of a home that a command needs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, ensure};

use super::out::Out;
use crate::app::{open_catalog, open_policy};
use crate::audit::{Audit, AuditError};
use crate::catalog::Catalog;
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, MasterKeySource};
use crate::connection::LiveConnections;
use crate::egress::vault::AdminError;
use crate::egress::{MasterKey, MasterKeys, Vault};
use crate::home::Home;
use crate::ids::Realm;
use crate::policy::Policy;
use crate::runtime::{Runtime, RuntimeConfig};
use crate::store::sqlite::{SqliteAudit, SqliteControl};
use crate::store::{ControlStore, StoreError, TokenRow};

/// A home, its configuration checked, its control database open.
pub(super) struct Opened {
    pub(super) home: Home,
    pub(super) config: Config,
    pub(super) control: Arc<dyn ControlStore>,
    pub(super) clock: Arc<dyn Clock>,
    /// Policies to ask beside the home's own.
    pub(super) shadow_policies: Option<PathBuf>,
}

impl Opened {
    /// Opens the home that the flag or the environment names.
    pub(super) fn open(flag: Option<PathBuf>) -> anyhow::Result<Self> {
        Self::open_by(flag, SqliteControl::existing)
    }

    /// The same, for a host.
    pub(super) fn for_host(flag: Option<PathBuf>) -> anyhow::Result<Self> {
        Self::open_by(flag, SqliteControl::for_host)
    }

    fn open_by(
        flag: Option<PathBuf>,
        open: fn(&Path) -> Result<SqliteControl, StoreError>,
    ) -> anyhow::Result<Self> {
        let home = Home::named(flag)?.existing()?;
        let config = Config::load(&home.config_file())?;
        let control = open(&home.control_db()).context("can't open control.db")?;
        Ok(Self::of(home, config, control))
    }

    /// A home whose configuration is at hand, and its database open.
    pub(super) fn of(home: Home, config: Config, control: SqliteControl) -> Self {
        Self { home, config, control: Arc::new(control), clock: Arc::new(SystemClock), shadow_policies: None }
    }

    /// The vault, with the master key that the configuration names, and the next where its variable is set here: a command
    /// seldom needs that one.
    pub(super) fn vault(&self) -> anyhow::Result<Vault> {
        self.vault_with(self.masters()?, self.next_masters()?).map_err(|error| {
            let is_unknown =
                matches!(error.downcast_ref::<AdminError>(), Some(AdminError::UnknownMaster { .. }));
            if self.lacks_next() && is_unknown {
                error.context("the next master key was left out, since its variable isn't set here")
            } else {
                error
            }
        })
    }

    /// The same for a host, which may come to need the next master key at any moment.
    pub(super) fn vault_for_host(&self) -> anyhow::Result<Vault> {
        let masters = self.masters()?;
        let next = self.config.next_master_key.as_ref().map(|source| self.next(source)).transpose()?;
        self.vault_with(masters, next)
    }

    /// The next master key, where one is named and its variable is set here.
    pub(super) fn next_masters(&self) -> anyhow::Result<Option<MasterKeys>> {
        match &self.config.next_master_key {
            Some(source) if !self.lacks_next() => self.next(source).map(Some),
            _ => Ok(None),
        }
    }

    /// Whether a next master key is named whose variable isn't set here: a command does without it.
    pub(super) fn lacks_next(&self) -> bool {
        match &self.config.next_master_key {
            Some(MasterKeySource::Env(name) | MasterKeySource::Passphrase(name)) => {
                std::env::var_os(name).is_none()
            }
            Some(MasterKeySource::File(_)) | None => false,
        }
    }

    fn masters(&self) -> anyhow::Result<MasterKeys> {
        master_keys(&self.config.master_key, "Master passphrase: ", self.control.as_ref())
    }

    fn next(&self, source: &MasterKeySource) -> anyhow::Result<MasterKeys> {
        master_keys(source, "Next master passphrase: ", self.control.as_ref())
            .context("the next master key can't be had")
    }

    fn vault_with(&self, mut masters: MasterKeys, next: Option<MasterKeys>) -> anyhow::Result<Vault> {
        if let Some(next) = next {
            masters = masters.and(next);
        }
        Ok(Vault::open(self.control.clone(), masters, self.clock.clone())?)
    }

    /// The audit trail's file.
    pub(super) fn audit_store(&self) -> anyhow::Result<Arc<SqliteAudit>> {
        Ok(Arc::new(SqliteAudit::existing(&self.home.audit_db()).context("can't open audit.db")?))
    }

    /// The home's tools, loaded without compiling more than is needed.
    pub(super) fn catalog(&self, out: &Out) -> anyhow::Result<Arc<Catalog>> {
        let runtime = Arc::new(Runtime::new(&RuntimeConfig::for_commands())?);
        open_catalog(&self.home, self.control.clone(), runtime, &mut say(out))
    }

    /// The home's policies, as a host would load them.
    pub(super) fn policy(&self, out: &Out) -> anyhow::Result<Policy> {
        let connections = LiveConnections::open(&self.home.connections_dir())
            .map_err(|problems| anyhow::anyhow!("the connections can't be used\n{problems}"))?;
        let catalog = self.catalog(out)?;
        open_policy(&self.home, self.control.clone(), Arc::new(connections), catalog, &mut say(out))
    }

    /// Records what an operator did. It's recorded before it's reported as done.
    pub(super) fn record(&self, realm: Option<Realm>, action: &str, subject: &str) -> anyhow::Result<()> {
        self.record_for(realm, action, subject, None)
    }

    /// As [`Self::record`], with the operator's reason.
    pub(super) fn record_for(
        &self,
        realm: Option<Realm>,
        action: &str,
        subject: &str,
        reason: Option<&str>,
    ) -> anyhow::Result<()> {
        self.on_record(&format!("{action} {subject} was done"), async |audit| {
            audit.admin_for(realm, action, subject, "cli", reason).await
        })
    }

    /// Records that a token was minted: to whom, for what, and what it may do.
    pub(super) fn record_minted(&self, token: &TokenRow) -> anyhow::Result<()> {
        self.on_record(&format!("{} was minted", token.id), async |audit| {
            audit.given("token.mint", token, "cli").await
        })
    }

    /// Has the audit trail record what was done.
    fn on_record(
        &self,
        done: &str,
        record: impl AsyncFnOnce(&Audit) -> Result<(), AuditError>,
    ) -> anyhow::Result<()> {
        let audit = Audit::start(self.audit_store()?, self.clock.clone())?;
        runtime()?
            .block_on(record(&audit))
            .with_context(|| format!("{done} but could not be recorded in the audit trail"))?;
        audit.shutdown();
        Ok(())
    }
}

/// The master key from where the configuration says. A passphrase may have to be asked for.
fn master_keys(
    source: &MasterKeySource,
    prompt: &str,
    control: &dyn ControlStore,
) -> anyhow::Result<MasterKeys> {
    match source {
        MasterKeySource::File(path) => Ok(MasterKeys::from_file(path)?),
        MasterKeySource::Env(name) => Ok(MasterKey::from_env(name)?.into()),
        MasterKeySource::Passphrase(name) => {
            let passphrase = match std::env::var(name) {
                Ok(passphrase) => passphrase,
                Err(_) => rpassword::prompt_password(prompt)
                    .with_context(|| format!("set ${name}, or run this at a terminal"))?,
            };
            Ok(MasterKey::from_passphrase(control, &passphrase)?.into())
        }
    }
}

/// A small runtime for commands that wait for one thing.
pub(super) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// Progress on standard error for work that takes long.
pub(super) fn say<'o>(out: &'o Out) -> impl FnMut(&str) + 'o {
    move |text| out.note(text)
}

/// Where compiled components and Python environments are kept. Losing it costs making them again.
pub(super) fn cache_dir() -> Option<PathBuf> {
    let xdg = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute());
    let own = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    Some(xdg.or_else(own)?.join("keybearer"))
}

/// Every component of a folder, by name.
///
/// # Errors
/// When it can't be read, or holds none.
pub(in crate::cli) fn components_of(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(dir).with_context(|| dir.display().to_string())?;
    let paths: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    let mut files: Vec<_> =
        paths.into_iter().filter(|path| path.extension().is_some_and(|end| end == "wasm")).collect();
    ensure!(
        !files.is_empty(),
        "{} holds no component (*.wasm); `keybearer tool build` makes one",
        dir.display()
    );
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::init;

    #[test]
    fn a_command_needs_the_next_master_key_only_once_it_is_in_use_and_a_host_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let realm = Realm { tenant: "acme".parse().unwrap(), environment: "prod".parse().unwrap() };
        let home = Home::named(Some(dir.path().to_owned())).unwrap();
        drop(init::make(home.clone(), realm).unwrap());
        let name = "KEYBEARER_TEST_NO_SUCH_VARIABLE";
        std::fs::write(home.config_file(), format!("[master_key]\nnext_env = \"{name}\"\n")).unwrap();
        let opened = Opened::open(Some(dir.path().to_owned())).unwrap();
        let vault = opened.vault().unwrap();
        let error = format!("{:#}", opened.vault_for_host().err().unwrap());
        assert!(error.starts_with("the next master key can't be had") && error.contains(name), "{error}");
        vault.rotate_master(MasterKey::for_tests(2)).unwrap();
        let error = format!("{:#}", opened.vault().err().unwrap());
        assert!(error.starts_with("the next master key was left out"), "{error}");
    }
}
