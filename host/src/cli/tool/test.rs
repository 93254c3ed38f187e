//! `keybearer tool test`: components against fixtures.

use std::path::PathBuf;

use crate::cli::Done;
use crate::cli::out::Out;

/// Flags of `tool test`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Test {
    /// Fixture files, or folders of them.
    paths: Vec<PathBuf>,
}

impl Test {
    pub(super) fn run(self, _out: &Out) -> anyhow::Result<Done> {
        anyhow::bail!("not built yet: {:?}", self.paths)
    }
}
