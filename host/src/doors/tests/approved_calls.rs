//! Calls of tools that a person agrees to first.

use axum::body::Body;
use http::Request;
use serde_json::json;

use super::approvals::{id_in, token};
use super::host::{Host, NoWire, Reply};
use crate::auth::Grant;
use crate::ids::{ApprovalId, CallId};
use crate::policy::CallContext;
use crate::runtime::test_guest::{OK, TestGuest};
use crate::store::{ApprovalState, TokenKind};

/// Commands may be run once somebody has agreed.
const AGREE_FIRST: &str = "@id(\"grants\") permit (principal, action in [Action::\"send\", Action::\"call\"], resource);\n\
    @id(\"agree-first\") forbid (principal, action in Action::\"call\", resource == Tool::\"run_command\")\n\
    unless { context.approval.granted };";

const INPUT: &str = r#"{"type":"object","properties":{"command":{"type":"string"},"times":{"type":"integer"}},"required":["command"],"additionalProperties":false}"#;

const LS: &str = r#"{"command":"ls"}"#;

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

    /// A call that waits for people.
    async fn call_waiting(&self) -> Reply {
        let request = Request::post("/v1/tools/run_command")
            .header("authorization", format!("Bearer {}", self.token))
            .header("keybearer-approval-wait", "yes");
        self.host.send(request.body(Body::from(LS)).unwrap()).await
    }

    /// Waits until a call waits for people and has left its place, and answers which approval it waits for.
    async fn waited_for(&self) -> ApprovalId {
        let approvals = self.host.door.app.approvals.approvals().clone();
        loop {
            let asked = approvals.list(None, None, 1).unwrap().pop();
            if let Some(row) = asked
                && self.host.door.places.take().is_ok()
            {
                return row.id;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    fn state(&self, id: &ApprovalId) -> ApprovalState {
        let approvals = self.host.door.app.approvals.approvals();
        approvals.get(None, id).unwrap().unwrap().state(approvals.now())
    }

    /// Lets each agent have one call under way.
    async fn one_at_once(&self) {
        let (_, operator) = token(&self.host, "acme", "alice", TokenKind::Operator);
        let one = r#"{"name":"one","actions":["run"],"resources":["api://tasks/*"],"effect":"allow",
            "constraints":{"maxConcurrentTasks":1}}"#;
        assert_eq!(self.host.ask("POST", "/v1/policies", &operator, one).await.status, 201);
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
            "call_begun ",
            "approval claimed",
            "call_finished ",
            "call_refused approval_required",
        ]
    );
    assert_eq!(rows[3]["approval"], id.as_str());
    assert_eq!((&rows[0]["call"], &rows[3]["call"]), (&rows[1]["call"], &rows[4]["call"]));
    assert!(!json!(rows).to_string().contains("deploy"), "what was asked is on the trail nowhere");
}

#[tokio::test]
async fn a_yes_is_to_one_call() {
    let stage = Stage::new();
    let arguments = r#"{"command":"ls"}"#;
    let id = stage.asked(arguments).await;
    stage.approve(&id).await;
    // Its own agent is asked for another; any other hears that there's none.
    let another = |reply: Reply, what: &str| {
        let said = reply.problem(403, "approval_required");
        assert!(said.contains(&format!("isn't what was approved as {id}")), "{what}: {said}");
    };
    for other in [r#"{"command":"ls "}"#, r#"{"command":"ls","times":1}"#, r#"{"command":"rm"}"#] {
        another(stage.call(&stage.token, Some(&id), other).await, other);
    }
    for agent in ["bot", "other"] {
        let (_, other) = token(&stage.host, "acme", agent, TokenKind::Agent);
        let said = stage.call(&other, Some(&id), arguments).await.problem(403, "approval_required");
        assert!(said.contains("there is no approval"), "{agent}: {said}");
    }
    let said = Request::post("/v1/tools/run_command")
        .header("authorization", format!("Bearer {}", stage.token))
        .header("keybearer-approval", id.as_str());
    for (name, value) in [("keybearer-conversation", "c-1"), ("keybearer-intent", "again")] {
        let request = Request::post("/v1/tools/run_command").header(name, value);
        let request =
            said.headers_ref().unwrap().iter().fold(request, |r, (name, value)| r.header(name, value));
        another(stage.host.send(request.body(Body::from(arguments)).unwrap()).await, name);
    }
    stage.add("run_command", 5);
    another(stage.call(&stage.token, Some(&id), arguments).await, "another component");
    assert!(stage.events().await.iter().all(|row| row["event"] != "call_begun"));
}

#[tokio::test]
async fn where_a_call_takes_a_place_it_takes_none_while_it_waits() {
    let stage = Stage::new();
    stage.one_at_once().await;
    let meanwhile = async {
        let id = stage.waited_for().await;
        // Neither the door's one place nor the agent's is taken.
        let probe = stage.host.ask("POST", "/v1/tools/probe", &stage.token, "{}").await;
        assert_eq!(probe.status, 200, "{probe:?}");
        stage.approve(&id).await;
    };
    stage.host.add_tool("probe", OK);
    let (reply, ()) = tokio::join!(stage.call_waiting(), meanwhile);
    assert_eq!(reply.status, 200, "{reply:?}");
}

#[tokio::test]
async fn a_yes_is_not_used_up_by_a_call_that_finds_no_place() {
    let stage = Stage::new();
    stage.one_at_once().await;
    // At the door, after the wait.
    let meanwhile = async {
        let id = stage.waited_for().await;
        let taken = stage.host.door.places.take().unwrap();
        stage.approve(&id).await;
        (id, taken)
    };
    let (reply, (id, taken)) = tokio::join!(stage.call_waiting(), meanwhile);
    let busy = reply.problem(503, "busy");
    assert!(busy.contains(&format!("{id} is approved and wasn't used")), "{busy}");
    drop(taken);
    // Among the agent's calls.
    let app = &stage.host.door.app;
    let caller = app.auth.verify(&stage.token).unwrap();
    let (call, context) = (CallId::fresh(stage.host.now()), CallContext::default());
    let limits = app.policy.calls_at_once(&caller);
    let under_way = app.audit.begin_forward(call, &caller, &context, &limits).await.unwrap();
    let again = async || stage.call(&stage.token, Some(&id), LS).await;
    again().await.problem(429, "rate_limited");
    assert_eq!(stage.state(&id), ApprovalState::Granted);
    drop(under_way);
    // On the trail.
    stage.host.trail.fill_up();
    again().await.problem(503, "audit_unavailable");
    assert_eq!(stage.state(&id), ApprovalState::Granted);
    stage.host.trail.make_room();
    assert_eq!(again().await.status, 200);
    assert_eq!(stage.state(&id), ApprovalState::Used);
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
