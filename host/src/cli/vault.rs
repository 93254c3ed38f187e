//! `keybearer vault`: secrets go in, none comes out.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use anyhow::{anyhow, bail};
use serde_json::json;
use zeroize::Zeroizing;

use super::context::Opened;
use super::out::Out;
use super::{Done, RealmArgs};
use crate::config::is_variable;
use crate::egress::vault::{AdminError, Expected, InvalidSecret, Rotated};
use crate::egress::{MasterKey, SecretInfo, SecretInput, new_label};
use crate::ids::{SecretLabel, TenantId, UserId};

/// Commands on secrets.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Vault {
    /// Store a new secret, read from standard input or asked for at the terminal.
    Set {
        /// The label that connections name.
        #[arg(value_parser = new_label)]
        label: SecretLabel,
        /// The user whose own secret it is, for connections with `secret_of = "user"`.
        #[arg(long, value_name = "ID")]
        user: Option<UserId>,
        #[command(flatten)]
        realm: RealmArgs,
    },
    /// Store a new version of a secret. The old version is kept until it's removed; of a user's own, the newest alone.
    Rotate {
        /// The label.
        #[arg(value_parser = new_label)]
        label: SecretLabel,
        /// The user whose own secret it is, for connections with `secret_of = "user"`.
        #[arg(long, value_name = "ID")]
        user: Option<UserId>,
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
        /// This version only [default: all, the one in use among them].
        #[arg(long, value_name = "N")]
        version: Option<u32>,
        /// Remove all versions without being asked.
        #[arg(long, short)]
        yes: bool,
        /// The user whose own secret it is, for connections with `secret_of = "user"`.
        #[arg(long, value_name = "ID")]
        user: Option<UserId>,
        #[command(flatten)]
        realm: RealmArgs,
    },
    /// Go over to a new master key, and give every tenant a new key for what is stored from now on. Secrets stay as they
    /// are. A host that runs on a key file goes on by itself, and so does one that was started with the new key as
    /// `next_env` or `next_passphrase_env`; any other has to be started again with the new one.
    RotateMaster {
        /// The environment variable that holds the new key [default: a new key is made in the key file, and the one
        /// before stays beside it in FILE.previous].
        #[arg(long, value_name = "NAME", value_parser = variable)]
        new_key_env: Option<String>,
        /// The environment variable that holds the new passphrase.
        #[arg(long, value_name = "NAME", value_parser = variable, conflicts_with = "new_key_env")]
        new_passphrase_env: Option<String>,
    },
    /// Give a tenant whose key is damaged a new one, where no backup of the database has the old one. What that one sealed
    /// can't be read any more; `vault rotate` stores its secrets again.
    ReplaceKey {
        /// The tenant.
        tenant: TenantId,
    },
}

impl Vault {
    pub(super) fn run(self, home: Option<PathBuf>, out: &Out) -> anyhow::Result<Done> {
        let opened = Opened::open(home)?;
        match self {
            Self::Set { label, user, realm } => store(&opened, out, &label, user.as_ref(), &realm, false),
            Self::Rotate { label, user, realm } => store(&opened, out, &label, user.as_ref(), &realm, true),
            Self::List { realm, all } => list(&opened, out, &realm, all),
            Self::Remove { label, version, yes, user, realm } => {
                remove(&opened, out, &label, version, yes, user.as_ref(), &realm)
            }
            Self::RotateMaster { new_key_env, new_passphrase_env } => {
                rotate_master(&opened, out, new_key_env.as_deref(), new_passphrase_env.as_deref())
            }
            Self::ReplaceKey { tenant } => replace_key(&opened, out, &tenant),
        }
    }
}

fn store(
    opened: &Opened,
    out: &Out,
    label: &SecretLabel,
    user: Option<&UserId>,
    args: &RealmArgs,
    rotate: bool,
) -> anyhow::Result<Done> {
    let (realm, vault) = (args.realm(), opened.vault()?);
    let is_it = |s: &SecretInfo| s.realm == realm && s.user.as_ref() == user && s.label == *label;
    let known = vault.list(Some(&realm.tenant))?.iter().any(is_it);
    let (shown, flag) = (named(label, user), user.map_or(String::new(), |user| format!(" --user {user}")));
    let refused = || {
        if rotate {
            anyhow!("{shown} is not set in {realm}; `keybearer vault set {label}{flag}` stores it")
        } else {
            anyhow!(
                "{shown} is set already in {realm}; `keybearer vault rotate {label}{flag}` stores a new version"
            )
        }
    };
    // Before anybody is asked for it.
    if known != rotate {
        return Err(refused());
    }
    let secret = read_secret(label)?;
    let expected = if rotate { Expected::Known } else { Expected::New };
    let version = match vault.put_if(expected, &realm, user, label, &secret) {
        Err(AdminError::IsSet | AdminError::NotSet) => return Err(refused()),
        stored => stored?,
    };
    let action = if rotate { "vault.rotate" } else { "vault.set" };
    opened.record(Some(realm.clone()), action, &format!("{shown} version {version}"))?;
    if let Some(user) = user {
        vault.keep_own(&realm, user, label, version)?;
    }
    out.line(format!("stored {shown} version {version} in {realm}"));
    out.value(&json!({ "label": label, "user": user, "version": version, "realm": realm }));
    Ok(Done::Well)
}

/// A secret in words.
fn named(label: &SecretLabel, user: Option<&UserId>) -> String {
    user.map_or_else(|| label.to_string(), |user| format!("{label} of the user {user}"))
}

/// The secret from standard input, or from a prompt that shows nothing.
fn read_secret(label: &SecretLabel) -> anyhow::Result<SecretInput> {
    if std::io::stdin().is_terminal() {
        let once = Zeroizing::new(rpassword::prompt_password(format!("Secret {label} (not shown): "))?);
        let twice = Zeroizing::new(rpassword::prompt_password("Once more: ")?);
        if once != twice {
            bail!("the two entries differ; nothing was stored");
        }
        // The prompt puts this in place of what isn't UTF-8, which would be stored altered.
        if once.contains(char::REPLACEMENT_CHARACTER) {
            return Err(InvalidSecret::NotText.into());
        }
        return Ok(SecretInput::new(Zeroizing::new(once.as_bytes().to_vec()))?);
    }
    Ok(SecretInput::read(std::io::stdin().lock())?)
}

fn list(opened: &Opened, out: &Out, args: &RealmArgs, all: bool) -> anyhow::Result<Done> {
    let realm = args.realm();
    let mut secrets = opened.vault()?.list((!all).then_some(&realm.tenant))?;
    secrets.retain(|secret| all || secret.realm == realm);
    let row = |s: &SecretInfo| {
        let user = s.user.as_ref().map_or("", |user| user.as_str()).to_owned();
        vec![s.realm.to_string(), user, s.label.to_string(), s.version.to_string(), s.created_at.to_string()]
    };
    out.table(&["REALM", "USER", "LABEL", "VERSION", "STORED"], &secrets.iter().map(row).collect::<Vec<_>>());
    let value: Vec<_> = secrets
        .iter()
        .map(|s| json!({ "realm": s.realm, "user": s.user, "label": s.label, "version": s.version, "stored": s.created_at.to_string() }))
        .collect();
    out.value(&value);
    Ok(Done::Well)
}

fn remove(
    opened: &Opened,
    out: &Out,
    label: &SecretLabel,
    version: Option<u32>,
    yes: bool,
    user: Option<&UserId>,
    args: &RealmArgs,
) -> anyhow::Result<Done> {
    let (realm, vault) = (args.realm(), opened.vault()?);
    let shown = named(label, user);
    if version.is_none() && !yes {
        let mut stored = vault.list(Some(&realm.tenant))?;
        stored.retain(|s| s.realm == realm && s.user.as_ref() == user && s.label == *label);
        if let Some(newest) = stored.iter().map(|s| s.version).max() {
            let question =
                format!("Remove all versions of {shown} from {realm}? Version {newest} is in use.");
            if !out.confirm(&question) {
                bail!("not removed: consent at the terminal, or with --yes; --version N removes one alone");
            }
        }
    }
    let removed = match user {
        None => vault.remove(&realm, label, version)?,
        Some(user) => vault.remove_own(&realm, user, label, version)?,
    };
    if removed == 0 {
        bail!("there is no such secret in {realm}; `keybearer vault list --all` shows all labels");
    }
    let which = version.map_or_else(|| "all versions".to_owned(), |v| format!("version {v}"));
    opened.record(Some(realm.clone()), "vault.remove", &format!("{shown} {which}"))?;
    out.line(format!("removed {shown} ({which}) from {realm}"));
    // Whoever is at work in the database may keep it from being emptied.
    let log = opened.home.root().join("control.db-wal");
    if std::fs::metadata(&log).is_ok_and(|log| log.len() > 0) {
        out.note(format!(
            "warning: what was removed may still lie in {}; it's gone for sure once no program has the database open",
            log.display()
        ));
    }
    out.value(&json!({ "label": label, "user": user, "removed": removed, "realm": realm }));
    Ok(Done::Well)
}

/// The name of an environment variable. Where it's none, it isn't repeated (`usage`).
fn variable(name: &str) -> Result<String, &'static str> {
    if is_variable(name) {
        return Ok(name.to_owned());
    }
    Err("this is no name of an environment variable; the key or the passphrase goes into the variable")
}

fn rotate_master(
    opened: &Opened,
    out: &Out,
    key: Option<&str>,
    passphrase: Option<&str>,
) -> anyhow::Result<Done> {
    let vault = opened.vault()?;
    let (rotated, source) = match (key, passphrase) {
        (Some(name), _) => {
            (vault.rotate_master(MasterKey::from_env(name)?)?, Some(format!("env = {name:?}")))
        }
        (None, Some(name)) => {
            let text = std::env::var(name)
                .map(Zeroizing::new)
                .map_err(|_| anyhow!("the environment variable {name} has to hold the new passphrase"))?;
            let new = MasterKey::from_passphrase(opened.control.as_ref(), &text)?;
            (vault.rotate_master(new)?, Some(format!("passphrase_env = {name:?}")))
        }
        (None, None) => (vault.rotate_master_file()?, None),
    };
    opened.record(None, "vault.rotate_master", &format!("{} to {}", rotated.from, rotated.to))?;
    out.line(format!(
        "tenant keys wrapped by {} now, no longer by {}: {}",
        rotated.to, rotated.from, rotated.tenants
    ));
    for tenant in &rotated.damaged {
        out.note(format!(
            "warning: the key of tenant {tenant} is damaged and stays so; without a backup that has it, \
             `keybearer vault replace-key {tenant}` gives the tenant another"
        ));
    }
    match source {
        Some(source) => out.line(format!(
            "a host that was started with `next_{source}` goes on by itself; start hosts with `{source}` below \
             [master_key] in {} from now on",
            opened.home.config_file().display()
        )),
        None => out.line("a running host follows by itself; back up the new key file"),
    }
    let Rotated { from, to, tenants, damaged } = rotated;
    out.value(&json!({ "from": from, "to": to, "tenants": tenants, "damaged": damaged }));
    Ok(Done::Well)
}

fn replace_key(opened: &Opened, out: &Out, tenant: &TenantId) -> anyhow::Result<Done> {
    opened.vault()?.replace_damaged_key(tenant)?;
    opened.record(None, "vault.replace_key", tenant.as_str())?;
    out.line(format!(
        "tenant {tenant} has a new key; `keybearer vault rotate LABEL --tenant {tenant}` stores a secret under it"
    ));
    out.value(&json!({ "tenant": tenant }));
    Ok(Done::Well)
}
