//! Components that the operator consented to.

use rusqlite::{Connection, Row, params};

use crate::clock::Millis;
use crate::store::sqlite::fields::{Fields, all};
use crate::store::{ComponentKind, ComponentRow, StoreError};

/// Runs inside a transaction. A known component takes over all of `row`: adding it again is a new consent.
pub(super) fn activate(connection: &Connection, row: &ComponentRow) -> Result<(), StoreError> {
    deactivate(connection, &row.name)?;
    let connections =
        serde_json::to_string(&row.connections).map_err(|error| StoreError::Failed(error.to_string()))?;
    let sql = "INSERT INTO components (name, kind, digest, described, connections, added_at, active) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1) \
               ON CONFLICT (name, digest) DO UPDATE SET kind = excluded.kind, described = excluded.described, \
               connections = excluded.connections, added_at = excluded.added_at, active = 1";
    connection.prepare_cached(sql)?.execute(params![
        row.name,
        row.kind.as_str(),
        row.digest.to_string(),
        row.described,
        connections,
        row.added_at.0
    ])?;
    Ok(())
}

pub(super) fn list(connection: &Connection) -> Result<Vec<ComponentRow>, StoreError> {
    let sql = "SELECT name, kind, digest, described, connections, added_at, active FROM components \
               ORDER BY active DESC, name, added_at DESC, digest";
    all(&mut *connection.prepare_cached(sql)?, [], component)
}

pub(super) fn deactivate(connection: &Connection, name: &str) -> Result<bool, StoreError> {
    let sql = "UPDATE components SET active = 0 WHERE name = ?1 AND active = 1";
    Ok(connection.prepare_cached(sql)?.execute(params![name])? > 0)
}

fn component(row: &Row<'_>) -> Result<ComponentRow, StoreError> {
    let fields = Fields::new(row, "component", &["name", "digest"]);
    let kind: String = fields.get("kind")?;
    Ok(ComponentRow {
        name: fields.get("name")?,
        kind: kind_of(&kind).ok_or_else(|| fields.damaged("kind", &"no such kind of component"))?,
        digest: fields.parse("digest")?,
        described: fields.get("described")?,
        connections: fields.json("connections")?,
        added_at: Millis(fields.get("added_at")?),
        active: fields.get("active")?,
    })
}

fn kind_of(text: &str) -> Option<ComponentKind> {
    [ComponentKind::Tool, ComponentKind::Sandbox].into_iter().find(|kind| kind.as_str() == text)
}
