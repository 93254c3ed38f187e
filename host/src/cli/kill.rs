//! `keybearer kill`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory as _, FromArgMatches};
use serde_json::{Value, json};

use super::context::Opened;
use super::out::Out;
use super::{Cli, Done};
use crate::catalog::is_offered;
use crate::connection::Connections;
use crate::ids::{Environment, KillId, Realm, TenantId};
use crate::kill::{InvalidScope, Kills, Order, POLL_MS, Reason, Scope};
use crate::store::{KillRow, TokenKind, TokenRow};

/// How long the command waits after a switch is thrown: a host sees it within half of that, whatever it's sending.
const SEEN: Duration = Duration::from_millis(2 * POLL_MS);

/// Flags of `kill`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct Kill {
    #[command(subcommand)]
    command: Option<Command>,
    /// What to stop: call:ID, conversation:ID, agent:NAME, role:NAME, tool:NAME, connection:NAME, token:ID, tenant, or
    /// everything. One switch is thrown for each.
    #[arg(required = true, value_name = "SCOPE", value_parser = scope)]
    scopes: Vec<Scope>,
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

/// One wrong scope among several stops none of them, which mustn't be taken for the contrary.
fn scope(text: &str) -> Result<Scope, String> {
    text.parse().map_err(|error: InvalidScope| format!("{error}. Nothing was stopped"))
}

/// Whose calls a command is about.
#[derive(Debug, Args)]
struct Whose {
    // Before the tenant, which is taken out of the matches.
    #[command(flatten)]
    typed: Typed,
    /// The tenant.
    #[arg(long, env = "KEYBEARER_TENANT", default_value = "default", value_name = "NAME")]
    tenant: TenantId,
    /// Every tenant.
    #[arg(long)]
    all_tenants: bool,
}

/// Whether the tenant was typed: the variable names one for every command, and so narrows none of them.
#[derive(Debug)]
struct Typed(bool);

impl FromArgMatches for Typed {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self(matches.value_source("tenant") == Some(ValueSource::CommandLine)))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for Typed {
    fn augment_args(command: clap::Command) -> clap::Command {
        command
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        command
    }
}

impl Whose {
    fn tenant(&self) -> Option<TenantId> {
        (!self.all_tenants).then(|| self.tenant.clone())
    }
}

impl Kill {
    pub(super) fn run(self, home: Option<PathBuf>, out: &Out) -> anyhow::Result<Done> {
        if self.whose.typed.0 && self.scopes.contains(&Scope::Everything) {
            let told = format!(
                "`everything` is every tenant; for one: `keybearer kill tenant --tenant {}`",
                self.whose.tenant
            );
            return Err(Cli::command().error(ErrorKind::ArgumentConflict, told).into());
        }
        let opened = Opened::open(home)?;
        let kills = Kills::new(opened.control.clone(), opened.clock.clone());
        match self.command {
            None => {
                let Some(reason) = self.reason else { bail!("say why, with --reason TEXT") };
                throw(&opened, &kills, out, &self.scopes, &self.whose, self.environment, &reason)
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
    for row in &thrown {
        // What can't be told isn't said: it's in force all the same.
        if let Ok(Some(why)) = unmatched(opened, row) {
            out.note(format!("{}{}: {why} at this moment; it's in force all the same", row.scope, of(row)));
        }
    }
    recorded?;
    out.value(&json!({ "kills": thrown.iter().map(value).collect::<Vec<_>>() }));
    failed.map_or(Ok(Done::Well), Err)
}

/// Why a switch stops nothing at this moment, as one on a mistyped name does.
fn unmatched(opened: &Opened, row: &KillRow) -> anyhow::Result<Option<&'static str>> {
    let now = opened.clock.now();
    let is_any = |is_it: &dyn Fn(&TokenRow) -> bool| -> anyhow::Result<bool> {
        Ok(opened.control.tokens(None)?.iter().any(|token| {
            token.kind == TokenKind::Agent
                && token.is_valid(now)
                && row.tenant.as_ref().is_none_or(|tenant| *tenant == token.realm.tenant)
                && row.environment.as_ref().is_none_or(|name| *name == token.realm.environment)
                && is_it(token)
        }))
    };
    let (is_there, why) = match &row.scope {
        Scope::Agent(name) => (is_any(&|token| token.agent == *name)?, "no valid token is of that agent"),
        Scope::Role(name) => {
            (is_any(&|token| token.role.as_ref() == Some(name))?, "no valid token is of that role")
        }
        Scope::Token(id) => (is_any(&|token| token.id == *id)?, "no valid token has that id"),
        Scope::Tenant => (is_any(&|_| true)?, "no agent has a valid token there"),
        Scope::Tool(name) => (is_offered(opened.control.as_ref(), name)?, "there is no tool of that name"),
        Scope::Connection(name) => {
            let connections = Connections::load(&opened.home.connections_dir())?;
            (connections.named(name.as_str()).is_some(), "there is no connection of that name")
        }
        // An agent names calls and conversations by itself.
        Scope::Call(_) | Scope::Conversation(_) | Scope::Everything => return Ok(None),
    };
    Ok((!is_there).then_some(why))
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
    use std::path::Path;

    use clap::Parser as _;
    use rusqlite::Connection;

    use super::*;
    use crate::cli::{self, init};
    use crate::home::Home;
    use crate::ids::Digest;
    use crate::store::{AuditStore as _, ComponentKind, ComponentRow, RowFilter};

    fn made(root: &Path) -> Opened {
        let realm = Realm { tenant: "default".parse().unwrap(), environment: "production".parse().unwrap() };
        init::make(Home::named(Some(root.to_owned())).unwrap(), realm).unwrap().0
    }

    fn run(root: &Path, line: &str) -> anyhow::Result<Done> {
        let words = ["keybearer"].into_iter().chain(line.split_ascii_whitespace());
        match Cli::try_parse_from(words)?.command {
            cli::Command::Kill(kill) => kill.run(Some(root.to_owned()), &Out::new(false)),
            cli::Command::Token(token) => token.run(Some(root.to_owned()), &Out::new(false)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn everything_is_refused_beside_a_tenant_that_was_typed() {
        let dir = tempfile::tempdir().unwrap();
        let opened = made(dir.path());
        for line in
            ["kill everything --tenant acme --reason x", "kill agent:a everything --tenant acme --reason x"]
        {
            let error = run(dir.path(), line).unwrap_err();
            let error = error.downcast_ref::<clap::Error>().unwrap();
            assert_eq!(error.exit_code(), 2, "{error}");
            assert!(error.to_string().contains("`keybearer kill tenant --tenant acme`"), "{error}");
        }
        let kills = Kills::new(opened.control.clone(), opened.clock.clone());
        assert!(kills.list(None).unwrap().is_empty());
        for line in ["kill everything --reason x", "kill tenant --tenant acme --reason x"] {
            assert_eq!(run(dir.path(), line).unwrap(), Done::Well);
        }
        let rows = kills.list(None).unwrap();
        let tenants: Vec<_> =
            rows.iter().filter_map(|row| row.tenant.as_ref()).map(TenantId::as_str).collect();
        assert_eq!((rows.len(), &*tenants), (2, &["acme"][..]));
    }

    #[test]
    fn a_wrong_scope_among_several_is_named_and_stops_none_of_them() {
        let dir = tempfile::tempdir().unwrap();
        let opened = made(dir.path());
        let error = run(dir.path(), "kill agent:a token:kbt_x role:b --reason x").unwrap_err();
        let error = error.downcast_ref::<clap::Error>().unwrap();
        assert_eq!(error.exit_code(), 2);
        let told = error.to_string();
        assert!(told.contains("what stands after `token:` names no token: it is 'tok_' and 24"), "{told}");
        assert!(told.contains("Nothing was stopped"), "{told}");
        assert!(Kills::new(opened.control.clone(), opened.clock.clone()).list(None).unwrap().is_empty());
    }

    #[test]
    fn what_a_switch_finds_nothing_of_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let opened = made(dir.path());
        let stripe = "base_url = \"https://api.example.com\"\nsecret = \"k\"\nattach = { kind = \"bearer\" }\n\
             [operations.pay]\nrequest = \"POST /x\"\neffect = \"write\"\n";
        std::fs::write(dir.path().join("connections/stripe.toml"), stripe).unwrap();
        run(dir.path(), "token mint --agent billing-1 --role billing --tool *").unwrap();
        let tokens = opened.control.tokens(None).unwrap();
        let minted = tokens.iter().find(|token| token.kind == TokenKind::Agent).unwrap();
        let kills = Kills::new(opened.control.clone(), opened.clock.clone());
        let told = |scope: &str, tenant: &str, environment: &str| {
            let order = Order {
                scope: scope.parse().unwrap(),
                tenant: Some(tenant.parse().unwrap()),
                environment: Some(environment.parse().unwrap()),
                reason: "a test".parse().unwrap(),
                by: "cli".to_owned(),
            };
            unmatched(&opened, &kills.throw(order).unwrap()).unwrap()
        };
        let token = format!("token:{}", minted.id);
        for scope in ["agent:billing-1", "role:billing", &token, "tenant"] {
            assert_eq!(told(scope, "default", "production"), None, "{scope}");
            assert!(told(scope, "acme", "production").is_some(), "{scope}");
            assert!(told(scope, "default", "test").is_some(), "{scope}");
        }
        assert_eq!(told("connection:stripe", "default", "production"), None);
        // Its file isn't there, so it can't be loaded here; a host may have it all the same.
        let described =
            r#"[{"name":"pay","description":"","input_schema":"","output_schema":"","connections":[]}]"#;
        let row = ComponentRow {
            name: "payments".to_owned(),
            kind: ComponentKind::Tool,
            digest: Digest([1; 32]),
            described: described.to_owned(),
            connections: Vec::new(),
            added_at: opened.clock.now(),
            active: true,
        };
        opened.control.activate_component(&row).unwrap();
        assert_eq!(told("tool:pay", "default", "production"), None);
        for (scope, why) in [
            ("agent:biling-1", "of that agent"),
            ("agent:operator", "of that agent"),
            ("role:biling", "of that role"),
            ("token:tok_000000000000000000000000", "has that id"),
            ("tool:create_charg", "no tool of that name"),
            ("connection:strpe", "no connection of that name"),
        ] {
            assert!(told(scope, "default", "production").unwrap().contains(why), "{scope}");
        }
        assert_eq!(told("conversation:c-17", "default", "production"), None);
        run(dir.path(), &format!("token revoke {}", minted.id)).unwrap();
        assert!(told("agent:billing-1", "default", "production").is_some());
        assert_eq!(
            run(dir.path(), "kill agent:biling-2 --reason x").unwrap(),
            Done::Well,
            "it's thrown all the same"
        );
    }

    #[test]
    fn what_keeps_one_switch_from_the_trail_keeps_no_other_from_it() {
        let dir = tempfile::tempdir().unwrap();
        let opened = made(dir.path());
        let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON audit WHEN new.event LIKE '%agent:first%' \
                      BEGIN SELECT raise(ABORT, 'refused'); END";
        Connection::open(opened.home.audit_db()).unwrap().execute_batch(refuse).unwrap();

        let kills = Kills::new(opened.control.clone(), opened.clock.clone());
        let scopes: [Scope; 2] = ["agent:first", "agent:second"].map(|scope| scope.parse().unwrap());
        let whose = Whose { typed: Typed(false), tenant: "default".parse().unwrap(), all_tenants: false };
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
