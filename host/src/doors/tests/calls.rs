//! Calls of real components, over the router and over sockets.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use http::{HeaderMap, Request};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::client::{LONG, Served, config};
use super::host::{Host, NoWire, Reply};
use crate::auth::{Grant, Mint};
use crate::egress::{BoxFuture, Canary, Pieces, Wire, WireError, WireReply, WireRequest};
use crate::ids::{Digest, Realm};
use crate::policy::START;
use crate::runtime::test_guest::{OK, TestGuest};
use crate::store::TokenKind;

const ENDLESS: &str = "(loop $l (br $l)) (unreachable)";

/// Posts with more headers.
async fn post(host: &Host, path: &str, token: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    let request = Request::post(path).header("authorization", format!("Bearer {token}"));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    host.send(request.body(Body::from(body.to_owned())).unwrap()).await
}

/// The rows of a call, as the operator sees them.
async fn trail(host: &Host, call: &str) -> Vec<Value> {
    let (_, operator) = host.token(TokenKind::Operator);
    let reply = host.get(&format!("/v1/audit/{call}"), &operator).await;
    if reply.status == 404 { Vec::new() } else { reply.json()["rows"].as_array().unwrap().clone() }
}

/// Waits until the one call on the trail has ended, and answers how.
async fn ended(host: &Host) -> Value {
    let (_, operator) = host.token(TokenKind::Operator);
    let begun = Instant::now();
    loop {
        let page = host.get("/v1/audit", &operator).await.json();
        if let Some(row) = page["rows"].as_array().unwrap().iter().find(|row| row["event"] == "call_finished")
        {
            return row.clone();
        }
        assert!(begun.elapsed() < LONG, "no call has ended: {page:#}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_result_is_the_whole_body_and_the_call_is_on_the_trail() {
    let host = Host::start();
    host.add_tool("probe", OK);
    let (_, agent) = host.token(TokenKind::Agent);
    let headers = [
        ("keybearer-conversation", "conv-1"),
        ("keybearer-turn", "t1"),
        ("keybearer-model-call", "toolu_01/x"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ];
    for body in ["{}", "", " {} "] {
        let reply = post(&host, "/v1/tools/probe", &agent, &headers, body).await;
        assert_eq!((reply.status.as_u16(), reply.body.as_str()), (200, "{}"));
        assert_eq!(reply.headers["content-type"], "application/json");
        let rows = trail(&host, reply.headers["keybearer-call-id"].to_str().unwrap()).await;
        let events: Vec<_> = rows.iter().map(|row| row["event"].as_str().unwrap()).collect();
        assert_eq!(events, ["call_begun", "call_finished"]);
        assert_eq!(rows[0]["conversation"], "conv-1");
        assert_eq!(rows[0]["turn"], "t1");
        assert_eq!(rows[0]["model_call"], "toolu_01/x");
        assert_eq!(rows[0]["trace"], "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(rows[1]["mark"], "ok");
    }
}

#[tokio::test]
async fn arguments_that_do_not_fit_begin_nothing() {
    let host = Host::start();
    host.add_tool("probe", OK);
    let (_, agent) = host.token(TokenKind::Agent);
    let deep = format!("{}{}", "[".repeat(400), "]".repeat(400));
    for body in ["x", "[]", "null", r#"{"extra": 1}"#, "{} {}", r#"{"a": 1, "a": 1}"#, deep.as_str()] {
        let headers = [("keybearer-model-call", "m1")];
        let reply = post(&host, "/v1/tools/probe", &agent, &headers, body).await;
        let detail = reply.problem(422, "invalid_arguments");
        assert!(detail.contains("Nothing was sent."), "{detail}");
        let rows = trail(&host, reply.json()["call"].as_str().unwrap()).await;
        assert_eq!(rows.len(), 1, "the refusal, and no call: {rows:?}");
        assert_eq!(
            (&rows[0]["event"], &rows[0]["code"]),
            (&json!("call_refused"), &json!("invalid_arguments"))
        );
        assert_eq!(rows[0]["model_call"], "m1");
    }
}

#[tokio::test]
async fn a_token_lists_and_calls_what_it_names_alone() {
    let host = Host::start();
    host.add_tool("probe", OK);
    host.add_tool("other", OK);
    let mint = Mint {
        kind: TokenKind::Agent,
        realm: Realm { tenant: "acme".parse().unwrap(), environment: "dev".parse().unwrap() },
        every_environment: false,
        agent: "someone".parse().unwrap(),
        conversation: Some("mine".parse().unwrap()),
        role: None,
        task: None,
        user: None,
        grant: Grant { tools: vec!["probe".parse().unwrap()], operations: Vec::new(), ..Grant::default() },
        lifetime: Duration::from_secs(60),
    };
    let token = host.door.app.auth.mint(mint).unwrap().token.to_string();
    let listed = host.get("/v1/tools", &token).await.json();
    assert_eq!(listed["tools"].as_array().unwrap().len(), 1);
    assert_eq!(listed["tools"][0]["name"], "probe");
    assert_eq!(listed["tools"][0]["input_schema"]["type"], "object");
    let (_, all) = host.token(TokenKind::Agent);
    let names = host.get("/v1/tools", &all).await.json();
    let names: Vec<_> = names["tools"].as_array().unwrap().iter().map(|tool| tool["name"].clone()).collect();
    assert_eq!(names, ["other", "probe"]);

    // A tool that it may not call is answered as one that isn't there.
    let ungranted = host.ask("POST", "/v1/tools/other", &token, "{}").await.problem(404, "unknown_tool");
    let absent = host.ask("POST", "/v1/tools/absnt", &token, "{}").await.problem(404, "unknown_tool");
    assert_eq!(ungranted.replace("other", "absnt"), absent);

    let foreign = [("keybearer-conversation", "yours")];
    let refused = post(&host, "/v1/tools/probe", &token, &foreign, "{}").await;
    refused.problem(403, "conversation_mismatch");
    let own = post(&host, "/v1/tools/probe", &token, &[], "{}").await;
    let rows = trail(&host, own.headers["keybearer-call-id"].to_str().unwrap()).await;
    assert_eq!(rows[0]["conversation"], "mine");
}

/// An upstream that says when it has a request, and answers when it's told to.
#[derive(Default)]
struct Patient {
    asked: Notify,
    answer: Notify,
}

impl Wire for Patient {
    fn exchange(
        &self,
        _: WireRequest,
        _: tokio::time::Instant,
    ) -> BoxFuture<'_, Result<WireReply, WireError>> {
        Box::pin(async move {
            self.asked.notify_one();
            self.answer.notified().await;
            Ok(WireReply { status: 200, headers: HeaderMap::new(), body: Box::new(Pieces::default()) })
        })
    }
}

/// A tool that sends one request and then returns 7 bytes of its own.
fn saying(fields: &'static str) -> Vec<u8> {
    let guest = TestGuest {
        tools: vec![("probe", vec!["stripe"])],
        output: r#"{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"],"additionalProperties":false}"#,
        call: "(drop (call $get)) (call $ok (i32.const 1500) (i32.const 7))",
        fields,
        ..TestGuest::default()
    };
    guest.build()
}

#[tokio::test]
async fn a_call_ends_with_the_tool_that_it_began_with_though_another_takes_its_place() {
    const STRIPE: &str = "base_url = \"https://api.example.com\"\nsecret = \"key\"\nattach = { kind = \"bearer\" }\n\
        [operations.get]\nrequest = \"GET /v1/x\"\neffect = \"read\"\n";
    let upstream = Arc::new(Patient::default());
    let host = Host::start_with(&[("stripe.toml", STRIPE)], upstream.clone(), Canary::fresh());
    let old = saying(r#"(data (i32.const 1500) "{\"n\":1}")"#);
    let new = saying(r#"(data (i32.const 1500) "{\"n\":2}")"#);
    let add = |bytes: &[u8]| {
        let consented = ["stripe".parse().unwrap()];
        let added = host.door.app.catalog.add("probe", bytes, &consented, host.now()).unwrap();
        host.door.app.refresh_policy();
        added.replaced
    };
    assert_eq!(add(&old), None);
    let grant = Grant {
        tools: vec!["probe".parse().unwrap()],
        operations: vec!["stripe:get".parse().unwrap()],
        ..Grant::default()
    };
    let (_, agent) = host.token_with("acme", TokenKind::Agent, grant);
    let call = async || {
        let reply = post(&host, "/v1/tools/probe", &agent, &[], "{}").await;
        let rows = trail(&host, reply.headers["keybearer-call-id"].to_str().unwrap()).await;
        (reply.body, rows[0]["component"].clone())
    };
    let replace = async {
        timeout(LONG, upstream.asked.notified()).await.expect("the call sends");
        assert_eq!(add(&new), Some(Digest::of(&old)));
        upstream.answer.notify_one();
    };
    let (first, ()) = tokio::join!(call(), replace);
    assert_eq!(first, (r#"{"n":1}"#.to_owned(), json!(Digest::of(&old))));
    upstream.answer.notify_one();
    assert_eq!(call().await, (r#"{"n":2}"#.to_owned(), json!(Digest::of(&new))));
}

/// An upstream that answers everything with this status.
struct Failing(u16);

impl Wire for Failing {
    fn exchange(
        &self,
        _: WireRequest,
        _: tokio::time::Instant,
    ) -> BoxFuture<'_, Result<WireReply, WireError>> {
        let (status, body) = (self.0, Box::new(Pieces::default()));
        Box::pin(async move { Ok(WireReply { status, headers: HeaderMap::new(), body }) })
    }
}

#[tokio::test]
async fn an_error_of_the_upstream_may_pass_and_is_not_called_hopeless() {
    const STRIPE: &str = "base_url = \"https://api.example.com\"\nsecret = \"key\"\nattach = { kind = \"bearer\" }\n\
        [operations.get]\nrequest = \"GET /v1/x\"\neffect = \"read\"\n";
    let guest = TestGuest {
        tools: vec![("probe", vec!["stripe"])],
        call: "(drop (call $get)) (call $err (i32.const 2) (i32.const 1500) (i32.const 12))",
        fields: r#"(data (i32.const 1500) "wait a while")"#,
        ..TestGuest::default()
    };
    let component = guest.build();
    for status in [429, 503] {
        let host = Host::start_with(&[("stripe.toml", STRIPE)], Arc::new(Failing(status)), Canary::fresh());
        let consented = ["stripe".parse().unwrap()];
        host.door.app.catalog.add("probe", &component, &consented, host.now()).unwrap();
        host.door.app.refresh_policy();
        let operations = vec!["stripe:get".parse().unwrap()];
        let grant = Grant { tools: vec!["probe".parse().unwrap()], operations, ..Grant::default() };
        let (_, agent) = host.token_with("acme", TokenKind::Agent, grant);
        let reply = post(&host, "/v1/tools/probe", &agent, &[], "{}").await;
        assert_eq!(
            reply.problem(502, "upstream_error"),
            "The call failed (upstream_error): wait a while. A request was sent, and the upstream answered it. \
             Check what was done before you try again."
        );
        assert_eq!(reply.json()["retry"], "check_first", "{status}");
        // No client is to do it by itself.
        assert!(!reply.headers.contains_key("retry-after"), "{status}");
    }
}

/// `tool test` says the same: `fixture/stage_tests.rs`.
#[tokio::test]
async fn an_argument_that_no_policy_could_compare_is_refused_by_its_name_where_one_looks() {
    const INPUT: &str = r#"{"type":"object","properties":{"float":{"type":"number"},"whole":{"type":"integer"}},"additionalProperties":false}"#;
    const LOOKS: &str = r#"
        @id("small")
        permit (principal, action in Action::"call", resource) when {
            (if context.arguments has float then context.arguments.float.lessThan(decimal("9.0")) else true) &&
            (if context.arguments has whole then context.arguments.whole > 0 else true)
        };"#;
    let float =
        "argument `float` must have at most four decimal places and lie within 922337203685477 of zero";
    let whole = "argument `whole` must be an integer between -2^63 and 2^63-1, written plainly";
    for (policies, looks) in [(START, false), (LOOKS, true)] {
        let host = Host::start_ruled(&[], Arc::new(NoWire), policies);
        let guest = TestGuest { input: INPUT, ..TestGuest::default() };
        host.door.app.catalog.add("probe", &guest.build(), &[], host.now()).unwrap();
        host.door.app.refresh_policy();
        let (_, agent) = host.token(TokenKind::Agent);
        let call = async |arguments: &str| post(&host, "/v1/tools/probe", &agent, &[], arguments).await;
        assert_eq!(call(r#"{"float":0.0001,"whole":9223372036854775807}"#).await.status, 200);
        for (arguments, told) in [
            (r#"{"float":0.00001}"#, float),
            (r#"{"float":1e15}"#, float),
            (r#"{"whole":1e18}"#, whole),
            (r#"{"whole":18446744073709551615}"#, whole),
        ] {
            let reply = call(arguments).await;
            if !looks {
                assert_eq!(reply.status, 200, "{arguments}");
                continue;
            }
            let detail = reply.problem(422, "invalid_arguments");
            assert!(detail.contains(told) && !detail.contains("policy"), "{detail}");
            let rows = trail(&host, reply.headers["keybearer-call-id"].to_str().unwrap()).await;
            assert_eq!(rows[0]["code"], "invalid_arguments", "{rows:?}");
            assert!(rows[0]["policy"].is_string(), "{rows:?}");
        }
    }
}

#[tokio::test]
async fn a_call_ends_at_the_deadline_that_its_caller_sets() {
    let host = Host::start();
    host.add_tool("endless", ENDLESS);
    let (_, agent) = host.token(TokenKind::Agent);
    let begun = Instant::now();
    let reply = post(&host, "/v1/tools/endless", &agent, &[("keybearer-deadline-ms", "150")], "{}").await;
    reply.problem(504, "deadline_exceeded");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(ended(&host).await["code"], "deadline_exceeded");
}

#[tokio::test]
async fn a_client_that_hangs_up_cancels_its_call_and_the_trail_says_so() {
    let host = Host::start();
    host.add_tool("endless", ENDLESS);
    let (_, agent) = host.token(TokenKind::Agent);
    let served = Served::start(config(), host.routes()).await;
    let mut client = served.connect().await;
    let head = format!("POST /v1/tools/endless HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {agent}\r\n");
    client.send(&format!("{head}content-length: 2\r\n\r\n{{}}")).await;
    while !host.door.app.metrics.render().contains("keybearer_calls_in_flight 1") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(client);
    let row = ended(&host).await;
    assert_eq!((&row["mark"], &row["request_sent"]), (&json!("cancelled"), &json!("no")));
    assert!(host.door.places.take().is_ok(), "its place is free again");
}

#[tokio::test]
async fn a_shutdown_cancels_the_calls_that_outlast_it() {
    let host = Host::start();
    host.add_tool("endless", ENDLESS);
    let (_, agent) = host.token(TokenKind::Agent);
    let mut config = config();
    config.limits.drain_ms_max = 100;
    let served = Served::start(config, host.routes()).await;
    let mut client = served.connect().await;
    let head = format!("POST /v1/tools/endless HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {agent}\r\n");
    client.send(&format!("{head}content-length: 2\r\n\r\n{{}}")).await;
    while !host.door.app.metrics.render().contains("keybearer_calls_in_flight 1") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::timeout(LONG, served.stop()).await.unwrap().unwrap();
    assert_eq!(ended(&host).await["mark"], "cancelled");
}
