//! Who is let in, and what everyone else is told.

use std::time::Duration;

use axum::body::Body;
use http::Request;

use super::host::{Host, Reply};
use crate::store::TokenKind;

/// Every route that needs a token.
const GUARDED: [(&str, &str); 20] = [
    ("GET", "/v1/tools"),
    ("POST", "/v1/tools/get_invoice"),
    ("POST", "/mcp"),
    ("GET", "/v1/tokens"),
    ("POST", "/v1/tokens"),
    ("POST", "/v1/tokens/delegate"),
    ("DELETE", "/v1/tokens/tok_000000000000000000000000"),
    ("POST", "/admin/vault-keys"),
    ("GET", "/v1/agents"),
    ("POST", "/v1/agents"),
    ("DELETE", "/v1/agents/agent_000000000000000000000000"),
    ("GET", "/v1/policies"),
    ("POST", "/v1/policies"),
    ("DELETE", "/v1/policies/pol_000000000000000000000000"),
    ("POST", "/v1/enforce"),
    ("GET", "/v1/kill"),
    ("POST", "/v1/kill"),
    ("DELETE", "/v1/kill/kill_000000000000000000000000"),
    ("GET", "/v1/audit"),
    ("GET", "/v1/audit/call_00000000000000000000000000000000"),
];

#[tokio::test]
async fn whatever_is_wrong_with_a_token_the_answer_is_one_and_the_same() {
    let host = Host::start();
    let (_, expired) = host.token(TokenKind::Agent);
    host.clock.advance(Duration::from_secs(61));
    let (id, revoked) = host.token(TokenKind::Agent);
    assert!(host.door.app.auth.revoke(&id, None).unwrap());
    let (_, valid) = host.token(TokenKind::Agent);
    let bearer = |token: &str| vec![("authorization", format!("Bearer {token}"))];
    let unknown = format!("kbt_{}", "A".repeat(43));
    let wrong = [
        vec![],
        bearer(""),
        bearer("kbt_"),
        bearer("not a token"),
        bearer(&unknown),
        bearer(&unknown.replace("kbt_", "kbo_")),
        bearer(&expired),
        bearer(&revoked),
        bearer(&valid.replace("kbt_", "kbo_")),
        bearer(&valid[..46]),
        vec![("authorization", format!("Basic {valid}"))],
        vec![("authorization", valid.clone())],
        vec![("x-api-key", valid.clone())],
        [bearer(&valid), bearer(&valid)].concat(),
        [bearer(&unknown), bearer(&valid)].concat(),
    ];
    let mut first: Option<Reply> = None;
    for (method, path) in GUARDED {
        for headers in &wrong {
            for path in [path.to_owned(), format!("{path}?token={valid}&access_token={valid}")] {
                let request = Request::builder().method(method).uri(path);
                let request =
                    headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
                let reply = host.send(request.body(Body::from("{}")).unwrap()).await;
                let detail = reply.problem(401, "unauthorized");
                assert!(detail.contains("Authorization: Bearer"), "{detail}");
                assert_eq!(reply.headers["www-authenticate"], "Bearer");
                assert_eq!(
                    &reply,
                    first.get_or_insert_with(|| Reply {
                        status: reply.status,
                        headers: reply.headers.clone(),
                        body: reply.body.clone(),
                    }),
                    "{method} {headers:?}"
                );
            }
        }
    }
    let failures = GUARDED.len() * wrong.len() * 2;
    let counted = format!("keybearer_auth_failures_total {failures}\n");
    assert!(host.door.app.metrics.render().contains(&counted));
}

#[tokio::test]
async fn each_kind_of_token_opens_its_own_routes_alone() {
    let host = Host::start();
    let (_, agent) = host.token(TokenKind::Agent);
    let (_, operator) = host.token(TokenKind::Operator);
    for (method, path) in GUARDED {
        let for_agents = path.starts_with("/v1/tools") || path == "/mcp" || path.ends_with("/delegate");
        let (wrong, hint) = if for_agents { (&operator, "kbt_") } else { (&agent, "kbo_") };
        let detail = host.ask(method, path, wrong, "{}").await.problem(403, "denied");
        assert!(detail.contains(hint), "{method} {path}: {detail}");
    }
    assert_eq!(host.get("/v1/tools", &agent).await.status, 200);
    assert_eq!(host.get("/v1/tokens", &operator).await.status, 200);
    assert_eq!(host.get("/v1/audit", &operator).await.status, 200);
}

#[tokio::test]
async fn what_needs_no_token_shows_no_tenant() {
    let host = Host::start();
    let (id, _) = host.token(TokenKind::Agent);
    for path in ["/healthz", "/readyz", "/metrics", "/openapi.json"] {
        let reply = host.get(path, "").await;
        assert_eq!(reply.status, 200, "{path}");
        for private in ["acme", "someone", id.as_str()] {
            assert!(!reply.body.contains(private), "{path} shows {private}");
        }
    }
}
