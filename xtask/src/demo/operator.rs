//! What an operator types.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::stage::{answer, start_and_hear};
use crate::failure::{Failure, Outcome};
use crate::place::Place;
use crate::program::Program;
use crate::scratch::Scratch;

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

    pub(super) fn add_sandbox(&self, component: &Path) -> Command {
        let mut command = self.keybearer(&["sandbox", "add", "--yes", "--connection", "stripe"]);
        command.arg(component);
        command
    }

    pub(super) fn set_secret(&self, label: &str) -> Command {
        self.keybearer(&["vault", "set", label])
    }

    pub(super) fn check_policies(&self) -> Command {
        self.keybearer(&["policy", "check"])
    }

    /// Mints a token for a billing agent in one conversation: the token, and its id.
    pub(super) fn mint(&self) -> Outcome<(String, String)> {
        let mut command = self.keybearer(&["token", "mint", "--agent", "demo", "--role", "billing"]);
        command.args(["--conversation", "march", "--tool", "run_python"]);
        for name in ["get_invoice", "create_charge"] {
            command.args(["--tool", name, "--operation", &format!("stripe:{name}")]);
        }
        println!("  $ {}", crate::step::show(&command));
        command.arg("--json");
        let output = answer(command, "")?;
        let find = |start| output.split('"').find(|part: &&str| part.starts_with(start)).map(str::to_owned);
        let (Some(token), Some(id)) = (find("kbt_"), find("tok_")) else {
            return Err(Failure::Told(format!("no token in:\n{output}")));
        };
        println!("    kbt_… (shown once; it opens three tools and two operations, and no key is in it)");
        Ok((token, id))
    }

    pub(super) fn revoke(&self, token: &str) -> Command {
        self.keybearer(&["token", "revoke", token])
    }

    /// The newest rows of the trail.
    pub(super) fn audit_list(&self) -> Command {
        self.keybearer(&["audit", "list", "--limit", "5"])
    }

    pub(super) fn audit_show(&self, call: &str) -> Command {
        self.keybearer(&["audit", "show", call])
    }

    pub(super) fn audit_verify(&self) -> Command {
        self.keybearer(&["audit", "verify"])
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
