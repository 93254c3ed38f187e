//! The tools that other tests lean on must not lie themselves.

use std::io::{self, Read as _};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use keybearer_testkit::ca::{Ca, LOOPBACK_NAMES};
use keybearer_testkit::front::TlsFront;
use keybearer_testkit::process::Program;
use keybearer_testkit::upstream::{Echo, Reply, Script, Upstream};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

const REQUEST: &str =
    "GET /v1/x?a=1 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer k3y\r\nConnection: close\r\n\r\n";

/// Sends `REQUEST` and reads a reply of the length that it says, or until the end, trusting only this CA.
async fn exchange(ca: &Ca, port: u16) -> io::Result<Vec<u8>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tcp = TcpStream::connect(("127.0.0.1", port)).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await?;
    stream.write_all(REQUEST.as_bytes()).await?;
    let mut reply = Vec::new();
    let read = async {
        while !is_whole(&reply) && stream.read_buf(&mut reply).await? > 0 {}
        io::Result::Ok(())
    };
    tokio::time::timeout(Duration::from_secs(30), read).await??;
    Ok(reply)
}

/// Head and body of a reply, once its head is there.
fn parts(reply: &[u8]) -> Option<(&str, &[u8])> {
    let end = reply.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    Some((std::str::from_utf8(&reply[..end]).unwrap(), &reply[end..]))
}

/// Whether nothing of a reply is missing. The upstream keeps the connection open after it.
fn is_whole(reply: &[u8]) -> bool {
    let Some((head, body)) = parts(reply) else { return false };
    if head.contains("transfer-encoding: chunked") {
        return body.ends_with(b"\r\n0\r\n\r\n");
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    length.is_some_and(|length| body.len() >= length.parse().unwrap())
}

fn inflated(body: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(body).read_to_end(&mut plain).unwrap();
    plain
}

/// What the chunks of a body hold, one byte each.
fn joined(body: &[u8]) -> Vec<u8> {
    let chunks = body.strip_suffix(b"0\r\n\r\n").unwrap().chunks(6);
    chunks.map(|chunk| chunk.strip_prefix(b"1\r\n").unwrap()[0]).collect()
}

async fn ask(script: Script) -> (io::Result<Vec<u8>>, Upstream) {
    let ca = Ca::new();
    let upstream = Upstream::start(&ca, script).await.unwrap();
    (exchange(&ca, upstream.port()).await, upstream)
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test]
async fn an_upstream_answers_by_path_and_remembers_what_it_read() {
    let script = Script::always(Reply::HangUp).on("/v1/x", Reply::Json(200, "{\"ok\": true}".into()));
    let (reply, upstream) = ask(script).await;
    let reply = String::from_utf8(reply.unwrap()).unwrap();
    assert!(reply.starts_with("HTTP/1.1 200 ") && reply.ends_with("\r\n\r\n{\"ok\": true}"), "{reply}");

    let seen = upstream.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].method.as_str(), seen[0].target.as_str()), ("GET", "/v1/x?a=1"));
    assert_eq!(seen[0].header("authorization"), Some("Bearer k3y"));
}

#[tokio::test]
async fn an_upstream_hangs_up_before_and_after_reading() {
    let (reply, upstream) = ask(Script::always(Reply::HangUp)).await;
    assert!(reply.is_ok_and(|bytes| bytes.is_empty()));
    assert_eq!(upstream.seen().len(), 1);

    let (reply, upstream) = ask(Script::hang_up_before_reading()).await;
    assert!(reply.map_or(true, |bytes| bytes.is_empty()));
    assert_eq!((upstream.seen().len(), upstream.connections()), (0, 1));
}

#[tokio::test]
async fn echoes_carry_the_credential_in_the_form_they_name() {
    let echo = async |form| ask(Script::always(Reply::Echo(form))).await.0.unwrap();
    for form in [Echo::Body, Echo::Header, Echo::Cookie] {
        assert!(contains(&echo(form).await, "Bearer k3y"), "{form:?}");
    }
    for form in [Echo::Gzip, Echo::Chunks, Echo::Base64] {
        let reply = echo(form).await;
        assert!(!contains(&reply, "Bearer k3y"), "{form:?}");
        let body = parts(&reply).unwrap().1;
        let (read, carried) = match form {
            Echo::Gzip => (inflated(body), "Bearer k3y"),
            Echo::Chunks => (joined(body), "Bearer k3y"),
            _ => (body.to_vec(), "QmVhcmVyIGszeQ=="),
        };
        assert!(contains(&read, carried), "{form:?}");
    }
}

#[tokio::test]
async fn a_bomb_is_small_on_the_wire() {
    let (reply, _upstream) = ask(Script::always(Reply::GzipBomb(10 << 20))).await;
    let reply = reply.unwrap();
    assert!(reply.len() < 20_000);
    let (head, body) = parts(&reply).unwrap();
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("\r\ncontent-encoding: gzip\r\n"), "{head}");
    assert_eq!(inflated(body).len(), 10 << 20);
}

#[tokio::test]
async fn nobody_trusts_the_ca_by_accident() {
    let upstream = Upstream::start(&Ca::new(), Script::always(Reply::HangUp)).await.unwrap();
    assert!(exchange(&Ca::new(), upstream.port()).await.is_err());

    let ca = Ca::new();
    let leaf = ca.leaf(&["elsewhere.test"]);
    let upstream = Upstream::start_as(&leaf, Script::always(Reply::HangUp)).await.unwrap();
    assert!(exchange(&ca, upstream.port()).await.is_err());
}

#[tokio::test]
async fn a_front_forwards_and_keeps_a_transcript() {
    let server = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let target = server.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut client, _) = server.accept().await.unwrap();
        let mut request = vec![0; 1024];
        let length = client.read(&mut request).await.unwrap();
        client.write_all(&request[..length]).await.unwrap();
    });
    let ca = Ca::new();
    let transcript = std::env::temp_dir().join(format!("keybearer-selfcheck-{}", std::process::id()));
    let front = TlsFront::start(&ca.leaf(LOOPBACK_NAMES), target, Some(transcript.clone())).await.unwrap();
    let reply = exchange(&ca, front.port()).await.unwrap();
    let written = std::fs::read(&transcript).unwrap();
    std::fs::remove_file(&transcript).unwrap();
    assert_eq!(reply, REQUEST.as_bytes());
    assert_eq!(written, REQUEST.as_bytes());
}

#[test]
fn a_program_is_gone_with_its_children() {
    let log = std::env::temp_dir().join(format!("keybearer-selfcheck-{}.log", std::process::id()));
    let mut command = Command::new("sh");
    command.args(["-c", "sleep 60 & echo $!; wait"]);
    let program = Program::start(command, &log).unwrap();
    while !program.log().ends_with('\n') {
        std::thread::sleep(Duration::from_millis(5));
    }
    let grandchild = nix::unistd::Pid::from_raw(program.log().trim().parse().unwrap());
    assert!(nix::sys::signal::kill(grandchild, None).is_ok());
    drop(program);
    std::fs::remove_file(&log).unwrap();

    let is_gone = || {
        let state = std::fs::read_to_string(format!("/proc/{grandchild}/stat")).unwrap_or_default();
        state.is_empty() || state.contains(") Z")
    };
    assert!((0..1_000).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        is_gone()
    }));
}
