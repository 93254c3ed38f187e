//! `keybearer completions`.

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
        clap_complete::generate(self.shell, &mut Cli::command(), "keybearer", &mut std::io::stdout());
        Ok(Done::Well)
    }
}
