//! A host whose master key is rotated while it runs: it goes on where it was given the next one as well, and says what is
//! missing where it wasn't.

use std::fs;
use std::process::Command;

use crate::host::{
    Host, PATIENCE, get_invoice, get_invoice_well, kb, readyz, succeed, succeed_with, wait_for_line,
    wait_until,
};

/// What the commands here find in their environment.
fn keyed(mut command: Command) -> Command {
    command.env("KB_TEST_KEY", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
    command.env("KB_TEST_WORDS", "correct horse battery staple");
    command
}

fn configure(host: &Host, master_key: &str) {
    fs::write(host.home().join("keybearer.toml"), format!("[master_key]\n{master_key}\n")).unwrap();
}

fn rotate(host: &Host, to: &[&str]) {
    succeed(keyed(kb(&host.home(), &[&["vault", "rotate-master"][..], to].concat())));
}

#[test]
fn with_the_next_master_key_at_hand_it_goes_on() {
    let host = Host::new();
    for (master_key, to) in [
        ("next_env = \"KB_TEST_KEY\"", ["--new-key-env", "KB_TEST_KEY"]),
        (
            "env = \"KB_TEST_KEY\"\nnext_passphrase_env = \"KB_TEST_WORDS\"",
            ["--new-passphrase-env", "KB_TEST_WORDS"],
        ),
    ] {
        configure(&host, master_key);
        let (program, addr) = host.serve_as(keyed);
        get_invoice_well(addr, &host.token);
        rotate(&host, &to);
        get_invoice_well(addr, &host.token);
        wait_until("it says that it's ready", || readyz(addr, 200));
        program.stop(PATIENCE).unwrap();
    }
    // Nothing is left that another key than the last one opens.
    configure(&host, "passphrase_env = \"KB_TEST_WORDS\"");
    succeed_with(keyed(kb(&host.home(), &["vault", "set", "another", "--tenant", "acme"])), "sk_live_1234");
    let (program, addr) = host.serve_as(keyed);
    get_invoice_well(addr, &host.token);
    program.stop(PATIENCE).unwrap();
}

#[test]
fn without_it_nothing_is_sent_and_it_is_not_ready() {
    let host = Host::new();
    let (program, addr) = host.serve();
    rotate(&host, &["--new-key-env", "KB_TEST_KEY"]);
    let answer = get_invoice(addr, &host.token, "in_1").unwrap();
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("\"no_secret\""), "{answer}");
    assert_eq!(host.asked_for("in_1"), 0);
    wait_until("it says that it isn't ready", || readyz(addr, 503));
    wait_for_line(&program, "start the host with the key now in use");
    program.stop(PATIENCE).unwrap();
}
