//! A host whose disk fails it, or holds something else than it wrote: it says so, sends nothing that it can't record,
//! and goes on once that is mended.

use std::fs;
use std::path::PathBuf;

use rusqlite::Connection;

use crate::host::{
    Host, KEY, PATIENCE, get_invoice, get_invoice_well, in_shell, kb, succeed, succeed_with, wait_for_line,
};

/// The largest file that a host with a full disk can write, in blocks of 512 bytes. Some calls fit, many don't.
const FULL_AT_BLOCKS: u32 = 512;
/// More calls than fit.
const CALLS_MAX: usize = 400;

#[test]
fn with_a_full_disk_it_sends_nothing_that_it_can_not_record() {
    let host = Host::new();
    // A limit on the size of files is what a test can have in place of a full disk: a write fails half way.
    let script = format!("ulimit -f {FULL_AT_BLOCKS}; exec \"$@\"");
    let (program, addr) = host.serve_as(|command| in_shell(&command, &script));
    let mut answered = 0;
    let refused = loop {
        let answer = get_invoice(addr, &host.token, "in_1").unwrap();
        if !answer.starts_with("HTTP/1.1 200") {
            break answer;
        }
        answered += 1;
        assert!(answered < CALLS_MAX, "the disk never filled up");
    };
    assert!(answered > 0, "{refused}");
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("\"audit_unavailable\""), "{refused}");
    // The call that met the full disk may have been sent before its outcome couldn't be recorded; none after it.
    let sent = host.asked_for("in_1");
    assert!(sent <= answered + 1, "{sent} sends, {answered} answers");
    for _ in 0..5 {
        let answer = get_invoice(addr, &host.token, "in_1").unwrap();
        assert!(answer.contains("\"audit_unavailable\"") && answer.contains("Nothing was sent."), "{answer}");
    }
    assert_eq!(host.asked_for("in_1"), sent);
    wait_for_line(&program, "audit");
    program.kill();

    // With room again, the trail holds, knows every send, and goes on.
    let (program, addr) = host.serve();
    get_invoice_well(addr, &host.token);
    let rows = host.audit();
    let begun = rows.iter().filter(|row| row["event"] == "send_begun").count();
    assert_eq!(begun, host.asked_for("in_1"));
    program.stop(PATIENCE).unwrap();
}

#[test]
fn with_a_full_disk_a_command_says_that_it_may_be_full() {
    let dir = tempfile::TempDir::new().unwrap();
    let home = dir.path().join("home");
    succeed(kb(&home, &["init"]));
    // The database is there; what is made beside it when it's opened finds no room.
    let script = "ulimit -f 1; exec \"$@\"";
    let output = in_shell(&kb(&home, &["token", "list"]), script).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("control.db: a write failed: the disk is full"), "{said}");
}

#[test]
fn a_damaged_secret_is_not_sent_and_another_version_mends_it() {
    let host = Host::new();
    let (program, addr) = host.serve();
    get_invoice_well(addr, &host.token);
    let control = Connection::open(host.home().join("control.db")).unwrap();
    let changed =
        control.execute("UPDATE secrets SET ciphertext = zeroblob(length(ciphertext))", []).unwrap();
    assert_eq!(changed, 1);

    let answer = get_invoice(addr, &host.token, "in_1").unwrap();
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("\"no_secret\""), "{answer}");
    assert!(answer.contains("Nothing was sent.") && !answer.contains(KEY), "{answer}");
    assert_eq!(host.asked_for("in_1"), 1);
    assert!(!program.log().contains(KEY));

    succeed_with(kb(&host.home(), &["vault", "rotate", "stripe-key"]), KEY);
    get_invoice_well(addr, &host.token);
    host.audit();
    program.stop(PATIENCE).unwrap();
}

#[test]
fn damaged_compiled_code_is_compiled_again() {
    let host = Host::new();
    let cached = compiled(&host);
    let sound = fs::read(&cached).unwrap();
    let mut damaged = sound.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(&cached, &damaged).unwrap();

    let (program, addr) = host.serve();
    wait_for_line(&program, "cached code is not used; compiling again");
    get_invoice_well(addr, &host.token);
    program.stop(PATIENCE).unwrap();
    assert_ne!(fs::read(&cached).unwrap(), damaged, "it was written anew");
}

/// The one file of compiled code in a home.
fn compiled(host: &Host) -> PathBuf {
    let inside = |folder: PathBuf| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> = inside(host.home().join("cache")).flat_map(inside).collect();
    let [file] = files.as_slice() else { panic!("{files:?}") };
    file.clone()
}
