//! `cargo xtask demo`: the main job, for real. An AutoGen agent reads an invoice from a (fake) Stripe over TLS, with
//! a key that only the host has. Code that a model wrote reads it too, in the host's sandbox, and looks for keys there.
//! Another agent asks for a charge above its cap, and has its token revoked between two calls. Then the key is looked
//! for everywhere the agents could see.

mod agent;
mod needle;
mod operator;
mod stage;

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::failure::{Failure, Outcome, cannot};
use crate::place::Place;
use crate::scratch::Scratch;
use crate::setup::{self, Extent};
use crate::step;
use agent::Agent;
use needle::Needle;
use operator::Operator;
use stage::Stripe;

/// The label under which the connection asks for its secret.
const SECRET: &str = "stripe-demo";

/// Whose policies and budgets the host goes by.
const EXAMPLE: &str = "examples/governance/billing-agent";

/// What lets the agent's code run: nothing of the example does.
const CODE_POLICY: &str = "\
@id(\"billing-runs-code\")
permit (principal in Role::\"default/billing\", action == Action::\"run_code\", resource);
";

/// Runs the demo and leaves nothing behind.
pub(crate) fn run(place: &Place) -> Outcome<()> {
    let made = setup::run(place, Extent::Demo)?;

    // Values are dropped in the reverse order: the host first, the folder last.
    let scratch = Scratch::create(&std::env::temp_dir(), "demo")?;
    heading("A Stripe with fake data, behind TLS");
    let stripe = Stripe::start(place, &scratch)?;
    let key = Needle::invent()?;
    println!("  customer {}, invoice {}", stripe.customer, stripe.invoice);
    println!("  at https://localhost:{}, with a certificate of a throw-away CA", stripe.tls_port);
    println!("  its API key: {key}");

    heading("The operator sets up a host");
    let operator = Operator::new(place, scratch.path("home"));
    said(operator.init())?;
    stage::write_connection(place, &operator.connections(), &stripe, SECRET)?;
    println!("  > connections/stripe.toml: base URL, CA, operations; the secret only by its label");
    said(operator.check_connections())?;
    for component in &made.tools {
        if crate::place::name_of(component) == "stripe.wasm" {
            said(operator.add_tool(component))?;
        }
    }
    println!("  (next, the sandbox: CPython is compiled, which takes some seconds, this once)");
    said(operator.add_sandbox(&made.sandbox))?;
    said_with_input(operator.set_secret(SECRET), key.text())?;
    stage::write_policies(place, &operator.home, EXAMPLE)?;
    let code = operator.home.join("policies/code.cedar");
    fs::write(&code, CODE_POLICY).map_err(cannot("write", &code))?;
    println!(
        "  > policies/billing.cedar, budgets.toml: two customers, at most 500.00 USD a charge, 1,000.00 a day"
    );
    println!("  > policies/code.cedar: billing may run code, with no more rights than its tools have");
    said(operator.check_policies())?;
    let host = operator.serve(&scratch)?;
    let (token, token_id) = operator.mint()?;

    heading("The agent asks");
    let mut agent = Agent::reads(place, &scratch, &host.url, &token, &stripe.invoice)?;
    agent.finish()?;

    heading("A model writes code that reads the invoice, and looks around for keys");
    let mut coding = Agent::runs_code(place, &scratch, &host.url, &token, &stripe.invoice)?;
    coding.finish()?;
    only_the_invoice(&coding.printed()?)?;

    heading("A model is talked into a charge of 2,500.00 USD; then its conversation is revoked");
    let steps = [
        "create_charge amount=250000 currency=usd customer=cus_Acme",
        "create_charge amount=4200 currency=usd customer=cus_Acme",
        "pause",
        "create_charge amount=4200 currency=usd customer=cus_Globex",
    ];
    let mut insisting = Agent::insists(place, &scratch, &host.url, &token, &steps)?;
    insisting.wait_for_pause()?;
    said(operator.revoke(&token_id))?;
    insisting.go_on()?;
    insisting.finish()?;
    let refused = refused_call(&insisting.printed()?)?;

    heading("The operator looks at the audit trail: the charge that was refused, and what came after it");
    said(operator.audit_show(&refused))?;
    said(operator.audit_list())?;
    said(operator.audit_verify())?;

    heading("Where is the key?");
    println!("  looked for as it is, in hexadecimal, and in base64 at every alignment");
    let sent = key.count_in(&fs::read(&stripe.transcript).map_err(cannot("read", &stripe.transcript))?);
    println!("  {:>3} ×  requests that reached Stripe, so it was used", sent);
    let mut found = 0;
    let mut look = |what: &str, bytes: &[u8]| {
        let count = key.count_in(bytes);
        println!("  {count:>3} ×  {what}, {} bytes", bytes.len());
        found += count;
        // Nothing found in nothing would show nothing.
        if bytes.is_empty() {
            Err(Failure::Told(format!("there was nothing to look through: {what}")))
        } else {
            Ok(())
        }
    };
    look("the agent's message history, run and run_stream", &agent::read_messages(&scratch)?)?;
    look(
        "what the agents' processes printed",
        &[agent.printed()?, coding.printed()?, insisting.printed()?].concat(),
    )?;
    match agent.environment() {
        Some(environment) => look("the environment of the agent's process", environment)?,
        None => println!("    - the environment of the agent's process: only Linux shows it"),
    }
    look("the host's log", &fs::read(&host.log).map_err(cannot("read", &host.log))?)?;
    let (files, bytes) = everything_in(&operator.home)?;
    look(&format!("the host's home: databases and all, {files} files"), &bytes)?;

    drop(host);
    drop(stripe);
    drop(scratch);
    println!("\nThe host, the fake Stripe and their folder are gone.");
    match (sent, found) {
        (0, _) => Err(Failure::Told("the key never reached Stripe: the demo showed nothing".into())),
        (_, 0) => Ok(()),
        _ => Err(Failure::Told(format!("the key was found {found} times where it must not be"))),
    }
}

/// That the code read the invoice, and found neither an environment nor a file.
fn only_the_invoice(printed: &[u8]) -> Outcome<()> {
    let printed = String::from_utf8_lossy(printed);
    let told = printed.split_once("runner says:").map(|(_, told)| told).unwrap_or_default();
    if ["due: ", "environment: {}", "FileNotFoundError"].iter().all(|part| told.contains(part)) {
        return Ok(());
    }
    Err(Failure::Told(format!("this isn't what the code should have come to:\n{printed}")))
}

/// The call that an agent was told was denied. Two more things have to be there, else the demo shows nothing: a charge
/// that was made, and one after the token was revoked that wasn't.
fn refused_call(printed: &[u8]) -> Outcome<String> {
    let printed = String::from_utf8_lossy(printed);
    let seen: Vec<&str> = printed.lines().filter_map(|line| line.strip_prefix("agent sees")).collect();
    let has = |at: usize, text: &str| seen.get(at).is_some_and(|line| line.contains(text));
    let call = seen.first().and_then(|line| line.split('"').find(|part| part.starts_with("call_")));
    match call {
        Some(call)
            if has(0, r#""code":"denied""#) && has(1, "succeeded") && has(2, r#""code":"unauthorized""#) =>
        {
            Ok(call.to_owned())
        }
        _ => Err(Failure::Told(format!("this isn't what the agent should have seen:\n{printed}"))),
    }
}

fn heading(text: &str) {
    println!("\n{text}");
}

/// Shows a command as one would type it, runs it, and shows what it says first.
fn said(command: Command) -> Outcome<()> {
    said_with_input(command, "")
}

fn said_with_input(command: Command, input: &str) -> Outcome<()> {
    println!("  $ {}{}", step::show(&command), if input.is_empty() { "" } else { "  < the key" });
    let answer = stage::answer(command, input)?;
    let lines: Vec<&str> =
        answer.trim_start_matches('\n').lines().take_while(|line| !line.trim().is_empty()).collect();
    let indent = lines.iter().map(|line| line.len() - line.trim_start().len()).min().unwrap_or(0);
    for line in lines {
        println!("    {}", shortened(line.get(indent..).unwrap_or(line)));
    }
    Ok(())
}

/// A line with its long ids and digests cut: enough to tell them apart here.
fn shortened(line: &str) -> String {
    let shorten =
        |word: &str| match ["call_", "tok_", "sha256:"].iter().find(|start| word.starts_with(**start)) {
            Some(start) if word.len() > start.len() + 16 => {
                format!("{}…", word.chars().take(start.len() + 12).collect::<String>())
            }
            _ => word.to_owned(),
        };
    line.split(' ').map(shorten).collect::<Vec<_>>().join(" ")
}

/// The number of files below a folder, and all their bytes.
fn everything_in(folder: &Path) -> Outcome<(usize, Vec<u8>)> {
    let (mut files, mut bytes) = (0, Vec::new());
    for entry in fs::read_dir(folder).map_err(cannot("read", folder))?.flatten() {
        let path = entry.path();
        if path.is_dir() {
            let (more_files, more_bytes) = everything_in(&path)?;
            files += more_files;
            bytes.extend(more_bytes);
        } else if let Ok(content) = fs::read(&path) {
            files += 1;
            bytes.extend(content);
        }
    }
    Ok((files, bytes))
}
