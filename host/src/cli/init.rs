//! `keybearer init`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;

use super::approval::command_line_user;
use super::context::Opened;
use super::out::Out;
use super::{Done, RealmArgs};
use crate::auth::{Auth, Grant, Mint, Minted};
use crate::config::{Config, MasterKeySource};
use crate::egress::MasterKey;
use crate::home::{CONFIG_TEMPLATE, Home};
use crate::ids::Realm;
use crate::store::TokenKind;
use crate::store::sqlite::{SqliteAudit, SqliteControl};

/// What a new home lacks before an agent can use it, in the order of use.
const NEXT: [&str; 6] = [
    "next:",
    "  put a connection's file into connections/: where, how, and what may be done (examples/connections has two)",
    "  keybearer vault set LABEL    for the secret that it names",
    "  keybearer tool add FILE.wasm",
    "  keybearer token mint --agent NAME --tool TOOL --operation CONNECTION:OPERATION",
    "  keybearer serve",
];

/// Flags of `init`.
#[derive(Debug, clap::Args)]
pub(super) struct Init {
    #[command(flatten)]
    realm: RealmArgs,
}

impl Init {
    pub(super) fn run(self, home: Option<PathBuf>, out: &Out) -> anyhow::Result<Done> {
        let home = Home::named(home)?;
        let (opened, minted) = make(home, self.realm.realm())?;
        let root = opened.home.root().display().to_string();
        out.line(format!("made the home {root}"));
        out.line("  keybearer.toml   the configuration, every key with its default");
        out.line("  master.key       opens the vault: back it up apart from the databases");
        out.line("  connections/     put connection files here");
        out.line("  policies/        who may do what: start.cedar permits what tokens carry");
        let realm = &minted.row.realm;
        out.line(format!("\noperator token for {realm}, shown this once: {}\n", minted.token));
        for line in NEXT {
            out.line(line);
        }
        out.value(&json!({ "home": root, "operator_token": minted.token.to_string() }));
        out.written().with_context(|| {
            format!(
                "{0} was minted and its token is lost: `keybearer token revoke {0}` ends it",
                minted.row.id
            )
        })?;
        Ok(Done::Well)
    }
}

/// Makes a home with everything in it, and an operator's token for it. It's a home in the end, and not before: cut short
/// at any moment, the same again takes up what is there and completes it.
pub(super) fn make(home: Home, realm: Realm) -> anyhow::Result<(Opened, Minted)> {
    let config = Config::parse(CONFIG_TEMPLATE, &home.config_file())?;
    home.begin()?;
    if let MasterKeySource::File(path) = &config.master_key {
        let key = if path.exists() { MasterKey::from_file(path) } else { MasterKey::create_file(path) };
        key?;
    }
    let control = SqliteControl::open(&home.control_db()).context("can't make control.db")?;
    SqliteAudit::open(&home.audit_db()).context("can't make audit.db")?;
    let opened = Opened::of(home, config, control);
    let auth = Auth::new(opened.control.clone(), opened.clock.clone());
    let operator = Mint {
        kind: TokenKind::Operator,
        realm,
        every_environment: false,
        agent: "operator".parse()?,
        conversation: None,
        role: None,
        task: None,
        user: None,
        grant: Grant::default(),
        lifetime: Duration::from_secs(365 * 86_400),
    };
    let minted = auth.mint_as(command_line_user()?.name(), operator)?;
    opened.record_minted(&minted.row)?;
    opened.home.finish()?;
    Ok((opened, minted))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn made(dir: &Path) -> anyhow::Result<Minted> {
        let realm = Realm { tenant: "default".parse()?, environment: "production".parse()? };
        Ok(make(Home::named(Some(dir.to_owned()))?, realm)?.1)
    }

    #[test]
    fn what_was_cut_short_is_completed_by_the_next_one() {
        // In the order in which they're made: whatever was made last, all that comes after it is missing.
        let steps = ["policies/start.cedar", "master.key", "control.db", "audit.db", "keybearer.toml"];
        for (step, missing) in steps.iter().enumerate().map(|(step, _)| (step, &steps[step..])) {
            let dir = tempfile::tempdir().unwrap();
            made(dir.path()).unwrap();
            let key = fs::read(dir.path().join("master.key")).unwrap();
            for name in missing {
                fs::remove_file(dir.path().join(name)).unwrap();
            }
            assert!(Opened::open(Some(dir.path().to_owned())).is_err(), "it's no home yet");
            let minted = made(dir.path()).unwrap_or_else(|error| panic!("{missing:?}: {error:#}"));
            let opened = Opened::open(Some(dir.path().to_owned())).unwrap();
            let auth = Auth::new(opened.control.clone(), opened.clock.clone());
            auth.verify(&minted.token.to_string()).unwrap();
            assert_eq!(minted.row.minted_by.as_ref(), Some(command_line_user().unwrap().name()));
            opened.vault().unwrap();
            let same = fs::read(dir.path().join("master.key")).unwrap() == key;
            assert_eq!(same, step > 1, "a key that was made stays");
            assert!(made(dir.path()).unwrap_err().to_string().contains("is a Keybearer home already"));
        }
    }

    #[test]
    fn a_file_that_was_only_begun_is_no_obstacle() {
        let dir = tempfile::tempdir().unwrap();
        made(dir.path()).unwrap();
        for name in ["policies/start.cedar", "control.db", "audit.db"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        fs::remove_file(dir.path().join("keybearer.toml")).unwrap();
        made(dir.path()).unwrap();
    }

    #[test]
    fn only_an_init_makes_a_database() {
        for name in ["control.db", "audit.db"] {
            for empty in [false, true] {
                let dir = tempfile::tempdir().unwrap();
                made(dir.path()).unwrap();
                let file = dir.path().join(name);
                fs::remove_file(&file).unwrap();
                if empty {
                    fs::write(&file, "").unwrap();
                }
                let opened = Opened::open(Some(dir.path().to_owned()));
                let error = opened.and_then(|opened| opened.audit_store()).unwrap_err();
                let text = format!("{error:#}");
                assert!(text.contains(&format!("{name} is gone, or empty: put its copy back")), "{text}");
                assert_eq!(fs::metadata(&file).map_or(0, |found| found.len()), 0);
                assert_eq!(file.exists(), empty);
            }
        }
    }
}
