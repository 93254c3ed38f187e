//! A host whose database is replaced while it runs: a command line would throw switches into another file, so nothing goes
//! on until the host is started again, or its own file is back.

use std::fs;
use std::path::Path;
use std::thread;

use crate::host::{Host, PATIENCE, get_invoice, get_invoice_well, readyz, wait_for_line, wait_until};

/// Puts a copy in the file's place; the host's own is moved aside.
fn replace(file: &Path, aside: &Path) {
    fs::rename(file, aside).unwrap();
    fs::copy(aside, file).unwrap();
}

#[test]
fn with_a_replaced_database_nothing_is_sent_and_it_is_not_ready() {
    let host = Host::new();
    let aside = host.dir.path().join("aside.db");
    let (program, addr) = host.serve();
    for (round, name) in ["control.db", "audit.db"].into_iter().enumerate() {
        get_invoice_well(addr, &host.token);
        let file = host.home().join(name);
        replace(&file, &aside);
        wait_until("the host has noticed", || readyz(addr, 503));
        let answer = get_invoice(addr, &host.token, "in_1").unwrap();
        let code = ["\"internal\"", "\"audit_unavailable\""][round];
        assert!(answer.starts_with("HTTP/1.1 50") && answer.contains(code), "{name}: {answer}");
        assert!(answer.contains("Nothing was sent."), "{name}: {answer}");
        assert_eq!(host.asked_for("in_1"), round + 1, "{name}");
        wait_for_line(&program, &format!("{name} was replaced"));
        assert!(program.log().contains("stop the host"), "{}", program.log());
        // Its own file again: nothing was lost.
        fs::rename(&aside, &file).unwrap();
    }
    get_invoice_well(addr, &host.token);
    wait_until("it says that it's ready", || readyz(addr, 200));
    program.stop(PATIENCE).unwrap();
    host.audit();
}

#[test]
fn what_is_under_way_ends_when_no_switch_could_reach_it() {
    let host = Host::new();
    let (program, addr) = host.serve();
    let token = host.token.clone();
    let caller = thread::spawn(move || get_invoice(addr, &token, "in_2"));
    wait_until("the upstream has the request", || host.asked_for("in_2") == 1);
    replace(&host.home().join("control.db"), &host.dir.path().join("aside.db"));
    let answer = caller.join().unwrap().unwrap();
    assert!(answer.contains("\"internal\"") && answer.contains("\"request_sent\":\"unknown\""), "{answer}");
    program.stop(PATIENCE).unwrap();
}
