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

/// Runs inside a transaction.
pub(super) fn ensure(
    connection: &Connection,
    row: &TenantKeyRow,
    in_use: &str,
) -> Result<Option<TenantKeyRow>, StoreError> {
    if let Some(stored) = of_tenant(connection, &row.tenant)? {
        return Ok(Some(stored));
    }
    if setting(connection, in_use)?.as_deref() != Some(row.master.as_bytes()) {
        return Ok(None);
    }
    connection
        .prepare_cached("INSERT INTO tenant_keys (tenant, master, wrapped) VALUES (?1, ?2, ?3)")?
        .execute(params![row.tenant.as_str(), row.master, row.wrapped])?;
    Ok(Some(row.clone()))
}

/// Runs inside a transaction: whatever it has changed when it fails is undone.
pub(super) fn replace(
    connection: &Connection,
    was: &[TenantKeyRow],
    now: &[TenantKeyRow],
    in_use: &str,
    master: &str,
) -> Result<(), StoreError> {
    if list(connection)? != was {
        return Err(StoreError::Failed(
            "a tenant's key was added or changed meanwhile; nothing was replaced, try again".to_owned(),
        ));
    }
    let mut update =
        connection.prepare_cached("UPDATE tenant_keys SET master = ?2, wrapped = ?3 WHERE tenant = ?1")?;
    for row in now {
        if update.execute(params![row.tenant.as_str(), row.master, row.wrapped])? != 1 {
            return Err(StoreError::Missing(format!("the key of tenant {}", row.tenant)));
        }
    }
    set_setting(connection, in_use, master.as_bytes())
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

/// Runs inside a transaction.
pub(super) fn ensure_setting(
    connection: &Connection,
    name: &str,
    value: &[u8],
) -> Result<Vec<u8>, StoreError> {
    if let Some(stored) = setting(connection, name)? {
        return Ok(stored);
    }
    set_setting(connection, name, value)?;
    Ok(value.to_vec())
}

fn key(row: &Row<'_>) -> Result<TenantKeyRow, StoreError> {
    let fields = Fields::new(row, "key of tenant", &["tenant"]);
    Ok(TenantKeyRow {
        tenant: fields.parse("tenant")?,
        master: fields.get("master")?,
        wrapped: fields.get("wrapped")?,
    })
}
