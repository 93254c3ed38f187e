//! Tenants' wrapped keys, and the small named values.

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::ids::TenantId;
use crate::store::sqlite::fields::{Fields, all, first};
use crate::store::{StoreError, TenantKeyRow};

pub(super) fn of_tenant(
    connection: &Connection,
    tenant: &TenantId,
) -> Result<Option<TenantKeyRow>, StoreError> {
    let sql = "SELECT tenant, master, wrapped FROM tenant_keys WHERE tenant = ?1";
    first(&mut *connection.prepare_cached(sql)?, params![tenant.as_str()], key)
}

pub(super) fn list(connection: &Connection) -> Result<Vec<TenantKeyRow>, StoreError> {
    let sql = "SELECT tenant, master, wrapped FROM tenant_keys ORDER BY tenant";
    all(&mut *connection.prepare_cached(sql)?, [], key)
}

pub(super) fn ensure(connection: &Connection, row: &TenantKeyRow) -> Result<TenantKeyRow, StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO tenant_keys (tenant, master, wrapped) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
        )?
        .execute(params![row.tenant.as_str(), row.master, row.wrapped])?;
    of_tenant(connection, &row.tenant)?.ok_or_else(|| missing(&row.tenant))
}

/// Runs inside a transaction: whatever it has changed when it fails is undone.
pub(super) fn replace(
    connection: &Connection,
    was: &[TenantKeyRow],
    now: &[TenantKeyRow],
) -> Result<(), StoreError> {
    for expected in was {
        let stored = of_tenant(connection, &expected.tenant)?.ok_or_else(|| missing(&expected.tenant))?;
        if stored != *expected {
            return Err(StoreError::Failed(format!(
                "the key of tenant {} was changed meanwhile; nothing was replaced, try again",
                expected.tenant
            )));
        }
    }
    let mut update =
        connection.prepare_cached("UPDATE tenant_keys SET master = ?2, wrapped = ?3 WHERE tenant = ?1")?;
    for row in now {
        let known = was.iter().any(|was| was.tenant == row.tenant);
        if !known || update.execute(params![row.tenant.as_str(), row.master, row.wrapped])? != 1 {
            return Err(missing(&row.tenant));
        }
    }
    Ok(())
}

pub(super) fn setting(connection: &Connection, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT value FROM settings WHERE name = ?1")?;
    Ok(statement.query_row(params![name], |row| row.get(0)).optional()?)
}

pub(super) fn set_setting(connection: &Connection, name: &str, value: &[u8]) -> Result<(), StoreError> {
    let sql = "INSERT INTO settings (name, value) VALUES (?1, ?2) \
               ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    connection.prepare_cached(sql)?.execute(params![name, value])?;
    Ok(())
}

fn key(row: &Row<'_>) -> Result<TenantKeyRow, StoreError> {
    let fields = Fields::new(row, "key of tenant", &["tenant"]);
    Ok(TenantKeyRow {
        tenant: fields.parse("tenant")?,
        master: fields.get("master")?,
        wrapped: fields.get("wrapped")?,
    })
}

fn missing(tenant: &TenantId) -> StoreError {
    StoreError::Missing(format!("the key of tenant {tenant}"))
}
