//! Kill switches.

use rusqlite::{Connection, Row, params};

use super::SqliteControl;
use crate::clock::Millis;
use crate::ids::{KillId, TenantId};
use crate::reach::Reach;
use crate::store::sqlite::fields::{Fields, all, first};
use crate::store::sqlite::within::{condition, parts};
use crate::store::{KillRow, KillStore, StoreError};

pub(super) const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS kills (
        id          TEXT PRIMARY KEY,
        tenant      TEXT,
        environment TEXT,
        target      TEXT NOT NULL,
        reason      TEXT NOT NULL,
        thrown_by   TEXT NOT NULL,
        at          INTEGER NOT NULL
    ) STRICT;
";

const COLUMNS: &str = "id, tenant, environment, target, reason, thrown_by, at";

impl KillStore for SqliteControl {
    fn insert_kill(&self, row: &KillRow) -> Result<(), StoreError> {
        self.writer.write(|transaction| insert(transaction, row))
    }

    fn kills(&self, reach: Option<&Reach>) -> Result<Vec<KillRow>, StoreError> {
        list(&self.reader.lock(), reach)
    }

    fn remove_kill(&self, id: &KillId, reach: Option<&Reach>) -> Result<Option<KillRow>, StoreError> {
        self.writer.write(|transaction| remove(transaction, id, reach))
    }

    fn forget_killed_calls(&self, before: Millis) -> Result<(), StoreError> {
        self.writer.write(|transaction| {
            let sql = "DELETE FROM kills WHERE target LIKE 'call:%' AND at < ?1";
            transaction.prepare_cached(sql)?.execute(params![before.0])?;
            Ok(())
        })
    }
}

fn insert(connection: &Connection, row: &KillRow) -> Result<(), StoreError> {
    let sql = format!("INSERT INTO kills ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)");
    connection.prepare_cached(&sql)?.execute(params![
        row.id.as_str(),
        row.tenant.as_ref().map(TenantId::as_str),
        row.environment.as_ref().map(|environment| environment.as_str()),
        row.scope.to_string(),
        row.reason.as_str(),
        row.by,
        row.at.0,
    ])?;
    Ok(())
}

fn list(connection: &Connection, reach: Option<&Reach>) -> Result<Vec<KillRow>, StoreError> {
    let (within, (tenant, environment)) = (condition(reach), parts(reach));
    let sql = format!("SELECT {COLUMNS} FROM kills WHERE {within} ORDER BY at DESC, rowid DESC");
    all(&mut *connection.prepare_cached(&sql)?, params![tenant, environment], kill)
}

fn remove(
    connection: &Connection,
    id: &KillId,
    reach: Option<&Reach>,
) -> Result<Option<KillRow>, StoreError> {
    let (within, (tenant, environment)) = (condition(reach), parts(reach));
    let sql = format!("DELETE FROM kills WHERE {within} AND id = ?3 RETURNING {COLUMNS}");
    let params = params![tenant, environment, id.as_str()];
    first(&mut *connection.prepare_cached(&sql)?, params, kill)
}

fn kill(row: &Row<'_>) -> Result<KillRow, StoreError> {
    let fields = Fields::new(row, "kill switch", &["id"]);
    Ok(KillRow {
        id: fields.parse("id")?,
        tenant: fields.parse_optional("tenant")?,
        environment: fields.parse_optional("environment")?,
        scope: fields.parse("target")?,
        reason: fields.parse("reason")?,
        by: fields.get("thrown_by")?,
        at: Millis(fields.get("at")?),
    })
}
