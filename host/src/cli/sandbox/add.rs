//! `keybearer sandbox add`: says what it means that agents run code; the answer is the operator's consent.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use crate::catalog::{Catalog, SANDBOX_TOOL};
use crate::cli::Done;
use crate::cli::context::Opened;
use crate::cli::offer::{Offer, Offered, offered, stem};
use crate::cli::out::Out;
use crate::cli::tool::inspect::{show, value};
use crate::clock::Millis;
use crate::connection::Connections;
use crate::home::Home;
use crate::ids::ConnectionName;
use crate::store::ComponentKind;

/// Flags of `sandbox add`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Add {
    #[command(flatten)]
    offer: Offer,
    /// A connection that agent-written code may use. May be given several times [default: none].
    #[arg(long = "connection", value_name = "NAME")]
    connections: Vec<ConnectionName>,
}

impl Add {
    pub(super) fn run(self, home: Option<PathBuf>, out: &Out) -> anyhow::Result<Done> {
        let opened = Opened::open(home)?;
        let connections = known(&opened.home, &self.connections)?;
        let catalog = opened.catalog(out)?;
        let Offered { name, bytes, inspection, earlier } =
            self.offer.read(&opened, &catalog, ComponentKind::Sandbox)?;
        let mut told = value(&inspection);
        if let Value::Object(told) = &mut told {
            told.insert("connections".to_owned(), json!(connections));
        }
        if earlier.as_ref().is_some_and(|row| {
            row.kind == ComponentKind::Sandbox
                && row.digest == inspection.digest
                && row.connections == connections
        }) {
            out.line(format!("{name} is in use like this already; nothing was changed"));
            out.value(&told);
            return Ok(Done::Well);
        }
        show(out, &inspection, &connections);
        if let Some(row) = &earlier {
            let uses = list_of(&row.connections).unwrap_or_else(|| "no connection".to_owned());
            out.line(format!(
                "\nreplaces {name} {} (added {}), where code may use {uses}",
                row.digest.short(),
                row.added_at
            ));
        }
        out.line(format!("\n{}", meaning(&connections)));
        self.offer.consent(out, &format!("\nAdd {name}?"))?;
        catalog.add_shown(&name, &bytes, &inspection, &connections, opened.clock.now())?;
        let subject = format!(
            "{name} {} {}",
            inspection.digest,
            list_of(&connections).unwrap_or_else(|| "no connection".to_owned())
        );
        opened.record(None, "sandbox.add", &subject)?;
        offered(&catalog, &name)?;
        out.line(format!("\nadded {name}; a running host takes it up within a second"));
        out.line(format!(
            "nobody may run code there before a policy permits Action::\"run_code\" and a token names {SANDBOX_TOOL}"
        ));
        out.value(&told);
        Ok(Done::Well)
    }
}

/// Adds a sandbox that the caller of this command consents to by naming it.
pub(in crate::cli) fn add_consented(
    catalog: &Catalog,
    home: &Home,
    file: &Path,
    connections: &[ConnectionName],
    now: Millis,
) -> anyhow::Result<()> {
    let bytes = std::fs::read(file).with_context(|| file.display().to_string())?;
    let connections = known(home, connections)?;
    catalog
        .add_sandbox(&stem(file)?, &bytes, &connections, now)
        .with_context(|| format!("{} can't be used", file.display()))?;
    Ok(())
}

/// The connections, each once, by name. One that isn't set up is most likely a slip, and would be an opening as soon as
/// someone gives that name to another.
fn known(home: &Home, wanted: &[ConnectionName]) -> anyhow::Result<Vec<ConnectionName>> {
    let set_up =
        Connections::load(&home.connections_dir()).map_err(|problems| anyhow::anyhow!("{problems}"))?;
    for name in wanted {
        if set_up.named(name.as_str()).is_none() {
            let names: Vec<_> = set_up.iter().map(|connection| connection.name.clone()).collect();
            let names = list_of(&names).unwrap_or_else(|| "none".to_owned());
            bail!("there is no connection {name} in this home; set up: {names}");
        }
    }
    let mut connections = wanted.to_vec();
    connections.sort();
    connections.dedup();
    Ok(connections)
}

/// What the operator agrees to.
fn meaning(connections: &[ConnectionName]) -> String {
    let reach = match list_of(connections) {
        None => "That code may use no connection: it computes, and reaches nothing.".to_owned(),
        Some(names) => format!(
            "That code may send requests over {names}: whatever the operations there, the caller's token, the policies and \
             the budgets allow, in any order and number, as no person has read. It never sees a key."
        ),
    };
    format!("Agents whose token and policies say so will run Python of their own in it. {reach}")
}

fn list_of(connections: &[ConnectionName]) -> Option<String> {
    let names: Vec<_> = connections.iter().map(ConnectionName::as_str).collect();
    (!names.is_empty()).then(|| names.join(", "))
}
