//! `keybearer tool`.

mod add;
mod build;
pub(super) mod inspect;
pub(super) mod list;
mod prune;
mod test;

use std::path::PathBuf;

use super::Done;
use super::out::Out;

/// Commands on tools.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Tool {
    /// Build a tool's crate into a component, and check that a host would take it.
    Build(build::Build),
    /// Show what a component is: its digest, imports, tools and connections.
    Inspect(inspect::Inspect),
    /// Run components against fixtures: no network, no secrets.
    Test(test::Test),
    /// Add a component, or a new version of one, after showing what it asks for.
    Add(add::Add),
    /// List the tools in use.
    List,
    /// Take a component out of use. Calls under way end normally.
    Remove(list::Remove),
    /// Remove the files of components, sandboxes too, that are out of use.
    Prune(prune::Prune),
}

impl Tool {
    pub(super) fn run(self, home: Option<PathBuf>, out: &Out) -> anyhow::Result<Done> {
        match self {
            Self::Build(args) => args.run(out),
            Self::Inspect(args) => args.run(out),
            Self::Test(args) => args.run(home, out),
            Self::Add(args) => args.run(home, out),
            Self::List => list::list(home, out),
            Self::Remove(args) => args.run(home, out),
            Self::Prune(args) => args.run(home, out),
        }
    }
}
