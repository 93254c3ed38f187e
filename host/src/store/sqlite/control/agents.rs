//! Registered agents.

use rusqlite::{Connection, Row, params};

use super::SqliteControl;
use crate::clock::Millis;
use crate::ids::AgentId;
use crate::reach::Reach;
use crate::store::sqlite::fields::{Fields, all, first};
use crate::store::sqlite::within::{condition, parts};
use crate::store::{AgentRow, AgentStore, StoreError};

pub(super) const TABLES: &str = "
    CREATE TABLE agents (
        id          TEXT PRIMARY KEY,
        tenant      TEXT NOT NULL,
        environment TEXT,
        name        TEXT NOT NULL,
        description TEXT NOT NULL,
        metadata    TEXT NOT NULL,
        role        TEXT,
        created_at  INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX agents_tenant ON agents (tenant, created_at);
";

const COLUMNS: &str = "id, tenant, environment, name, description, metadata, role, created_at";

impl AgentStore for SqliteControl {
    fn insert_agent(&self, row: &AgentRow) -> Result<(), StoreError> {
        self.writer.write(|transaction| insert(transaction, row))
    }

    fn agent(&self, reach: &Reach, id: &AgentId) -> Result<Option<AgentRow>, StoreError> {
        let connection = self.reader.lock();
        let (within, (tenant, environment)) = (condition(Some(reach)), parts(Some(reach)));
        let sql = format!("SELECT {COLUMNS} FROM agents WHERE {within} AND id = ?3");
        let params = params![tenant, environment, id.as_str()];
        first(&mut *connection.prepare_cached(&sql)?, params, agent)
    }

    fn agents(&self, reach: &Reach) -> Result<Vec<AgentRow>, StoreError> {
        let connection = self.reader.lock();
        let (within, (tenant, environment)) = (condition(Some(reach)), parts(Some(reach)));
        let sql = format!("SELECT {COLUMNS} FROM agents WHERE {within} ORDER BY created_at, rowid");
        all(&mut *connection.prepare_cached(&sql)?, params![tenant, environment], agent)
    }

    fn remove_agent(&self, reach: &Reach, id: &AgentId) -> Result<bool, StoreError> {
        self.writer.write(|transaction| {
            let (within, (tenant, environment)) = (condition(Some(reach)), parts(Some(reach)));
            let sql = format!("DELETE FROM agents WHERE {within} AND id = ?3");
            let params = params![tenant, environment, id.as_str()];
            Ok(transaction.prepare_cached(&sql)?.execute(params)? > 0)
        })
    }
}

fn insert(connection: &Connection, row: &AgentRow) -> Result<(), StoreError> {
    let sql = format!("INSERT INTO agents ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)");
    connection.prepare_cached(&sql)?.execute(params![
        row.id.as_str(),
        row.tenant.as_str(),
        row.environment.as_ref().map(|environment| environment.as_str()),
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
        environment: fields.parse_optional("environment")?,
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
    use crate::ids::Realm;
    use crate::store::{ControlStore, MemoryControl};

    fn keeps_agents(store: &dyn ControlStore) {
        let row = |tenant: &str, environment: Option<&str>, role: Option<&str>| AgentRow {
            id: AgentId::fresh(),
            tenant: tenant.parse().unwrap(),
            environment: environment.map(|name| name.parse().unwrap()),
            name: "Planner \"Agent\"".to_owned(),
            description: String::new(),
            metadata: json!({ "framework": "autogen", "n": [1, null] }),
            role: role.map(|role| role.parse().unwrap()),
            created_at: Millis(1),
        };
        let (a, b) = (row("acme", None, Some("planner")), row("acme", Some("dev"), None));
        let (c, other) = (row("acme", Some("prod"), None), row("globex", None, None));
        for row in [&a, &b, &c, &other] {
            store.insert_agent(row).unwrap();
        }
        let every = |row: &AgentRow| Reach::every(row.tenant.clone());
        let dev = Reach::one(Realm { tenant: a.tenant.clone(), environment: "dev".parse().unwrap() });
        assert_eq!(store.agents(&every(&a)).unwrap(), [a.clone(), b.clone(), c.clone()]);
        assert_eq!(store.agents(&dev).unwrap(), std::slice::from_ref(&b));
        assert_eq!(store.agent(&every(&a), &a.id).unwrap().as_ref(), Some(&a));
        assert_eq!(store.agent(&dev, &b.id).unwrap().as_ref(), Some(&b));
        for (reach, beyond) in [(&every(&other), &a), (&dev, &a), (&dev, &c)] {
            assert_eq!(store.agent(reach, &beyond.id).unwrap(), None);
            assert!(!store.remove_agent(reach, &beyond.id).unwrap(), "another's agent was removed");
        }
        assert!(store.remove_agent(&every(&a), &a.id).unwrap());
        assert!(!store.remove_agent(&every(&a), &a.id).unwrap());
        assert!(store.remove_agent(&dev, &b.id).unwrap());
        assert_eq!(store.agents(&every(&a)).unwrap(), [c]);
    }

    #[test]
    fn agents_are_kept_by_tenant_and_environment() {
        let folder = tempfile::tempdir().unwrap();
        keeps_agents(&SqliteControl::open(&folder.path().join("control.db")).unwrap());
        keeps_agents(&MemoryControl::new());
    }
}
