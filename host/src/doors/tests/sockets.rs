//! Sockets: what is bound, how long it waits, how it ends.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::routing::{get, post};
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::super::{ServeError, bind};
use super::client::{Client, LONG, Served, config};
use crate::config::Tls;

const GET: &str = "GET / HTTP/1.1\r\nhost: h\r\n\r\n";

fn hello() -> Router {
    Router::new().route("/", get(|| async { "hello" }))
}

/// Says when a request came, and when its answer was dropped without having been given.
fn stuck() -> (Router, mpsc::UnboundedReceiver<&'static str>) {
    struct Dropped(mpsc::UnboundedSender<&'static str>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            let _ = self.0.send("dropped");
        }
    }
    let (sender, receiver) = mpsc::unbounded_channel();
    let answer = move || {
        let dropped = Dropped(sender.clone());
        async move {
            let _ = dropped.0.send("begun");
            std::future::pending::<()>().await;
            drop(dropped);
        }
    };
    (Router::new().route("/", get(answer)), receiver)
}

/// Answers after a while.
fn slow(after: Duration) -> Router {
    let answer = move || async move {
        tokio::time::sleep(after).await;
        "slow but sure"
    };
    Router::new().route("/", get(answer))
}

#[tokio::test]
async fn plain_http_beyond_loopback_has_to_be_insisted_on() {
    let mut config = config();
    config.listen = "0.0.0.0:0".parse().unwrap();
    let refused = bind(&config).await.unwrap_err();
    assert!(matches!(refused, ServeError::InsecureListen(_)));
    assert!(refused.to_string().contains("--insecure-listen"), "{refused}");
    config.insecure_listen = true;
    let bound = bind(&config).await.unwrap();
    assert_ne!(bound.address().port(), 0);
    assert!(bound.url().starts_with("http://0.0.0.0:"));
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let first = bind(&config()).await.unwrap();
    let mut second = config();
    second.listen = first.address();
    let refused = bind(&second).await.unwrap_err();
    assert!(matches!(refused, ServeError::PortTaken(address) if address == first.address()));
    assert!(refused.to_string().contains(&first.address().to_string()));
}

#[tokio::test]
async fn an_answer_is_one_write() {
    let served = Served::start(config(), hello()).await;
    let mut client = served.connect().await;
    for _ in 0..20 {
        client.send(GET).await;
        let answer = client.read_once().await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nhello"), "{answer}");
        assert!(answer.contains("content-length: 5\r\n"), "{answer}");
    }
    client.send("GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").await;
    assert!(client.read_to_close().await.ends_with("hello"));
}

#[tokio::test]
async fn a_client_that_hangs_up_ends_its_request() {
    let (routes, mut events) = stuck();
    let served = Served::start(config(), routes).await;
    let mut client = served.connect().await;
    client.send(GET).await;
    assert_eq!(timeout(LONG, events.recv()).await.unwrap(), Some("begun"));
    drop(client);
    assert_eq!(timeout(LONG, events.recv()).await.unwrap(), Some("dropped"));
}

#[tokio::test]
async fn a_head_that_drips_is_cut_off() {
    let served = Served::start(config(), hello()).await;
    let Client(stream) = served.connect().await;
    let (mut reader, mut writer) = stream.into_split();
    let begun = Instant::now();
    let dripping = tokio::spawn(async move {
        while writer.write_all(b"G").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let mut all = Vec::new();
    let _ = timeout(LONG, reader.read_to_end(&mut all)).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    dripping.abort();
}

#[tokio::test]
async fn a_connection_may_be_idle_for_longer_than_a_head_may_take() {
    let served = Served::start(config(), hello()).await;
    let mut client = served.connect().await;
    for _ in 0..2 {
        client.send(GET).await;
        assert!(client.read_once().await.ends_with("hello"));
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    // What comes after an idle time has to come whole in time again.
    client.send("GET / HT").await;
    assert_eq!(client.read_to_close().await, "");
}

#[tokio::test]
async fn a_header_block_over_the_limit_is_refused() {
    let served = Served::start(config(), hello()).await;
    for head in [
        format!("GET / HTTP/1.1\r\nhost: h\r\nx: {}\r\n\r\n", "x".repeat(9 << 10)),
        format!("GET /{} HTTP/1.1\r\nhost: h\r\n\r\n", "x".repeat(9 << 10)),
        format!("GET / HTTP/1.1\r\nhost: h\r\nx: {}", "x".repeat(9 << 10)),
    ] {
        let mut client = served.connect().await;
        client.send(&head).await;
        let answer = client.read_to_close().await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let problem: serde_json::Value = serde_json::from_str(body).unwrap();
        assert!(
            [431, 414].into_iter().any(|status| head.starts_with(&format!("HTTP/1.1 {status} "))),
            "{head}"
        );
        assert!(head.contains("\r\ncontent-type: application/problem+json\r\n"), "{head}");
        assert_eq!((&problem["code"], &problem["request_sent"]), (&"too_large".into(), &"no".into()));
        assert!(head.contains(&format!(" {} ", problem["status"])), "{answer}");
    }
}

#[tokio::test]
async fn a_body_that_was_refused_unread_does_not_spoil_the_next_request() {
    let served = Served::start(config(), hello()).await;
    let chunk = format!("{:x}\r\n{}\r\n", 70_000, "x".repeat(70_000));
    for (framing, body) in [
        ("content-length: 70000", "x".repeat(70_000)),
        ("transfer-encoding: chunked", format!("{chunk}{chunk}0\r\n\r\n")),
    ] {
        let mut client = served.connect().await;
        client.send(&format!("POST / HTTP/1.1\r\nhost: h\r\n{framing}\r\n\r\n")).await;
        client.send(&body).await;
        let refused = client.read_once().await;
        assert!(refused.starts_with("HTTP/1.1 405 ") && !refused.contains("connection: close"), "{refused}");
        client.send(GET).await;
        assert!(client.read_once().await.ends_with("hello"), "{framing}");
    }
}

#[tokio::test]
async fn an_answer_says_that_the_connection_ends_where_a_body_is_left_unread() {
    let served = Served::start(config(), hello()).await;
    let long = format!("{:x}\r\n{}\r\n1\r\nx\r\n0\r\n\r\n", 1 << 20, "x".repeat(1 << 20));
    for (framing, body) in [
        // It doesn't come,
        ("content-length: 70000", ""),
        // or not whole,
        ("transfer-encoding: chunked", "4\r\nxxxx\r\n"),
        // would come if it were asked for,
        ("expect: 100-continue\r\ncontent-length: 70000", ""),
        // or is longer than what is thrown away.
        ("transfer-encoding: chunked", long.as_str()),
    ] {
        let mut client = served.connect().await;
        client.send(&format!("POST / HTTP/1.1\r\nhost: h\r\n{framing}\r\n\r\n{body}")).await;
        let answer = client.read_to_close().await;
        assert!(answer.starts_with("HTTP/1.1 405 "), "{framing}: {answer}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{framing}: {answer}");
    }
}

#[tokio::test]
async fn a_request_says_once_for_which_host_it_is() {
    let served = Served::start(config(), hello()).await;
    for (head, status) in [
        ("HTTP/1.1\r\n", 400),
        ("HTTP/1.1\r\nhost: h\r\nhost: h\r\n", 400),
        ("HTTP/1.0\r\nhost: h\r\nhost: other\r\n", 400),
        ("HTTP/1.1\r\nhost:\r\n", 200),
        ("HTTP/1.0\r\n", 200),
    ] {
        let mut client = served.connect().await;
        client.send(&format!("GET / {head}\r\n")).await;
        let answer = client.read_once().await;
        assert!(answer.contains(&format!(" {status} ")), "{head}: {answer}");
        assert_eq!(answer.contains("has to have one Host header"), status == 400, "{head}: {answer}");
    }
    let counted = served.metrics.render();
    assert!(
        counted.contains(r#"keybearer_http_requests_total{route="unknown",status="400"} 3"#),
        "{counted}"
    );
}

#[tokio::test]
async fn an_answer_says_that_the_connection_ends_where_a_body_broke_while_it_was_read() {
    let read = post(|body: axum::body::Bytes| async move { body.len().to_string() });
    let served = Served::start(config(), Router::new().route("/", read)).await;
    let mut client = served.connect().await;
    client.send("POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n\r\n").await;
    let answer = client.read_to_close().await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("\r\nconnection: close\r\n"), "{answer}");
}

#[tokio::test]
async fn an_older_client_is_told_of_the_end_and_of_nothing_else() {
    let served = Served::start(config(), hello()).await;
    let mut client = served.connect().await;
    client.send("POST / HTTP/1.0\r\nconnection: keep-alive\r\ncontent-length: 30\r\n\r\nxxx").await;
    let answer = client.read_to_close().await;
    assert!(answer.contains("connection: close\r\n") && !answer.contains("keep-alive"), "{answer}");
}

#[tokio::test]
async fn garbage_after_a_request_spoils_nothing_before_it() {
    let served = Served::start(config(), hello()).await;
    let mut client = served.connect().await;
    client.send(&format!("{GET}\u{16}\u{3}\u{1} garbage\r\n\r\n")).await;
    let answers = client.read_to_close().await;
    assert!(answers.starts_with("HTTP/1.1 200 OK\r\n"), "{answers}");
    let (_, last) = answers.split_once("hello").unwrap();
    assert!(last.starts_with("HTTP/1.1 400 "), "{answers}");
    let (head, body) = last.split_once("\r\n\r\n").unwrap();
    let problem: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!((&problem["code"], &problem["status"]), (&"bad_request".into(), &400.into()));
    assert!(head.contains(&format!("\r\ncontent-length: {}", body.len())), "{head}");
}

#[tokio::test]
async fn connections_past_the_limit_are_told_so() {
    let mut config = config();
    config.limits.connections_max = 1;
    let served = Served::start(config, hello()).await;
    let mut first = served.connect().await;
    first.send(GET).await;
    assert!(first.read_once().await.ends_with("hello"));

    let mut second = served.connect().await;
    second.send(GET).await;
    let answer = second.read_to_close().await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(
        answer.contains("The call failed (busy): the host has as many connections as it may"),
        "{answer}"
    );
    let counted = served.metrics.render();
    assert!(counted.contains("keybearer_connections_turned_away_total 1\n"), "{counted}");
    drop((first, second));

    let free = async {
        loop {
            let mut third = served.connect().await;
            third.send(GET).await;
            if third.read_once().await.ends_with("hello") {
                break;
            }
        }
    };
    timeout(LONG, free).await.expect("the place is free again");
}

#[tokio::test]
async fn a_shutdown_lets_requests_end() {
    let served = Served::start(config(), slow(Duration::from_millis(300))).await;
    let address = served.address;
    let (mut busy, mut idle) = (served.connect().await, served.connect().await);
    busy.send(GET).await;
    idle.send("").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let ended = served.stop();
    assert_eq!(idle.read_to_close().await, "");
    assert!(busy.read_to_close().await.ends_with("slow but sure"));
    timeout(LONG, ended).await.unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_shutdown_drops_what_outlasts_the_drain_time() {
    let mut config = config();
    config.limits.drain_ms_max = 100;
    let (routes, mut events) = stuck();
    let served = Served::start(config, routes).await;
    let mut client = served.connect().await;
    client.send(GET).await;
    assert_eq!(timeout(LONG, events.recv()).await.unwrap(), Some("begun"));
    let begun = Instant::now();
    timeout(LONG, served.stop()).await.unwrap().unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(100));
    assert_eq!(events.try_recv().unwrap(), "dropped");
}

/// A certificate for `localhost` and its key, in files.
fn certificate() -> (tempfile::TempDir, Tls, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let tls = Tls { cert_file: folder.path().join("cert.pem"), key_file: folder.path().join("key.pem") };
    std::fs::write(&tls.cert_file, made.cert.pem()).unwrap();
    std::fs::write(&tls.key_file, made.signing_key.serialize_pem()).unwrap();
    (folder, tls, made.cert.der().clone())
}

/// What a client that trusts this certificate alone gets of a listener.
async fn get_over_tls(served: &Served, root: &CertificateDer<'static>) -> io::Result<String> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
    let Client(socket) = served.connect().await;
    let mut stream = connector.connect(ServerName::try_from("localhost").unwrap(), socket).await?;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    timeout(LONG, stream.read_to_string(&mut answer)).await.unwrap()?;
    Ok(answer)
}

#[tokio::test]
async fn tls_is_served_from_pem_files() {
    let (_folder, tls, root) = certificate();
    let served = Served::start(super::super::ServeConfig { tls: Some(tls), ..config() }, hello()).await;
    let answer = get_over_tls(&served, &root).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("hello"), "{answer}");
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_and_one_without_its_key_is_not() {
    let (_folder, tls, first) = certificate();
    let (_renewed_folder, renewed, second) = certificate();
    let bound = bind(&super::super::ServeConfig { tls: Some(tls.clone()), ..config() }).await.unwrap();
    let shown = bound.certificate().unwrap();
    let served = Served::serve(bound, (hello(), Router::new()));
    let look_twice = || {
        assert!(!shown.refresh().unwrap(), "it may be half written");
        shown.refresh()
    };
    assert!(!look_twice().unwrap(), "nothing has changed");
    let replace = |file: &Path, other: &Path| {
        std::fs::copy(other, file).unwrap();
        // A clock that ticks slowly would hide that it's another one.
        let later = SystemTime::now() + Duration::from_secs(1);
        std::fs::File::options().write(true).open(file).unwrap().set_modified(later).unwrap();
    };

    replace(&tls.cert_file, &renewed.cert_file);
    let refused = look_twice().unwrap_err();
    assert!(matches!(&refused, ServeError::Tls { file, .. } if *file == tls.key_file), "{refused}");
    assert!(!shown.refresh().unwrap(), "the same problem is told once");
    assert!(get_over_tls(&served, &first).await.unwrap().ends_with("hello"));

    replace(&tls.key_file, &renewed.key_file);
    assert!(look_twice().unwrap());
    assert!(get_over_tls(&served, &second).await.unwrap().ends_with("hello"));
    assert!(get_over_tls(&served, &first).await.is_err());
}

#[tokio::test]
async fn a_tls_listener_cuts_off_what_speaks_no_tls_or_nothing() {
    let (_folder, tls, _) = certificate();
    let served = Served::start(super::super::ServeConfig { tls: Some(tls), ..config() }, hello()).await;
    let (mut plain, mut silent) = (served.connect().await, served.connect().await);
    plain.send(GET).await;
    let mut reply = Vec::new();
    let _ = timeout(LONG, plain.0.read_to_end(&mut reply)).await.expect("it's cut off");
    assert!(!reply.starts_with(b"HTTP"), "{reply:?}");
    assert_eq!(silent.read_to_close().await, "");
}

#[tokio::test]
async fn unusable_certificates_are_named_before_a_port_is_bound() {
    let (folder, tls, _) = certificate();
    let (_other_folder, other, _) = certificate();
    let not_pem = folder.path().join("not.pem");
    std::fs::write(&not_pem, "not a certificate").unwrap();
    let missing = PathBuf::from("/nowhere/cert.pem");
    for (cert_file, key_file, named) in [
        (&missing, &tls.key_file, &missing),
        (&not_pem, &tls.key_file, &not_pem),
        (&tls.cert_file, &missing, &missing),
        (&tls.cert_file, &tls.cert_file, &tls.cert_file),
        (&tls.cert_file, &other.key_file, &other.key_file),
    ] {
        let mut config = config();
        config.tls = Some(Tls { cert_file: cert_file.clone(), key_file: key_file.clone() });
        let refused = bind(&config).await.unwrap_err();
        assert!(matches!(&refused, ServeError::Tls { file, .. } if file == named), "{refused}");
    }
}
