//! `keybearer completions`.

use std::io::Write as _;

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Cli, Done};

/// Flags of `completions`.
#[derive(Debug, clap::Args)]
pub(super) struct Completions {
    /// The shell.
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self) -> anyhow::Result<Done> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "keybearer", &mut script);
        // A closed pipe (`| head`) isn't an error worth a message.
        let _ = std::io::stdout().write_all(&script);
        Ok(Done::Well)
    }
}
