//! `keybearer sandbox`.

mod add;
mod build;
mod list;

use std::path::PathBuf;

use super::Done;
use super::out::Out;

pub(super) use add::add_consented;

/// Commands on sandboxes.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Sandbox {
    /// Make the component that runs Python, with packages of your choice in it.
    Build(build::Build),
    /// Let agents run code in a component, after saying which connections that code may use.
    Add(add::Add),
    /// List the sandboxes in use.
    List,
    /// Take a sandbox out of use. Code under way ends normally.
    Remove(list::Remove),
}

impl Sandbox {
    pub(super) fn run(self, home: Option<PathBuf>, out: &Out) -> anyhow::Result<Done> {
        match self {
            Self::Build(args) => args.run(out),
            Self::Add(args) => args.run(home, out),
            Self::List => list::list(home, out),
            Self::Remove(args) => args.run(home, out),
        }
    }
}
