//! Another platform's quick start, step by step, and what an enforcement point is told.

use serde_json::{Value, json};

use super::approvals::token as token_of;
use super::host::{Host, Reply};
use crate::ids::PolicyId;
use crate::kill::{Order, Scope};
use crate::store::{PolicyRow, TokenKind};

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
            scope: Scope::Role("planner".parse().unwrap()),
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
async fn what_is_posted_or_removed_holds_from_the_answer_on_or_is_an_error() {
    let host = Host::start_governed();
    let (_, key) = host.token(TokenKind::Operator);
    let (_, planner) = host.agent_with_token(&key, "planner").await;
    let allow = host.post_as(&key, "/v1/policies", &planner_policy()).await;
    // What the host itself never takes.
    let control = &host.door.app.control;
    let row = control.policies(None).unwrap().remove(0);
    let broken = PolicyRow { id: PolicyId::fresh(), cedar: "forbid (".to_owned(), ..row };
    control.insert_policy(&broken).unwrap();

    let mut deny = planner_policy();
    deny["effect"] = json!("deny");
    let told = host.ask_with_key("POST", "/v1/policies", &key, &deny).await.problem(500, "internal");
    assert!(told.contains("the policy was not taken"), "{told}");
    let listed = host.ask_with_key("GET", "/v1/policies", &key, &Value::Null).await.json();
    let listed: Vec<_> = listed["policies"].as_array().unwrap().iter().map(|row| &row["effect"]).collect();
    assert_eq!(listed, ["allow", "allow"]);

    let remove = |id: &str| format!("/v1/policies/{id}");
    let path = remove(allow["id"].as_str().unwrap());
    let told = host.ask_with_key("DELETE", &path, &key, &Value::Null).await.problem(500, "internal");
    assert!(told.contains("it holds until"), "{told}");
    assert_eq!(verdict(&host.enforce(&key, &planner, "read", "api://tasks/7").await).0, "allowed");
    let path = remove(broken.id.as_str());
    assert_eq!(host.ask_with_key("DELETE", &path, &key, &Value::Null).await.status, 204);
    assert_eq!(verdict(&host.enforce(&key, &planner, "read", "api://tasks/7").await).0, "denied");
}

#[tokio::test]
async fn people_agree_to_a_question_and_it_is_allowed_once() {
    let host = Host::start_governed();
    let (_, key) = host.token(TokenKind::Operator);
    let (_, rival) = host.token_in("rival", TokenKind::Operator);
    host.post_as(&key, "/v1/policies", &executor_policy()).await;
    let (_, executor) = host.agent_with_token(&key, "executor").await;
    let (_, other) = host.agent_with_token(&key, "executor").await;
    let asked = |change: fn(&mut Value)| {
        let mut body = question(&executor, "execute", "api://tasks/execute/7");
        body["context"] = json!({ "amount": 5, "who": "a" });
        change(&mut body);
        body
    };
    let ask = |body: Value| {
        let (host, key) = (&host, key.clone());
        async move { host.enforce_raw(&key, &body).await.json() }
    };
    let first = ask(asked(|_| ())).await;
    assert_eq!(verdict(&first), ("approval_required", "approval_required"), "{first}");
    let id = first["approvalId"].as_str().unwrap().to_owned();
    // The same question, its members in another order, is the same one; nobody has agreed yet.
    let again = ask(asked(|body| body["context"] = json!({ "who": "a", "amount": 5 }))).await;
    assert_eq!((verdict(&again).0, &again["approvalId"]), ("approval_required", &json!(id)));

    let shown = host.get(&format!("/v1/approvals/{id}"), &key).await.json();
    assert_eq!((&shown["action"], &shown["resource"]), (&json!("execute"), &json!("api://tasks/execute/7")));
    assert_eq!((&shown["connection"], &shown["operation"]), (&Value::Null, &Value::Null));
    let text = shown["text"].as_str().unwrap();
    for line in ["action: \"execute\" on \"api://tasks/execute/7\"", "agent's own code", "context.amount: 5"]
    {
        assert!(text.contains(line), "{text}");
    }
    let approve = format!("/v1/approvals/{id}/approve");
    host.ask("POST", &approve, &rival, "").await.problem(404, "not_found");
    // Who minted the agent's token doesn't count here; nor does another tenant's operator.
    host.ask("POST", &approve, &key, "").await.problem(403, "denied");
    let (_, alice) = token_of(&host, "acme", "alice", TokenKind::Operator);
    assert_eq!(host.ask("POST", &approve, &alice, "").await.json()["state"], "granted");

    // Nothing but this very question is allowed by it.
    let changes: [fn(&mut Value); 4] = [
        |body| body["resourceId"] = json!("api://tasks/execute/8"),
        |body| body["action"] = json!("update"),
        |body| body["context"]["amount"] = json!(6),
        |body| body["context"]["conversation"] = json!("c-1"),
    ];
    for change in changes {
        let mut body = asked(change);
        body["approvalId"] = json!(id);
        let answer = ask(body).await;
        assert_eq!(
            (verdict(&answer).0, &answer["approvalId"]),
            ("approval_required", &Value::Null),
            "{answer}"
        );
    }
    let mut body = question(&other, "execute", "api://tasks/execute/7");
    body["context"] = json!({ "amount": 5, "who": "a" });
    body["approvalId"] = json!(id);
    assert_eq!(verdict(&ask(body).await).0, "approval_required", "another agent's");

    let allowed = ask(asked(|_| ())).await;
    assert_eq!((verdict(&allowed), &allowed["approvalId"]), (("allowed", ""), &Value::Null), "{allowed}");
    let mut used = asked(|_| ());
    used["approvalId"] = json!(id);
    let used = ask(used).await;
    assert_eq!(verdict(&used).0, "approval_required");
    assert!(used["message"].as_str().unwrap().contains("was used before"), "{used}");
    let anew = ask(asked(|_| ())).await;
    assert_ne!(anew["approvalId"], json!(id));

    let trail = host.get("/v1/audit?limit=100", &key).await.json();
    let rows = trail["rows"].as_array().unwrap();
    let decided = rows.iter().find(|row| row["id"] == allowed["decisionId"]).unwrap();
    assert_eq!((&decided["decision"], &decided["approval"]), (&json!("allowed"), &json!(id)));
    let steps: Vec<_> =
        rows.iter().filter(|row| row["id"] == json!(id)).map(|row| row["step"].as_str()).collect();
    assert_eq!(steps, [Some("claimed"), Some("approved"), Some("asked")]);
}

#[tokio::test]
async fn what_people_refuse_or_the_rules_take_back_stays_a_no() {
    let host = Host::start_governed();
    let (_, key) = host.token(TokenKind::Operator);
    let (_, alice) = token_of(&host, "acme", "alice", TokenKind::Operator);
    host.post_as(&key, "/v1/policies", &executor_policy()).await;
    let (_, executor) = host.agent_with_token(&key, "executor").await;
    let asked = |task: &str| {
        let (host, key, body) =
            (&host, key.clone(), question(&executor, "execute", &format!("api://tasks/execute/{task}")));
        async move { host.enforce_raw(&key, &body).await.json() }
    };
    let decide = |answer: &Value, word: &str| {
        let path = format!("/v1/approvals/{}/{word}", answer["approvalId"].as_str().unwrap());
        let (host, alice) = (&host, alice.clone());
        async move { assert_eq!(host.ask("POST", &path, &alice, "").await.status, 200) }
    };
    decide(&asked("1").await, "deny").await;
    assert_eq!(verdict(&asked("1").await), ("denied", "denied"));

    // A no that comes after the yes holds, and the yes isn't used up by it.
    decide(&asked("2").await, "approve").await;
    let mut deny = executor_policy();
    (deny["effect"], deny["constraints"]) = (json!("deny"), Value::Null);
    let deny = host.post_as(&key, "/v1/policies", &deny).await;
    assert_eq!(verdict(&asked("2").await), ("denied", "denied"));
    let path = format!("/v1/policies/{}", deny["id"].as_str().unwrap());
    assert_eq!(host.ask_with_key("DELETE", &path, &key, &Value::Null).await.status, 204);
    assert_eq!(verdict(&asked("2").await).0, "allowed");

    decide(&asked("3").await, "approve").await;
    decide(&asked("4").await, "approve").await;
    host.clock.advance(std::time::Duration::from_secs(900));
    let (_, key) = host.token(TokenKind::Operator);
    let late = host.enforce(&key, &executor, "execute", "api://tasks/execute/3").await;
    assert_eq!(verdict(&late).0, "approval_required", "its time is over");
    host.trail.fill_up();
    let body = question(&executor, "execute", "api://tasks/execute/4");
    host.enforce_raw(&key, &body).await.problem(503, "audit_unavailable");
}

#[tokio::test]
async fn what_shadow_policies_decide_otherwise_is_on_record() {
    let host = Host::start_shadowed();
    let (_, key) = host.token(TokenKind::Operator);
    let (planner_id, planner) = host.agent_with_token(&key, "planner").await;
    host.post_as(&key, "/v1/policies", &planner_policy()).await;
    assert_eq!(verdict(&host.enforce(&key, &planner, "read", "api://tasks/7").await).0, "allowed");
    assert_eq!(verdict(&host.enforce(&key, &planner, "drop", "api://tasks/7").await).0, "denied");
    host.door.app.record_shadow();
    host.door.app.record_shadow();
    // Nobody waits for those rows: they're there once a later one is that somebody waits for.
    host.enforce(&key, &planner, "drop", "api://tasks/7").await;
    let trail = host.get("/v1/audit", &key).await.json();
    let differed: Vec<_> =
        trail["rows"].as_array().unwrap().iter().filter(|row| row["event"] == "shadow_differed").collect();
    assert_eq!(differed.len(), 1, "once, and only what differs: {trail:#}");
    let row = differed[0];
    assert_eq!((&row["who"], &row["subject"]), (&json!(planner_id), &json!("the action \"read\"")));
    assert_eq!((&row["live"], &row["candidate"]), (&json!("allowed"), &json!("denied")));
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
