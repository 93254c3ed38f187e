//! What a tool's log line has lost by the time it's written.

use std::sync::Mutex;

use super::*;
use crate::ids::ToolName;
use crate::runtime::{LogLevel, Outbound};

/// Keeps what it's given.
#[derive(Default)]
struct Recording(Mutex<Vec<LogLine>>);

impl ToolLog for Recording {
    fn line(&self, _call: &CallId, _tool: &ToolName, _level: LogLevel, line: LogLine) {
        self.0.lock().unwrap().push(line);
    }
}

#[tokio::test]
async fn a_log_line_holds_neither_the_injected_secret_nor_what_looks_like_another() {
    let (mut world, canary, log) = (Governed::new(""), Canary::fresh(), Arc::new(Recording::default()));
    let parts = Arc::get_mut(&mut world.pipeline.parts).unwrap();
    parts.egress = Arc::new(Egress::scripted(world.wire.clone(), canary.clone()));
    parts.log = log.clone();
    let gate = world.gate(world.caller("billing", None, &[]), CallContext::default()).await;
    let (mut guest, _drafts) = CallSends::new(&gate, "probe".parse().unwrap());
    // From when it's been injected on, the call's secret is known.
    assert_eq!(gate.send(draft("POST", Some(form(100, "usd", "cus_1")))).await.unwrap().status, 200);

    let (secret, stripe) = (canary.as_str(), format!("sk_live_{}", "a1".repeat(12)));
    let openai = format!("sk-proj-{}", "a1".repeat(24));
    for (message, written, held_secret) in [
        ("invoice in_1MtHbELkdIwHu7ixl4OzzPMv is paid".to_owned(), None, false),
        (format!("sent {secret} off"), Some("sent [REDACTED] off"), true),
        (format!("hex {}", hex::encode(secret)), Some("[REDACTED]"), true),
        (format!("its reply has {stripe}, too"), Some("its reply has [REDACTED], too"), false),
        (format!(r"first\n{openai}"), Some(r"first\n[REDACTED]"), false),
        ("Authorization: Bearer abcdefgh".to_owned(), Some("Authorization: Bearer [REDACTED]"), false),
        ("password: hunter2".to_owned(), Some("password: [REDACTED]"), false),
        (format!("{secret} and password=hunter2"), Some("[REDACTED] and password=[REDACTED]"), true),
    ] {
        guest.log(LogLevel::Info, &message);
        let lines = std::mem::take(&mut *log.0.lock().unwrap());
        let text = written.unwrap_or(&message).to_owned();
        assert_eq!(lines, [LogLine { text, held_secret }], "{message}");
    }
}
