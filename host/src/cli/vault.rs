//! `keybearer vault`: secrets go in, none comes out.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use anyhow::bail;
use serde_json::json;
use zeroize::Zeroizing;

use super::context::Opened;
use super::out::Out;
use super::{Done, RealmArgs};
use crate::egress::{MasterKey, SecretInput};
use crate::ids::SecretLabel;

/// Commands on secrets.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Vault {
    /// Store a new secret, read from standard input or asked for at the terminal.
    Set {
        /// The label that connections name.
        label: SecretLabel,
        #[command(flatten)]
        realm: RealmArgs,
    },
    /// Store a new version of a secret. The old version is kept until it's removed.
    Rotate {
        /// The label.
        label: SecretLabel,
        #[command(flatten)]
        realm: RealmArgs,
    },
    /// List labels, versions and dates.
    List {
        #[command(flatten)]
        realm: RealmArgs,
        /// All tenants and environments.
        #[arg(long)]
        all: bool,
    },
    /// Remove a secret, or one version of it.
    Remove {
        /// The label.
        label: SecretLabel,
        /// This version only.
        #[arg(long, value_name = "N")]
        version: Option<u32>,
        #[command(flatten)]
        realm: RealmArgs,
    },
    /// Wrap every tenant's key with a new master key. Secrets stay as they are. A host that runs on a key file goes on
    /// by itself; one that takes its key from the environment has to be started again with the new one.
    RotateMaster {
        /// The environment variable that holds the new key [default: a new key is made in the key file, and the one
        /// before stays beside it in FILE.previous].
        #[arg(long, value_name = "NAME")]
        new_key_env: Option<String>,
    },
}

impl Vault {
    pub(super) fn run(self, home: Option<PathBuf>, out: &Out) -> anyhow::Result<Done> {
        let opened = Opened::open(home)?;
        match self {
            Self::Set { label, realm } => store(&opened, out, &label, &realm, false),
            Self::Rotate { label, realm } => store(&opened, out, &label, &realm, true),
            Self::List { realm, all } => list(&opened, out, &realm, all),
            Self::Remove { label, version, realm } => remove(&opened, out, &label, version, &realm),
            Self::RotateMaster { new_key_env } => rotate_master(&opened, out, new_key_env.as_deref()),
        }
    }
}

fn store(
    opened: &Opened,
    out: &Out,
    label: &SecretLabel,
    args: &RealmArgs,
    rotate: bool,
) -> anyhow::Result<Done> {
    let (realm, vault) = (args.realm(), opened.vault()?);
    let known = vault.list(Some(&realm.tenant))?.iter().any(|s| s.realm == realm && s.label == *label);
    match (known, rotate) {
        (true, false) => {
            bail!("{label} is set already in {realm}; `keybearer vault rotate {label}` stores a new version")
        }
        (false, true) => bail!("{label} is not set in {realm}; `keybearer vault set {label}` stores it"),
        _ => {}
    }
    let version = vault.put(&realm, label, &read_secret(label)?)?;
    let action = if rotate { "vault.rotate" } else { "vault.set" };
    opened.record(Some(realm.clone()), action, &format!("{label} version {version}"))?;
    out.line(format!("stored {label} version {version} in {realm}"));
    out.value(&json!({ "label": label, "version": version, "realm": realm }));
    Ok(Done::Well)
}

/// The secret from standard input, or from a prompt that shows nothing.
fn read_secret(label: &SecretLabel) -> anyhow::Result<SecretInput> {
    if std::io::stdin().is_terminal() {
        let once = Zeroizing::new(rpassword::prompt_password(format!("Secret {label} (not shown): "))?);
        let twice = Zeroizing::new(rpassword::prompt_password("Once more: ")?);
        if once != twice {
            bail!("the two entries differ; nothing was stored");
        }
        return Ok(SecretInput::new(Zeroizing::new(once.as_bytes().to_vec()))?);
    }
    Ok(SecretInput::read(std::io::stdin().lock())?)
}

fn list(opened: &Opened, out: &Out, args: &RealmArgs, all: bool) -> anyhow::Result<Done> {
    let realm = args.realm();
    let mut secrets = opened.vault()?.list((!all).then_some(&realm.tenant))?;
    secrets.retain(|secret| all || secret.realm == realm);
    let row = |s: &crate::egress::SecretInfo| {
        vec![s.realm.to_string(), s.label.to_string(), s.version.to_string(), s.created_at.to_string()]
    };
    out.table(&["REALM", "LABEL", "VERSION", "STORED"], &secrets.iter().map(row).collect::<Vec<_>>());
    let value: Vec<_> = secrets
        .iter()
        .map(|s| json!({ "realm": s.realm, "label": s.label, "version": s.version, "stored": s.created_at.to_string() }))
        .collect();
    out.value(&value);
    Ok(Done::Well)
}

fn remove(
    opened: &Opened,
    out: &Out,
    label: &SecretLabel,
    version: Option<u32>,
    args: &RealmArgs,
) -> anyhow::Result<Done> {
    let realm = args.realm();
    let removed = opened.vault()?.remove(&realm, label, version)?;
    if removed == 0 {
        bail!("there is no such secret in {realm}; `keybearer vault list --all` shows all labels");
    }
    let which = version.map_or_else(|| "all versions".to_owned(), |v| format!("version {v}"));
    opened.record(Some(realm.clone()), "vault.remove", &format!("{label} {which}"))?;
    out.line(format!("removed {label} ({which}) from {realm}"));
    out.value(&json!({ "label": label, "removed": removed, "realm": realm }));
    Ok(Done::Well)
}

fn rotate_master(opened: &Opened, out: &Out, env: Option<&str>) -> anyhow::Result<Done> {
    let vault = opened.vault()?;
    let rotated = match env {
        Some(name) => vault.rotate_master(MasterKey::from_env(name)?)?,
        None => vault.rotate_master_file()?,
    };
    opened.record(None, "vault.rotate_master", &format!("{} to {}", rotated.from, rotated.to))?;
    out.line(format!(
        "tenant keys wrapped by {} now, no longer by {}: {}",
        rotated.to, rotated.from, rotated.tenants
    ));
    match env {
        Some(name) => out.line(format!(
            "start hosts with `env = {name:?}` below [master_key] in {} from now on",
            opened.home.config_file().display()
        )),
        None => out.line("a running host follows by itself; back up the new key file"),
    }
    out.value(&json!({ "from": rotated.from, "to": rotated.to, "tenants": rotated.tenants }));
    Ok(Done::Well)
}
