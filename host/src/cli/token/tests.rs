use std::path::Path;

use clap::Parser as _;

use super::*;
use crate::audit::{Audit, Event, Row, TokenGiven};
use crate::cli::{Cli, Command, init};
use crate::home::Home;
use crate::ids::Realm;
use crate::store::RowFilter;

/// A home, and the realm that its operator's token is of.
fn made(root: &Path) -> (Opened, Realm) {
    let realm = Realm { tenant: "acme".parse().unwrap(), environment: "test".parse().unwrap() };
    let home = Home::named(Some(root.to_owned())).unwrap();
    (init::make(home, realm.clone()).unwrap().0, realm)
}

fn run(root: &Path, arguments: &[&str]) -> anyhow::Result<Done> {
    let line = [&["keybearer", "token"][..], arguments].concat();
    let Command::Token(token) = Cli::try_parse_from(line).unwrap().command else { panic!("{arguments:?}") };
    token.run(Some(root.to_owned()), &Out::new(false))
}

#[test]
fn a_revocation_is_on_record_in_the_token_s_realm() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("home");
    let (opened, realm) = made(&root);
    run(&root, &["mint", "--agent", "a", "--tool", "*", "--tenant", "acme", "--environment", "test"])
        .unwrap();
    let id = Auth::new(opened.control.clone(), opened.clock.clone()).list(None).unwrap()[0].id.clone();
    run(&root, &["revoke", id.as_str()]).unwrap();
    assert!(run(&root, &["revoke", "tok_000000000000000000000000"]).is_err());

    let trail = Audit::start(opened.audit_store().unwrap(), opened.clock.clone()).unwrap();
    let reach = Some(Reach::every(realm.tenant.clone()));
    let filter = RowFilter { reach, limit: 1, newest_first: true, ..RowFilter::default() };
    let newest = trail.rows(&filter).unwrap().remove(0);
    assert_eq!(newest.realm, Some(realm));
    let is_revocation = |event: &Event| {
        matches!(event, Event::Admin { action, subject, .. }
            if action == "token.revoke" && subject == id.as_str())
    };
    assert!(is_revocation(&newest.event), "{newest:?}");
}

#[test]
fn who_got_a_token_and_what_it_may_do_is_on_record() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("home");
    let (opened, realm) = made(&root);
    let words = "mint --agent billing-1 --role billing --conversation march --tool get_invoice --operation stripe:* \
                 --may-delegate --tenant acme --environment test";
    let mut arguments: Vec<_> = words.split_ascii_whitespace().collect();
    arguments.extend(["--task", "collect what is overdue", "--budget", "50000 usd day"]);
    run(&root, &arguments).unwrap();
    let trail = Audit::start(opened.audit_store().unwrap(), opened.clock.clone()).unwrap();
    let rows = trail.rows(&RowFilter { limit: 9, ..RowFilter::default() }).unwrap();
    let [init, minted] = &rows[..] else { panic!("{rows:?}") };
    let given = |row: &Row| match &row.event {
        Event::Admin { token: Some(token), .. } => *token.clone(),
        other => panic!("{other:?}"),
    };
    let tokens = opened.control.tokens(None).unwrap();
    assert_eq!(given(minted), TokenGiven::from(&tokens[0]));
    assert_eq!(given(init), TokenGiven::from(&tokens[1]), "the operator's, which a home begins with");
    assert_eq!(minted.realm, Some(realm));
    let token = given(minted);
    assert_eq!((token.agent.as_str(), token.task.as_deref()), ("billing-1", Some("collect what is overdue")));
    assert_eq!(token.grant.to_string(), "get_invoice stripe:* [50000 usd day] delegate");
    assert!(token.role.is_some() && token.conversation.is_some() && token.minted_by.is_some());
}

#[test]
fn a_token_that_only_stores_a_user_s_secrets_is_minted() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("home");
    let (opened, _) = made(&root);
    run(&root, &["mint", "--agent", "chat", "--user", "u-17", "--may-store-secrets"]).unwrap();
    let tokens = opened.control.tokens(None).unwrap();
    let minted = tokens.iter().find(|row| row.kind == TokenKind::Agent).unwrap();
    assert!(minted.grant.may_store_secrets && minted.grant.tools.is_empty());
    assert_eq!(value(minted, opened.clock.now())["user"], "u-17");
    let told = notes::of(&opened, minted);
    assert!(told.iter().any(|note| note.contains("storing its user's secrets alone")), "{told:?}");
}

#[test]
fn a_token_for_questions_alone_is_minted_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("home");
    let (opened, _) = made(&root);
    run(&root, &["mint", "--agent", "planner"]).unwrap();
    let tokens = opened.control.tokens(None).unwrap();
    let minted = tokens.iter().find(|row| row.kind == TokenKind::Agent).unwrap();
    assert_eq!(minted.grant, Grant::default());
    let told = notes::of(&opened, minted);
    assert!(told.iter().any(|note| note.contains("it's for /v1/enforce alone; add --tool")), "{told:?}");
}

#[test]
fn a_name_in_a_grant_that_there_is_nothing_of_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("home");
    let (opened, _) = made(&root);
    let stripe = "base_url = \"https://api.example.com\"\nsecret = \"k\"\nattach = { kind = \"bearer\" }\n\
         environments = [\"test\"]\n[operations.pay]\nrequest = \"POST /x\"\neffect = \"write\"\n";
    std::fs::write(root.join("connections/stripe.toml"), stripe).unwrap();
    let told = |agent: &str, environment: &str, flags: &[&str]| -> Vec<String> {
        run(&root, &[&["mint", "--agent", agent, "--environment", environment][..], flags].concat()).unwrap();
        let tokens = opened.control.tokens(None).unwrap();
        let minted = tokens.iter().find(|row| row.agent.as_str() == agent).unwrap();
        notes::of(&opened, minted).into_iter().filter(|note| note.contains("at this moment")).collect()
    };
    let known = ["--tool", "*", "--operation", "stripe:*", "--operation", "stripe:pay"];
    assert_eq!(told("one", "test", &known), [""; 0]);
    let found = told(
        "two",
        "test",
        &[
            "--tool",
            "nosuch",
            "--operation",
            "nosuch:op",
            "--operation",
            "nosuch:*",
            "--operation",
            "stripe:pai",
        ],
    );
    assert_eq!(
        found,
        [
            "there is no tool nosuch at this moment; one that is added under that name is open to it",
            "there is no connection nosuch in default/test at this moment",
            "the connection stripe has no operation pai at this moment",
        ]
    );
    let found = told("three", "production", &known);
    assert_eq!(found, ["there is no connection stripe in default/production at this moment"]);
    std::fs::write(root.join("connections/stripe.toml"), "?").unwrap();
    assert_eq!(told("four", "test", &known), [""; 0], "nobody knows");
}

#[test]
fn a_monitor_s_token_is_minted_shown_and_on_record_as_one() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("home");
    let (opened, _) = made(&root);
    for (more, may) in [(&["--every-environment"][..], "look-every-environment"), (&[], "look")] {
        run(&root, &[&["mint", "--monitor", "--agent", "dashboard"][..], more].concat()).unwrap();
        let minted = opened.control.tokens(None).unwrap().remove(0);
        assert_eq!((minted.kind, &minted.grant), (TokenKind::Monitor, &Grant::default()));
        assert!(minted.minted_by.is_some());
        assert_eq!(value(&minted, opened.clock.now())["kind"], "monitor");
        assert_eq!(rights(&minted), may);
    }
    let trail = Audit::start(opened.audit_store().unwrap(), opened.clock.clone()).unwrap();
    let rows = trail.rows(&RowFilter { limit: 2, newest_first: true, ..RowFilter::default() }).unwrap();
    for (row, minted) in rows.iter().zip(opened.control.tokens(None).unwrap()) {
        match &row.event {
            Event::Admin { action, token: Some(given), .. } => {
                assert_eq!((action.as_str(), &**given), ("token.mint", &TokenGiven::from(&minted)));
                assert_eq!(given.kind, TokenKind::Monitor);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_budget_that_would_limit_nothing_is_not_minted() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("home");
    let (opened, _) = made(&root);
    let stripe = "base_url = \"https://api.example.com\"\nsecret = \"k\"\nattach = { kind = \"bearer\" }\n\
         environments = [\"test\"]\n[operations.pay]\nrequest = \"POST /x\"\neffect = \"write\"\n";
    std::fs::write(root.join("connections/stripe.toml"), stripe).unwrap();
    let mint = |environment: &str, budget: &str| {
        run(
            &root,
            &[
                "mint",
                "--agent",
                "a",
                "--operation",
                "stripe:*",
                "--environment",
                environment,
                "--budget",
                budget,
            ],
        )
    };
    let count = || opened.control.tokens(None).unwrap().len();
    let before = count();
    for (environment, budget, told) in [
        ("test", "100 usd day connection=strpe", "there is no connection strpe in default/test"),
        ("test", "100 usd day connection=stripe operation=pai", "stripe has no operation pai"),
        (
            "production",
            "100 usd day connection=stripe",
            "there is no connection stripe in default/production",
        ),
    ] {
        let error = mint(environment, budget).unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
    }
    assert_eq!(count(), before);
    mint("test", "100 usd day connection=stripe operation=pay").unwrap();
    mint("production", "100 usd day").unwrap();
}

#[test]
fn spans_have_a_unit() {
    assert_eq!(span("90s").unwrap(), Duration::from_secs(90));
    assert_eq!(span("7d").unwrap(), Duration::from_secs(604_800));
    for bad in ["", "5", "s", "0s", "-1h", "1w", "99999999999999999999d", "é"] {
        assert!(span(bad).is_err(), "{bad:?}");
    }
}
