//! Minted tokens.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::FORGOTTEN_MAX;
use crate::clock::Millis;
use crate::ids::{AgentId, Realm, TokenId};
use crate::reach::Reach;
use crate::store::sqlite::error::is_taken;
use crate::store::sqlite::fields::{Fields, all, first};
use crate::store::sqlite::within::{condition, parts};
use crate::store::{StoreError, TokenKind, TokenRow};

const COLUMNS: &str = "id, hash, kind, tenant, environment, every_environment, agent, conversation, role, task, user, \
     parent, minted_by, rights, created_at, expires_at, revoked_at";

pub(super) fn insert(connection: &Connection, row: &TokenRow) -> Result<(), StoreError> {
    let rights = serde_json::to_string(&row.grant).map_err(|error| StoreError::Failed(error.to_string()))?;
    let sql = format!(
        "INSERT INTO tokens ({COLUMNS}, root) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, \
          ?14, ?15, ?16, ?17, coalesce((SELECT root FROM tokens WHERE id = ?12), ?12))"
    );
    let inserted = connection.prepare_cached(&sql)?.execute(params![
        row.id.as_str(),
        row.hash.as_slice(),
        kind_text(row.kind),
        row.realm.tenant.as_str(),
        row.realm.environment.as_str(),
        row.every_environment,
        row.agent.as_str(),
        row.conversation.as_ref().map(|conversation| conversation.as_str()),
        row.role.as_ref().map(|role| role.as_str()),
        row.task,
        row.user.as_ref().map(|user| user.as_str()),
        row.parent.as_ref().map(|parent| parent.as_str()),
        row.minted_by.as_ref().map(|operator| operator.as_str()),
        rights,
        row.created_at.0,
        row.expires_at.0,
        row.revoked_at.map(|at| at.0),
    ]);
    match inserted {
        Err(error) if is_taken(&error) => Err(StoreError::Exists(format!("token {}", row.id))),
        other => other.map(drop).map_err(StoreError::from),
    }
}

pub(super) fn by_hash(connection: &Connection, hash: &[u8; 32]) -> Result<Option<TokenRow>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM tokens WHERE hash = ?1");
    first(&mut *connection.prepare_cached(&sql)?, params![hash.as_slice()], token)
}

pub(super) fn by_id(connection: &Connection, id: &TokenId) -> Result<Option<TokenRow>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM tokens WHERE id = ?1");
    first(&mut *connection.prepare_cached(&sql)?, params![id.as_str()], token)
}

/// How many tokens were delegated from this one, which an operator minted, or from one below it.
pub(super) fn below(connection: &Connection, root: &TokenId) -> Result<u32, StoreError> {
    let sql = "SELECT count(*) FROM tokens WHERE root = ?1";
    Ok(connection.prepare_cached(sql)?.query_row(params![root.as_str()], |row| row.get(0))?)
}

/// A token that has ended.
pub(super) struct Over {
    /// Its id as it's stored.
    id: String,
    /// Which it is. `None`: its row is damaged.
    pub(super) token: Option<(Realm, TokenId)>,
}

/// Some of those that ended before a time.
pub(super) fn over(connection: &Connection, before: Millis) -> Result<Vec<Over>, StoreError> {
    let params = params![before.0, FORGOTTEN_MAX];
    all(&mut *connection.prepare_cached(OVER)?, params, |row| {
        Ok(Over { id: Fields::new(row, "token", &["id"]).get("id")?, token: which(row).ok() })
    })
}

fn which(row: &Row<'_>) -> Result<(Realm, TokenId), StoreError> {
    let fields = Fields::new(row, "token", &["id"]);
    let realm = Realm { tenant: fields.parse("tenant")?, environment: fields.parse("environment")? };
    Ok((realm, fields.parse("id")?))
}

pub(super) const OVER: &str = "SELECT id, tenant, environment FROM tokens INDEXED BY tokens_ended \
    WHERE min(expires_at, coalesce(revoked_at, expires_at)) < ?1 LIMIT ?2";

/// Runs inside a transaction.
pub(super) fn remove(connection: &Connection, tokens: &[Over]) -> Result<(), StoreError> {
    let mut delete = connection.prepare_cached("DELETE FROM tokens WHERE id = ?1")?;
    for token in tokens {
        delete.execute(params![token.id])?;
    }
    Ok(())
}

pub(super) fn list(connection: &Connection, reach: Option<&Reach>) -> Result<Vec<TokenRow>, StoreError> {
    let (within, (tenant, environment)) = (within(reach), parts(reach));
    let sql = format!("SELECT {COLUMNS} FROM tokens WHERE {within} ORDER BY created_at DESC, rowid DESC");
    all(&mut *connection.prepare_cached(&sql)?, params![tenant, environment], token)
}

pub(super) fn page(
    connection: &Connection,
    reach: Option<&Reach>,
    after: Option<&TokenId>,
    limit: u32,
) -> Result<Vec<TokenRow>, StoreError> {
    let (within, (tenant, environment)) = (within(reach), parts(reach));
    let sql = format!(
        "SELECT {COLUMNS} FROM tokens WHERE {within} AND (?3 IS NULL OR \
         (created_at, rowid) < (SELECT created_at, rowid FROM tokens WHERE id = ?3)) \
         ORDER BY created_at DESC, rowid DESC LIMIT ?4"
    );
    let params = params![tenant, environment, after.map(|id| id.as_str()), limit];
    all(&mut *connection.prepare_cached(&sql)?, params, token)
}

pub(super) fn revoke(
    connection: &Connection,
    id: &TokenId,
    reach: Option<&Reach>,
    at: Millis,
) -> Result<bool, StoreError> {
    let (within, (tenant, environment)) = (within(reach), parts(reach));
    let sql = format!(
        "UPDATE tokens SET revoked_at = coalesce(revoked_at, ?4) WHERE {within} AND id = ?3 RETURNING 1"
    );
    let found: Option<i64> = connection
        .prepare_cached(&sql)?
        .query_row(params![tenant, environment, id.as_str(), at.0], |row| row.get(0))
        .optional()?;
    Ok(found.is_some())
}

/// Revokes the tokens of an agent that are good at this time, and answers them.
pub(super) fn revoke_all_of(
    connection: &Connection,
    agent: &AgentId,
    reach: &Reach,
    at: Millis,
) -> Result<Vec<TokenRow>, StoreError> {
    let (within, (tenant, environment)) = (within(Some(reach)), parts(Some(reach)));
    let sql = format!(
        "UPDATE tokens SET revoked_at = ?4 WHERE {within} AND agent = ?3 AND revoked_at IS NULL AND expires_at > ?4 \
         RETURNING {COLUMNS}"
    );
    let params = params![tenant, environment, agent.as_str(), at.0];
    all(&mut *connection.prepare_cached(&sql)?, params, token)
}

/// As [`TokenRow::is_within`].
fn within(reach: Option<&Reach>) -> String {
    let narrow = reach.is_some_and(|reach| reach.environment().is_some());
    format!("{}{}", condition(reach), if narrow { " AND every_environment = 0" } else { "" })
}

fn token(row: &Row<'_>) -> Result<TokenRow, StoreError> {
    let fields = Fields::new(row, "token", &["id"]);
    let kind: String = fields.get("kind")?;
    Ok(TokenRow {
        id: fields.parse("id")?,
        hash: fields.get("hash")?,
        kind: kind_of(&kind).ok_or_else(|| fields.damaged("kind", &"no such kind of token"))?,
        realm: Realm { tenant: fields.parse("tenant")?, environment: fields.parse("environment")? },
        every_environment: fields.get("every_environment")?,
        agent: fields.parse("agent")?,
        conversation: fields.parse_optional("conversation")?,
        role: fields.parse_optional("role")?,
        task: fields.get("task")?,
        user: fields.parse_optional("user")?,
        parent: fields.parse_optional("parent")?,
        minted_by: fields.parse_optional("minted_by")?,
        grant: fields.json("rights")?,
        created_at: Millis(fields.get("created_at")?),
        expires_at: Millis(fields.get("expires_at")?),
        revoked_at: fields.get::<Option<i64>>("revoked_at")?.map(Millis),
    })
}

fn kind_text(kind: TokenKind) -> &'static str {
    match kind {
        TokenKind::Agent => "agent",
        TokenKind::Operator => "operator",
        TokenKind::Monitor => "monitor",
    }
}

fn kind_of(text: &str) -> Option<TokenKind> {
    TokenKind::ALL.into_iter().find(|kind| kind_text(*kind) == text)
}
