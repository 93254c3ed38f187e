//! `keybearer sandbox build`.

use std::path::PathBuf;

use anyhow::Context as _;
use serde_json::json;

use crate::build::{SandboxBuildOptions, build_sandbox};
use crate::cli::Done;
use crate::cli::context::{cache_dir, say};
use crate::cli::out::Out;

/// Flags of `sandbox build`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Build {
    /// A package of pure Python to put in; may be repeated.
    #[arg(long, value_name = "PACKAGE==VERSION")]
    with: Vec<String>,
    /// A requirements file, as pip reads it, with more packages.
    #[arg(long, value_name = "FILE")]
    requirements: Option<PathBuf>,
    /// The component's file.
    #[arg(short, long, value_name = "FILE", default_value = "python.wasm")]
    output: PathBuf,
}

impl Build {
    pub(super) fn run(self, out: &Out) -> anyhow::Result<Done> {
        let cache = cache_dir().context("there's no folder for caches: set HOME or XDG_CACHE_HOME")?;
        let options = SandboxBuildOptions {
            with: self.with,
            requirements: self.requirements,
            output: self.output,
            cache: cache.join("sandbox"),
        };
        let built = build_sandbox(&options, &mut say(out))?;
        out.line(format!("{}  {} bytes  {}", built.path.display(), built.size, built.digest));
        out.value(&json!({ "path": built.path, "bytes": built.size, "digest": built.digest }));
        Ok(Done::Well)
    }
}
