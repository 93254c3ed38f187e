//! Routes: what there is, what there isn't, and what is too much.

use std::time::Duration;

use axum::body::Body;
use http::Request;

use super::super::openapi;
use super::super::router::Route;
use super::client::{Served, config};
use super::host::Host;
use crate::egress::{MasterKey, Vault};
use crate::store::TokenKind;

#[tokio::test]
async fn unknown_paths_are_problems_too() {
    let host = Host::start();
    for path in
        ["/", "/v1", "/v2/tools", "/v1/tools/", "/v1/tools/a/b", "/v1/tools//", "/V1/tools", "/v1/secrets"]
    {
        let detail = host.get(path, "").await.problem(404, "not_found");
        assert!(detail.contains("/openapi.json"), "{detail}");
    }
}

#[tokio::test]
async fn a_route_takes_the_methods_that_are_described_and_no_others() {
    let host = Host::start();
    let document = openapi();
    for route in Route::ALL.into_iter().filter(|route| *route != Route::Unknown) {
        let described = document["paths"][route.path()].as_object().unwrap();
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            let path = route.path().replace(['{', '}'], "");
            let reply = host.ask(method, &path, "", "").await;
            if described.contains_key(&method.to_lowercase()) {
                assert!([200, 401].contains(&reply.status.as_u16()), "{method} {path}: {reply:?}");
            } else {
                reply.problem(405, "method_not_allowed");
                let allow = reply.headers["allow"].to_str().unwrap().to_lowercase();
                assert!(described.keys().all(|known| allow.contains(known)), "{method} {path}: {allow}");
            }
        }
    }
}

#[tokio::test]
async fn malformed_headers_are_refused_before_anything_runs() {
    let host = Host::start();
    let (_, agent) = host.token(TokenKind::Agent);
    for (name, value) in [
        ("keybearer-conversation", "a b"),
        ("keybearer-turn", ""),
        ("keybearer-deadline-ms", "soon"),
        ("keybearer-deadline-ms", "0"),
    ] {
        let request = Request::post("/v1/tools/get_invoice")
            .header("authorization", format!("Bearer {agent}"))
            .header("keybearer-call-id", "call_00000000000000000000000000000000")
            .header(name, value);
        let reply = host.send(request.body(Body::from("{}")).unwrap()).await;
        let detail = reply.problem(400, "bad_request");
        assert!(detail.contains(name) && detail.contains("Nothing was sent."), "{detail}");
        // The id is the host's own, whatever the client called the call.
        let id = reply.headers["keybearer-call-id"].to_str().unwrap();
        assert!(id.starts_with("call_0") && id != "call_00000000000000000000000000000000", "{id}");
        assert_eq!(reply.json()["call"], id);
    }
}

#[tokio::test]
async fn names_that_can_not_be_tools_are_answered_as_unknown_ones() {
    let host = Host::start();
    let (_, agent) = host.token(TokenKind::Agent);
    for name in ["no_such_tool", "Get", "get%5Finvoice", "..", "%2e%2e", "a%00b", &"a".repeat(65)] {
        let reply = host.ask("POST", &format!("/v1/tools/{name}"), &agent, "{}").await;
        let detail = reply.problem(404, "unknown_tool");
        assert!(detail.contains("GET /v1/tools"), "{detail}");
    }
}

#[tokio::test]
async fn bodies_over_the_limit_are_refused_with_a_reason() {
    let host = Host::start();
    let (_, agent) = host.token(TokenKind::Agent);
    let served = Served::start(config(), host.routes()).await;
    let head = format!("POST /v1/tools/t HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {agent}\r\n");
    let chunk = format!("80\r\n{}\r\n", "x".repeat(0x80));
    for request in [
        format!("{head}content-length: 1001\r\n\r\n{}", "x".repeat(1001)),
        format!("{head}content-length: 99999999999\r\n\r\n"),
        format!("{head}transfer-encoding: chunked\r\n\r\n{}0\r\n\r\n", chunk.repeat(9)),
    ] {
        let mut client = served.connect().await;
        client.send(&request).await;
        let answer = client.read_once().await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        assert!(answer.contains("The call failed (too_large)"), "{answer}");
    }
}

#[tokio::test]
async fn a_list_is_no_body_though_its_values_stand_in_the_order_of_the_members() {
    let host = Host::start();
    let (_, operator) = host.token(TokenKind::Operator);
    let (_, agent) = host.token(TokenKind::Agent);
    let held = "/v1/budgets/held/call_00000000000000000000000000000000.1";
    for (path, token, body) in [
        ("/v1/kill", &operator, r#"["agent:someone", null, "x"]"#),
        (
            "/v1/tokens",
            &operator,
            r#"["a", null, null, null, null, null, null, [], [], [], false, false, 60]"#,
        ),
        (
            "/v1/tokens",
            &operator,
            r#"{"agent": "a", "budgets": [[1, "usd", "day"]], "expires_in_seconds": 60}"#,
        ),
        ("/v1/tokens/delegate", &agent, r#"["a", null, null, null, [], [], [], false, false, 60]"#),
        (
            "/admin/vault-keys",
            &operator,
            r#"{"daily_cap": [1, "usd"], "allowed_endpoints": ["/v1/charges"], "ttl_seconds": 60}"#,
        ),
        ("/v1/agents", &operator, r#"["a"]"#),
        ("/v1/policies", &operator, r#"["n", ["read"], ["api://a"], "allow"]"#),
        (
            "/v1/policies",
            &operator,
            r#"{"name": "n", "actions": ["read"], "resources": ["api://a"], "effect": "allow", "constraints": [true]}"#,
        ),
        ("/v1/enforce", &operator, r#"["r", "kbt_x", "read", "api://a", null, {}, null]"#),
        (&format!("{held}/settle"), &operator, "[5]"),
        (&format!("{held}/release"), &operator, "[]"),
        ("/v1/code", &agent, r#"[[{"language": "python", "code": "1"}], null]"#),
        ("/v1/code", &agent, r#"{"blocks": [["python", "1"]]}"#),
    ] {
        let detail = host.ask("POST", path, token, body).await.problem(400, "bad_request");
        assert!(detail.contains("expected an object"), "{path}: {detail}");
    }
    assert_eq!(host.get("/v1/kill", &operator).await.json(), serde_json::json!({ "kills": [] }));
}

#[tokio::test]
async fn bodies_that_stop_or_break_off_are_refused() {
    let host = Host::start();
    let (_, agent) = host.token(TokenKind::Agent);
    let served = Served::start(config(), host.routes()).await;
    let head = format!("POST /v1/tools/t HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {agent}\r\n");
    for (body, answered) in [
        ("content-length: 10\r\n\r\n{", "The call failed (deadline_exceeded)"),
        ("transfer-encoding: chunked\r\n\r\nzz\r\n", "The call failed (bad_request)"),
    ] {
        let mut client = served.connect().await;
        client.send(&format!("{head}{body}")).await;
        let answer = client.read_to_close().await;
        assert!(answer.contains(answered), "{answer}");
    }
}

#[tokio::test]
async fn calls_past_the_limit_are_told_so() {
    let host = Host::start();
    let (_, agent) = host.token(TokenKind::Agent);
    let taken = host.door.places.take().unwrap();
    let reply = host.ask("POST", "/v1/tools/get_invoice", &agent, "{}").await;
    assert!(reply.problem(503, "busy").contains("It's safe to try again."));
    assert_eq!(reply.headers["retry-after"], "1");
    drop(taken);
    host.ask("POST", "/v1/tools/get_invoice", &agent, "{}").await.problem(404, "unknown_tool");
}

#[tokio::test]
async fn a_host_that_stops_takes_no_new_calls() {
    let host = Host::start();
    let (_, agent) = host.token(TokenKind::Agent);
    assert_eq!(host.get("/readyz", "").await.status, 200);
    host.door.drain();
    host.ask("POST", "/v1/tools/get_invoice", &agent, "{}").await.problem(503, "shutting_down");
    host.get("/readyz", "").await.problem(503, "shutting_down");
    assert_eq!(host.get("/healthz", "").await.status, 200);
}

#[tokio::test]
async fn a_host_that_can_not_record_is_not_ready() {
    let host = Host::start();
    let (_, operator) = host.token(TokenKind::Operator);
    host.trail.fill_up();
    let body = r#"{"agent": "a", "expires_in_seconds": 1}"#;
    host.ask("POST", "/v1/tokens", &operator, body).await.problem(503, "audit_unavailable");
    host.get("/readyz", "").await.problem(503, "audit_unavailable");
}

#[tokio::test]
async fn a_host_without_the_master_key_in_use_is_not_ready() {
    let host = Host::start();
    let other = Vault::open(host.door.app.control.clone(), MasterKey::for_tests(1), host.clock.clone());
    other.ok().unwrap().rotate_master(MasterKey::for_tests(2)).unwrap();
    host.get("/readyz", "").await.problem(503, "internal");
}

#[tokio::test]
async fn the_trail_is_paged_and_holds_its_own_tenant_alone() {
    let host = Host::start();
    let (_, operator) = host.token_in("acme", TokenKind::Operator);
    let (_, rival) = host.token_in("rival", TokenKind::Operator);
    let body = r#"{"agent": "a", "expires_in_seconds": 1}"#;
    for token in [&operator, &rival, &operator, &rival, &operator] {
        assert_eq!(host.ask("POST", "/v1/tokens", token, body).await.status, 201);
    }
    let (mut path, mut seen) = ("/v1/audit?limit=2".to_owned(), Vec::new());
    loop {
        let page = host.get(&path, &operator).await.json();
        for row in page["rows"].as_array().unwrap() {
            assert_eq!(row["realm"]["tenant"], "acme");
            seen.push(row["seq"].as_u64().unwrap());
        }
        let Some(before) = page["next_before"].as_u64() else { break };
        path = format!("/v1/audit?limit=2&before={before}");
    }
    assert_eq!(seen, [5, 3, 1]);
    host.get("/v1/audit?tenant=rival", &operator).await.problem(400, "bad_request");
    for call in ["call_00000000000000000000000000000000", "x"] {
        host.get(&format!("/v1/audit/{call}"), &operator).await.problem(404, "not_found");
    }
}

/// Other tenants' agents and conversations may have the same names.
#[tokio::test]
async fn the_trail_is_asked_about_a_conversation_an_agent_a_token_and_a_time_of_its_own_tenant_alone() {
    let host = Host::start();
    let (_, operator) = host.token_in("acme", TokenKind::Operator);
    let (_, rival) = host.token_in("rival", TokenKind::Operator);
    let mint = async |by: &str, agent: &str, conversation: &str| {
        let body =
            format!(r#"{{"agent": "{agent}", "conversation": "{conversation}", "expires_in_seconds": 1}}"#);
        let minted = host.ask("POST", "/v1/tokens", by, &body).await;
        assert_eq!(minted.status, 201, "{}", minted.body);
        minted.json()["id"].as_str().unwrap().to_owned()
    };
    let (own, theirs) = (mint(&operator, "bot", "march").await, mint(&rival, "bot", "march").await);
    mint(&operator, "bot", "april:1").await;
    mint(&rival, "theirs", "secret-1").await;
    let numbers = async |query: &str| {
        let page = host.get(&format!("/v1/audit?{query}"), &operator).await;
        assert_eq!(page.status, 200, "{query}: {}", page.body);
        let rows = page.json()["rows"].as_array().unwrap().clone();
        rows.iter().map(|row| row["seq"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    let asked: [(&str, &[u64]); 10] = [
        ("conversation=march", &[1]),
        ("conversation=april%3A1", &[3]),
        ("conversation=april:1&agent=bot", &[3]),
        ("agent=bot", &[3, 1]),
        ("agent=bot&limit=1", &[3]),
        ("agent=bot&limit=1&before=3", &[1]),
        (&format!("token={own}"), &[1]),
        (&format!("token={own}&conversation=april:1"), &[]),
        ("since=1971-01-01T00%3A00%3A00%2B02%3A00", &[3, 1]),
        ("agent=bot&until=1971-01-01", &[]),
    ];
    for (query, wanted) in asked {
        assert_eq!(numbers(query).await, wanted, "{query}");
    }
    // What another tenant has is answered as what nobody has.
    let nobody = host.get("/v1/audit?conversation=nothing", &operator).await;
    for query in ["conversation=secret-1", "agent=theirs", format!("token={theirs}").as_str()] {
        assert_eq!(host.get(&format!("/v1/audit?{query}"), &operator).await, nobody, "{query}");
    }
    let wrong = host.get("/v1/audit?conversation=a%20b", &operator).await;
    assert!(wrong.body.contains("conversation: use 1 to 128 letters"), "{}", wrong.body);
}

#[tokio::test]
async fn a_search_waits_for_its_turn_and_keeps_nobody_else_waiting() {
    let host = Host::start();
    let (_, monitor) = host.token(TokenKind::Monitor);
    let turn = host.door.searches.take(&"rival".parse().unwrap()).await.unwrap();
    for query in ["agent=bot", "conversation=march", "token=tok_000000000000000000000001"] {
        let path = format!("/v1/audit?{query}");
        let asked = tokio::time::timeout(Duration::from_millis(20), host.get(&path, &monitor)).await;
        assert!(asked.is_err(), "{query}");
    }
    assert_eq!(host.get("/v1/audit", &monitor).await.status, 200);
    drop(turn);
    // Those that were given up left nothing behind.
    assert_eq!(host.get("/v1/audit?agent=bot", &monitor).await.status, 200);
}

#[tokio::test]
async fn readers_of_one_tenant_keep_no_other_one_waiting() {
    let host = Host::start();
    let (_, monitor) = host.token_in("acme", TokenKind::Monitor);
    let (_, rival) = host.token_in("rival", TokenKind::Monitor);
    let reads = &host.door.reads;
    let tenant = &"acme".parse().unwrap();
    let taken = (reads.take(tenant).await.unwrap(), reads.take(tenant).await.unwrap());
    let asked = tokio::time::timeout(Duration::from_millis(20), host.get("/v1/audit", &monitor)).await;
    assert!(asked.is_err(), "it waits in its own tenant's line");
    assert_eq!(host.get("/v1/audit", &rival).await.status, 200);
    drop(taken);
    assert_eq!(host.get("/v1/audit", &monitor).await.status, 200);
}

#[tokio::test]
async fn what_no_list_can_be_asked_for_is_refused() {
    let host = Host::start();
    let (_, operator) = host.token(TokenKind::Operator);
    for path in [
        "/v1/audit?limit=1001",
        "/v1/audit?before=0",
        "/v1/audit?call=x",
        "/v1/audit?conversation=",
        "/v1/audit?conversation=a%20b",
        "/v1/audit?agent=%zz",
        "/v1/audit?token=kbt_1",
        "/v1/audit?since=monday",
        "/v1/audit?until=2026-07-01T00:00:00",
        "/v1/audit?since=2026-07-02&until=2026-07-01",
        "/v1/audit?since=2026-07-01&since=2026-07-01",
        "/v1/audit?operation=create_charge",
        "/v1/tokens?limit=1001",
        "/v1/tokens?before=7",
        "/v1/approvals?limit=1001",
        "/v1/approvals?state=Pending",
        "/v1/budgets?limit=10001",
        "/v1/budgets/held?limit=10001",
        "/v1/users/ann/secrets?environment=",
        "/v1/users/ann/secrets?tenant=rival",
    ] {
        host.get(path, &operator).await.problem(400, "bad_request");
    }
}

#[tokio::test]
async fn answers_are_counted_by_route_and_status() {
    let host = Host::start();
    host.get("/v1/tools", "").await;
    host.get("/nowhere/at/all", "").await;
    let text = host.get("/metrics", "").await;
    assert!(text.headers["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"));
    for line in [
        r#"keybearer_http_requests_total{route="/v1/tools",status="401"} 1"#,
        r#"keybearer_http_requests_total{route="unknown",status="404"} 1"#,
    ] {
        assert!(text.body.contains(line), "{line} is not in\n{}", text.body);
    }
}
