//! Who may run code, what code may send, and what isn't even a request.

use super::*;

/// What `init` writes.
const START: &str = crate::policy::START;

fn with_start(more: &str) -> String {
    format!("{START}\n@id(\"more\")\n{more}")
}

async fn listed(stage: &Stage) -> Vec<Value> {
    let tools = stage.host.get("/v1/tools", &stage.token).await.json();
    tools["tools"].as_array().unwrap().iter().map(|tool| tool["name"].clone()).collect()
}

#[tokio::test]
async fn nobody_runs_code_before_a_policy_says_so() {
    for policies in [
        START.to_owned(),
        with_start("permit (principal, action in Action::\"call\", resource);"),
        with_start("permit (principal, action, resource in Environment::\"rival/dev\");"),
        with_start("permit (principal in Role::\"acme/analyst\", action == Action::\"run_code\", resource);"),
        format!(
            "{CODE_RUNS}\nforbid (principal, action == Action::\"run_code\", resource == Tool::\"run_python\");"
        ),
    ] {
        let stage = Stage::ruled(&policies, &["stripe"]);
        let detail = stage.run(&["print"]).await.problem(403, "denied");
        assert!(detail.contains("run_python was refused by policy"), "{detail}");
        assert!(!detail.contains("run_code"), "no rule is named: {detail}");
        stage
            .host
            .ask("POST", "/v1/tools/run_python", &stage.token, r#"{"code":"p"}"#)
            .await
            .problem(403, "denied");
        assert!(listed(&stage).await.is_empty(), "{policies}");
        let rows = stage.trail().await;
        assert!(rows.iter().all(|row| row["event"] != "call_begun"), "{rows:#?}");
        let refused: Vec<_> = rows.iter().filter(|row| row["event"] == "call_refused").collect();
        assert!(!refused.is_empty(), "{rows:#?}");
        assert!(
            refused.iter().all(|row| row["code"] == "denied" && row["policy"].is_string()),
            "{refused:#?}"
        );
    }
}

#[tokio::test]
async fn a_policy_knows_the_size_of_code_and_who_asks() {
    let policies = with_start(
        "permit (principal == Agent::\"acme/someone\", action == Action::\"run_code\", resource == \
            Tool::\"run_python\") when { context.bytes <= 10 };",
    );
    let stage = Stage::ruled(&policies, &[]);
    assert_eq!(listed(&stage).await, ["run_python"]);
    assert_eq!(came_to(&stage.run(&["print 7890"]).await).0, 0);
    stage.run(&["print 78901"]).await.problem(403, "denied");
    // As bytes, not as characters, and not as JSON has them.
    stage.run(&["print é890"]).await.problem(403, "denied");
    assert_eq!(came_to(&stage.run(&["print\n7890"]).await).0, 0);
}

#[tokio::test]
async fn a_token_that_does_not_name_the_tool_learns_nothing_of_it() {
    let stage = Stage::new();
    let empty = Host::start_ruled(&[], stage.upstream.clone(), CODE_RUNS);
    let (_, other) = stage.host.token_with("acme", TokenKind::Agent, grant(&["probe"]));
    let (_, there) = empty.token_with("acme", TokenKind::Agent, grant(&["run_python"]));
    let body = json!({ "blocks": [block("python", "print")] }).to_string();
    let unnamed = stage.host.ask("POST", "/v1/code", &other, &body).await.problem(404, "unknown_tool");
    let absent = empty.ask("POST", "/v1/code", &there, &body).await.problem(404, "unknown_tool");
    assert_eq!(unnamed, absent);
    let (_, operator) = stage.host.token(TokenKind::Operator);
    stage.host.ask("POST", "/v1/code", &operator, &body).await.problem(403, "denied");
    stage.host.ask("POST", "/v1/code", "", &body).await.problem(401, "unauthorized");
}

#[tokio::test]
async fn bodies_that_are_no_request_begin_nothing() {
    let stage = Stage::new();
    let many = vec![block("py", "p"); 65];
    for (body, word) in [
        (json!([]), "body"),
        (json!({}), "blocks"),
        (json!({ "blocks": [] }), "at least one"),
        (json!({ "blocks": [{ "language": "python" }] }), "code"),
        (json!({ "blocks": [{ "language": "python", "code": 7 }] }), "string"),
        (json!({ "blocks": [block("py", "p")], "timeout_ms": 0 }), "timeout_ms"),
        (json!({ "blocks": [block("py", "p")], "timeout_ms": -1 }), "body"),
        (json!({ "blocks": [block("py", "p")], "token": "kbt_x" }), "token"),
        (json!({ "blocks": [{ "language": "py", "code": "p", "connections": ["stripe"] }] }), "connections"),
    ] {
        let detail = stage.ask(&body).await.problem(400, "bad_request");
        assert!(detail.contains(word), "{detail}");
    }
    let text = json!({ "blocks": many }).to_string().replace("\"language\":\"py\",", "\"language\":\"\",");
    let mut wide = super::super::client::config();
    wide.limits.body_bytes_max = 1 << 16;
    let door = super::super::super::router::Door::new(stage.host.door.app.clone(), &wide);
    let routes = super::super::super::router::router(Arc::new(door));
    let request = http::Request::post("/v1/code").header("authorization", format!("Bearer {}", stage.token));
    let response = tower::ServiceExt::oneshot(routes, request.body(axum::body::Body::from(text)).unwrap())
        .await
        .unwrap();
    assert_eq!(response.status(), 400, "65 blocks");
    let large = json!({ "blocks": [block("py", &"p".repeat(1000))] });
    stage.ask(&large).await.problem(413, "too_large");
    assert!(stage.trail().await.is_empty());
}

#[tokio::test]
async fn code_sends_what_consent_grant_and_policies_allow_and_no_more() {
    let send = "permit (principal, action == Action::\"run_code\", resource);";
    let only_tools = with_start(&format!(
        "{send} @id(\"door\") forbid (principal, action in Action::\"send\", resource) when {{ context.door == \"code\" }};"
    ));
    let named = format!(
        "{send} permit (principal, action in Action::\"send\", resource) when {{ context.door == \"code\" && \
         context has tool && context.tool == \"run_python\" }};"
    );
    for (policies, connections, code, seen) in [
        (CODE_RUNS, &["stripe"][..], 0, 1),
        // Nothing was consented to.
        (CODE_RUNS, &[], 1, 0),
        (&only_tools, &["stripe"], 1, 0),
        (&named, &["stripe"], 0, 1),
    ] {
        let stage = Stage::ruled(policies, connections);
        assert_eq!(came_to(&stage.run(&["send"]).await).0, code, "{policies}");
        assert_eq!(stage.upstream.seen(), seen);
    }
    let stage = Stage::new();
    let narrow = Grant { operations: vec![], ..grant(&["run_python"]) };
    let (_, token) = stage.host.token_with("acme", TokenKind::Agent, narrow);
    let body = json!({ "blocks": [block("py", "send")] }).to_string();
    assert_eq!(came_to(&stage.host.ask("POST", "/v1/code", &token, &body).await).0, 1);
    assert_eq!(stage.upstream.seen(), 0);
}

#[tokio::test]
async fn code_has_places_of_its_own() {
    let stage = Stage::new();
    stage.host.add_tool("probe", crate::runtime::test_guest::OK);
    let probe = async || stage.host.ask("POST", "/v1/tools/probe", &stage.token, "{}").await.status;
    let run = async || {
        stage.host.ask("POST", "/v1/tools/run_python", &stage.token, r#"{"code":"print"}"#).await.status
    };
    // All places of code are taken: tools run, and code isn't let in by the tools' door either.
    let taken = (stage.host.door.code_places.take().unwrap(), stage.host.door.code_places.take().unwrap());
    stage.run(&["print"]).await.problem(503, "busy");
    assert_eq!((run().await.as_u16(), probe().await.as_u16()), (503, 200));
    drop(taken);
    // All places of tools are taken: code runs.
    let taken = stage.host.door.places.take().unwrap();
    assert_eq!((run().await.as_u16(), probe().await.as_u16()), (200, 503));
    assert_eq!(came_to(&stage.run(&["print"]).await).0, 0);
    drop(taken);
    stage.host.door.drain();
    stage.run(&["print"]).await.problem(503, "shutting_down");
}
