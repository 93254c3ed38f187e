//! `keybearer kill`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use serde_json::{Value, json};

use super::Done;
use super::context::Opened;
use super::out::Out;
use crate::ids::{Environment, KillId, Realm, TenantId};
use crate::kill::{Kills, Order, POLL_MS, Reason, Scope};
use crate::store::KillRow;

/// How long the command waits after a switch is thrown: a host sees it within half of that, whatever it's sending.
const SEEN: Duration = Duration::from_millis(2 * POLL_MS);

/// Flags of `kill`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct Kill {
    #[command(subcommand)]
    command: Option<Command>,
    /// What to stop: call:ID, conversation:ID, agent:NAME, role:NAME, tool:NAME, connection:NAME, token:ID, tenant, or
    /// everything. One switch is thrown for each.
    #[arg(required = true, value_name = "SCOPE")]
    targets: Vec<Scope>,
    /// Why: one line. It's on record; agents aren't told it.
    #[arg(long, required = true, value_name = "TEXT")]
    reason: Option<Reason>,
    #[command(flatten)]
    whose: Whose,
    /// In this environment only. The default is all of them, whatever KEYBEARER_ENVIRONMENT says.
    #[arg(long, value_name = "NAME")]
    environment: Option<Environment>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the switches in force.
    List {
        #[command(flatten)]
        whose: Whose,
    },
    /// Lift switches.
    Lift {
        /// Their ids (`kill_…`).
        #[arg(required = true, value_name = "ID")]
        ids: Vec<KillId>,
    },
}

/// Whose calls a command is about.
#[derive(Debug, clap::Args)]
struct Whose {
    /// The tenant.
    #[arg(long, env = "KEYBEARER_TENANT", default_value = "default", value_name = "NAME")]
    tenant: TenantId,
    /// Every tenant.
    #[arg(long)]
    all_tenants: bool,
}

impl Whose {
    fn tenant(&self) -> Option<TenantId> {
        (!self.all_tenants).then(|| self.tenant.clone())
    }
}

impl Kill {
    pub(super) fn run(self, home: Option<PathBuf>, out: &Out) -> anyhow::Result<Done> {
        let opened = Opened::open(home)?;
        let kills = Kills::new(opened.control.clone(), opened.clock.clone());
        match self.command {
            None => {
                let Some(reason) = self.reason else { bail!("say why, with --reason TEXT") };
                throw(&opened, &kills, out, &self.targets, &self.whose, self.environment, &reason)
            }
            Some(Command::List { whose }) => list(&kills, out, &whose),
            Some(Command::Lift { ids }) => lift(&opened, &kills, out, &ids),
        }
    }
}

fn throw(
    opened: &Opened,
    kills: &Kills,
    out: &Out,
    scopes: &[Scope],
    whose: &Whose,
    environment: Option<Environment>,
    reason: &Reason,
) -> anyhow::Result<Done> {
    let (mut thrown, mut failed) = (Vec::new(), None);
    // All of them first: what is to be stopped doesn't wait for what is to be written.
    for scope in scopes {
        let tenant = if *scope == Scope::Everything { None } else { whose.tenant() };
        let order = Order {
            scope: scope.clone(),
            tenant,
            environment: environment.clone(),
            reason: reason.clone(),
            by: "cli".to_owned(),
        };
        match kills.throw(order) {
            Ok(row) => {
                out.line(format!("{}  {} stopped{}", row.id, row.scope, of(&row)));
                thrown.push(row);
            }
            Err(error) => failed = Some(anyhow::Error::new(error).context(format!("{scope} goes on"))),
        }
    }
    // Each of them, whatever becomes of the others.
    let recorded = thrown.iter().map(|row| record(opened, "kill.throw", row));
    let recorded = recorded.fold(Ok(()), Result::and);
    if !thrown.is_empty() {
        std::thread::sleep(SEEN);
    }
    recorded?;
    out.value(&json!({ "kills": thrown.iter().map(value).collect::<Vec<_>>() }));
    failed.map_or(Ok(Done::Well), Err)
}

fn list(kills: &Kills, out: &Out, whose: &Whose) -> anyhow::Result<Done> {
    let mut rows = kills.list(None)?;
    // What stops every tenant stops this one.
    rows.retain(|row| whose.all_tenants || row.tenant.as_ref().is_none_or(|tenant| *tenant == whose.tenant));
    let cells: Vec<_> = rows
        .iter()
        .map(|row| {
            let any = |name: Option<&str>| name.unwrap_or("all").to_owned();
            vec![
                row.id.to_string(),
                row.scope.to_string(),
                any(row.tenant.as_ref().map(TenantId::as_str)),
                any(row.environment.as_ref().map(Environment::as_str)),
                row.at.to_string(),
                row.by.clone(),
                row.reason.to_string(),
            ]
        })
        .collect();
    out.table(&["ID", "SCOPE", "TENANT", "ENVIRONMENT", "SINCE", "BY", "REASON"], &cells);
    out.value(&rows.iter().map(value).collect::<Vec<_>>());
    Ok(Done::Well)
}

fn lift(opened: &Opened, kills: &Kills, out: &Out, ids: &[KillId]) -> anyhow::Result<Done> {
    for id in ids {
        let Some(row) = kills.find(id, None)? else {
            bail!("there is no kill switch {id} in force; `keybearer kill list --all-tenants` shows all");
        };
        // The record comes first: nothing goes on again that the trail doesn't know of.
        record(opened, "kill.lift", &row)?;
        kills.lift(id, None)?;
        out.line(format!("{}  {} goes on{}", row.id, row.scope, of(&row)));
    }
    out.value(&json!({ "lifted": ids }));
    Ok(Done::Well)
}

fn record(opened: &Opened, action: &str, row: &KillRow) -> anyhow::Result<()> {
    let realm = match &row.tenant {
        None => None,
        Some(tenant) => Some(Realm {
            tenant: tenant.clone(),
            // A row of the trail is of one environment; what the switch is narrowed to stands in its subject.
            environment: row.environment.clone().map_or_else(|| "production".parse(), Ok)?,
        }),
    };
    opened.record_for(realm, action, &row.subject(), Some(row.reason.as_str()))
}

fn of(row: &KillRow) -> String {
    let tenant =
        row.tenant.as_ref().map_or_else(|| " for every tenant".to_owned(), |tenant| format!(" for {tenant}"));
    match &row.environment {
        None => tenant,
        Some(environment) => format!("{tenant} in {environment}"),
    }
}

fn value(row: &KillRow) -> Value {
    json!({
        "id": row.id, "scope": row.scope, "tenant": row.tenant, "environment": row.environment,
        "reason": row.reason, "by": row.by, "at": row.at.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;
    use crate::cli::init;
    use crate::home::Home;
    use crate::store::{AuditStore as _, RowFilter};

    #[test]
    fn what_keeps_one_switch_from_the_trail_keeps_no_other_from_it() {
        let dir = tempfile::tempdir().unwrap();
        let realm = Realm { tenant: "default".parse().unwrap(), environment: "production".parse().unwrap() };
        let (opened, _) = init::make(Home::named(Some(dir.path().to_owned())).unwrap(), realm).unwrap();
        let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON audit WHEN new.event LIKE '%agent:first%' \
                      BEGIN SELECT raise(ABORT, 'refused'); END";
        Connection::open(opened.home.audit_db()).unwrap().execute_batch(refuse).unwrap();

        let kills = Kills::new(opened.control.clone(), opened.clock.clone());
        let scopes: [Scope; 2] = ["agent:first", "agent:second"].map(|scope| scope.parse().unwrap());
        let whose = Whose { tenant: "default".parse().unwrap(), all_tenants: false };
        let reason = "a test".parse().unwrap();
        let error = throw(&opened, &kills, &Out::new(false), &scopes, &whose, None, &reason).unwrap_err();
        assert!(error.to_string().contains("agent:first was done but could not be recorded"), "{error:#}");
        assert_eq!(kills.list(None).unwrap().len(), 2, "both stop");
        let rows =
            opened.audit_store().unwrap().rows(&RowFilter { limit: 9, ..RowFilter::default() }).unwrap();
        let thrown: Vec<_> = rows.iter().filter(|row| row.event.contains("kill.throw")).collect();
        assert!(matches!(&thrown[..], [one] if one.event.contains("agent:second")), "{thrown:?}");
    }
}
