mod delegation;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::*;
use crate::clock::ManualClock;
use crate::ids::{AgentId, ApprovalId, Environment, KillId, PolicyId, Realm, SecretLabel, TenantId, UserId};
use crate::store::{
    AgentRow, AgentStore, ApprovalFilter, ApprovalRow, ApprovalStore, BeforeForgotten, ComponentRow, KillRow,
    KillStore, MemoryControl, Opening, PendingLimits, PolicyRow, PolicyStore, SecretRow, TenantKeyRow,
    TokenKind,
};

const START: Millis = Millis(1_700_000_000_000);
const HOUR: Duration = Duration::from_secs(3600);

/// A memory store that counts look-ups, can be broken, and can be made small.
#[derive(Default)]
struct Watched {
    inner: MemoryControl,
    lookups: AtomicU64,
    broken: AtomicBool,
    /// Only three tokens may be delegated below one.
    small: AtomicBool,
}

impl Watched {
    fn check(&self) -> Result<(), StoreError> {
        if self.broken.load(Ordering::SeqCst) {
            Err(StoreError::Failed("the disk is gone".into()))
        } else {
            Ok(())
        }
    }
}

impl AgentStore for Watched {
    fn insert_agent(&self, row: &AgentRow) -> Result<(), StoreError> {
        self.inner.insert_agent(row)
    }
    fn agent(&self, reach: &Reach, id: &AgentId) -> Result<Option<AgentRow>, StoreError> {
        self.inner.agent(reach, id)
    }
    fn agents(&self, reach: &Reach) -> Result<Vec<AgentRow>, StoreError> {
        self.inner.agents(reach)
    }
    fn remove_agent(
        &self,
        reach: &Reach,
        id: &AgentId,
        at: Millis,
    ) -> Result<Option<(AgentRow, Vec<TokenRow>)>, StoreError> {
        self.inner.remove_agent(reach, id, at)
    }
}

impl KillStore for Watched {
    fn insert_kill(&self, row: &KillRow) -> Result<(), StoreError> {
        self.inner.insert_kill(row)
    }
    fn kills(&self, reach: Option<&Reach>) -> Result<Vec<KillRow>, StoreError> {
        self.inner.kills(reach)
    }
    fn remove_kill(&self, id: &KillId, reach: Option<&Reach>) -> Result<Option<KillRow>, StoreError> {
        self.inner.remove_kill(id, reach)
    }
    fn forget_killed_calls(&self, before: Millis) -> Result<(), StoreError> {
        self.inner.forget_killed_calls(before)
    }
}

impl ControlStore for Watched {
    fn version(&self) -> Result<u64, StoreError> {
        self.check()?;
        self.inner.version()
    }
    fn insert_token(&self, row: &TokenRow) -> Result<(), StoreError> {
        self.inner.insert_token(row)
    }
    fn insert_registered(&self, row: &TokenRow) -> Result<bool, StoreError> {
        self.inner.insert_registered(row)
    }
    fn token_by_hash(&self, hash: &[u8; 32]) -> Result<Option<TokenRow>, StoreError> {
        self.lookups.fetch_add(1, Ordering::SeqCst);
        self.inner.token_by_hash(hash)
    }
    fn token_by_id(&self, id: &TokenId) -> Result<Option<TokenRow>, StoreError> {
        self.lookups.fetch_add(1, Ordering::SeqCst);
        self.inner.token_by_id(id)
    }
    fn insert_delegated(&self, row: &TokenRow, root: &TokenId, most: u32) -> Result<bool, StoreError> {
        let most = if self.small.load(Ordering::SeqCst) { 3 } else { most };
        self.inner.insert_delegated(row, root, most)
    }
    fn forget_tokens(&self, before: Millis, first: BeforeForgotten<'_>) -> Result<(), StoreError> {
        self.inner.forget_tokens(before, first)
    }
    fn tokens(&self, reach: Option<&Reach>) -> Result<Vec<TokenRow>, StoreError> {
        self.inner.tokens(reach)
    }
    fn token_page(
        &self,
        reach: Option<&Reach>,
        after: Option<&TokenId>,
        limit: u32,
    ) -> Result<Vec<TokenRow>, StoreError> {
        self.inner.token_page(reach, after, limit)
    }
    fn revoke_token(&self, id: &TokenId, reach: Option<&Reach>, at: Millis) -> Result<bool, StoreError> {
        self.inner.revoke_token(id, reach, at)
    }
    fn tenant_key(&self, tenant: &TenantId) -> Result<Option<TenantKeyRow>, StoreError> {
        self.inner.tenant_key(tenant)
    }
    fn tenant_keys(&self) -> Result<Vec<TenantKeyRow>, StoreError> {
        self.inner.tenant_keys()
    }
    fn ensure_tenant_key(
        &self,
        row: &TenantKeyRow,
        in_use: &str,
    ) -> Result<Option<TenantKeyRow>, StoreError> {
        self.inner.ensure_tenant_key(row, in_use)
    }
    fn replace_tenant_keys(
        &self,
        was: &[TenantKeyRow],
        now: &[TenantKeyRow],
        in_use: &str,
        master: &str,
    ) -> Result<(), StoreError> {
        self.inner.replace_tenant_keys(was, now, in_use, master)
    }
    fn setting(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.setting(name)
    }
    fn ensure_setting(&self, name: &str, value: &[u8]) -> Result<Vec<u8>, StoreError> {
        self.inner.ensure_setting(name, value)
    }
    fn put_setting(&self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        self.inner.put_setting(name, value)
    }
    fn insert_next_secret(
        &self,
        row: &SecretRow,
        counter: &str,
        was: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        self.inner.insert_next_secret(row, counter, was)
    }
    fn newest_secret(
        &self,
        realm: &Realm,
        user: Option<&UserId>,
        label: &SecretLabel,
    ) -> Result<Option<SecretRow>, StoreError> {
        self.inner.newest_secret(realm, user, label)
    }
    fn user_secrets(&self, realm: &Realm, user: &UserId) -> Result<Vec<SecretRow>, StoreError> {
        self.inner.user_secrets(realm, user)
    }
    fn secrets(&self, tenant: Option<&TenantId>) -> Result<Vec<SecretRow>, StoreError> {
        self.inner.secrets(tenant)
    }
    fn remove_secret(
        &self,
        realm: &Realm,
        user: Option<&UserId>,
        label: &SecretLabel,
        v: Option<u32>,
    ) -> Result<u32, StoreError> {
        self.inner.remove_secret(realm, user, label, v)
    }
    fn activate_component(&self, row: &ComponentRow) -> Result<(), StoreError> {
        self.inner.activate_component(row)
    }
    fn components(&self) -> Result<Vec<ComponentRow>, StoreError> {
        self.inner.components()
    }
    fn deactivate_component(&self, name: &str) -> Result<bool, StoreError> {
        self.inner.deactivate_component(name)
    }
}

impl ApprovalStore for Watched {
    fn foresee_approval(&self, row: &ApprovalRow, limits: PendingLimits) -> Result<Opening, StoreError> {
        self.inner.foresee_approval(row, limits)
    }
    fn open_approval(&self, row: &ApprovalRow, limits: PendingLimits) -> Result<Opening, StoreError> {
        self.inner.open_approval(row, limits)
    }
    fn approval(&self, id: &ApprovalId) -> Result<Option<ApprovalRow>, StoreError> {
        self.inner.approval(id)
    }
    fn approvals(&self, filter: &ApprovalFilter) -> Result<Vec<ApprovalRow>, StoreError> {
        self.inner.approvals(filter)
    }
    fn change_approval(
        &self,
        id: &ApprovalId,
        change: &mut dyn FnMut(&mut ApprovalRow),
    ) -> Result<bool, StoreError> {
        self.inner.change_approval(id, change)
    }
    fn forget_approvals(&self, at: Millis) -> Result<(), StoreError> {
        self.inner.forget_approvals(at)
    }
}

impl PolicyStore for Watched {
    fn insert_policy(&self, row: &PolicyRow) -> Result<(), StoreError> {
        self.inner.insert_policy(row)
    }
    fn policies(&self, reach: Option<&Reach>) -> Result<Vec<PolicyRow>, StoreError> {
        self.inner.policies(reach)
    }
    fn remove_policy(&self, reach: &Reach, id: &PolicyId) -> Result<bool, StoreError> {
        self.inner.remove_policy(reach, id)
    }
}

struct World {
    store: Arc<Watched>,
    clock: Arc<ManualClock>,
    auth: Auth,
}

fn world() -> World {
    let (store, clock) = (Arc::new(Watched::default()), Arc::new(ManualClock::at(START)));
    let auth = Auth::new(Arc::clone(&store) as Arc<dyn ControlStore>, Arc::clone(&clock) as Arc<dyn Clock>);
    World { store, clock, auth }
}

fn realm(tenant: &str) -> Realm {
    Realm { tenant: tenant.parse().unwrap(), environment: "prod".parse().unwrap() }
}

fn mint(kind: TokenKind) -> Mint {
    let grant = match kind {
        TokenKind::Agent => Grant {
            tools: vec![ToolPattern::Any],
            operations: vec!["stripe:*".parse().unwrap()],
            ..Grant::default()
        },
        TokenKind::Operator | TokenKind::Monitor => Grant::default(),
    };
    Mint {
        kind,
        realm: realm("acme"),
        every_environment: false,
        agent: "billing".parse().unwrap(),
        conversation: None,
        role: None,
        task: None,
        user: None,
        grant,
        lifetime: HOUR,
    }
}

fn is_unauthorized<T>(result: Result<T, AuthError>) -> bool {
    matches!(result, Err(AuthError::Unauthorized))
}

pub(super) fn caller_with_hash(hash: [u8; 32]) -> Arc<Caller> {
    let mut row = super::mint::make(mint(TokenKind::Agent), START).unwrap().row;
    row.hash = hash;
    Arc::new(Caller::new(row, Vec::new()))
}

pub(super) fn number_hash(n: usize) -> [u8; 32] {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&n.to_be_bytes());
    hash
}

#[test]
fn a_minted_token_is_verified() {
    let w = world();
    let minted = w.auth.mint(mint(TokenKind::Agent)).unwrap();
    let caller = w.auth.verify(minted.token.as_str()).unwrap();
    assert_eq!(caller.token(), &minted.row.id);
    assert_eq!(caller.realm(), &realm("acme"));
    assert_eq!(caller.expires_at(), START.plus(HOUR));
    assert_eq!(w.auth.alive(&caller).unwrap().caller().token(), &minted.row.id);
}

#[test]
fn a_token_is_found_by_its_text_valid_or_not() {
    let w = world();
    let minted = w.auth.mint(mint(TokenKind::Operator)).unwrap();
    let found = || w.auth.of_text(minted.token.as_str()).unwrap().unwrap();
    assert_eq!(found().id, minted.row.id);
    assert!(w.auth.revoke(&minted.row.id, None).unwrap());
    assert!(found().revoked_at.is_some());
    for text in ["", minted.row.id.as_str(), TokenText::fresh(TokenKind::Operator).as_str()] {
        assert!(w.auth.of_text(text).unwrap().is_none(), "{text:?}");
    }
}

#[test]
fn every_way_to_be_wrong_answers_the_same() {
    let w = world();
    let revoked = w.auth.mint(mint(TokenKind::Agent)).unwrap();
    assert!(w.auth.revoke(&revoked.row.id, None).unwrap());
    let good = w.auth.mint(mint(TokenKind::Agent)).unwrap();
    let as_operator = good.token.as_str().replace("kbt_", "kbo_");
    let unknown = TokenText::fresh(TokenKind::Agent);
    for text in ["", "x", "kbt_", revoked.token.as_str(), unknown.as_str(), &as_operator] {
        let error = w.auth.verify(text).unwrap_err();
        assert_eq!(error.to_string(), AuthError::Unauthorized.to_string());
        assert!(matches!(error, AuthError::Unauthorized), "{text:?}");
    }
    w.clock.advance(HOUR);
    assert!(is_unauthorized(w.auth.verify(good.token.as_str())), "expired");
}

#[test]
fn a_row_of_another_kind_than_its_token_says_is_refused() {
    let w = world();
    let token = TokenText::fresh(TokenKind::Operator);
    let mut row = super::mint::make(mint(TokenKind::Agent), START).unwrap().row;
    row.hash = token.hash();
    w.store.insert_token(&row).unwrap();
    assert!(is_unauthorized(w.auth.verify(token.as_str())));
}

#[test]
fn a_revocation_by_another_process_is_seen_by_the_next_check() {
    let w = world();
    let minted = w.auth.mint(mint(TokenKind::Agent)).unwrap();
    let caller = w.auth.verify(minted.token.as_str()).unwrap();
    w.auth.alive(&caller).unwrap();
    let elsewhere =
        Auth::new(Arc::clone(&w.store) as Arc<dyn ControlStore>, Arc::clone(&w.clock) as Arc<dyn Clock>);
    assert!(elsewhere.revoke(&minted.row.id, Some(&Reach::every(realm("acme").tenant))).unwrap());
    assert!(is_unauthorized(w.auth.alive(&caller)));
    assert!(is_unauthorized(w.auth.verify(minted.token.as_str())));
}

#[test]
fn an_expiry_is_seen_in_the_cache_too() {
    let w = world();
    let minted = w.auth.mint(mint(TokenKind::Agent)).unwrap();
    let caller = w.auth.verify(minted.token.as_str()).unwrap();
    w.clock.advance(HOUR - Duration::from_millis(1));
    w.auth.alive(&caller).unwrap();
    w.clock.advance(Duration::from_millis(1));
    assert!(is_unauthorized(w.auth.alive(&caller)), "it's over at its expiry, not after it");
}

#[test]
fn the_store_is_asked_once_per_version() {
    let w = world();
    let minted = w.auth.mint(mint(TokenKind::Agent)).unwrap();
    let caller = w.auth.verify(minted.token.as_str()).unwrap();
    for _ in 0..100 {
        w.auth.alive(&caller).unwrap();
        w.auth.verify(minted.token.as_str()).unwrap();
    }
    assert_eq!(w.store.lookups.load(Ordering::SeqCst), 1);
    w.store.ensure_setting("any", b"change").unwrap();
    w.auth.alive(&caller).unwrap();
    assert_eq!(w.store.lookups.load(Ordering::SeqCst), 2);
}

#[test]
fn nobody_is_let_in_while_the_store_is_broken() {
    let w = world();
    let minted = w.auth.mint(mint(TokenKind::Agent)).unwrap();
    let caller = w.auth.verify(minted.token.as_str()).unwrap();
    w.store.broken.store(true, Ordering::SeqCst);
    assert!(matches!(w.auth.verify(minted.token.as_str()), Err(AuthError::Store(_))));
    assert!(matches!(w.auth.alive(&caller), Err(AuthError::Store(_))));
}

#[test]
fn another_tenant_revokes_and_lists_nothing() {
    let w = world();
    let minted = w.auth.mint(mint(TokenKind::Agent)).unwrap();
    let other = Reach::every(realm("other").tenant);
    assert!(!w.auth.revoke(&minted.row.id, Some(&other)).unwrap());
    assert!(w.auth.list(Some(&other)).unwrap().is_empty());
    w.auth.verify(minted.token.as_str()).unwrap();
    assert!(w.auth.revoke(&minted.row.id, Some(&Reach::every(realm("acme").tenant))).unwrap());
    assert_eq!(w.auth.list(None).unwrap()[0].revoked_at, Some(START));
}

#[test]
fn what_can_not_be_minted_says_why() {
    let w = world();
    let budgets = |texts: &[&str], count: usize| Grant {
        budgets: texts.iter().map(|text| text.parse().unwrap()).cycle().take(count).collect(),
        ..Grant::default()
    };
    let cases: [(Mint, &str); 16] = [
        (Mint { task: Some("a\u{202e}b".into()), ..mint(TokenKind::Agent) }, "one line"),
        (Mint { task: Some("x".repeat(TASK_CHARS_MAX + 1)), ..mint(TokenKind::Agent) }, "512 characters"),
        (Mint { grant: budgets(&["1 usd day"], 33), ..mint(TokenKind::Agent) }, "at most 32 budgets"),
        (Mint { grant: budgets(&["1 usd day"], 1), ..mint(TokenKind::Operator) }, "budgets out"),
        (Mint { lifetime: Duration::ZERO, ..mint(TokenKind::Agent) }, "expire at once"),
        (Mint { user: Some("ann".parse().unwrap()), ..mint(TokenKind::Operator) }, "bound to a user"),
        (Mint { every_environment: true, ..mint(TokenKind::Agent) }, "for one environment"),
        (
            Mint { grant: Grant { may_store_secrets: true, ..Grant::default() }, ..mint(TokenKind::Agent) },
            "name the user",
        ),
        (Mint { lifetime: Duration::from_micros(999), ..mint(TokenKind::Agent) }, "expire at once"),
        (Mint { lifetime: LIFETIME_MAX + Duration::from_millis(1), ..mint(TokenKind::Agent) }, "365 days"),
        (Mint { grant: mint(TokenKind::Agent).grant, ..mint(TokenKind::Operator) }, "calls no tool"),
        (Mint { grant: mint(TokenKind::Agent).grant, ..mint(TokenKind::Monitor) }, "looks and calls no tool"),
        (Mint { user: Some("ann".parse().unwrap()), ..mint(TokenKind::Monitor) }, "bound to a user"),
        (Mint { conversation: Some("c1".parse().unwrap()), ..mint(TokenKind::Monitor) }, "conversation"),
        (Mint { conversation: Some("c1".parse().unwrap()), ..mint(TokenKind::Operator) }, "conversation"),
        (
            Mint {
                grant: Grant {
                    tools: vec![ToolPattern::Any; GRANT_PATTERNS_MAX + 1],
                    operations: vec![],
                    ..Grant::default()
                },
                ..mint(TokenKind::Agent)
            },
            "more than 1024",
        ),
    ];
    for (request, part) in cases {
        let error = w.auth.mint(request).unwrap_err();
        assert!(matches!(error, AuthError::InvalidMint(_)) && error.to_string().contains(part), "{error}");
    }
    assert!(w.auth.list(None).unwrap().is_empty());
    w.auth.mint(Mint { lifetime: LIFETIME_MAX, ..mint(TokenKind::Agent) }).unwrap();
}

#[test]
fn agents_do_not_manage_and_operators_call_no_tool() {
    let w = world();
    let agent = w.auth.mint(mint(TokenKind::Agent)).unwrap();
    assert!(w.auth.verify(agent.token.as_str()).unwrap().as_operator().is_none());
    let operator = w.auth.mint(mint(TokenKind::Operator)).unwrap();
    let caller = w.auth.verify(operator.token.as_str()).unwrap();
    assert!(operator.token.as_str().starts_with("kbo_"));
    assert!(!caller.grant().allows_tool(&"get_invoice".parse().unwrap()));
    assert_eq!(caller.as_operator().unwrap().tenant().as_str(), "acme");
}

#[test]
fn a_monitor_neither_manages_nor_calls_nor_hands_on() {
    let w = world();
    for every_environment in [false, true] {
        let minted = w.auth.mint(Mint { every_environment, ..mint(TokenKind::Monitor) }).unwrap();
        let text = minted.token.as_str();
        assert!(text.starts_with("kbm_"));
        let caller = w.auth.verify(text).unwrap();
        assert!(caller.as_operator().is_none());
        assert!(!caller.allows_tool(&"get_invoice".parse().unwrap()));
        assert_eq!(caller.reach().environment().is_none(), every_environment);
        let delegated = w.auth.delegate(&caller, Delegation::default());
        assert!(matches!(delegated, Err(AuthError::MayNotDelegate(_))));
        for other in ["kbo_", "kbt_"] {
            assert!(is_unauthorized(w.auth.verify(&text.replace("kbm_", other))));
        }
    }
    // An operator whom somebody made out of a monitor in the store is none.
    let token = TokenText::fresh(TokenKind::Monitor);
    let mut row = super::mint::make(mint(TokenKind::Operator), START).unwrap().row;
    row.hash = token.hash();
    w.store.insert_token(&row).unwrap();
    assert!(is_unauthorized(w.auth.verify(token.as_str())));
}

#[test]
fn an_operator_mints_for_agents_of_its_own_tenant_alone() {
    let w = world();
    let operator = w.auth.mint(mint(TokenKind::Operator)).unwrap();
    let caller = w.auth.verify(operator.token.as_str()).unwrap();
    let operator = caller.as_operator().unwrap();
    w.auth.mint_for(&operator, mint(TokenKind::Agent)).unwrap();
    let other_tenant = Mint { realm: realm("other"), ..mint(TokenKind::Agent) };
    assert!(matches!(w.auth.mint_for(&operator, other_tenant), Err(AuthError::InvalidMint(_))));
    for kind in [TokenKind::Operator, TokenKind::Monitor] {
        assert!(matches!(w.auth.mint_for(&operator, mint(kind)), Err(AuthError::InvalidMint(_))));
    }
}

#[test]
fn an_operator_mints_in_its_own_environment_unless_its_token_is_for_every_one() {
    let w = world();
    let dev = Realm { environment: "dev".parse().unwrap(), ..realm("acme") };
    let elsewhere = || Mint { realm: dev.clone(), ..mint(TokenKind::Agent) };
    for every_environment in [false, true] {
        let operator = w.auth.mint(Mint { every_environment, ..mint(TokenKind::Operator) }).unwrap();
        let caller = w.auth.verify(operator.token.as_str()).unwrap();
        let operator = caller.as_operator().unwrap();
        w.auth.mint_for(&operator, mint(TokenKind::Agent)).unwrap();
        assert_eq!(w.auth.mint_for(&operator, elsewhere()).is_ok(), every_environment);
        let other_tenant = Mint { realm: realm("other"), ..mint(TokenKind::Agent) };
        assert!(w.auth.mint_for(&operator, other_tenant).is_err());
    }
}

#[test]
fn a_token_for_every_environment_is_beyond_who_manages_one() {
    let w = world();
    let minted =
        |every_environment| w.auth.mint(Mint { every_environment, ..mint(TokenKind::Operator) }).unwrap().row;
    let (narrow, wide) = (minted(false), minted(true));
    let one = |environment: Environment| Reach::one(Realm { environment, ..realm("acme") });
    let (own, dev) = (one(realm("acme").environment), one("dev".parse().unwrap()));
    assert_eq!(w.auth.list(Some(&own)).unwrap(), std::slice::from_ref(&narrow));
    assert_eq!(w.auth.list(Some(&dev)).unwrap(), []);
    for (id, reach) in [(&wide.id, &own), (&wide.id, &dev), (&narrow.id, &dev)] {
        assert!(!w.auth.revoke(id, Some(reach)).unwrap());
        assert_eq!(w.auth.find(id, reach).unwrap(), None);
    }
    assert!(w.auth.list(None).unwrap().iter().all(|row| row.revoked_at.is_none()));
    assert!(w.auth.revoke(&narrow.id, Some(&own)).unwrap());
    assert!(w.auth.revoke(&wide.id, Some(&Reach::every(realm("acme").tenant))).unwrap());
}

#[test]
fn nothing_printed_or_stored_holds_the_token() {
    let w = world();
    let minted = w.auth.mint(mint(TokenKind::Agent)).unwrap();
    let caller = w.auth.verify(minted.token.as_str()).unwrap();
    let random = &minted.token.as_str()[4..];
    for text in [format!("{minted:?}"), format!("{caller:?}"), format!("{:?}", w.auth.list(None).unwrap())] {
        assert!(!text.contains(random));
    }
}
