//! The agent: a Python process that knows the host's address and a token, and nothing else.

use std::fs;
use std::path::PathBuf;

use super::stage::Scratch;
use crate::failure::{Failure, Outcome, cannot};
use crate::place::Place;
use crate::program::{Program, pause};

const SCRIPT: &str = "examples/autogen/single_agent.py";

/// The running agent.
pub(super) struct Agent {
    program: Program,
    log: PathBuf,
    messages: PathBuf,
    environment: Option<Vec<u8>>,
}

impl Agent {
    /// Starts it.
    pub(super) fn start(
        place: &Place,
        scratch: &Scratch,
        url: &str,
        token: &str,
        invoice: &str,
    ) -> Outcome<Self> {
        println!("  $ python {SCRIPT}   (KEYBEARER_URL and KEYBEARER_TOKEN are set)");
        let (log, messages) = (scratch.path("agent.log"), scratch.path("messages.json"));
        let mut command = place.command(place.python());
        command.arg(SCRIPT).arg("--invoice").arg(invoice).arg("--dump").arg(&messages);
        command.env("KEYBEARER_URL", url).env("KEYBEARER_TOKEN", token);
        command.env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONUNBUFFERED", "1");
        // Whatever proxy this machine uses: the host is on loopback.
        command.env("NO_PROXY", "127.0.0.1,localhost");
        let mut program = Program::start_into(command, &log)?;
        let environment = environment_of(&mut program)?;
        Ok(Self { program, log, messages, environment })
    }

    /// Waits for its end, and shows what it prints as it comes.
    pub(super) fn finish(&mut self) -> Outcome<()> {
        let mut shown = 0;
        loop {
            let status = self.program.ended()?;
            let printed = fs::read_to_string(&self.log).map_err(cannot("read", &self.log))?;
            let fresh = printed.get(shown..).unwrap_or_default();
            let whole = fresh.rfind('\n').map_or(0, |end| end + 1);
            for line in fresh.get(..whole).unwrap_or_default().lines() {
                println!("    {line}");
            }
            shown += whole;
            match status {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(Failure::Told(format!("the agent ended with {status}"))),
                None => pause()?,
            }
        }
    }

    /// Every message of the conversation, as the script wrote them down.
    pub(super) fn messages(&self) -> Outcome<Vec<u8>> {
        fs::read(&self.messages).map_err(cannot("read", &self.messages))
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
