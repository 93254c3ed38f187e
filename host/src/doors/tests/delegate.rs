//! Handing on a part of what a token may do, over HTTP.

use serde_json::{Value, json};

use super::host::Host;
use crate::store::TokenKind;

/// A token that may delegate and call two tools, and its id.
async fn parent(host: &Host, operator: &str) -> (String, String) {
    let body = json!({
        "agent": "planner", "role": "planner", "task": "plan the quarter", "tools": ["a", "b"], "may_delegate": true,
        "budgets": [{ "limit": 500, "unit": "usd", "window": "day" }], "expires_in_seconds": 60,
    });
    text_and_id(&host.ask("POST", "/v1/tokens", operator, &body.to_string()).await.json())
}

fn text_and_id(minted: &Value) -> (String, String) {
    (minted["token"].as_str().unwrap().to_owned(), minted["id"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn who_gave_what_to_whom_is_on_record() {
    let host = Host::start();
    let (_, operator) = host.token(TokenKind::Operator);
    let (parent, parent_id) = parent(&host, &operator).await;
    let body = json!({ "agent": "executor", "tools": ["a"] }).to_string();
    let reply = host.ask("POST", "/v1/tokens/delegate", &parent, &body).await;
    assert_eq!(reply.status, 201, "{}", reply.body);
    assert_eq!(reply.headers["cache-control"], "no-store");
    let child = reply.json();
    assert_eq!(child["parent"], parent_id.as_str());
    assert_eq!((&child["agent"], &child["role"]), (&json!("executor"), &json!("planner")));
    assert_eq!((&child["tools"], &child["task"]), (&json!(["a"]), &json!("plan the quarter")));
    let (text, id) = text_and_id(&child);
    assert_eq!(host.get("/v1/tools", &text).await.status, 200);
    let row = &host.get("/v1/audit", &operator).await.json()["rows"][0];
    assert_eq!((&row["action"], &row["subject"]), (&json!("token.delegate"), &json!(id)));
    assert_eq!(row["by"], parent_id.as_str());

    assert_eq!(host.ask("DELETE", &format!("/v1/tokens/{parent_id}"), &operator, "").await.status, 204);
    host.get("/v1/tools", &text).await.problem(401, "unauthorized");
}

#[tokio::test]
async fn what_can_not_be_delegated_is_explained() {
    let host = Host::start();
    let (_, operator) = host.token(TokenKind::Operator);
    let (_, plain) = host.token(TokenKind::Agent);
    let (parent, _) = parent(&host, &operator).await;
    let refused = host.ask("POST", "/v1/tokens/delegate", &plain, "{}").await.problem(403, "denied");
    assert!(refused.contains("may not be delegated from"), "{refused}");
    host.ask("POST", "/v1/tokens/delegate", &operator, "{}").await.problem(403, "denied");
    for (body, hint) in [
        (r#"{"tools": ["*"]}"#, "the tools are too wide"),
        (r#"{"operations": ["stripe:*"]}"#, "the operations are too wide"),
        (r#"{"expires_in_seconds": 61}"#, "the lifetime is too wide"),
        (r#"{"budgets": [{"limit": 501, "unit": "usd", "window": "day"}]}"#, "at most 500"),
        (r#"{"budgets": [{"limit": 1, "unit": "usd", "window": "day", "time_zone": "Mars"}]}"#, "time zone"),
        (r#"{"environment": "production"}"#, "unknown field `environment`"),
        (r#"{"parent": "tok_000000000000000000000000"}"#, "unknown field `parent`"),
        (r#"{"agent": "a", "agent": "b"}"#, "duplicate field"),
        ("", "EOF"),
    ] {
        let detail = host.ask("POST", "/v1/tokens/delegate", &parent, body).await.problem(400, "bad_request");
        assert!(detail.contains(hint), "{body}: {detail}");
    }
}

#[tokio::test]
async fn nothing_is_delegated_that_can_not_be_recorded() {
    let host = Host::start();
    let (_, operator) = host.token(TokenKind::Operator);
    let (parent, _) = parent(&host, &operator).await;
    host.trail.fill_up();
    host.ask("POST", "/v1/tokens/delegate", &parent, "{}").await.problem(503, "audit_unavailable");
    let tokens = host.get("/v1/tokens", &operator).await.json();
    let child = tokens["tokens"].as_array().unwrap().iter().find(|token| token["parent"].is_string());
    assert!(child.is_none_or(|token| token["revoked_at"].is_i64()), "{child:?}");
}
