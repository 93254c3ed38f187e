//! Keys for vendors' SDKs.

use std::sync::Arc;

use serde_json::{Value, json};

use super::host::{Host, NoWire};
use crate::egress::Canary;
use crate::store::TokenKind;

const STRIPE: &str = r#"
base_url = "https://api.example.com"
secret = "key"
attach = { kind = "bearer" }
[operations.create_charge]
request = "POST /v1/charges"
effect = "write"
[operations.get_customer]
request = "GET /v1/customers/{customer}"
effect = "read"
path.customer = { type = "string" }
"#;

fn host(connections: &[(&str, &str)]) -> Host {
    Host::start_with(connections, Arc::new(NoWire), Canary::fresh())
}

fn wanted() -> Value {
    json!({
        "daily_cap_usd": 500.0, "allowed_endpoints": ["POST /v1/charges", "/v1/customers/*"], "ttl_seconds": 900,
        "conversation_id": "3f1c2f6e-9a42-4f5e-8f43-0c1d2e3f4a5b",
    })
}

fn with(changes: &[(&str, Value)]) -> Value {
    let mut body = wanted();
    for (member, value) in changes {
        if value.is_null() {
            body.as_object_mut().unwrap().remove(*member);
        } else {
            body[member] = value.clone();
        }
    }
    body
}

#[tokio::test]
async fn a_key_is_a_token_with_a_cap_and_its_endpoints() {
    let host = host(&[("stripe.toml", STRIPE)]);
    let (_, operator) = host.token(TokenKind::Operator);
    let reply = host.ask_with_key("POST", "/admin/vault-keys", &operator, &wanted()).await;
    assert_eq!(reply.status, 201, "{}", reply.body);
    assert_eq!(reply.headers["cache-control"], "no-store");
    let key = reply.json();
    assert_eq!((&key["connection"], &key["base_path"]), (&json!("stripe"), &json!("/proxy/stripe")));
    assert_eq!(key["daily_cap"], json!({ "amount": 50_000, "currency": "usd" }));
    assert_eq!(key["operations"], json!(["stripe:create_charge", "stripe:get_customer"]));
    assert_eq!(key["expires_at"], host.now().0 + 900_000);
    let caller = host.door.app.auth.verify(key["vault_key"].as_str().unwrap()).unwrap();
    assert_eq!(caller.conversation().unwrap().as_str(), wanted()["conversation_id"].as_str().unwrap());
    assert_eq!((caller.agent().as_str(), caller.realm().tenant.as_str()), ("vault-key", "acme"));
    let budgets: Vec<_> = caller.grant().budgets.iter().map(ToString::to_string).collect();
    assert_eq!(budgets, ["50000 usd day connection=stripe"]);
    assert!(caller.grant().tools.is_empty() && !caller.grant().may_delegate);

    let none =
        with(&[("daily_cap_usd", json!(0)), ("agent", json!("reconciliation")), ("role", json!("reader"))]);
    let key = host.ask("POST", "/admin/vault-keys", &operator, &none.to_string()).await.json();
    let caller = host.door.app.auth.verify(key["vault_key"].as_str().unwrap()).unwrap();
    assert_eq!(caller.grant().budgets[0].to_string(), "0 usd day connection=stripe");
    assert_eq!(caller.role().unwrap().as_str(), "reader");
    let yen =
        with(&[("daily_cap_usd", Value::Null), ("daily_cap", json!({ "amount": 500, "currency": "JPY" }))]);
    let key = host.ask("POST", "/admin/vault-keys", &operator, &yen.to_string()).await.json();
    assert_eq!(key["daily_cap"], json!({ "amount": 500, "currency": "jpy" }));
    let row = &host.get("/v1/audit", &operator).await.json()["rows"][0];
    assert_eq!((&row["action"], &row["subject"]), (&json!("token.mint"), &key["id"]));
    let given = &row["token"];
    assert_eq!((&given["agent"], &given["conversation"]), (&json!("vault-key"), &yen["conversation_id"]));
    assert_eq!(given["expires_at"], key["expires_at"]);
    let cap = json!([{ "limit": 500, "unit": "jpy", "window": "day", "connection": "stripe" }]);
    assert_eq!((&given["grant"]["operations"], &given["grant"]["budgets"]), (&key["operations"], &cap));
}

#[tokio::test]
async fn what_can_not_be_a_key_is_explained() {
    let host = host(&[("stripe.toml", STRIPE), ("other.toml", STRIPE)]);
    let (_, operator) = host.token(TokenKind::Operator);
    for (changes, hint) in [
        (&[("daily_cap_usd", Value::Null)][..], "what may be spent"),
        (&[("daily_cap", json!({ "amount": 1, "currency": "usd" }))], "not both"),
        (&[("daily_cap_usd", json!(-1))], "two decimals"),
        (&[("daily_cap_usd", json!(0.001))], "two decimals"),
        (&[("daily_cap_usd", json!(1e30))], "two decimals"),
        (&[("daily_cap_usd", json!("500"))], "two decimals"),
        (&[("daily_cap_usd", json!(false))], "two decimals"),
        (&[("allowed_endpoints", json!([]))], "allowed_endpoints"),
        (&[("allowed_endpoints", Value::Null)], "allowed_endpoints"),
        (&[("allowed_endpoints", json!(["POST /v1/refunds"]))], "none of the operations"),
        (&[("allowed_endpoints", json!(["*"]))], "is no endpoint"),
        (&[("ttl_seconds", json!(0))], "lifetime"),
        (&[("connection", Value::Null)], "name one in connection"),
        (&[("connection", json!("github"))], "no such connection"),
        (&[("tenant", json!("rival"))], "unknown field `tenant`"),
        (&[("conversation_id", json!("a b"))], "conversation"),
    ] {
        let mut body = with(&[("connection", json!("stripe"))]);
        for (member, value) in changes {
            if value.is_null() {
                body.as_object_mut().unwrap().remove(*member);
            } else {
                body[member] = value.clone();
            }
        }
        let reply = host.ask("POST", "/admin/vault-keys", &operator, &body.to_string()).await;
        let detail = reply.problem(400, "bad_request");
        assert!(detail.contains(hint), "{body}: {detail}");
    }
    for cap in [
        r#"{"amount": 1.5, "currency": "usd"}"#,
        r#"{"amount": -1, "currency": "usd"}"#,
        r#"{"amount": 1, "currency": "requests"}"#,
        r#"{"amount": 1, "currency": "dollars"}"#,
        r#"{"amount": 18446744073709551615, "currency": "usd"}"#,
    ] {
        let cap: Value = serde_json::from_str(cap).unwrap();
        let body =
            with(&[("connection", json!("stripe")), ("daily_cap_usd", Value::Null), ("daily_cap", cap)]);
        host.ask("POST", "/admin/vault-keys", &operator, &body.to_string()).await.problem(400, "bad_request");
    }
    assert_eq!(host.get("/v1/tokens", &operator).await.json()["tokens"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_key_is_for_the_operator_s_own_tenant() {
    let walled = format!("tenants = [\"acme\"]\n{STRIPE}");
    let host = host(&[("stripe.toml", &walled)]);
    let (_, rival) = host.token_in("rival", TokenKind::Operator);
    let named = with(&[("connection", json!("stripe"))]).to_string();
    let foreign = host.ask("POST", "/admin/vault-keys", &rival, &named).await;
    foreign.problem(400, "bad_request");
    let absent = with(&[("connection", json!("nothing"))]).to_string();
    assert_eq!(foreign, host.ask("POST", "/admin/vault-keys", &rival, &absent).await);
    let detail = host.ask("POST", "/admin/vault-keys", &rival, &wanted().to_string()).await;
    assert!(detail.problem(400, "bad_request").contains("no connection"));
}
