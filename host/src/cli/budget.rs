//! `keybearer budget`.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{bail, ensure};
use serde_json::{Value, json};

use super::Done;
use super::context::{Opened, runtime};
use super::out::Out;
use crate::audit::{Audit, HeldWord};
use crate::clock::Millis;
use crate::connection::{Connections, LiveConnections, Problems};
use crate::egress::{Egress, SystemResolver};
use crate::home::Home;
use crate::ids::{ReservationId, TenantId};
use crate::kill::Kills;
use crate::ledger::report::{Standing, standings};
use crate::ledger::{AMOUNT_MAX, Budgets, Resolved, money};
use crate::metrics::Metrics;
use crate::pipeline::{Reconciler, Report};
use crate::reach::Reach;
use crate::store::{EntryRow, LedgerStore};

/// The most held reservations that are shown: more than anyone looks up at once.
const HELD_SHOWN_MAX: u32 = 1_000;

/// Commands on budgets.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Budget {
    /// Show what was spent of each budget, what is under way, what is held, and what is left.
    List {
        /// Show the reservations that are held instead, the oldest 1000: nobody knows whether those were carried out.
        #[arg(long)]
        held: bool,
        /// Those of this tenant only.
        #[arg(long, value_name = "NAME")]
        tenant: Option<TenantId>,
    },
    /// Check budgets.toml: every problem with its file, line, key and what to do.
    Check {
        /// A file of budgets [default: the home's budgets.toml].
        file: Option<PathBuf>,
    },
    /// Say that a held request was carried out: its money counts as spent.
    Settle {
        /// The reservation's id (`call_….1`), from `budget list --held`.
        id: ReservationId,
        /// How much it really was, in minor units (cents) [default: what was reserved].
        #[arg(long, value_name = "MINOR_UNITS", value_parser = clap::value_parser!(u64).range(..=AMOUNT_MAX))]
        amount: Option<u64>,
        /// It really was more than was reserved. What was settled can't be taken back.
        #[arg(long, requires = "amount")]
        yes: bool,
    },
    /// Say that a held request wasn't carried out: its money is there again, and the same write may be made again.
    Release {
        /// The reservation's id (`call_….1`), from `budget list --held`.
        id: ReservationId,
    },
    /// Look up at the upstream what became of held requests, where their connection's file says how: settle what was carried
    /// out, and leave held what isn't clear. With a host or without one.
    Reconcile {
        /// The reservations' ids (`call_….1`) [default: the oldest 1000 that can be looked up].
        holds: Vec<ReservationId>,
    },
}

impl Budget {
    pub(super) fn run(self, home: Option<PathBuf>, out: &Out) -> anyhow::Result<Done> {
        match self {
            Self::Check { file } => check(&Home::named(home)?.existing()?, file, out),
            Self::List { held: false, tenant } => list(&Opened::open(home)?, tenant.as_ref(), out),
            Self::List { held: true, tenant } => list_held(&Opened::open(home)?, tenant.as_ref(), out),
            Self::Settle { id, amount, yes } => {
                let opened = Opened::open(home)?;
                if let Some(amount) = amount.filter(|_| !yes) {
                    check_amount(&opened, &id, amount)?;
                }
                resolve(&opened, &id, HeldWord::CarriedOut { amount }, out)
            }
            Self::Release { id } => resolve(&Opened::open(home)?, &id, HeldWord::NotCarriedOut, out),
            Self::Reconcile { holds } => reconcile(&Opened::open(home)?, holds, out),
        }
    }
}

fn check(home: &Home, file: Option<PathBuf>, out: &Out) -> anyhow::Result<Done> {
    let connections = match Connections::load(&home.connections_dir()) {
        Ok(connections) => connections,
        Err(problems) => return Ok(told(&problems, out)),
    };
    if let Some(file) = &file {
        ensure!(file.exists(), "{} isn't there", file.display());
    }
    match Budgets::load(&file.unwrap_or_else(|| home.budgets_file()), &connections) {
        Ok(budgets) => {
            out.line(well(&budgets));
            out.value(&json!({ "problems": [], "budgets": budgets.rules().len() }));
            Ok(Done::Well)
        }
        Err(problems) => Ok(told(&problems, out)),
    }
}

/// That a file is sound, and what becomes of one that says nothing.
fn well(budgets: &Budgets) -> String {
    if budgets.says_nothing() {
        "there is no budget: a host starts without any, and one that has budgets keeps them until it stops; to have none from \
         now on, write budget = []"
            .to_owned()
    } else {
        format!("{} budgets: all well", budgets.rules().len())
    }
}

fn told(problems: &Problems, out: &Out) -> Done {
    out.line(problems.to_string());
    let listed: Vec<_> = problems.0.iter().map(ToString::to_string).collect();
    out.value(&json!({ "problems": listed }));
    Done::Problems
}

fn list(opened: &Opened, tenant: Option<&TenantId>, out: &Out) -> anyhow::Result<Done> {
    let connections = Connections::load(&opened.home.connections_dir())?;
    let budgets = Budgets::load(&opened.home.budgets_file(), &connections)?;
    let reach = tenant.cloned().map(Reach::every);
    let rows = opened.audit_store()?.current_counters(opened.clock.now(), reach.as_ref(), u32::MAX)?;
    let all = standings(&rows, &budgets, |id| opened.control.token_by_id(id))?;
    let heads = ["REALM", "SUBJECT", "OF", "A", "SPENT", "UNDER WAY", "HELD", "LIMIT", "LEFT"];
    out.table(&heads, &all.iter().map(row).collect::<Vec<_>>());
    out.value(&all.iter().map(value).collect::<Vec<_>>());
    Ok(Done::Well)
}

fn row(standing: &Standing) -> Vec<String> {
    let amount = |amount| standing.amount(amount);
    vec![
        standing.counted.realm.to_string(),
        // A customer is called whatever the request calls it.
        standing.counted.subject.escape_debug().to_string(),
        standing.covers(),
        standing.window(),
        amount(standing.tally.settled),
        amount(standing.tally.reserved),
        amount(standing.tally.held),
        standing.limit.map_or_else(|| "none".to_owned(), amount),
        standing.left().map_or_else(|| "-".to_owned(), amount),
    ]
}

fn value(standing: &Standing) -> Value {
    let counted = &standing.counted;
    json!({
        "realm": counted.realm, "subject": counted.subject, "unit": counted.unit, "window": counted.window,
        "time_zone": counted.time_zone, "connection": counted.connection, "operation": counted.operation,
        "effect": counted.effect, "ends": standing.ends.map(|ends| ends.to_string()),
        "spent": standing.tally.settled, "under_way": standing.tally.reserved, "held": standing.tally.held,
        "limit": standing.limit, "left": standing.left(),
    })
}

fn list_held(opened: &Opened, tenant: Option<&TenantId>, out: &Out) -> anyhow::Result<Done> {
    let reach = tenant.cloned().map(Reach::every);
    let mut held = opened.audit_store()?.held(reach.as_ref(), HELD_SHOWN_MAX + 1)?;
    let more = held.len() > HELD_SHOWN_MAX as usize;
    held.truncate(HELD_SHOWN_MAX as usize);
    let rows: Vec<_> = held
        .iter()
        .map(|entry| {
            let operation = entry.connection.as_ref().zip(entry.operation.as_ref());
            let operation = operation.map_or_else(|| "-".to_owned(), |(c, o)| format!("{c}:{o}"));
            vec![entry.id.to_string(), entry.at.to_string(), entry.realm.to_string(), operation, cost(entry)]
        })
        .collect();
    out.table(&["ID", "SINCE", "REALM", "OPERATION", "AMOUNT"], &rows);
    let values: Vec<_> = held
        .iter()
        .map(|entry| {
            json!({
                "id": entry.id, "since": entry.at.to_string(), "realm": entry.realm,
                "connection": entry.connection, "operation": entry.operation, "cost": entry.cost,
            })
        })
        .collect();
    out.value(&values);
    if more {
        out.note(format!("these are the oldest {HELD_SHOWN_MAX}; there are more"));
    }
    if !held.is_empty() {
        out.note(
            "look each up at the upstream, then: keybearer budget settle ID, or keybearer budget release ID; where the \
             connection's file says how, keybearer budget reconcile does",
        );
    }
    Ok(Done::Well)
}

/// An amount over what was reserved is more often a slip than not, and stays counted for good.
fn check_amount(opened: &Opened, id: &ReservationId, amount: u64) -> anyhow::Result<()> {
    let known = opened.audit_store()?.reservation(id)?;
    let Some(cost) = known.and_then(|(entry, _)| entry.cost) else { return Ok(()) };
    let reserved = u64::try_from(cost.amount_minor).unwrap_or_default();
    ensure!(
        amount <= reserved,
        "{} is more than the {} that were reserved for {id}; if it really was, add --yes",
        money::shown(amount, &cost.currency),
        money::shown(reserved, &cost.currency)
    );
    Ok(())
}

fn resolve(opened: &Opened, id: &ReservationId, word: HeldWord, out: &Out) -> anyhow::Result<Done> {
    let audit = Audit::start(opened.audit_store()?, opened.clock.clone())?;
    let resolved = audit.resolve_held(None, id, word, "cli")?;
    audit.shutdown();
    let entry = match resolved {
        Resolved::Done(entry) => entry,
        Resolved::UnderWay => bail!(
            "the request of {id} is under way. If its host was killed, start it again: it holds what it had left"
        ),
        Resolved::Unknown => {
            bail!("nothing is held under {id}; `keybearer budget list --held` shows what is")
        }
    };
    let became = if matches!(word, HeldWord::NotCarriedOut) { "released" } else { "settled" };
    let shown = word.shown(&entry);
    out.line(format!("{became} {id}: {shown}"));
    out.value(&json!({ became: id, "amount": word.amount(&entry), "currency": entry.cost.map(|cost| cost.currency) }));
    Ok(Done::Well)
}

fn reconcile(opened: &Opened, mut holds: Vec<ReservationId>, out: &Out) -> anyhow::Result<Done> {
    let connections = LiveConnections::open(&opened.home.connections_dir())
        .map_err(|problems| anyhow::anyhow!("the connections can't be used\n{problems}"))?;
    let (ledger, control, clock) = (opened.audit_store()?, opened.control.clone(), opened.clock.clone());
    let audit = Audit::start(ledger.clone(), clock.clone())?;
    let reconciler = Reconciler {
        audit: audit.clone(),
        ledger,
        connections: Arc::new(connections),
        egress: Arc::new(Egress::live(Arc::new(opened.vault()?), Arc::new(SystemResolver::default()))),
        kills: Arc::new(Kills::new(control, clock.clone())),
        clock,
        metrics: Arc::new(Metrics::new()),
    };
    if holds.is_empty() {
        let held = reconciler.candidates(Millis(i64::MIN), Millis(i64::MAX))?;
        if held.is_empty() {
            out.note("nothing is held that its connection says how to look up");
        }
        if held.len() > HELD_SHOWN_MAX as usize {
            out.note(format!("these are the oldest {HELD_SHOWN_MAX}; there are more"));
        }
        holds.extend(held.into_iter().take(HELD_SHOWN_MAX as usize).map(|entry| entry.id));
    }
    let (runtime, mut values, mut missed) = (runtime()?, Vec::new(), Vec::new());
    for hold in holds {
        match runtime.block_on(reconciler.reconcile(None, &hold, "cli")) {
            Ok(report) => {
                out.line(told_of(&report));
                values.push(report);
            }
            Err(error) => missed.push(format!("{hold}: {error}")),
        }
    }
    drop(reconciler);
    audit.shutdown();
    out.value(&values);
    ensure!(missed.is_empty(), "{}; `keybearer budget list --held` shows what is held", missed.join("\n"));
    Ok(Done::Well)
}

/// `settled call_….1: 9.00 USD`, or `held call_….1: …`.
fn told_of(report: &Report) -> String {
    let Report { hold, became, amount, currency, why, .. } = report;
    let shown = match (why, amount, currency) {
        (Some(why), ..) => why.clone(),
        (None, Some(amount), Some(currency)) => money::shown(*amount, currency),
        _ => "no money".to_owned(),
    };
    format!("{} {hold}: {shown}", became.as_str())
}

fn cost(entry: &EntryRow) -> String {
    match &entry.cost {
        Some(cost) => money::shown(u64::try_from(cost.amount_minor).unwrap_or_default(), &cost.currency),
        None => "no money".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_says_nothing_is_told_from_one_that_says_none() {
        let told = |text: &str| well(&Budgets::parse(text, "budgets.toml", &Connections::default()).unwrap());
        for nothing in ["", "# [[budget]]\n# subject = \"tenant\"\n"] {
            let told = told(nothing);
            assert!(told.contains("keeps them until it stops") && told.contains("budget = []"), "{told}");
        }
        assert_eq!(told("budget = []"), "0 budgets: all well");
        let one = "[[budget]]\nsubject = \"tenant\"\nunit = \"requests\"\nwindow = \"day\"\nlimit = 1\n";
        assert_eq!(told(one), "1 budgets: all well");
    }
}
