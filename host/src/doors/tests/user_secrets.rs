//! Users' own secrets: who stores them, whose calls they're used for, and that none comes out.

use std::sync::{Arc, Mutex};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request};
use serde_json::{Value, json};

use super::host::{Host, Reply};
use crate::auth::Grant;
use crate::egress::{BoxFuture, Pieces, SecretInput, Wire, WireError, WireReply, WireRequest};
use crate::ids::Realm;
use crate::store::TokenKind;

const OPERATION: &str = "\n[operations.whoami]\nrequest = \"GET /user\"\neffect = \"read\"\n";
const ANN: &str = "ghp_annannannann0001";
const BOB: &str = "ghp_bobbobbobbob0002";
const OPERATORS: &str = "ghp_operatoroperator";

/// Keeps what was attached, and answers with a text.
#[derive(Default)]
struct Accounts {
    seen: Mutex<Vec<String>>,
    says: Mutex<String>,
}

impl Accounts {
    fn seen(&self) -> Vec<String> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }

    fn say(&self, text: &str) {
        text.clone_into(&mut *self.says.lock().unwrap());
    }
}

impl Wire for Accounts {
    fn exchange(
        &self,
        request: WireRequest,
        _: tokio::time::Instant,
    ) -> BoxFuture<'_, Result<WireReply, WireError>> {
        let attached = request.headers["authorization"].to_str().unwrap();
        self.seen.lock().unwrap().push(attached.strip_prefix("Bearer ").unwrap().to_owned());
        let text = format!("{:?}", self.says.lock().unwrap());
        let body = Box::new(Pieces::from(Bytes::from(text)));
        Box::pin(async move { Ok(WireReply { status: 200, headers: HeaderMap::new(), body }) })
    }
}

struct Stage {
    host: Host,
    accounts: Arc<Accounts>,
    operator: String,
}

impl Stage {
    fn start() -> Self {
        let file = |more: &str| {
            let upstream = "base_url = \"https://api.example.com\"\nattach = { kind = \"bearer\" }";
            format!("{upstream}\nsecret = \"github\"\n{more}\n{OPERATION}")
        };
        let (own, shared) = (file("secret_of = \"user\""), file(""));
        let accounts = Arc::new(Accounts::default());
        let files = [("own.toml", own.as_str()), ("shared.toml", shared.as_str())];
        let host = Host::start_with_vault(&files, accounts.clone());
        let (_, operator) = host.token(TokenKind::Operator);
        Self { host, accounts, operator }
    }

    /// An agent's token, bound to this user.
    fn agent(&self, user: Option<&str>, may_store_secrets: bool) -> String {
        let operations = ["own:*", "shared:*"].map(|pattern| pattern.parse().unwrap()).to_vec();
        let grant = Grant { operations, may_store_secrets, may_delegate: true, ..Grant::default() };
        self.host.mint_for("acme", TokenKind::Agent, grant, None, user).1
    }

    async fn ask(&self, method: &str, path: &str, token: &str, body: &str) -> Reply {
        self.host.ask(method, path, token, body).await
    }

    async fn put(&self, token: &str, user: &str, secret: &str) -> Reply {
        let body = json!({ "secret": secret }).to_string();
        self.ask("PUT", &format!("/v1/users/{user}/secrets/github"), token, &body).await
    }

    /// A request through a connection, and what was attached to it, if it was sent.
    async fn send(&self, connection: &str, token: &str) -> (Reply, Option<String>) {
        let reply = self.ask("GET", &format!("/proxy/{connection}/user"), token, "").await;
        let mut seen = self.accounts.seen();
        assert!(seen.len() <= 1);
        (reply, seen.pop())
    }

    async fn trail(&self) -> Vec<Value> {
        let page = self.ask("GET", "/v1/audit?limit=1000", &self.operator, "").await.json();
        page["rows"].as_array().unwrap().clone()
    }

    /// Everything that anyone but the upstream gets to see.
    async fn shown(&self) -> String {
        let mut shown = self.trail().await.iter().map(ToString::to_string).collect::<String>();
        for path in ["/v1/tokens", "/v1/users/ann/secrets", "/v1/users/bob/secrets", "/metrics"] {
            shown.push_str(&self.ask("GET", path, &self.operator, "").await.body);
        }
        shown
    }
}

#[tokio::test]
async fn each_call_uses_the_secret_of_its_own_user() {
    let stage = Stage::start();
    let realm = Realm { tenant: "acme".parse().unwrap(), environment: "dev".parse().unwrap() };
    let value = SecretInput::read(OPERATORS.as_bytes()).ok().unwrap();
    stage.host.door.app.vault.put(&realm, &"github".parse().unwrap(), &value).unwrap();
    let (ann, bob) = (stage.agent(Some("ann"), true), stage.agent(Some("bob"), false));

    // An application's token for its user stores it, or an operator's does.
    let stored = stage.put(&ann, "ann", ANN).await;
    assert_eq!(stored.status, 200);
    assert_eq!(stored.json(), json!({ "reference": "secret:github", "label": "github", "version": 1 }));
    assert_eq!(stage.put(&stage.operator, "bob", BOB).await.json()["version"], 1);
    for (token, attached) in [(&ann, ANN), (&bob, BOB), (&ann, ANN)] {
        let (reply, seen) = stage.send("own", token).await;
        assert_eq!((reply.status.as_u16(), seen.as_deref()), (200, Some(attached)));
        let (_, seen) = stage.send("shared", token).await;
        assert_eq!(seen.as_deref(), Some(OPERATORS), "an operator's is everyone's");
    }
    let rows = stage.trail().await;
    let users: Vec<_> =
        rows.iter().filter(|row| row["event"] == "send_begun").map(|row| &row["user"]).collect();
    assert_eq!(
        users,
        [&Value::Null, &json!("ann"), &Value::Null, &json!("bob"), &Value::Null, &json!("ann")]
    );
    let admin: Vec<_> =
        rows.iter().filter(|row| row["event"] == "admin").map(|row| &row["subject"]).collect();
    assert_eq!(
        admin,
        [
            "github version 1 of the user bob",
            "github of the user bob",
            "github version 1 of the user ann",
            "github of the user ann",
        ],
        "that it's about to be stored comes first"
    );

    // A new one takes the place of the old one, and none is used once it's removed.
    assert_eq!(stage.put(&ann, "ann", "ghp_annannannann0009").await.json()["version"], 2);
    assert_eq!(stage.send("own", &ann).await.1.as_deref(), Some("ghp_annannannann0009"));
    let listed = stage.ask("GET", "/v1/users/ann/secrets", &ann, "").await.json();
    let only = &listed["secrets"].as_array().unwrap()[..];
    assert_eq!((only.len(), &only[0]["label"], &only[0]["version"]), (1, &json!("github"), &json!(2)));
    assert_eq!(stage.ask("DELETE", "/v1/users/ann/secrets/github", &ann, "").await.status, 204);
    stage.ask("DELETE", "/v1/users/ann/secrets/github", &ann, "").await.problem(404, "not_found");
    let (reply, seen) = stage.send("own", &ann).await;
    reply.problem(503, "no_secret");
    assert_eq!(seen, None);
    assert_eq!(stage.send("own", &bob).await.1.as_deref(), Some(BOB));

    let shown = stage.shown().await;
    for secret in [ANN, BOB, OPERATORS, "annannann", "bobbobbob"] {
        assert!(!shown.contains(secret), "{secret} is shown");
    }
}

#[tokio::test]
async fn a_client_may_escape_a_user_s_id_and_a_label() {
    let stage = Stage::start();
    let storing = stage.agent(Some("ann@example.com"), true);
    let body = json!({ "secret": ANN }).to_string();
    for (version, path) in (1..).zip([
        "/v1/users/ann@example.com/secrets/git:hub",
        "/v1/users/ann%40example.com/secrets/git%3Ahub",
        "/v1/users/%61nn%40example%2ecom/secrets/git%3ahub",
    ]) {
        for token in [&storing, &stage.operator] {
            let listed = path.rsplit_once('/').unwrap().0;
            assert_eq!(stage.ask("GET", listed, token, "").await.status, 200, "{path}");
        }
        let stored = stage.ask("PUT", path, &storing, &body).await.json();
        assert_eq!(stored, json!({ "reference": "secret:git:hub", "label": "git:hub", "version": version }));
    }
    let gone = stage.ask("DELETE", "/v1/users/ann%40example.com/secrets/git%3Ahub", &storing, "").await;
    assert_eq!(gone.status, 204);
    // Once, and into what an id may hold.
    for user in ["ann%2540example.com", "ann%4xample.com", "ann%", "ann%2Fbob", "ann%ff", "ann%00", "%2e%2e"]
    {
        let path = format!("/v1/users/{user}/secrets/github");
        stage.ask("PUT", &path, &stage.operator, &body).await.problem(400, "bad_request");
    }
}

#[tokio::test]
async fn two_that_are_stored_at_once_leave_one() {
    let stage = Stage::start();
    let ann = stage.agent(Some("ann"), true);
    let (one, other) = tokio::join!(stage.put(&ann, "ann", ANN), stage.put(&ann, "ann", BOB));
    let mut versions = [&one, &other].map(|reply| reply.json()["version"].as_u64().unwrap());
    versions.sort_unstable();
    assert_eq!((one.status.as_u16(), other.status.as_u16(), versions), (200, 200, [1, 2]));
    let listed = stage.ask("GET", "/v1/users/ann/secrets", &ann, "").await.json();
    let versions: Vec<_> =
        listed["secrets"].as_array().unwrap().iter().map(|secret| &secret["version"]).collect();
    assert_eq!(versions, [&json!(2)]);
    assert!(stage.send("own", &ann).await.1.is_some());
}

#[tokio::test]
async fn without_a_user_or_a_secret_nothing_is_sent() {
    let stage = Stage::start();
    let (nobodys, anns) = (stage.agent(None, false), stage.agent(Some("ann"), false));
    let (reply, seen) = stage.send("own", &nobodys).await;
    assert!(reply.problem(403, "denied").contains("bound to no user"), "{reply:?}");
    assert_eq!(seen, None);
    // A user without one, and a realm without one, are told the same.
    let (own, seen) = stage.send("own", &anns).await;
    assert_eq!(seen, None);
    let (shared, seen) = stage.send("shared", &anns).await;
    assert_eq!(seen, None);
    let words = |reply: &Reply| reply.problem(503, "no_secret");
    assert_eq!(words(&own).replace("own", "shared"), words(&shared));
    // Another user's and an operator's of that label don't help.
    let realm = Realm { tenant: "acme".parse().unwrap(), environment: "dev".parse().unwrap() };
    let value = SecretInput::read(OPERATORS.as_bytes()).ok().unwrap();
    for label in ["github", "ann:github", "ann.github", "ann"] {
        stage.host.door.app.vault.put(&realm, &label.parse().unwrap(), &value).unwrap();
    }
    stage.put(&stage.operator, "bob", BOB).await;
    let (reply, seen) = stage.send("own", &anns).await;
    assert_eq!((words(&reply), seen), (words(&own), None));

    let question = json!({ "requestId": "r", "capabilityToken": nobodys, "action": "whoami",
        "resourceId": "connection://own", "context": {} });
    let answer = stage.ask("POST", "/v1/enforce", &stage.operator, &question.to_string()).await.json();
    assert_eq!((&answer["decision"], &answer["reason"]), (&json!("denied"), &json!("denied")));
}

#[tokio::test]
async fn only_who_may_store_a_user_s_secrets_does() {
    let stage = Stage::start();
    let body = json!({ "secret": ANN }).to_string();
    let routes = [("PUT", "/github"), ("GET", ""), ("DELETE", "/github")];
    // One answer for whoever isn't that user's own token, with the right.
    let mut answers = Vec::new();
    for token in [
        stage.agent(Some("ann"), false),
        stage.agent(Some("bob"), true),
        stage.agent(Some("ann:github"), true),
        stage.agent(None, false),
    ] {
        for (method, path) in routes {
            let reply = stage.ask(method, &format!("/v1/users/ann/secrets{path}"), &token, &body).await;
            answers.push(reply.problem(403, "denied"));
        }
    }
    let storing = stage.agent(Some("ann"), true);
    for (method, path) in routes {
        let elsewhere = format!("/v1/users/ann/secrets{path}?environment=production");
        answers.push(stage.ask(method, &elsewhere, &storing, &body).await.problem(403, "denied"));
        let strange = format!("/v1/users/%2561nn/secrets{path}");
        answers.push(stage.ask(method, &strange, &storing, &body).await.problem(403, "denied"));
        let stranger = stage.ask(method, &format!("/v1/users/ann/secrets{path}"), "kbt_x", &body).await;
        assert_eq!(stranger, stage.host.get("/v1/tools", "").await, "the one 401");
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");

    // Another tenant's operator changes its own tenant's users, whatever their ids are.
    let (_, rival) = stage.host.token_in("rival", TokenKind::Operator);
    assert_eq!(stage.put(&rival, "ann", BOB).await.status, 200);
    assert_eq!(stage.send("own", &storing).await.1, None);
    let listed = stage.ask("GET", "/v1/users/ann/secrets", &stage.operator, "").await.json();
    assert_eq!(listed, json!({ "secrets": [] }));

    // An operator's key may stand where the platform's keys stand, and names the environment.
    for (environment, status) in [("dev", 200), ("production", 403)] {
        let request = Request::put(format!("/v1/users/ann/secrets/other?environment={environment}"));
        let request = request.header("x-api-key", &stage.operator).body(Body::from(body.clone())).unwrap();
        assert_eq!(stage.host.send(request).await.status, status);
    }
    let production = Realm { tenant: "acme".parse().unwrap(), environment: "production".parse().unwrap() };
    let value = SecretInput::read(ANN.as_bytes()).ok().unwrap();
    let (user, label) = ("ann".parse().unwrap(), "github".parse().unwrap());
    stage.host.door.app.vault.put_own(&production, &user, &label, &value).unwrap();
    assert_eq!(stage.send("own", &storing).await.1, None, "environments are apart");

    // A revoked token stores nothing.
    let (id, revoked) = stage.host.mint_for(
        "acme",
        TokenKind::Agent,
        Grant { may_store_secrets: true, ..Grant::default() },
        None,
        Some("ann"),
    );
    assert!(stage.host.door.app.auth.revoke(&id, None).unwrap());
    stage.put(&revoked, "ann", ANN).await.problem(401, "unauthorized");
}

#[tokio::test]
async fn a_child_is_its_parent_s_user_s_and_stores_only_if_every_link_may() {
    let stage = Stage::start();
    let parent = stage.agent(Some("ann"), true);
    stage.put(&parent, "ann", ANN).await;
    stage.put(&stage.operator, "bob", BOB).await;
    let delegate = async |token: &str, body: Value| {
        stage.ask("POST", "/v1/tokens/delegate", token, &body.to_string()).await
    };
    let own = json!({ "agent": "child", "operations": ["own:*"], "may_delegate": true });
    let child = delegate(&parent, own.clone()).await.json();
    assert_eq!(child["user"], "ann");
    let child = child["token"].as_str().unwrap().to_owned();
    assert_eq!(stage.send("own", &child).await.1.as_deref(), Some(ANN));
    stage.put(&child, "ann", BOB).await.problem(403, "denied");
    // It can't choose another user, nor hand on what it doesn't have.
    let mut other = own.clone();
    other["user"] = json!("bob");
    delegate(&parent, other).await.problem(400, "bad_request");
    let mut storing = own;
    storing["may_store_secrets"] = json!(true);
    let refused = delegate(&child, storing.clone()).await;
    assert!(refused.problem(400, "bad_request").contains("may_store_secrets"), "{refused:?}");
    let storing = delegate(&parent, storing).await.json();
    let storing = storing["token"].as_str().unwrap().to_owned();
    assert_eq!(stage.put(&storing, "ann", BOB).await.status, 200);
    assert_eq!(stage.send("own", &child).await.1.as_deref(), Some(BOB));
}

#[tokio::test]
async fn what_is_wrong_with_a_body_is_said_without_a_word_of_it() {
    let stage = Stage::start();
    let ann = stage.agent(Some("ann"), true);
    let path = "/v1/users/ann/secrets/github";
    let value = "ghp_1234567890";
    for body in [
        value.to_owned(),
        format!("{value:?}"),
        format!("[{value:?}]"),
        format!(r#"{{"{value}": 1}}"#),
        format!(r#"{{"secret": {value}}}"#),
        format!(r#"{{"secret": ["{value}"]}}"#),
        r#"{"secret": 1234567890}"#.to_owned(),
        format!(r#"{{"secret": "{value}", "{value}": 1}}"#),
        format!(r#"{{"secret": "{value}", "secret": "{value}"}}"#),
        format!(r#"{{"secret": "{value}", "user": "bob"}}"#),
        format!(r#"{{"secret": "{value}"}} {value}"#),
        format!(r#"{{"secret": "{value}""#),
        format!(r#"{{"secret": " {value}"}}"#),
        format!(r#"{{"secret": "{value}\u0000"}}"#),
        format!(r#"{{"secret": "{value}\r\nx-evil: 1"}}"#),
        r#"{"secret": "1234567"}"#.to_owned(),
        r#"{"secret": ""}"#.to_owned(),
        r#"{"secret": null}"#.to_owned(),
        "{}".to_owned(),
        String::new(),
    ] {
        let reply = stage.ask("PUT", path, &ann, &body).await;
        reply.problem(400, "bad_request");
        assert!(!reply.body.contains("1234567"), "{body}: {}", reply.body);
    }
    let long = json!({ "secret": "x".repeat(2_000) }).to_string();
    let reply = stage.ask("PUT", path, &ann, &long).await;
    reply.problem(413, "too_large");
    assert!(!reply.body.contains("xxx"));
    for label in ["a%20b", "-x", "sk_live_0123456789abcdef"] {
        let strange = format!("/v1/users/ann/secrets/{label}");
        stage.ask("PUT", &strange, &ann, r#"{"secret": "12345678"}"#).await.problem(400, "bad_request");
    }
    for query in
        ["environment=dev&environment=x", "environment=dev&x", "environment=", "tenant=rival", "environment"]
    {
        let good = format!(r#"{{"secret": "{value}"}}"#);
        stage.ask("PUT", &format!("{path}?{query}"), &ann, &good).await.problem(400, "bad_request");
    }
    assert!(stage.trail().await.iter().all(|row| row["event"] != "admin"), "nothing was stored");
}

#[tokio::test]
async fn a_reply_that_holds_the_secret_is_refused_whoever_asked_before() {
    let stage = Stage::start();
    let (ann, bob) = (stage.agent(Some("ann"), true), stage.agent(Some("bob"), true));
    stage.put(&ann, "ann", ANN).await;
    stage.put(&bob, "bob", BOB).await;
    // Both are version 1 of one label on one connection.
    for (echoed, token, other) in [(ANN, &ann, &bob), (BOB, &bob, &ann), (ANN, &ann, &bob)] {
        stage.accounts.say("nothing");
        assert_eq!(stage.send("own", other).await.0.status, 200);
        stage.accounts.say(echoed);
        let (reply, _) = stage.send("own", token).await;
        reply.problem(502, "upstream_refused");
        assert!(!reply.body.contains(echoed), "{}", reply.body);
    }
}

#[tokio::test]
async fn a_secret_that_can_not_be_recorded_is_not_stored() {
    let stage = Stage::start();
    let ann = stage.agent(Some("ann"), true);
    stage.put(&ann, "ann", ANN).await;
    stage.host.trail.fill_up();
    stage.put(&ann, "ann", BOB).await.problem(503, "audit_unavailable");
    let listed = stage.ask("GET", "/v1/users/ann/secrets", &ann, "").await.json();
    assert_eq!(
        (&listed["secrets"][0]["version"], listed["secrets"].as_array().unwrap().len()),
        (&json!(1), 1)
    );
    stage.ask("DELETE", "/v1/users/ann/secrets/github", &ann, "").await.problem(503, "audit_unavailable");
    let listed = stage.ask("GET", "/v1/users/ann/secrets", &ann, "").await.json();
    assert_eq!(listed, json!({ "secrets": [] }), "a removal holds");
}
