//! Refunds that give room back: never more than was spent, each once, and only where everybody who counts agrees.

use proptest::prelude::*;

use super::*;
use crate::connection::Refunded;
use crate::ledger::{Refund, Settlement, finish, give_back, reserve};

const LIMIT: u64 = 1_000;

const STRIPE: &str = r#"
base_url = "https://api.stripe.com"
secret = "stripe"
attach = { kind = "bearer" }
[operations.create_charge]
request = "POST /v1/charges"
effect = "write"
content_type = "application/x-www-form-urlencoded"
body.amount = { type = "integer", minimum = 0 }
body.currency = { type = "string" }
cost = { amount = "body.amount", currency = "body.currency" }
[operations.create_refund]
request = "POST /v1/refunds"
effect = "write"
content_type = "application/x-www-form-urlencoded"
body.charge = { type = "string" }
refund = { of = "create_charge", id = "/id", amount = "/amount", currency = "/currency" }
"#;

fn connections() -> Connections {
    Connections::parse(&[("stripe.toml", STRIPE)]).unwrap_or_else(|problems| panic!("{problems}"))
}

fn spent() -> Line {
    line("tenant", "usd", Window::Total, LIMIT, 0)
}

fn charge(number: u32, amount: u64) -> Reservation {
    reservation(number, [Line { amount, ..spent() }])
}

fn refund(id: &str, amount: i64) -> Refund {
    let amount = Cost { amount_minor: amount, currency: "usd".to_owned() };
    let refunded = Refunded { id: id.to_owned(), amount };
    Refund::new(&realm(), &"stripe".parse().unwrap(), refunded, vec![spent().counter], NOW)
}

#[derive(Debug, Clone)]
enum Op {
    Charge(u64),
    End(u32, Settlement),
    Refund(u8, i64),
}

fn op() -> impl Strategy<Value = Op> {
    let settlement = prop_oneof![
        3 => Just(Settlement::Settle { confirmed: None }),
        1 => Just(Settlement::Release),
        1 => Just(Settlement::Refused),
        1 => Just(Settlement::Hold),
    ];
    prop_oneof![
        4 => (1_u64..600).prop_map(Op::Charge),
        4 => (1_u32..30, settlement).prop_map(|(number, how)| Op::End(number, how)),
        3 => (0_u8..12, 1_i64..900).prop_map(|(id, amount)| Op::Refund(id, amount)),
    ]
}

/// Plays it, and holds what is out to the limit after each step. Answers what was said.
fn play(store: &dyn LedgerStore, ops: &[Op]) -> Result<Vec<String>, TestCaseError> {
    // What may be out: charged or unclear, less what was given back; and what each refund was worth the first time.
    let (mut charges, mut refunds) = (Vec::new(), std::collections::BTreeMap::new());
    let mut said = Vec::new();
    for op in ops {
        let before = tally(store, &spent());
        match op {
            Op::Charge(amount) => {
                let number = u32::try_from(charges.len()).unwrap() + 1;
                let yes = within(store, |tx| reserve(tx, &charge(number, *amount))) == Reserved::Yes;
                charges.push(if yes { i128::from(*amount) } else { 0 });
                said.push(format!("{yes}"));
            }
            Op::End(number, how) => {
                let ended = within(store, |tx| finish(tx, &id(*number), *how, None, None));
                let index = usize::try_from(*number).unwrap() - 1;
                if ended && matches!(how, Settlement::Release | Settlement::Refused) {
                    charges[index] = 0;
                }
                said.push(format!("{ended}"));
            }
            Op::Refund(number, amount) => {
                let refund = refund(&format!("re_{number}"), *amount);
                let counted = within(store, |tx| give_back(tx, &refund));
                prop_assert_eq!(counted, !refunds.contains_key(number), "each refund counts once");
                refunds.entry(*number).or_insert(i128::from(*amount));
                let after = tally(store, &spent());
                prop_assert_eq!((after.reserved, after.held), (before.reserved, before.held));
                let most = if counted { u64::try_from(*amount).unwrap() } else { 0 };
                prop_assert_eq!(after.settled, before.settled.saturating_sub(most));
                said.push(format!("{counted}"));
            }
        }
        let counted = tally(store, &spent()).counted();
        let out = charges.iter().sum::<i128>() - refunds.values().sum::<i128>();
        prop_assert!(counted <= LIMIT, "{counted} are counted");
        prop_assert!(out <= i128::from(counted), "{out} are out, and {counted} are counted");
    }
    Ok(said)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]
    #[test]
    fn in_no_order_is_more_out_than_the_limit(ops in proptest::collection::vec(op(), 1..60)) {
        play(&MemoryAudit::new(), &ops)?;
    }
}

proptest! {
    // Each step is a flush to the disk.
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]
    #[test]
    fn both_stores_give_back_the_same(ops in proptest::collection::vec(op(), 1..40)) {
        let folder = tempfile::tempdir().unwrap();
        let sqlite = SqliteAudit::open(&folder.path().join("audit.db")).unwrap();
        prop_assert_eq!(play(&MemoryAudit::new(), &ops)?, play(&sqlite, &ops)?);
    }
}

#[test]
fn a_refund_that_is_undone_can_be_given_back_later() {
    on_both(|store| {
        assert_eq!(within(store, |tx| reserve(tx, &charge(1, 700))), Reserved::Yes);
        within(store, |tx| finish(tx, &id(1), Settlement::Settle { confirmed: None }, None, None));
        let failed = store.ledger(&mut |tx| {
            assert!(give_back(tx, &refund("re_1", 300))?);
            Err(StoreError::Failed("the disk is full".to_owned()))
        });
        assert!(failed.is_err());
        assert_eq!(tally(store, &spent()).settled, 700);
        assert!(within(store, |tx| give_back(tx, &refund("re_1", 300))));
        assert_eq!(tally(store, &spent()).settled, 400);
    });
}

#[test]
fn the_same_id_of_another_upstream_or_realm_is_another_refund() {
    let mut elsewhere = realm();
    elsewhere.environment = "staging".parse().unwrap();
    let amount = || Cost { amount_minor: 5, currency: "usd".to_owned() };
    let key = |realm: &Realm, connection: &str, id: &str| {
        let refunded = Refunded { id: id.to_owned(), amount: amount() };
        Refund::new(realm, &connection.parse().unwrap(), refunded, Vec::new(), NOW).key
    };
    let keys = [
        key(&realm(), "stripe", "re_1"),
        key(&realm(), "stripe", "re_2"),
        key(&realm(), "strip", "ere_1"),
        key(&elsewhere, "stripe", "re_1"),
    ];
    let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
    assert_eq!(distinct.len(), keys.len());
    assert_eq!(key(&realm(), "stripe", "re_1"), keys[0]);
}

/// One budget of dollars a day: subject, more keys.
fn one(subject: &str, more: &str) -> String {
    format!("[[budget]]\nsubject = {subject:?}\nunit = \"usd\"\nwindow = \"day\"\nlimit = 1000\n{more}\n")
}

/// Whom a refund of agent `bot` gives room back to.
fn reopened(file: &str, granted: &[Budget]) -> Vec<String> {
    let budgets = Budgets::parse(file, "budgets.toml", &connections()).unwrap_or_else(|p| panic!("{p}"));
    let (realm, token, agent) =
        (realm(), "tok_000000000000000000000001".parse().unwrap(), "bot".parse().unwrap());
    let chain = [Link { token: &token, agent: &agent, role: None, budgets: granted }];
    let (connection, operation) = ("stripe".parse().unwrap(), "create_charge".parse().unwrap());
    let facts = SpendFacts {
        realm: &realm,
        conversation: None,
        chain: &chain,
        connection: &connection,
        operation: &operation,
        effect: Effect::Write,
        settles: false,
        customer: Customer::NotConcerned,
        cost: None,
        now: NOW,
    };
    let counted = |name: &str| crate::ledger::Counted::of_name(name).unwrap().subject;
    budgets.reopened(&facts).iter().map(|(_, counter)| counted(&counter.name)).collect()
}

#[test]
fn only_budgets_that_say_so_get_anything_back() {
    let reopen = "refunds = \"reopen\"";
    assert_eq!(reopened(&one("tenant", ""), &[]), [""; 0]);
    assert_eq!(reopened(&one("tenant", "refunds = \"keep\""), &[]), [""; 0]);
    assert_eq!(reopened(&one("tenant", reopen), &[]), ["tenant"]);
    assert_eq!(reopened(&(one("tenant", reopen) + &one("each agent", "")), &[]), ["tenant"]);
    assert_eq!(reopened(&(one("tenant", reopen) + &one("each agent", reopen)), &[]), ["agent:bot", "tenant"]);
    // What counts together is given back together, or not at all.
    assert_eq!(reopened(&(one("tenant", reopen) + &one("tenant", "")), &[]), [""; 0]);
    assert_eq!(reopened(&(one("each agent", reopen) + &one("agent:bot", "")), &[]), [""; 0]);
    let granted: Budget = serde_json::from_str(r#"{"limit":5,"unit":"usd","window":"day"}"#).unwrap();
    assert_eq!(reopened(&one("each token", reopen), &[]), ["token:tok_000000000000000000000001"]);
    assert_eq!(reopened(&one("each token", reopen), &[granted]), [""; 0]);
    for (narrowed, known) in [
        ("connection = \"stripe\"", 1),
        ("connection = \"stripe\"\noperation = \"create_charge\"", 1),
        ("effect = \"write\"", 1),
        ("environment = \"staging\"", 0),
    ] {
        let file = one("tenant", &format!("{reopen}\n{narrowed}"));
        assert_eq!(reopened(&file, &[]).len(), known, "{narrowed}");
    }
}

#[test]
fn a_budget_that_no_refund_could_reopen_is_a_mistake() {
    let problem =
        |file: &str| Budgets::parse(file, "budgets.toml", &connections()).map(drop).unwrap_err().to_string();
    let with = |unit: &str, window: &str, more: &str| {
        format!(
            "[[budget]]\nsubject = \"tenant\"\nunit = {unit:?}\nwindow = {window:?}\nlimit = 9\nrefunds = \"reopen\"\n{more}"
        )
    };
    for (file, hint) in [
        (one("tenant", "refunds = \"yes\""), "is nothing that refunds do"),
        (with("requests", "day", ""), "gives no room back"),
        (with("usd", "per_call", ""), "gives no room back"),
        (with("usd", "at_once", ""), "gives no room back"),
        (with("usd", "day", "effect = \"read\""), "gives no room back"),
        (with("usd", "day", "connection = \"stripe\"\noperation = \"create_refund\""), "no operation says"),
    ] {
        let told = problem(&file);
        assert!(told.contains("refunds: ") && told.contains(hint), "{told}");
    }
    assert!(Budgets::parse(&with("usd", "day", ""), "b", &Connections::default()).is_err());
}

#[test]
fn a_connection_says_what_is_refunded_or_is_refused() {
    let problem = |from: &str, to: &str| {
        Connections::parse(&[("stripe.toml", &STRIPE.replace(from, to))]).map(drop).unwrap_err().to_string()
    };
    for (from, to, hint) in [
        ("of = \"create_charge\"", "of = \"charge\"", "which is no operation here that costs anything"),
        (
            "of = \"create_charge\"",
            "of = \"create_refund\"",
            "which is no operation here that costs anything",
        ),
        ("id = \"/id\", ", "", "id"),
        ("\"/amount\"", "\"amount\"", "JSON pointer"),
        ("currency = \"/currency\" }", "currency = \"/currency\", status = { at = \"/status\" } }", "is"),
        ("currency = \"/currency\" }", "currency = \"/currency\", staus = 1 }", "staus"),
    ] {
        let told = problem(from, to);
        assert!(told.contains(hint), "{from} -> {to}: {told}");
    }
}
