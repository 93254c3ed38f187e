//! The command line. One file a command; what they share is in `context` (opening a home) and `out` (printing).
//!
//! Exit codes: 0 done · 1 failed · 2 wrong usage · 3 a check ran and found problems (fixtures, connections, the audit
//! chain, the doctor). `dev` ends with its command's code.

mod approval;
mod audit;
mod backup;
mod budget;
mod completions;
mod connection;
mod context;
mod descriptors;
mod dev;
mod doctor;
mod file_size;
mod init;
mod kill;
mod log;
mod offer;
mod out;
mod policy;
mod sandbox;
mod serve;
mod token;
mod tool;
mod usage;
mod vault;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::ids::{Environment, Realm, TenantId};
use out::Out;

/// Runs agent tools that never hold the key.
///
/// A tool is a WebAssembly component; the host attaches the credential, checks the policy, sends the request and
/// passes only a checked result back to the agent.
#[derive(Debug, Parser)]
#[command(name = "keybearer", version, after_help = EXIT_CODES, max_term_width = 100)]
struct Cli {
    /// The home folder [default: $KEYBEARER_HOME, else ~/.keybearer].
    #[arg(long, global = true, value_name = "DIR")]
    home: Option<PathBuf>,
    /// Print JSON for machines instead of text for people.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a check found problems. \
                          `dev` ends with its command's code.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a home: configuration, master key, databases, an operator's token.
    Init(init::Init),
    /// Serve agents over HTTP.
    Serve(serve::Serve),
    /// Check a home from top to bottom and say what to mend.
    Doctor(doctor::Doctor),
    /// Copy a home while its host runs, without its master key.
    Backup(backup::Backup),
    /// Build, inspect, test, add, list, remove and prune tools.
    #[command(subcommand)]
    Tool(tool::Tool),
    /// Let agents run code: build, add, list and remove sandboxes.
    #[command(subcommand)]
    Sandbox(sandbox::Sandbox),
    /// Store secrets. Nothing here, or anywhere else, prints one.
    #[command(subcommand)]
    Vault(vault::Vault),
    /// Mint, list and revoke tokens.
    #[command(subcommand)]
    Token(token::Token),
    /// Stop a call, conversation, agent, role, tool, connection, token, tenant or everything, at once.
    Kill(kill::Kill),
    /// List and check connections.
    #[command(subcommand)]
    Connection(connection::Connection),
    /// Show, approve and deny requests that wait for people.
    #[command(subcommand)]
    Approval(approval::Approval),
    /// Show what was spent, check budgets, and say what became of money that is held.
    #[command(subcommand)]
    Budget(budget::Budget),
    /// Read and verify the audit trail, or begin a new one.
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Check, explain and test policies.
    #[command(subcommand)]
    Policy(policy::Policy),
    /// Run a command against a throw-away host: its address in KEYBEARER_URL, a token in KEYBEARER_TOKEN.
    Dev(dev::Dev),
    /// Print a completion script for a shell.
    Completions(completions::Completions),
}

/// Whose things a command is about.
#[derive(Debug, Clone, Args)]
struct RealmArgs {
    /// The tenant.
    #[arg(long, env = "KEYBEARER_TENANT", default_value = "default", value_name = "NAME")]
    tenant: TenantId,
    /// The environment inside the tenant.
    #[arg(long, env = "KEYBEARER_ENVIRONMENT", default_value = "production", value_name = "NAME")]
    environment: Environment,
}

impl RealmArgs {
    fn realm(&self) -> Realm {
        Realm { tenant: self.tenant.clone(), environment: self.environment.clone() }
    }
}

/// How a command ended, short of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    /// All is well.
    Well,
    /// A check ran and found problems, which it has printed.
    Problems,
    /// A child's exit code.
    Code(u8),
}

/// Parses the arguments and runs the command.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage::told(&error),
    };
    file_size::fails_the_write();
    let out = Out::new(cli.json);
    let home = cli.home;
    let done = match cli.command {
        Command::Init(args) => args.run(home, &out),
        Command::Serve(args) => args.run(home, &out),
        Command::Doctor(args) => args.run(home, &out),
        Command::Backup(args) => args.run(home, &out),
        Command::Tool(command) => command.run(home, &out),
        Command::Sandbox(command) => command.run(home, &out),
        Command::Vault(command) => command.run(home, &out),
        Command::Token(command) => command.run(home, &out),
        Command::Kill(command) => command.run(home, &out),
        Command::Connection(command) => command.run(home, &out),
        Command::Approval(command) => command.run(home, &out),
        Command::Budget(command) => command.run(home, &out),
        Command::Audit(command) => command.run(home, &out),
        Command::Policy(command) => command.run(home, &out),
        Command::Dev(args) => args.run(&out),
        Command::Completions(args) => args.run(&out),
    };
    match done.and_then(|done| out.finished().map(|()| done)) {
        Ok(Done::Well) => ExitCode::SUCCESS,
        Ok(Done::Problems) => ExitCode::from(3),
        Ok(Done::Code(code)) => ExitCode::from(code),
        Err(error) => match error.downcast_ref::<clap::Error>() {
            Some(error) => usage::told(error),
            None => {
                out.error(&error);
                ExitCode::FAILURE
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Cli::command().debug_assert();
    }
}
