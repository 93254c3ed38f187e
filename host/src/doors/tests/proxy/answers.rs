//! What comes back: the upstream's answer, or an error that its SDK can read.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::super::openapi;
use super::super::client::{LONG, Served, config};
use super::{Stage, stripe_error};
use crate::egress::WireErrorKind;
use crate::refusal::RequestSent;
use crate::store::TokenKind;

const CHARGE: &str = "/proxy/stripe/v1/charges/ch_1";
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const WRITE: &str = "amount=500&currency=usd";

#[tokio::test]
async fn the_upstreams_answer_is_handed_on_with_the_headers_that_are_listed() {
    let stage = Stage::start();
    let headers = [
        ("content-type", "application/json; charset=utf-8"),
        ("request-id", "req_1"),
        ("x-shown", "1"),
        ("x-shown", "2"),
        ("x-hidden", "1"),
        ("set-cookie", "a=b"),
        ("server", "nginx"),
        ("keybearer-call-id", "call_made_up"),
        ("connection", "close"),
    ];
    for status in [200, 201, 302, 400, 402, 404, 429] {
        stage.upstream.answer(status, &headers, "{\"id\":\"ch_1\"}");
        let reply = stage.ask("GET", CHARGE, &[], "").await;
        assert_eq!((reply.status.as_u16(), reply.body.as_str()), (status, "{\"id\":\"ch_1\"}"));
        let call = reply.headers["keybearer-call-id"].to_str().unwrap();
        assert!(call.starts_with("call_0"), "{call}");
        let mut names: Vec<_> = reply.headers.keys().map(|name| name.as_str()).collect();
        names.sort_unstable();
        let shown = ["content-length", "content-type", "keybearer-call-id", "request-id", "x-shown"];
        assert_eq!(names, shown, "{status}");
        assert_eq!(reply.headers.get_all("x-shown").iter().count(), 2);
    }
}

#[tokio::test]
async fn answers_without_a_body_have_none() {
    let stage = Stage::start();
    let served = Served::start(config(), stage.host.routes()).await;
    let token = &stage.token;
    for (request, status) in
        [("DELETE /proxy/plain/v2/notes/a", 204), ("HEAD /proxy/plain/v1/charges/ch_1", 200)]
    {
        stage.upstream.answer(status, &[("content-type", "application/json"), ("etag", "\"1\"")], "");
        let mut client = served.connect().await;
        client.send(&format!("{request} HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {token}\r\n\r\n")).await;
        let answer = client.read_once().await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(answer.contains("etag: \"1\"\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
        // The connection is still in step: the next answer is the next request's.
        client
            .send(&format!(
                "GET /proxy/plain/v1/charges HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {token}\r\n\r\n"
            ))
            .await;
        assert!(client.read_once().await.ends_with("{}"));
    }
}

#[tokio::test]
async fn refusals_and_the_upstreams_errors_are_what_is_described() {
    let stage = Stage::start();
    let document = openapi();
    let described =
        &document["paths"]["/proxy/{connection}/{path}"]["get"]["responses"]["default"]["content"];
    let is_valid = |schema: &Value, body: &Value| {
        let mut root = document.clone();
        root["allOf"] = json!([schema]);
        jsonschema::validator_for(&root).unwrap().is_valid(body)
    };
    for connection in ["stripe", "plain"] {
        let refused = stage.ask("GET", &format!("/proxy/{connection}/v1/secret"), &[], "").await;
        assert_eq!(refused.status, 403, "{refused:?}");
        let own = &described[refused.headers["content-type"].to_str().unwrap()]["schema"]["anyOf"][0];
        assert!(is_valid(own, &refused.json()), "{refused:?}");

        let missing = r#"{"error":{"type":"invalid_request_error","message":"no such charge"}}"#;
        stage.upstream.answer(404, &[("content-type", "application/json")], missing);
        let passed_on = stage.ask("GET", &format!("/proxy/{connection}/v1/charges/ch_1"), &[], "").await;
        let json = &described["application/json"]["schema"];
        assert!(is_valid(json, &passed_on.json()) && !is_valid(&json["anyOf"][0], &passed_on.json()));
    }
}

#[tokio::test]
async fn the_answer_to_a_head_has_the_length_that_a_get_s_would_have_or_none() {
    let stage = Stage::start();
    let served = Served::start(config(), stage.host.routes()).await;
    let head = format!("host: h\r\nauthorization: Bearer {}\r\n\r\n", stage.token);
    for (status, headers, length) in [
        (200, &[("content-length", "4096")][..], Some("4096")),
        (200, &[("content-length", "20"), ("content-encoding", "gzip")], None),
        (200, &[("content-length", "20"), ("content-length", "21")], None),
        (200, &[], None),
        (204, &[("content-length", "4096")], None),
    ] {
        stage.upstream.answer(status, headers, "");
        let mut client = served.connect().await;
        client.send(&format!("HEAD /proxy/plain/v1/charges/ch_1 HTTP/1.1\r\n{head}")).await;
        let answer = client.read_once().await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.ends_with("\r\n\r\n"),
            "{answer}"
        );
        let told = answer.lines().find_map(|line| line.strip_prefix("content-length: "));
        assert_eq!(told, length, "{answer}");
    }
}

#[tokio::test]
async fn an_upstream_that_sends_the_key_back_is_not_handed_on() {
    let stage = Stage::start();
    let key = stage.canary.as_str().to_owned();
    let reversed: String = key.chars().rev().collect();
    let encoded: String = key.bytes().map(|byte| format!("%{byte:02x}")).collect();
    for (headers, body) in [
        (vec![], format!("{{\"key\":\"{key}\"}}")),
        (vec![], reversed),
        (vec![], encoded),
        (vec![("x-hidden", key.as_str())], "{}".to_owned()),
        (vec![("location", key.as_str())], String::new()),
    ] {
        stage.upstream.answer(200, &headers, body);
        let reply = stage.ask("GET", CHARGE, &[], "").await;
        let message = stripe_error(&reply, 502, "upstream_refused");
        assert!(message.contains("the upstream answered it"), "{message}");
        assert!(!format!("{reply:?}").contains(&key));
        assert_eq!(reply.headers["stripe-should-retry"], "false");
    }
    stage.upstream.answer(500, &[], format!("debug: {key}"));
    stage.ask("GET", "/proxy/plain/v1/charges", &[], "").await.problem(502, "upstream_refused");
}

#[tokio::test]
async fn an_answer_past_its_limit_is_refused_and_not_cut() {
    let stage = Stage::start();
    stage.upstream.answer(200, &[], "x".repeat(2_000));
    assert_eq!(stage.ask("GET", CHARGE, &[], "").await.body.len(), 2_000);
    stage.upstream.answer(200, &[], "x".repeat(2_001));
    stripe_error(&stage.ask("GET", CHARGE, &[], "").await, 502, "upstream_too_large");
}

#[tokio::test]
async fn an_upstream_that_fails_says_what_is_known_and_is_not_asked_again() {
    let stage = Stage::start();
    for (kind, sent, status, code, held_back) in [
        (WireErrorKind::Connect, RequestSent::No, 502, "upstream_unreachable", false),
        (WireErrorKind::HungUp, RequestSent::Unknown, 502, "upstream_unreachable", true),
        (WireErrorKind::Timeout, RequestSent::Unknown, 504, "upstream_timeout", true),
        (WireErrorKind::Malformed, RequestSent::Yes, 502, "upstream_refused", true),
    ] {
        stage.upstream.fail(kind, sent);
        let reply = stage.ask("POST", "/proxy/stripe/v1/charges", &[FORM], WRITE).await;
        stripe_error(&reply, status, code);
        let error = &reply.json()["error"];
        assert_eq!(error["request_sent"], sent.as_str(), "{kind:?}");
        assert_eq!(error["type"], "api_error");
        assert_eq!(reply.headers.contains_key("stripe-should-retry"), held_back, "{kind:?}");
        assert_eq!(stage.upstream.seen().len(), 1, "one request, once");
    }
}

#[tokio::test]
async fn an_sdk_does_not_send_a_write_again_because_of_the_upstreams_own_answer() {
    let stage = Stage::start();
    for (status, method, path, held_back) in [
        (409, "POST", "/v1/charges", true),
        (500, "POST", "/v1/charges", true),
        (503, "POST", "/v1/charges", true),
        (402, "POST", "/v1/charges", false),
        (200, "POST", "/v1/charges", false),
        (500, "GET", "/v1/charges", false),
    ] {
        stage.upstream.answer(status, &[("stripe-should-retry", "true")], "{}");
        let (headers, body) = if method == "POST" { (vec![FORM], WRITE) } else { (vec![], "") };
        let reply = stage.ask(method, &format!("/proxy/stripe{path}"), &headers, body).await;
        assert_eq!(reply.status, status);
        let said = reply.headers.get("stripe-should-retry").map(|value| value.to_str().unwrap());
        assert_eq!(said, held_back.then_some("false"), "{status} {method}");
    }
}

#[tokio::test]
async fn answers_are_counted_without_what_was_asked_for() {
    let stage = Stage::start();
    stage.ask("GET", CHARGE, &[], "").await;
    stage.ask("GET", "/proxy/stripe/v1/secret", &[], "").await;
    stage.send("GET", "/proxy/made-up/v1/x", &[], "").await;
    let text = stage.host.get("/metrics", "").await.body;
    for line in [
        r#"keybearer_http_requests_total{route="/proxy/{connection}/{path}",status="200"} 1"#,
        r#"keybearer_http_requests_total{route="/proxy/{connection}/{path}",status="403"} 1"#,
        r#"keybearer_http_requests_total{route="/proxy/{connection}/{path}",status="401"} 1"#,
        r#"keybearer_sends_total{connection="stripe",operation="get_charge",outcome="2xx"} 1"#,
        "keybearer_auth_failures_total 1",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("ch_1") && !text.contains("made-up"));
}

#[tokio::test]
async fn a_client_that_hangs_up_stops_its_request_and_the_trail_says_so() {
    let stage = Stage::start();
    stage.upstream.fall_silent();
    let served = Served::start(config(), stage.host.routes()).await;
    let mut client = served.connect().await;
    let head = format!(
        "POST /proxy/plain/v1/charges HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {}\r\n",
        stage.token
    );
    let form = format!("content-type: {}\r\ncontent-length: {}\r\n\r\n{WRITE}", FORM.1, WRITE.len());
    client.send(&format!("{head}{form}")).await;
    let (_, operator) = stage.host.token(TokenKind::Operator);
    let begun = Instant::now();
    while stage.upstream.seen().is_empty() {
        assert!(begun.elapsed() < LONG, "nothing was sent");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(client);
    let ended = loop {
        let page = stage.host.get("/v1/audit", &operator).await.json();
        let rows = page["rows"].as_array().unwrap().clone();
        if let Some(row) = rows.into_iter().find(|row| row["event"] == "call_finished") {
            break row;
        }
        assert!(begun.elapsed() < LONG, "no call has ended: {page:#}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert_eq!((&ended["mark"], &ended["request_sent"]), (&"cancelled".into(), &"unknown".into()));
    assert!(stage.host.door.places.take().is_ok(), "its place is free again");
}

#[tokio::test]
async fn an_upstream_that_says_nothing_is_given_up_at_the_callers_deadline() {
    let stage = Stage::start();
    stage.upstream.fall_silent();
    let begun = Instant::now();
    let headers = [FORM, ("keybearer-deadline-ms", "1500")];
    let reply = stage.ask("POST", "/proxy/stripe/v1/charges", &headers, WRITE).await;
    let message = stripe_error(&reply, 504, "upstream_timeout");
    assert!(message.contains("A request may have been sent."), "{message}");
    assert_eq!(reply.headers["stripe-should-retry"], "false");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}
