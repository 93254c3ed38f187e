//! `keybearer completions`.

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::out::Out;
use super::{Cli, Done};

/// Flags of `completions`.
#[derive(Debug, clap::Args)]
pub(super) struct Completions {
    /// The shell.
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self, out: &Out) -> anyhow::Result<Done> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "keybearer", &mut script);
        out.bytes(&script);
        Ok(Done::Well)
    }
}
