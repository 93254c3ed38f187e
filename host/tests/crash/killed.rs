//! A host that is killed: nothing is lost, and nothing is sent again.

use std::fs;
use std::thread;

use serde_json::{Value, json};

use crate::host::{Host, PATIENCE, charge, events, get_invoice, get_invoice_well, kb, succeed, wait_until};

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
