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
    let message =
        differ(|upstream| upstream.expect("POST", "/a").bytes("text/plain", "a\n").reply(200, ""), post);
    assert!(message.ends_with("not the text/plain \"a\\n\""), "{message}");
}

#[test]
fn bytes_are_compared_with_their_type() {
    let upstream = Upstream::new();
    upstream.expect("PUT", "/a").bytes("text/csv; charset=utf-8", [0xff]).reply(200, "");
    connection("x").put("/a", []).bytes("text/csv; charset=UTF-8", [0xff]).send().unwrap();
    let message = failing(|| {
        upstream.expect("PUT", "/a").bytes("text/csv", "a").reply(200, "");
        _ = connection("x").put("/a", []).bytes("text/csv", "b").send();
    });
    assert!(message.ends_with("its body is the text/csv \"b\", not the text/csv \"a\""), "{message}");
}

#[test]
fn numbers_in_json_are_compared_by_value() {
    let upstream = Upstream::new();
    let put = |numbers: &[f64]| connection("x").put("/a", []).json(numbers).send();
    upstream.expect("PUT", "/a").json("[5, -0, 0.5, 1e16, 10000000000000000, 1e300]").reply(200, "");
    put(&[5.0, 0.0, 0.5, 1e16, 1e16, 1e300]).unwrap();
    let beyond_floats = (9_007_199_254_740_992.0, "[9007199254740993]");
    for (sent, wanted) in [(5.5, "[5]"), beyond_floats, (1e300, "[1e301]")] {
        let message = failing(|| {
            upstream.expect("PUT", "/a").json(wanted).reply(200, "");
            _ = put(&[sent]);
        });
        assert!(message.contains("its body is the JSON"), "{message}");
    }
    upstream.expect("POST", "/a").json(r#"{"a": [{"b": 1.0}]}"#).reply(200, "");
    connection("x").post("/a", []).json(&Nested { a: vec![Inner { b: 1 }] }).send().unwrap();
}

#[derive(crate::Payload)]
struct Nested {
    a: Vec<Inner>,
}

#[derive(crate::Payload)]
struct Inner {
    b: i64,
}

#[test]
fn a_form_whose_values_are_absent_is_a_form() {
    let upstream = Upstream::new();
    let post =
        || connection("x").post("/a", []).form("amount", None::<i64>).form("note", None::<&str>).send();
    upstream.expect("POST", "/a").reply(200, "");
    post().unwrap();
    let message = failing(|| {
        upstream.expect("POST", "/a").json("{}").reply(200, "");
        _ = post();
    });
    assert!(message.ends_with("its body is the form [], not the JSON {}"), "{message}");
}

#[test]
fn what_the_host_refuses_of_every_request_fails_the_test() {
    let get = || connection("x").get("/a", []);
    let post = || connection("x").post("/a", []);
    let at = |path| connection("x").get(path, []);
    for (request, rule) in [
        (at("/a?v=1"), "GET /a?v=1: the path holds `?`: query parameters are given with `.query`"),
        (at("a"), "GET a: the path must start with `/`"),
        (at("//a"), "GET //a: the path holds an empty segment"),
        (at("/a%2Fb"), "GET /a%2Fb: the path's `a%2Fb` holds '/', which servers read in several ways"),
        (get().query("", 1), "GET /a: a query parameter has no name"),
        (get().query("a\0", 1), "GET /a: the query parameter `a\\0` holds a NUL"),
        (get().header("a b", 1), "GET /a: `a b` is no header's name"),
        (get().header("a", "é"), "GET /a: the header `a` holds a character other than visible ASCII"),
        (get().header("a", "b "), "GET /a: the header `a` starts or ends with a space"),
        (get().query("a", 1).query("a", 2), "GET /a: the query parameter `a` is there twice"),
        (get().header("If-Match", 1).header("if-match", 2), "GET /a: the header `if-match` is there twice"),
        (
            get().header("Authorization", "x"),
            "GET /a: the header `Authorization` is written by the host alone",
        ),
        (get().header("X_Real_IP", "x"), "GET /a: the header `X_Real_IP` is written by the host alone"),
        (get().header("Proxy-To", "x"), "GET /a: the header `Proxy-To` is written by the host alone"),
        (get().form("a", None::<i64>), "GET /a: a GET request has no body"),
        (post().form("a", "\0"), "POST /a: the form field `a` holds a NUL"),
        (post().json("\\\0"), "POST /a: a text in the JSON body holds a NUL"),
        (post().json("{}"), "POST /a: the JSON body is neither an object nor a list"),
        (post().json(&Nesting(33)), "POST /a: the JSON body is nested deeper than 32 levels"),
        (
            post().json(&[None::<i64>][..]),
            "POST /a: `[0]` of the JSON body is null: no connection takes a null in a list",
        ),
        (post().bytes("text", "a"), "POST /a: `text` is no media type"),
        (
            post().bytes("text/csv; a=b, text/html", "a"),
            "POST /a: `text/csv; a=b, text/html` has a parameter that isn't `NAME=VALUE`, or has in quotes what isn't \
             taken there",
        ),
        (
            post().bytes("text/csv; a=\"application/json\"", "a"),
            "POST /a: `text/csv; a=\"application/json\"` has a parameter that isn't `NAME=VALUE`, or has in quotes what \
             isn't taken there",
        ),
        (post().bytes("text/csv; a=1; A=2", "a"), "POST /a: the media type's parameter `a` is there twice"),
        (post().form("a", 1).form("a", 2), "POST /a: the form field `a` is there twice"),
        (
            post().bytes("application/JSON; charset=utf-8", "{}"),
            "POST /a: a body of type `application/JSON; charset=utf-8` is given with `.json` or `.form`, not with \
             `.bytes`",
        ),
    ] {
        assert_eq!(failing(|| _ = request.send()), format!("the host refuses {rule}"));
    }
}

/// So many lists, one in the other.
struct Nesting(usize);

impl crate::json::ToJson for Nesting {
    fn to_json(&self, out: &mut String) -> Result<(), crate::json::JsonError> {
        out.push_str(&"[".repeat(self.0));
        out.push_str(&"]".repeat(self.0));
        Ok(())
    }
}

#[derive(crate::Payload)]
struct Change {
    due: Option<Option<i64>>,
    note: Option<String>,
}

#[test]
fn what_some_connections_take_is_sent() {
    let upstream = Upstream::new();
    upstream.expect("PATCH", "/a").json(r#"{"due": null}"#).reply(200, "");
    connection("x").patch("/a", []).json(&Change { due: Some(None), note: None }).send().unwrap();
    let lists = format!("{}{}", "[".repeat(32), "]".repeat(32));
    upstream.expect("POST", "/a").json(&lists).reply(200, "");
    connection("x").post("/a", []).json(&Nesting(32)).send().unwrap();
    let form = "multipart/form-data; boundary=\"A b\"";
    upstream.expect("POST", "/a").bytes(form, "--A b--").reply(200, "");
    connection("x").post("/a", []).bytes(form, "--A b--").send().unwrap();
}

#[test]
fn a_tool_is_held_to_the_connections_it_declares() {
    let message = failing(|| {
        let _upstream = Upstream::new();
        let _running = Running::new("look", &["stripe"]);
        let _inner = Running::new("ask", &["github"]);
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
fn numbers_that_cannot_be_sent_are_named() {
    let get = || connection("x").get("/a", []);
    for (request, message) in [
        (
            get().query("score", f64::NAN).query("limit", f64::INFINITY),
            "`score`: is NaN, not a finite number",
        ),
        (get().form("score", Some(f64::INFINITY)), "`score`: is inf, not a finite number"),
        (
            get().json(&[1.0, f64::NAN][..]),
            "the JSON body can't be written: `[1]`: is NaN, not a finite number",
        ),
    ] {
        let error = request.send().unwrap_err();
        assert_eq!((error.kind(), error.message()), (ErrorKind::Failed, message));
    }
}

#[test]
fn headers_are_found_whatever_their_case() {
    let upstream = Upstream::new();
    upstream.expect("GET", "/a").reply_header("Request-Id", "req_1").reply(200, [0xff]);
    let response = connection("x").get("/a", []).send().unwrap();
    assert_eq!(response.header("REQUEST-ID"), Some("req_1"));
    assert_eq!(response.text().unwrap_err().message(), "the reply of `x` isn't UTF-8 text");
}
