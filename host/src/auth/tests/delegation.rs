//! A child may do what every token above it may, and no longer than they live.

use super::*;
use crate::ids::ToolName;

/// A token that may delegate, use two tools and two operations, and spend 5.00 USD a day.
fn root() -> Mint {
    Mint {
        grant: Grant {
            tools: vec!["charge".parse().unwrap(), "refund".parse().unwrap()],
            operations: vec!["stripe:charge".parse().unwrap(), "github:*".parse().unwrap()],
            budgets: vec!["500 usd day".parse().unwrap()],
            may_delegate: true,
            may_store_secrets: false,
        },
        ..mint(TokenKind::Agent)
    }
}

fn narrower() -> Delegation {
    Delegation {
        grant: Grant {
            tools: vec!["charge".parse().unwrap()],
            operations: vec!["stripe:charge".parse().unwrap()],
            may_delegate: true,
            ..Grant::default()
        },
        ..Delegation::default()
    }
}

impl World {
    fn root(&self) -> Arc<Caller> {
        self.caller(&self.auth.mint(root()).unwrap())
    }

    fn caller(&self, minted: &Minted) -> Arc<Caller> {
        self.auth.verify(minted.token.as_str()).unwrap()
    }

    /// A chain of `links` tokens, the first of them minted by an operator.
    fn chain(&self, links: usize) -> Vec<Arc<Caller>> {
        let mut chain = vec![self.root()];
        while chain.len() < links {
            let minted = self.auth.delegate(chain.last().unwrap(), narrower()).unwrap();
            chain.push(self.caller(&minted));
        }
        chain
    }

    /// Puts a row into the store that minting would never make.
    fn smuggle(&self, row: &TokenRow) -> TokenText {
        let token = TokenText::fresh(TokenKind::Agent);
        self.store.insert_token(&TokenRow { hash: token.hash(), ..row.clone() }).unwrap();
        token
    }
}

fn tool(name: &str) -> ToolName {
    name.parse().unwrap()
}

#[test]
fn a_child_is_its_parent_s_but_for_what_is_named() {
    let w = world();
    let parent = w.caller(&w.auth.mint(Mint { role: Some("biller".parse().unwrap()), ..root() }).unwrap());
    let child = w.caller(&w.auth.delegate(&parent, narrower()).unwrap());
    assert_eq!((child.agent(), child.role()), (parent.agent(), parent.role()));
    assert_eq!(child.expires_at(), parent.expires_at());
    assert_eq!(child.realm(), parent.realm());
    let ids: Vec<_> = child.chain().map(|link| link.id.clone()).collect();
    assert_eq!(ids, [child.token().clone(), parent.token().clone()], "itself first");
    assert!(child.allows_tool(&tool("charge")) && !child.allows_tool(&tool("refund")));

    let named = Delegation {
        agent: Some("helper".parse().unwrap()),
        role: Some("reader".parse().unwrap()),
        task: Some("read".to_owned()),
        conversation: Some("c1".parse().unwrap()),
        lifetime: Some(Duration::from_secs(60)),
        ..Delegation::default()
    };
    let child = w.caller(&w.auth.delegate(&parent, named).unwrap());
    assert_eq!((child.agent().as_str(), child.task()), ("helper", Some("read")));
    assert_eq!(child.expires_at(), START.plus(Duration::from_secs(60)));
    assert!(!child.allows_tool(&tool("charge")), "rights that aren't named aren't there");
    assert!(!child.grant().may_delegate);
}

#[test]
fn a_child_wider_than_its_parent_is_refused_naming_the_part() {
    let w = world();
    let parent =
        w.caller(&w.auth.mint(Mint { conversation: Some("c1".parse().unwrap()), ..root() }).unwrap());
    let with = |change: &dyn Fn(&mut Delegation)| {
        let mut request = narrower();
        change(&mut request);
        request
    };
    let cases = [
        (with(&|r| r.grant.tools.push("delete".parse().unwrap())), "the tools are too wide"),
        (with(&|r| r.grant.tools.push(ToolPattern::Any)), "the tools are too wide"),
        (with(&|r| r.grant.operations.push("stripe:refund".parse().unwrap())), "the operations are too wide"),
        (with(&|r| r.grant.operations.push("stripe:*".parse().unwrap())), "the operations are too wide"),
        (with(&|r| r.grant.budgets.push("501 usd day".parse().unwrap())), "\"501 usd day\" is too wide"),
        (with(&|r| r.grant.budgets.push("501 usd day connection=stripe".parse().unwrap())), "at most 500"),
        (
            with(&|r| r.grant.budgets.push("1 usd day connection=strpe".parse().unwrap())),
            "would limit nothing",
        ),
        (with(&|r| r.conversation = Some("c2".parse().unwrap())), "the conversation is too wide"),
        (with(&|r| r.lifetime = Some(HOUR + Duration::from_millis(1))), "the lifetime is too wide"),
        (with(&|r| r.lifetime = Some(Duration::ZERO)), "expire at once"),
        (with(&|r| r.task = Some("a\nb".to_owned())), "one line"),
    ];
    for (request, part) in cases {
        let error = w.auth.delegate(&parent, request).unwrap_err();
        assert!(matches!(error, AuthError::InvalidMint(_)) && error.to_string().contains(part), "{error}");
    }
    let whole = with(&|r| {
        r.grant = parent.grant().clone();
        r.lifetime = Some(HOUR);
        r.conversation = Some("c1".parse().unwrap());
    });
    w.auth.delegate(&parent, whole).unwrap();
}

#[test]
fn a_grandchild_may_not_have_what_only_its_grandparent_has() {
    let w = world();
    let chain = w.chain(2);
    let mut request = narrower();
    request.grant.tools.push("refund".parse().unwrap());
    let error = w.auth.delegate(&chain[1], request).unwrap_err();
    assert!(error.to_string().contains("may not call refund"), "{error}");
}

#[test]
fn nothing_is_delegated_without_leave() {
    let w = world();
    let plain = w.caller(&w.auth.mint(mint(TokenKind::Agent)).unwrap());
    let operator = w.caller(&w.auth.mint(mint(TokenKind::Operator)).unwrap());
    for (caller, part) in [(plain, "may not be delegated from"), (operator, "operator's token")] {
        let error = w.auth.delegate(&caller, Delegation::default()).unwrap_err();
        assert!(matches!(error, AuthError::MayNotDelegate(_)) && error.to_string().contains(part), "{error}");
    }
}

#[test]
fn chains_and_families_have_their_limits() {
    let w = world();
    let chain = w.chain(DEPTH_MAX + 1);
    let last = chain.last().unwrap();
    assert_eq!(last.depth(), DEPTH_MAX);
    w.auth.alive(last).unwrap();
    assert!(matches!(w.auth.delegate(last, narrower()), Err(AuthError::MayNotDelegate(_))));

    // However a family stands below its root, whether its members live or not.
    let (chain, other) = (w.chain(3), w.root());
    w.auth.revoke(chain[2].token(), None).unwrap();
    w.store.small.store(true, Ordering::SeqCst);
    let third = w.caller(&w.auth.delegate(&chain[1], narrower()).unwrap());
    for parent in [&chain[0], &chain[1], &third] {
        let error = w.auth.delegate(parent, narrower()).unwrap_err();
        assert!(matches!(error, AuthError::MayNotDelegate(_)), "{error}");
    }
    w.auth.delegate(&other, narrower()).unwrap();
}

#[test]
fn a_child_names_no_more_than_a_few_patterns_or_as_many_as_its_parent() {
    let w = world();
    let with = |tool: &str, count: usize| Grant {
        tools: vec![tool.parse().unwrap(); count],
        may_delegate: true,
        ..Grant::default()
    };
    for (of_parent, most) in [(1, DELEGATED_PATTERNS_MAX), (100, 100)] {
        let parent = w.caller(&w.auth.mint(Mint { grant: with("*", of_parent), ..root() }).unwrap());
        let delegate = |count: usize| {
            let request = Delegation { grant: with("charge", count), ..Delegation::default() };
            w.auth.delegate(&parent, request)
        };
        delegate(most).unwrap();
        let error = delegate(most + 1).unwrap_err().to_string();
        assert!(error.contains(&format!("more than {most} tools and operations")), "{error}");
    }
}

#[test]
fn a_token_is_forgotten_long_after_its_end_and_not_before() {
    let w = world();
    let chain = w.chain(2);
    let revoked = w.caller(&w.auth.mint(Mint { lifetime: LIFETIME_MAX, ..root() }).unwrap());
    let child = w.caller(&w.auth.delegate(&revoked, narrower()).unwrap());
    w.clock.advance(HOUR);
    assert!(w.auth.revoke(revoked.token(), None).unwrap());
    w.clock.advance(Duration::from_secs(86_400) * 30);
    let later = w.caller(&w.auth.mint(root()).unwrap());
    let known = |caller: &Caller| w.store.token_by_id(caller.token()).unwrap().is_some();
    w.auth.forget_over(&mut |_| Ok(())).unwrap();
    assert!(chain.iter().all(|caller| known(caller)) && known(&revoked));
    w.clock.advance(Duration::from_millis(1));
    w.auth.forget_over(&mut |_| Ok(())).unwrap();
    assert!(!chain.iter().any(|caller| known(caller)) && !known(&revoked));
    assert!(known(&later));
    // What was below it is there, and as dead as before.
    assert!(known(&child) && is_unauthorized(w.auth.alive(&child)));
}

#[test]
fn cutting_one_link_cuts_all_below_at_the_very_next_check() {
    let w = world();
    let chain = w.chain(4);
    for caller in &chain {
        w.auth.alive(caller).unwrap();
    }
    assert!(w.auth.revoke(chain[1].token(), None).unwrap());
    w.auth.alive(&chain[0]).unwrap();
    for caller in &chain[1..] {
        assert!(is_unauthorized(w.auth.alive(caller)));
        assert!(is_unauthorized(w.auth.delegate(caller, narrower())));
    }
}

#[test]
fn a_child_ends_with_its_parent_whatever_its_row_says() {
    let w = world();
    let chain = w.chain(2);
    let mut row = chain[1].chain().next().unwrap().clone();
    row.id = TokenId::fresh();
    row.expires_at = START.plus(HOUR * 100);
    let tampered = w.smuggle(&row);
    let tampered = w.auth.verify(tampered.as_str()).unwrap();
    assert_eq!(tampered.expires_at(), START.plus(HOUR));
    w.clock.advance(HOUR);
    for caller in [&chain[1], &tampered] {
        assert!(is_unauthorized(w.auth.alive(caller)));
    }
}

#[test]
fn a_row_that_was_tampered_with_opens_nothing_more() {
    let w = world();
    let chain = w.chain(3);
    let honest = chain[2].chain().next().unwrap().clone();
    let fresh = || TokenRow { id: TokenId::fresh(), ..honest.clone() };

    // Wider than what is above it: each link is asked.
    let wide = TokenRow {
        grant: Grant {
            tools: vec![ToolPattern::Any],
            operations: vec!["stripe:*".parse().unwrap()],
            ..Grant::default()
        },
        ..fresh()
    };
    let wide = w.auth.verify(w.smuggle(&wide).as_str()).unwrap();
    assert!(wide.grant().allows_tool(&tool("refund")) && !wide.allows_tool(&tool("refund")));
    let (stripe, refund) = ("stripe".parse().unwrap(), "refund".parse().unwrap());
    assert!(wide.grant().allows_operation(&stripe, &refund) && !wide.allows_operation(&stripe, &refund));

    // Standing where it may not.
    let operator = w.auth.mint(mint(TokenKind::Operator)).unwrap().row.id;
    let monitor = w.auth.mint(mint(TokenKind::Monitor)).unwrap().row.id;
    let bound = w.auth.mint(Mint { conversation: Some("c1".parse().unwrap()), ..root() }).unwrap().row.id;
    let closed = w.auth.mint(mint(TokenKind::Agent)).unwrap().row.id;
    for row in [
        TokenRow { realm: realm("other"), ..fresh() },
        TokenRow { parent: Some(operator), ..fresh() },
        TokenRow { parent: Some(monitor), ..fresh() },
        TokenRow { parent: Some(closed), ..fresh() },
        TokenRow { parent: Some(TokenId::fresh()), ..fresh() },
        TokenRow { parent: Some(bound.clone()), conversation: None, ..fresh() },
        TokenRow { parent: Some(bound), conversation: Some("c2".parse().unwrap()), ..fresh() },
    ] {
        assert!(is_unauthorized(w.auth.verify(w.smuggle(&row).as_str())), "{row:?}");
    }
}

#[test]
fn a_loop_of_parents_ends() {
    let w = world();
    let row = |id: &TokenId, parent: &TokenId| {
        let mut row = w.root().chain().next().unwrap().clone();
        (row.id, row.parent) = (id.clone(), Some(parent.clone()));
        row
    };
    let (a, b, own) = (TokenId::fresh(), TokenId::fresh(), TokenId::fresh());
    for row in [row(&a, &b), row(&b, &a), row(&own, &own)] {
        let token = w.smuggle(&row);
        assert!(is_unauthorized(w.auth.verify(token.as_str())));
    }
}

#[test]
fn a_chain_is_read_once_per_version() {
    let w = world();
    let chain = w.chain(4);
    let before = w.store.lookups.load(Ordering::SeqCst);
    for _ in 0..100 {
        w.auth.alive(&chain[3]).unwrap();
    }
    assert_eq!(w.store.lookups.load(Ordering::SeqCst), before);
    w.store.ensure_setting("any", b"change").unwrap();
    w.auth.alive(&chain[3]).unwrap();
    assert_eq!(w.store.lookups.load(Ordering::SeqCst), before + 4);
}

#[test]
fn a_chain_is_of_one_user_and_a_row_that_says_otherwise_is_no_token() {
    let w = world();
    let user = |id: &str| Some(id.parse::<UserId>().unwrap());
    let grant = Grant { may_store_secrets: true, ..root().grant };
    let parent = w.caller(&w.auth.mint(Mint { user: user("ann"), grant, ..root() }).unwrap());
    let ann = user("ann").unwrap();
    assert_eq!(parent.user(), Some(&ann));
    assert!(parent.may_store_secrets_of(&ann) && !parent.may_store_secrets_of(&user("bob").unwrap()));
    let minted = w.auth.delegate(&parent, narrower()).unwrap();
    assert_eq!(minted.row.user, user("ann"));
    let child = w.caller(&minted);
    assert_eq!(child.user(), Some(&ann));
    assert!(!child.may_store_secrets_of(&ann));
    for says in [user("bob"), None] {
        let forged = TokenRow { id: TokenId::fresh(), user: says, ..minted.row.clone() };
        assert!(is_unauthorized(w.auth.verify(w.smuggle(&forged).as_str())), "{forged:?}");
    }
    let honest = TokenRow { id: TokenId::fresh(), ..minted.row.clone() };
    assert_eq!(w.auth.verify(w.smuggle(&honest).as_str()).unwrap().user(), Some(&ann));
}

#[test]
fn a_row_that_says_more_than_its_parent_stores_no_secrets_and_reaches_no_further() {
    let w = world();
    let ann = "ann".parse::<UserId>().unwrap();
    let parent = w.caller(&w.auth.mint(Mint { user: Some(ann.clone()), ..root() }).unwrap());
    let child = w.auth.delegate(&parent, narrower()).unwrap().row;
    let grant = Grant { may_store_secrets: true, ..child.grant.clone() };
    let forged = TokenRow { id: TokenId::fresh(), grant, every_environment: true, ..child };
    let caller = w.auth.verify(w.smuggle(&forged).as_str()).unwrap();
    assert!(caller.grant().may_store_secrets && !caller.may_store_secrets_of(&ann));
    assert_eq!(caller.reach(), Reach::one(caller.realm().clone()), "an agent is of one environment");
}

#[test]
fn all_that_was_handed_on_has_the_root_that_an_operator_minted() {
    let w = world();
    let (chain, other) = (w.chain(4), w.root());
    assert!(chain.iter().all(|caller| caller.root() == chain[0].token()));
    assert_eq!(other.root(), other.token());
}
