//! The host of one row: real policies, ledger, approvals, kill switches and doors, over an upstream that counts.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::Router;
use tempfile::TempDir;

use super::super::super::router::{Door, router};
use super::super::client::config;
use super::super::host::{Made, assemble};
use super::guest;
use super::row::{Actor, Corpus, Row};
use super::upstream::Upstream;
use crate::app::App;
use crate::approval::{ApprovalDesk, ApprovalLimits, Approvals};
use crate::audit::Audit;
use crate::auth::{Auth, Delegation, Grant, Mint, Minted};
use crate::catalog::{Catalog, CodeCache, Loader};
use crate::clock::{ManualClock, Millis};
use crate::connection::{Connections, LiveConnections};
use crate::egress::{Egress, MasterKey, SecretInput, Vault};
use crate::ids::{Realm, SecretLabel, TokenId};
use crate::ledger::Budgets;
use crate::pipeline::Spending;
use crate::policy::{Policy, PolicySource};
use crate::runtime::{Allocation, Runtime, RuntimeConfig};
use crate::store::sqlite::SqliteAudit;
use crate::store::{ControlStore as _, MemoryControl, PendingLimits, TokenKind};

/// 2026-01-14, a Wednesday, 12:00 UTC: when every row begins.
pub(super) const NOON: Millis = Millis(1_768_392_000_000);

/// The policies that are in force unless a row says `alone`.
const BASIC: [&str; 4] = ["base-calls", "base-code", "base-sends", "base-approvers"];

#[derive(Clone)]
pub(super) struct World {
    pub(super) app: Arc<App>,
    pub(super) store: Arc<MemoryControl>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) upstream: Arc<Upstream>,
    pub(super) connections: Arc<Connections>,
    pub(super) routes: Router,
    /// The actors' tokens, as they're minted when they're first needed.
    pub(super) tokens: HashMap<String, (TokenId, String)>,
    _folder: Arc<TempDir>,
}

/// What the rows share: the guest is compiled once.
struct Shared {
    catalog: Arc<Catalog>,
    connections: Arc<Connections>,
    policies: Vec<(String, String)>,
    _folder: TempDir,
}

static SHARED: LazyLock<Shared> = LazyLock::new(|| {
    let config =
        RuntimeConfig { instances_max: 64, allocation: Allocation::OnDemand, ..RuntimeConfig::default() };
    let runtime = Arc::new(Runtime::new(&config).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let loader = Loader::new(runtime, CodeCache::off());
    let store = Arc::new(MemoryControl::new());
    let catalog = Catalog::open(folder.path().to_owned(), store, loader, &|_| {}).unwrap();
    let consented = ["stripe", "shell", "lab"];
    let names: Vec<_> = consented.iter().map(|name| name.parse().unwrap()).collect();
    catalog.add(guest::TOOL, &guest::component(consented.to_vec()), &names, NOON).unwrap();
    catalog.add_sandbox("python", &guest::interpreter(), &names, NOON).unwrap();
    let connections = Connections::load(&golden().join("connections")).unwrap_or_else(|p| panic!("{p}"));
    Shared {
        catalog: Arc::new(catalog),
        connections: Arc::new(connections),
        policies: policies(&std::fs::read_to_string(golden().join("policies.cedar")).unwrap()),
        _folder: folder,
    }
});

/// The folder of the corpus.
pub(super) fn golden() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden")
}

/// The ids of all policies of the corpus.
pub(super) fn policy_ids() -> impl Iterator<Item = &'static str> {
    SHARED.policies.iter().map(|(id, _)| id.as_str())
}

/// A policy's text.
pub(super) fn policy_text(id: &str) -> &'static str {
    let found = SHARED.policies.iter().find(|(known, _)| known == id);
    &found.unwrap_or_else(|| panic!("there's no policy {id:?}")).1
}

/// `@id("…") …`, one after the other.
fn policies(text: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for part in text.split("@id(\"").skip(1) {
        let (id, _) = part.split_once('"').unwrap();
        all.push((id.to_owned(), format!("@id(\"{part}")));
    }
    all
}

impl World {
    pub(super) fn new(row: &Row, corpus: &Corpus) -> Self {
        let Shared { catalog, connections, .. } = &*SHARED;
        let (clock, folder) = (Arc::new(ManualClock::at(NOON)), tempfile::tempdir().unwrap());
        let store = Arc::new(MemoryControl::new());
        let live = Arc::new(LiveConnections::fixed(connections.clone()));
        let upstream = Arc::new(Upstream::new());
        let ledger = Arc::new(SqliteAudit::open(&folder.path().join("audit.db")).unwrap());
        let audit = Audit::start(ledger.clone(), clock.clone()).unwrap();
        let (policies, budgets) = rules(row, corpus);
        let dir = folder.path().join("policies");
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("row.cedar"), policies).unwrap();
        let source = PolicySource::new(Some(dir), store.clone(), live.clone(), catalog.clone());
        let policy = Policy::open(source).unwrap_or_else(|problems| panic!("{}: {problems}", row.id));
        let vault = Vault::open(store.clone(), MasterKey::for_tests(1), clock.clone()).ok().unwrap();
        let vault = Arc::new(vault);
        for realm in corpus.actors.iter().map(realm).collect::<BTreeSet<_>>() {
            connections.iter().for_each(|connection| store_secret(&vault, &realm, &connection.secret));
        }
        let limits = ApprovalLimits {
            ttl: Duration::from_secs(900),
            pending: PendingLimits { per_token_max: 3, per_environment_max: 5 },
            minter_may_approve: true,
        };
        let approvals = Approvals::new(store.clone(), vault.clone(), clock.clone(), limits);
        let approvals = ApprovalDesk::new(Arc::new(approvals), audit.clone(), Arc::new(policy.clone()));
        let budgets = Budgets::parse(&budgets, "budgets.toml", connections)
            .unwrap_or_else(|problems| panic!("{}: {problems}", row.id));
        let day = Duration::from_secs(86_400);
        let app = Arc::new(assemble(Made {
            spending: Spending::new(budgets, [7; 32], day, Some(vault.clone())),
            questions: Some(vault.clone()),
            egress: Egress::for_tests(upstream.clone(), vault.clone()),
            vault,
            catalog: catalog.clone(),
            control: store.clone(),
            clock: clock.clone(),
            connections: live,
            audit,
            ledger,
            policy,
            approvals,
        }));
        let mut config = config();
        config.limits.calls_max = 64;
        config.code.executions_max = 64;
        config.limits.body_bytes_max = 1 << 20;
        config.deadline_max = Duration::from_secs(60);
        config.deadline = Duration::from_secs(60);
        let routes = router(Arc::new(Door::new(app.clone(), &config)));
        let connections = connections.clone();
        let mut world = Self {
            app,
            store,
            clock,
            upstream,
            connections,
            routes,
            tokens: HashMap::new(),
            _folder: Arc::new(folder),
        };
        for actor in &corpus.actors {
            world.mint(actor);
        }
        world
    }

    /// The token of an actor.
    pub(super) fn token(&self, name: &str) -> &str {
        &self.tokens.get(name).unwrap_or_else(|| panic!("there's no actor {name:?}")).1
    }

    /// The key of the platform that an actor's tenant runs.
    pub(super) fn platform_key(&self, name: &str) -> String {
        let realm = self.app.auth.list(None).unwrap().into_iter().find(|row| row.id == self.tokens[name].0);
        let minted = self.app.auth.mint(Mint {
            kind: TokenKind::Operator,
            realm: realm.unwrap().realm,
            every_environment: false,
            agent: "platform".parse().unwrap(),
            conversation: None,
            role: None,
            task: None,
            user: None,
            grant: Grant::default(),
            lifetime: Duration::from_secs(60),
        });
        minted.unwrap().token.to_string()
    }

    /// How many requests have been put before people.
    pub(super) fn asked(&self) -> usize {
        self.app.approvals.approvals().list(None, None, 1_000).unwrap().len()
    }

    /// Gives acme another version of a secret, in production.
    pub(super) fn rotate(&self, label: &str) {
        let realm = Realm { tenant: "acme".parse().unwrap(), environment: "production".parse().unwrap() };
        store_secret(&self.app.vault, &realm, &label.parse().unwrap());
    }

    fn mint(&mut self, actor: &Actor) {
        let minted = match &actor.from {
            None => self.app.auth.mint(mint(actor)).unwrap(),
            Some(from) if from.forged => self.forge(actor, &from.name),
            Some(from) => {
                let parent = self.app.auth.verify(self.token(&from.name)).unwrap();
                let Mint { agent, role, task, conversation, grant, .. } = mint(actor);
                let agent = Some(agent);
                let request = Delegation { agent, role, task, conversation, grant, lifetime: None };
                self.app.auth.delegate(&parent, request).unwrap_or_else(|e| panic!("{}: {e}", actor.name))
            }
        };
        self.tokens.insert(actor.name.clone(), (minted.row.id, minted.token.to_string()));
    }

    /// A row that no door would have written: a child that has more than its parent.
    fn forge(&self, actor: &Actor, parent: &str) -> Minted {
        let elsewhere = Auth::new(Arc::new(MemoryControl::new()), self.clock.clone());
        let mut minted = elsewhere.mint(mint(actor)).unwrap();
        minted.row.parent = Some(self.tokens[parent].0.clone());
        self.store.insert_token(&minted.row).unwrap();
        minted
    }
}

fn mint(actor: &Actor) -> Mint {
    let mut grant = Grant { tools: vec!["*".parse().unwrap()], ..Grant::default() };
    let mut user = None;
    for word in &actor.may {
        match word.as_str() {
            "delegate" => grant.may_delegate = true,
            "no-tools" => grant.tools.clear(),
            word => match word.strip_prefix("user:") {
                Some(name) => user = Some(name.parse().unwrap()),
                None => grant.operations.push(word.parse().unwrap()),
            },
        }
    }
    grant.budgets = actor.budgets.iter().map(|budget| budget.parse().unwrap()).collect();
    Mint {
        kind: TokenKind::Agent,
        realm: realm(actor),
        every_environment: false,
        agent: actor.agent.parse().unwrap(),
        conversation: actor.conversation.as_ref().map(|name| name.parse().unwrap()),
        role: actor.role.as_ref().map(|name| name.parse().unwrap()),
        task: actor.task.clone(),
        user,
        grant,
        lifetime: actor.lifetime,
    }
}

fn realm(actor: &Actor) -> Realm {
    Realm { tenant: actor.tenant.parse().unwrap(), environment: actor.environment.parse().unwrap() }
}

fn store_secret(vault: &Vault, realm: &Realm, label: &SecretLabel) {
    let value = SecretInput::read(&b"sk_golden_0123456789abcdef"[..]).ok().unwrap();
    vault.put(realm, label, &value).unwrap();
}

/// The texts of the policies and of the budgets that a row has in force.
fn rules(row: &Row, corpus: &Corpus) -> (String, String) {
    let alone = row.rules.iter().any(|name| name == "alone");
    let basic = BASIC.iter().filter(|name| !alone || **name != "base-sends");
    let mut policies: String = basic.map(|name| policy_text(name)).collect();
    let mut budgets = String::new();
    for name in row.rules.iter().filter(|name| *name != "alone") {
        match corpus.budgets.iter().find(|(known, _)| known == name) {
            Some((_, text)) => budgets.push_str(text),
            None => policies.push_str(policy_text(name)),
        }
    }
    (policies, budgets)
}
