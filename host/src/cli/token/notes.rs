//! What `token mint` says of a token beside the token itself.

use crate::auth::{OperationPattern, ToolPattern};
use crate::catalog::is_offered;
use crate::cli::context::Opened;
use crate::connection::Connections;
use crate::store::{TokenKind, TokenRow};

/// How far it reaches, what it's for, and which of the names in its grant there's nothing of.
pub(super) fn of(opened: &Opened, row: &TokenRow) -> Vec<String> {
    let mut notes =
        vec![format!("{} · {} · valid until {} · shown this once", row.id, row.realm, row.expires_at)];
    notes.extend(reach(row));
    notes.extend(purpose(row).map(str::to_owned));
    notes.extend(absent_tools(opened, row));
    notes.extend(absent_operations(opened, row));
    notes.dedup();
    notes
}

fn reach(row: &TokenRow) -> Option<String> {
    let does = match row.kind {
        TokenKind::Agent => return None,
        TokenKind::Operator => "manages",
        TokenKind::Monitor => "changes nothing, and looks at",
    };
    Some(if row.every_environment {
        format!("it {does} every environment of {}", row.realm.tenant)
    } else {
        format!("it {does} {} alone; for the whole tenant add --every-environment", row.realm)
    })
}

/// What an agent's token is for, where its grant leaves out tools or operations.
fn purpose(row: &TokenRow) -> Option<&'static str> {
    let grant = &row.grant;
    match (row.kind, grant.tools.is_empty(), grant.operations.is_empty()) {
        (TokenKind::Operator | TokenKind::Monitor, ..) | (TokenKind::Agent, false, false) => None,
        (TokenKind::Agent, true, true) if grant.may_store_secrets => {
            Some("it may call no tool and use no operation: it's for storing its user's secrets alone")
        }
        (TokenKind::Agent, true, true) => Some(
            "it may call no tool and use no operation: it's for /v1/enforce alone; add --tool NAME (or --tool '*') for \
             tools, and --operation CONNECTION:OPERATION for what they or a vendor's SDK may send",
        ),
        (TokenKind::Agent, false, true) => Some(
            "it may use no operation, so tools that send requests will be denied; add --operation CONNECTION:OPERATION",
        ),
        (TokenKind::Agent, true, false) => Some(
            "it may call no tool: it's for a vendor's SDK at /proxy/CONNECTION alone; for tools add --tool NAME",
        ),
    }
}

/// Those that no component in use has. What can't be told isn't said.
fn absent_tools(opened: &Opened, row: &TokenRow) -> Vec<String> {
    let named = row.grant.tools.iter().filter_map(|tool| match tool {
        ToolPattern::Any => None,
        ToolPattern::Named(name) => Some(name),
    });
    named
        .filter(|name| matches!(is_offered(opened.control.as_ref(), name), Ok(false)))
        .map(|name| {
            format!("there is no tool {name} at this moment; one that is added under that name is open to it")
        })
        .collect()
}

/// Those that this realm's connections haven't. What can't be told isn't said.
fn absent_operations(opened: &Opened, row: &TokenRow) -> Vec<String> {
    if row.grant.operations.is_empty() {
        return Vec::new();
    }
    let Ok(connections) = Connections::load(&opened.home.connections_dir()) else { return Vec::new() };
    let absent = |pattern: &OperationPattern| {
        let (connection, operation) = match pattern {
            OperationPattern::AnyOf(connection) => (connection, None),
            OperationPattern::Named(connection, operation) => (connection, Some(operation)),
        };
        let Some(found) = connections.get(&row.realm, connection.as_str()) else {
            return Some(format!("there is no connection {connection} in {} at this moment", row.realm));
        };
        let operation = operation.filter(|name| !found.operations.iter().any(|one| one.name == **name))?;
        Some(format!("the connection {connection} has no operation {operation} at this moment"))
    };
    row.grant.operations.iter().filter_map(absent).collect()
}
