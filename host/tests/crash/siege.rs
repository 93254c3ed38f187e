//! A host whose log nobody takes, whose descriptors strangers use up, whose terminal goes, or which waits for a file that has no
//! end: it serves on, and can be stopped.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use keybearer_testkit::process::{Program, get};
use serde_json::{Value, json};

use crate::host::{Host, PATIENCE, get_invoice_well, in_shell, kb, succeed, wait_for_line, wait_until};

/// More lines than a pipe holds, each of some hundred bytes.
const LINES: usize = 2_000;

/// The limit on open files of a host under siege.
const FILES_MAX: usize = 256;
/// The connections that it has room for then.
const ROOM: usize = 64;

/// A host that logs into a pipe, whose other end nobody reads.
fn serve_into_pipe(host: &Host) -> (Program, SocketAddr, File) {
    let pipe = host.dir.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // For both, opening it waits for nobody.
    let unread = File::options().read(true).write(true).open(&pipe).unwrap();
    let script = format!("exec \"$@\" 2>'{}'", pipe.display());
    let (program, addr) = host.serve_as(|mut command| {
        command.env("KEYBEARER_LOG", "debug");
        in_shell(&command, &script)
    });
    (program, addr, unread)
}

/// A connection that breaks off, which is worth a line.
fn break_off(addr: SocketAddr) {
    TcpStream::connect(addr).unwrap().write_all(b"GET / HT").unwrap();
}

/// One request on a connection that stays open, and its answer.
fn ask(connection: &mut TcpStream, request: &str) -> io::Result<String> {
    write!(connection, "{request}")?;
    let mut answer = vec![0; 64 << 10];
    let length = connection.read(&mut answer)?;
    answer.truncate(length);
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn connect(addr: SocketAddr) -> TcpStream {
    let connection = TcpStream::connect(addr).unwrap();
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    connection
}

fn is_alive(addr: SocketAddr) -> bool {
    get(addr, "/healthz").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

fn hang_up(program: &Program) {
    let status = Command::new("kill").args(["-HUP", &program.pid().to_string()]).status();
    assert!(status.unwrap().success());
}

#[test]
fn a_log_that_nobody_reads_holds_up_no_answer_no_kill_and_no_end() {
    let host = Host::new();
    let mint = ["token", "mint", "--json", "--operator", "--agent", "lead"];
    let minted: Value = serde_json::from_str(&succeed(kb(&host.home(), &mint))).unwrap();
    let (program, addr, unread) = serve_into_pipe(&host);
    for _ in 0..LINES {
        break_off(addr);
    }
    wait_until("it answers", || is_alive(addr));
    let body = json!({ "scope": "agent:test", "reason": "a flood of lines" }).to_string();
    let (token, length) = (minted["token"].as_str().unwrap(), body.len());
    let head = format!("host: h\r\nauthorization: Bearer {token}\r\ncontent-length: {length}\r\n\r\n");
    let answer = ask(&mut connect(addr), &format!("POST /v1/kill HTTP/1.1\r\n{head}{body}")).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    assert!(program.stop(PATIENCE).unwrap().success());

    // What is in the pipe stays there while someone has it open.
    let mut taken = File::open(host.dir.path().join("pipe")).unwrap();
    drop(unread);
    let mut log = String::new();
    taken.read_to_string(&mut log).unwrap();
    assert!(log.contains("listening on ") && !log.contains("stopped"), "the pipe was never full");
}

#[test]
fn a_log_whose_reader_is_gone_stops_nothing() {
    let host = Host::new();
    let (program, addr, unread) = serve_into_pipe(&host);
    drop(unread);
    for _ in 0..20 {
        break_off(addr);
    }
    get_invoice_well(addr, &host.token);
    assert!(program.stop(PATIENCE).unwrap().success());
}

#[test]
fn strangers_that_hold_all_connections_are_told_so_and_the_others_are_served() {
    let host = Host::new();
    let script = format!("ulimit -n {FILES_MAX}; exec \"$@\"");
    let (program, addr) = host.serve_as(|command| in_shell(&command, &script));
    wait_for_line(&program, &format!("connections_max={ROOM}"));
    let mut first = connect(addr);
    let health = "GET /healthz HTTP/1.1\r\nhost: h\r\n\r\n";
    assert!(ask(&mut first, health).unwrap().starts_with("HTTP/1.1 200"));
    let (mut idle, mut turned_away) = (Vec::new(), 0);
    for _ in 0..2 * FILES_MAX {
        let mut stranger = connect(addr);
        // One that finds no room at all is cut off.
        let answer = ask(&mut stranger, health).unwrap_or_default();
        if answer.starts_with("HTTP/1.1 200") {
            idle.push(stranger);
        } else if answer.contains("The call failed (busy)") {
            turned_away += 1;
        }
    }
    assert!(idle.len() < ROOM && turned_away > FILES_MAX, "{} idle, {turned_away} busy", idle.len());

    let body = r#"{"id":"in_1"}"#;
    let (token, length) = (&host.token, body.len());
    let head = format!("host: h\r\nauthorization: Bearer {token}\r\ncontent-length: {length}\r\n\r\n");
    let answer = ask(&mut first, &format!("POST /v1/tools/get_invoice HTTP/1.1\r\n{head}{body}")).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"amount_due\":1999"), "{answer}");
    assert!(program.stop(PATIENCE).unwrap().success());
}

#[test]
fn a_terminal_that_goes_stops_it_in_order_unless_it_is_to_stay() {
    let host = Host::new();
    let (mut program, addr) = host.serve();
    get_invoice_well(addr, &host.token);
    hang_up(&program);
    assert!(program.wait(PATIENCE).unwrap().success());
    assert!(program.log().ends_with("stopped\n"), "{}", program.log());

    // As `nohup` has it.
    let (program, addr) = host.serve_as(|command| in_shell(&command, "trap '' HUP; exec \"$@\""));
    hang_up(&program);
    sleep(Duration::from_millis(200));
    get_invoice_well(addr, &host.token);
    assert!(!program.log().contains("stopped"), "{}", program.log());
    assert!(program.stop(PATIENCE).unwrap().success());
}

#[test]
fn a_look_that_never_ends_does_not_keep_it_alive() {
    let host = Host::new();
    let (program, addr) = host.serve();
    let fifo = host.home().join("connections").join("endless.toml");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    // It opens once the host reads it, which waits for what is never written.
    let unwritten = File::options().write(true).open(&fifo).unwrap();
    get_invoice_well(addr, &host.token);
    assert!(program.stop(PATIENCE).unwrap().success());
    drop(unwritten);
}
