//! Code that a person reads before it runs.

use super::super::approvals::{id_in, token};
use super::*;
use crate::ids::ApprovalId;

/// Code may be run once somebody has agreed to it.
const READ_FIRST: &str = "@id(\"grants\") permit (principal, action in [Action::\"send\", Action::\"call\"], resource);\n\
    @id(\"code\") permit (principal, action == Action::\"run_code\", resource);\n\
    @id(\"read-first\") forbid (principal, action == Action::\"run_code\", resource)\n\
    unless { context.approval.granted };";

impl Stage {
    fn asking() -> Self {
        Self::ruled(READ_FIRST, &["stripe"])
    }

    async fn run_by(&self, token: &str, headers: &[(&str, &str)], code: &[&str]) -> Reply {
        let blocks: Vec<_> = code.iter().map(|code| block("python", code)).collect();
        let request = http::Request::post("/v1/code").header("authorization", format!("Bearer {token}"));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.host.send(request.body(json!({ "blocks": blocks }).to_string().into()).unwrap()).await
    }

    async fn run_with(&self, given: &[&ApprovalId], code: &[&str]) -> Reply {
        let given = given.iter().map(|id| id.as_str()).collect::<Vec<_>>().join(", ");
        self.run_by(&self.token, &[("keybearer-approval", given.as_str())], code).await
    }

    /// Runs code that waits for people.
    async fn run_waiting(&self, code: &[&str]) -> Reply {
        self.run_by(&self.token, &[("keybearer-approval-wait", "yes")], code).await
    }

    /// Asks for this code, which has to wait for people.
    async fn asked(&self, code: &[&str]) -> ApprovalId {
        id_in(&self.run(code).await.problem(403, "approval_required"))
    }

    async fn decide(&self, id: &ApprovalId, word: &str, by: &str) -> Reply {
        let (_, operator) = token(&self.host, "acme", by, TokenKind::Operator);
        self.host.ask("POST", &format!("/v1/approvals/{id}/{word}"), &operator, "").await
    }

    async fn approve(&self, id: &ApprovalId) {
        let done = self.decide(id, "approve", "alice").await;
        // Who waits for it may have used it by the time of the answer.
        assert!(["granted", "used"].map(serde_json::Value::from).contains(&done.json()["state"]), "{done:?}");
    }

    /// Waits until something waits for people, and answers what.
    async fn pending(&self) -> ApprovalId {
        let begun = Instant::now();
        let approvals = self.host.door.app.approvals.approvals().clone();
        loop {
            let waits = approvals.list(None, Some(crate::store::ApprovalState::Pending), 1).unwrap().pop();
            if let Some(row) = waits {
                return row.id;
            }
            assert!(begun.elapsed() < LONG, "nothing waits");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn rows_of(&self, event: &str) -> Vec<Value> {
        self.trail().await.into_iter().filter(|row| row["event"] == event).collect()
    }
}

#[tokio::test]
async fn a_person_reads_all_the_code_and_it_runs_once() {
    let stage = Stage::asking();
    let code = ["print marker-1\n  pay('x')", "print marker-2"];
    let id = stage.asked(&code).await;
    assert_eq!(stage.asked(&code).await, id, "a loop asks once");
    let rows = stage.trail().await;
    assert!(rows.iter().all(|row| row["event"] != "call_begun"), "nothing runs: {rows:#?}");
    let refused = stage.rows_of("call_refused").await;
    assert!(refused.iter().all(|row| row["code"] == "approval_required" && row["policy"].is_string()));

    let (_, alice) = token(&stage.host, "acme", "alice", TokenKind::Operator);
    let shown = stage.host.get(&format!("/v1/approvals/{id}"), &alice).await.json();
    assert_eq!(
        (&shown["action"], &shown["tool"], &shown["operation"], &shown["resource"]),
        (&json!("run_code"), &json!("run_python"), &Value::Null, &Value::Null)
    );
    assert_eq!(
        shown["request"]["code"],
        json!([
            { "language": "python", "bytes": 25, "lines": ["print marker-1", "  pay('x')"] },
            { "language": "python", "bytes": 14, "lines": ["print marker-2"] },
        ])
    );
    let text = shown["text"].as_str().unwrap();
    assert!(text.starts_with("code: that the agent wrote, to be run by run_python\n"), "{text}");
    assert!(
        text.contains(
            "block 1 of 2: python, 25 bytes, all 2 lines\n    1: print marker-1\n    2:   pay('x')\n\
             block 2 of 2: python, 14 bytes, all 1 lines\n    1: print marker-2\nasked by: someone, with tok_"
        ),
        "{text}"
    );

    stage.approve(&id).await;
    assert_eq!(came_to(&stage.run(&code).await), (0, "hi\nhi\n".to_owned()));
    let begun = stage.rows_of("call_begun").await;
    assert_eq!(begun.len(), 2);
    assert!(begun.iter().all(|row| row["approval"] == id.as_str()), "{begun:#?}");
    let claimed: Vec<_> = stage.rows_of("approval").await;
    assert_eq!(claimed.iter().filter(|row| row["step"] == "claimed").count(), 1);
    assert!(!json!(stage.trail().await).to_string().contains("marker"), "code is on the trail nowhere");
    assert_ne!(stage.asked(&code).await, id, "the next time needs a yes of its own");
    let used = stage.run_with(&[&id], &code).await.problem(403, "approval_required");
    assert!(used.contains("was used before"), "{used}");
}

#[tokio::test]
async fn code_that_is_not_what_was_shown_does_not_run() {
    let stage = Stage::asking();
    let id = stage.asked(&["print a", "print b"]).await;
    stage.approve(&id).await;
    for other in [
        &["print a", "print c"][..],
        &["print a"],
        &["print b", "print a"],
        &["print a", "print b", "print b"],
        &["print a\nprint b"],
        &["print a ", "print b"],
        &["print a", "print b\r"],
        &["", "print a", "print b"],
    ] {
        let refused = stage.run_with(&[&id], other).await.problem(403, "approval_required");
        let another = format!("isn't what was approved as {id}");
        assert!(refused.contains(&another), "{other:?}: {refused}");
    }
    assert!(stage.rows_of("call_begun").await.is_empty());
    // What comes after a block that isn't run is no part of it.
    let mixed = json!({ "blocks": [block("py", "print a"), block("PYTHON", "print b"), block("sh", "rm")] });
    let (code, output) = came_to(&stage.ask(&mixed).await);
    assert_eq!((code, output.starts_with("hi\nhi\n[")), (1, true), "{output}");
}

#[tokio::test]
async fn a_yes_is_of_one_token_for_a_while_and_a_no_stays() {
    let stage = Stage::asking();
    let own = |agent: &str| token(&stage.host, "acme", agent, TokenKind::Agent).1;
    let (code, bot) = (["print"], own("bot"));
    let ask = async |token: &str, given: Option<&ApprovalId>| {
        let headers: Vec<_> = given.iter().map(|id| ("keybearer-approval", id.as_str())).collect();
        stage.run_by(token, &headers, &code).await
    };
    let id = id_in(&ask(&bot, None).await.problem(403, "approval_required"));
    stage.approve(&id).await;
    // Another agent's token, and another one of the same agent.
    for other in [own("other"), own("bot")] {
        let refused = ask(&other, Some(&id)).await.problem(403, "approval_required");
        assert!(refused.contains("there is no approval"), "{refused}");
    }
    stage.host.clock.advance(Duration::from_secs(900));
    let late = ask(&bot, Some(&id)).await.problem(403, "approval_required");
    assert!(late.contains("has expired"), "{late}");

    let id = id_in(&ask(&bot, None).await.problem(403, "approval_required"));
    for (by, words) in [("bot", "nobody approves their own"), ("nobody", "no policy lets you")] {
        let refused = stage.decide(&id, "approve", by).await.problem(403, "denied");
        assert!(refused.contains(words), "{refused}");
    }
    assert_eq!(stage.decide(&id, "deny", "alice").await.json()["state"], "denied");
    for given in [None, Some(&id)] {
        assert!(ask(&bot, given).await.problem(403, "denied").contains("has denied"));
    }
    assert!(stage.rows_of("call_begun").await.is_empty());
}

#[tokio::test]
async fn a_yes_is_to_these_policies_and_to_this_sandbox() {
    let stage = Stage::asking();
    let (_, operator) = token(&stage.host, "acme", "alice", TokenKind::Operator);
    let id = stage.asked(&["print"]).await;
    stage.approve(&id).await;
    let names: [crate::ids::ConnectionName; 1] = ["stripe".parse().unwrap()];
    stage
        .host
        .door
        .app
        .catalog
        .add_sandbox("python", &super::guest::another(), &names, stage.host.now())
        .unwrap();
    stage.host.door.app.refresh_policy();
    let refused = stage.run_with(&[&id], &["print"]).await.problem(403, "approval_required");
    assert!(refused.contains("isn't what was approved"), "another component: {refused}");

    let id = stage.asked(&["print"]).await;
    stage.approve(&id).await;
    let more = r#"{"name":"more","actions":["read"],"resources":["api://tasks/*"],"effect":"allow"}"#;
    assert_eq!(stage.host.ask("POST", "/v1/policies", &operator, more).await.status, 201);
    let refused = stage.run_with(&[&id], &["print"]).await.problem(403, "approval_required");
    assert!(refused.contains("isn't what was approved"), "other policies: {refused}");
    assert!(stage.rows_of("call_begun").await.is_empty());
}

#[tokio::test]
async fn code_may_wait_for_its_yes_and_takes_nothing_meanwhile() {
    let stage = Stage::asking();
    let decides = async {
        let id = stage.pending().await;
        assert!(stage.host.door.app.metrics.render().contains("keybearer_calls_in_flight 0"));
        // All of the door's places are free.
        let begun = Instant::now();
        loop {
            let places = &stage.host.door.code_places;
            if let (Ok(_), Ok(_)) = (places.take(), places.take()) {
                break;
            }
            assert!(begun.elapsed() < LONG / 2, "it keeps its place");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stage.approve(&id).await;
        id
    };
    let (reply, id) = tokio::join!(stage.run_waiting(&["print"]), decides);
    assert_eq!(came_to(&reply).0, 0);
    assert_eq!(stage.rows_of("call_begun").await[0]["approval"], id.as_str());
}

#[tokio::test]
async fn one_request_waits_for_a_yes_and_another_for_the_same_is_answered_at_once() {
    let stage = Stage::asking();
    let (one, other) = (stage.run_waiting(&["print"]), stage.run_waiting(&["print"]));
    tokio::pin!(one, other);
    let (refused, waits) = tokio::select! {
        reply = &mut one => (reply, other),
        reply = &mut other => (reply, one),
    };
    let id = id_in(&refused.problem(403, "approval_required"));
    stage.approve(&id).await;
    assert_eq!(came_to(&waits.await).0, 0);
}

#[tokio::test]
async fn the_wait_leaves_time_to_run() {
    let stage = Stage::asking();
    let body = json!({ "blocks": [block("python", "print")], "timeout_ms": 2_000 }).to_string();
    // A busy machine may be late, now and then.
    for attempt in 1.. {
        let begun = Instant::now();
        let request = http::Request::post("/v1/code")
            .header("authorization", format!("Bearer {}", stage.token))
            .header("keybearer-approval-wait", "yes");
        let reply = stage.host.send(request.body(body.clone().into()).unwrap()).await;
        let took = begun.elapsed();
        reply.problem(403, "approval_required");
        assert!(took >= Duration::from_millis(1_450), "{took:?}");
        if took < Duration::from_millis(1_740) {
            break;
        }
        assert!(attempt < 10, "{took:?}");
    }
}

#[tokio::test]
async fn the_end_of_its_token_ends_the_wait() {
    let stage = Stage::asking();
    let revokes = async {
        let id = stage.pending().await;
        assert!(stage.host.door.app.auth.revoke(&stage.id, None).unwrap());
        (id, Instant::now())
    };
    let (reply, (id, revoked)) = tokio::join!(stage.run_waiting(&["print"]), revokes);
    reply.problem(401, "unauthorized");
    assert!(revoked.elapsed() < Duration::from_secs(5), "{:?}", revoked.elapsed());
    let approvals = stage.host.door.app.approvals.approvals();
    let row = approvals.get(None, &id).unwrap().unwrap();
    assert_eq!(row.state(approvals.now()), crate::store::ApprovalState::Pending);
}

#[tokio::test]
async fn nobody_is_asked_about_a_program_that_has_run_in_part() {
    let later = format!(
        "{CODE_RUNS}\n@id(\"later\") forbid (principal, action == Action::\"run_code\", resource)\n\
         when {{ context.now >= datetime(\"2023-11-14T22:13:25Z\") }} unless {{ context.approval.granted }};"
    );
    let stage = Stage::ruled(&later, &["stripe"]);
    let clock = stage.host.clock.clone();
    *stage.upstream.before_reply.lock().unwrap() = Some(Box::new(move || {
        clock.advance(Duration::from_secs(10));
    }));
    let refused = stage.run(&["send", "print"]).await.problem(403, "denied");
    assert!(refused.contains("blocks before this one have run"), "{refused}");
    assert_eq!((stage.rows_of("call_begun").await.len(), stage.upstream.seen()), (1, 1));
    assert!(stage.host.door.app.approvals.approvals().list(None, None, 9).unwrap().is_empty());
    // The rest is a request of its own.
    stage.asked(&["print"]).await;
}

#[tokio::test]
async fn a_switch_ends_the_wait_and_a_token_that_is_revoked_meanwhile_runs_nothing() {
    let stage = Stage::asking();
    let throws = async {
        let id = stage.pending().await;
        let (_, operator) = stage.host.token(TokenKind::Operator);
        let body =
            json!({ "scope": "tool:run_python", "environment": "dev", "reason": "a test" }).to_string();
        let thrown = stage.host.ask("POST", "/v1/kill", &operator, &body).await;
        assert_eq!(thrown.status, 201);
        (id, thrown.json()["id"].as_str().unwrap().to_owned(), operator)
    };
    let (reply, (id, kill, operator)) = tokio::join!(stage.run_waiting(&["print"]), throws);
    assert!(reply.problem(403, "killed").contains("Nothing was sent"));
    // A yes doesn't help, as long as it's stopped, and isn't used up.
    stage.approve(&id).await;
    stage.run_with(&[&id], &["print"]).await.problem(403, "killed");
    assert_eq!(stage.host.ask("DELETE", &format!("/v1/kill/{kill}"), &operator, "").await.status, 204);
    assert_eq!(came_to(&stage.run_with(&[&id], &["print"]).await).0, 0);

    let revokes = async {
        let id = stage.pending().await;
        assert!(stage.host.door.app.auth.revoke(&stage.id, None).unwrap());
        stage.approve(&id).await;
    };
    let (reply, ()) = tokio::join!(stage.run_waiting(&["print more"]), revokes);
    reply.problem(401, "unauthorized");
    assert_eq!(stage.rows_of("call_begun").await.len(), 1);
}

#[tokio::test]
async fn what_is_too_long_for_a_person_is_not_asked() {
    let stage = Stage::asking();
    let mut wide = super::super::client::config();
    wide.limits.body_bytes_max = 1 << 18;
    let door = super::super::super::router::Door::new(stage.host.door.app.clone(), &wide);
    let routes = super::super::super::router::router(Arc::new(door));
    let long = format!("print\n# {}\npay()", "x".repeat(64 << 10));
    for code in [long, "#\n".repeat(4_001)] {
        let body = json!({ "blocks": [block("python", "print"), block("python", &code)] }).to_string();
        let request =
            http::Request::post("/v1/code").header("authorization", format!("Bearer {}", stage.token));
        let request = request.body(axum::body::Body::from(body)).unwrap();
        let response = tower::ServiceExt::oneshot(routes.clone(), request).await.unwrap();
        assert_eq!(response.status(), 403);
        let body = axum::body::to_bytes(response.into_body(), 1 << 16).await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["code"], "denied", "{body}");
        assert!(body["detail"].as_str().unwrap().contains("can't be shown all of it"), "{body}");
    }
    assert!(stage.host.door.app.approvals.approvals().list(None, None, 9).unwrap().is_empty());
    assert!(stage.rows_of("call_begun").await.is_empty());
}

#[tokio::test]
async fn where_one_block_needs_people_none_runs_before_they_agree() {
    let large = READ_FIRST.replace("unless", "when { context.bytes > 9 } unless");
    let stage = Stage::ruled(&large, &[]);
    assert_eq!(came_to(&stage.run(&["print", "print"]).await).0, 0);
    let code = ["print", "print, at length"];
    let id = stage.asked(&code).await;
    assert_eq!(stage.rows_of("call_begun").await.len(), 2, "the first block has not run");
    stage.approve(&id).await;
    assert_eq!(came_to(&stage.run_with(&[&id], &code).await).0, 0);
    // Nobody is asked where a part of it is denied in any case.
    let never = format!(
        "{large}\n@id(\"never\") forbid (principal, action == Action::\"run_code\", resource) when {{ context.bytes > 30 }};"
    );
    let stage = Stage::ruled(&never, &[]);
    let long = "print, at great length, on and on and on";
    stage.run(&["print, at length", long]).await.problem(403, "denied");
    assert!(stage.host.door.app.approvals.approvals().list(None, None, 9).unwrap().is_empty());
}

#[tokio::test]
async fn code_and_what_it_sends_are_agreed_to_each_by_itself() {
    let policies = format!(
        "{READ_FIRST}\n@id(\"sends\") forbid (principal, action in Action::\"send\", resource)\n\
         unless {{ context.approval.granted }};"
    );
    let stage = Stage::ruled(&policies, &["stripe"]);
    let of_code = stage.asked(&["send"]).await;
    stage.approve(&of_code).await;
    // It runs, and what it sends has to wait.
    assert_eq!(came_to(&stage.run_with(&[&of_code], &["send"]).await), (1, "refused\n".to_owned()));
    let of_send = stage.pending().await;
    stage.approve(&of_send).await;
    // The yes to the request alone doesn't run the code again, and stays for it.
    let again = stage.run_with(&[&of_send], &["send"]).await.problem(403, "approval_required");
    assert!(again.contains(&format!("isn't what was approved as {of_send}")), "{again}");
    let of_code = id_in(&again);
    stage.approve(&of_code).await;
    assert_eq!(came_to(&stage.run_with(&[&of_send, &of_code], &["send"]).await), (0, "sent\n".to_owned()));
    assert_eq!(stage.upstream.seen(), 1);
    let begun = stage.rows_of("call_begun").await.pop().unwrap();
    let sent = stage.rows_of("send_begun").await.pop().unwrap();
    assert_eq!((&begun["approval"], &sent["approval"]), (&json!(of_code), &json!(of_send)));
}

#[tokio::test]
async fn every_door_that_runs_code_asks_for_the_same() {
    let stage = Stage::asking();
    let tools = stage.host.get("/v1/tools", &stage.token).await.json();
    assert_eq!(tools["tools"][0]["name"], "run_python", "it may be run once somebody agrees");
    let id = stage.asked(&["print"]).await;
    let code = r#"{"code":"print"}"#;
    let tool = async || stage.host.ask("POST", "/v1/tools/run_python", &stage.token, code).await;
    assert_eq!(id_in(&tool().await.problem(403, "approval_required")), id);
    let call = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"run_python","arguments":{code}}}}}"#
    );
    let mcp = async || stage.host.ask("POST", "/mcp", &stage.token, &call).await.json()["result"].clone();
    let waits = mcp().await;
    assert_eq!(waits["isError"], true);
    assert_eq!(waits["_meta"]["keybearer/problem"]["code"], "approval_required");
    assert_eq!(id_in(waits["content"][0]["text"].as_str().unwrap()), id);
    stage.approve(&id).await;
    assert_eq!(mcp().await["isError"], false);
    // Used up at one door, it's used up at all.
    assert_ne!(id_in(&tool().await.problem(403, "approval_required")), id);
}
