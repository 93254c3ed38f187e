//! What an operator types.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::stage::{START, Scratch, answer};
use crate::failure::{Failure, Outcome};
use crate::place::Place;
use crate::program::{Program, pause};

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
        let newest = output.split('"').filter(|part| part.starts_with("call_")).max();
        newest
            .map(str::to_owned)
            .ok_or_else(|| Failure::Told(format!("no call in the audit trail:\n{output}")))
    }

    /// Starts the host and waits until it's ready.
    pub(super) fn serve(&self, scratch: &Scratch) -> Outcome<Host> {
        let port = free_port()?;
        let listen = format!("127.0.0.1:{port}");
        let command = self.keybearer(&["serve", "--listen", &listen]);
        println!("  $ {} &", crate::step::show(&command));
        let log = scratch.path("host.log");
        let mut program = Program::start_into(command, &log)?;
        let deadline = Instant::now() + START;
        while !is_ready(port) {
            let said = || std::fs::read_to_string(&log).unwrap_or_default();
            if let Some(status) = program.ended()? {
                return Err(Failure::Told(format!("{}\nthe host ended with {status}", said())));
            }
            if Instant::now() > deadline {
                return Err(Failure::Told(format!("{}\nthe host isn't ready within {START:?}", said())));
            }
            pause()?;
        }
        println!("    ready on http://{listen}");
        Ok(Host { url: format!("http://{listen}"), log, _program: program })
    }

    /// A command of the host. The home goes by a variable, so that what is shown stays short.
    fn keybearer(&self, arguments: &[&str]) -> Command {
        let mut command = self.place.command(self.place.built("keybearer"));
        command.args(arguments).env("KEYBEARER_HOME", &self.home).env("NO_COLOR", "1");
        command
    }
}

fn free_port() -> Outcome<u16> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|error| Failure::Told(format!("no free port on loopback: {error}")))
}

fn is_ready(port: u16) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply)?;
        Ok(reply)
    };
    ask().is_ok_and(|reply| reply.starts_with("HTTP/1.1 200"))
}
