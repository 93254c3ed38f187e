//! Minting, listing and revoking, by the right operator and by the wrong one.

use std::sync::Arc;

use serde_json::{Value, json};

use super::host::{Host, NoWire};
use crate::egress::Canary;
use crate::store::TokenKind;

const STRIPE: &str = r#"
base_url = "https://api.example.com"
secret = "key"
attach = { kind = "bearer" }
environments = ["dev"]
[operations.pay]
request = "POST /v1/charges"
effect = "write"
"#;

fn wanted() -> String {
    json!({
        "agent": "billing", "tools": ["get_invoice"], "operations": ["stripe:get_invoice"],
        "expires_in_seconds": 60,
    })
    .to_string()
}

#[tokio::test]
async fn a_minted_token_works_until_it_is_revoked() {
    let host = Host::start();
    let (operator_id, operator) = host.token(TokenKind::Operator);
    let minted = host.ask("POST", "/v1/tokens", &operator, &wanted()).await;
    assert_eq!(minted.status, 201, "{}", minted.body);
    assert_eq!(minted.headers["cache-control"], "no-store");
    let minted = minted.json();
    let (id, token) = (minted["id"].as_str().unwrap(), minted["token"].as_str().unwrap());
    assert_eq!((&minted["tenant"], &minted["environment"]), (&json!("acme"), &json!("dev")));
    assert_eq!(minted["expires_at"], host.now().0 + 60_000);
    assert_eq!(host.get("/v1/tools", token).await.status, 200);

    let listed = host.get("/v1/tokens", &operator).await;
    assert!(listed.body.contains(id) && !listed.body.contains(token));

    let path = format!("/v1/tokens/{id}");
    for _ in 0..2 {
        let revoked = host.ask("DELETE", &path, &operator, "").await;
        assert_eq!((revoked.status.as_u16(), revoked.body.as_str()), (204, ""));
    }
    host.get("/v1/tools", token).await.problem(401, "unauthorized");

    let trail = host.get("/v1/audit", &operator).await.json();
    let told: Vec<_> = trail["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            (row["action"].as_str().unwrap(), row["subject"].as_str().unwrap(), row["by"].as_str().unwrap())
        })
        .collect();
    let by = operator_id.as_str();
    assert_eq!(told, [("token.revoke", id, by), ("token.revoke", id, by), ("token.mint", id, by)]);
    let given = &trail["rows"][2]["token"];
    assert_eq!((&given["agent"], &given["expires_at"]), (&json!("billing"), &minted["expires_at"]));
    let grant = json!({ "tools": ["get_invoice"], "operations": ["stripe:get_invoice"] });
    assert_eq!(given["grant"], grant);
    assert!(trail["rows"][0].get("token").is_none(), "it's there where it was given");
}

#[tokio::test]
async fn another_tenants_tokens_do_not_exist() {
    let host = Host::start();
    let (victim, victim_token) = host.token_in("acme", TokenKind::Agent);
    let (_, other) = host.token_in("rival", TokenKind::Operator);
    let foreign = host.ask("DELETE", &format!("/v1/tokens/{victim}"), &other, "").await;
    let absent = host.ask("DELETE", "/v1/tokens/tok_000000000000000000000000", &other, "").await;
    let malformed = host.ask("DELETE", "/v1/tokens/..", &other, "").await;
    foreign.problem(404, "not_found");
    assert_eq!(foreign, absent);
    assert_eq!(foreign, malformed);
    assert_eq!(host.get("/v1/tools", &victim_token).await.status, 200);
    assert!(!host.get("/v1/tokens", &other).await.body.contains(victim.as_str()));
}

#[tokio::test]
async fn what_can_not_be_minted_is_explained() {
    let host = Host::start();
    let (_, operator) = host.token(TokenKind::Operator);
    let before = host.get("/v1/tokens", &operator).await;
    for (body, hint) in [
        ("", "EOF"),
        ("[]", "expected an object"),
        ("{", "EOF"),
        (r#"{"agent": "a"}"#, "expires_in_seconds"),
        (r#"{"agent": "a b", "expires_in_seconds": 1}"#, "agent"),
        (r#"{"agent": "a", "expires_in_seconds": 1, "kind": "operator"}"#, "unknown field `kind`"),
        (r#"{"agent": "a", "expires_in_seconds": 1, "tenant": "rival"}"#, "unknown field `tenant`"),
        (r#"{"agent": "a", "agent": "b", "expires_in_seconds": 1}"#, "duplicate field `agent`"),
        (r#"{"agent": "a", "expires_in_seconds": 0}"#, "lifetime"),
        (r#"{"agent": "a", "expires_in_seconds": 31536001}"#, "365 days"),
        (r#"{"agent": "a", "expires_in_seconds": 1, "operations": ["*"]}"#, "CONNECTION"),
    ] {
        let detail = host.ask("POST", "/v1/tokens", &operator, body).await.problem(400, "bad_request");
        assert!(detail.contains(hint), "{body}: {detail}");
    }
    host.ask("POST", "/v1/tokens", &operator, &" ".repeat(1_001)).await.problem(413, "too_large");
    assert_eq!(host.get("/v1/tokens", &operator).await, before);
}

#[tokio::test]
async fn a_budget_that_would_limit_nothing_is_neither_minted_nor_delegated() {
    let host = Host::start_with(&[("stripe.toml", STRIPE)], Arc::new(NoWire), Canary::fresh());
    let (_, operator) = host.token(TokenKind::Operator);
    let body = |names: Value| {
        let mut budget = json!({ "limit": 1, "unit": "usd", "window": "day" });
        budget.as_object_mut().unwrap().extend(names.as_object().unwrap().clone());
        json!({
            "agent": "a", "operations": ["stripe:*", "ghost:*"], "may_delegate": true, "expires_in_seconds": 60,
            "budgets": [budget],
        })
        .to_string()
    };
    let good = body(json!({ "connection": "stripe", "operation": "pay" }));
    let minted = host.ask("POST", "/v1/tokens", &operator, &good).await;
    assert_eq!(minted.status, 201, "{}", minted.body);
    let parent = minted.json()["token"].as_str().unwrap().to_owned();
    for (path, key) in [("/v1/tokens", &operator), ("/v1/tokens/delegate", &parent)] {
        for (names, told) in [
            (
                json!({ "connection": "ghost" }),
                "budgets[0].connection: there is no connection ghost in acme/dev",
            ),
            (
                json!({ "connection": "stripe", "operation": "pai" }),
                "the connection stripe has no operation pai",
            ),
        ] {
            let detail = host.ask("POST", path, key, &body(names)).await.problem(400, "bad_request");
            assert!(detail.contains(told), "{path}: {detail}");
        }
        assert_eq!(host.ask("POST", path, key, &good).await.status, 201, "{path}");
    }
    let slip = body(json!({ "connection": "strpe" }));
    let detail = host.ask("POST", "/v1/tokens", &operator, &slip).await.problem(400, "bad_request");
    assert!(detail.contains("there is no connection strpe"), "{detail}");
    // An agent isn't told whether it's there.
    let detail = host.ask("POST", "/v1/tokens/delegate", &parent, &slip).await.problem(400, "bad_request");
    assert!(detail.contains("is on what this token may not use itself"), "{detail}");
}

#[tokio::test]
async fn no_token_is_minted_that_can_not_be_recorded() {
    let host = Host::start();
    let (_, operator) = host.token(TokenKind::Operator);
    host.trail.fill_up();
    host.ask("POST", "/v1/tokens", &operator, &wanted()).await.problem(503, "audit_unavailable");
    let tokens = host.get("/v1/tokens", &operator).await.json();
    let minted = tokens["tokens"].as_array().unwrap().iter().find(|token| token["agent"] == "billing");
    assert!(minted.is_none_or(|token| token["revoked_at"].is_i64()), "{minted:?}");
}

#[tokio::test]
async fn a_revocation_holds_even_when_it_can_not_be_recorded() {
    let host = Host::start();
    let (_, operator) = host.token(TokenKind::Operator);
    let (id, stolen) = host.token(TokenKind::Agent);
    host.trail.fill_up();
    let told = host.ask("DELETE", &format!("/v1/tokens/{id}"), &operator, "").await;
    assert!(told.problem(503, "audit_unavailable").contains("the token is revoked"));
    host.get("/v1/tools", &stolen).await.problem(401, "unauthorized");
}

#[tokio::test]
async fn tokens_are_listed_page_by_page() {
    let host = Host::start();
    let (_, operator) = host.token(TokenKind::Operator);
    let (foreign, _) = host.token_in("rival", TokenKind::Agent);
    for _ in 0..4 {
        host.token(TokenKind::Agent);
    }
    let all = host.get("/v1/tokens", &operator).await.json();
    assert_eq!(all["next_before"], json!(null));
    let (mut seen, mut path) = (Vec::new(), "/v1/tokens?limit=2".to_owned());
    loop {
        let page = host.get(&path, &operator).await.json();
        let rows = page["tokens"].as_array().unwrap();
        assert!(rows.len() <= 2);
        seen.extend(rows.iter().cloned());
        let Some(before) = page["next_before"].as_str() else { break };
        path = format!("/v1/tokens?limit=2&before={before}");
    }
    assert_eq!((seen.len(), json!(seen)), (5, all["tokens"].clone()));
    let beyond = host.get(&format!("/v1/tokens?before={foreign}"), &operator).await;
    assert_eq!(beyond, host.get("/v1/tokens?before=tok_000000000000000000000000", &operator).await);
    beyond.problem(400, "bad_request");
}
