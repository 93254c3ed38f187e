//! `keybearer tool add`: shows what a component asks for; the answer is the operator's consent.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, bail};

use super::inspect::{show, value};
use crate::app::open_catalog;
use crate::catalog::{CatalogError, Inspection};
use crate::cli::Done;
use crate::cli::context::{Opened, say};
use crate::cli::out::Out;
use crate::ids::Digest;
use crate::runtime::{Runtime, RuntimeConfig};
use crate::store::ComponentKind;

/// Flags of `tool add`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Add {
    /// The component.
    file: PathBuf,
    /// The name to keep it under [default: the file's name without `.wasm`].
    #[arg(long)]
    name: Option<String>,
    /// Consent without being asked.
    #[arg(long, short)]
    yes: bool,
    /// Refuse any other digest than this one.
    #[arg(long, value_name = "SHA256")]
    digest: Option<Digest>,
}

impl Add {
    pub(super) fn run(self, home: Option<PathBuf>, out: &Out) -> anyhow::Result<Done> {
        let opened = Opened::open(home)?;
        let name = match &self.name {
            Some(name) => name.clone(),
            None => stem(&self.file)?,
        };
        // Read once: what is shown is what is added. The catalog keeps the compiled code for the second look.
        let bytes = std::fs::read(&self.file).with_context(|| self.file.display().to_string())?;
        let runtime = Arc::new(Runtime::new(&RuntimeConfig::for_commands())?);
        let catalog = open_catalog(&opened.home, opened.control.clone(), runtime, &mut say(out))?;
        let inspection =
            catalog.inspect(&bytes).with_context(|| format!("{} can't be used", self.file.display()))?;
        if inspection.kind == ComponentKind::Sandbox {
            bail!("{}: {}", self.file.display(), CatalogError::IsASandbox);
        }
        if let Some(pinned) = self.digest.filter(|pinned| *pinned != inspection.digest) {
            bail!(
                "{} has the digest {}, not {pinned}; nothing was added",
                self.file.display(),
                inspection.digest
            );
        }
        let earlier = opened.control.components()?.into_iter().find(|row| row.active && row.name == name);
        if earlier.as_ref().is_some_and(|row| row.digest == inspection.digest && row.kind == inspection.kind)
        {
            out.line(format!("{name} is in use with this digest already; nothing was changed"));
            out.value(&value(&inspection));
            return Ok(Done::Well);
        }
        show(out, &inspection);
        if let Some(row) = &earlier {
            out.line(format!("\nreplaces {name} {} (added {})", row.digest.short(), row.added_at));
        }
        if !self.yes && !out.confirm(&question(&name, &inspection)) {
            bail!("not added: consent at the terminal, or with --yes");
        }
        catalog.add(&name, &bytes, &inspection.connections, opened.clock.now())?;
        opened.record(None, "tool.add", &format!("{name} {}", inspection.digest))?;
        out.line(format!("\nadded {name}; a running host takes it up within a second"));
        out.value(&value(&inspection));
        Ok(Done::Well)
    }
}

fn question(name: &str, inspection: &Inspection) -> String {
    let connections: Vec<_> = inspection.connections.iter().map(ToString::to_string).collect();
    if connections.is_empty() {
        format!("\nAdd {name}? It uses no connection.")
    } else {
        format!("\nAdd {name} and let it use {}?", connections.join(", "))
    }
}

pub(in crate::cli) fn stem(file: &std::path::Path) -> anyhow::Result<String> {
    let stem = file.file_stem().and_then(|stem| stem.to_str());
    stem.map(str::to_owned).context("the file has no name to keep it under; give --name")
}
