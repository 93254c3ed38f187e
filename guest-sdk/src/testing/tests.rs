use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Running, Upstream};
use crate::{ErrorKind, FailureReason, RequestSent, connection};

/// What a test that fails says.
fn failing(test: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(test)).expect_err("should panic");
    match panic.downcast::<String>() {
        Ok(message) => *message,
        Err(panic) => (*panic.downcast::<&str>().unwrap()).to_owned(),
    }
}

#[test]
fn a_request_that_never_comes_fails_the_test() {
    let message = failing(|| {
        let upstream = Upstream::new();
        upstream.expect("GET", "/a").reply(200, "");
    });
    assert_eq!(message, "a request that was expected never came: GET /a");
}

#[test]
fn a_request_that_was_not_expected_fails_the_test() {
    let message = failing(|| {
        let _upstream = Upstream::new();
        _ = connection("x").delete("/a/{}", [&1]).send();
    });
    assert_eq!(message, "a request came that wasn't expected: DELETE /a/1");
    assert!(failing(|| _ = connection("x").get("/a", []).send()).contains("Upstream::new()"));
}

#[test]
fn differences_are_named() {
    let differ = |script: fn(&Upstream), send: fn()| {
        failing(|| {
            let upstream = Upstream::new();
            script(&upstream);
            send();
        })
    };
    let get = || _ = connection("x").get("/a", []).query("limit", 3).send();
    let post =
        || _ = connection("x").post("/a", []).form("amount", 5).form_entry("metadata", "k", "v").send();

    let message = differ(|upstream| upstream.expect("GET", "/b").reply(200, ""), get);
    assert_eq!(message, "a request isn't the one expected (GET /b): it is GET /a");
    let message = differ(|upstream| upstream.expect("GET", "/a").reply(200, ""), get);
    assert!(message.contains("its query is [(\"limit\", \"3\")], not []"), "{message}");
    let message = differ(|upstream| upstream.expect("GET", "/a").connection("y").reply(200, ""), get);
    assert!(message.contains("it goes through `x`, not `y`"), "{message}");
    let message = differ(
        |upstream| upstream.expect("GET", "/a").query("limit", "3").header("A", "b").reply(200, ""),
        get,
    );
    assert!(message.contains("it lacks the header `A: b`"), "{message}");
    let message = differ(|upstream| upstream.expect("POST", "/a").form("amount", "5").reply(200, ""), post);
    assert!(
        message.contains("its body is the form [(\"amount\", \"5\"), (\"metadata[k]\", \"v\")]"),
        "{message}"
    );
    let message = differ(|upstream| upstream.expect("POST", "/a").json("{}").reply(200, ""), post);
    assert!(message.contains("not the JSON {}"), "{message}");
}

#[test]
fn a_tool_is_held_to_the_connections_it_declares() {
    let message = failing(|| {
        let _upstream = Upstream::new();
        let _running = Running::new("look", &["stripe"]);
        _ = connection("github").get("/user", []).send();
    });
    assert!(message.starts_with("`look` uses the connection `github` and doesn't declare it"), "{message}");
}

#[test]
fn failures_keep_what_is_known_of_the_send() {
    let upstream = Upstream::new();
    upstream.expect("GET", "/a").fail(FailureReason::Timeout, RequestSent::Unknown, "the deadline passed");
    let error = connection("x").get("/a", []).send().unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::SendFailed, "the deadline passed"));
    assert_eq!(error.send_failure().unwrap().request_sent, RequestSent::Unknown);
}

#[test]
fn statuses_become_errors_without_the_body() {
    let upstream = Upstream::new();
    for status in [300, 400, 401, 402, 404, 409, 410, 418, 429, 500] {
        upstream.expect("GET", "/a").reply(status, "INTERNAL");
        let response = connection("x").get("/a", []).send().unwrap();
        assert_eq!(response.body(), b"INTERNAL");
        let error = response.error_for_status().unwrap_err();
        let kind = if matches!(status, 404 | 410) { ErrorKind::NotFound } else { ErrorKind::Upstream };
        assert_eq!(error.kind(), kind);
        assert!(error.message().ends_with(&format!("(status {status})")), "{error}");
        assert!(!error.message().contains("INTERNAL"));
    }
}

#[test]
fn mistakes_made_while_building_come_out_of_send() {
    let error = connection("x").get("/a/{}", [&".."]).send().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArguments);
    assert!(error.message().contains("`..`"), "{error}");
}

#[test]
fn headers_are_found_whatever_their_case() {
    let upstream = Upstream::new();
    upstream.expect("GET", "/a").reply_header("Request-Id", "req_1").reply(200, [0xff]);
    let response = connection("x").get("/a", []).send().unwrap();
    assert_eq!(response.header("REQUEST-ID"), Some("req_1"));
    assert_eq!(response.text().unwrap_err().message(), "the reply of `x` isn't UTF-8 text");
}
