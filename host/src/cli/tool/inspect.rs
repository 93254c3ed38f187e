//! `keybearer tool inspect`, and the showing of a component that `tool add` asks consent for.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use serde_json::json;

use crate::catalog::{CodeCache, Inspection, Loader};
use crate::cli::Done;
use crate::cli::out::Out;
use crate::ids::ConnectionName;
use crate::runtime::{Runtime, RuntimeConfig};
use crate::store::ComponentKind;

/// Flags of `tool inspect`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Inspect {
    /// The component.
    file: PathBuf,
}

impl Inspect {
    pub(super) fn run(self, out: &Out) -> anyhow::Result<Done> {
        let inspection = inspect(&self.file, CodeCache::off())?;
        show(out, &inspection, &inspection.connections);
        out.value(&value(&inspection));
        Ok(Done::Well)
    }
}

/// Reads, compiles and describes a component.
///
/// # Errors
/// Whatever would keep it from being added, with the file's name.
pub(super) fn inspect(file: &Path, cache: CodeCache) -> anyhow::Result<Inspection> {
    let bytes = std::fs::read(file).with_context(|| file.display().to_string())?;
    let runtime = Arc::new(Runtime::new(&RuntimeConfig::for_commands())?);
    Loader::new(runtime, cache).inspect(&bytes).with_context(|| format!("{} can't be used", file.display()))
}

/// For people, with the connections that it's to use.
pub(in crate::cli) fn show(out: &Out, inspection: &Inspection, connections: &[ConnectionName]) {
    if inspection.kind == ComponentKind::Sandbox {
        out.line("kind         sandbox: it runs code that agents write (`keybearer sandbox add`)");
    }
    out.line(format!("digest       {}", inspection.digest));
    out.line(format!("size         {} bytes", inspection.bytes));
    let or_none = |list: Vec<String>| if list.is_empty() { "none".to_owned() } else { list.join(", ") };
    out.line(format!("imports      {}", or_none(inspection.imports.clone())));
    let connections = connections.iter().map(ToString::to_string).collect();
    out.line(format!("connections  {}", or_none(connections)));
    for tool in &inspection.tools {
        out.line(format!("\n{}\n  {}", tool.name, tool.description));
        out.line(format!("  arguments  {}", tool.input.as_str()));
        out.line(format!("  result     {}", tool.output.as_str()));
    }
}

/// For machines.
pub(in crate::cli) fn value(inspection: &Inspection) -> serde_json::Value {
    let tools: Vec<_> = inspection
        .tools
        .iter()
        .map(|tool| {
            json!({
                "name": tool.name, "description": tool.description, "connections": tool.connections,
                "input_schema": tool.input.value(), "output_schema": tool.output.value(),
            })
        })
        .collect();
    json!({
        "kind": inspection.kind, "digest": inspection.digest, "bytes": inspection.bytes, "imports": inspection.imports,
        "connections": inspection.connections, "tools": tools,
    })
}
