//! Another platform's quick start, step by step, and what an enforcement point is told.

use serde_json::{Value, json};

use super::host::{Host, Reply};
use crate::kill::{Order, Target};
use crate::store::TokenKind;

/// What the platform's clients send, but for ids.
fn planner_policy() -> Value {
    json!({
        "name": "Planner Capabilities",
        "actions": ["read", "list", "plan"],
        "resources": ["api://tasks/*", "api://workflows/*"],
        "effect": "allow",
    })
}

fn executor_policy() -> Value {
    json!({
        "name": "Executor Capabilities",
        "actions": ["execute", "update"],
        "resources": ["api://tasks/execute/*"],
        "effect": "allow",
        "constraints": { "requiresApproval": true, "maxConcurrentTasks": 5 },
    })
}

impl Host {
    async fn post_as(&self, key: &str, path: &str, body: &Value) -> Value {
        let reply = self.ask_with_key("POST", path, key, body).await;
        assert_eq!(reply.status, 201, "{}", reply.body);
        reply.json()
    }

    /// An agent of this role, and a token for it.
    async fn agent_with_token(&self, key: &str, role: &str) -> (String, String) {
        let body =
            json!({ "name": format!("{role} Agent"), "metadata": { "framework": "autogen", "role": role } });
        let agent = self.post_as(key, "/v1/agents", &body).await;
        let body = json!({ "agentId": agent["id"], "expiresIn": 3600 });
        let token = self.post_as(key, "/v1/tokens", &body).await;
        (agent["id"].as_str().unwrap().to_owned(), token["token"].as_str().unwrap().to_owned())
    }

    async fn enforce(&self, key: &str, token: &str, action: &str, resource: &str) -> Value {
        let reply = self.enforce_raw(key, &question(token, action, resource)).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.json()
    }

    async fn enforce_raw(&self, key: &str, body: &Value) -> Reply {
        self.ask_with_key("POST", "/v1/enforce", key, body).await
    }
}

fn question(token: &str, action: &str, resource: &str) -> Value {
    json!({
        "requestId": "0f8fad5b-d9cb-469f-a165-70867728950e",
        "capabilityToken": token,
        "action": action,
        "resourceId": resource,
        "tenantId": "default-tenant",
        "context": {},
    })
}

fn verdict(answer: &Value) -> (&str, &str) {
    (answer["decision"].as_str().unwrap(), answer["reason"].as_str().unwrap_or(""))
}

#[tokio::test]
async fn the_quick_start_of_another_platform_runs_as_it_stands() {
    let host = Host::start_governed();
    let (operator, key) = host.token(TokenKind::Operator);
    let (planner_id, planner) = host.agent_with_token(&key, "planner").await;
    let (_, executor) = host.agent_with_token(&key, "executor").await;
    let denied = host.enforce(&key, &planner, "plan", "api://workflows/plan").await;
    assert_eq!(verdict(&denied), ("denied", "denied"), "nothing is allowed before a policy says so");

    let policy = host.post_as(&key, "/v1/policies", &planner_policy()).await;
    assert!(policy["id"].as_str().unwrap().starts_with("pol_"));
    let second = host.post_as(&key, "/v1/policies", &executor_policy()).await;
    assert_eq!(second["not_enforced"], json!(["constraints.maxConcurrentTasks"]));

    let answer = host.enforce(&key, &planner, "plan", "api://workflows/plan").await;
    assert_eq!(verdict(&answer), ("allowed", ""), "{answer}");
    assert_eq!(answer["requestId"], "0f8fad5b-d9cb-469f-a165-70867728950e");
    for (token, action, resource, wanted) in [
        (&planner, "read", "api://tasks/7", "allowed"),
        (&planner, "delete", "api://tasks/7", "denied"),
        (&planner, "plan", "api://secrets/7", "denied"),
        (&planner, "plan", "api://workflows", "denied"),
        (&executor, "execute", "api://tasks/execute/7", "approval_required"),
        (&executor, "execute", "api://tasks/7", "denied"),
    ] {
        let answer = host.enforce(&key, token, action, resource).await;
        assert_eq!(verdict(&answer).0, wanted, "{action} {resource}: {answer}");
        let rules = ["Capabilities", "pol_", "permit", "forbid"];
        assert!(
            rules.iter().all(|rule| !answer.to_string().contains(rule)),
            "rules can't be probed: {answer}"
        );
    }

    let trail = host.get("/v1/audit", &key).await.json();
    let row = trail["rows"].as_array().unwrap().iter().find(|row| row["id"] == answer["decisionId"]).unwrap();
    assert_eq!((&row["event"], &row["decision"]), (&json!("decided"), &json!("allowed")));
    assert_eq!((&row["agent"], &row["by"]), (&json!(planner_id), &json!(operator)));
    assert_eq!((&row["action"], &row["resource"]), (&json!("plan"), &json!("api://workflows/plan")));

    let path = format!("/v1/policies/{}", policy["id"].as_str().unwrap());
    assert_eq!(host.ask_with_key("DELETE", &path, &key, &Value::Null).await.status, 204);
    assert_eq!(verdict(&host.enforce(&key, &planner, "read", "api://tasks/7").await).0, "denied");
    let left = host.ask_with_key("GET", "/v1/policies", &key, &Value::Null).await.json();
    assert_eq!(left["policies"], json!([second]));
}

#[tokio::test]
async fn a_policy_binds_to_whom_it_names_and_a_deny_holds_whatever_allows() {
    let host = Host::start_governed();
    let (_, key) = host.token(TokenKind::Operator);
    let (_, planner) = host.agent_with_token(&key, "planner").await;
    let (executor_id, executor) = host.agent_with_token(&key, "executor").await;
    let with = |member: &str, value: Value| {
        let mut policy = planner_policy();
        policy[member] = value;
        policy
    };
    host.post_as(&key, "/v1/policies", &with("role", json!("planner"))).await;
    let asked = |token: String| {
        let (host, key) = (&host, &key);
        async move { verdict(&host.enforce(key, &token, "read", "api://tasks/7").await).0.to_owned() }
    };
    assert_eq!(
        (asked(planner.clone()).await.as_str(), asked(executor.clone()).await.as_str()),
        ("allowed", "denied")
    );
    host.post_as(&key, "/v1/policies", &with("agents", json!([executor_id]))).await;
    assert_eq!(asked(executor.clone()).await, "allowed");
    // Another policy's permit doesn't make the approval unnecessary.
    host.post_as(&key, "/v1/policies", &with("constraints", json!({ "requiresApproval": true }))).await;
    assert_eq!(asked(planner.clone()).await, "approval_required");
    host.post_as(&key, "/v1/policies", &with("effect", json!("deny"))).await;
    assert_eq!((asked(planner).await.as_str(), asked(executor).await.as_str()), ("denied", "denied"));
}

#[tokio::test]
async fn a_delegated_token_is_asked_for_as_whoever_delegated_it_too() {
    let host = Host::start_governed();
    let (_, key) = host.token(TokenKind::Operator);
    let mut policy = planner_policy();
    policy["role"] = json!("admin");
    host.post_as(&key, "/v1/policies", &policy).await;
    let mint =
        |role: &str| json!({ "agent": "a", "role": role, "may_delegate": true, "expires_in_seconds": 60 });
    for (role, wanted) in [("admin", "allowed"), ("reader", "denied")] {
        let parent = host.post_as(&key, "/v1/tokens", &mint(role)).await;
        let child = json!({ "agent": "b", "role": "admin" }).to_string();
        let child =
            host.ask("POST", "/v1/tokens/delegate", parent["token"].as_str().unwrap(), &child).await.json();
        let answer = host.enforce(&key, child["token"].as_str().unwrap(), "read", "api://tasks/7").await;
        assert_eq!(verdict(&answer).0, wanted, "a {role} made an admin of its child: {answer}");
    }
}

#[tokio::test]
async fn tokens_that_will_not_do_are_all_answered_the_same() {
    let host = Host::start_governed();
    let (_, key) = host.token(TokenKind::Operator);
    let (_, rival) = host.token_in("rival", TokenKind::Operator);
    host.post_as(&key, "/v1/policies", &planner_policy()).await;
    host.post_as(&rival, "/v1/policies", &planner_policy()).await;
    let (_, foreign) = host.agent_with_token(&rival, "planner").await;
    let (revoked_id, revoked) = host.token(TokenKind::Agent);
    host.door.app.auth.revoke(&revoked_id, None).unwrap();
    let unknown = format!("kbt_{}", "A".repeat(43));
    let mut first: Option<Value> = None;
    for token in ["", "x", &unknown, &foreign, &revoked, &key, &rival] {
        let mut answer = host.enforce(&key, token, "read", "api://tasks/7").await;
        assert_eq!(verdict(&answer), ("denied", "unauthorized"), "{answer}");
        answer["decisionId"] = Value::Null;
        assert_eq!(&answer, first.get_or_insert_with(|| answer.clone()));
    }
    assert!(!host.get("/v1/audit", &key).await.body.contains("rival"));
    assert_eq!(verdict(&host.enforce(&rival, &foreign, "read", "api://tasks/7").await).0, "allowed");
}

#[tokio::test]
async fn what_is_wrong_with_a_question_is_a_no() {
    let host = Host::start_governed();
    let (_, key) = host.token(TokenKind::Operator);
    host.post_as(&key, "/v1/policies", &planner_policy()).await;
    let (_, planner) = host.agent_with_token(&key, "planner").await;
    for resource in [
        "api://tasks/../secrets/1",
        "api://tasks/%2e%2e/secrets",
        "api://tasks//1",
        "api://tasks/1 or 2",
        "api://tasks/\u{202e}1",
        "api:tasks/1",
        "file:///etc/passwd",
        "tasks/1",
        "",
    ] {
        let answer = host.enforce(&key, &planner, "read", resource).await;
        assert_eq!(verdict(&answer).0, "denied", "{resource}: {answer}");
    }
    for (tenant, wanted) in [(json!("acme"), "allowed"), (json!(null), "allowed"), (json!("rival"), "denied")]
    {
        let mut body = question(&planner, "read", "api://tasks/7");
        body["tenantId"] = tenant;
        let answer = host.enforce_raw(&key, &body).await.json();
        assert_eq!(verdict(&answer).0, wanted, "{answer}");
    }
    for (member, value) in [("requestId", json!("")), ("requestId", json!("a\nb")), ("extra", json!(1))] {
        let mut body = question(&planner, "read", "api://tasks/7");
        body[member] = value;
        host.enforce_raw(&key, &body).await.problem(400, "bad_request");
    }
    host.enforce_raw("", &question(&planner, "read", "api://tasks/7")).await.problem(401, "unauthorized");

    host.door
        .app
        .kills
        .throw(Order {
            target: Target::Role("planner".parse().unwrap()),
            tenant: Some("acme".parse().unwrap()),
            environment: None,
            reason: "a loop".parse().unwrap(),
            by: "cli".to_owned(),
        })
        .unwrap();
    let answer = host.enforce(&key, &planner, "read", "api://tasks/7").await;
    assert_eq!(verdict(&answer), ("denied", "killed"), "{answer}");
    host.trail.fill_up();
    let unrecorded = host.enforce_raw(&key, &question(&planner, "read", "api://tasks/7")).await;
    unrecorded.problem(503, "audit_unavailable");
}

#[tokio::test]
async fn policies_are_their_tenant_s_and_hostile_ones_stay_inside_their_quotes() {
    let host = Host::start_governed();
    let (_, key) = host.token(TokenKind::Operator);
    let (_, rival) = host.token_in("rival", TokenKind::Operator);
    let policy = host.post_as(&key, "/v1/policies", &planner_policy()).await;
    let (_, foreign) = host.agent_with_token(&rival, "planner").await;
    assert_eq!(verdict(&host.enforce(&rival, &foreign, "read", "api://tasks/7").await).0, "denied");
    let remove = |id: &str| format!("/v1/policies/{id}");
    let id = policy["id"].as_str().unwrap();
    let there = host.ask_with_key("DELETE", &remove(id), &rival, &Value::Null).await;
    there.problem(404, "not_found");
    let absent = remove("pol_000000000000000000000000");
    assert_eq!(there, host.ask_with_key("DELETE", &absent, &rival, &Value::Null).await);
    let theirs = host.ask_with_key("GET", "/v1/policies", &rival, &Value::Null).await.json();
    assert_eq!(theirs, json!({ "policies": [] }));

    let hostile = json!({
        "name": "a\"); permit (principal, action, resource); //",
        "actions": ["x\"].contains(context.action) || true }; permit (principal, action, resource); //"],
        "resources": ["api://never/1"],
        "effect": "allow",
    });
    host.post_as(&rival, "/v1/policies", &hostile).await;
    assert_eq!(verdict(&host.enforce(&rival, &foreign, "read", "api://tasks/7").await).0, "denied");
    for (member, value) in [
        ("resources", json!(["api://tasks/\" || true || resource.url like \"*"])),
        ("resources", json!(["*"])),
        ("actions", json!(["*"])),
        ("actions", json!([])),
        ("name", json!("a\nb")),
        ("effect", json!("permit")),
        ("role", json!("Planner\" || true")),
        ("tenant", json!("acme")),
    ] {
        let mut policy = planner_policy();
        policy[member] = value;
        host.ask_with_key("POST", "/v1/policies", &rival, &policy).await.problem(400, "bad_request");
    }
}

#[tokio::test]
async fn a_question_that_can_be_read_in_two_ways_is_refused() {
    let host = Host::start_governed();
    let (_, key) = host.token(TokenKind::Operator);
    for context in [
        r#"{"body":{"amount":5,"amount":60000}}"#,
        r#"{"body":{"amount":5},"body":{"amount":60000}}"#,
        r#"{"body":{"amount":18446744073709551616}}"#,
    ] {
        let body = format!(
            r#"{{"requestId":"1","capabilityToken":"t","action":"charge","resourceId":"connection://x","context":{context}}}"#
        );
        let request = http::Request::post("/v1/enforce").header("x-api-key", &key);
        let reply = host.send(request.body(body.into()).unwrap()).await;
        reply.problem(400, "bad_request");
    }
}
