//! `keybearer sandbox list` and `sandbox remove`.

use std::path::PathBuf;

use anyhow::bail;
use serde_json::json;

use crate::cli::Done;
use crate::cli::context::Opened;
use crate::cli::out::Out;
use crate::store::{ComponentKind, ComponentRow};

/// Lists the sandboxes in use and what code may use in them.
pub(super) fn list(home: Option<PathBuf>, out: &Out) -> anyhow::Result<Done> {
    let opened = Opened::open(home)?;
    let mut rows = Vec::new();
    let mut values = Vec::new();
    for sandbox in opened.control.components()?.into_iter().filter(is_in_use) {
        let connections: Vec<_> = sandbox.connections.iter().map(ToString::to_string).collect();
        let shown = if connections.is_empty() { "none".to_owned() } else { connections.join(" ") };
        let added = sandbox.added_at.to_string();
        rows.push(vec![sandbox.name.clone(), sandbox.digest.short(), shown, added.clone()]);
        values.push(json!({
            "name": sandbox.name, "digest": sandbox.digest, "connections": connections, "added": added,
        }));
    }
    out.table(&["SANDBOX", "DIGEST", "CODE MAY USE", "ADDED"], &rows);
    out.value(&values);
    Ok(Done::Well)
}

/// Flags of `sandbox remove`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Remove {
    /// The sandbox's name, as `sandbox list` shows it.
    name: String,
}

impl Remove {
    pub(super) fn run(self, home: Option<PathBuf>, out: &Out) -> anyhow::Result<Done> {
        let opened = Opened::open(home)?;
        let there = opened.control.components()?.iter().any(|row| is_in_use(row) && row.name == self.name);
        if !there || !opened.control.deactivate_component(&self.name)? {
            bail!("there is no sandbox {:?} in use; `keybearer sandbox list` shows them", self.name);
        }
        opened.record(None, "sandbox.remove", &self.name)?;
        out.line(format!("removed {}; a running host drops it within a second", self.name));
        out.value(&json!({ "removed": self.name }));
        Ok(Done::Well)
    }
}

fn is_in_use(row: &ComponentRow) -> bool {
    row.active && row.kind == ComponentKind::Sandbox
}
