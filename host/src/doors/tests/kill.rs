//! Kill switches over HTTP, by the right operator and by the wrong one.

use std::sync::Arc;

use axum::body::Body;
use http::Request;
use serde_json::json;

use super::super::bind;
use super::super::router::kill_switches;
use super::client::{Served, config};
use super::host::{Host, NoWire};
use crate::auth::Grant;
use crate::kill::Subjects;
use crate::store::TokenKind;

fn wanted(scope: &str) -> String {
    json!({ "scope": scope, "environment": "dev", "reason": "40 charges in a minute" }).to_string()
}

impl Host {
    fn stops(&self, token: &str) -> bool {
        let caller = self.door.app.auth.verify(token).unwrap();
        let subjects = Subjects {
            realm: caller.realm(),
            caller: Some(&caller),
            call: None,
            conversation: None,
            tool: None,
            connection: None,
        };
        self.door.app.kills.check(&subjects).is_err()
    }
}

#[tokio::test]
async fn a_switch_is_thrown_listed_and_lifted_and_all_of_it_is_on_record() {
    let host = Host::start();
    let (operator_id, operator) = host.token(TokenKind::Operator);
    let (_, agent) = host.token(TokenKind::Agent);
    let reply = host.ask("POST", "/v1/kill", &operator, &wanted("agent:someone")).await;
    assert_eq!(reply.status, 201, "{}", reply.body);
    let kill = reply.json();
    assert_eq!((&kill["scope"], &kill["tenant"]), (&json!("agent:someone"), &json!("acme")));
    assert_eq!((&kill["environment"], &kill["by"]), (&json!("dev"), &json!(operator_id)));
    assert!(host.stops(&agent));
    assert_eq!(host.get("/v1/kill", &operator).await.json(), json!({ "kills": [kill] }));

    let path = format!("/v1/kill/{}", kill["id"].as_str().unwrap());
    assert_eq!(host.ask("DELETE", &path, &operator, "").await.status, 204);
    assert!(!host.stops(&agent));
    host.ask("DELETE", &path, &operator, "").await.problem(404, "not_found");
    assert_eq!(host.get("/v1/kill", &operator).await.json(), json!({ "kills": [] }));

    let trail = host.get("/v1/audit", &operator).await.json();
    for (row, action) in trail["rows"].as_array().unwrap().iter().zip(["kill.lift", "kill.throw"]) {
        assert_eq!((&row["action"], &row["by"]), (&json!(action), &json!(operator_id)));
        assert_eq!(row["subject"], format!("{} agent:someone in dev", kill["id"].as_str().unwrap()));
        assert_eq!(row["reason"], "40 charges in a minute");
    }
}

#[tokio::test]
async fn a_switch_is_thrown_where_there_is_no_room_for_anything_else() {
    let host = Host::start();
    let (_, operator) = host.token(TokenKind::Operator);
    let (_, agent) = host.token(TokenKind::Agent);
    let mut config = config();
    config.limits.connections_max = 1;
    let urgent = kill_switches().with_state(host.door.clone());
    let served = Served::serve(bind(&config).await.unwrap(), (host.routes(), urgent));
    let mut idle = served.connect().await;
    idle.send("GET /healthz HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert!(idle.read_once().await.starts_with("HTTP/1.1 200 "));

    let body = wanted("agent:someone");
    for (request, token, status) in [
        ("GET /v1/tools", &agent, 503),
        ("PUT /v1/kill", &operator, 503),
        ("POST /v1/kill", &agent, 403),
        ("POST /v1/kill", &"none".to_owned(), 401),
        ("POST /v1/kill", &operator, 201),
        ("GET /v1/kill", &operator, 200),
    ] {
        assert_eq!(host.stops(&agent), status == 200, "{request}");
        let mut client = served.connect().await;
        let length = body.len();
        let head = format!("host: h\r\nauthorization: Bearer {token}\r\ncontent-length: {length}\r\n\r\n");
        client.send(&format!("{request} HTTP/1.1\r\n{head}{body}")).await;
        let answer = client.read_to_close().await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
    }
}

#[tokio::test]
async fn another_tenant_s_switches_do_not_exist_and_can_not_be_thrown() {
    let host = Host::start();
    let (_, operator) = host.token(TokenKind::Operator);
    let (_, victim) = host.token(TokenKind::Agent);
    let (_, rival) = host.token_in("rival", TokenKind::Operator);
    let kill = host.ask("POST", "/v1/kill", &operator, &wanted("tenant")).await.json();
    let foreign = host.ask("DELETE", &format!("/v1/kill/{}", kill["id"].as_str().unwrap()), &rival, "").await;
    let absent = host.ask("DELETE", "/v1/kill/kill_000000000000000000000000", &rival, "").await;
    let malformed = host.ask("DELETE", "/v1/kill/..", &rival, "").await;
    foreign.problem(404, "not_found");
    assert_eq!(foreign, absent);
    assert_eq!(foreign, malformed);
    assert_eq!(host.get("/v1/kill", &rival).await.json(), json!({ "kills": [] }));
    assert!(host.stops(&victim));
    host.ask("DELETE", &format!("/v1/kill/{}", kill["id"].as_str().unwrap()), &operator, "").await;

    for scope in ["tenant", "agent:someone", "tool:get_invoice"] {
        assert_eq!(host.ask("POST", "/v1/kill", &rival, &wanted(scope)).await.status, 201);
    }
    assert!(!host.stops(&victim));
    let detail = host.ask("POST", "/v1/kill", &rival, &wanted("everything")).await.problem(403, "denied");
    assert!(detail.contains("command line"), "{detail}");
    // The whole host's are no tenant's to see or to lift.
    let everything = host.door.app.kills.throw(crate::kill::Order {
        scope: crate::kill::Scope::Everything,
        tenant: None,
        environment: None,
        reason: "maintenance".parse().unwrap(),
        by: "cli".to_owned(),
    });
    let id = everything.unwrap().id;
    assert_eq!(host.ask("DELETE", &format!("/v1/kill/{id}"), &operator, "").await, absent);
    assert!(!host.get("/v1/kill", &operator).await.body.contains(id.as_str()));
    assert!(host.stops(&victim));
}

const STRIPE: &str = r#"
base_url = "https://api.example.com"
secret = "key"
attach = { kind = "bearer" }
[operations.list]
request = "GET /v1/charges"
effect = "read"
"#;

#[tokio::test]
async fn a_switch_ends_the_wait_for_people() {
    let rules = "permit (principal, action, resource);
                 forbid (principal, action == Action::\"stripe:list\", resource)
                 unless { context.approval.granted };";
    let host = Host::start_ruled(&[("stripe.toml", STRIPE)], Arc::new(NoWire), rules);
    let (_, operator) = host.token(TokenKind::Operator);
    let grant = Grant { operations: vec!["stripe:*".parse().unwrap()], ..Grant::default() };
    let (_, agent) = host.token_with("acme", TokenKind::Agent, grant);
    let request = Request::get("/proxy/stripe/v1/charges")
        .header("authorization", format!("Bearer {agent}"))
        .header("keybearer-approval-wait", "yes");
    let waits = host.send(request.body(Body::empty()).unwrap());
    let throws = async {
        while host.get("/v1/approvals", &operator).await.json()["approvals"].as_array().unwrap().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        assert_eq!(host.ask("POST", "/v1/kill", &operator, &wanted("agent:someone")).await.status, 201);
    };
    let (reply, ()) = tokio::join!(waits, throws);
    reply.problem(403, "killed");
}

#[tokio::test]
async fn what_can_not_be_thrown_is_explained() {
    let host = Host::start();
    let (_, operator) = host.token(TokenKind::Operator);
    for (body, hint) in [
        (r#"{"scope": "agent:a"}"#, "reason"),
        (r#"{"reason": "r"}"#, "scope"),
        (r#"{"scope": "billing", "reason": "r"}"#, "connection:NAME"),
        (r#"{"scope": "tenant:rival", "reason": "r"}"#, "`tenant` stands alone"),
        (r#"{"scope": "agent:a", "reason": "r", "tenant": "rival"}"#, "unknown field `tenant`"),
        (r#"{"scope": "agent:a", "reason": ""}"#, "one line"),
        (r#"{"scope": "agent:a", "reason": "a\nb"}"#, "one line"),
        (r#"{"scope": "agent:a", "reason": "\u001b[2J"}"#, "one line"),
        (r#"{"scope": "agent:a", "reason": "r", "environment": "A B"}"#, "environment"),
        ("", "EOF"),
    ] {
        let detail = host.ask("POST", "/v1/kill", &operator, body).await.problem(400, "bad_request");
        assert!(detail.contains(hint), "{body}: {detail}");
    }
    assert_eq!(host.get("/v1/kill", &operator).await.json(), json!({ "kills": [] }));
}

#[tokio::test]
async fn it_stops_even_when_that_can_not_be_recorded_and_goes_on_only_when_it_can() {
    let host = Host::start();
    let (_, operator) = host.token(TokenKind::Operator);
    let (_, agent) = host.token(TokenKind::Agent);
    host.trail.fill_up();
    let told = host.ask("POST", "/v1/kill", &operator, &wanted("tenant")).await;
    assert!(told.problem(503, "audit_unavailable").contains("it is stopped"));
    assert!(host.stops(&agent));
    let kills = host.get("/v1/kill", &operator).await.json();
    let path = format!("/v1/kill/{}", kills["kills"][0]["id"].as_str().unwrap());
    let told = host.ask("DELETE", &path, &operator, "").await;
    assert!(told.problem(503, "audit_unavailable").contains("was not lifted"));
    assert!(host.stops(&agent));
}
