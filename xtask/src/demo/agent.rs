//! The agents: Python processes that know the host's address and a token, and nothing else.

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use crate::failure::{Failure, Outcome, cannot};
use crate::place::Place;
use crate::program::{Program, pause};
use crate::scratch::Scratch;

/// A running agent.
pub(super) struct Agent {
    program: Program,
    log: PathBuf,
    /// How many bytes of its log were shown.
    shown: usize,
    environment: Option<Vec<u8>>,
}

impl Agent {
    /// Starts a script of the examples. What it prints goes to a file of this name, and is shown as it comes.
    pub(super) fn start<A: AsRef<OsStr>>(
        place: &Place,
        log: PathBuf,
        script: &str,
        arguments: &[A],
        url: &str,
        token: &str,
    ) -> Outcome<Self> {
        let mut command = place.command(place.python());
        command.arg(script).args(arguments);
        command.env("KEYBEARER_URL", url).env("KEYBEARER_TOKEN", token);
        command.env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONUNBUFFERED", "1");
        command.env("PYTHONPATH", place.root.join("python/src"));
        // Whatever proxy this machine uses: the host is on loopback.
        command.env("NO_PROXY", "127.0.0.1,localhost");
        let mut program = Program::start_into(command, &log)?;
        let environment = environment_of(&mut program)?;
        Ok(Self { program, log, shown: 0, environment })
    }

    /// The agent that reads an invoice, and writes its messages down.
    pub(super) fn reads(
        place: &Place,
        scratch: &Scratch,
        url: &str,
        token: &str,
        invoice: &str,
    ) -> Outcome<Self> {
        const SCRIPT: &str = "examples/autogen/single_agent.py";
        println!("  $ python {SCRIPT}   (KEYBEARER_URL and KEYBEARER_TOKEN are set)");
        let messages = messages(scratch);
        let arguments = ["--invoice".as_ref(), invoice.as_ref(), "--dump".as_ref(), messages.as_os_str()];
        Self::start(place, scratch.path("agent.log"), SCRIPT, &arguments, url, token)
    }

    /// An agent that has a model's code run in the host's sandbox.
    pub(super) fn runs_code(
        place: &Place,
        scratch: &Scratch,
        url: &str,
        token: &str,
        invoice: &str,
    ) -> Outcome<Self> {
        const SCRIPT: &str = "examples/autogen/sandboxed_code.py";
        println!("  $ python {SCRIPT}   (the same variables)");
        Self::start(place, scratch.path("code.log"), SCRIPT, &["--invoice", invoice], url, token)
    }

    /// An agent whose model makes these calls, whatever it's told.
    pub(super) fn insists(
        place: &Place,
        scratch: &Scratch,
        url: &str,
        token: &str,
        steps: &[&str],
    ) -> Outcome<Self> {
        const SCRIPT: &str = "examples/governance/agent.py";
        println!(
            "  $ python {SCRIPT} …   (the same variables; its model makes these calls whatever it's told)"
        );
        Self::start(place, scratch.path("insisting.log"), SCRIPT, steps, url, token)
    }

    /// Shows what it prints until it waits for Enter.
    pub(super) fn wait_for_pause(&mut self) -> Outcome<()> {
        while !self.show()? {
            if let Some(status) = self.program.ended()? {
                self.show()?;
                return Err(Failure::Told(format!("the agent ended too early, with {status}")));
            }
            pause()?;
        }
        Ok(())
    }

    /// Presses Enter.
    pub(super) fn go_on(&mut self) -> Outcome<()> {
        let mut input =
            self.program.stdin().ok_or_else(|| Failure::Told("the agent's input is closed".into()))?;
        input.write_all(b"\n").map_err(|error| Failure::Told(format!("the agent doesn't listen: {error}")))
    }

    /// Waits for its end, and shows what it prints as it comes.
    pub(super) fn finish(&mut self) -> Outcome<()> {
        loop {
            let status = self.program.ended()?;
            self.show()?;
            match status {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(Failure::Told(format!("the agent ended with {status}"))),
                None => pause()?,
            }
        }
    }

    /// Shows the lines that are new. Whether the last of them says that it waits for Enter.
    fn show(&mut self) -> Outcome<bool> {
        let printed = fs::read_to_string(&self.log).map_err(cannot("read", &self.log))?;
        let fresh = printed.get(self.shown..).unwrap_or_default();
        let whole = fresh.rfind('\n').map_or(0, |end| end + 1);
        let lines = fresh.get(..whole).unwrap_or_default();
        for line in lines.lines() {
            println!("    {line}");
        }
        self.shown += whole;
        Ok(lines.ends_with("waiting for Enter\n"))
    }

    /// All that it printed.
    pub(super) fn printed(&self) -> Outcome<Vec<u8>> {
        fs::read(&self.log).map_err(cannot("read", &self.log))
    }

    /// Its environment, read from outside while it ran.
    pub(super) fn environment(&self) -> Option<&[u8]> {
        self.environment.as_deref()
    }
}

/// Every message of the conversation, as the script that reads an invoice wrote them down.
pub(super) fn read_messages(scratch: &Scratch) -> Outcome<Vec<u8>> {
    let file = messages(scratch);
    fs::read(&file).map_err(cannot("read", &file))
}

fn messages(scratch: &Scratch) -> PathBuf {
    scratch.path("messages.json")
}

/// A process's environment as the kernel shows it. It's empty for a moment after the start.
fn environment_of(program: &mut Program) -> Outcome<Option<Vec<u8>>> {
    let file = format!("/proc/{}/environ", program.pid());
    loop {
        match fs::read(&file) {
            Ok(environment) if environment.is_empty() && program.ended()?.is_none() => pause()?,
            Ok(environment) => return Ok(Some(environment)),
            Err(_) => return Ok(None),
        }
    }
}
