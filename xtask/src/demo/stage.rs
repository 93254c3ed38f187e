//! What stands around the host: a folder, a fake Stripe and its TLS front.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::failure::{Failure, Outcome, cannot};
use crate::place::Place;
use crate::program::{Program, pause};
use crate::scratch::Scratch;

/// How long a server may take to start. Generous: a busy CI machine is no reason to fail.
pub(super) const START: Duration = Duration::from_secs(60);

/// The fake Stripe and the TLS front before it.
pub(super) struct Stripe {
    pub customer: String,
    pub invoice: String,
    pub tls_port: String,
    /// The certificate of the CA that the connection has to trust.
    pub ca: PathBuf,
    /// Every request, as it came out of TLS.
    pub transcript: PathBuf,
    _front: Program,
    _server: Program,
}

impl Stripe {
    pub(super) fn start(place: &Place, scratch: &Scratch) -> Outcome<Self> {
        let mut server = place.command(place.python());
        server.arg("tests/python/fake_stripe.py").env("PYTHONDONTWRITEBYTECODE", "1");
        let all_told = |said: &str| said.split_once("ready\n").map(|(facts, _)| facts.to_owned());
        let (server, facts) = start_and_hear(server, &scratch.path("stripe.log"), all_told)?;
        let fact = |name: &str| {
            let line = facts.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            line.map(str::to_owned)
                .ok_or_else(|| Failure::Told(format!("the fake Stripe told no {name}:\n{facts}")))
        };

        let (ca, transcript) = (scratch.path("ca.pem"), scratch.path("requests"));
        let mut front = place.command(place.built("keybearer-tls-front"));
        front.arg("--target").arg(format!("127.0.0.1:{}", fact("port")?));
        front.arg("--ca-out").arg(&ca).arg("--transcript").arg(&transcript);
        let first_line = |said: &str| said.split_once('\n').map(|(port, _)| port.to_owned());
        let (front, tls_port) = start_and_hear(front, &scratch.path("front.log"), first_line)?;
        Ok(Self {
            customer: fact("customer")?,
            invoice: fact("invoice")?,
            tls_port,
            ca,
            transcript,
            _front: front,
            _server: server,
        })
    }
}

/// Writes the connection: the one of the examples, turned to this Stripe.
pub(super) fn write_connection(place: &Place, folder: &Path, stripe: &Stripe, secret: &str) -> Outcome<()> {
    let example = place.root.join("examples/connections/stripe.toml");
    let text = fs::read_to_string(&example).map_err(cannot("read", &example))?;
    let mut connection = String::new();
    for line in text.lines() {
        let key = line.split('=').next().unwrap_or_default().trim();
        match key {
            "base_url" => {
                connection += &format!("base_url = \"https://localhost:{}\"\n", stripe.tls_port);
                connection += &format!("ca_file = \"{}\"\n", stripe.ca.display());
                connection += "allow_private = [\"127.0.0.0/8\", \"::1/128\"]\n";
            }
            "secret" => connection += &format!("secret = \"{secret}\"\n"),
            "ca_file" | "allow_private" => {}
            _ => connection += &format!("{line}\n"),
        }
    }
    fs::create_dir_all(folder).map_err(cannot("make", folder))?;
    let file = folder.join("stripe.toml");
    fs::write(&file, connection).map_err(cannot("write", &file))
}

/// Takes away the policies of a new home, and puts those of an example in their place, with its budgets.
pub(super) fn write_policies(place: &Place, home: &Path, example: &str) -> Outcome<()> {
    let (from, to) = (place.root.join(example), home.join("policies"));
    let start = to.join("start.cedar");
    fs::remove_file(&start).map_err(cannot("remove", &start))?;
    let policies = from.join("policies");
    for entry in fs::read_dir(&policies).map_err(cannot("read", &policies))?.flatten() {
        let file = to.join(entry.file_name());
        fs::copy(entry.path(), &file).map_err(cannot("write", &file))?;
    }
    let budgets = home.join("budgets.toml");
    fs::copy(from.join("budgets.toml"), &budgets).map_err(cannot("write", &budgets))?;
    Ok(())
}

/// Starts a server and waits until `hear` finds in its output what it's listening for.
pub(crate) fn start_and_hear<T>(
    command: Command,
    log: &Path,
    hear: impl Fn(&str) -> Option<T>,
) -> Outcome<(Program, T)> {
    let name = crate::step::show(&command);
    let mut program = Program::start_into(command, log)?;
    let deadline = Instant::now() + START;
    loop {
        let said = fs::read_to_string(log).unwrap_or_default();
        if let Some(heard) = hear(&said) {
            return Ok((program, heard));
        }
        if let Some(status) = program.ended()? {
            return Err(Failure::Told(format!("{said}\n{name}: ended with {status}")));
        }
        if Instant::now() > deadline {
            return Err(Failure::Told(format!("{said}\n{name}: not ready within {START:?}")));
        }
        pause()?;
    }
}

/// Runs a command to its end and returns what it said; fails with that if it failed.
pub(super) fn answer(mut command: Command, input: &str) -> Outcome<String> {
    let name = crate::step::show(&command);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut program = Program::start(command)?;
    if let Some(mut stdin) = program.stdin() {
        // A command that doesn't read its input says so by its exit code.
        stdin.write_all(input.as_bytes()).ok();
    }
    let (status, output) = program.wait_with_output()?;
    if status.success() { Ok(output) } else { Err(Failure::Told(format!("{output}\n$ {name}: {status}"))) }
}
