//! A home, the host that serves from it, and what it leads to.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use keybearer_testkit::ca::Ca;
use keybearer_testkit::process::{Program, get};
use keybearer_testkit::upstream::{Reply, Script, Upstream};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::built;

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const KEY: &str = "sk_test_51NeverShown4242";

/// A home, and what it leads to.
pub(crate) struct Host {
    pub(crate) dir: TempDir,
    upstream: Upstream,
    pub(crate) token: String,
    /// Keeps the upstream running.
    _executor: tokio::runtime::Runtime,
}

impl Host {
    /// A home with one connection, its secret, the Stripe tool and a token. Its upstream answers for `in_1` alone.
    pub(crate) fn new() -> Self {
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

    pub(crate) fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// Starts the host and waits until it takes calls.
    pub(crate) fn serve(&self) -> (Program, SocketAddr) {
        self.serve_as(|command| command)
    }

    /// The same with the command turned into another one.
    pub(crate) fn serve_as(&self, turned: impl FnOnce(Command) -> Command) -> (Program, SocketAddr) {
        let command = turned(kb(&self.home(), &["serve", "--json", "--listen", "127.0.0.1:0"]));
        let mut program = Program::start(command, &self.dir.path().join("log")).unwrap();
        let addr = program.hear(PATIENCE, address).unwrap();
        (program, addr)
    }

    /// The reservations that are held.
    pub(crate) fn held(&self) -> Vec<Value> {
        serde_json::from_str(&succeed(kb(&self.home(), &["budget", "list", "--held", "--json"]))).unwrap()
    }

    /// The audit trail, oldest row first, once its chain is known to hold.
    pub(crate) fn audit(&self) -> Vec<Value> {
        let verified: Value =
            serde_json::from_str(&succeed(kb(&self.home(), &["audit", "verify", "--json"]))).unwrap();
        assert_eq!(verified["holds"], json!(true), "{verified}");
        let list = kb(&self.home(), &["audit", "list", "--json", "--limit", "1000"]);
        let rows: Vec<Value> = serde_json::from_str(&succeed(list)).unwrap();
        assert_eq!(verified["rows"], json!(rows.len()));
        rows
    }

    /// How often the upstream was asked for an invoice.
    pub(crate) fn asked_for(&self, id: &str) -> usize {
        self.seen(&format!("/v1/invoices/{id}"))
    }

    /// How often the upstream got a request of this path.
    pub(crate) fn seen(&self, path: &str) -> usize {
        self.upstream.seen().iter().filter(|request| request.path() == path).count()
    }
}

/// Where a host listens, as its output says, wherever its log goes. It takes calls from then on.
fn address(said: &str) -> Option<SocketAddr> {
    let (_, rest) = said.split_once(r#""url": "http://"#)?;
    rest.split_once('"')?.0.parse().ok()
}

pub(crate) fn invoice() -> String {
    let invoice = json!({
        "id": "in_1", "status": "open", "amount_due": 1999, "amount_paid": 0, "currency": "usd",
        "customer": "cus_1"
    });
    invoice.to_string()
}

pub(crate) fn connection(base_url: &str) -> String {
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
pub(crate) fn kb(home: &Path, arguments: &[&str]) -> Command {
    program(Path::new(env!("CARGO_BIN_EXE_keybearer")), home, arguments)
}

pub(crate) fn program(file: &Path, home: &Path, arguments: &[&str]) -> Command {
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

/// The command as a shell runs it in this script, where it's `"$@"`.
pub(crate) fn in_shell(command: &Command, script: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "sh"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
}

pub(crate) fn succeed(command: Command) -> String {
    succeed_with(command, "")
}

/// Runs a command that gets this input and must succeed; returns its output.
pub(crate) fn succeed_with(mut command: Command, input: &str) -> String {
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
pub(crate) fn sentence(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert_eq!(errors.trim_end().lines().count(), 1, "{errors}");
    assert!(errors.starts_with("error: "), "{errors}");
    errors
}

/// Calls `get_invoice`; returns the whole answer.
pub(crate) fn get_invoice(addr: SocketAddr, token: &str, id: &str) -> io::Result<String> {
    call(addr, token, "get_invoice", &json!({ "id": id }))
}

/// Charges so many cents, always in the same conversation; returns the whole answer.
pub(crate) fn charge(addr: SocketAddr, token: &str, cents: u32) -> io::Result<String> {
    call(addr, token, "create_charge", &json!({ "amount": cents, "currency": "usd", "customer": "cus_1" }))
}

/// Calls a tool; returns the whole answer.
pub(crate) fn call(addr: SocketAddr, token: &str, tool: &str, arguments: &Value) -> io::Result<String> {
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
pub(crate) fn get_invoice_well(addr: SocketAddr, token: &str) {
    let answer = get_invoice(addr, token, "in_1").unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("\"amount_due\":1999"), "{answer}");
}

pub(crate) fn events(rows: &[Value]) -> Vec<&str> {
    rows.iter().filter_map(|row| row["event"].as_str()).collect()
}

/// Whether a look at a host's readiness is answered with this status.
pub(crate) fn readyz(addr: SocketAddr, status: u16) -> bool {
    get(addr, "/readyz").is_ok_and(|answer| answer.starts_with(&format!("HTTP/1.1 {status} ")))
}

/// Waits until a program has logged this: lines are written by and by.
pub(crate) fn wait_for_line(program: &Program, text: &str) {
    wait_until(&format!("the log has: {text}"), || program.log().contains(text));
}

pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
