//! What an operator types.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::stage::{Scratch, answer, start_and_hear};
use crate::failure::{Failure, Outcome};
use crate::place::Place;
use crate::program::Program;

/// Someone at the command line of a host.
pub(super) struct Operator<'p> {
    place: &'p Place,
    pub home: PathBuf,
}

/// A running host. Dropping it stops it.
pub(super) struct Host {
    pub url: String,
    pub log: PathBuf,
    _program: Program,
}

impl<'p> Operator<'p> {
    pub(super) fn new(place: &'p Place, home: PathBuf) -> Self {
        Self { place, home }
    }

    pub(super) fn connections(&self) -> PathBuf {
        self.home.join("connections")
    }

    pub(super) fn init(&self) -> Command {
        self.keybearer(&["init"])
    }

    pub(super) fn check_connections(&self) -> Command {
        self.keybearer(&["connection", "check"])
    }

    pub(super) fn add_tool(&self, component: &Path) -> Command {
        let mut command = self.keybearer(&["tool", "add", "--yes"]);
        command.arg(component);
        command
    }

    pub(super) fn set_secret(&self, label: &str) -> Command {
        self.keybearer(&["vault", "set", label])
    }

    /// Mints a token for one tool and one operation.
    pub(super) fn mint(&self) -> Outcome<String> {
        let arguments = [
            "token",
            "mint",
            "--agent",
            "demo",
            "--tool",
            "get_invoice",
            "--operation",
            "stripe:get_invoice",
        ];
        let mut command = self.keybearer(&arguments);
        println!("  $ {}", crate::step::show(&command));
        command.arg("--json");
        let output = answer(command, "")?;
        let token = output.split('"').find(|part| part.starts_with("kbt_"));
        let token = token.ok_or_else(|| Failure::Told(format!("no token in:\n{output}")))?;
        println!("    kbt_… (shown once; it opens one tool and one operation, and no key is in it)");
        Ok(token.to_owned())
    }

    pub(super) fn audit_list(&self) -> Command {
        self.keybearer(&["audit", "list"])
    }

    pub(super) fn audit_show(&self, call: &str) -> Command {
        self.keybearer(&["audit", "show", call])
    }

    pub(super) fn audit_verify(&self) -> Command {
        self.keybearer(&["audit", "verify"])
    }

    /// The newest call in the trail. Call ids begin with the time, so they sort by it.
    pub(super) fn newest_call(&self) -> Outcome<String> {
        let mut command = self.audit_list();
        command.arg("--json");
        let output = answer(command, "")?;
        let is_id = |text: &&str| text.len() == "call_".len() + 32 && text.starts_with("call_");
        let newest = output.split('"').filter(is_id).max();
        newest
            .map(str::to_owned)
            .ok_or_else(|| Failure::Told(format!("no call in the audit trail:\n{output}")))
    }

    /// Starts the host on a free port and waits until it listens.
    pub(crate) fn serve(&self, scratch: &Scratch) -> Outcome<Host> {
        let mut command = self.keybearer(&["serve", "--listen", "127.0.0.1:0"]);
        // The more the log says, the more it means that the key isn't in it.
        command.env("KEYBEARER_LOG", "trace");
        println!("  $ {} &", crate::step::show(&command));
        let log = scratch.path("host.log");
        let address = |said: &str| {
            let (line, _) = said.split_once("listening on ")?.1.split_once('\n')?;
            Some(line.to_owned())
        };
        let (program, url) = start_and_hear(command, &log, address)?;
        println!("    listening on {url}");
        Ok(Host { url, log, _program: program })
    }

    /// A command of the host. The home goes by a variable, so that what is shown stays short.
    fn keybearer(&self, arguments: &[&str]) -> Command {
        let mut command = self.place.command(self.place.built("keybearer"));
        command.args(arguments).env("KEYBEARER_HOME", &self.home).env("NO_COLOR", "1");
        command
    }
}
