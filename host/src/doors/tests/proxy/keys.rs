//! Whose key opens the door, and what becomes of every other.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use super::super::host::Reply;
use super::{Stage, basic, grant, stripe_error};
use crate::store::TokenKind;

#[tokio::test]
async fn the_token_is_taken_where_the_sdk_puts_its_key_and_never_sent_on() {
    let stage = Stage::start();
    let token = &stage.token;
    let (bearer, user) = (format!("Bearer {token}"), basic(&format!("{token}:")));
    let password = basic(&format!("AC1:{token}"));
    let in_query = format!("/proxy/query/v1/charges?limit=3&api_key={token}");
    for (path, header, value) in [
        ("/proxy/stripe/v1/charges?limit=3", "authorization", &bearer),
        ("/proxy/stripe/v1/charges?limit=3", "authorization", &user),
        ("/proxy/basic/v1/charges?limit=3", "authorization", &password),
        ("/proxy/basic/v1/charges?limit=3", "authorization", &bearer),
        ("/proxy/header/v1/charges?limit=3", "x-api-key", token),
        ("/proxy/header/v1/charges?limit=3", "authorization", &bearer),
        (&in_query, "x-unrelated", &"1".to_owned()),
    ] {
        let reply = stage.send("GET", path, &[(header, value)], "").await;
        assert_eq!((reply.status.as_u16(), reply.body.as_str()), (200, "{}"), "{path} {header}");
        let seen = stage.upstream.one();
        let secret = stage.canary.as_str();
        let headers =
            format!("{:?}", seen.headers.iter().map(|(n, v)| (n, v.as_bytes())).collect::<Vec<_>>());
        assert!(!format!("{}{headers}{}", seen.target, seen.body).contains(token.as_str()), "{seen:?}");
        match seen.connection.as_str() {
            "query" => assert_eq!(seen.target, format!("/v1/charges?limit=3&api_key={secret}")),
            _ => assert_eq!(seen.target, "/v1/charges?limit=3"),
        }
        match seen.connection.as_str() {
            "stripe" => assert_eq!(seen.headers["authorization"], format!("Bearer {secret}")),
            "basic" => assert_eq!(seen.headers["authorization"], basic(&format!("AC1:{secret}"))),
            "header" => assert_eq!(seen.headers["x-api-key"], secret),
            _ => assert!(!seen.headers.contains_key("authorization")),
        }
        let rows = stage.trail(&reply).await;
        let events: Vec<_> = rows.iter().map(|row| row["event"].as_str().unwrap()).collect();
        assert_eq!(events, ["call_begun", "send_begun", "send_finished", "call_finished"]);
        assert_eq!((&rows[0]["door"], &rows[1]["operation"]), (&"proxy".into(), &"list_charges".into()));
    }
}

#[tokio::test]
async fn whatever_else_is_presented_gets_one_and_the_same_401() {
    let stage = Stage::start();
    let (_, expired) = stage.host.token(TokenKind::Agent);
    stage.host.clock.advance(Duration::from_secs(61));
    let (id, valid) = stage.host.token_with("acme", TokenKind::Agent, grant());
    let (revoked_id, revoked) = stage.host.token_with("acme", TokenKind::Agent, grant());
    assert!(stage.host.door.app.auth.revoke(&revoked_id, None).unwrap());
    let bearer = |key: &str| ("authorization", format!("Bearer {key}"));
    let wrong = [
        vec![],
        vec![bearer("sk_live_51AbCdEfGhIjKlMnOpQrStUvWxYz")],
        vec![("authorization", basic("sk_live_51AbCdEfGhIjKlMnOpQrStUvWxYz:"))],
        vec![bearer("")],
        vec![bearer(&expired)],
        vec![bearer(&revoked)],
        vec![bearer(&valid[..46])],
        vec![bearer(&valid.replace("kbt_", "kbo_"))],
        vec![("authorization", basic(&format!("{valid}:password")))],
        vec![("authorization", basic(&format!("someone:{valid}")))],
        vec![("authorization", valid.clone())],
        vec![("x-api-key", valid.clone())],
        vec![bearer(&valid), bearer(&valid)],
        vec![bearer(&valid), bearer("sk_live_51AbCdEfGhIjKlMnOpQrStUvWxYz")],
    ];
    for path in
        ["/proxy/stripe/v1/charges", "/proxy/plain/v1/charges", "/proxy/none/v1/charges", "/proxy/stripe/x"]
    {
        let mut first: Option<Reply> = None;
        for headers in &wrong {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            for method in ["GET", "POST"] {
                let reply = stage.send(method, &format!("{path}?api_key={valid}"), &headers, "").await;
                assert_eq!(reply.status, 401, "{path} {headers:?}");
                assert_eq!(reply.headers["www-authenticate"], "Bearer");
                assert!(
                    !reply.headers.contains_key("keybearer-call-id")
                        && !reply.headers.contains_key("request-id")
                );
                match path.contains("stripe") {
                    true => {
                        stripe_error(&reply, 401, "unauthorized");
                        assert_eq!(reply.headers["stripe-should-retry"], "false");
                    }
                    false => {
                        reply.problem(401, "unauthorized");
                    }
                }
                let first = first.get_or_insert_with(|| Reply {
                    status: reply.status,
                    headers: reply.headers.clone(),
                    body: reply.body.clone(),
                });
                assert_eq!(&reply, first, "{path} {headers:?}");
            }
        }
    }
    assert!(stage.upstream.seen().is_empty(), "nothing was sent");
    // It's not the token: in the right place it opens the door, until it's revoked.
    let good = [("authorization", format!("Bearer {valid}"))];
    let good = [(good[0].0, good[0].1.as_str())];
    assert_eq!(stage.send("GET", "/proxy/stripe/v1/charges", &good, "").await.status, 200);
    assert!(stage.host.door.app.auth.revoke(&id, None).unwrap());
    assert_eq!(stage.send("GET", "/proxy/stripe/v1/charges", &good, "").await.status, 401);
}

#[tokio::test]
async fn two_places_are_none_even_when_both_hold_the_same_token() {
    let stage = Stage::start();
    let token = &stage.token;
    let bearer = format!("Bearer {token}");
    let in_query = format!("/proxy/query/v1/charges?api_key={token}");
    let twice = format!("{in_query}&api_key={token}");
    for (path, headers) in [
        ("/proxy/header/v1/charges", vec![("authorization", bearer.as_str()), ("x-api-key", token.as_str())]),
        ("/proxy/header/v1/charges", vec![("x-api-key", token.as_str()), ("x-api-key", token.as_str())]),
        ("/proxy/header/v1/charges", vec![("x-api-key", token.as_str()), ("authorization", "")]),
        (&in_query, vec![("authorization", bearer.as_str())]),
        (&twice, vec![]),
    ] {
        assert_eq!(stage.send("GET", path, &headers, "").await.status, 401, "{path} {headers:?}");
    }
    assert!(stage.upstream.seen().is_empty());
}

#[tokio::test]
async fn a_token_that_a_model_writes_into_its_request_goes_no_further() {
    let stage = Stage::start();
    let token = &stage.token;
    let form = ("content-type", "application/x-www-form-urlencoded");
    // The same token with its first letter escaped, as a path, a query and a form write it, and as JSON does.
    let (percent, unicode) = (format!("%6b{}", &token[1..]), format!("\\u006b{}", &token[1..]));
    let described = |token: &str| format!("amount=1&currency=usd&description=key%3a+{token}");
    let text = |token: &str| format!("{{\"text\": \"{token}\"}}");
    let name = format!("{{\"text\": \"a\", \"{unicode}\": 1}}");
    let path = |token: &str| format!("/v1/charges/{token}");
    let query = |token: &str| format!("/v1/charges?customer={token}");
    let json = ("content-type", "application/json");
    for (method, path, headers, body) in [
        ("POST", "/v1/charges", vec![form], described(token).as_str()),
        ("POST", "/v1/charges", vec![form], &described(&percent)),
        ("PUT", "/v2/notes/a", vec![json], &text(token)),
        ("PUT", "/v2/notes/a", vec![json], &text(&unicode)),
        ("PUT", "/v2/notes/a", vec![json], &name),
        ("PUT", "/v2/files/a", vec![("content-type", "application/octet-stream")], &format!("a{token}")),
        ("GET", &path(token), vec![], ""),
        ("GET", &path(&percent), vec![], ""),
        ("GET", &query(token), vec![], ""),
        ("GET", &query(&percent), vec![], ""),
        ("GET", "/v1/charges", vec![("accept", token)], ""),
    ] {
        let reply = stage.ask(method, &format!("/proxy/stripe{path}"), &headers, body).await;
        let message = stripe_error(&reply, 400, "invalid_request");
        assert!(message.contains("the token stands in the request"), "{method} {path}: {message}");
    }
    assert!(stage.upstream.seen().is_empty());
}

#[tokio::test]
async fn an_operators_token_and_another_tenants_send_nothing() {
    let stage = Stage::start();
    let (_, operator) = stage.host.token(TokenKind::Operator);
    let operator = format!("Bearer {operator}");
    let reply = stage.send("GET", "/proxy/stripe/v1/charges", &[("authorization", &operator)], "").await;
    stripe_error(&reply, 403, "denied");

    // A connection that isn't for this realm is answered as one that isn't there.
    let other = stage.ask("GET", "/proxy/rivals/v1/charges", &[], "").await;
    let none = stage.ask("GET", "/proxy/rivels/v1/charges", &[], "").await;
    let detail = other.problem(404, "unknown_operation").replace("rivals", "rivels");
    assert_eq!(detail, none.problem(404, "unknown_operation"));
    assert!(stage.upstream.seen().is_empty());
}

#[tokio::test]
async fn a_token_bound_to_a_conversation_serves_no_other() {
    let stage = Stage::start();
    let reply = stage.ask("GET", "/proxy/stripe/v1/charges", &[("keybearer-conversation", "c-1")], "").await;
    assert_eq!(stage.trail(&reply).await[0]["conversation"], "c-1");
    let reply = stage.ask("GET", "/proxy/stripe/v1/charges", &[("keybearer-conversation", "a b")], "").await;
    assert!(stripe_error(&reply, 400, "bad_request").contains("keybearer-conversation"));
    stage.upstream.one();

    let (_, bound) = stage.host.token_bound("c-1", grant());
    let bearer = format!("Bearer {bound}");
    let headers = [("authorization", bearer.as_str()), ("keybearer-conversation", "c-2")];
    let reply = stage.send("GET", "/proxy/stripe/v1/charges", &headers, "").await;
    stripe_error(&reply, 403, "conversation_mismatch");
    let rows = stage.trail(&reply).await;
    assert_eq!((&rows[0]["event"], &rows[0]["tool"]), (&"call_refused".into(), &"proxy/stripe".into()));
    let reply = stage.send("GET", "/proxy/stripe/v1/charges", &headers[..1], "").await;
    assert_eq!(stage.trail(&reply).await[0]["conversation"], "c-1");
}

/// Collects what is logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn what_was_presented_is_neither_logged_nor_recorded_nor_answered() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let stage = Stage::start();
    let live = "sk_live_51AbCdEfGhIjKlMnOpQrStUvWxYz";
    let (bearer, user) = (format!("Bearer {live}"), basic(&format!("{live}:")));
    let mut answers = String::new();
    for (path, headers) in [
        ("/proxy/stripe/v1/charges".to_owned(), vec![("authorization", bearer.as_str())]),
        ("/proxy/stripe/v1/charges".to_owned(), vec![("authorization", user.as_str())]),
        ("/proxy/header/v1/charges".to_owned(), vec![("x-api-key", live)]),
        (format!("/proxy/query/v1/charges?api_key={live}"), vec![]),
        (format!("/proxy/query/v1/charges?api_key={live}&%"), vec![("authorization", bearer.as_str())]),
    ] {
        let reply = stage.send("GET", &path, &headers, "").await;
        assert_eq!(reply.status, 401, "{path}");
        answers += &format!("{reply:?}");
    }
    // A good token isn't printed either, whatever becomes of its request.
    for path in
        ["/proxy/stripe/v1/charges", "/proxy/stripe/v1/../x", "/proxy/stripe/v1/secret", "/proxy/x/y?%"]
    {
        answers += &format!("{:?}", stage.ask("GET", path, &[], "").await);
    }
    let (_, operator) = stage.host.token(TokenKind::Operator);
    let trail: Value = stage.host.get("/v1/audit", &operator).await.json();
    let logged = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(logged.contains("a send failed"), "the log was listened to: {logged}");
    for kept in [&stage.token, live, &pair_of(live), stage.canary.as_str()] {
        for (what, text) in [("log", &logged), ("answers", &answers), ("trail", &trail.to_string())] {
            assert!(!text.contains(kept), "{kept} is in the {what}");
        }
    }
    assert!(trail.to_string().contains(stage.id.as_str()), "the trail names tokens by their id");
}

/// The Basic pair that a key makes.
fn pair_of(live: &str) -> String {
    basic(&format!("{live}:")).replace("Basic ", "")
}
