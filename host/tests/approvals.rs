//! The command line as an approver's tool: what decides, what doesn't, and who hears of it in another process.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use keybearer::approval::{
    ApprovalAsk, ApprovalLimits, Approvals, AskedBy, Fingerprint, FingerprintParts, Note, Rendering, Shown,
};
use keybearer::clock::SystemClock;
use keybearer::connection::Effect;
use keybearer::egress::{MasterKeys, Vault};
use keybearer::ids::{ApprovalId, Digest, Realm, TokenId};
use keybearer::policy::{About, Via};
use keybearer::store::sqlite::SqliteControl;
use keybearer::store::{ApprovalState, ControlStore, PendingLimits};
use serde_json::Value;

/// What the requests here are about: the policies in force are asked whether a yes is enough for them.
const STRIPE: &str = r#"
base_url = "https://api.example.com"
secret = "stripe-key"
attach = { kind = "bearer" }
[operations.create_charge]
request = "POST /v1/charges"
effect = "write"
content_type = "application/x-www-form-urlencoded"
body.what = { type = "string" }
"#;

#[test]
fn what_is_piped_in_approves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path().join("home");
    let approvals = host(&home);
    let id = asked(&approvals, "pay");
    let ending = &id.as_str()[id.as_str().len() - 4..];
    for piped in ["", "\n", "\n\n\n\n\n", "y\n", "yes\n", &format!("{ending}\n"), &format!("{id}\n")] {
        let said = kb(&home, &["approval", "approve", id.as_str()], piped);
        assert_eq!(said.status.code(), Some(1), "{said:?}");
        assert!(String::from_utf8_lossy(&said.stderr).contains("nothing was approved"), "{said:?}");
        let shown = String::from_utf8_lossy(&said.stdout);
        assert!(shown.contains("  body.what: \"pay\"\n"), "it's shown all the same: {shown}");
    }
    assert_eq!(state(&approvals, &id), ApprovalState::Pending);
    let said = kb(&home, &["approval", "show", id.as_str(), "--json"], "");
    let shown: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(
        (&shown["approval"]["state"], &shown["approval"]["votes"]),
        (&"pending".into(), &Value::Array(vec![]))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_at_the_command_line_wakes_who_waits_in_the_host() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path().join("home");
    let approvals = host(&home);
    for (word, flags, decided) in
        [("approve", &["--yes"][..], ApprovalState::Granted), ("deny", &[], ApprovalState::Denied)]
    {
        let id = asked(&approvals, word);
        let waiter = {
            let (approvals, id) = (approvals.clone(), id.clone());
            let until = tokio::time::Instant::now() + Duration::from_secs(30);
            tokio::spawn(async move { approvals.wait(&id, until).await.unwrap() })
        };
        let args: Vec<_> = ["approval", word, id.as_str()].into_iter().chain(flags.iter().copied()).collect();
        let said = kb(&home, &args, "");
        let ended = Instant::now();
        assert!(said.status.success(), "{said:?}");
        assert_eq!(waiter.await.unwrap(), Some(decided));
        // The command has recorded its decision and ended by then. Who didn't hear of it would wait for half a minute.
        assert!(ended.elapsed() < Duration::from_secs(5), "{:?}", ended.elapsed());
    }
    let said = kb(&home, &["audit", "list"], "");
    let trail = String::from_utf8(said.stdout).unwrap();
    assert!(trail.contains("approval approved  apr_") && trail.contains("approval denied  apr_"), "{trail}");
    assert!(trail.contains("by=cli:"), "{trail}");
    assert!(kb(&home, &["audit", "verify"], "").status.success());
}

/// The approvals of a new home, as its host has them.
fn host(home: &Path) -> Arc<Approvals> {
    let made = kb(home, &["init"], "");
    assert!(made.status.success(), "{made:?}");
    std::fs::write(home.join("connections/stripe.toml"), STRIPE).unwrap();
    let store: Arc<dyn ControlStore> = Arc::new(SqliteControl::open(&home.join("control.db")).unwrap());
    let master = MasterKeys::from_file(&home.join("master.key")).unwrap_or_else(|error| panic!("{error}"));
    let vault =
        Vault::open(store.clone(), master, Arc::new(SystemClock)).unwrap_or_else(|error| panic!("{error}"));
    let limits = ApprovalLimits {
        ttl: Duration::from_secs(600),
        pending: PendingLimits { per_token_max: 10, per_environment_max: 10 },
        minter_may_approve: true,
    };
    Arc::new(Approvals::new(store, Arc::new(vault), Arc::new(SystemClock), limits))
}

/// A new request for this.
fn asked(approvals: &Approvals, what: &str) -> ApprovalId {
    let (row, _) = approvals.draft(&ask(what)).unwrap();
    approvals.open(&row).unwrap().id
}

fn state(approvals: &Approvals, id: &ApprovalId) -> ApprovalState {
    approvals.get(None, id).unwrap().unwrap().state(approvals.now())
}

/// Runs the command with this on its standard input.
fn kb(home: &Path, args: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_keybearer"))
        .arg("--home")
        .arg(home)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that doesn't read its input may have closed it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn ask(what: &str) -> ApprovalAsk {
    let realm = Realm { tenant: "default".parse().unwrap(), environment: "production".parse().unwrap() };
    let (token, agent) = (TokenId::fresh(), "billing".parse().unwrap());
    let (connection, operation) = ("stripe".parse().unwrap(), "create_charge".parse().unwrap());
    let fingerprint = Fingerprint::of(FingerprintParts {
        realm: &realm,
        token: &token,
        agent: &agent,
        role: None,
        conversation: None,
        intent: None,
        via: &Via::Proxy,
        connection: &connection,
        upstream: "https://api.example.com",
        constant_headers: &[],
        operation: &operation,
        request: Digest::of(what.as_bytes()),
        policy: Digest::of(b"policy"),
        secret: &"stripe-key".parse().unwrap(),
        secret_version: 1,
        user: None,
        quorum: 1,
    });
    let rendering = Rendering {
        connection: connection.to_string(),
        upstream: "\"https://api.example.com\"".into(),
        operation: operation.to_string(),
        request: "POST /v1/charges".into(),
        effect: Effect::Write,
        amount: None,
        customer: None,
        parameters: vec![Shown { name: "body.what".into(), value: format!("\"{what}\"") }],
        left_out: 0,
        tool: None,
        code: Vec::new(),
        raw_body: None,
        asked_by: AskedBy {
            realm: realm.to_string(),
            agent: "billing".into(),
            role: None,
            token: token.to_string(),
            tool: None,
            question: false,
        },
        words: Vec::new(),
    };
    let facts = serde_json::json!({
        "agent": "billing", "operation": "stripe:create_charge", "body": { "what": what },
    });
    let facts = serde_json::from_value(facts).unwrap();
    ApprovalAsk {
        realm,
        fingerprint,
        root: token.clone(),
        token,
        agent,
        role: None,
        conversation: None,
        about: About::Operation { connection, operation },
        quorum: 1,
        own: Vec::new(),
        note: Note { rendering, cost: None, facts, more: Vec::new() },
    }
}
