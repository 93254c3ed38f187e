//! `keybearer init`.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::context::Opened;
use super::out::Out;
use super::{Done, RealmArgs};
use crate::auth::{Auth, Grant, Mint, Minted};
use crate::config::{Config, MasterKeySource};
use crate::egress::MasterKey;
use crate::home::Home;
use crate::ids::Realm;
use crate::store::TokenKind;

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
        out.line("next: keybearer tool add FILE.wasm · keybearer vault set LABEL · keybearer serve");
        out.value(&json!({ "home": root, "operator_token": minted.token.to_string() }));
        Ok(Done::Well)
    }
}

/// Makes a home with everything in it, and an operator's token for it.
pub(super) fn make(home: Home, realm: Realm) -> anyhow::Result<(Opened, Minted)> {
    home.create()?;
    let config = Config::load(&home.config_file())?;
    if let MasterKeySource::File(path) = &config.master_key {
        MasterKey::create_file(path)?;
    }
    let opened = Opened::of(home, config)?;
    opened.audit_store()?;
    let auth = Auth::new(opened.control.clone(), opened.clock.clone());
    let minted = auth.mint(Mint {
        kind: TokenKind::Operator,
        realm: realm.clone(),
        every_environment: false,
        agent: "operator".parse()?,
        conversation: None,
        role: None,
        task: None,
        user: None,
        grant: Grant::default(),
        lifetime: Duration::from_secs(365 * 86_400),
    })?;
    opened.record(Some(realm), "token.mint", minted.row.id.as_str())?;
    Ok((opened, minted))
}
