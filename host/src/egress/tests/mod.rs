//! The pipeline against real upstreams on loopback.

mod leaks;
mod limits;
mod network;
mod upstream;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use self::upstream::{Act, Answers, Mood, NAME, Upstream, header, reply};
use super::*;
use crate::connection::{Connection, Connections};
use crate::ids::Realm;
use crate::policy::Permitted;
use crate::refusal::{FailureReason, SendFailure};

/// An upstream, a connection to it and a pipeline between them.
struct World {
    upstream: Upstream,
    connection: Arc<Connection>,
    egress: Egress,
    canary: Canary,
}

const OPERATIONS: &str = r#"
[operations.get]
request = "GET /things/{id}"
effect = "read"
path.id = { type = "string" }
query.q = { type = "string", optional = true }
[operations.create]
request = "POST /things"
effect = "write"
content_type = "application/json"
body.name = { type = "string" }
[operations.close]
request = "POST /things/{id}/close"
effect = "write"
path.id = { type = "string" }
"#;

impl World {
    /// A polite upstream that answers by `script`, and a connection to it with these lines more.
    async fn new(lines: &str, script: impl Fn(&str) -> Vec<Act> + Send + Sync + 'static) -> Self {
        Self::around(Upstream::start(NAME, Mood::Polite, script).await, lines)
    }

    fn around(upstream: Upstream, lines: &str) -> Self {
        Self::resolving(upstream, lines, Answers::new(&[&["127.0.0.1"]]))
    }

    fn resolving(upstream: Upstream, lines: &str, answers: Arc<Answers>) -> Self {
        let attach = if lines.contains("attach") { "" } else { "attach = { kind = \"bearer\" }\n" };
        let base = format!("base_url = \"https://{NAME}:{}\"", upstream.address.port());
        let text = format!(
            "{base}\nsecret = \"key\"\n{attach}allow_insecure_loopback = true\nca_file = \"ca.pem\"\n{lines}\n{OPERATIONS}"
        );
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("ca.pem"), &upstream.certificate_pem).unwrap();
        fs::write(dir.path().join("c.toml"), text).unwrap();
        let all = Connections::load(dir.path()).unwrap_or_else(|problems| panic!("{problems}"));
        let connection = all.iter().next().unwrap().clone();
        let canary = Canary::fresh();
        let egress = Egress::scripted(Arc::new(LiveWire::new(answers)), canary.clone());
        Self { upstream, connection, egress, canary }
    }

    async fn get(&self) -> Result<Reply, SendFailure> {
        self.send(get(), &realm("acme"), Duration::from_secs(5)).await
    }

    async fn create(&self) -> Result<Reply, SendFailure> {
        let body = Some(DraftBody::Json(r#"{"name": "x"}"#.into()));
        let draft = Draft { method: "POST".into(), path: "/things".into(), query: vec![], body, ..get() };
        self.send(draft, &realm("acme"), Duration::from_secs(5)).await
    }

    async fn send(&self, draft: Draft, realm: &Realm, within: Duration) -> Result<Reply, SendFailure> {
        let permit = Permitted::for_tests(self.connection.accept(draft).unwrap());
        let result = self.egress.send(permit, realm, Instant::now() + within).await;
        // Whatever happens: nothing that a guest or a log sees holds the secret, and no message names an address.
        match &result {
            Ok(reply) => assert!(!format!("{reply:?}").contains(self.canary.as_str())),
            Err(failure) => {
                assert!(!format!("{failure:?}").contains(self.canary.as_str()), "{failure:?}");
                assert!(
                    !failure.message.contains("127.0.0.1") && !failure.message.contains(NAME),
                    "{failure:?}"
                );
            }
        }
        result
    }
}

fn realm(tenant: &str) -> Realm {
    Realm { tenant: tenant.parse().unwrap(), environment: "test".parse().unwrap() }
}

fn get() -> Draft {
    Draft {
        connection: "c".into(),
        method: "GET".into(),
        path: "/things/%61%20b".into(),
        query: vec![("q".into(), "1&2".into())],
        headers: vec![("Accept".into(), "text/x".into())],
        body: None,
    }
}

#[tokio::test]
async fn the_canonical_bytes_go_out_with_the_secret_beside_them() {
    let world = World::new("headers = { x-version = \"7\" }", |_| {
        reply(200, &[("content-type", "application/json"), ("x-other", "no")], "{}")
    })
    .await;
    let got = world.get().await.unwrap();
    assert_eq!((got.status, got.body.as_ref()), (200, b"{}".as_ref()));
    assert_eq!(got.headers, [("content-type".to_owned(), "application/json".to_owned())]);
    world.create().await.unwrap();

    let sent = world.upstream.requests();
    assert!(sent[0].starts_with("GET /things/a%20b?q=1%262 HTTP/1.1\r\n"), "{}", sent[0]);
    let bearer = format!("Bearer {}", world.canary.as_str());
    for (name, value) in [
        ("authorization", bearer.as_str()),
        ("accept", "text/x"),
        ("accept-encoding", "gzip"),
        ("x-version", "7"),
        ("host", &format!("{NAME}:{}", world.upstream.address.port())),
    ] {
        assert_eq!(header(&sent[0], name).as_deref(), Some(value), "{name}");
    }
    assert!(header(&sent[0], "user-agent").unwrap().starts_with("keybearer/"));
    assert!(sent[1].ends_with("\r\n\r\n{\"name\":\"x\"}"));
    assert_eq!(header(&sent[1], "content-type").as_deref(), Some("application/json"));
    assert_eq!(header(&sent[1], "content-length").as_deref(), Some("12"));
}

#[tokio::test]
async fn a_write_without_a_body_says_so() {
    let world = World::new("", |_| reply(200, &[], "ok")).await;
    let close = Draft { method: "POST".into(), path: "/things/1/close".into(), query: vec![], ..get() };
    world.send(close, &realm("acme"), Duration::from_secs(5)).await.unwrap();
    world.get().await.unwrap();
    let sent = world.upstream.requests();
    assert!(sent[0].starts_with("POST /things/1/close HTTP/1.1\r\n"), "{}", sent[0]);
    assert_eq!(header(&sent[0], "content-length").as_deref(), Some("0"), "{}", sent[0]);
    assert_eq!(header(&sent[0], "transfer-encoding"), None, "{}", sent[0]);
    assert_eq!(header(&sent[1], "content-length"), None, "{}", sent[1]);
}

#[tokio::test]
async fn a_secret_in_the_query_goes_last() {
    let world = World::new("attach = { kind = \"query\", name = \"key\" }", |_| reply(200, &[], "ok")).await;
    world.get().await.unwrap();
    let line = format!("GET /things/a%20b?q=1%262&key={} HTTP/1.1", world.canary.as_str());
    assert!(world.upstream.requests()[0].starts_with(&line));
}

#[tokio::test]
async fn plain_http_works_on_loopback_where_it_is_allowed() {
    let upstream = Upstream::start_clear(|_| reply(200, &[], "ok")).await;
    let text = format!(
        "base_url = \"http://{}/api\"\nsecret = \"key\"\nattach = {{ kind = \"basic\" }}\nallow_insecure_loopback = true\n{OPERATIONS}",
        upstream.address
    );
    let all = Connections::parse(&[("c.toml", &text)]).unwrap();
    let connection = all.iter().next().unwrap();
    let wire = LiveWire::new(Arc::new(SystemResolver::default()));
    let egress = Egress::scripted(Arc::new(wire), Canary::fresh());
    let permit = Permitted::for_tests(connection.accept(get()).unwrap());
    let got = egress.send(permit, &realm("acme"), Instant::now() + Duration::from_secs(5)).await.unwrap();
    assert_eq!(got.body.as_ref(), b"ok");
    assert!(upstream.requests()[0].starts_with("GET /api/things/a%20b?"));
}

#[tokio::test]
async fn a_filtered_connection_is_unknown_to_other_tenants() {
    let world = World::new("tenants = [\"acme\"]", |_| reply(200, &[], "ok")).await;
    let failure = world.send(get(), &realm("other"), Duration::from_secs(5)).await.unwrap_err();
    assert_eq!(failure.reason, FailureReason::UnknownOperation);
    assert!(world.upstream.requests().is_empty());
}
