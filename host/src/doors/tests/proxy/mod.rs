//! The proxy door as SDKs and their abusers meet it.

mod answers;
mod keys;
mod requests;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request};
use serde_json::Value;

use super::host::{Host, Reply};
use crate::auth::Grant;
use crate::egress::{BoxFuture, Canary, Pieces, Wire, WireError, WireErrorKind, WireReply, WireRequest};
use crate::ids::TokenId;
use crate::refusal::RequestSent;
use crate::store::TokenKind;

const OPERATIONS: &str = r#"
[operations.get_charge]
request = "GET /v1/charges/{id}"
effect = "read"
path.id = { type = "string", pattern = "^ch_[A-Za-z0-9]+$" }

[operations.look_at_charge]
request = "HEAD /v1/charges/{id}"
effect = "read"
path.id = { type = "string", pattern = "^ch_[A-Za-z0-9]+$" }

[operations.list_charges]
request = "GET /v1/charges"
effect = "read"
query.limit = { type = "integer", minimum = 1, maximum = 100, optional = true }
query.customer = { type = "string", optional = true }
query."expand[0]" = { type = "string", optional = true }

[operations.create_charge]
request = "POST /v1/charges"
effect = "write"
content_type = "application/x-www-form-urlencoded"
body.amount = { type = "integer", minimum = 1 }
body.currency = { type = "string" }
body.description = { type = "string", optional = true }

[operations.capture_charge]
request = "POST /v1/charges/{id}/capture"
effect = "write"
content_type = "application/x-www-form-urlencoded"
path.id = { type = "string", pattern = "^ch_[A-Za-z0-9]+$" }
body.amount = { type = "integer", minimum = 1, optional = true }

[operations.put_note]
request = "PUT /v2/notes/{id}"
effect = "write"
content_type = "application/json"
path.id = { type = "string", pattern = "^[a-z]+$" }
body.text = { type = "string" }

[operations.put_file]
request = "PUT /v2/files/{id}"
effect = "write"
content_type = "application/octet-stream"
path.id = { type = "string", pattern = "^[a-z]+$" }

[operations.delete_note]
request = "DELETE /v2/notes/{id}"
effect = "write"
path.id = { type = "string", pattern = "^[a-z]+$" }

[operations.secret_thing]
request = "GET /v1/secret"
effect = "read"
"#;

/// A connection file with the operations above.
fn connection(attach: &str, more: &str) -> String {
    format!(
        "base_url = \"https://api.example.com\"\nsecret = \"key\"\nattach = {attach}\n{more}\n{OPERATIONS}"
    )
}

/// What the upstream got, and what it answers: 200 with `{}` unless told.
struct Upstream {
    seen: Mutex<Vec<Seen>>,
    answers: Mutex<VecDeque<Result<WireReply, WireError>>>,
    silent: AtomicBool,
}

#[derive(Debug, Clone)]
struct Seen {
    connection: String,
    method: String,
    target: String,
    headers: HeaderMap,
    body: String,
}

impl Upstream {
    fn answer(&self, status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        let body = Box::new(Pieces::from(body.into()));
        self.answers.lock().unwrap().push_back(Ok(WireReply { status, headers: map, body }));
    }

    fn fail(&self, kind: WireErrorKind, request_sent: RequestSent) {
        let error = WireError { kind, request_sent, cause: "why".to_owned() };
        self.answers.lock().unwrap().push_back(Err(error));
    }

    /// From now on it takes every request and answers none.
    fn fall_silent(&self) {
        self.silent.store(true, Ordering::SeqCst);
    }

    /// Everything since the last time.
    fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }

    #[track_caller]
    fn one(&self) -> Seen {
        let seen = self.seen();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen[0].clone()
    }
}

impl Wire for Upstream {
    fn exchange(
        &self,
        request: WireRequest,
        _: tokio::time::Instant,
    ) -> BoxFuture<'_, Result<WireReply, WireError>> {
        self.seen.lock().unwrap().push(Seen {
            connection: request.connection.name.to_string(),
            method: request.method.to_string(),
            target: request.target,
            headers: request.headers,
            body: String::from_utf8_lossy(&request.body).into_owned(),
        });
        let answer = self.answers.lock().unwrap().pop_front().unwrap_or_else(|| {
            let body = Box::new(Pieces::from(Bytes::from_static(b"{}")));
            Ok(WireReply { status: 200, headers: HeaderMap::new(), body })
        });
        let silent = self.silent.load(Ordering::SeqCst);
        Box::pin(async move { if silent { std::future::pending().await } else { answer } })
    }
}

/// A host with one upstream behind connections that attach its key in every way.
struct Stage {
    host: Host,
    upstream: Arc<Upstream>,
    canary: Canary,
    /// A token for every operation but `secret_thing`.
    token: String,
    id: TokenId,
}

impl Stage {
    fn start() -> Self {
        let stripe = connection(
            "{ kind = \"bearer\" }",
            "error_profile = \"stripe\"\nheaders = { \"Stripe-Version\" = \"2024-06-20\" }\n\
             idempotency_header = \"Idempotency-Key\"\nresponse_headers = [\"request-id\", \"x-shown\"]\n\
             limits = { request_bytes_max = 600, response_bytes_max = 2000 }",
        );
        let files = [
            ("stripe.toml", stripe),
            ("plain.toml", connection("{ kind = \"bearer\" }", "")),
            ("basic.toml", connection("{ kind = \"basic\", user = \"AC1\" }", "")),
            ("header.toml", connection("{ kind = \"header\", name = \"x-api-key\" }", "")),
            ("query.toml", connection("{ kind = \"query\", name = \"api_key\" }", "")),
            (
                "rivals.toml",
                connection("{ kind = \"bearer\" }", "tenants = [\"rival\"]\nerror_profile = \"stripe\""),
            ),
        ];
        let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let upstream = Arc::new(Upstream {
            seen: Mutex::default(),
            answers: Mutex::default(),
            silent: AtomicBool::new(false),
        });
        let canary = Canary::fresh();
        let host = Host::start_with(&files, upstream.clone(), canary.clone());
        let (id, token) = host.token_with("acme", TokenKind::Agent, grant());
        Self { host, upstream, canary, token, id }
    }

    /// Asks as an SDK does: with the token as the bearer.
    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let bearer = format!("Bearer {}", self.token);
        self.send(method, path, &[&[("authorization", bearer.as_str())], headers].concat(), body).await
    }

    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let request =
            headers.iter().fold(Request::builder().method(method).uri(path), |request, (name, value)| {
                request.header(*name, *value)
            });
        self.host.send(request.body(Body::from(body.to_owned())).unwrap()).await
    }

    /// The rows of the call that an answer names.
    async fn trail(&self, reply: &Reply) -> Vec<Value> {
        let call = reply.headers["keybearer-call-id"].to_str().unwrap();
        let (_, operator) = self.host.token(TokenKind::Operator);
        self.host.get(&format!("/v1/audit/{call}"), &operator).await.json()["rows"]
            .as_array()
            .unwrap()
            .clone()
    }
}

/// Every operation of every connection but `secret_thing`.
fn grant() -> Grant {
    let operations = OPERATIONS
        .lines()
        .filter_map(|line| line.strip_prefix("[operations.")?.strip_suffix(']'))
        .filter(|operation| *operation != "secret_thing")
        .flat_map(|operation| {
            ["stripe", "plain", "basic", "header", "query", "rivals"]
                .map(|name| format!("{name}:{operation}"))
        })
        .map(|pattern| pattern.parse().unwrap())
        .collect();
    Grant { operations, ..Grant::default() }
}

fn basic(pair: &str) -> String {
    format!("Basic {}", STANDARD.encode(pair))
}

/// Checks an error in Stripe's shape, fit for its SDK, and answers its message.
#[track_caller]
fn stripe_error(reply: &Reply, status: u16, code: &str) -> String {
    assert_eq!(reply.status, status, "{reply:?}");
    assert_eq!(reply.headers["content-type"], "application/json");
    let error = &reply.json()["error"];
    assert_eq!(error["code"], code, "{reply:?}");
    let message = error["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with(&format!("The call failed ({code}): ")), "{message}");
    message
}
