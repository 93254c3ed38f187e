//! Approvals over both stores: every way to get a yes that one shouldn't.

mod decisions;
mod desk;
mod races;
mod waits;

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::clock::ManualClock;
use crate::connection::Effect;
use crate::egress::MasterKey;
use crate::ids::TokenId;
use crate::policy::About;
use crate::store::MemoryControl;
use crate::store::sqlite::SqliteControl;

const START: Millis = Millis(1_700_000_000_000);
const TTL: Duration = Duration::from_secs(900);

pub(super) struct World {
    pub(super) approvals: Arc<Approvals>,
    pub(super) clock: Arc<ManualClock>,
    _folder: Option<tempfile::TempDir>,
}

pub(super) fn limits() -> ApprovalLimits {
    let pending = PendingLimits { per_token_max: 3, per_environment_max: 5 };
    ApprovalLimits { ttl: TTL, pending, minter_may_approve: true }
}

pub(super) fn approvals(store: Arc<dyn ControlStore>, clock: Arc<ManualClock>) -> Arc<Approvals> {
    let vault = Vault::open(store.clone(), MasterKey::for_tests(1), clock.clone()).ok().unwrap();
    Arc::new(Approvals::new(store, Arc::new(vault), clock, limits()))
}

pub(super) fn in_memory() -> World {
    let clock = Arc::new(ManualClock::at(START));
    World { approvals: approvals(Arc::new(MemoryControl::new()), clock.clone()), clock, _folder: None }
}

pub(super) fn in_sqlite() -> World {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::at(START)));
    let store = SqliteControl::open(&folder.path().join("control.db")).unwrap();
    World { approvals: approvals(Arc::new(store), clock.clone()), clock, _folder: Some(folder) }
}

/// Every rule holds in both stores.
pub(super) fn in_both(test: impl Fn(World)) {
    test(in_memory());
    test(in_sqlite());
}

pub(super) fn name(text: &str) -> AgentId {
    text.parse().unwrap()
}

pub(super) fn realm(tenant: &str) -> Realm {
    Realm { tenant: tenant.parse().unwrap(), environment: "prod".parse().unwrap() }
}

/// A request of `tenant` with this token; `what` is what it would do.
pub(crate) fn ask(tenant: &str, token: u8, what: &str) -> ApprovalAsk {
    let rendering = Rendering {
        connection: "stripe".into(),
        upstream: "api.example.com".into(),
        operation: "create_charge".into(),
        request: "POST /v1/charges".into(),
        effect: Effect::Write,
        amount: None,
        customer: None,
        parameters: vec![Shown { name: "body.what".into(), value: shown::text(what) }],
        left_out: 0,
        tool: None,
        code: Vec::new(),
        raw_body: None,
        asked_by: AskedBy {
            realm: realm(tenant).to_string(),
            agent: "billing".into(),
            role: None,
            token: "tok".into(),
            tool: None,
            question: false,
        },
        words: Vec::new(),
    };
    ApprovalAsk {
        realm: realm(tenant),
        fingerprint: Fingerprint::for_tests(&format!("{tenant} {token} {what}")),
        token: token_id(token),
        root: token_id(token),
        agent: name("billing"),
        role: None,
        conversation: Some("c-1".parse().unwrap()),
        about: About::Operation {
            connection: "stripe".parse().unwrap(),
            operation: "create_charge".parse().unwrap(),
        },
        quorum: 1,
        own: vec![name("minter")],
        note: Note { rendering, cost: None, facts: facts(tenant), more: Vec::new() },
    }
}

fn facts(tenant: &str) -> crate::policy::Facts {
    let facts =
        serde_json::json!({ "tenant": tenant, "agent": "billing", "operation": "stripe:create_charge" });
    serde_json::from_value(facts).unwrap()
}

/// A row in which nothing is left out, and what it's about.
pub(crate) fn sample() -> (ApprovalRow, Note) {
    let world = in_memory();
    let mut ask = ask("acme", 1, "pay");
    ask.role = Some("payer".parse().unwrap());
    ask.note.rendering.amount = Some("12.34 EUR (1234 minor units)".into());
    ask.note.rendering.words = vec![Shown { name: "task".into(), value: "\"t\"".into() }];
    let id = world.granted(&ask);
    let row = world.approvals.get(None, &id).unwrap().unwrap();
    (row, ask.note)
}

/// A request for an agent's own token, as the gate would make it.
pub(crate) fn ask_by(caller: &crate::auth::Caller, what: &str) -> ApprovalAsk {
    ApprovalAsk {
        realm: caller.realm().clone(),
        token: caller.token().clone(),
        root: caller.root().clone(),
        agent: caller.agent().clone(),
        fingerprint: Fingerprint::for_tests(&format!("{} {what}", caller.token())),
        ..ask("any", 1, what)
    }
}

pub(super) fn token_id(number: u8) -> TokenId {
    format!("tok_{number:024x}").parse().unwrap()
}

impl World {
    pub(super) fn asked(&self, ask: &ApprovalAsk) -> ApprovalId {
        let asked = self.approvals.request(ask).unwrap();
        assert_eq!(asked.state, ApprovalState::Pending);
        asked.id
    }

    pub(super) fn granted(&self, ask: &ApprovalAsk) -> ApprovalId {
        let id = self.asked(ask);
        assert_eq!(self.approvals.decide(&id, &name("alice"), true).unwrap(), ApprovalState::Granted);
        id
    }

    pub(super) fn claim(&self, id: &ApprovalId, ask: &ApprovalAsk) -> Result<Approved, ClaimError> {
        self.approvals.claim(&ask.realm, id, ask.fingerprint)
    }

    pub(super) fn state(&self, id: &ApprovalId) -> ApprovalState {
        self.approvals.get(None, id).unwrap().unwrap().state(self.approvals.now())
    }
}
