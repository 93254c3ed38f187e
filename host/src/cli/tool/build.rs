//! `keybearer tool build`.

use std::path::PathBuf;

use serde_json::json;

use crate::build::{BuildOptions, build_tool};
use crate::cli::Done;
use crate::cli::context::say;
use crate::cli::out::Out;

/// Flags of `tool build`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Build {
    /// The crate's folder.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// The folder that the component goes to, as NAME.wasm [default: `keybearer` in the target folder].
    #[arg(long, value_name = "DIR")]
    out_dir: Option<PathBuf>,
    /// Refuse to change Cargo.lock.
    #[arg(long)]
    locked: bool,
}

impl Build {
    pub(super) fn run(self, out: &Out) -> anyhow::Result<Done> {
        let options = BuildOptions { manifest_dir: self.dir, out_dir: self.out_dir, locked: self.locked };
        let built = build_tool(&options, &mut say(out))?;
        out.line(format!("{}  {} bytes  {}", built.path.display(), built.size, built.digest));
        out.value(&json!({ "path": built.path, "bytes": built.size, "digest": built.digest }));
        Ok(Done::Well)
    }
}
