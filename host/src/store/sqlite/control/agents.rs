//! Registered agents.

use rusqlite::{Connection, Row, params};

use super::SqliteControl;
use crate::clock::Millis;
use crate::ids::{AgentId, TenantId};
use crate::store::sqlite::fields::{Fields, all, first};
use crate::store::{AgentRow, AgentStore, StoreError};

pub(super) const TABLES: &str = "
    CREATE TABLE agents (
        id          TEXT PRIMARY KEY,
        tenant      TEXT NOT NULL,
        name        TEXT NOT NULL,
        description TEXT NOT NULL,
        metadata    TEXT NOT NULL,
        role        TEXT,
        created_at  INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX agents_tenant ON agents (tenant, created_at);
";

const COLUMNS: &str = "id, tenant, name, description, metadata, role, created_at";

impl AgentStore for SqliteControl {
    fn insert_agent(&self, row: &AgentRow) -> Result<(), StoreError> {
        self.writer.write(|transaction| insert(transaction, row))
    }

    fn agent(&self, tenant: &TenantId, id: &AgentId) -> Result<Option<AgentRow>, StoreError> {
        let connection = self.reader.lock();
        let sql = format!("SELECT {COLUMNS} FROM agents WHERE tenant = ?1 AND id = ?2");
        let params = params![tenant.as_str(), id.as_str()];
        first(&mut *connection.prepare_cached(&sql)?, params, agent)
    }

    fn agents(&self, tenant: &TenantId) -> Result<Vec<AgentRow>, StoreError> {
        let connection = self.reader.lock();
        let sql = format!("SELECT {COLUMNS} FROM agents WHERE tenant = ?1 ORDER BY created_at, rowid");
        all(&mut *connection.prepare_cached(&sql)?, params![tenant.as_str()], agent)
    }

    fn remove_agent(&self, tenant: &TenantId, id: &AgentId) -> Result<bool, StoreError> {
        self.writer.write(|transaction| {
            let sql = "DELETE FROM agents WHERE tenant = ?1 AND id = ?2";
            Ok(transaction.prepare_cached(sql)?.execute(params![tenant.as_str(), id.as_str()])? > 0)
        })
    }
}

fn insert(connection: &Connection, row: &AgentRow) -> Result<(), StoreError> {
    let sql = format!("INSERT INTO agents ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)");
    connection.prepare_cached(&sql)?.execute(params![
        row.id.as_str(),
        row.tenant.as_str(),
        row.name,
        row.description,
        row.metadata.to_string(),
        row.role.as_ref().map(|role| role.as_str()),
        row.created_at.0,
    ])?;
    Ok(())
}

fn agent(row: &Row<'_>) -> Result<AgentRow, StoreError> {
    let fields = Fields::new(row, "agent", &["id"]);
    Ok(AgentRow {
        id: fields.parse("id")?,
        tenant: fields.parse("tenant")?,
        name: fields.get("name")?,
        description: fields.get("description")?,
        metadata: fields.json("metadata")?,
        role: fields.parse_optional("role")?,
        created_at: Millis(fields.get("created_at")?),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::store::{ControlStore, MemoryControl};

    fn keeps_agents(store: &dyn ControlStore) {
        let row = |tenant: &str, role: Option<&str>| AgentRow {
            id: AgentId::fresh(),
            tenant: tenant.parse().unwrap(),
            name: "Planner \"Agent\"".to_owned(),
            description: String::new(),
            metadata: json!({ "framework": "autogen", "n": [1, null] }),
            role: role.map(|role| role.parse().unwrap()),
            created_at: Millis(1),
        };
        let (a, b, other) = (row("acme", Some("planner")), row("acme", None), row("globex", None));
        for row in [&a, &b, &other] {
            store.insert_agent(row).unwrap();
        }
        assert_eq!(store.agents(&a.tenant).unwrap(), [a.clone(), b.clone()]);
        assert_eq!(store.agent(&a.tenant, &a.id).unwrap().as_ref(), Some(&a));
        assert_eq!(store.agent(&other.tenant, &a.id).unwrap(), None);
        assert!(!store.remove_agent(&other.tenant, &a.id).unwrap(), "another tenant's agent was removed");
        assert!(store.remove_agent(&a.tenant, &a.id).unwrap());
        assert!(!store.remove_agent(&a.tenant, &a.id).unwrap());
        assert_eq!(store.agents(&a.tenant).unwrap(), [b]);
    }

    #[test]
    fn agents_are_kept_by_tenant() {
        let folder = tempfile::tempdir().unwrap();
        keeps_agents(&SqliteControl::open(&folder.path().join("control.db")).unwrap());
        keeps_agents(&MemoryControl::new());
    }
}
