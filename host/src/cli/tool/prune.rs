//! `keybearer tool prune`.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::catalog::Unused;
use crate::cli::Done;
use crate::cli::context::Opened;
use crate::cli::out::Out;
use crate::runtime::{Runtime, RuntimeConfig};

/// Flags of `tool prune`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Prune {
    /// Say what would be removed, and remove nothing.
    #[arg(long)]
    dry_run: bool,
}

impl Prune {
    pub(super) fn run(self, home: Option<PathBuf>, out: &Out) -> anyhow::Result<Done> {
        let opened = Opened::open(home)?;
        let engine = Runtime::new(&RuntimeConfig::for_commands())?.engine_key();
        let (tools, cache) = (opened.home.tools_dir(), opened.home.code_cache());
        let mut unused = Unused::find(&tools, &cache, &engine, opened.control.as_ref())?;
        let mut failed = Ok(());
        if !self.dry_run {
            unused.retain(|file| {
                file.remove().unwrap_or_else(|error| {
                    failed = Err(error);
                    false
                })
            });
        }
        let bytes: u64 = unused.iter().map(|file| file.bytes).sum();
        if !self.dry_run && !unused.is_empty() {
            opened.record(None, "tool.prune", &format!("{} files, {bytes} bytes", unused.len()))?;
        }
        let rows: Vec<_> =
            unused.iter().map(|file| vec![file.path.display().to_string(), file.bytes.to_string()]).collect();
        out.table(&["FILE", "BYTES"], &rows);
        let done = if self.dry_run { "to be removed" } else { "removed" };
        out.line(format!("{done}: {} files, {bytes} bytes", unused.len()));
        let files: Vec<Value> =
            unused.iter().map(|file| json!({ "path": file.path, "bytes": file.bytes })).collect();
        out.value(&json!({ "dry_run": self.dry_run, "files": files, "bytes": bytes }));
        failed?;
        Ok(Done::Well)
    }
}
