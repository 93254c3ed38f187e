//! `keybearer policy`: checks, explains and tests policies, without a running host.

mod check;
mod judge;
mod prove;
mod table;
mod tools;

use std::path::PathBuf;
use std::sync::Arc;

use super::Done;
use super::context::Opened;
use super::out::Out;
use crate::connection::Connections;
use crate::policy::{Policy as Engine, PolicyFile, PolicyProblems, World};

/// Commands on policies.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Policy {
    /// Check policy files: every problem with its file, line and a hint.
    Check {
        /// A folder of policy files [default: the home's].
        dir: Option<PathBuf>,
        #[command(flatten)]
        world: WorldArgs,
    },
    /// Print the schema: every action, parameter and type that a policy can speak of.
    Schema {
        #[command(flatten)]
        world: WorldArgs,
    },
    /// Say which policies decide a request, and why.
    Explain {
        /// The request, as TOML.
        request: PathBuf,
        #[command(flatten)]
        set: SetArgs,
    },
    /// Hold policies to tables of requests and verdicts.
    Test {
        /// The tables, as TOML.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        set: SetArgs,
    },
    /// Prove a claim about all requests there could be, where the solver cvc5 is installed (exit code 2 where not).
    Prove {
        #[command(flatten)]
        claim: prove::Claim,
        #[command(flatten)]
        set: SetArgs,
    },
    /// Put decided requests, and the calls that they came from, to other policies, and print what would change.
    Replay {
        /// Decided requests: one JSON object a line, `-` for standard input.
        facts: PathBuf,
        /// The candidate: a folder of policy files.
        #[arg(long, value_name = "DIR")]
        candidate: PathBuf,
        #[command(flatten)]
        set: SetArgs,
    },
}

/// What policies are about.
#[derive(Debug, Clone, clap::Args)]
pub(in crate::cli) struct WorldArgs {
    /// Take the connections from this folder instead of a home's, and no tools but those of --tools.
    #[arg(long, value_name = "DIR")]
    connections: Option<PathBuf>,
    /// Know the tools of this component, or of every component (`*.wasm`) of this folder. May be given several times.
    #[arg(long, value_name = "PATH", requires = "connections")]
    tools: Vec<PathBuf>,
}

/// Which policies.
#[derive(Debug, Clone, clap::Args)]
pub(in crate::cli) struct SetArgs {
    /// Take the policies from this folder instead of the home's.
    #[arg(long, value_name = "DIR")]
    policies: Option<PathBuf>,
    #[command(flatten)]
    world: WorldArgs,
}

impl Policy {
    pub(super) fn run(self, home: Option<PathBuf>, out: &Out) -> anyhow::Result<Done> {
        match self {
            Self::Check { dir, world } => check::check(&SetArgs { policies: dir, world }, home, out),
            Self::Schema { world } => {
                let schema = world.load(home, out)?.schema();
                out.line(schema.trim_end());
                out.value(&serde_json::json!({ "schema": schema }));
                Ok(Done::Well)
            }
            Self::Explain { request, set } => judge::explain(&request, &set.engine(home, out)?, out),
            Self::Test { files, set } => table::test(&files, &set.engine(home, out)?, out),
            Self::Prove { claim, set } => prove::prove(&claim, &set.engine(home, out)?, out),
            Self::Replay { facts, candidate, set } => {
                let world = set.world.clone();
                let live = set.engine(home.clone(), out)?;
                let candidate = SetArgs { policies: Some(candidate), world }.engine(home, out)?;
                judge::replay(&facts, &live, &candidate, out)
            }
        }
    }
}

impl WorldArgs {
    fn load(&self, home: Option<PathBuf>, out: &Out) -> anyhow::Result<World> {
        let load = |dir: &std::path::Path| {
            Connections::load(dir)
                .map(Arc::new)
                .map_err(|problems| anyhow::anyhow!("the connections can't be used\n{problems}"))
        };
        if let Some(dir) = &self.connections {
            anyhow::ensure!(dir.is_dir(), "{} is no folder", dir.display());
            return Ok(World::of_tools(load(dir)?, &tools::read(&self.tools)?));
        }
        let opened = Opened::open(home)?;
        let connections = load(&opened.home.connections_dir())?;
        Ok(World::new(connections, &opened.catalog(out)?.snapshot()))
    }
}

impl SetArgs {
    /// The policies, or every problem of them.
    fn load(&self, home: Option<PathBuf>, out: &Out) -> anyhow::Result<Result<Engine, PolicyProblems>> {
        let world = self.world.load(home.clone(), out)?;
        let (files, posted) = match (&self.policies, &self.world.connections) {
            (Some(dir), _) => {
                anyhow::ensure!(dir.is_dir(), "{} is no folder", dir.display());
                (PolicyFile::read_all(dir), Vec::new())
            }
            (None, Some(_)) => anyhow::bail!("give a folder of policies, too: without a home there are none"),
            (None, None) => {
                let opened = Opened::open(home)?;
                (PolicyFile::read_all(&opened.home.policies_dir()), opened.control.policies(None)?)
            }
        };
        Ok(files.and_then(|files| Engine::of(&files, &posted, world)))
    }

    fn engine(&self, home: Option<PathBuf>, out: &Out) -> anyhow::Result<Engine> {
        self.load(home, out)?.map_err(|problems| anyhow::anyhow!("the policies can't be used\n{problems}"))
    }
}
