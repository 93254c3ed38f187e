//! `keybearer doctor`: looks at a home from top to bottom.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use super::Done;
use super::context::Opened;
use super::out::Out;
use super::serve::serve_config;
use crate::app::open_catalog;
use crate::audit;
use crate::config::Config;
use crate::connection::{Connections, Problems, SecretOf};
use crate::doors::{self, ServeError};
use crate::home::{Home, HomeError};
use crate::ids::{ConnectionName, TenantId};
use crate::ledger::Budgets;
use crate::runtime::{Runtime, RuntimeConfig};
use crate::store::ComponentKind;
use crate::store::sqlite::SqliteControl;

/// Flags of `doctor`.
#[derive(Debug, clap::Args)]
pub(super) struct Doctor {}

/// What a look at one part found.
enum Finding {
    Well(String),
    Warning(String),
    Problem(String),
}

use Finding::{Problem, Warning, Well};

impl Doctor {
    pub(super) fn run(self, home: Option<PathBuf>, out: &Out) -> anyhow::Result<Done> {
        let findings = match Home::named(home)?.existing() {
            Ok(home) => look(&home, out),
            // What others can change isn't read.
            Err(
                error @ (HomeError::AnothersHome { .. }
                | HomeError::AnothersPart { .. }
                | HomeError::Writable { .. }),
            ) => vec![("home", Problem(error.to_string()))],
            Err(error) => return Err(error.into()),
        };
        let rows: Vec<_> = findings.iter().map(|(part, finding)| row(part, finding)).collect();
        out.table(&["", "PART", "FINDING"], &rows);
        let values: Vec<_> = rows
            .iter()
            .map(|row| json!({ "state": row.first(), "part": row.get(1), "finding": row.get(2) }))
            .collect();
        out.value(&values);
        let ill = findings.iter().any(|(_, finding)| matches!(finding, Problem(_)));
        Ok(if ill { Done::Problems } else { Done::Well })
    }
}

/// All that is found, part by part.
fn look(home: &Home, out: &Out) -> Vec<(&'static str, Finding)> {
    let mut findings = vec![("home", folder(home.root()))];
    if let Err(error) = Config::load(&home.config_file()) {
        findings.push(("configuration", Problem(error.to_string())));
        return findings;
    }
    findings.push(("configuration", Well(home.config_file().display().to_string())));
    let opened = match Opened::open(Some(home.root().to_owned())) {
        Ok(opened) => opened,
        Err(error) => {
            findings.push(("database", Problem(format!("{error:#}"))));
            return findings;
        }
    };
    findings.push(("database", database(home)));
    findings.extend(vault(&opened).into_iter().map(|finding| ("vault", finding)));
    findings.push(("audit trail", trail(&opened)));
    let set_up = Connections::load(&opened.home.connections_dir());
    findings.extend(connections(&opened, &set_up).into_iter().map(|finding| ("connections", finding)));
    // Nothing is said of budgets where the connections can't be read, which is told of them.
    if let Ok(set_up) = &set_up {
        findings.extend(budgets(&opened, set_up).into_iter().map(|finding| ("budgets", finding)));
    }
    let set_up = set_up.unwrap_or_default();
    findings.extend(tools(&opened).into_iter().map(|finding| ("tools", finding)));
    findings.extend(sandboxes(&opened, &set_up).into_iter().map(|finding| ("sandboxes", finding)));
    findings.extend(policies(&opened, out).into_iter().map(|finding| ("policies", finding)));
    findings.push(("tls", tls(&opened)));
    findings.push(("address", address(&opened)));
    findings
}

fn row(part: &str, finding: &Finding) -> Vec<String> {
    let (mark, text) = match finding {
        Well(text) => ("ok", text),
        Warning(text) => ("warning", text),
        Problem(text) => ("PROBLEM", text),
    };
    vec![mark.to_owned(), part.to_owned(), text.clone()]
}

fn folder(root: &Path) -> Finding {
    let shown = root.display();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        match std::fs::metadata(root) {
            Ok(found) if found.permissions().mode() & 0o077 != 0 => {
                return Warning(format!("{shown} can be read by others: chmod 700 {shown}"));
            }
            Ok(_) => {}
            Err(error) => return Problem(format!("{shown}: {error}")),
        }
    }
    match tempfile::tempfile_in(root) {
        Ok(_) => Well(shown.to_string()),
        Err(error) => Problem(format!("{shown} can't be written: {error}")),
    }
}

fn database(home: &Home) -> Finding {
    match SqliteControl::existing(&home.control_db()).and_then(|control| control.check_pages()) {
        Ok(()) => Well("control.db is sound".to_owned()),
        Err(error) => Problem(error.to_string()),
    }
}

fn vault(opened: &Opened) -> Vec<Finding> {
    let looked = opened.vault().and_then(|vault| {
        vault.check_in_use()?;
        let others = vault.on_other_masters()?;
        // A passphrase takes its time to become a key.
        let next = if others.is_empty() { None } else { opened.next_masters()? };
        let in_use = vault.in_use()?;
        let is_next = next.is_some_and(|next| next.current().id() == in_use);
        Ok((vault.list(None)?.len(), vault.check()?, others, is_next))
    });
    let (count, bad, others, is_next) = match looked {
        Ok(looked) => looked,
        Err(error) => return vec![Problem(format!("{error:#}"))],
    };
    let mut findings = vec![match count {
        _ if !bad.is_empty() => {
            let list: Vec<_> = bad
                .iter()
                .map(|f| {
                    let of = f.user.as_ref().map_or(String::new(), |user| format!(" of the user {user}"));
                    format!("{}{of} version {} in {}: {}", f.label, f.version, f.realm, f.cause)
                })
                .collect();
            Problem(list.join("; "))
        }
        0 => Warning("it opens and is empty: `keybearer vault set LABEL` stores a secret".to_owned()),
        count => Well(format!("it opens; {count} secret versions")),
    }];
    if !others.is_empty() {
        let tenants: Vec<_> = others.iter().map(TenantId::as_str).collect();
        let advice = if is_next {
            "It's the next one: name it as the first"
        } else {
            "A rotation was cut short: `keybearer vault rotate-master` again"
        };
        findings.push(Warning(format!(
            "another master key than the first one below [master_key] wraps the keys of these tenants: {}. {advice}",
            tenants.join(", ")
        )));
    }
    if opened.lacks_next() {
        findings.push(Warning(
            "the next master key below [master_key] isn't there: its variable isn't set here. A host needs it to start"
                .to_owned(),
        ));
    }
    findings
}

fn trail(opened: &Opened) -> Finding {
    let verified = opened.audit_store().and_then(|store| {
        store.check_pages()?;
        let verified = audit::verify(store.as_ref(), None)?;
        store.check_indexes()?;
        Ok(verified)
    });
    match verified {
        Ok(verified) => Well(format!("{} rows, the chain holds", verified.head.seq)),
        Err(error) => Problem(format!("{error:#}")),
    }
}

fn connections(opened: &Opened, set_up: &Result<Connections, Problems>) -> Vec<Finding> {
    let connections = match set_up {
        Ok(connections) => connections,
        Err(problems) => return problems.0.iter().map(|problem| Problem(problem.to_string())).collect(),
    };
    let mut findings = Vec::new();
    // Which secrets there are isn't known where the vault can't be opened, which is told of it.
    if let Ok(secrets) = opened.vault().and_then(|vault| Ok(vault.list(None)?)) {
        let lacking = connections
            .iter()
            // Users bring theirs while the host runs.
            .filter(|connection| connection.secret_of == SecretOf::Operator)
            .filter(|connection| {
                !secrets.iter().any(|secret| secret.user.is_none() && secret.label == connection.secret)
            });
        findings.extend(lacking.map(|connection| {
            Warning(format!(
                "{} wants the secret {}, which no realm has: `keybearer vault set {}`",
                connection.name, connection.secret, connection.secret
            ))
        }));
    }
    findings.push(Well(format!("{} set up", connections.iter().count())));
    findings
}

fn budgets(opened: &Opened, set_up: &Connections) -> Vec<Finding> {
    match Budgets::load(&opened.home.budgets_file(), set_up) {
        Ok(budgets) => vec![Well(format!("{} set", budgets.rules().len()))],
        Err(problems) => problems.0.iter().map(|problem| Problem(problem.to_string())).collect(),
    }
}

fn tools(opened: &Opened) -> Vec<Finding> {
    let mut problems = Vec::new();
    let loaded =
        Runtime::new(&RuntimeConfig::for_commands()).map_err(anyhow::Error::from).and_then(|runtime| {
            open_catalog(&opened.home, opened.control.clone(), Arc::new(runtime), &mut |text| {
                if let Some(problem) = text.strip_prefix("warning: ") {
                    problems.push(Problem(problem.to_owned()));
                }
            })
        });
    match loaded {
        Ok(catalog) => problems.push(Well(format!("{} loaded", catalog.snapshot().tools().count()))),
        Err(error) => problems.push(Problem(format!("{error:#}"))),
    }
    problems
}

/// Where agents may run code, and what that code may use. Nothing is said where there's no sandbox.
fn sandboxes(opened: &Opened, set_up: &Connections) -> Vec<Finding> {
    let rows = match opened.control.components() {
        Ok(rows) => rows,
        Err(error) => return vec![Problem(error.to_string())],
    };
    let mut findings = Vec::new();
    for row in rows.iter().filter(|row| row.active && row.kind == ComponentKind::Sandbox) {
        let names: Vec<_> = row.connections.iter().map(ConnectionName::as_str).collect();
        let uses = if names.is_empty() { "no connection".to_owned() } else { names.join(", ") };
        findings.push(Well(format!("{}: code that agents write may use {uses}", row.name)));
        for name in names.iter().filter(|name| set_up.named(name).is_none()) {
            findings.push(Warning(format!(
                "{}: code may use {name}, which isn't set up: whatever is set up under that name opens to it; \
                 `keybearer sandbox add` again without it",
                row.name
            )));
        }
    }
    findings
}

fn policies(opened: &Opened, out: &Out) -> Vec<Finding> {
    let policy = match opened.policy(out) {
        Ok(policy) => policy,
        Err(error) => return vec![Problem(format!("{error:#}"))],
    };
    let mut findings: Vec<_> = policy.warnings().iter().map(|w| Warning(w.to_string())).collect();
    findings.push(match policy.count() {
        (0, 0) => Warning(format!(
            "there is none in {}, so everything is denied",
            opened.home.policies_dir().display()
        )),
        (files, posted) => Well(format!("{files} from files, {posted} posted")),
    });
    findings
}

fn tls(opened: &Opened) -> Finding {
    match doors::certificate(&serve_config(&opened.config)) {
        Ok(Some(_)) => Well("the certificate and its key load".to_owned()),
        Ok(None) => Well("none is set up; plain HTTP on loopback".to_owned()),
        // A flag of `serve` allows that.
        Err(error @ ServeError::InsecureListen(_)) => Warning(error.to_string()),
        Err(error) => Problem(error.to_string()),
    }
}

fn address(opened: &Opened) -> Finding {
    let listen = opened.config.listen;
    match std::net::TcpListener::bind(listen) {
        Ok(_) => Well(format!("{listen} is free")),
        Err(error) => Warning(format!("{listen} can't be bound now ({error}): a host may be running there")),
    }
}

#[cfg(test)]
mod tests;
