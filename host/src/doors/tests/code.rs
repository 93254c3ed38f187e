//! Running code: a small interpreter stands in for Python, which the tests in `tests/python` use.

mod approved;
mod guest;
mod refusals;
mod stopping;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::Notify;

use super::client::LONG;
use super::host::{Host, Reply};
use crate::auth::Grant;
use crate::egress::{BoxFuture, Pieces, Wire, WireError, WireReply, WireRequest};
use crate::ids::{Digest, TokenId};
use crate::store::TokenKind;

/// The policies of a new home, and that code may be run.
const CODE_RUNS: &str = "@id(\"grants\") permit (principal, action in [Action::\"send\", Action::\"call\"], resource);\n\
    @id(\"code\") permit (principal, action == Action::\"run_code\", resource);";

const STRIPE: &str = r#"
base_url = "https://api.example.com"
secret = "key"
attach = { kind = "bearer" }
[operations.get]
request = "GET /v1/x"
effect = "read"
"#;

/// Counts requests, and answers them at once or when it's let go.
#[derive(Default)]
struct Upstream {
    seen: AtomicUsize,
    holds: AtomicBool,
    go: Notify,
    /// What happens the very moment before the next reply is there.
    before_reply: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Upstream {
    fn seen(&self) -> usize {
        self.seen.load(Ordering::SeqCst)
    }

    /// Waits until it has got so many requests.
    async fn has_seen(&self, count: usize) {
        let begun = Instant::now();
        while self.seen() < count {
            assert!(begun.elapsed() < LONG, "{} of {count} requests came", self.seen());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Wire for Upstream {
    fn exchange(
        &self,
        _: WireRequest,
        _: tokio::time::Instant,
    ) -> BoxFuture<'_, Result<WireReply, WireError>> {
        self.seen.fetch_add(1, Ordering::SeqCst);
        Box::pin(async {
            if self.holds.load(Ordering::SeqCst) {
                self.go.notified().await;
            }
            let happens = self.before_reply.lock().unwrap().take();
            if let Some(happens) = happens {
                happens();
            }
            Ok(WireReply { status: 200, headers: http::HeaderMap::new(), body: Box::new(Pieces::default()) })
        })
    }
}

/// A host with a sandbox, an upstream, and a token that may run code and send.
struct Stage {
    host: Host,
    upstream: Arc<Upstream>,
    token: String,
    id: TokenId,
}

impl Stage {
    /// Code may run, and use the connection.
    fn new() -> Self {
        Self::ruled(CODE_RUNS, &["stripe"])
    }

    fn ruled(policies: &str, connections: &[&str]) -> Self {
        let upstream = Arc::new(Upstream::default());
        let host = Host::start_ruled(&[("stripe.toml", STRIPE)], upstream.clone(), policies);
        let names: Vec<_> = connections.iter().map(|name| name.parse().unwrap()).collect();
        host.door.app.catalog.add_sandbox("python", &guest::component(), &names, host.now()).unwrap();
        host.door.app.refresh_policy();
        let (id, token) = host.token_with("acme", TokenKind::Agent, grant(&["run_python", "probe"]));
        Self { host, upstream, token, id }
    }

    async fn run(&self, code: &[&str]) -> Reply {
        let blocks: Vec<_> = code.iter().map(|code| block("python", code)).collect();
        self.ask(&json!({ "blocks": blocks })).await
    }

    async fn ask(&self, body: &Value) -> Reply {
        self.host.ask("POST", "/v1/code", &self.token, &body.to_string()).await
    }

    /// The whole trail, oldest first.
    async fn trail(&self) -> Vec<Value> {
        let (_, operator) = self.host.token(TokenKind::Operator);
        let mut rows = self.host.get("/v1/audit", &operator).await.json()["rows"].as_array().unwrap().clone();
        rows.reverse();
        rows
    }

    /// Waits until as many calls have ended, and answers the last one's row.
    async fn ended(&self, count: usize) -> Value {
        let begun = Instant::now();
        loop {
            let rows = self.trail().await;
            let ends: Vec<_> = rows.iter().filter(|row| row["event"] == "call_finished").collect();
            if ends.len() >= count {
                return ends[count - 1].clone();
            }
            assert!(begun.elapsed() < LONG, "{} of {count} calls have ended", ends.len());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn grant(tools: &[&str]) -> Grant {
    Grant {
        tools: tools.iter().map(|tool| tool.parse().unwrap()).collect(),
        operations: vec!["stripe:*".parse().unwrap()],
        ..Grant::default()
    }
}

fn block(language: &str, code: &str) -> Value {
    json!({ "language": language, "code": code })
}

/// The answer's exit code and output.
#[track_caller]
fn came_to(reply: &Reply) -> (i64, String) {
    assert_eq!(reply.status, 200, "{reply:?}");
    let body = reply.json();
    (body["exit_code"].as_i64().unwrap(), body["output"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn blocks_run_one_after_the_other_and_each_is_a_call_on_record() {
    let stage = Stage::new();
    let reply = stage.run(&["print marker-1", "print marker-2"]).await;
    assert_eq!(came_to(&reply), (0, "hi\nhi\n".to_owned()));
    let body = reply.json();
    assert_eq!(body["result"], "7");
    let calls = body["calls"].as_array().unwrap();
    let rows = stage.trail().await;
    let begun: Vec<_> = rows.iter().filter(|row| row["event"] == "call_begun").collect();
    assert_eq!(begun.iter().map(|row| &row["call"]).collect::<Vec<_>>(), calls.iter().collect::<Vec<_>>());
    for (row, marker) in begun.iter().zip(["marker-1", "marker-2"]) {
        assert_eq!((&row["door"], &row["tool"]), (&json!("code"), &json!("run_python")));
        // Code by digest and size.
        let arguments = json!({ "code": format!("print {marker}") }).to_string();
        assert_eq!(row["arguments"], Digest::of(arguments.as_bytes()).to_string());
        assert_eq!(row["arguments_bytes"], arguments.len());
    }
    assert_eq!(rows.iter().filter(|row| row["mark"] == "ok").count(), 2);
    assert!(!json!(rows).to_string().contains("marker"), "code is not kept");
}

#[tokio::test]
async fn the_first_block_that_fails_is_the_last_one() {
    let stage = Stage::new();
    let reply = stage.run(&["print", "fail", "print"]).await;
    assert_eq!(came_to(&reply), (3, "hi\nfailed\n".to_owned()));
    assert_eq!(reply.json()["calls"].as_array().unwrap().len(), 2);
    assert!(reply.json().get("result").is_none(), "{reply:?}");
}

#[tokio::test]
async fn other_languages_are_told_apart_and_not_run() {
    let stage = Stage::new();
    for language in ["py", "Python", "PYTHON"] {
        assert_eq!(came_to(&stage.ask(&json!({ "blocks": [block(language, "print")] })).await).0, 0);
    }
    let before = stage.trail().await.len();
    for language in ["bash", "", "python3\n", "pyth\u{43e}n"] {
        let reply = stage.ask(&json!({ "blocks": [block(language, "print"), block("py", "print")] })).await;
        let (code, output) = came_to(&reply);
        assert_eq!(code, 1);
        assert!(output.contains("runs Python alone"), "{output}");
        assert_eq!(reply.json()["calls"], json!([]));
    }
    assert_eq!(stage.trail().await.len(), before);
    let mixed = json!({ "blocks": [block("py", "print"), block("sh", "rm -rf /")] });
    assert!(came_to(&stage.ask(&mixed).await).1.starts_with("hi\n["));
}

#[tokio::test]
async fn code_that_does_not_end_is_stopped_with_124() {
    let stage = Stage::new();
    let body = json!({ "blocks": [block("python", "print"), block("python", "loop")], "timeout_ms": 200 });
    let reply = stage.ask(&body).await;
    let (code, output) = came_to(&reply);
    assert_eq!(code, 124);
    assert!(output.starts_with("hi\n[") && output.ends_with("\nTimeout"), "{output}");
    assert!(output.contains("nothing was sent upstream"), "{output}");
    assert_eq!(reply.json()["calls"].as_array().unwrap().len(), 2);
    assert_eq!(stage.ended(2).await["code"], "deadline_exceeded");
    // The caller's own patience counts as well.
    let loops = json!({ "blocks": [block("python", "loop")] }).to_string();
    let request = http::Request::post("/v1/code")
        .header("authorization", format!("Bearer {}", stage.token))
        .header("keybearer-deadline-ms", "100");
    let reply = stage.host.send(request.body(loops.into()).unwrap()).await;
    assert_eq!(came_to(&reply).0, 124);
    // An exit code that the code gives itself is just that.
    assert_eq!(came_to(&stage.run(&["exit 124"]).await), (124, "mine\n".to_owned()));
}

#[tokio::test]
async fn an_interpreter_that_breaks_down_or_eats_too_much_is_an_exit_code_too() {
    let stage = Stage::new();
    for (code, known, sentence) in [
        ("trap", 134, "the interpreter broke down"),
        ("dive", 134, "the interpreter broke down"),
        ("grow", 137, "more memory than it may have"),
    ] {
        let (exit_code, output) = came_to(&stage.run(&[code]).await);
        assert_eq!(exit_code, known, "{code}: {output}");
        assert!(output.contains(sentence) && output.contains("nothing was sent"), "{output}");
    }
    // What the upstream saw by then is told.
    let (code, output) = came_to(&stage.run(&["send, trap"]).await);
    assert!(code == 134 && output.contains("the upstream answered"), "{output}");
    // A guest that returns what it may not is no exit code.
    stage.run(&["junk"]).await.problem(502, "invalid_output");
}

#[tokio::test]
async fn output_has_a_limit_over_all_blocks() {
    let stage = Stage::new();
    let (code, output) = came_to(&stage.run(&["big", "big", "fail"]).await);
    assert_eq!(code, 3, "all of them ran");
    let (head, tail) = output.split_once("\n[some of the output is left out here: ").unwrap();
    assert_eq!(head, "é".repeat(375), "750 bytes, of the first block and the second");
    let (_, tail) = tail.split_once("]\n").unwrap();
    assert_eq!(tail, format!("{}failed\n", "é".repeat(121)), "at most 250 bytes, and whole characters");
}

#[tokio::test]
async fn the_tool_door_gives_the_tool_s_own_result() {
    let stage = Stage::new();
    let ask = async |code: &str, deadline: &str| {
        let request = http::Request::post("/v1/tools/run_python")
            .header("authorization", format!("Bearer {}", stage.token))
            .header("keybearer-deadline-ms", deadline);
        stage.host.send(request.body(json!({ "code": code }).to_string().into()).unwrap()).await
    };
    let reply = ask("print", "4000").await;
    assert_eq!(reply.json(), json!({ "exit_code": 0, "output": "hi\n", "result": "7" }));
    ask("loop", "100").await.problem(504, "deadline_exceeded");
    ask("trap", "4000").await.problem(502, "tool_trapped");
    let listed = stage.host.get("/v1/tools", &stage.token).await.json();
    assert_eq!(listed["tools"][0]["name"], "run_python");
}
