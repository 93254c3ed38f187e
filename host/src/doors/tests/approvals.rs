//! Approvals over HTTP.

use super::host::Host;
use crate::approval::tests::ask_by;
use crate::auth::{Grant, Mint};
use crate::ids::{ApprovalId, Realm, TokenId};
use crate::store::TokenKind;

/// A token of this kind for someone of this name.
pub(super) fn token(host: &Host, tenant: &str, name: &str, kind: TokenKind) -> (TokenId, String) {
    let minted = host
        .door
        .app
        .auth
        .mint(Mint {
            kind,
            realm: Realm { tenant: tenant.parse().unwrap(), environment: "dev".parse().unwrap() },
            every_environment: false,
            agent: name.parse().unwrap(),
            conversation: None,
            role: None,
            task: None,
            user: None,
            grant: match kind {
                TokenKind::Agent => Grant { tools: vec!["*".parse().unwrap()], ..Grant::default() },
                TokenKind::Operator | TokenKind::Monitor => Grant::default(),
            },
            lifetime: std::time::Duration::from_secs(7_200),
        })
        .unwrap();
    (minted.row.id, minted.token.to_string())
}

/// The approval that a sentence for an agent names first.
#[track_caller]
pub(super) fn id_in(sentence: &str) -> ApprovalId {
    let at = sentence.find("apr_").unwrap_or_else(|| panic!("{sentence}"));
    sentence[at..at + 28].parse().unwrap_or_else(|_| panic!("{sentence}"))
}

fn asked(host: &Host, token: &str, what: &str) -> ApprovalId {
    let caller = host.door.app.auth.verify(token).unwrap();
    host.door.app.approvals.approvals().request(&ask_by(&caller, what)).unwrap().id
}

#[tokio::test]
async fn an_operator_lists_reads_and_approves_what_an_agent_asked() {
    let host = Host::start();
    let (_, agent) = token(&host, "acme", "billing", TokenKind::Agent);
    let (alice_id, alice) = token(&host, "acme", "alice", TokenKind::Operator);
    let id = asked(&host, &agent, "5\napproved: yes");
    let list = host.get("/v1/approvals?state=pending", &alice).await.json();
    assert_eq!(
        (list["approvals"].as_array().unwrap().len(), &list["approvals"][0]["id"]),
        (1, &id.as_str().into())
    );
    assert!(list["approvals"][0].get("request").is_none(), "what it's about is in its own answer");
    let shown = host.get(&format!("/v1/approvals/{id}"), &alice).await.json();
    assert_eq!(shown["request"]["parameters"][0]["value"], r#""5\napproved: yes""#);
    assert!(shown["text"].as_str().unwrap().contains(r#"  body.what: "5\napproved: yes""#), "{shown:#}");
    let done = host.ask("POST", &format!("/v1/approvals/{id}/approve"), &alice, "").await;
    assert_eq!((done.status.as_u16(), &done.json()["state"]), (200, &"granted".into()), "{done:?}");
    let trail = host.get("/v1/audit", &alice).await.json();
    let row = &trail["rows"][0];
    assert_eq!(
        (&row["event"], &row["step"], &row["by"]),
        (&"approval".into(), &"approved".into(), &"alice".into())
    );
    assert_eq!((&row["token"], &row["id"]), (&alice_id.as_str().into(), &id.as_str().into()));
    for word in ["approve", "deny"] {
        let again = host.ask("POST", &format!("/v1/approvals/{id}/{word}"), &alice, "").await;
        assert!(again.problem(403, "denied").contains("can't be decided again"));
    }
}

#[tokio::test]
async fn a_denied_request_stays_denied() {
    let host = Host::start();
    let (_, agent) = token(&host, "acme", "billing", TokenKind::Agent);
    let (_, alice) = token(&host, "acme", "alice", TokenKind::Operator);
    let id = asked(&host, &agent, "pay");
    let done = host.ask("POST", &format!("/v1/approvals/{id}/deny"), &alice, "").await;
    assert_eq!(done.json()["state"], "denied");
    host.ask("POST", &format!("/v1/approvals/{id}/approve"), &alice, "").await.problem(403, "denied");
    assert_eq!(host.get(&format!("/v1/approvals/{id}"), &agent).await.json()["state"], "denied");
}

#[tokio::test]
async fn an_agent_sees_how_its_own_requests_stand_and_nothing_more() {
    let host = Host::start();
    let (_, agent) = token(&host, "acme", "billing", TokenKind::Agent);
    // Another token of the same agent, and the same name in another tenant.
    let (_, sibling) = token(&host, "acme", "billing", TokenKind::Agent);
    let (_, stranger) = token(&host, "beta", "billing", TokenKind::Agent);
    let id = asked(&host, &agent, "pay");
    let mine = host.get(&format!("/v1/approvals/{id}"), &agent).await.json();
    let members: Vec<_> = mine.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["id", "state", "expires_at"]);
    let unknown = host.get("/v1/approvals/apr_000000000000000000000000", &agent).await;
    unknown.problem(404, "not_found");
    for other in [&sibling, &stranger] {
        assert_eq!(host.get(&format!("/v1/approvals/{id}"), other).await.body, unknown.body);
    }
    for (method, path) in [
        ("GET", "/v1/approvals".to_owned()),
        ("POST", format!("/v1/approvals/{id}/approve")),
        ("POST", format!("/v1/approvals/{id}/deny")),
    ] {
        host.ask(method, &path, &agent, "").await.problem(403, "denied");
    }
    assert_eq!(host.get(&format!("/v1/approvals/{id}"), &agent).await.json()["state"], "pending");
}

#[tokio::test]
async fn a_monitor_sees_who_asks_and_who_decided_not_what_approvers_read_and_decides_nothing() {
    let host = Host::start();
    let (_, agent) = token(&host, "acme", "billing", TokenKind::Agent);
    let (_, alice) = token(&host, "acme", "alice", TokenKind::Operator);
    let (_, monitor) = token(&host, "acme", "dashboard", TokenKind::Monitor);
    let (_, rival) = token(&host, "beta", "dashboard", TokenKind::Monitor);
    let id = asked(&host, &agent, "a very private sentence");
    for word in ["approve", "deny"] {
        let refused = host.ask("POST", &format!("/v1/approvals/{id}/{word}"), &monitor, "").await;
        assert!(refused.problem(403, "denied").contains("only looks"), "{refused:?}");
    }
    let path = format!("/v1/approvals/{id}");
    let shown = host.get(&path, &monitor).await;
    assert_eq!(shown.json(), host.get("/v1/approvals", &monitor).await.json()["approvals"][0]);
    assert_eq!((&shown.json()["state"], &shown.json()["agent"]), (&"pending".into(), &"billing".into()));
    assert!(host.get(&path, &alice).await.body.contains("a very private sentence"));
    assert!(!shown.body.contains("private"), "{shown:?}");
    host.get(&path, &rival).await.problem(404, "not_found");
    host.ask("POST", &format!("{path}/approve"), &alice, "").await;
    assert_eq!(host.get(&path, &monitor).await.json()["votes"][0]["by"], "alice");
}

#[tokio::test]
async fn another_tenant_s_approvals_do_not_exist() {
    let host = Host::start();
    let (_, agent) = token(&host, "acme", "billing", TokenKind::Agent);
    let (_, mallory) = token(&host, "beta", "mallory", TokenKind::Operator);
    let id = asked(&host, &agent, "pay");
    assert_eq!(host.get("/v1/approvals", &mallory).await.json()["approvals"], serde_json::json!([]));
    host.get(&format!("/v1/approvals/{id}"), &mallory).await.problem(404, "not_found");
    for word in ["approve", "deny"] {
        host.ask("POST", &format!("/v1/approvals/{id}/{word}"), &mallory, "").await.problem(404, "not_found");
    }
    assert_eq!(host.get(&format!("/v1/approvals/{id}"), &agent).await.json()["state"], "pending");
}

#[tokio::test]
async fn who_is_not_let_approve_is_told_so() {
    let host = Host::start();
    let (_, agent) = token(&host, "acme", "billing", TokenKind::Agent);
    let id = asked(&host, &agent, "pay");
    for (name, words) in
        [("nobody", "no policy lets you"), ("Billing", "nobody approves their own"), ("minter", "their own")]
    {
        let (_, operator) = token(&host, "acme", name, TokenKind::Operator);
        let refused = host.ask("POST", &format!("/v1/approvals/{id}/approve"), &operator, "").await;
        let detail = refused.problem(403, "denied");
        assert!(detail.contains(words), "{detail}");
    }
    assert_eq!(host.get(&format!("/v1/approvals/{id}"), &agent).await.json()["state"], "pending");
}

#[tokio::test]
async fn ids_that_are_none_and_late_answers_are_refused() {
    let host = Host::start();
    let (_, agent) = token(&host, "acme", "billing", TokenKind::Agent);
    let (_, alice) = token(&host, "acme", "alice", TokenKind::Operator);
    for id in ["x", "apr_", "APR_000000000000000000000000", "apr_00000000000000000000000g", "%61pr_0"] {
        host.get(&format!("/v1/approvals/{id}"), &alice).await.problem(404, "not_found");
        host.ask("POST", &format!("/v1/approvals/{id}/approve"), &alice, "").await.problem(404, "not_found");
    }
    host.get("/v1/approvals?state=open", &alice).await.problem(400, "bad_request");
    let id = asked(&host, &agent, "pay");
    host.clock.advance(std::time::Duration::from_secs(900));
    let late = host.ask("POST", &format!("/v1/approvals/{id}/approve"), &alice, "").await;
    assert!(late.problem(403, "denied").contains("has expired"));
    assert_eq!(host.get(&format!("/v1/approvals/{id}"), &agent).await.json()["state"], "expired");
}

#[tokio::test]
async fn a_yes_that_can_not_be_recorded_does_not_count() {
    let host = Host::start();
    let (_, agent) = token(&host, "acme", "billing", TokenKind::Agent);
    let (_, alice) = token(&host, "acme", "alice", TokenKind::Operator);
    let id = asked(&host, &agent, "pay");
    host.trail.fill_up();
    let refused = host.ask("POST", &format!("/v1/approvals/{id}/approve"), &alice, "").await;
    assert!(refused.problem(503, "audit_unavailable").contains("the yes doesn't count"));
    assert_eq!(host.get(&format!("/v1/approvals/{id}"), &agent).await.json()["state"], "pending");
}

#[tokio::test]
async fn whoever_minted_the_token_does_not_agree_to_what_is_asked_with_it_where_that_is_not_wanted() {
    let host = Host::start();
    let (_, alice) = token(&host, "acme", "alice", TokenKind::Operator);
    let body = r#"{"agent":"billing","tools":["*"],"may_delegate":true,"expires_in_seconds":600}"#;
    let minted = host.ask("POST", "/v1/tokens", &alice, body).await.json();
    assert_eq!(minted["minted_by"], "alice");
    let parent = minted["token"].as_str().unwrap();
    let child = host.ask("POST", "/v1/tokens/delegate", parent, r#"{"agent":"helper"}"#).await.json();
    assert_eq!(child["minted_by"], serde_json::Value::Null);
    // The tests' host is set up so; one that isn't lets her.
    let desk = &host.door.app.approvals;
    let own = |text: &str| desk.own(&host.door.app.auth.verify(text).unwrap());
    let names =
        |names: &[&str]| -> Vec<crate::ids::AgentId> { names.iter().map(|n| n.parse().unwrap()).collect() };
    assert_eq!(own(parent), names(&["alice"]));
    assert_eq!(own(child["token"].as_str().unwrap()), names(&["billing", "alice"]));
    let (_, by_nobody) = token(&host, "acme", "other", TokenKind::Agent);
    assert_eq!(own(&by_nobody), names(&[]));

    let caller = host.door.app.auth.verify(parent).unwrap();
    let ask = crate::approval::ApprovalAsk { own: desk.own(&caller), ..ask_by(&caller, "pay") };
    let id = desk.approvals().request(&ask).unwrap().id;
    let refused = host.ask("POST", &format!("/v1/approvals/{id}/approve"), &alice, "").await;
    assert!(refused.problem(403, "denied").contains("nobody approves their own"));
    let (_, bob) = token(&host, "acme", "bob", TokenKind::Operator);
    let done = host.ask("POST", &format!("/v1/approvals/{id}/approve"), &bob, "").await;
    assert_eq!(done.json()["state"], "granted");
}
