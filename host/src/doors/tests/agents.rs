//! Registering agents, and minting for them, with the operator's token where a platform's key would stand.

use axum::body::Body;
use http::Request;
use serde_json::{Value, json};

use super::host::{Host, Reply};
use crate::store::TokenKind;

impl Host {
    /// As another platform's clients ask: the operator's token in `X-Api-Key`.
    pub(super) async fn ask_with_key(&self, method: &str, path: &str, key: &str, body: &Value) -> Reply {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = Request::builder().method(method).uri(path).header("X-Api-Key", key);
        self.send(request.body(Body::from(body)).unwrap()).await
    }
}

fn planner() -> Value {
    json!({
        "name": "Planner Agent", "description": "Plans workflow and delegates tasks",
        "metadata": { "framework": "autogen", "role": "planner", "system_prompt": "You are a task planner" },
    })
}

#[tokio::test]
async fn an_agent_is_registered_gets_tokens_and_is_removed_with_them() {
    let host = Host::start();
    let (_, key) = host.token(TokenKind::Operator);
    let reply = host.ask_with_key("POST", "/v1/agents", &key, &planner()).await;
    assert_eq!(reply.status, 201, "{}", reply.body);
    let agent = reply.json();
    let id = agent["id"].as_str().unwrap();
    assert!(id.starts_with("agent_") && id.len() == 30, "{id}");
    assert_eq!((&agent["role"], &agent["metadata"]), (&json!("planner"), &planner()["metadata"]));
    assert_eq!(
        host.ask_with_key("GET", "/v1/agents", &key, &Value::Null).await.json()["agents"],
        json!([agent])
    );

    let wanted = json!({ "agentId": id, "expiresIn": 3600 });
    let minted = host.ask_with_key("POST", "/v1/tokens", &key, &wanted).await;
    assert_eq!(minted.status, 201, "{}", minted.body);
    let minted = minted.json();
    assert_eq!((&minted["agent"], &minted["role"]), (&json!(id), &json!("planner")));
    assert_eq!(minted["expires_at"], host.now().0 + 3_600_000);
    let token = minted["token"].as_str().unwrap();
    assert_eq!(host.get("/v1/tools", token).await.status, 200);

    let path = format!("/v1/agents/{id}");
    assert_eq!(host.ask_with_key("DELETE", &path, &key, &Value::Null).await.status, 204);
    host.get("/v1/tools", token).await.problem(401, "unauthorized");
    host.ask_with_key("DELETE", &path, &key, &Value::Null).await.problem(404, "not_found");
    host.ask_with_key("POST", "/v1/tokens", &key, &wanted).await.problem(404, "not_found");
    let trail = host.get("/v1/audit", &key).await.json();
    let actions: Vec<_> = trail["rows"].as_array().unwrap().iter().map(|row| row["action"].clone()).collect();
    assert_eq!(json!(actions), json!(["agent.remove", "token.revoke", "token.mint", "agent.register"]));
    let given = &trail["rows"][2]["token"];
    assert_eq!((&given["agent"], &given["role"]), (&json!(id), &json!("planner")));
    assert_eq!((&given["expires_at"], &given["minted_by"]), (&minted["expires_at"], &json!("someone")));
    assert_eq!(given["grant"], json!({ "tools": [], "operations": [] }));
}

#[tokio::test]
async fn another_tenant_s_agents_do_not_exist() {
    let host = Host::start();
    let (_, key) = host.token(TokenKind::Operator);
    let (_, rival) = host.token_in("rival", TokenKind::Operator);
    let agent = host.ask_with_key("POST", "/v1/agents", &key, &planner()).await.json();
    let id = agent["id"].as_str().unwrap();
    let absent = "agent_000000000000000000000000";
    let remove = |id: &str| format!("/v1/agents/{id}");
    let foreign = host.ask_with_key("DELETE", &remove(id), &rival, &Value::Null).await;
    foreign.problem(404, "not_found");
    assert_eq!(foreign, host.ask_with_key("DELETE", &remove(absent), &rival, &Value::Null).await);
    let mint = |id: &str| json!({ "agentId": id, "expiresIn": 60 });
    let foreign = host.ask_with_key("POST", "/v1/tokens", &rival, &mint(id)).await;
    foreign.problem(404, "not_found");
    assert_eq!(foreign, host.ask_with_key("POST", "/v1/tokens", &rival, &mint(absent)).await);
    assert_eq!(
        host.ask_with_key("GET", "/v1/agents", &rival, &Value::Null).await.json(),
        json!({ "agents": [] })
    );
    assert_eq!(
        host.ask_with_key("GET", "/v1/agents", &key, &Value::Null).await.json()["agents"],
        json!([agent])
    );
}

#[tokio::test]
async fn what_can_not_be_registered_or_minted_is_explained() {
    let host = Host::start();
    let (_, key) = host.token(TokenKind::Operator);
    for (body, hint) in [
        (json!({}), "name"),
        (json!({ "name": "" }), "one line"),
        (json!({ "name": "a\nb" }), "one line"),
        (json!({ "name": "\u{202e}" }), "one line"),
        (json!({ "name": "a", "description": "\u{1b}[2J" }), "printable"),
        (json!({ "name": "a", "metadata": [] }), "expected a map"),
        (json!({ "name": "a", "id": "agent_x" }), "unknown field `id`"),
        (json!({ "name": "a", "tenant": "rival" }), "unknown field `tenant`"),
    ] {
        let reply = host.ask_with_key("POST", "/v1/agents", &key, &body).await;
        let detail = reply.problem(400, "bad_request");
        assert!(detail.contains(hint), "{body}: {detail}");
    }
    let agent = host.ask_with_key("POST", "/v1/agents", &key, &planner()).await.json();
    for (body, hint) in [
        (json!({ "agentId": agent["id"], "agent": "a", "expiresIn": 60 }), "not both"),
        (json!({ "expiresIn": 60 }), "agentId"),
        (json!({ "agentId": agent["id"], "role": "admin", "expiresIn": 60 }), "role"),
        (json!({ "agentId": agent["id"], "expiresIn": 60, "expires_in_seconds": 60 }), "duplicate field"),
        (json!({ "agentId": agent["id"], "expiresIn": 0 }), "lifetime"),
    ] {
        let detail = host.ask_with_key("POST", "/v1/tokens", &key, &body).await.problem(400, "bad_request");
        assert!(detail.contains(hint), "{body}: {detail}");
    }
    // A role that is no role's name opens nothing.
    let odd = json!({ "name": "a", "metadata": { "role": "Planner\" || true" } });
    assert_eq!(host.ask_with_key("POST", "/v1/agents", &key, &odd).await.json()["role"], Value::Null);
}

#[tokio::test]
async fn a_key_stands_for_the_operator_alone_and_two_that_differ_are_none() {
    let host = Host::start();
    let (_, operator) = host.token(TokenKind::Operator);
    let (_, second) = host.token(TokenKind::Operator);
    let (_, agent) = host.token(TokenKind::Agent);
    let wrong = host.get("/v1/agents", "").await;
    wrong.problem(401, "unauthorized");
    let both = |key: &str, bearer: &str| {
        let request = Request::builder().uri("/v1/agents").header("x-api-key", key);
        request.header("authorization", format!("Bearer {bearer}")).body(Body::empty()).unwrap()
    };
    assert_eq!(host.send(both(&operator, &operator)).await.status, 200);
    for (key, bearer) in [(&operator, &second), (&operator, &agent), (&agent, &operator), (&agent, &agent)] {
        assert_eq!(host.send(both(key, bearer)).await, wrong);
    }
    assert_eq!(host.ask_with_key("GET", "/v1/agents", &agent, &Value::Null).await, wrong);
    // Tools are called with an agent's token, in its own place.
    assert_eq!(host.ask_with_key("GET", "/v1/tools", &operator, &Value::Null).await, wrong);
    assert_eq!(host.ask_with_key("GET", "/v1/tools", &agent, &Value::Null).await, wrong);
}

#[tokio::test]
async fn no_agent_is_registered_that_can_not_be_recorded() {
    let host = Host::start();
    let (_, key) = host.token(TokenKind::Operator);
    host.trail.fill_up();
    host.ask_with_key("POST", "/v1/agents", &key, &planner()).await.problem(503, "audit_unavailable");
    assert_eq!(
        host.ask_with_key("GET", "/v1/agents", &key, &Value::Null).await.json(),
        json!({ "agents": [] })
    );
}
