//! Registered agents.

use rusqlite::{Connection, Row, params};

use super::{SqliteControl, tokens};
use crate::clock::Millis;
use crate::ids::AgentId;
use crate::reach::Reach;
use crate::store::sqlite::fields::{Fields, all, first};
use crate::store::sqlite::within::{condition, parts};
use crate::store::{AgentRow, AgentStore, StoreError, TokenRow};

pub(super) const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS agents (
        id          TEXT PRIMARY KEY,
        tenant      TEXT NOT NULL,
        environment TEXT,
        name        TEXT NOT NULL,
        description TEXT NOT NULL,
        metadata    TEXT NOT NULL,
        role        TEXT,
        created_at  INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS agents_tenant ON agents (tenant, created_at);
";

const COLUMNS: &str = "id, tenant, environment, name, description, metadata, role, created_at";

impl AgentStore for SqliteControl {
    fn insert_agent(&self, row: &AgentRow) -> Result<(), StoreError> {
        self.writer.write(|transaction| insert(transaction, row))
    }

    fn agent(&self, reach: &Reach, id: &AgentId) -> Result<Option<AgentRow>, StoreError> {
        by_id(&self.reader.lock(), reach, id)
    }

    fn agents(&self, reach: &Reach) -> Result<Vec<AgentRow>, StoreError> {
        let connection = self.reader.lock();
        let (within, (tenant, environment)) = (condition(Some(reach)), parts(Some(reach)));
        let sql = format!("SELECT {COLUMNS} FROM agents WHERE {within} ORDER BY created_at, rowid");
        all(&mut *connection.prepare_cached(&sql)?, params![tenant, environment], agent)
    }

    fn remove_agent(
        &self,
        reach: &Reach,
        id: &AgentId,
        at: Millis,
    ) -> Result<Option<(AgentRow, Vec<TokenRow>)>, StoreError> {
        self.writer.write(|transaction| {
            let Some(agent) = by_id(transaction, reach, id)? else { return Ok(None) };
            transaction.prepare_cached("DELETE FROM agents WHERE id = ?1")?.execute([id.as_str()])?;
            Ok(Some((agent, tokens::revoke_all_of(transaction, id, reach, at)?)))
        })
    }
}

fn by_id(connection: &Connection, reach: &Reach, id: &AgentId) -> Result<Option<AgentRow>, StoreError> {
    let (within, (tenant, environment)) = (condition(Some(reach)), parts(Some(reach)));
    let sql = format!("SELECT {COLUMNS} FROM agents WHERE {within} AND id = ?3");
    first(&mut *connection.prepare_cached(&sql)?, params![tenant, environment, id.as_str()], agent)
}

/// Whether an agent of this id is registered.
pub(super) fn is_there(connection: &Connection, id: &AgentId) -> Result<bool, StoreError> {
    Ok(connection.prepare_cached("SELECT 1 FROM agents WHERE id = ?1")?.exists([id.as_str()])?)
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
    use crate::ids::{Realm, TokenId};
    use crate::store::sqlite::control::tests::token;
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
            assert_eq!(
                store.remove_agent(reach, &beyond.id, Millis(5)).unwrap(),
                None,
                "another's was removed"
            );
        }
        assert_eq!(store.remove_agent(&every(&a), &a.id, Millis(5)).unwrap(), Some((a.clone(), Vec::new())));
        assert_eq!(store.remove_agent(&every(&a), &a.id, Millis(5)).unwrap(), None);
        assert_eq!(store.remove_agent(&dev, &b.id, Millis(5)).unwrap(), Some((b, Vec::new())));
        assert_eq!(store.agents(&every(&a)).unwrap(), [c]);
    }

    fn removes_its_tokens_and_takes_none_after_it(store: &dyn ControlStore) {
        let realm = Realm { tenant: "acme".parse().unwrap(), environment: "prod".parse().unwrap() };
        let reach = Reach::one(realm.clone());
        let agent = AgentRow {
            id: AgentId::fresh(),
            tenant: realm.tenant.clone(),
            environment: Some(realm.environment.clone()),
            name: "Planner".to_owned(),
            description: String::new(),
            metadata: json!({}),
            role: None,
            created_at: Millis(1),
        };
        let token = |at: i64, of: &AgentId| TokenRow { agent: of.clone(), ..token("acme", at) };
        let mine = token(1, &agent.id);
        let over = TokenRow { expires_at: Millis(5), ..token(2, &agent.id) };
        let revoked = TokenRow { revoked_at: Some(Millis(3)), ..token(3, &agent.id) };
        let another = token(4, &AgentId::fresh());
        assert!(!store.insert_registered(&mine).unwrap(), "it isn't registered yet");
        store.insert_agent(&agent).unwrap();
        assert!(store.insert_registered(&mine).unwrap());
        for row in [&over, &revoked, &another] {
            store.insert_token(row).unwrap();
        }

        let removed = store.remove_agent(&reach, &agent.id, Millis(5)).unwrap();
        assert_eq!(
            removed,
            Some((agent.clone(), vec![TokenRow { revoked_at: Some(Millis(5)), ..mine.clone() }]))
        );
        assert!(
            !store.insert_registered(&token(5, &agent.id)).unwrap(),
            "a token was minted for it afterwards"
        );
        let revoked_at = |id: &TokenId| store.token_by_id(id).unwrap().unwrap().revoked_at;
        let all = [&mine, &over, &revoked, &another].map(|row| revoked_at(&row.id));
        assert_eq!(all, [Some(Millis(5)), None, Some(Millis(3)), None]);
        assert_eq!(store.tokens(None).unwrap().len(), 4);
    }

    #[test]
    fn an_agent_goes_with_its_tokens() {
        let folder = tempfile::tempdir().unwrap();
        let sqlite = SqliteControl::open(&folder.path().join("control.db")).unwrap();
        removes_its_tokens_and_takes_none_after_it(&sqlite);
        removes_its_tokens_and_takes_none_after_it(&MemoryControl::new());
    }

    #[test]
    fn agents_are_kept_by_tenant_and_environment() {
        let folder = tempfile::tempdir().unwrap();
        keeps_agents(&SqliteControl::open(&folder.path().join("control.db")).unwrap());
        keeps_agents(&MemoryControl::new());
    }
}
