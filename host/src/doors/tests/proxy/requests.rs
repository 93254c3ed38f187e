//! What an SDK may send, and the tricks that a request can hold.

use super::super::client::{Served, config};
use super::{Stage, stripe_error};
use crate::store::TokenKind;

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

#[tokio::test]
async fn a_form_goes_upstream_in_its_one_form_without_the_sdks_chatter() {
    let stage = Stage::start();
    let chatter = [
        FORM,
        ("user-agent", "Stripe/v1 PythonBindings/16.1.0"),
        ("x-stripe-client-user-agent", "{\"lang\": \"python\"}"),
        ("x-stripe-client-telemetry", "{}"),
        ("stripe-version", "2026-10-28"),
        ("idempotency-key", "0f8c1d0e-random"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("connection", "keep-alive"),
        ("cookie", "session=1"),
        ("x-forwarded-for", "127.0.0.1"),
        ("keybearer-turn", "7"),
        ("accept", "*/*"),
    ];
    let body = "amount=500&currency=usd&description=%5Bconv%3A1%5D+caf%C3%A9";
    let reply = stage.ask("POST", "/proxy/stripe/v1/charges", &chatter, body).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let seen = stage.upstream.one();
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/v1/charges"));
    assert_eq!(seen.body, "amount=500&currency=usd&description=%5Bconv%3A1%5D%20caf%C3%A9");
    let mut names: Vec<_> = seen.headers.keys().map(|name| name.as_str().to_owned()).collect();
    names.sort();
    let own = ["accept", "accept-encoding", "authorization", "content-type", "stripe-version", "user-agent"];
    assert_eq!(names, own);
    assert_eq!(seen.headers["stripe-version"], "2024-06-20", "the connection's own");
    assert!(seen.headers["user-agent"].to_str().unwrap().starts_with("keybearer/"));
    let rows = stage.trail(&reply).await;
    assert_eq!((&rows[0]["turn"], &rows[1]["operation"]), (&"7".into(), &"create_charge".into()));
}

#[tokio::test]
async fn every_kind_of_body_is_taken_as_what_it_is() {
    let stage = Stage::start();
    for (method, path, content_type, body, sent) in [
        ("POST", "/v1/charges/ch_1/capture", Some(FORM.1), "", ""),
        (
            "POST",
            "/v1/charges/ch_1/capture",
            Some("application/x-www-form-urlencoded;charset=utf-8"),
            "amount=5",
            "amount=5",
        ),
        ("PUT", "/v2/notes/a", Some("application/json"), "{ \"text\" : \"\\u0041\" }", "{\"text\":\"A\"}"),
        ("PUT", "/v2/files/a", Some("application/octet-stream"), "\x01\x02", "\x01\x02"),
        ("DELETE", "/v2/notes/a", None, "", ""),
        ("DELETE", "/v2/notes/a", Some(FORM.1), "", ""),
        ("GET", "/v1/charges?expand[0]=customer&customer=a%20b", None, "", ""),
    ] {
        let headers: Vec<_> = content_type.map(|value| ("content-type", value)).into_iter().collect();
        let reply = stage.ask(method, &format!("/proxy/plain{path}"), &headers, body).await;
        assert_eq!(reply.status, 200, "{method} {path}: {reply:?}");
        let seen = stage.upstream.one();
        assert_eq!((seen.method.as_str(), seen.body.as_str()), (method, sent), "{path}");
    }
}

#[tokio::test]
async fn parameters_of_a_media_type_go_upstream_where_the_host_does_not_read_the_body() {
    let stage = Stage::start();
    for (path, content_type, body, sent) in [
        (
            "/v2/files/a",
            "Application/Octet-Stream;Name=\"A.bin\"",
            "\x01",
            "application/octet-stream; name=\"A.bin\"",
        ),
        ("/v2/notes/a", "application/json; charset=UTF-8", "{\"text\":\"a\"}", "application/json"),
    ] {
        let headers = [("content-type", content_type)];
        let reply = stage.ask("PUT", &format!("/proxy/plain{path}"), &headers, body).await;
        assert_eq!(reply.status, 200, "{content_type}: {reply:?}");
        assert_eq!(stage.upstream.one().headers["content-type"], sent);
    }
}

#[tokio::test]
async fn no_rule_for_tools_is_looser_here() {
    let stage = Stage::start();
    let json = ("content-type", "application/json");
    for (method, path, headers, body, says) in [
        // Names: twice, in other spellings, undeclared, missing.
        ("POST", "/v1/charges", vec![FORM], "amount=1&amount=2&currency=usd", "twice"),
        ("POST", "/v1/charges", vec![FORM], "amount=1&amount[]=2&currency=usd", "another spelling"),
        ("POST", "/v1/charges", vec![FORM], "amount=1&amount%5B0%5D=2&currency=usd", "another spelling"),
        ("POST", "/v1/charges", vec![FORM], "amount=1&currency=usd&destination=acct_1", "isn't declared"),
        ("POST", "/v1/charges", vec![FORM], "amount=1", "currency is missing"),
        ("POST", "/v1/charges?amount=1", vec![FORM], "amount=1&currency=usd", "isn't declared"),
        ("GET", "/v1/charges?limit=1&limit=2", vec![], "", "twice"),
        ("GET", "/v1/charges?limit=1&offset=2", vec![], "", "isn't declared"),
        // Values: another spelling of a number, a NUL.
        ("POST", "/v1/charges", vec![FORM], "amount=%2B1&currency=usd", "written plainly"),
        ("POST", "/v1/charges", vec![FORM], "amount=01&currency=usd", "written plainly"),
        ("POST", "/v1/charges", vec![FORM], "amount=1&currency=usd%00", "NUL"),
        ("PUT", "/v2/notes/a", vec![json], "{\"text\":\"a\\u0000b\"}", "NUL"),
        // Encodings.
        ("POST", "/v1/charges", vec![FORM], "amount=1&currency=%ff", "UTF-8"),
        ("POST", "/v1/charges", vec![FORM], "amount=1&currency=%4", "hexadecimal"),
        ("GET", "/v1/charges?limit=%", vec![], "", "hexadecimal"),
        ("GET", "/v1/charges?limit", vec![], "", "NAME=VALUE"),
        // Bodies that aren't what they say, or aren't what the operation takes.
        (
            "POST",
            "/v1/charges",
            vec![json],
            "{\"amount\":1,\"currency\":\"usd\"}",
            "must be application/x-www-form",
        ),
        ("PUT", "/v2/notes/a", vec![FORM], "text=a", "must be application/json"),
        ("PUT", "/v2/notes/a", vec![json], "{\"text\":\"a\",\"text\":\"b\"}", "JSON body is refused"),
        ("PUT", "/v2/notes/a", vec![json], "{\"text\":\"a\",\"more\":1}", "isn't declared"),
        ("PUT", "/v2/notes/a", vec![json], "[1]", "must be an object"),
        ("PUT", "/v2/notes/a", vec![json], "", "needs a body"),
        ("POST", "/v1/charges", vec![], "amount=1&currency=usd", "Content-Type"),
        ("POST", "/v1/charges", vec![FORM, json], "amount=1&currency=usd", "more than one Content-Type"),
        (
            "POST",
            "/v1/charges",
            vec![("content-type", "multipart/form-data; boundary=x")],
            "--x--",
            "type must be",
        ),
        (
            "PUT",
            "/v2/files/a",
            vec![("content-type", "application/octet-stream; a=b, application/json")],
            "{}",
            "isn't valid",
        ),
        (
            "PUT",
            "/v2/notes/a",
            vec![("content-type", "application/json; charset=utf-16")],
            "{}",
            "charset=utf-8",
        ),
        ("GET", "/v1/charges", vec![FORM], "limit=1", "has no body"),
        ("DELETE", "/v2/notes/a", vec![FORM], "a=1", "has no body"),
        // Headers that make another request of it.
        (
            "POST",
            "/v1/charges",
            vec![FORM, ("content-encoding", "gzip")],
            "amount=1&currency=usd",
            "content-encoding",
        ),
        (
            "POST",
            "/v1/charges",
            vec![FORM, ("x-http-method-override", "DELETE")],
            "amount=1&currency=usd",
            "x-http-method-override",
        ),
        (
            "POST",
            "/v1/charges",
            vec![FORM, ("stripe-account", "acct_1")],
            "amount=1&currency=usd",
            "stripe-account",
        ),
        ("GET", "/v1/charges", vec![("openai-organization", "org-1")], "", "openai-organization"),
        ("GET", "/v1/charges", vec![("impersonate-user", "root")], "", "impersonate-user"),
        ("GET", "/v1/charges", vec![("x-original-url", "/v1/secret")], "", "x-original-url"),
        ("GET", "/v1/charges", vec![("accept", "a"), ("accept", "b")], "", "twice"),
    ] {
        let reply = stage.ask(method, &format!("/proxy/stripe{path}"), &headers, body).await;
        let message = stripe_error(&reply, 400, "invalid_request");
        assert!(message.contains(says), "{method} {path} {body}: {message}");
        assert_eq!(reply.headers["stripe-should-retry"], "false");
        // Each is on the trail, read or not.
        assert_eq!(
            stage.trail(&reply).await.last().unwrap()["code"],
            "invalid_request",
            "{method} {path} {body}"
        );
    }
    assert!(stage.upstream.seen().is_empty(), "nothing was sent");
}

#[tokio::test]
async fn operations_outside_the_connection_or_the_grant_are_not_permitted() {
    let stage = Stage::start();
    let unknown = stage.ask("GET", "/proxy/stripe/v1/subscriptions", &[], "").await;
    stripe_error(&unknown, 403, "unknown_operation");
    let method = stage.ask("DELETE", "/proxy/stripe/v1/charges", &[], "").await;
    stripe_error(&method, 403, "unknown_operation");
    let ungranted = stage.ask("GET", "/proxy/stripe/v1/secret", &[], "").await;
    assert!(stripe_error(&ungranted, 403, "denied").contains("stripe:secret_thing"));
    stage.ask("GET", "/proxy/plain/v1/secret", &[], "").await.problem(403, "denied");
    stage.ask("GET", "/proxy/plain/v1/nothing", &[], "").await.problem(404, "unknown_operation");
    stage.ask("GET", "/proxy/plain/v1/charges/x", &[], "").await.problem(400, "invalid_request");
    assert!(stage.upstream.seen().is_empty());
    // Each is on the trail, under the id that the answer gives.
    let rows = stage.trail(&ungranted).await;
    assert_eq!(rows.last().unwrap()["code"], "denied");
    assert_eq!(ungranted.headers["request-id"], ungranted.headers["keybearer-call-id"]);
}

#[tokio::test]
async fn paths_reach_the_rules_as_they_stood_on_the_wire() {
    let stage = Stage::start();
    let served = Served::start(config(), stage.host.routes()).await;
    for (path, answered) in [
        // The path that it would be if someone tidied it up is one that's allowed.
        ("/proxy/plain/v1/x/../charges", "400 invalid_request"),
        ("/proxy/plain/v1/./charges", "400 invalid_request"),
        ("/proxy/plain/v1/%2e/charges", "400 invalid_request"),
        ("/proxy/plain/v1/x/%2E%2e/charges", "400 invalid_request"),
        ("/proxy/plain//v1/charges", "400 invalid_request"),
        ("/proxy/plain/v1//charges", "400 invalid_request"),
        ("/proxy/plain/v1%2fcharges", "400 invalid_request"),
        ("/proxy/plain/v1%5ccharges", "400 invalid_request"),
        ("/proxy/plain/v1\\charges", "400 invalid_request"),
        ("/proxy/plain/v1/charges;x=1", "400 invalid_request"),
        ("/proxy/plain/v1/charges%00", "400 invalid_request"),
        ("/proxy/plain/v1/charges%0d%0aX:%201", "400 invalid_request"),
        ("/proxy/plain/v1/%63harges%3f", "404 unknown_operation"),
        ("/proxy/plain/v1/charges/%252e%252e", "400 invalid_request"),
        ("/proxy/plain/v1/charges/%ef%bc%8f", "400 invalid_request"),
        ("/proxy/plain/v1/charges/%ff", "400 invalid_request"),
        ("/proxy/plain/v1/charges/", "404 unknown_operation"),
        ("/proxy/plain/../plain/v1/charges", "400 invalid_request"),
        ("/proxy/plain/", "404 unknown_operation"),
        ("/proxy/%70lain/v1/charges", "404 unknown_operation"),
        ("/proxy/PLAIN/v1/charges", "404 unknown_operation"),
        ("/proxy/../v1/charges", "404 unknown_operation"),
        ("/proxy//v1/charges", "404 unknown_operation"),
        // Out of this door altogether.
        ("/proxy/plain", "404 not_found"),
        ("//proxy/plain/v1/charges", "404 not_found"),
        ("/x/../proxy/plain/v1/charges", "404 not_found"),
        // What may be written otherwise goes on in its one form.
        ("/proxy/plain/v1/%63harges", "200 "),
        ("http://elsewhere.example/proxy/plain/v1/charges", "200 "),
        ("/proxy/plain/v1/charges#/../secret", "200 "),
    ] {
        let mut client = served.connect().await;
        let token = &stage.token;
        client
            .send(&format!("GET {path} HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {token}\r\n\r\n"))
            .await;
        let answer = client.read_once().await;
        let (status, code) = answered.split_once(' ').unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {answer}");
        assert!(code.is_empty() || answer.contains(&format!("\"code\":\"{code}\"")), "{path}: {answer}");
        let seen = stage.upstream.seen();
        assert_eq!(seen.len(), usize::from(status == "200"), "{path}: {seen:?}");
        assert!(seen.iter().all(|seen| seen.target == "/v1/charges"), "{path}: {seen:?}");
    }
}

#[tokio::test]
async fn what_smuggles_a_second_request_smuggles_nothing() {
    let stage = Stage::start();
    let served = Served::start(config(), stage.host.routes()).await;
    let token = &stage.token;
    let head =
        format!("POST /proxy/plain/v1/charges HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {token}\r\n");
    let form = "content-type: application/x-www-form-urlencoded\r\n";
    let second = format!(
        "GET /proxy/plain/v1/charges/ch_1 HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {token}\r\n\r\n"
    );
    for framing in [
        "content-length: 5\r\ncontent-length: 6\r\n",
        "transfer-encoding: chunked, identity\r\n",
        "transfer-encoding: xchunked\r\n",
        "content-length: +5\r\n",
    ] {
        let mut client = served.connect().await;
        client.send(&format!("{head}{form}{framing}\r\n0\r\n\r\n{second}")).await;
        let answer = client.read_to_close().await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{framing:?}: {answer}");
        assert!(stage.upstream.seen().is_empty(), "{framing:?}");
    }
    // Beside a length, chunks count. Whoever counts otherwise sees another end: nothing is read after it.
    let chunks = "b\r\namount=500&\r\nc\r\ncurrency=usd\r\n0\r\n\r\n";
    for framing in [
        "content-length: 5\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
    ] {
        let mut client = served.connect().await;
        client.send(&format!("{head}{form}{framing}\r\n{chunks}{second}")).await;
        let answer = client.read_to_close().await;
        assert!(
            answer.starts_with("HTTP/1.1 200 ") && answer.contains("\r\nconnection: close\r\n"),
            "{answer}"
        );
        assert_eq!(stage.upstream.one().body, "amount=500&currency=usd", "{framing:?}");
    }
    // Chunks are read whole, and sent as one body.
    let mut client = served.connect().await;
    client.send(&format!("{head}{form}transfer-encoding: chunked\r\n\r\n{chunks}")).await;
    assert!(client.read_once().await.starts_with("HTTP/1.1 200 "));
    assert_eq!(stage.upstream.one().body, "amount=500&currency=usd");
}

#[tokio::test]
async fn too_much_is_refused_by_the_door_or_by_the_connection() {
    let stage = Stage::start();
    // The connection's limit is 600 bytes, the door's is 1,000.
    let body = |length: usize| format!("amount=1&currency=usd&description={}", "x".repeat(length));
    let path = "/proxy/stripe/v1/charges";
    assert_eq!(stage.ask("POST", path, &[FORM], &body(500)).await.status, 200);
    let over = stage.ask("POST", path, &[FORM], &body(600)).await;
    assert!(stripe_error(&over, 400, "invalid_request").contains("600 bytes"));
    let far_over = stage.ask("POST", path, &[FORM], &body(1000)).await;
    stripe_error(&far_over, 400, "too_large");
    stage.ask("POST", "/proxy/plain/v1/charges", &[FORM], &body(1000)).await.problem(413, "too_large");
    // What grows when it's written in its one form counts as it's sent.
    let growing = format!("amount=1&currency=usd&description={}", "*".repeat(300));
    stripe_error(&stage.ask("POST", path, &[FORM], &growing).await, 400, "invalid_request");
    let long = format!("{path}/ch_{}", "1".repeat(5_000));
    stripe_error(&stage.ask("GET", &long, &[], "").await, 400, "invalid_request");
    assert_eq!(stage.upstream.seen().len(), 1);
}

#[tokio::test]
async fn what_is_refused_before_it_is_read_has_no_row_and_is_counted() {
    let stage = Stage::start();
    let path = "/proxy/plain/v1/charges";
    stage.ask("POST", path, &[FORM], &"x".repeat(2_000)).await.problem(413, "too_large");
    stage.ask("GET", path, &[("keybearer-deadline-ms", "soon")], "").await.problem(400, "bad_request");
    let taken = stage.host.door.places.take().unwrap();
    stage.ask("GET", path, &[], "").await.problem(503, "busy");
    drop(taken);
    assert!(stage.upstream.seen().is_empty());
    let (_, operator) = stage.host.token(TokenKind::Operator);
    let of_calls = async || {
        let page = stage.host.get("/v1/audit?limit=1000", &operator).await.json();
        page["rows"].as_array().unwrap().iter().filter(|row| row["call"].is_string()).count()
    };
    assert_eq!(of_calls().await, 0);
    let metrics = stage.host.get("/metrics", "").await.body;
    for status in [400, 413, 503] {
        let counted = format!(
            r#"keybearer_http_requests_total{{route="/proxy/{{connection}}/{{path}}",status="{status}"}} 1"#
        );
        assert!(metrics.contains(&counted), "{counted} is not in\n{metrics}");
    }
    // One that is read has rows.
    assert_eq!(stage.ask("GET", path, &[], "").await.status, 200);
    assert!(of_calls().await > 0);
}

#[tokio::test]
async fn other_methods_are_not_taken() {
    let stage = Stage::start();
    for method in ["OPTIONS", "TRACE", "CONNECT", "PROPFIND"] {
        let reply = stage.ask(method, "/proxy/stripe/v1/charges", &[], "").await;
        reply.problem(405, "method_not_allowed");
    }
    assert!(stage.upstream.seen().is_empty());
}

#[tokio::test]
async fn a_full_or_stopping_host_says_so() {
    let stage = Stage::start();
    let taken = stage.host.door.places.take().unwrap();
    let busy = stage.ask("GET", "/proxy/stripe/v1/charges", &[], "").await;
    stripe_error(&busy, 503, "busy");
    assert_eq!(busy.headers["retry-after"], "1");
    assert!(!busy.headers.contains_key("stripe-should-retry"), "nothing was sent: the SDK may try again");
    drop(taken);
    stage.host.door.drain();
    stripe_error(&stage.ask("GET", "/proxy/stripe/v1/charges", &[], "").await, 503, "shutting_down");
    assert!(stage.upstream.seen().is_empty());
}

#[tokio::test]
async fn a_host_that_can_not_record_sends_nothing() {
    let stage = Stage::start();
    stage.host.trail.fill_up();
    let reply = stage.ask("POST", "/proxy/stripe/v1/charges", &[FORM], "amount=1&currency=usd").await;
    stripe_error(&reply, 503, "audit_unavailable");
    assert!(stage.upstream.seen().is_empty());
}
