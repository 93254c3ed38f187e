//! `keybearer tool add`: shows what a component asks for; the answer is the operator's consent.

use std::path::PathBuf;

use super::inspect::{show, value};
use crate::catalog::Inspection;
use crate::cli::Done;
use crate::cli::context::Opened;
use crate::cli::offer::{Offer, Offered, offered};
use crate::cli::out::Out;
use crate::store::ComponentKind;

/// Flags of `tool add`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Add {
    #[command(flatten)]
    offer: Offer,
}

impl Add {
    pub(super) fn run(self, home: Option<PathBuf>, out: &Out) -> anyhow::Result<Done> {
        let opened = Opened::open(home)?;
        let catalog = opened.catalog(out)?;
        let Offered { name, bytes, inspection, earlier } =
            self.offer.read(&opened, &catalog, ComponentKind::Tool)?;
        if earlier.as_ref().is_some_and(|row| row.digest == inspection.digest && row.kind == inspection.kind)
        {
            out.line(format!("{name} is in use with this digest already; nothing was changed"));
            out.value(&value(&inspection));
            return Ok(Done::Well);
        }
        show(out, &inspection, &inspection.connections);
        if let Some(row) = &earlier {
            out.line(format!("\nreplaces {name} {} (added {})", row.digest.short(), row.added_at));
        }
        self.offer.consent(out, &question(&name, &inspection))?;
        let connections = &inspection.connections;
        catalog.add_shown(&name, &bytes, &inspection, connections, opened.clock.now())?;
        opened.record(None, "tool.add", &format!("{name} {}", inspection.digest))?;
        offered(&catalog, &name)?;
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
