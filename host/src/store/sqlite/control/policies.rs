//! Policies that were posted.

use rusqlite::{Connection, Row, params};

use super::SqliteControl;
use crate::clock::Millis;
use crate::ids::PolicyId;
use crate::reach::Reach;
use crate::store::sqlite::error::is_taken;
use crate::store::sqlite::fields::{Fields, all};
use crate::store::sqlite::within::{condition, parts};
use crate::store::{PolicyRow, PolicyStore, StoreError};

pub(super) const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS policies (
        id          TEXT PRIMARY KEY,
        tenant      TEXT NOT NULL,
        environment TEXT,
        name        TEXT NOT NULL,
        source      TEXT NOT NULL,
        cedar       TEXT NOT NULL,
        created_at  INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS policies_tenant ON policies (tenant, created_at);
";

impl PolicyStore for SqliteControl {
    fn insert_policy(&self, row: &PolicyRow) -> Result<(), StoreError> {
        self.writer.write(|transaction| insert(transaction, row))
    }

    fn policies(&self, reach: Option<&Reach>) -> Result<Vec<PolicyRow>, StoreError> {
        list(&self.reader.lock(), reach)
    }

    fn remove_policy(&self, reach: &Reach, id: &PolicyId) -> Result<bool, StoreError> {
        self.writer.write(|transaction| remove(transaction, reach, id))
    }
}

fn insert(connection: &Connection, row: &PolicyRow) -> Result<(), StoreError> {
    let sql = "INSERT INTO policies (id, tenant, environment, name, source, cedar, created_at) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let inserted = connection.prepare_cached(sql)?.execute(params![
        row.id.as_str(),
        row.tenant.as_str(),
        row.environment.as_ref().map(|environment| environment.as_str()),
        row.name,
        row.source.to_string(),
        row.cedar,
        row.created_at.0,
    ]);
    match inserted {
        Err(error) if is_taken(&error) => Err(StoreError::Exists(format!("the policy {}", row.id))),
        other => other.map(drop).map_err(StoreError::from),
    }
}

fn list(connection: &Connection, reach: Option<&Reach>) -> Result<Vec<PolicyRow>, StoreError> {
    let (within, (tenant, environment)) = (condition(reach), parts(reach));
    let sql = format!(
        "SELECT id, tenant, environment, name, source, cedar, created_at FROM policies WHERE {within} \
         ORDER BY tenant, created_at, id"
    );
    all(&mut *connection.prepare_cached(&sql)?, params![tenant, environment], policy)
}

fn remove(connection: &Connection, reach: &Reach, id: &PolicyId) -> Result<bool, StoreError> {
    let (within, (tenant, environment)) = (condition(Some(reach)), parts(Some(reach)));
    let sql = format!("DELETE FROM policies WHERE {within} AND id = ?3");
    Ok(connection.prepare_cached(&sql)?.execute(params![tenant, environment, id.as_str()])? > 0)
}

fn policy(row: &Row<'_>) -> Result<PolicyRow, StoreError> {
    let fields = Fields::new(row, "policy", &["id"]);
    Ok(PolicyRow {
        id: fields.parse("id")?,
        tenant: fields.parse("tenant")?,
        environment: fields.parse_optional("environment")?,
        name: fields.get("name")?,
        source: fields.json("source")?,
        cedar: fields.get("cedar")?,
        created_at: Millis(fields.get("created_at")?),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ids::Realm;
    use crate::store::{ControlStore, MemoryControl};

    fn row(tenant: &str, created_at: i64) -> PolicyRow {
        PolicyRow {
            id: PolicyId::fresh(),
            tenant: tenant.parse().unwrap(),
            environment: None,
            name: "Planner's capabilities".to_owned(),
            source: json!({ "actions": ["read"], "effect": "allow" }),
            cedar: "permit (principal, action, resource);".to_owned(),
            created_at: Millis(created_at),
        }
    }

    fn keeps_policies(store: &dyn ControlStore, version_counts: bool) {
        let (a, c) = (row("acme", 2), row("beta", 1));
        let b = PolicyRow { environment: Some("dev".parse().unwrap()), ..row("acme", 1) };
        let before = store.version().unwrap();
        for row in [&a, &b, &c] {
            store.insert_policy(row).unwrap();
        }
        assert!(!version_counts || store.version().unwrap() != before);
        assert!(matches!(store.insert_policy(&a), Err(StoreError::Exists(_))));
        assert_eq!(store.policies(None).unwrap(), [b.clone(), a.clone(), c.clone()]);
        let every = |row: &PolicyRow| Reach::every(row.tenant.clone());
        let one =
            |name: &str| Reach::one(Realm { tenant: a.tenant.clone(), environment: name.parse().unwrap() });
        assert_eq!(store.policies(Some(&every(&a))).unwrap(), [b.clone(), a.clone()]);
        assert_eq!(store.policies(Some(&one("dev"))).unwrap(), std::slice::from_ref(&b));
        assert_eq!(store.policies(Some(&one("prod"))).unwrap(), []);
        for (reach, beyond) in [(every(&c), &a), (one("dev"), &a), (one("prod"), &b)] {
            assert!(!store.remove_policy(&reach, &beyond.id).unwrap(), "another's policy was removed");
        }
        assert!(store.remove_policy(&every(&a), &a.id).unwrap());
        assert!(!store.remove_policy(&every(&a), &a.id).unwrap());
        assert_eq!(store.policies(None).unwrap(), [b, c]);
    }

    #[test]
    fn policies_are_kept_by_tenant_and_environment() {
        let folder = tempfile::tempdir().unwrap();
        keeps_policies(&SqliteControl::open(&folder.path().join("control.db")).unwrap(), true);
        keeps_policies(&MemoryControl::new(), true);
    }

    #[test]
    fn a_damaged_policy_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.db");
        let store = SqliteControl::open(&path).unwrap();
        store.insert_policy(&row("acme", 1)).unwrap();
        Connection::open(&path).unwrap().execute_batch("UPDATE policies SET source = '{'").unwrap();
        assert!(store.policies(None).unwrap_err().to_string().contains("source"));
    }
}
