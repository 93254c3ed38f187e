//! Handing on a part of what a token may do, over HTTP.

use serde_json::{Value, json};

use super::host::Host;
use crate::runtime::test_guest::OK;
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
    host.add_tool("a", OK);
    let (operator_id, operator) = host.token(TokenKind::Operator);
    let (parent, parent_id) = parent(&host, &operator).await;
    let body = json!({ "agent": "executor", "tools": ["a"], "conversation": "march" }).to_string();
    let reply = host.ask("POST", "/v1/tokens/delegate", &parent, &body).await;
    assert_eq!(reply.status, 201, "{}", reply.body);
    assert_eq!(reply.headers["cache-control"], "no-store");
    let child = reply.json();
    assert_eq!(child["parent"], parent_id.as_str());
    assert_eq!((&child["agent"], &child["role"]), (&json!("executor"), &json!("planner")));
    assert_eq!((&child["tools"], &child["task"]), (&json!(["a"]), &json!("plan the quarter")));
    let (text, id) = text_and_id(&child);
    assert_eq!(host.get("/v1/tools", &text).await.status, 200);
    let trail = host.get("/v1/audit", &operator).await;
    assert!(!trail.body.contains(&text) && !trail.body.contains(&parent), "the tokens aren't in it");
    let trail = trail.json();
    let [delegated, minted] = [&trail["rows"][0], &trail["rows"][1]];
    assert_eq!((&delegated["action"], &delegated["subject"]), (&json!("token.delegate"), &json!(id)));
    assert_eq!(delegated["by"], parent_id.as_str());
    let expires = host.now().0 + 60_000;
    let given = json!({
        "kind": "agent", "every_environment": false, "agent": "executor", "role": "planner", "task": "plan the quarter",
        "conversation": "march", "user": null, "minted_by": null, "expires_at": expires,
        "grant": { "tools": ["a"], "operations": [] }, "left_out": 0,
    });
    assert_eq!(delegated["token"], given);
    assert_eq!((&minted["action"], &minted["subject"]), (&json!("token.mint"), &json!(parent_id)));
    assert_eq!(minted["by"], operator_id.as_str());
    let given = json!({
        "kind": "agent", "every_environment": false, "agent": "planner", "role": "planner", "task": "plan the quarter",
        "conversation": null, "user": null, "minted_by": "someone", "expires_at": expires, "left_out": 0,
        "grant": {
            "tools": ["a", "b"], "operations": [], "may_delegate": true,
            "budgets": [{ "limit": 500, "unit": "usd", "window": "day" }],
        },
    });
    assert_eq!(minted["token"], given);

    assert_eq!(host.ask("POST", "/v1/tools/a", &text, "{}").await.status, 200);
    let rows = host.get("/v1/audit", &operator).await.json()["rows"].clone();
    let begun = rows.as_array().unwrap().iter().find(|row| row["event"] == "call_begun").unwrap();
    assert_eq!((&begun["token"], &begun["task"]), (&json!(id), &json!("plan the quarter")));

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
