//! `keybearer connection`.

use std::path::PathBuf;

use serde_json::json;

use super::Done;
use super::context::Opened;
use super::out::Out;
use crate::connection::{Connection as Upstream, Connections, SecretOf};
use crate::home::Home;

/// Commands on connections.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Connection {
    /// List connections and their operations.
    List,
    /// Check connection files: every problem with its file, line, key and what to do.
    Check {
        /// A folder of connection files [default: the home's].
        dir: Option<PathBuf>,
    },
}

impl Connection {
    pub(super) fn run(self, home: Option<PathBuf>, out: &Out) -> anyhow::Result<Done> {
        match self {
            Self::List => {
                let opened = Opened::open(home)?;
                list(&Connections::load(&opened.home.connections_dir())?, out);
                Ok(Done::Well)
            }
            Self::Check { dir } => {
                let dir = match dir {
                    Some(dir) => {
                        anyhow::ensure!(dir.is_dir(), "{} is no folder", dir.display());
                        dir
                    }
                    None => Home::named(home)?.existing()?.connections_dir(),
                };
                check(&dir, out)
            }
        }
    }
}

fn list(connections: &Connections, out: &Out) {
    let rows: Vec<_> = connections.iter().map(|c| row(c)).collect();
    out.table(&["CONNECTION", "BASE URL", "SECRET", "OPERATIONS"], &rows);
    out.value(&value(connections));
}

fn check(dir: &std::path::Path, out: &Out) -> anyhow::Result<Done> {
    match Connections::load(dir) {
        Ok(connections) => {
            let operations: usize = connections.iter().map(|c| c.operations.len()).sum();
            let count = connections.iter().count();
            out.line(format!("{count} connections with {operations} operations: all well"));
            out.value(&json!({ "problems": [], "connections": value(&connections) }));
            Ok(Done::Well)
        }
        Err(problems) => {
            out.line(problems.to_string());
            let listed: Vec<_> = problems.0.iter().map(ToString::to_string).collect();
            out.value(&json!({ "problems": listed }));
            Ok(Done::Problems)
        }
    }
}

fn row(connection: &Upstream) -> Vec<String> {
    let operations: Vec<_> = connection.operations.iter().map(|o| o.name.to_string()).collect();
    vec![
        connection.name.to_string(),
        connection.base.to_string(),
        match connection.secret_of {
            SecretOf::Operator => connection.secret.to_string(),
            SecretOf::User => format!("{} (the user's own)", connection.secret),
        },
        operations.join(" "),
    ]
}

fn value(connections: &Connections) -> Vec<serde_json::Value> {
    connections
        .iter()
        .map(|c| {
            json!({
                "name": c.name, "base_url": c.base.to_string(), "secret": c.secret,
                "secret_of": c.secret_of.as_str(),
                "operations": c.operations.iter().map(|o| o.name.to_string()).collect::<Vec<_>>(),
            })
        })
        .collect()
}
