//! Names, addresses, TLS, redirects and hang-ups: what is reached, and what is known of a request that failed.

use super::upstream::chunked_head;
use super::*;
use crate::refusal::RequestSent;

fn is(failure: &SendFailure, reason: FailureReason, sent: RequestSent) {
    assert_eq!((failure.reason, failure.request_sent), (reason, sent), "{failure:?}");
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let world = World::around(Upstream::start("other.test", Mood::Polite, |_| vec![]).await, "");
    let failure = world.create().await.unwrap_err();
    is(&failure, FailureReason::Unreachable, RequestSent::No);
    assert!(failure.cause.unwrap().contains("certificate"));
    assert!(world.upstream.requests().is_empty());
}

#[tokio::test]
async fn an_authority_that_the_connection_does_not_name_is_refused() {
    let mut upstream = Upstream::start(NAME, Mood::Polite, |_| vec![]).await;
    upstream.certificate_pem = rcgen::generate_simple_self_signed(vec![NAME.to_owned()]).unwrap().cert.pem();
    let world = World::around(upstream, "");
    is(&world.create().await.unwrap_err(), FailureReason::Unreachable, RequestSent::No);
    assert!(world.upstream.requests().is_empty());
}

#[tokio::test]
async fn redirects_are_handed_back() {
    for target in ["http://169.254.169.254/latest/meta-data/", "https://evil.example/"] {
        let world = World::new("", move |_| reply(302, &[("location", target)], "")).await;
        let got = world.get().await.unwrap();
        assert_eq!(got.status, 302);
        assert!(got.headers.is_empty());
        assert_eq!(world.upstream.requests().len(), 1);
    }
    let world =
        World::new("response_headers = [\"location\"]", |_| reply(307, &[("location", "/x")], "")).await;
    assert_eq!(world.get().await.unwrap().headers, [("location".to_owned(), "/x".to_owned())]);
    assert_eq!(world.upstream.requests().len(), 1);
}

#[tokio::test]
async fn names_with_a_bad_address_are_not_reached() {
    for answers in
        [&["10.0.0.1"][..], &["169.254.169.254"], &["127.0.0.1", "10.0.0.1"], &["::ffff:127.0.0.1"], &[]]
    {
        let upstream = Upstream::start(NAME, Mood::Polite, |_| reply(200, &[], "")).await;
        let world = World::resolving(upstream, "", Answers::new(&[answers]));
        let failure = world.create().await.unwrap_err();
        is(&failure, FailureReason::Unreachable, RequestSent::No);
        assert!(!failure.message.contains("10.0.0.1") && !failure.message.contains("169.254"));
        assert_eq!(world.upstream.connections(), 0, "{answers:?}");
    }
}

#[tokio::test]
async fn a_name_that_turns_private_is_not_reached_again() {
    let upstream = Upstream::start(NAME, Mood::Polite, |_| {
        let mut acts = reply(200, &[("connection", "close")], "ok");
        acts.push(Act::HangUp);
        acts
    })
    .await;
    let world = World::resolving(upstream, "", Answers::new(&[&["127.0.0.1"], &["10.0.0.1"]]));
    assert!(world.get().await.is_ok());
    let failure = world.get().await.unwrap_err();
    is(&failure, FailureReason::Unreachable, RequestSent::No);
    assert!(failure.cause.unwrap().contains("10.0.0.1"));
}

#[tokio::test]
async fn nobody_listening_means_not_sent() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut upstream = Upstream::start(NAME, Mood::Polite, |_| vec![]).await;
    upstream.address = closed;
    is(&World::around(upstream, "").create().await.unwrap_err(), FailureReason::Unreachable, RequestSent::No);
}

#[tokio::test]
async fn no_handshake_means_not_sent() {
    let upstream = Upstream::start(NAME, Mood::HangsUpAtOnce, |_| vec![]).await;
    is(&World::around(upstream, "").create().await.unwrap_err(), FailureReason::Unreachable, RequestSent::No);
    let upstream = Upstream::start(NAME, Mood::Silent, |_| vec![]).await;
    let world = World::around(upstream, "timeouts = { connect_ms_max = 150 }");
    is(&world.create().await.unwrap_err(), FailureReason::Timeout, RequestSent::No);
}

#[tokio::test]
async fn no_connection_in_the_time_that_is_left_means_not_sent() {
    let silent = || Upstream::start(NAME, Mood::Silent, |_| vec![]);
    let late_connects = "timeouts = { connect_ms_max = 30000, total_ms_max = 300 }";
    for lines in ["timeouts = { total_ms_max = 300 }", late_connects] {
        let world = World::around(silent().await, lines);
        let failure = world.create().await.unwrap_err();
        is(&failure, FailureReason::Timeout, RequestSent::No);
        assert!(failure.message.contains("can't be reached in time"), "{failure:?}");
        is(&world.get().await.unwrap_err(), FailureReason::Timeout, RequestSent::No);
        assert_eq!(world.upstream.connections(), 2);
    }
    let world = World::around(silent().await, "");
    let send = async |within| world.send(get(), &realm("acme"), within).await.unwrap_err();
    for within in [Duration::from_millis(300), Duration::from_millis(2)] {
        is(&send(within).await, FailureReason::Timeout, RequestSent::No);
    }
    // It's told before the deadline, at which the call itself may be stopped. A busy machine may be late now and then.
    let mut told_in_time = false;
    for _ in 0..10 {
        let (started, within) = (Instant::now(), Duration::from_millis(200));
        is(&send(within).await, FailureReason::Timeout, RequestSent::No);
        told_in_time = started.elapsed() < within;
        if told_in_time {
            break;
        }
    }
    assert!(told_in_time);
}

#[tokio::test]
async fn a_hang_up_after_the_handshake_leaves_it_unknown_and_nothing_is_sent_again() {
    let upstream = Upstream::start(NAME, Mood::HangsUpAfterHandshake, |_| vec![]).await;
    let world = World::around(upstream, "");
    is(&world.create().await.unwrap_err(), FailureReason::Unreachable, RequestSent::Unknown);
    assert_eq!(world.upstream.connections(), 1);

    let world = World::new("", |_| vec![Act::HangUp]).await;
    is(&world.create().await.unwrap_err(), FailureReason::Unreachable, RequestSent::Unknown);
    assert_eq!(world.upstream.requests().len(), 1);
}

#[tokio::test]
async fn a_hang_up_inside_the_reply_means_sent() {
    let short = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc".to_vec();
    let world = World::new("", move |_| vec![Act::Send(short.clone()), Act::HangUp]).await;
    is(&world.create().await.unwrap_err(), FailureReason::Unreachable, RequestSent::Yes);
    let world = World::new("", |_| vec![chunked_head(), Act::HangUp]).await;
    is(&world.create().await.unwrap_err(), FailureReason::Unreachable, RequestSent::Yes);
}

#[tokio::test]
async fn what_is_not_http_means_sent() {
    let world = World::new("", |_| vec![Act::Send(b"SSH-2.0-x\r\n\r\n".to_vec())]).await;
    is(&world.create().await.unwrap_err(), FailureReason::ResponseRefused, RequestSent::Yes);
}

#[tokio::test]
async fn a_late_head_leaves_it_unknown() {
    const SECOND: &str = "timeouts = { total_ms_max = 1000 }";
    let world = World::new(SECOND, |_| vec![Act::Wait(Duration::from_secs(9))]).await;
    let started = Instant::now();
    is(&world.create().await.unwrap_err(), FailureReason::Timeout, RequestSent::Unknown);
    assert!(started.elapsed() < Duration::from_secs(3));
    // Without a body too, and on a connection that was kept.
    is(&world.get().await.unwrap_err(), FailureReason::Timeout, RequestSent::Unknown);
    let world = World::new(SECOND, |request| match request.starts_with("GET") {
        true => reply(200, &[], "ok"),
        false => vec![Act::Wait(Duration::from_secs(9))],
    })
    .await;
    world.get().await.unwrap();
    is(&world.create().await.unwrap_err(), FailureReason::Timeout, RequestSent::Unknown);
    assert_eq!((world.upstream.requests().len(), world.upstream.connections()), (2, 1));
    let drip = |_: &str| {
        vec![
            Act::Send(b"HTTP/1.1 200 OK\r\n".to_vec()),
            Act::Endless(b"x: y\r\n".to_vec(), Duration::from_millis(30)),
        ]
    };
    let world = World::new(SECOND, drip).await;
    is(&world.create().await.unwrap_err(), FailureReason::Timeout, RequestSent::Unknown);
}

#[tokio::test]
async fn a_deadline_that_has_passed_means_not_sent() {
    let world = World::new("", |_| reply(200, &[], "")).await;
    let failure = world.send(get(), &realm("acme"), Duration::ZERO).await.unwrap_err();
    is(&failure, FailureReason::Timeout, RequestSent::No);
    assert_eq!(world.upstream.connections(), 0);
}

#[tokio::test]
async fn a_hang_up_on_a_kept_connection_is_not_tried_again() {
    let world = World::new("", |request| match request.starts_with("GET") {
        true => reply(200, &[], "ok"),
        false => vec![Act::HangUp],
    })
    .await;
    world.get().await.unwrap();
    is(&world.create().await.unwrap_err(), FailureReason::Unreachable, RequestSent::Unknown);
    assert_eq!((world.upstream.requests().len(), world.upstream.connections()), (2, 1));
}

#[tokio::test]
async fn error_statuses_are_replies() {
    for status in [400, 401, 404, 429, 500, 503, 599] {
        let world = World::new("", move |_| reply(status, &[("retry-after", "1")], "sorry")).await;
        let got = world.get().await.unwrap();
        assert_eq!((got.status, got.body.as_ref()), (status, b"sorry".as_ref()));
        assert_eq!(world.upstream.requests().len(), 1, "nothing is sent again");
    }
}

#[tokio::test]
async fn connections_are_kept_and_never_shared_between_realms() {
    let world = World::new("", |_| reply(200, &[], "ok")).await;
    for (tenant, connections) in [("acme", 1), ("acme", 1), ("other", 2), ("other", 2), ("acme", 2)] {
        world.send(get(), &realm(tenant), Duration::from_secs(5)).await.unwrap();
        assert_eq!(world.upstream.connections(), connections, "{tenant}");
    }
}
