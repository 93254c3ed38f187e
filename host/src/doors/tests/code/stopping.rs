//! Code that is stopped has no effect after that: clients that hang up, kill switches, tokens that are revoked.

use super::super::client::{Client, Served, config};
use super::*;

/// Code that sends, and would send once more. It's waiting for the first reply.
async fn waiting(stage: &Stage) -> (Served, Client) {
    stage.upstream.holds.store(true, Ordering::SeqCst);
    let served = Served::start(config(), stage.host.routes()).await;
    let mut client = served.connect().await;
    let body = json!({ "blocks": [block("python", "wait"), block("python", "send")] }).to_string();
    let head = format!("POST /v1/code HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {}\r\n", stage.token);
    client.send(&format!("{head}content-length: {}\r\n\r\n{body}", body.len())).await;
    stage.upstream.has_seen(1).await;
    (served, client)
}

/// Lets the upstream answer whatever still waits, and whatever comes.
fn let_go(stage: &Stage) {
    stage.upstream.holds.store(false, Ordering::SeqCst);
    stage.upstream.go.notify_waiters();
}

async fn kill(stage: &Stage, scope: &str) {
    let (_, operator) = stage.host.token(TokenKind::Operator);
    let body = json!({ "scope": scope, "environment": "dev", "reason": "a test" }).to_string();
    assert_eq!(stage.host.ask("POST", "/v1/kill", &operator, &body).await.status, 201);
}

#[tokio::test]
async fn a_client_that_hangs_up_stops_its_code_before_the_next_request() {
    let stage = Stage::new();
    let (_served, client) = waiting(&stage).await;
    drop(client);
    let row = stage.ended(1).await;
    assert_eq!((&row["mark"], &row["request_sent"]), (&json!("cancelled"), &json!("unknown")));
    let_go(&stage);
    // Its places are free again, and nothing of it goes on: neither the second request nor the second block.
    let places = (stage.host.door.code_places.take(), stage.host.door.code_places.take());
    assert!(places.0.is_ok() && places.1.is_ok());
    let rows = stage.trail().await;
    assert_eq!(rows.iter().filter(|row| row["event"] == "call_begun").count(), 1);
    assert_eq!(stage.upstream.seen(), 1);
}

#[tokio::test]
async fn a_loop_ends_when_its_client_hangs_up() {
    let stage = Stage::new();
    let served = Served::start(config(), stage.host.routes()).await;
    let mut client = served.connect().await;
    let body = json!({ "blocks": [block("python", "loop")] }).to_string();
    let head = format!("POST /v1/code HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {}\r\n", stage.token);
    client.send(&format!("{head}content-length: {}\r\n\r\n{body}", body.len())).await;
    while !stage.host.door.app.metrics.render().contains("keybearer_calls_in_flight 1") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(client);
    assert_eq!(stage.ended(1).await["mark"], "cancelled");
}

#[tokio::test]
async fn every_kill_switch_stops_code_at_once() {
    for scope in ["tool:run_python", "conversation:talk", "agent:someone", "tenant", "call"] {
        let stage = Stage::new();
        stage.upstream.holds.store(true, Ordering::SeqCst);
        let ask = async || {
            let body = json!({ "blocks": [block("python", "wait"), block("python", "send")] });
            let request = http::Request::post("/v1/code")
                .header("authorization", format!("Bearer {}", stage.token))
                .header("keybearer-conversation", "talk");
            stage.host.send(request.body(body.to_string().into()).unwrap()).await
        };
        let throw = async || {
            stage.upstream.has_seen(1).await;
            let call = stage.trail().await[0]["call"].as_str().unwrap().to_owned();
            kill(&stage, &if scope == "call" { format!("call:{call}") } else { scope.to_owned() }).await;
        };
        let (reply, ()) = tokio::join!(ask(), throw());
        let detail = reply.problem(403, "killed");
        assert!(detail.contains("may have been sent"), "{detail}");
        let_go(&stage);
        assert_eq!(stage.upstream.seen(), 1, "{scope}");
        if scope != "call" {
            ask().await.problem(403, "killed");
            assert_eq!(stage.upstream.seen(), 1, "{scope}");
        }
    }
}

/// The first request has its reply, and by the time that the code reads it, its token is revoked: no earlier, since a
/// revocation ends a request that still waits.
fn revoked_with_the_first_reply() -> Stage {
    let stage = Stage::new();
    let (auth, id) = (stage.host.door.app.auth.clone(), stage.id.clone());
    let revoke = move || auth.revoke(&id, None).map(drop).unwrap();
    *stage.upstream.before_reply.lock().unwrap() = Some(Box::new(revoke));
    stage
}

#[tokio::test]
async fn a_revoked_token_sends_nothing_more_and_begins_no_block() {
    // The second request of this block is refused, and it says so.
    let stage = revoked_with_the_first_reply();
    assert_eq!(came_to(&stage.run(&["wait"]).await), (1, "refused\n".to_owned()));
    assert_eq!(stage.upstream.seen(), 1);

    // This one ends well, and the next doesn't begin.
    let stage = revoked_with_the_first_reply();
    let reply = stage.run(&["send", "print"]).await;
    let detail = reply.problem(401, "unauthorized");
    assert!(detail.contains("A request was sent, and the upstream answered it."), "{detail}");
    let rows = stage.trail().await;
    assert_eq!(rows.iter().filter(|row| row["event"] == "call_begun").count(), 1);
}
