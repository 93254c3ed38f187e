//! Calls of tools that a person agrees to first.

use axum::body::Body;
use http::Request;
use serde_json::json;

use super::approvals::{id_in, token};
use super::host::{Host, NoWire, Reply};
use crate::auth::Grant;
use crate::ids::ApprovalId;
use crate::runtime::test_guest::{OK, TestGuest};
use crate::store::TokenKind;

/// Commands may be run once somebody has agreed.
const AGREE_FIRST: &str = "@id(\"grants\") permit (principal, action in [Action::\"send\", Action::\"call\"], resource);\n\
    @id(\"agree-first\") forbid (principal, action in Action::\"call\", resource == Tool::\"run_command\")\n\
    unless { context.approval.granted };";

const INPUT: &str = r#"{"type":"object","properties":{"command":{"type":"string"},"times":{"type":"integer"}},"required":["command"],"additionalProperties":false}"#;

struct Stage {
    host: Host,
    token: String,
}

impl Stage {
    fn new() -> Self {
        let host = Host::start_ruled(&[], std::sync::Arc::new(NoWire), AGREE_FIRST);
        let stage = Self { token: token(&host, "acme", "bot", TokenKind::Agent).1, host };
        stage.add("run_command", 4);
        stage
    }

    fn add(&self, name: &'static str, pages: u32) {
        let guest =
            TestGuest { tools: vec![(name, vec![])], call: OK, input: INPUT, pages, ..TestGuest::default() };
        let catalog = &self.host.door.app.catalog;
        catalog.add(name, &guest.build(), &[], self.host.now()).unwrap();
        self.host.door.app.refresh_policy();
    }

    async fn call(&self, token: &str, given: Option<&ApprovalId>, arguments: &str) -> Reply {
        let request =
            Request::post("/v1/tools/run_command").header("authorization", format!("Bearer {token}"));
        let request = match given {
            Some(id) => request.header("keybearer-approval", id.as_str()),
            None => request,
        };
        self.host.send(request.body(Body::from(arguments.to_owned())).unwrap()).await
    }

    async fn asked(&self, arguments: &str) -> ApprovalId {
        id_in(&self.call(&self.token, None, arguments).await.problem(403, "approval_required"))
    }

    async fn approve(&self, id: &ApprovalId) {
        let (_, alice) = token(&self.host, "acme", "alice", TokenKind::Operator);
        let done = self.host.ask("POST", &format!("/v1/approvals/{id}/approve"), &alice, "").await;
        // Who waits for it may have used it by the time of the answer.
        assert!(["granted", "used"].map(serde_json::Value::from).contains(&done.json()["state"]), "{done:?}");
    }

    async fn events(&self) -> Vec<serde_json::Value> {
        let (_, operator) = self.host.token(TokenKind::Operator);
        let mut rows = self.host.get("/v1/audit", &operator).await.json()["rows"].as_array().unwrap().clone();
        rows.reverse();
        rows
    }
}

#[tokio::test]
async fn a_call_is_agreed_to_and_made_once_all_on_record() {
    let stage = Stage::new();
    let arguments = r#"{"command":"make deploy\nasked by: you","times":2}"#;
    let id = stage.asked(arguments).await;
    let (_, alice) = token(&stage.host, "acme", "alice", TokenKind::Operator);
    let shown = stage.host.get(&format!("/v1/approvals/{id}"), &alice).await.json();
    assert_eq!((&shown["action"], &shown["tool"]), (&json!("call:run_command"), &json!("run_command")));
    let text = shown["text"].as_str().unwrap();
    assert!(
        text.starts_with(
            "call: of the tool run_command\narguments: all 2\n  \
             arguments.command: \"make deploy\\nasked by: you\"\n  arguments.times: 2\nasked by: bot, with tok_"
        ),
        "{text}"
    );
    stage.approve(&id).await;
    // In whatever order, and however they're spaced: the arguments are the same.
    let spaced = r#" { "times" : 2.0, "command" : "make deploy\u000aasked by: you" } "#;
    assert_eq!(stage.call(&stage.token, Some(&id), spaced).await.status, 200);
    let used = stage.call(&stage.token, Some(&id), arguments).await.problem(403, "approval_required");
    assert!(used.contains("was used before"), "{used}");
    let rows = stage.events().await;
    let words: Vec<_> = rows
        .iter()
        .map(|row| {
            let step = row["step"].as_str().or(row["code"].as_str()).unwrap_or_default();
            format!("{} {step}", row["event"].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        words,
        [
            "approval asked",
            "call_refused approval_required",
            "approval approved",
            "approval claimed",
            "call_begun ",
            "call_finished ",
            "call_refused approval_required",
        ]
    );
    assert_eq!(rows[4]["approval"], id.as_str());
    assert_eq!((&rows[0]["call"], &rows[3]["call"]), (&rows[1]["call"], &rows[4]["call"]));
    assert!(!json!(rows).to_string().contains("deploy"), "what was asked is on the trail nowhere");
}

#[tokio::test]
async fn a_yes_is_to_one_call() {
    let stage = Stage::new();
    let arguments = r#"{"command":"ls"}"#;
    let id = stage.asked(arguments).await;
    stage.approve(&id).await;
    let none = |reply: Reply, what: &str| {
        let said = reply.problem(403, "approval_required");
        assert!(said.contains("there is no approval"), "{what}: {said}");
    };
    for other in [r#"{"command":"ls "}"#, r#"{"command":"ls","times":1}"#, r#"{"command":"rm"}"#] {
        none(stage.call(&stage.token, Some(&id), other).await, other);
    }
    for agent in ["bot", "other"] {
        let (_, other) = token(&stage.host, "acme", agent, TokenKind::Agent);
        none(stage.call(&other, Some(&id), arguments).await, agent);
    }
    let said = Request::post("/v1/tools/run_command")
        .header("authorization", format!("Bearer {}", stage.token))
        .header("keybearer-approval", id.as_str());
    for (name, value) in [("keybearer-conversation", "c-1"), ("keybearer-intent", "again")] {
        let request = Request::post("/v1/tools/run_command").header(name, value);
        let request =
            said.headers_ref().unwrap().iter().fold(request, |r, (name, value)| r.header(name, value));
        none(stage.host.send(request.body(Body::from(arguments)).unwrap()).await, name);
    }
    stage.add("run_command", 5);
    none(stage.call(&stage.token, Some(&id), arguments).await, "another component");
    assert!(stage.events().await.iter().all(|row| row["event"] != "call_begun"));
}

#[tokio::test]
async fn where_a_call_takes_a_place_it_takes_none_while_it_waits() {
    let stage = Stage::new();
    let (_, operator) = token(&stage.host, "acme", "alice", TokenKind::Operator);
    let one = r#"{"name":"one","actions":["run"],"resources":["api://tasks/*"],"effect":"allow",
        "constraints":{"maxConcurrentTasks":1}}"#;
    assert_eq!(stage.host.ask("POST", "/v1/policies", &operator, one).await.status, 201);
    let waits = async {
        let request = Request::post("/v1/tools/run_command")
            .header("authorization", format!("Bearer {}", stage.token))
            .header("keybearer-approval-wait", "yes");
        stage.host.send(request.body(Body::from(r#"{"command":"ls"}"#)).unwrap()).await
    };
    let meanwhile = async {
        let approvals = stage.host.door.app.approvals.approvals().clone();
        let id = loop {
            if let Some(row) = approvals.list(None, None, 1).unwrap().pop() {
                break row.id;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        };
        // The door's one place is taken, so this is asked behind it.
        let caller = stage.host.door.app.auth.verify(&stage.token).unwrap();
        let request = crate::pipeline::CallRequest {
            caller,
            tool: "probe".to_owned(),
            arguments: bytes::Bytes::from_static(b"{}"),
            call: crate::ids::CallId::fresh(stage.host.now()),
            context: crate::policy::CallContext::default(),
            deadline: std::time::Duration::from_secs(5),
            program: None,
        };
        let done = stage.host.door.app.pipeline.call(request).await.into_result();
        assert!(done.is_ok(), "{done:?}");
        stage.approve(&id).await;
    };
    stage.host.add_tool("probe", OK);
    let (reply, ()) = tokio::join!(waits, meanwhile);
    assert_eq!(reply.status, 200, "{reply:?}");
}

#[tokio::test]
async fn whoever_delegates_needs_the_same_yes_and_can_not_give_it() {
    let stage = Stage::new();
    let grant = Grant { tools: vec!["*".parse().unwrap()], may_delegate: true, ..Grant::default() };
    let (_, parent) = stage.host.token_with("acme", TokenKind::Agent, grant);
    let child = stage
        .host
        .ask("POST", "/v1/tokens/delegate", &parent, r#"{"agent":"helper","tools":["*"]}"#)
        .await
        .json();
    let child = child["token"].as_str().unwrap();
    let waits = stage.call(child, None, r#"{"command":"ls"}"#).await.problem(403, "approval_required");
    let id = id_in(&waits);
    for own in ["helper", "someone", "SOMEONE"] {
        let (_, operator) = token(&stage.host, "acme", own, TokenKind::Operator);
        let refused = stage.host.ask("POST", &format!("/v1/approvals/{id}/approve"), &operator, "").await;
        assert!(refused.problem(403, "denied").contains("nobody approves their own"), "{own}");
    }
    stage.approve(&id).await;
    assert_eq!(stage.call(child, Some(&id), r#"{"command":"ls"}"#).await.status, 200);
}
