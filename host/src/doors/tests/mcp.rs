//! The door of the Model Context Protocol: whatever happens, its client gets an answer that it can go on from.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use http::Request;
use serde_json::{Value, json};

use super::super::router::{Door, router};
use super::client::{LONG, Served, config};
use super::host::{Host, NoWire, Reply};
use crate::auth::Grant;
use crate::egress::Canary;
use crate::kill::Order;
use crate::runtime::test_guest::{OK, TestGuest};
use crate::store::TokenKind;

const ENDLESS: &str = "(loop $l (br $l)) (unreachable)";

/// A request of this method.
fn request(method: &str, params: Value) -> String {
    json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params }).to_string()
}

fn initialize(version: &str) -> String {
    let client = json!({ "name": "test", "version": "0" });
    request("initialize", json!({ "protocolVersion": version, "capabilities": {}, "clientInfo": client }))
}

fn call(tool: &str, arguments: Value) -> String {
    request("tools/call", json!({ "name": tool, "arguments": arguments }))
}

async fn say_with(host: &Host, token: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    let request = Request::post("/mcp").header("authorization", format!("Bearer {token}"));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    host.send(request.body(Body::from(body.to_owned())).unwrap()).await
}

async fn say(host: &Host, token: &str, body: &str) -> Reply {
    say_with(host, token, &[], body).await
}

impl Reply {
    /// Checks that this is one message that answers the id, and answers it.
    #[track_caller]
    fn message(&self, id: Value) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        assert_eq!(self.headers["content-type"], "application/json");
        assert!(!self.headers.contains_key("mcp-session-id"));
        let message = self.json();
        assert_eq!((&message["jsonrpc"], &message["id"]), (&json!("2.0"), &id), "{message:#}");
        message
    }

    #[track_caller]
    fn result(&self) -> Value {
        self.message(json!(7)).get("result").unwrap_or_else(|| panic!("{self:?}")).clone()
    }

    /// Checks that this is a tool's result, an error or not, and answers its text.
    #[track_caller]
    fn text(&self, is_error: bool) -> String {
        let result = self.result();
        assert_eq!(result["isError"], is_error, "{result:#}");
        assert_eq!(result["content"].as_array().unwrap().len(), 1);
        assert_eq!(result["content"][0]["type"], "text");
        assert!(result.get("structuredContent").is_none());
        result["content"][0]["text"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    fn error(&self, id: Value, code: i64) -> String {
        let message = self.message(id);
        assert_eq!(message["error"]["code"], code, "{message:#}");
        assert!(message.get("result").is_none());
        message["error"]["message"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn a_client_shakes_hands_and_gets_no_session() {
    let host = Host::start();
    let (_, agent) = host.token(TokenKind::Agent);
    for (asked, spoken) in [
        ("2025-11-25", "2025-11-25"),
        ("2025-06-18", "2025-06-18"),
        ("2025-03-26", "2025-03-26"),
        ("2024-11-05", "2025-11-25"),
        ("2026-07-28", "2025-11-25"),
        ("", "2025-11-25"),
    ] {
        let result = say(&host, &agent, &initialize(asked)).await.result();
        assert_eq!(result["protocolVersion"], spoken);
        assert_eq!(result["capabilities"], json!({ "tools": {} }));
        assert_eq!(result["serverInfo"]["name"], "keybearer");
    }
    for params in [json!({}), json!({ "protocolVersion": 7 }), json!([])] {
        let reply = say(&host, &agent, &request("initialize", params)).await;
        assert!(reply.error(json!(7), -32602).starts_with("The call failed (bad_request): "));
    }
    let headers = [("mcp-protocol-version", "1999-01-01"), ("mcp-session-id", "mine")];
    assert_eq!(say_with(&host, &agent, &headers, &request("ping", json!({}))).await.result(), json!({}));
    let bare = r#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#;
    assert_eq!(say(&host, &agent, bare).await.result(), json!({}));
}

#[tokio::test]
async fn a_method_of_another_version_is_not_known_whoever_asks() {
    let host = Host::start();
    let (_, agent) = host.token(TokenKind::Agent);
    for method in ["server/discover", "resources/list", "tools/Call", "", "prompts/list", &"x".repeat(300)] {
        for token in [agent.as_str(), ""] {
            let reply = say(&host, token, &request(method, json!({}))).await;
            let message = reply.error(json!(7), -32601);
            assert!(message.contains("tools/call") && message.len() < 200, "{message}");
        }
    }
}

#[tokio::test]
async fn a_notification_is_taken_and_does_nothing() {
    let host = Host::start();
    host.add_tool("probe", OK);
    let (_, agent) = host.token(TokenKind::Agent);
    let head = r#"{"jsonrpc":"2.0","method":"#;
    for body in [
        format!(r#"{head}"notifications/initialized"}}"#),
        format!(r#"{head}"notifications/cancelled","params":{{"requestId":1}}}}"#),
        format!(r#"{head}"tools/call","params":{{"name":"probe","arguments":{{}}}}}}"#),
        format!(r#"{head}"initialize","params":{{"protocolVersion":"2025-11-25"}}}}"#),
        r#"{"jsonrpc":"2.0","id":7,"result":{}}"#.to_owned(),
    ] {
        for token in [agent.as_str(), "kbt_x", ""] {
            let reply = say(&host, token, &body).await;
            assert_eq!((reply.status.as_u16(), reply.body.as_str()), (202, ""), "{body}");
        }
    }
    assert_eq!(host.door.app.audit.head().unwrap().seq, 0, "nothing was called");
}

#[tokio::test]
async fn without_a_token_a_handshake_ends_and_a_conversation_goes_on() {
    let host = Host::start();
    host.add_tool("probe", OK);
    let (_, expired) = host.token(TokenKind::Agent);
    host.clock.advance(Duration::from_secs(61));
    let (id, revoked) = host.token(TokenKind::Agent);
    assert!(host.door.app.auth.revoke(&id, None).unwrap());
    let (_, valid) = host.token(TokenKind::Agent);
    let unknown = format!("kbt_{}", "A".repeat(43));
    let elsewhere = host.get("/v1/tools", "").await;
    let (mut handshakes, mut calls, mut lists) = (Vec::new(), Vec::new(), Vec::new());
    for wrong in ["", "x", &unknown, &expired, &revoked, &valid.replace("kbt_", "kbo_"), &valid[..46]] {
        handshakes.push(say(&host, wrong, &initialize("2025-11-25")).await);
        for body in ["", "nonsense", "[]", "{}", r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#] {
            handshakes.push(say(&host, wrong, body).await);
        }
        calls.push(say(&host, wrong, &call("probe", json!({}))).await);
        calls.push(say(&host, wrong, &call("absent", json!({ "x": 1 }))).await);
        // Not even a message that can't be used is told apart.
        let twice = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{},"params":{}}"#;
        calls.push(say(&host, wrong, twice).await);
        let long = call("probe", json!({ "x": "x".repeat(2_000) }));
        calls.push(say(&host, wrong, &long).await);
        lists.push(say(&host, wrong, &request("tools/list", json!({}))).await);
        lists.push(say(&host, wrong, &request("ping", json!({}))).await);
    }
    for reply in &handshakes {
        reply.problem(401, "unauthorized");
        assert_eq!(reply, &elsewhere, "as at any other door");
    }
    for reply in &calls {
        assert!(reply.text(true).starts_with("The call failed (unauthorized): no valid token"));
        assert_eq!(reply, &calls[0]);
    }
    for reply in &lists {
        let message = reply.error(json!(7), -32050);
        assert!(message.starts_with("The call failed (unauthorized): no valid token"), "{message}");
        assert_eq!(reply, &lists[0]);
    }
    // And with a token that is good again, all is well.
    assert_eq!(say(&host, &valid, &call("probe", json!({}))).await.text(false), "{}");
}

#[tokio::test]
async fn an_operator_s_token_calls_nothing_here_either() {
    let host = Host::start();
    host.add_tool("probe", OK);
    let (_, operator) = host.token(TokenKind::Operator);
    say(&host, &operator, &initialize("2025-11-25")).await.problem(403, "denied");
    let text = say(&host, &operator, &call("probe", json!({}))).await.text(true);
    assert!(text.starts_with("The call failed (denied): an operator's token"), "{text}");
    say(&host, &operator, &request("tools/list", json!({}))).await.error(json!(7), -32050);
}

#[tokio::test]
async fn tools_are_listed_on_one_page_for_whoever_may_call_them() {
    let host = Host::start();
    host.add_tool("probe", OK);
    host.add_tool("other", OK);
    let (_, all) = host.token(TokenKind::Agent);
    let grant = Grant { tools: vec!["probe".parse().unwrap()], ..Grant::default() };
    let (_, one) = host.token_with("acme", TokenKind::Agent, grant);
    let (_, none) = host.token_with("acme", TokenKind::Agent, Grant::default());
    for (token, wanted) in [(&all, vec!["other", "probe"]), (&one, vec!["probe"]), (&none, vec![])] {
        for params in [json!({}), json!({ "cursor": null, "_meta": { "progressToken": 1 } })] {
            let result = say(&host, token, &request("tools/list", params)).await.result();
            assert!(result.get("nextCursor").is_none());
            let names: Vec<_> =
                result["tools"].as_array().unwrap().iter().map(|t| t["name"].clone()).collect();
            assert_eq!(names, wanted);
        }
        let elsewhere = host.get("/v1/tools", token).await.json();
        let listed = say(&host, token, &request("tools/list", Value::Null)).await.result();
        for (here, there) in
            listed["tools"].as_array().unwrap().iter().zip(elsewhere["tools"].as_array().unwrap())
        {
            assert_eq!(
                (&here["inputSchema"], &here["description"]),
                (&there["input_schema"], &there["description"])
            );
            assert!(here.get("outputSchema").is_none());
        }
    }
    let paged = say(&host, &all, &request("tools/list", json!({ "cursor": "2" }))).await;
    assert!(paged.error(json!(7), -32602).contains("one page"));
}

#[tokio::test]
async fn a_call_is_the_same_call_as_at_the_tool_door() {
    let host = Host::start();
    host.add_tool("probe", OK);
    let (_, agent) = host.token(TokenKind::Agent);
    let (_, operator) = host.token(TokenKind::Operator);
    let headers = [
        ("keybearer-conversation", "conv-1"),
        ("keybearer-turn", "t1"),
        ("keybearer-model-call", "toolu_01/x"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ];
    let there = Request::post("/v1/tools/probe").header("authorization", format!("Bearer {agent}"));
    let there = headers.iter().fold(there, |request, (name, value)| request.header(*name, *value));
    let there = host.send(there.body(Body::from("{}")).unwrap()).await;
    let mut rows = Vec::new();
    let meta =
        json!({ "name": "probe", "_meta": { "progressToken": "p", "x": [[1]] }, "task": { "ttl": 1 } });
    for body in [call("probe", json!({})), call("probe", Value::Null), request("tools/call", meta)] {
        let here = say_with(&host, &agent, &headers, &body).await;
        assert_eq!(here.text(false), there.body);
        for reply in [&here, &there] {
            let id = reply.headers["keybearer-call-id"].to_str().unwrap();
            let trail = host.get(&format!("/v1/audit/{id}"), &operator).await.json();
            let mut begun = trail["rows"][0].clone();
            for name in ["seq", "call", "prev", "hash"] {
                begun.as_object_mut().unwrap().remove(name);
            }
            rows.push(begun);
        }
    }
    assert_eq!(rows[0]["event"], "call_begun");
    assert_eq!(rows[0]["model_call"], "toolu_01/x");
    assert!(rows.iter().all(|row| row == &rows[0]), "{rows:#?}");
}

/// What goes wrong, and how: a tool, its arguments and headers.
#[tokio::test]
async fn whatever_goes_wrong_is_told_in_the_same_words_as_at_the_tool_door() {
    let host = Host::start();
    host.add_tool("probe", OK);
    host.add_tool("endless", ENDLESS);
    let (_, agent) = host.token(TokenKind::Agent);
    let (_, bound) =
        host.token_bound("mine", Grant { tools: vec!["*".parse().unwrap()], ..Grant::default() });
    let throw = |scope: &str| Order {
        scope: scope.parse().unwrap(),
        tenant: None,
        environment: None,
        reason: "a loop".parse().unwrap(),
        by: "cli".to_owned(),
    };
    let compare = async |token: &str, tool: &str, arguments: &str, header: (&str, &str), code: &str| {
        let there =
            Request::post(format!("/v1/tools/{tool}")).header("authorization", format!("Bearer {token}"));
        let there = there.header(header.0, header.1).body(Body::from(arguments.to_owned())).unwrap();
        let there = host.send(there).await;
        let detail = there.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.starts_with(&format!("The call failed ({code}): ")), "{detail}");
        let params = format!(r#"{{"name":{tool:?},"arguments":{arguments}}}"#);
        let body = format!(r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{params}}}"#);
        let here = say_with(&host, token, &[header], &body).await;
        assert_eq!(here.text(true), detail, "{tool} {arguments}");
        let (mut problem, mut other) = (here.result()["_meta"]["keybearer/problem"].clone(), there.json());
        assert_eq!(problem["call"], here.headers["keybearer-call-id"].to_str().unwrap());
        for problem in [&mut problem, &mut other] {
            problem.as_object_mut().unwrap().remove("call");
        }
        assert_eq!(problem, other);
    };
    let plain = ("x", "y");
    for (tool, arguments, header, code) in [
        ("absent", "{}", plain, "unknown_tool"),
        ("Not-A-Name", "{}", plain, "unknown_tool"),
        ("probe", r#"{"extra":1}"#, plain, "invalid_arguments"),
        ("probe", "[]", plain, "invalid_arguments"),
        ("probe", "7", plain, "invalid_arguments"),
        ("probe", r#"{"a":1,"a":1}"#, plain, "invalid_arguments"),
        ("probe", r#"{"a":1,"\u0061":1}"#, plain, "invalid_arguments"),
        ("probe", r#"{"a":99999999999999999999}"#, plain, "invalid_arguments"),
        ("probe", &format!("{}{}", "[".repeat(40), "]".repeat(40)), plain, "invalid_arguments"),
        ("probe", "{}", ("keybearer-conversation", "a b"), "bad_request"),
        ("probe", "{}", ("keybearer-model-call", ""), "bad_request"),
        ("probe", "{}", ("keybearer-deadline-ms", "soon"), "bad_request"),
        ("probe", "{}", ("keybearer-approval-wait", "maybe"), "bad_request"),
        ("endless", "{}", ("keybearer-deadline-ms", "100"), "deadline_exceeded"),
    ] {
        compare(&agent, tool, arguments, header, code).await;
    }
    compare(&bound, "probe", "{}", ("keybearer-conversation", "yours"), "conversation_mismatch").await;
    let place = host.door.places.take().unwrap();
    compare(&agent, "probe", "{}", plain, "busy").await;
    drop(place);
    let switch = host.door.app.kills.throw(throw("agent:someone")).unwrap();
    compare(&agent, "probe", "{}", plain, "killed").await;
    host.door.app.kills.lift(&switch.id, None).unwrap();
    host.trail.fill_up();
    compare(&agent, "probe", "{}", plain, "audit_unavailable").await;
    host.door.drain();
    compare(&agent, "probe", "{}", plain, "shutting_down").await;
    // Tools are still listed: a team that is being put together isn't cut off.
    say(&host, &agent, &request("tools/list", json!({}))).await.result();
}

#[tokio::test]
async fn parameters_that_are_none_of_a_call_s_are_a_result_too() {
    let host = Host::start();
    let (_, agent) = host.token(TokenKind::Agent);
    for params in [
        json!({}),
        json!([]),
        json!({ "name": 7 }),
        json!({ "name": null }),
        json!("probe"),
        json!(["probe", {}]),
    ] {
        let text = say(&host, &agent, &request("tools/call", params)).await.text(true);
        assert!(text.starts_with("The call failed (bad_request): the parameters can't be used"), "{text}");
    }
    let twice = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"a","name":"b"}}"#;
    assert!(say(&host, &agent, twice).await.text(true).contains("duplicate field"));
}

#[tokio::test]
async fn what_is_no_message_is_answered_with_its_id_where_it_has_one() {
    let host = Host::start();
    let (_, agent) = host.token(TokenKind::Agent);
    for (body, id, code) in [
        ("", json!(null), -32700),
        ("nonsense", json!(null), -32700),
        (r#"[{"jsonrpc":"2.0","id":7,"method":"ping"}]"#, json!(null), -32600),
        (r#"{"jsonrpc":"2.0","id":"a","method":"ping""#, json!("a"), -32700),
        (r#"{"jsonrpc":"1.0","id":5,"method":"ping"}"#, json!(5), -32600),
        (r#"{"jsonrpc":"2.0","id":5,"method":"ping","method":"tools/call"}"#, json!(5), -32600),
        (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, json!(null), -32600),
    ] {
        let message = say(&host, &agent, body).await.error(id, code);
        assert!(
            message.starts_with("The call failed (bad_request): the message can't be used: "),
            "{message}"
        );
    }
    let cut = r#"{"id":7,"method":"tools/call","params":{"name":"probe"#;
    assert!(say(&host, &agent, cut).await.text(true).starts_with("The call failed (bad_request): "));
}

#[tokio::test]
async fn a_message_over_the_limit_is_answered_with_the_id_at_its_end() {
    let host = Host::start();
    let (_, agent) = host.token(TokenKind::Agent);
    let served = Served::start(config(), host.routes()).await;
    let message = |bytes: usize| {
        let params = format!(r#"{{"name":"probe","arguments":{{"x":"{}"}}}}"#, "x".repeat(bytes));
        format!(r#"{{"method":"tools/call","params":{params},"jsonrpc":"2.0","id":7}}"#)
    };
    // The last is more than is thrown away for a stranger.
    for bytes in [1_000, 100_000, 3 << 20] {
        let (body, mut client) = (message(bytes), served.connect().await);
        let head = format!("POST /mcp HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {agent}\r\n");
        client.send(&format!("{head}content-length: {}\r\n\r\n{body}", body.len())).await;
        let answer = client.read_once().await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let answer: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
        assert_eq!((&answer["id"], &answer["result"]["isError"]), (&json!(7), &json!(true)), "{answer:#}");
        let text = answer["result"]["content"][0]["text"].as_str().unwrap();
        assert!(text.starts_with("The call failed (too_large): the request's body is larger than"), "{text}");
    }
    // A stranger's is looked through less far: nobody makes the host read megabytes without a token.
    let stranger = Request::post("/mcp").body(Body::from(message(3 << 20))).unwrap();
    host.send(stranger).await.problem(401, "unauthorized");
    // What is announced beyond all measure isn't waited for.
    let mut client = served.connect().await;
    let head = format!("POST /mcp HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {agent}\r\n");
    client.send(&format!("{head}content-length: 99999999999\r\n\r\n")).await;
    let answer = client.read_once().await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains(r#""id":null"#), "{answer}");
}

#[tokio::test]
async fn of_a_stranger_s_message_no_more_is_kept_than_its_answer_needs() {
    let host = Host::start();
    let (_, agent) = host.token(TokenKind::Agent);
    let mut config = config();
    (config.limits.body_bytes_max, config.limits.read_ms_max) = (256 << 10, 10_000);
    let routes = router(Arc::new(Door::new(host.door.app.clone(), &config)));
    let served = Served::start(config, routes).await;
    let answer = async |token: &str, method: &str, bytes: usize| {
        let body = request(method, json!({ "x": "x".repeat(bytes) }));
        let mut client = served.connect().await;
        client
            .send(&format!(
                "POST /mcp HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {token}\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            ))
            .await;
        let answer = client.read_once().await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{answer}");
        let message: Value = serde_json::from_str(body).unwrap();
        assert_eq!(message["id"], 7, "{answer}");
        message
    };
    // The same refusal, however much it sends.
    assert_eq!(answer("", "ping", 200_000).await, answer("", "ping", 10).await);
    // That there's no such method is said of messages that are kept as a whole.
    for (token, bytes, code) in [("", 10, -32601), ("", 200_000, -32050), (&*agent, 200_000, -32601)] {
        assert_eq!(answer(token, "none", bytes).await["error"]["code"], code, "{bytes}");
    }
}

#[tokio::test]
async fn a_tool_is_called_read_only_where_nothing_within_the_token_s_reach_writes() {
    let stripe = "base_url = \"https://api.example.com\"\nsecret = \"key\"\nattach = { kind = \"bearer\" }\n\
                  [operations.charge]\nrequest = \"POST /v1/charges\"\neffect = \"write\"\n\
                  [operations.list]\nrequest = \"GET /v1/charges\"\neffect = \"read\"\n";
    let host = Host::start_with(&[("stripe.toml", stripe)], Arc::new(NoWire), Canary::fresh());
    host.add_tool("plain", OK);
    let guest = TestGuest { tools: vec![("probe", vec!["stripe"])], ..TestGuest::default() };
    let consented = ["stripe".parse().unwrap()];
    host.door.app.catalog.add("probe", &guest.build(), &consented, host.now()).unwrap();
    for (operation, writes) in
        [("stripe:*", true), ("stripe:charge", true), ("stripe:list", false), ("other:*", false)]
    {
        let operations = vec![operation.parse().unwrap()];
        let grant = Grant { tools: vec!["*".parse().unwrap()], operations, ..Grant::default() };
        let (_, token) = host.token_with("acme", TokenKind::Agent, grant);
        let listed = say(&host, &token, &request("tools/list", json!({}))).await.result();
        let hints: Vec<_> =
            listed["tools"].as_array().unwrap().iter().map(|tool| &tool["annotations"]).collect();
        assert_eq!(
            hints,
            [&json!({ "readOnlyHint": true }), &json!({ "readOnlyHint": !writes })],
            "{operation}"
        );
    }
}

#[tokio::test]
async fn a_web_page_is_not_heard() {
    let host = Host::start();
    host.add_tool("probe", OK);
    let (_, agent) = host.token(TokenKind::Agent);
    for origin in ["https://evil.example", "http://localhost:7411", "null", ""] {
        for body in [initialize("2025-11-25"), call("probe", json!({})), String::new()] {
            for token in [agent.as_str(), ""] {
                let reply = say_with(&host, token, &[("origin", origin)], &body).await;
                assert!(reply.problem(403, "denied").contains("web pages"));
                assert!(!reply.headers.keys().any(|name| name.as_str().starts_with("access-control-")));
            }
        }
    }
    assert_eq!(host.door.app.audit.head().unwrap().seq, 0, "nothing was called");
    let asked = Request::options("/mcp").header("origin", "https://evil.example");
    let asked = asked.header("access-control-request-method", "POST").body(Body::empty()).unwrap();
    let reply = host.send(asked).await;
    reply.problem(405, "method_not_allowed");
    assert!(!reply.headers.keys().any(|name| name.as_str().starts_with("access-control-")));
}

#[tokio::test]
async fn a_client_that_hangs_up_cancels_its_call() {
    let host = Host::start();
    host.add_tool("endless", ENDLESS);
    let (_, agent) = host.token(TokenKind::Agent);
    let (_, operator) = host.token(TokenKind::Operator);
    let served = Served::start(config(), host.routes()).await;
    let (mut client, body) = (served.connect().await, call("endless", json!({})));
    let head = format!("POST /mcp HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {agent}\r\n");
    client.send(&format!("{head}content-length: {}\r\n\r\n{body}", body.len())).await;
    while !host.door.app.metrics.render().contains("keybearer_calls_in_flight 1") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(client);
    let begun = Instant::now();
    loop {
        let page = host.get("/v1/audit", &operator).await.json();
        let rows = page["rows"].as_array().unwrap();
        if let Some(row) = rows.iter().find(|row| row["event"] == "call_finished") {
            assert_eq!((&row["mark"], &row["request_sent"]), (&json!("cancelled"), &json!("no")));
            break;
        }
        assert!(begun.elapsed() < LONG, "no call has ended: {page:#}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_client_without_a_connection_is_told_so_by_its_id() {
    let host = Host::start();
    let mut config = config();
    config.limits.connections_max = 1;
    let served = Served::start(config, host.routes()).await;
    let mut seated = served.connect().await;
    seated.send("GET /healthz HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert!(seated.read_once().await.starts_with("HTTP/1.1 200 "));
    for (body, status, has) in [
        (
            call("probe", json!({})),
            200,
            r#""id":7,"result":{"content":[{"type":"text","text":"The call failed (busy)"#,
        ),
        (request("tools/list", json!({})), 200, r#""message":"The call failed (busy)"#),
        (r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#.to_owned(), 202, ""),
        (initialize("2025-11-25"), 503, "The call failed (busy)"),
        ("nonsense".to_owned(), 503, "The call failed (busy)"),
    ] {
        let mut client = served.connect().await;
        client
            .send(&format!("POST /mcp HTTP/1.1\r\nhost: h\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
            .await;
        let answer = client.read_to_close().await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(has), "{answer}");
    }
    let mut client = served.connect().await;
    client.send("GET /mcp HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert!(client.read_to_close().await.starts_with("HTTP/1.1 503 "));
}
