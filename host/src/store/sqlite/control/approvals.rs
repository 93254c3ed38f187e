//! Requests that need a person.

use rusqlite::{Connection, Row, ToSql, params};

use super::{FORGOTTEN_MAX, SqliteControl};
use crate::clock::Millis;
use crate::ids::{ApprovalId, Realm};
use crate::policy::About;
use crate::store::sqlite::error::is_taken;
use crate::store::sqlite::fields::{Fields, all, first};
use crate::store::sqlite::within::{condition, parts};
use crate::store::{
    ApprovalFilter, ApprovalRow, ApprovalState, ApprovalStore, Opening, PendingLimits, Stage, StoreError,
};

pub(super) const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS approvals (
        id           TEXT PRIMARY KEY,
        tenant       TEXT NOT NULL,
        environment  TEXT NOT NULL,
        fingerprint  TEXT NOT NULL,
        token        TEXT NOT NULL,
        root         TEXT NOT NULL,
        agent        TEXT NOT NULL,
        role         TEXT,
        conversation TEXT,
        connection   TEXT,
        operation    TEXT,
        action       TEXT,
        resource     TEXT,
        quorum       INTEGER NOT NULL,
        own          TEXT NOT NULL,
        note         BLOB NOT NULL,
        asked_at     INTEGER NOT NULL,
        expires_at   INTEGER NOT NULL,
        stage        TEXT NOT NULL,
        votes        TEXT NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS approvals_tenant ON approvals (tenant, asked_at);
    CREATE INDEX IF NOT EXISTS approvals_same ON approvals (tenant, fingerprint);
    CREATE INDEX IF NOT EXISTS approvals_root ON approvals (root, expires_at);
    CREATE INDEX IF NOT EXISTS approvals_over ON approvals (expires_at);
";

/// What `action` holds where it's about a tool's call.
const CALL: &str = "call";
/// What it holds where it's about code.
const CODE: &str = "run_code";

const COLUMNS: &str = "id, tenant, environment, fingerprint, token, root, agent, role, conversation, connection, \
     operation, action, resource, quorum, own, note, asked_at, expires_at, stage, votes";

impl ApprovalStore for SqliteControl {
    fn foresee_approval(&self, row: &ApprovalRow, limits: PendingLimits) -> Result<Opening, StoreError> {
        foresee(&self.reader.lock(), row, limits)
    }

    fn open_approval(&self, row: &ApprovalRow, limits: PendingLimits) -> Result<Opening, StoreError> {
        self.writer.write(|transaction| {
            let opening = foresee(transaction, row, limits)?;
            if opening == Opening::Fresh {
                insert(transaction, row)?;
            }
            Ok(opening)
        })
    }

    fn approval(&self, id: &ApprovalId) -> Result<Option<ApprovalRow>, StoreError> {
        by_id(&self.reader.lock(), id)
    }

    fn approvals(&self, filter: &ApprovalFilter) -> Result<Vec<ApprovalRow>, StoreError> {
        list(&self.reader.lock(), filter)
    }

    fn change_approval(
        &self,
        id: &ApprovalId,
        change: &mut dyn FnMut(&mut ApprovalRow),
    ) -> Result<bool, StoreError> {
        // INVARIANT (one change): the transaction is a BEGIN IMMEDIATE, so no other writer, of this process or
        // another, comes between reading the row and writing it.
        self.writer.write(|transaction| {
            let Some(row) = by_id(transaction, id)? else { return Ok(false) };
            let mut changed = row.clone();
            change(&mut changed);
            if (changed.stage, &changed.votes) != (row.stage, &row.votes) {
                let sql = "UPDATE approvals SET stage = ?2, votes = ?3 WHERE id = ?1";
                let params = params![id.as_str(), changed.stage.as_str(), json(&changed.votes)?];
                transaction.prepare_cached(sql)?.execute(params)?;
            }
            Ok(true)
        })
    }

    fn forget_approvals(&self, at: Millis) -> Result<(), StoreError> {
        self.writer.write_in_turns(|transaction| {
            Ok(transaction.prepare_cached(FORGET)?.execute(params![at.0, FORGOTTEN_MAX])?)
        })
    }
}

// Those whose time is over are kept for a month. SQLite can't know that they're nearly all there are, so each of these says
// by which index the few are found that are good.

/// Its parameters: tenant, fingerprint, time.
fn same_query() -> String {
    format!(
        "SELECT {COLUMNS} FROM approvals INDEXED BY approvals_same WHERE tenant = ?1 AND fingerprint = ?2 \
         AND expires_at > ?3 AND stage != 'used' ORDER BY asked_at DESC, rowid DESC LIMIT 1"
    )
}

const OF_TOKEN: &str = "SELECT count(*) FROM approvals INDEXED BY approvals_root WHERE root = ?1 AND expires_at > ?2 \
                        AND stage IN ('pending', 'denied')";

const OF_ENVIRONMENT: &str = "SELECT count(*) FROM approvals INDEXED BY approvals_over WHERE tenant = ?1 \
                              AND environment = ?2 AND expires_at > ?3 AND stage = 'pending'";

fn foresee(connection: &Connection, row: &ApprovalRow, limits: PendingLimits) -> Result<Opening, StoreError> {
    let tenant = row.realm.tenant.as_str();
    let same = params![tenant, row.fingerprint.to_string(), row.asked_at.0];
    if let Some(known) = first(&mut *connection.prepare_cached(&same_query())?, same, approval)? {
        return Ok(Opening::Known(Box::new(known)));
    }
    let count = |sql: &str, params: &[&dyn ToSql]| -> Result<u32, StoreError> {
        Ok(connection.prepare_cached(sql)?.query_row(params, |row| row.get(0))?)
    };
    // Whoever delegates gets no other list by it.
    if count(OF_TOKEN, params![row.root.as_str(), row.asked_at.0])? >= limits.per_token_max {
        return Ok(Opening::TokenFull);
    }
    let environment = row.realm.environment.as_str();
    if count(OF_ENVIRONMENT, params![tenant, environment, row.asked_at.0])? >= limits.per_environment_max {
        return Ok(Opening::EnvironmentFull);
    }
    Ok(Opening::Fresh)
}

const FORGET: &str = "DELETE FROM approvals WHERE rowid IN (SELECT rowid FROM approvals \
    INDEXED BY approvals_over WHERE expires_at <= ?1 LIMIT ?2)";

fn insert(connection: &Connection, row: &ApprovalRow) -> Result<(), StoreError> {
    let sql = format!(
        "INSERT INTO approvals ({COLUMNS}) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)"
    );
    let (connection_name, operation, action, resource) = match &row.about {
        About::Operation { connection, operation } => {
            (Some(connection.as_str()), Some(operation.as_str()), None, None)
        }
        About::Api { action, resource } => (None, None, Some(action.as_str()), Some(resource.as_str())),
        About::Call { tool } => (None, Some(tool.as_str()), Some(CALL), None),
        About::Code { tool } => (None, Some(tool.as_str()), Some(CODE), None),
    };
    let inserted = connection.prepare_cached(&sql)?.execute(params![
        row.id.as_str(),
        row.realm.tenant.as_str(),
        row.realm.environment.as_str(),
        row.fingerprint.to_string(),
        row.token.as_str(),
        row.root.as_str(),
        row.agent.as_str(),
        row.role.as_ref().map(|role| role.as_str()),
        row.conversation.as_ref().map(|conversation| conversation.as_str()),
        connection_name,
        operation,
        action,
        resource,
        row.quorum,
        json(&row.own)?,
        row.note,
        row.asked_at.0,
        row.expires_at.0,
        row.stage.as_str(),
        json(&row.votes)?,
    ]);
    match inserted {
        Err(error) if is_taken(&error) => Err(StoreError::Exists(format!("approval {}", row.id))),
        other => other.map(drop).map_err(StoreError::from),
    }
}

fn by_id(connection: &Connection, id: &ApprovalId) -> Result<Option<ApprovalRow>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM approvals WHERE id = ?1");
    first(&mut *connection.prepare_cached(&sql)?, [id.as_str()], approval)
}

fn list(connection: &Connection, filter: &ApprovalFilter) -> Result<Vec<ApprovalRow>, StoreError> {
    let (tenant, environment) = parts(filter.reach.as_ref());
    let params = params![tenant, environment, filter.now.0, filter.limit];
    all(&mut *connection.prepare_cached(&list_query(filter))?, params, approval)
}

/// Its parameters: tenant, environment, time, limit. Whatever is asked for, it names all of them.
fn list_query(filter: &ApprovalFilter) -> String {
    let within = condition(filter.reach.as_ref());
    let (index, state) = match filter.state {
        None => ("", "?3 IS NOT NULL"),
        Some(ApprovalState::Pending) => {
            ("INDEXED BY approvals_over", "stage = 'pending' AND expires_at > ?3")
        }
        Some(ApprovalState::Granted) => {
            ("INDEXED BY approvals_over", "stage = 'granted' AND expires_at > ?3")
        }
        Some(ApprovalState::Denied) => ("", "stage = 'denied' AND ?3 IS NOT NULL"),
        Some(ApprovalState::Used) => ("", "stage = 'used' AND ?3 IS NOT NULL"),
        Some(ApprovalState::Expired) => ("", "stage IN ('pending', 'granted') AND expires_at <= ?3"),
    };
    format!(
        "SELECT {COLUMNS} FROM approvals {index} WHERE {within} AND {state} \
         ORDER BY asked_at DESC, rowid DESC LIMIT ?4"
    )
}

fn approval(row: &Row<'_>) -> Result<ApprovalRow, StoreError> {
    let fields = Fields::new(row, "approval", &["id"]);
    let stage: String = fields.get("stage")?;
    let known = Stage::ALL.into_iter().find(|known| known.as_str() == stage);
    Ok(ApprovalRow {
        id: fields.parse("id")?,
        realm: Realm { tenant: fields.parse("tenant")?, environment: fields.parse("environment")? },
        fingerprint: fields.parse("fingerprint")?,
        token: fields.parse("token")?,
        root: fields.parse("root")?,
        agent: fields.parse("agent")?,
        role: fields.parse_optional("role")?,
        conversation: fields.parse_optional("conversation")?,
        about: about(&fields)?,
        quorum: fields.unsigned("quorum")?,
        own: fields.json("own")?,
        note: fields.get("note")?,
        asked_at: Millis(fields.get("asked_at")?),
        expires_at: Millis(fields.get("expires_at")?),
        stage: known.ok_or_else(|| fields.damaged("stage", &"no such stage"))?,
        votes: fields.json("votes")?,
    })
}

/// A tool's call and code have the tool's name where an operation's would be, no connection, and say in `action` which they are.
fn about(fields: &Fields<'_, '_>) -> Result<About, StoreError> {
    let text = |column| fields.get::<Option<String>>(column);
    let names = (text("connection")?, text("operation")?);
    Ok(match (names, (text("action")?, text("resource")?)) {
        ((Some(_), Some(_)), (None, None)) => About::Operation {
            connection: fields.parse("connection")?,
            operation: fields.parse("operation")?,
        },
        ((None, None), (Some(action), Some(resource))) => About::Api { action, resource },
        ((None, Some(_)), (Some(action), None)) if action == CALL => {
            About::Call { tool: fields.parse("operation")? }
        }
        ((None, Some(_)), (Some(action), None)) if action == CODE => {
            About::Code { tool: fields.parse("operation")? }
        }
        _ => {
            let rule = "it's about an operation, a resource, a tool's call or code";
            return Err(fields.damaged("operation", &rule));
        }
    })
}

fn json(value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reach::Reach;
    use crate::store::sqlite::plan;

    #[test]
    fn those_whose_time_is_over_are_not_read() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(TABLES).unwrap();
        let plan = |sql: &str, with: &[&dyn ToSql]| plan(&connection, sql, with);
        let same = "SEARCH approvals USING INDEX approvals_same (tenant=? AND fingerprint=?)";
        assert_eq!(plan(&same_query(), params!["a", "f", 1])[0], same);
        let of_token = "SEARCH approvals USING INDEX approvals_root (root=? AND expires_at>?)";
        assert_eq!(plan(OF_TOKEN, params!["r", 1]), [of_token]);
        let good = "SEARCH approvals USING INDEX approvals_over (expires_at>?)";
        assert_eq!(plan(OF_ENVIRONMENT, params!["a", "e", 1]), [good]);
        let over = "INDEX approvals_over (expires_at<?)";
        assert!(plan(FORGET, params![1, 9]).iter().any(|step| step.ends_with(over)));

        let realm = Realm { tenant: "acme".parse().unwrap(), environment: "prod".parse().unwrap() };
        for reach in [None, Some(Reach::every(realm.tenant.clone())), Some(Reach::one(realm))] {
            for state in [ApprovalState::Pending, ApprovalState::Granted] {
                let filter =
                    ApprovalFilter { reach: reach.clone(), state: Some(state), now: Millis(1), limit: 9 };
                let plan = plan(&list_query(&filter), params!["a", "e", 1, 9]);
                assert_eq!(plan[0], good, "{filter:?}: {plan:?}");
            }
        }
    }
}
