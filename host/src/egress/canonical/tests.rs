use std::sync::Arc;

use super::*;
use crate::connection::Connections;

const CONNECTION: &str = r#"
base_url = "https://api.example.com"
secret = "key"
attach = { kind = "header", name = "x-api-key" }
headers = { "api-version" = "7" }
limits = { request_bytes_max = 100 }
[operations.get]
request = "GET /v1/things"
effect = "read"
"#;

fn connection() -> Arc<Connection> {
    let all = Connections::parse(&[("api.toml", CONNECTION)]).unwrap();
    all.iter().next().unwrap().clone()
}

fn draft() -> Draft {
    Draft {
        connection: "api".into(),
        method: "POST".into(),
        path: "/v1/things".into(),
        query: vec![],
        headers: vec![],
        body: None,
    }
}

fn refused(draft: Draft) -> String {
    let failure = Canonical::from_draft(draft, &connection()).unwrap_err();
    assert_eq!(failure.reason, FailureReason::InvalidRequest);
    failure.message
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn json(text: &str) -> Draft {
    Draft { body: Some(DraftBody::Json(text.into())), ..draft() }
}

#[test]
fn a_plain_request_keeps_its_parts() {
    let canonical = Canonical::from_draft(
        Draft {
            query: pairs(&[("q", "a b")]),
            headers: pairs(&[("If-None-Match", "\"1\""), ("Accept", "text/plain")]),
            body: Some(DraftBody::Form(pairs(&[("amount", "5"), ("note", "a&b")]))),
            ..draft()
        },
        &connection(),
    )
    .unwrap();
    assert_eq!(canonical.method(), Method::POST);
    assert_eq!(canonical.path(), "/v1/things");
    assert_eq!(canonical.query_encoded(), "q=a%20b");
    assert_eq!(canonical.headers()[0].0, "accept");
    assert_eq!(canonical.content_type(), Some(FORM));
    assert_eq!(canonical.body_bytes().as_ref(), b"amount=5&note=a%26b");
}

#[test]
fn json_is_sent_as_it_was_checked() {
    let canonical =
        Canonical::from_draft(json(" {\"b\": [1.5, \"\\u0041\"], \"a\": null} "), &connection()).unwrap();
    assert_eq!(canonical.body_bytes().as_ref(), br#"{"a":null,"b":[1.5,"A"]}"#);
}

#[test]
fn bodies_that_two_readers_could_read_apart_are_refused() {
    assert!(refused(json(r#"{"amount":1,"amount":100}"#)).contains("twice"));
    assert!(refused(json(r#"{"a":{"b":1,"\u0062":2}}"#)).contains("twice"));
    assert!(refused(json(&"[".repeat(50))).contains("deeper"));
    assert!(refused(json("{\"a\":18446744073709551616}")).contains("64 bits"));
    assert!(refused(json("{}x")).contains("not valid JSON"));
    for cut in [r#"{"a":"b\u0000c"}"#, r#"{"a\u0000":1}"#, r#"[1,[{"a":["\u0000"]}]]"#] {
        assert!(refused(json(cut)).contains("a NUL"), "{cut}");
    }
    assert!(Canonical::from_draft(json(r#"{"a":"\\u0000"}"#), &connection()).is_ok(), "it's a backslash");
    let form = |fields: &[(&str, &str)]| Draft { body: Some(DraftBody::Form(pairs(fields))), ..draft() };
    assert!(refused(form(&[("amount", "1"), ("amount", "100")])).contains("twice"));
    let raw = |content_type: &str| Draft {
        body: Some(DraftBody::Bytes {
            content_type: content_type.into(),
            data: Bytes::from_static(b"a=1&a=2"),
        }),
        ..draft()
    };
    for disguised in [FORM, "Application/JSON; charset=utf-8", "application/problem+json", "text/json"] {
        assert!(refused(raw(disguised)).contains("not as bytes"), "{disguised}");
    }
    for malformed in ["", "text", "text/", "text/plain\r\nx: y", "té/xt", "a/b/c"] {
        refused(raw(malformed));
    }
    assert!(Canonical::from_draft(raw("text/plain; charset=utf-8"), &connection()).is_ok());
}

#[test]
fn bodies_have_a_size() {
    assert!(refused(json(&format!("\"{}\"", "a".repeat(99)))).contains("larger"));
    assert!(Canonical::from_draft(json(&format!("\"{}\"", "a".repeat(98))), &connection()).is_ok());
    refused(Draft { body: Some(DraftBody::Form(pairs(&[("a", &"x".repeat(99))]))), ..draft() });
    let data = Bytes::from(vec![0; 101]);
    refused(Draft { body: Some(DraftBody::Bytes { content_type: "a/b".into(), data }), ..draft() });
    for method in ["GET", "HEAD"] {
        assert!(refused(Draft { method: method.into(), ..json("{}") }).contains("no body"));
    }
}

#[test]
fn methods_are_a_closed_list() {
    for method in ["", "get", "TRACE", "CONNECT", "OPTIONS", "POST ", "POST /x HTTP/1.1\r\n", "BREW"] {
        refused(Draft { method: method.into(), ..draft() });
    }
}

#[test]
fn headers_that_the_host_writes_are_refused_in_any_case() {
    for name in [
        "Authorization",
        "HOST",
        "cookie",
        "Proxy-Authorization",
        "Proxy-Anything",
        "X-Forwarded-For",
        "Forwarded",
        "Connection",
        "TE",
        "Transfer-Encoding",
        "Upgrade",
        "Content-Length",
        "Content-Type",
        "Content-Encoding",
        "Accept-Encoding",
        "Expect",
        "X-HTTP-Method-Override",
        "x_forwarded_for",
        "X-Api-Key",
        "Api-Version",
        "Keybearer-Call-Id",
        "Via",
        "Sec-Fetch-Site",
    ] {
        let message = refused(Draft { headers: pairs(&[(name, "x")]), ..draft() });
        assert!(message.contains("host alone"), "{name}: {message}");
    }
    let message = refused(Draft { headers: pairs(&[("X-Other", "x")]), ..draft() });
    assert!(message.contains("isn't one that the connection api allows"));
}

#[test]
fn headers_hold_no_line_ends_and_come_once() {
    for (name, value) in [
        ("accept", "a\r\nx-api-key: b"),
        ("accept", "a\nb"),
        ("accept", "a\0b"),
        ("accept", "é"),
        ("accept", " a"),
        ("accept\r\nx", "a"),
        ("accept ", "a"),
        ("", "a"),
        (":path", "a"),
    ] {
        refused(Draft { headers: pairs(&[(name, value)]), ..draft() });
    }
    assert!(
        refused(Draft { headers: pairs(&[("accept", "a"), ("Accept", "b")]), ..draft() }).contains("twice")
    );
    let flood: Vec<_> = (0..33).map(|n| (format!("h{n}"), String::new())).collect();
    assert!(refused(Draft { headers: flood, ..draft() }).contains("more than"));
}

#[test]
fn every_part_is_in_the_digest() {
    let base = || Draft {
        query: pairs(&[("a", "1")]),
        headers: pairs(&[("accept", "x")]),
        body: Some(DraftBody::Form(pairs(&[("b", "2")]))),
        ..draft()
    };
    let digest = |draft: Draft| Canonical::from_draft(draft, &connection()).unwrap().digest();
    let bytes = |content_type: &str| Draft {
        body: Some(DraftBody::Bytes { content_type: content_type.into(), data: Bytes::from_static(b"b=2") }),
        ..base()
    };
    let changed = [
        Draft { method: "PUT".into(), ..base() },
        Draft { path: "/v1/thing".into(), ..base() },
        Draft { query: pairs(&[("a", "2")]), ..base() },
        Draft { query: vec![], ..base() },
        Draft { headers: pairs(&[("accept", "y")]), ..base() },
        Draft { headers: pairs(&[("if-match", "x")]), ..base() },
        Draft { body: None, ..base() },
        Draft { body: Some(DraftBody::Form(pairs(&[("b", "3")]))), ..base() },
        bytes("a/b"),
        bytes("a/b; boundary=x"),
        bytes("a/b; boundary=X"),
    ];
    let mut digests: Vec<_> = changed.into_iter().map(digest).collect();
    digests.push(digest(base()));
    digests.sort();
    digests.dedup();
    assert_eq!(digests.len(), 12);
    assert_eq!(
        digest(base()),
        digest(Draft { path: "/v1/%74hings".into(), ..base() }),
        "one form, one digest"
    );
    assert_eq!(digest(bytes("a/b; boundary=x")), digest(bytes("A/B;Boundary=x")), "one form, one digest");
}
