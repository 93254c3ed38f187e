//! Who is let in, and what everyone else is told.

use std::time::Duration;

use axum::body::Body;
use http::Request;
use serde_json::json;

use super::super::openapi;
use super::super::router::Route;
use super::host::{Host, Reply};
use crate::store::TokenKind;

/// The routes that need no token.
const OPEN: [Route; 5] = [Route::Health, Route::Ready, Route::Metrics, Route::OpenApi, Route::Unknown];

/// A request that needs a token, and the kinds of token that open its route.
struct Guarded {
    method: String,
    path: String,
    for_agents: bool,
    for_operators: bool,
    for_monitors: bool,
}

/// One for each method of every other route. The description has them all: `routes` holds it against the router. An answer to
/// `HEAD` has no body to look at.
fn guarded() -> Vec<Guarded> {
    let document = openapi();
    let mut guarded = Vec::new();
    for route in Route::ALL.into_iter().filter(|route| !OPEN.contains(route)) {
        let methods = document["paths"][route.path()].as_object().unwrap();
        for (method, operation) in methods.iter().filter(|(method, _)| *method != "head") {
            let security = operation["security"].as_array().unwrap();
            let opens = |kind: &str| security.iter().any(|scheme| scheme.get(kind).is_some());
            guarded.push(Guarded {
                method: method.to_uppercase(),
                path: route.path().replace(['{', '}'], ""),
                for_agents: opens("agent"),
                for_operators: opens("operator"),
                for_monitors: opens("monitor"),
            });
        }
    }
    guarded
}

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
        bearer(&unknown.replace("kbt_", "kbm_")),
        bearer(&expired),
        bearer(&revoked),
        bearer(&valid.replace("kbt_", "kbo_")),
        bearer(&valid.replace("kbt_", "kbm_")),
        bearer(&valid[..46]),
        vec![("authorization", format!("Basic {valid}"))],
        vec![("authorization", valid.clone())],
        vec![("x-api-key", valid.clone())],
        [bearer(&valid), bearer(&valid)].concat(),
        [bearer(&unknown), bearer(&valid)].concat(),
    ];
    let guarded = guarded();
    let mut first: Option<Reply> = None;
    for Guarded { method, path, .. } in &guarded {
        for headers in &wrong {
            for path in [path.clone(), format!("{path}?token={valid}&access_token={valid}")] {
                let request = Request::builder().method(method.as_str()).uri(&path);
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
                    "{method} {path} {headers:?}"
                );
            }
        }
    }
    let failures = guarded.len() * wrong.len() * 2;
    let counted = format!("keybearer_auth_failures_total {failures}\n");
    assert!(host.door.app.metrics.render().contains(&counted));
}

#[tokio::test]
async fn each_kind_of_token_opens_its_own_routes_alone() {
    let host = Host::start();
    let (_, agent) = host.token(TokenKind::Agent);
    let (_, operator) = host.token(TokenKind::Operator);
    for Guarded { method, path, for_agents, for_operators, .. } in guarded() {
        let (wrong, hint) = match (for_agents, for_operators) {
            (true, false) => (&operator, "use an agent's token (kbt_…)"),
            (false, true) => (&agent, "use an operator's token (kbo_…)"),
            (true, true) => continue,
            (false, false) => panic!("nothing opens {method} {path}"),
        };
        let detail = host.ask(&method, &path, wrong, "{}").await.problem(403, "denied");
        assert!(detail.contains(hint), "{method} {path}: {detail}");
    }
    assert_eq!(host.get("/v1/tools", &agent).await.status, 200);
    assert_eq!(host.get("/v1/tokens", &operator).await.status, 200);
    assert_eq!(host.get("/v1/audit", &operator).await.status, 200);
}

#[tokio::test]
async fn a_monitor_opens_what_shows_something_to_operators_and_nothing_else() {
    let host = Host::start();
    let (_, monitor) = host.token(TokenKind::Monitor);
    for Guarded { method, path, for_operators, for_monitors, .. } in guarded() {
        // A route that's added has to say so, here as there.
        assert_eq!(for_monitors, for_operators && method == "GET", "{method} {path}");
        let reply = host.ask(&method, &path, &monitor, "{}").await;
        if for_monitors {
            // There's nothing under the names that stand in these paths.
            assert!([200, 404].contains(&reply.status.as_u16()), "{method} {path}: {reply:?}");
            assert_eq!(reply, host.ask_with_key(&method, &path, &monitor, &json!({})).await);
            continue;
        }
        let other =
            if for_operators { "an operator's token (kbo_…)" } else { "an agent's token (kbt_…)" };
        let mut replies = vec![reply];
        if for_operators {
            replies.push(host.ask_with_key(&method, &path, &monitor, &json!({})).await);
        }
        for reply in replies {
            let detail = reply.problem(403, "denied");
            assert!(
                detail.contains("a monitor's token (kbm_…) only looks") && detail.contains(other),
                "{detail}"
            );
        }
    }
}

#[tokio::test]
async fn a_key_of_somebody_else_s_keeps_no_agent_out_and_lets_no_one_in() {
    let host = Host::start();
    let (_, agent) = host.token(TokenKind::Agent);
    let (_, operator) = host.token(TokenKind::Operator);
    for Guarded { method, path, for_agents, for_operators, .. } in guarded() {
        if !for_operators {
            continue;
        }
        let with_key = async |token: &str, key: &str| {
            let request = Request::builder().method(method.as_str()).uri(&path);
            let request = request.header("authorization", format!("Bearer {token}")).header("x-api-key", key);
            host.send(request.body(Body::from("{}")).unwrap()).await.status
        };
        for key in ["gateway-1", operator.as_str()] {
            let status = with_key(&agent, key).await;
            assert_eq!(status == 401, !for_agents, "{method} {path} {key}: {status}");
        }
        // Which of two operators is meant isn't guessed.
        assert_eq!(with_key(&operator, "gateway-1").await, 401, "{method} {path}");
    }
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
