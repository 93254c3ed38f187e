//! Upstreams that send too much, too slowly, or in a way that can't be looked into.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::upstream::{chunk, chunked_head};
use super::*;
use crate::refusal::RequestSent;

const SMALL: &str = "limits = { response_bytes_max = 1000 }";

async fn refused(lines: &str, script: impl Fn(&str) -> Vec<Act> + Send + Sync + 'static) -> FailureReason {
    let failure = World::new(lines, script).await.create().await.unwrap_err();
    assert_eq!(failure.request_sent, RequestSent::Yes, "{failure:?}");
    failure.reason
}

#[tokio::test]
async fn a_drip_ends_at_the_deadline() {
    let drip = |_: &str| {
        vec![
            Act::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n".to_vec()),
            Act::Endless(b"a".to_vec(), Duration::from_millis(20)),
        ]
    };
    let started = Instant::now();
    assert_eq!(refused("timeouts = { total_ms_max = 400 }", drip).await, FailureReason::Timeout);
    assert!(started.elapsed() < Duration::from_secs(4));
    let world = World::new("", drip).await;
    let failure = world.send(get(), &realm("acme"), Duration::from_millis(400)).await.unwrap_err();
    assert_eq!((failure.reason, failure.request_sent), (FailureReason::Timeout, RequestSent::Yes));
}

#[tokio::test]
async fn a_body_without_end_is_cut_off() {
    let endless = |_: &str| vec![chunked_head(), Act::Endless(chunk("a".repeat(100)), Duration::ZERO)];
    assert_eq!(refused(SMALL, endless).await, FailureReason::ResponseTooLarge);
}

#[tokio::test]
async fn a_body_up_to_the_limit_passes() {
    let world = World::new(SMALL, |_| reply(200, &[], "a".repeat(1000))).await;
    assert_eq!(world.get().await.unwrap().body.len(), 1000);
    let in_pieces = |_: &str| {
        let mut acts = vec![chunked_head()];
        acts.extend((0..10).map(|_| Act::Send(chunk("b".repeat(100)))));
        acts.push(Act::Send(chunk("")));
        acts
    };
    let world = World::new(SMALL, in_pieces).await;
    assert_eq!(world.get().await.unwrap().body, "b".repeat(1000).into_bytes());
    assert_eq!(refused(SMALL, |_| reply(200, &[], "a".repeat(1001))).await, FailureReason::ResponseTooLarge);
}

#[tokio::test]
async fn a_long_body_that_is_not_searched_in_time_is_refused() {
    let long = "a".repeat(SHORT_BYTES_MAX + 1);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(long.as_bytes()).unwrap();
    let compressed = encoder.finish().unwrap();
    for headers in [&[("content-encoding", "gzip")][..], &[]] {
        let (long, compressed) = (long.clone(), compressed.clone());
        let world = World::new("", move |request| match (request.starts_with("POST"), headers) {
            (true, _) => reply(200, &[], &long[1..]),
            (false, []) => reply(200, headers, &long),
            (false, _) => reply(200, headers, &compressed),
        })
        .await;
        let full = world.egress.aside().fill();
        assert_eq!(world.create().await.unwrap().body.len(), SHORT_BYTES_MAX, "a short one needs no place");
        let failure = world.send(get(), &realm("acme"), Duration::from_millis(600)).await.unwrap_err();
        assert_eq!((failure.reason, failure.request_sent), (FailureReason::Timeout, RequestSent::Yes));
        drop(full);
        assert_eq!(world.get().await.unwrap().body.len(), SHORT_BYTES_MAX + 1);
    }
}

#[tokio::test]
async fn a_bomb_does_not_go_off() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let zeros = vec![0; 1024 * 1024];
    (0..100).for_each(|_| encoder.write_all(&zeros).unwrap());
    let bomb = encoder.finish().unwrap();
    assert!(bomb.len() < 200_000);
    let script = move |_: &str| reply(200, &[("content-encoding", "gzip")], &bomb);
    assert_eq!(refused("", script).await, FailureReason::ResponseTooLarge);
}

#[tokio::test]
async fn encodings_that_cannot_be_looked_into_are_refused() {
    for headers in [
        &[("content-encoding", "br")][..],
        &[("content-encoding", "zstd")],
        &[("content-encoding", "gzip, gzip")],
        &[("content-encoding", "gzip"), ("content-encoding", "gzip")],
        &[("content-encoding", "identity, br")],
        // Not gzip at all, and cut short.
        &[("content-encoding", "gzip")],
        &[("content-encoding", "deflate")],
    ] {
        let script = move |_: &str| reply(200, headers, b"\x1f\x8b\x08\x00\x00");
        assert_eq!(refused("", script).await, FailureReason::ResponseRefused, "{headers:?}");
    }
    let world = World::new("", |_| reply(200, &[("content-encoding", "identity")], "ok")).await;
    assert_eq!(world.get().await.unwrap().body.as_ref(), b"ok");
    let world = World::new("", |_| reply(200, &[("content-encoding", "gzip")], "")).await;
    assert!(world.get().await.unwrap().body.is_empty());
}

#[tokio::test]
async fn a_body_is_framed_in_chunks_and_not_turned_into_anything_else_on_the_way() {
    let coded = |coding: &'static str| {
        move |_: &str| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
            encoder.write_all(b"ok").unwrap();
            let head = format!("HTTP/1.1 200 OK\r\n{coding}\r\nconnection: close\r\n\r\n");
            let body = [chunk(encoder.finish().unwrap()), chunk("")].concat();
            vec![Act::Send([head.into_bytes(), body].concat()), Act::HangUp]
        }
    };
    for coding in [
        "transfer-encoding: gzip, chunked",
        "transfer-encoding: gzip\r\ntransfer-encoding: chunked",
        "transfer-encoding: gzip",
        "transfer-encoding: chunked, chunked",
        "transfer-encoding: chunked, gzip\r\ncontent-encoding: gzip",
    ] {
        assert_eq!(refused("", coded(coding)).await, FailureReason::ResponseRefused, "{coding}");
    }
    let world = World::new("", coded("transfer-encoding: Chunked\r\ncontent-encoding: gzip")).await;
    assert_eq!(world.get().await.unwrap().body.as_ref(), b"ok");
}

#[tokio::test]
async fn a_huge_head_is_refused() {
    let many = |_: &str| {
        let names: Vec<String> = (0..500).map(|n| format!("x-{n}")).collect();
        let headers: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
        reply(200, &headers, "")
    };
    assert_eq!(refused("", many).await, FailureReason::ResponseRefused);
    let large = |_: &str| {
        let value = "v".repeat(8_000);
        reply(200, &[("x-1", &value), ("x-2", &value), ("x-3", &value), ("x-4", &value), ("x-5", &value)], "")
    };
    assert_eq!(refused("", large).await, FailureReason::ResponseTooLarge);
    let endless = |_: &str| {
        vec![
            Act::Send(b"HTTP/1.1 200 OK\r\n".to_vec()),
            Act::Endless(
                b"x: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n"
                    .repeat(100),
                Duration::ZERO,
            ),
        ]
    };
    assert_eq!(refused("", endless).await, FailureReason::ResponseRefused);
}
