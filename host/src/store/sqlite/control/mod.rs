//! Operator-set state in SQLite. One file a table; this one joins them into the port.

mod agents;
mod approvals;
mod components;
mod keys;
mod kills;
mod policies;
mod secrets;
mod tokens;

use std::path::Path;

use super::changes::Changes;
use super::open::{Absent, Patience, Schema, Shared};
use crate::clock::Millis;
use crate::ids::{Realm, SecretLabel, TenantId, TokenId, UserId};
use crate::reach::Reach;
use crate::store::{
    BeforeForgotten, ComponentRow, ControlStore, SecretRow, StoreError, TenantKeyRow, TokenRow,
};

pub(super) const SCHEMA: Schema = Schema {
    what: "control database",
    application: 0x4b62_434f,
    version: 1,
    tables: &[
        policies::TABLES,
        "
        CREATE TABLE IF NOT EXISTS tokens (
            id           TEXT PRIMARY KEY,
            hash         BLOB NOT NULL UNIQUE,
            kind         TEXT NOT NULL,
            tenant       TEXT NOT NULL,
            environment  TEXT NOT NULL,
            every_environment INTEGER NOT NULL,
            agent        TEXT NOT NULL,
            conversation TEXT,
            role         TEXT,
            task         TEXT,
            user         TEXT,
            parent       TEXT,
            -- The first one above it, which an operator minted; null for one of these.
            root         TEXT,
            minted_by    TEXT,
            rights       TEXT NOT NULL,
            created_at   INTEGER NOT NULL,
            expires_at   INTEGER NOT NULL,
            revoked_at   INTEGER
        ) STRICT;
        CREATE INDEX IF NOT EXISTS tokens_tenant ON tokens (tenant, created_at);
        CREATE INDEX IF NOT EXISTS tokens_root ON tokens (root) WHERE root IS NOT NULL;
        CREATE INDEX IF NOT EXISTS tokens_ended ON tokens (min(expires_at, coalesce(revoked_at, expires_at)));
        CREATE TABLE IF NOT EXISTS tenant_keys (
            tenant  TEXT PRIMARY KEY,
            master  TEXT NOT NULL,
            wrapped BLOB NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE IF NOT EXISTS settings (
            name  TEXT PRIMARY KEY,
            value BLOB NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE IF NOT EXISTS secrets (
            tenant      TEXT NOT NULL,
            environment TEXT NOT NULL,
            -- Empty for an operator's: no user's id is.
            user        TEXT NOT NULL,
            label       TEXT NOT NULL,
            version     INTEGER NOT NULL,
            wrapped_key BLOB NOT NULL,
            ciphertext  BLOB NOT NULL,
            created_at  INTEGER NOT NULL,
            PRIMARY KEY (tenant, environment, user, label, version)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE IF NOT EXISTS components (
            name        TEXT NOT NULL,
            kind        TEXT NOT NULL,
            digest      TEXT NOT NULL,
            described   TEXT NOT NULL,
            connections TEXT NOT NULL,
            added_at    INTEGER NOT NULL,
            active      INTEGER NOT NULL,
            PRIMARY KEY (name, digest)
        ) STRICT, WITHOUT ROWID;
        CREATE UNIQUE INDEX IF NOT EXISTS components_active ON components (name) WHERE active = 1;
    ",
        agents::TABLES,
        approvals::TABLES,
        kills::TABLES,
    ],
    remedy: "put its copy back, with the master key of that time; without a copy, begin with a new home",
};

/// How many rows are forgotten in one transaction: others wait for it, and one of them may throw a switch.
const FORGOTTEN_MAX: u32 = 500;

/// Operator-set state in a file of its own.
#[derive(Debug)]
pub struct SqliteControl {
    writer: Shared,
    /// Apart from the writer: no read waits for a write, and `data_version`, which a connection's own commits don't
    /// change, changes here with every commit, by this process or another.
    reader: Shared,
    /// Tells the same, and quicker.
    changes: Changes,
}

impl SqliteControl {
    /// Opens the database; creates the file, with mode 0600, if it's missing.
    ///
    /// # Errors
    /// [`StoreError::Failed`] when the file can't be created or written, [`StoreError::Damaged`] when it's no
    /// database, [`StoreError::Unsupported`] when it's another program's or of another version.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::opened(path, Absent::Made, Patience::Command)
    }

    /// Opens a database that is there.
    ///
    /// # Errors
    /// As [`Self::open`], and [`StoreError::Gone`] when the file is missing or empty.
    pub fn existing(path: &Path) -> Result<Self, StoreError> {
        Self::opened(path, Absent::Refused, Patience::Command)
    }

    /// As [`Self::existing`], for a host: its callers hear after two seconds that another process is in the way, and who
    /// typed a command after ten.
    ///
    /// # Errors
    /// As [`Self::existing`].
    pub fn for_host(path: &Path) -> Result<Self, StoreError> {
        Self::opened(path, Absent::Refused, Patience::Host)
    }

    fn opened(path: &Path, absent: Absent, patience: Patience) -> Result<Self, StoreError> {
        Ok(Self {
            writer: Shared::open(path, &SCHEMA, absent, patience)?,
            reader: Shared::open(path, &SCHEMA, absent, patience)?,
            changes: Changes::of(path),
        })
    }

    /// Reads every page of the file and answers whether all of them are sound.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] says which isn't.
    pub fn check_pages(&self) -> Result<(), StoreError> {
        self.reader.check_pages()
    }

    /// Writes a copy, as of one moment, into a new file with mode 0600, while others read and write this one.
    ///
    /// # Errors
    /// [`StoreError::Failed`] when the file is there already or can't be written, [`StoreError::Damaged`] when this one
    /// can't be read.
    pub fn copy_to(&self, copy: &Path) -> Result<(), StoreError> {
        self.reader.copy_to(copy)
    }
}

impl ControlStore for SqliteControl {
    fn version(&self) -> Result<u64, StoreError> {
        self.reader.place().check()?;
        if let Some(number) = self.changes.number() {
            return Ok(number);
        }
        let connection = self.reader.lock();
        let mut statement = connection.prepare_cached("PRAGMA data_version")?;
        let version: u32 = statement.query_row([], |row| row.get(0))?;
        Ok(version.into())
    }

    fn insert_token(&self, row: &TokenRow) -> Result<(), StoreError> {
        self.writer.write(|transaction| tokens::insert(transaction, row))
    }

    fn insert_registered(&self, row: &TokenRow) -> Result<bool, StoreError> {
        self.writer.write(|transaction| {
            let is_there = agents::is_there(transaction, &row.agent)?;
            if is_there {
                tokens::insert(transaction, row)?;
            }
            Ok(is_there)
        })
    }

    fn token_by_hash(&self, hash: &[u8; 32]) -> Result<Option<TokenRow>, StoreError> {
        tokens::by_hash(&self.reader.lock(), hash)
    }

    fn token_by_id(&self, id: &TokenId) -> Result<Option<TokenRow>, StoreError> {
        tokens::by_id(&self.reader.lock(), id)
    }

    fn insert_delegated(&self, row: &TokenRow, root: &TokenId, most: u32) -> Result<bool, StoreError> {
        self.writer.write(|transaction| {
            let room = tokens::below(transaction, root)? < most;
            if room {
                tokens::insert(transaction, row)?;
            }
            Ok(room)
        })
    }

    fn forget_tokens(&self, before: Millis, first: BeforeForgotten<'_>) -> Result<(), StoreError> {
        loop {
            let some = tokens::over(&self.reader.lock(), before)?;
            if some.is_empty() {
                return Ok(());
            }
            let known: Vec<_> = some.iter().filter_map(|over| over.token.clone()).collect();
            // Others have their turn at the writer meanwhile.
            first(&known)?;
            self.writer.write(|transaction| tokens::remove(transaction, &some))?;
        }
    }

    fn tokens(&self, reach: Option<&Reach>) -> Result<Vec<TokenRow>, StoreError> {
        tokens::list(&self.reader.lock(), reach)
    }

    fn token_page(
        &self,
        reach: Option<&Reach>,
        after: Option<&TokenId>,
        limit: u32,
    ) -> Result<Vec<TokenRow>, StoreError> {
        tokens::page(&self.reader.lock(), reach, after, limit)
    }

    fn revoke_token(&self, id: &TokenId, reach: Option<&Reach>, at: Millis) -> Result<bool, StoreError> {
        self.writer.write(|transaction| tokens::revoke(transaction, id, reach, at))
    }

    fn tenant_key(&self, tenant: &TenantId) -> Result<Option<TenantKeyRow>, StoreError> {
        keys::of_tenant(&self.reader.lock(), tenant)
    }

    fn tenant_keys(&self) -> Result<Vec<TenantKeyRow>, StoreError> {
        keys::list(&self.reader.lock())
    }

    fn ensure_tenant_key(
        &self,
        row: &TenantKeyRow,
        in_use: &str,
    ) -> Result<Option<TenantKeyRow>, StoreError> {
        self.writer.write(|transaction| keys::ensure(transaction, row, in_use))
    }

    fn replace_tenant_keys(
        &self,
        was: &[TenantKeyRow],
        now: &[TenantKeyRow],
        in_use: &str,
        master: &str,
    ) -> Result<(), StoreError> {
        self.writer.erase(|transaction| keys::replace(transaction, was, now, in_use, master))
    }

    fn setting(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        keys::setting(&self.reader.lock(), name)
    }

    fn ensure_setting(&self, name: &str, value: &[u8]) -> Result<Vec<u8>, StoreError> {
        self.writer.write(|transaction| keys::ensure_setting(transaction, name, value))
    }

    fn put_setting(&self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        self.writer.write(|transaction| keys::set_setting(transaction, name, value))
    }

    fn insert_next_secret(
        &self,
        row: &SecretRow,
        counter: &str,
        was: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        self.writer.write(|transaction| {
            if keys::setting(transaction, counter)?.as_deref() != was {
                return Err(StoreError::Exists(format!("version {} of secret {}", row.version, row.label)));
            }
            keys::set_setting(transaction, counter, row.version.to_string().as_bytes())?;
            secrets::insert(transaction, row)
        })
    }

    fn newest_secret(
        &self,
        realm: &Realm,
        user: Option<&UserId>,
        label: &SecretLabel,
    ) -> Result<Option<SecretRow>, StoreError> {
        secrets::newest(&self.reader.lock(), realm, user, label)
    }

    fn secrets(&self, tenant: Option<&TenantId>) -> Result<Vec<SecretRow>, StoreError> {
        secrets::list(&self.reader.lock(), tenant)
    }

    fn user_secrets(&self, realm: &Realm, user: &UserId) -> Result<Vec<SecretRow>, StoreError> {
        secrets::of_user(&self.reader.lock(), realm, user)
    }

    fn remove_secret(
        &self,
        realm: &Realm,
        user: Option<&UserId>,
        label: &SecretLabel,
        version: Option<u32>,
    ) -> Result<u32, StoreError> {
        self.writer.erase(|transaction| secrets::remove(transaction, realm, user, label, version))
    }

    fn activate_component(&self, row: &ComponentRow) -> Result<(), StoreError> {
        self.writer.write(|transaction| components::activate(transaction, row))
    }

    fn components(&self) -> Result<Vec<ComponentRow>, StoreError> {
        components::list(&self.reader.lock())
    }

    fn deactivate_component(&self, name: &str) -> Result<bool, StoreError> {
        self.writer.write(|transaction| components::deactivate(transaction, name))
    }
}

#[cfg(test)]
mod tests;
