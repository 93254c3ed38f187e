//! `keybearer sandbox`.

mod build;

use super::Done;
use super::out::Out;

/// Commands on the sandbox for agent-written code.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Sandbox {
    /// Make the component that runs Python, with packages of your choice in it.
    Build(build::Build),
}

impl Sandbox {
    pub(super) fn run(self, out: &Out) -> anyhow::Result<Done> {
        match self {
            Self::Build(args) => args.run(out),
        }
    }
}
