//! Encrypted secrets.

use rusqlite::{Connection, Row, params};

use crate::clock::Millis;
use crate::ids::{Realm, SecretLabel, TenantId, UserId};
use crate::store::sqlite::error::is_taken;
use crate::store::sqlite::fields::{Fields, all, first};
use crate::store::{SecretRow, StoreError};

const COLUMNS: &str = "tenant, environment, user, label, version, wrapped_key, ciphertext, created_at";

pub(super) fn insert(connection: &Connection, row: &SecretRow) -> Result<(), StoreError> {
    let sql = format!("INSERT INTO secrets ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)");
    let inserted = connection.prepare_cached(&sql)?.execute(params![
        row.realm.tenant.as_str(),
        row.realm.environment.as_str(),
        owner(row.user.as_ref()),
        row.label.as_str(),
        row.version,
        row.wrapped_key,
        row.ciphertext,
        row.created_at.0,
    ]);
    match inserted {
        Err(error) if is_taken(&error) => Err(StoreError::Exists(format!(
            "version {} of secret {} in {}",
            row.version, row.label, row.realm
        ))),
        other => other.map(drop).map_err(StoreError::from),
    }
}

pub(super) fn newest(
    connection: &Connection,
    realm: &Realm,
    user: Option<&UserId>,
    label: &SecretLabel,
) -> Result<Option<SecretRow>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM secrets WHERE tenant = ?1 AND environment = ?2 AND user = ?3 AND label = ?4 \
         ORDER BY version DESC LIMIT 1"
    );
    let params = params![realm.tenant.as_str(), realm.environment.as_str(), owner(user), label.as_str()];
    first(&mut *connection.prepare_cached(&sql)?, params, secret)
}

pub(super) fn list(connection: &Connection, tenant: Option<&TenantId>) -> Result<Vec<SecretRow>, StoreError> {
    let condition = if tenant.is_some() { "tenant = ?1" } else { "?1 IS NULL" };
    let sql = format!(
        "SELECT {COLUMNS} FROM secrets WHERE {condition} ORDER BY tenant, environment, user, label, version"
    );
    all(&mut *connection.prepare_cached(&sql)?, params![tenant.map(TenantId::as_str)], secret)
}

pub(super) fn of_user(
    connection: &Connection,
    realm: &Realm,
    user: &UserId,
) -> Result<Vec<SecretRow>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM secrets WHERE tenant = ?1 AND environment = ?2 AND user = ?3 \
         ORDER BY label, version"
    );
    let params = params![realm.tenant.as_str(), realm.environment.as_str(), user.as_str()];
    all(&mut *connection.prepare_cached(&sql)?, params, secret)
}

pub(super) fn remove(
    connection: &Connection,
    realm: &Realm,
    user: Option<&UserId>,
    label: &SecretLabel,
    version: Option<u32>,
) -> Result<u32, StoreError> {
    let sql = "DELETE FROM secrets WHERE tenant = ?1 AND environment = ?2 AND user = ?3 AND label = ?4 \
               AND (?5 IS NULL OR version = ?5)";
    let removed = connection.prepare_cached(sql)?.execute(params![
        realm.tenant.as_str(),
        realm.environment.as_str(),
        owner(user),
        label.as_str(),
        version,
    ])?;
    Ok(u32::try_from(removed).unwrap_or(u32::MAX))
}

/// Whose own it is, as the column has it.
fn owner(user: Option<&UserId>) -> &str {
    user.map_or("", UserId::as_str)
}

fn secret(row: &Row<'_>) -> Result<SecretRow, StoreError> {
    let fields = Fields::new(row, "secret", &["tenant", "environment", "user", "label", "version"]);
    let owner: String = fields.get("user")?;
    Ok(SecretRow {
        realm: Realm { tenant: fields.parse("tenant")?, environment: fields.parse("environment")? },
        user: if owner.is_empty() { None } else { Some(fields.parse("user")?) },
        label: fields.parse("label")?,
        version: fields.unsigned("version")?,
        wrapped_key: fields.get("wrapped_key")?,
        ciphertext: fields.get("ciphertext")?,
        created_at: Millis(fields.get("created_at")?),
    })
}
