//! A real host that is killed, or that can't start: nothing is lost, nothing is sent again, and whoever starts it
//! reads one clear sentence.

mod built;

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use keybearer_testkit::ca::Ca;
use keybearer_testkit::process::{Program, free_port};
use keybearer_testkit::upstream::{Reply, Script, Upstream};
use serde_json::{Value, json};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);
const KEY: &str = "sk_test_51NeverShown4242";

/// Who owns nothing.
const NOBODY: u32 = 65534;

/// A home, and what it leads to.
struct Host {
    dir: TempDir,
    upstream: Upstream,
    token: String,
    /// Keeps the upstream running.
    _executor: tokio::runtime::Runtime,
}

impl Host {
    /// A home with one connection, its secret, the Stripe tool and a token. Its upstream answers for `in_1` alone.
    fn new() -> Self {
        let executor = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let ca = Ca::new();
        let script = Script::always(Reply::Silent).on("/v1/invoices/in_1", Reply::Json(200, invoice()));
        let upstream = executor.block_on(Upstream::start(&ca, script)).unwrap();
        let dir = TempDir::new().unwrap();
        let home = dir.path().join("home");
        succeed(kb(&home, &["init"]));

        let connections = home.join("connections");
        fs::write(connections.join("ca.pem"), ca.pem()).unwrap();
        fs::write(connections.join("stripe.toml"), connection(&upstream.base_url())).unwrap();
        succeed_with(kb(&home, &["vault", "set", "stripe-key"]), KEY);
        let component = dir.path().join("stripe.wasm");
        fs::write(&component, built::component("tools", "stripe")).unwrap();
        succeed(kb(&home, &["tool", "add", "--yes", component.to_str().unwrap()]));
        let mint = ["token", "mint", "--json", "--agent", "test", "--tool", "*", "--operation", "stripe:*"];
        let minted: Value = serde_json::from_str(&succeed(kb(&home, &mint))).unwrap();
        let token = minted["token"].as_str().unwrap().to_owned();
        Self { dir, upstream, token, _executor: executor }
    }

    fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// Starts the host and waits until it takes calls.
    fn serve(&self) -> (Program, SocketAddr) {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port().unwrap()));
        let command = kb(&self.home(), &["serve", "--listen", &addr.to_string()]);
        let mut program = Program::start(command, &self.dir.path().join("log")).unwrap();
        program.wait_ready(addr, "/readyz", PATIENCE).unwrap();
        (program, addr)
    }

    /// The reservations that are held.
    fn held(&self) -> Vec<Value> {
        serde_json::from_str(&succeed(kb(&self.home(), &["budget", "list", "--held", "--json"]))).unwrap()
    }

    /// The audit trail, oldest row first, once its chain is known to hold.
    fn audit(&self) -> Vec<Value> {
        let verified: Value =
            serde_json::from_str(&succeed(kb(&self.home(), &["audit", "verify", "--json"]))).unwrap();
        assert_eq!(verified["holds"], json!(true), "{verified}");
        let list = kb(&self.home(), &["audit", "list", "--json", "--limit", "1000"]);
        let rows: Vec<Value> = serde_json::from_str(&succeed(list)).unwrap();
        assert_eq!(verified["rows"], json!(rows.len()));
        rows
    }

    /// How often the upstream was asked for an invoice.
    fn asked_for(&self, id: &str) -> usize {
        self.seen(&format!("/v1/invoices/{id}"))
    }

    /// How often the upstream got a request of this path.
    fn seen(&self, path: &str) -> usize {
        self.upstream.seen().iter().filter(|request| request.path() == path).count()
    }
}

fn invoice() -> String {
    let invoice = json!({
        "id": "in_1", "status": "open", "amount_due": 1999, "amount_paid": 0, "currency": "usd",
        "customer": "cus_1"
    });
    invoice.to_string()
}

fn connection(base_url: &str) -> String {
    format!(
        r#"
            base_url = "{base_url}"
            secret = "stripe-key"
            attach = {{ kind = "bearer" }}
            ca_file = "ca.pem"
            allow_insecure_loopback = true

            [operations.get_invoice]
            request = "GET /v1/invoices/{{id}}"
            effect = "read"
            path.id = {{ type = "string", pattern = "^in_[A-Za-z0-9]+$" }}

            [operations.create_charge]
            request = "POST /v1/charges"
            effect = "write"
            content_type = "application/x-www-form-urlencoded"
            body.amount = {{ type = "integer", minimum = 1 }}
            body.currency = {{ type = "string" }}
            body.customer = {{ type = "string" }}
            cost = {{ amount = "body.amount", currency = "body.currency" }}
        "#
    )
}

/// A command of the host's own program, with nothing of this process's configuration.
fn kb(home: &Path, arguments: &[&str]) -> Command {
    program(Path::new(env!("CARGO_BIN_EXE_keybearer")), home, arguments)
}

fn program(file: &Path, home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(file);
    command.args(arguments).arg("--home").arg(home);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("KEYBEARER_") {
            command.env_remove(name);
        }
    }
    // A host that took the proxy of its environment could reach nothing: there's none behind this address. Whoever
    // sets these variables must not get to see what the host sends.
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"] {
        command.env(name, "http://127.0.0.1:9");
    }
    command
}

fn succeed(command: Command) -> String {
    succeed_with(command, "")
}

/// Runs a command that gets this input and must succeed; returns its output.
fn succeed_with(mut command: Command, input: &str) -> String {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A command that reads nothing may be gone already.
    stdin.write_all(input.as_bytes()).ok();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} ended with {}:\n{errors}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// The one sentence of a command that can't do what it should.
fn sentence(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert_eq!(errors.trim_end().lines().count(), 1, "{errors}");
    assert!(errors.starts_with("error: "), "{errors}");
    errors
}

/// Calls `get_invoice`; returns the whole answer.
fn get_invoice(addr: SocketAddr, token: &str, id: &str) -> io::Result<String> {
    call(addr, token, "get_invoice", &json!({ "id": id }))
}

/// Charges so many cents, always in the same conversation; returns the whole answer.
fn charge(addr: SocketAddr, token: &str, cents: u32) -> io::Result<String> {
    call(addr, token, "create_charge", &json!({ "amount": cents, "currency": "usd", "customer": "cus_1" }))
}

/// Calls a tool; returns the whole answer.
fn call(addr: SocketAddr, token: &str, tool: &str, arguments: &Value) -> io::Result<String> {
    let body = arguments.to_string();
    let mut stream = TcpStream::connect(addr)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "POST /v1/tools/{tool} HTTP/1.1\r\nhost: {addr}\r\nauthorization: Bearer {token}\r\n\
         keybearer-conversation: chat-7\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Calls `get_invoice` and expects the invoice.
fn get_invoice_well(addr: SocketAddr, token: &str) {
    let answer = get_invoice(addr, token, "in_1").unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("\"amount_due\":1999"), "{answer}");
}

fn events(rows: &[Value]) -> Vec<&str> {
    rows.iter().filter_map(|row| row["event"].as_str()).collect()
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn killed_before_any_call_it_loses_nothing() {
    let host = Host::new();
    let (program, _) = host.serve();
    program.kill();
    let before = host.audit();
    assert_eq!(events(&before).last(), Some(&"host_started"));

    let (program, addr) = host.serve();
    get_invoice_well(addr, &host.token);
    let after = host.audit();
    assert_eq!(after[..before.len()], before[..]);
    assert_eq!(
        events(&after[before.len()..]),
        ["host_started", "call_begun", "send_begun", "send_finished", "call_finished"]
    );
    assert_eq!(after[before.len()]["recovered"], json!(0));
    program.stop(PATIENCE).unwrap();
}

#[test]
fn killed_during_a_send_it_marks_the_call_unknown_and_sends_nothing_again() {
    let host = Host::new();
    let (program, addr) = host.serve();
    let token = host.token.clone();
    let caller = thread::spawn(move || get_invoice(addr, &token, "in_2"));
    wait_until("the upstream has the request", || host.asked_for("in_2") == 1);
    program.kill();
    // The connection is cut: there's no answer, or no end of one.
    let answer = caller.join().unwrap().unwrap_or_default();
    assert_eq!(answer, "");
    let begun = host.audit();
    assert_eq!(
        events(&begun).split_at(begun.len() - 2).1,
        ["call_begun", "send_begun"],
        "on the disk before"
    );

    let (program, addr) = host.serve();
    assert!(program.log().contains("now marked unknown in the audit trail: 1"), "{}", program.log());
    get_invoice_well(addr, &host.token);
    let rows = host.audit();
    assert_eq!(rows[..begun.len()], begun[..]);
    let [send, call, started] = &rows[begun.len()..begun.len() + 3] else { panic!("{rows:?}") };
    assert_eq!(
        events(&[send.clone(), call.clone(), started.clone()]),
        ["send_finished", "call_finished", "host_started"]
    );
    let killed = &begun[begun.len() - 1]["call"];
    assert!(killed.is_string());
    assert_eq!((&send["call"], &call["call"]), (killed, killed));
    assert_eq!((&send["request_sent"], &send["status"]), (&json!("unknown"), &Value::Null));
    assert_eq!((&call["mark"], &call["request_sent"]), (&json!("unknown"), &json!("unknown")));
    assert_eq!(started["recovered"], json!(1));
    program.stop(PATIENCE).unwrap();
    assert_eq!(host.asked_for("in_2"), 1);
}

#[test]
fn killed_during_a_charge_it_holds_the_money_and_charges_nothing_again() {
    let host = Host::new();
    let budget = "[[budget]]\nsubject = \"each agent\"\nunit = \"usd\"\nwindow = \"total\"\nlimit = 5000\n";
    fs::write(host.home().join("budgets.toml"), budget).unwrap();
    let (program, addr) = host.serve();
    let token = host.token.clone();
    let caller = thread::spawn(move || charge(addr, &token, 2_000));
    wait_until("the upstream has the charge", || host.seen("/v1/charges") == 1);
    program.kill();
    caller.join().unwrap().unwrap_or_default();
    assert_eq!(host.held(), [json!(null); 0], "nobody has said yet that it's held");

    let (program, addr) = host.serve();
    let held = host.held();
    assert_eq!(held.len(), 1, "{held:?}");
    assert_eq!(held[0]["cost"], json!({ "amount_minor": 2000, "currency": "usd" }));
    let again = charge(addr, &host.token, 2_000).unwrap();
    assert!(again.contains("\"duplicate\""), "{again}");
    let over = charge(addr, &host.token, 3_001).unwrap();
    assert!(over.contains("\"over_budget\"") && over.contains("cap"), "{over}");
    assert_eq!(host.seen("/v1/charges"), 1);

    // The operator has looked: it wasn't carried out. The host that runs hears of it.
    succeed(kb(&host.home(), &["budget", "release", held[0]["id"].as_str().unwrap()]));
    assert_eq!(host.held(), [json!(null); 0]);
    let token = host.token.clone();
    let caller = thread::spawn(move || charge(addr, &token, 2_000));
    wait_until("the upstream has the second charge", || host.seen("/v1/charges") == 2);
    program.kill();
    caller.join().unwrap().unwrap_or_default();
    host.audit();
}

#[test]
fn killed_after_a_call_it_has_its_outcome() {
    let host = Host::new();
    let (program, addr) = host.serve();
    get_invoice_well(addr, &host.token);
    // What was answered is on the disk: there's no wait in between.
    program.kill();
    let rows = host.audit();
    let last = rows.last().unwrap();
    assert_eq!((&last["event"], &last["request_sent"]), (&json!("call_finished"), &json!("yes")));

    let (program, _) = host.serve();
    let after = host.audit();
    assert_eq!(after[..rows.len()], rows[..]);
    assert_eq!(after[rows.len()]["recovered"], json!(0));
    program.stop(PATIENCE).unwrap();
    assert_eq!(host.asked_for("in_1"), 1);
}

#[test]
fn a_port_that_is_taken_is_named() {
    let dir = TempDir::new().unwrap();
    let home = dir.path().join("home");
    succeed(kb(&home, &["init"]));
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let error = sentence(&kb(&home, &["serve", "--listen", &addr]).output().unwrap());
    assert!(
        error.contains(&format!("{addr} is taken by another program; listen on another port")),
        "{error}"
    );
}

#[test]
fn two_hosts_do_not_serve_from_one_home() {
    let host = Host::new();
    let (program, _) = host.serve();
    let error = sentence(&kb(&host.home(), &["serve", "--listen", "127.0.0.1:0"]).output().unwrap());
    assert!(error.contains("another host serves from"), "{error}");
    program.stop(PATIENCE).unwrap();
}

#[test]
fn a_damaged_file_is_named() {
    let dir = TempDir::new().unwrap();
    let home = dir.path().join("home");
    succeed(kb(&home, &["init"]));
    for (file, damaged, expected) in [
        ("keybearer.toml", "listen = 5\n", "keybearer.toml:1:10: invalid type: integer `5`"),
        ("keybearer.toml", "liste = \"x\"\n", "keybearer.toml:1:1: unknown field `liste`, expected one of"),
        ("control.db", "this is no database, and long enough to be one", "control.db"),
        ("audit.db", "this is no database, and long enough to be one", "audit.db"),
        ("master.key", "short", "holds no master key: a key is 64 hexadecimal digits"),
    ] {
        let path = home.join(file);
        let sound = fs::read(&path).unwrap();
        fs::write(&path, damaged).unwrap();
        let error = sentence(&kb(&home, &["serve", "--listen", "127.0.0.1:0"]).output().unwrap());
        assert!(error.contains(expected), "{file}: {error}");
        fs::write(&path, sound).unwrap();
    }
}

#[test]
fn a_home_that_is_read_only_is_named() {
    let dir = TempDir::new().unwrap();
    let home = dir.path().join("home");
    // Root may write everywhere, so it takes another user for a home that is read-only.
    let is_root = fs::metadata(dir.path()).unwrap().uid() == 0;
    let copy = dir.path().join("keybearer");
    if is_root {
        let original = env!("CARGO_BIN_EXE_keybearer");
        // A link, where there can be one: a file that was just written may be busy.
        fs::hard_link(original, &copy).or_else(|_| fs::copy(original, &copy).map(drop)).unwrap();
        chown(dir.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let run = |arguments: &[&str]| {
        if is_root {
            let mut command = program(&copy, &home, arguments);
            command.current_dir(dir.path()).uid(NOBODY).gid(NOBODY);
            command
        } else {
            kb(&home, arguments)
        }
    };
    succeed(run(&["init"]));
    fs::set_permissions(&home, fs::Permissions::from_mode(0o500)).unwrap();
    let serve = run(&["serve", "--listen", "127.0.0.1:0"]).output();
    fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
    let error = sentence(&serve.unwrap());
    assert!(error.contains("control.db") && error.contains("read-only"), "{error}");
}
