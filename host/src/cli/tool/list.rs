//! `keybearer tool list` and `tool remove`.

use std::path::PathBuf;

use anyhow::bail;
use serde_json::{Value, json};

use crate::cli::Done;
use crate::cli::context::Opened;
use crate::cli::out::Out;

/// Lists the components in use and their tools.
pub(super) fn list(home: Option<PathBuf>, out: &Out) -> anyhow::Result<Done> {
    let opened = Opened::open(home)?;
    let components: Vec<_> = opened.control.components()?.into_iter().filter(|row| row.active).collect();
    let mut rows = Vec::new();
    let mut values = Vec::new();
    for component in &components {
        let connections: Vec<_> = component.connections.iter().map(ToString::to_string).collect();
        let tools = tool_names(&component.described);
        rows.push(vec![
            component.name.clone(),
            component.kind.as_str().to_owned(),
            component.digest.short(),
            tools.join(" "),
            connections.join(" "),
            component.added_at.to_string(),
        ]);
        values.push(json!({
            "name": component.name, "kind": component.kind, "digest": component.digest, "tools": tools,
            "connections": connections, "added": component.added_at.to_string(),
        }));
    }
    out.table(&["COMPONENT", "KIND", "DIGEST", "TOOLS", "CONNECTIONS", "ADDED"], &rows);
    out.value(&values);
    Ok(Done::Well)
}

/// Flags of `tool remove`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Remove {
    /// The component's name, as `tool list` shows it.
    name: String,
}

impl Remove {
    pub(super) fn run(self, home: Option<PathBuf>, out: &Out) -> anyhow::Result<Done> {
        let opened = Opened::open(home)?;
        if !opened.control.deactivate_component(&self.name)? {
            bail!("there is no component {:?} in use; `keybearer tool list` shows them", self.name);
        }
        opened.record(None, "tool.remove", &self.name)?;
        out.line(format!("removed {}; a running host drops it within a second", self.name));
        out.value(&json!({ "removed": self.name }));
        Ok(Done::Well)
    }
}

/// The tools' names in a pinned description.
fn tool_names(described: &str) -> Vec<String> {
    let tools: Vec<Value> = serde_json::from_str(described).unwrap_or_default();
    tools.iter().filter_map(|tool| tool.get("name").and_then(Value::as_str)).map(str::to_owned).collect()
}
