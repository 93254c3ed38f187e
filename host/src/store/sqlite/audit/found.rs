//! Finds the rows of the calls of an agent, a conversation or a token: by what those calls' first rows are filed under, and
//! then by the calls. Each look goes by an index whose first columns are the realm, so nothing of another one is come upon.

use rusqlite::{Connection, OptionalExtension as _, ToSql, params};

use crate::ids::Environment;
use crate::reach::Reach;
use crate::store::{RowFilter, StoreError};

/// A tenant and an environment, as they're stored.
type Place = (String, String);

/// The numbers of at most `filter.limit` rows between two numbers, these included: in order, the newest ones where those come
/// first, and then from the newest on.
pub(super) fn numbers(
    connection: &Connection,
    filter: &RowFilter,
    (first, last): (i64, i64),
) -> Result<Vec<i64>, StoreError> {
    let limit = usize::try_from(filter.limit).unwrap_or(usize::MAX);
    let prepared = queries(filter).iter().map(|sql| connection.prepare(sql)).collect::<Result<Vec<_>, _>>();
    let mut statements = prepared?;
    let mut found: Vec<i64> = Vec::new();
    for (tenant, environment) in places(connection, filter.reach.as_ref())? {
        for agent in agents(connection, filter, (tenant.as_str(), environment.as_str()))? {
            for statement in &mut statements {
                let found_here = statement.query_map(
                    params![
                        tenant,
                        environment,
                        filter.conversation.as_ref().map(|name| name.as_str()),
                        agent,
                        filter.token.as_ref().map(|token| token.as_str()),
                        filter.call.as_ref().map(|call| call.as_str()),
                        first,
                        last,
                        filter.since.map_or(i64::MIN, |since| since.0),
                        filter.until.map_or(i64::MAX, |until| until.0),
                        filter.limit,
                    ],
                    |row| row.get::<_, i64>(0),
                )?;
                for seq in found_here {
                    found.push(seq?);
                }
                found.sort_unstable();
                found.dedup();
                if filter.newest_first {
                    found.reverse();
                }
                found.truncate(limit);
            }
        }
    }
    Ok(found)
}

/// The rows of calls; and, where no one call is meant, those that belong to none. Their parameters: tenant, environment,
/// conversation, agent, token, call, first and last number, since, until, limit.
pub(super) fn queries(filter: &RowFilter) -> Vec<String> {
    let mut who = vec!["f.tenant = ?1", "f.environment = ?2"];
    if filter.conversation.is_some() {
        who.push("f.conversation = ?3");
    }
    if filter.agent.is_some() {
        who.push("f.agent = ?4");
    } else if is_under_token_alone(filter) {
        who.push("f.agent IS ?4");
    }
    if filter.token.is_some() {
        who.push("f.token = ?5");
    }
    let (index, who) = match (&filter.call, &filter.conversation) {
        // Its few rows are looked through: `+` keeps SQLite from the other indexes.
        (Some(_), _) => ("audit_call", format!("f.call = ?6 AND +{}", who.join(" AND +"))),
        (None, Some(_)) => ("audit_conversation", who.join(" AND ")),
        (None, None) => ("audit_agent", who.join(" AND ")),
    };
    let order = if filter.newest_first { "DESC" } else { "ASC" };
    let within = |row: &str| {
        let times = if filter.since.is_some() || filter.until.is_some() {
            format!(" AND {row}.at >= ?9 AND {row}.at < ?10")
        } else {
            String::new()
        };
        format!("{row}.seq >= ?7 AND {row}.seq <= ?8{times} ORDER BY {row}.seq {order} LIMIT ?11")
    };
    // No row of a call comes before its first one.
    let of_calls = format!(
        "SELECT r.seq FROM audit f INDEXED BY {index} CROSS JOIN audit r INDEXED BY audit_call ON r.call = f.call \
         WHERE {who} AND f.seq <= ?8 AND {}",
        within("r")
    );
    let of_none = format!(
        "SELECT f.seq FROM audit f INDEXED BY {index} WHERE {who} AND f.call IS NULL AND {}",
        within("f")
    );
    if filter.call.is_some() { vec![of_calls] } else { vec![of_calls, of_none] }
}

/// Whether its index has to be asked about each agent, and about none: a row that says which token was revoked doesn't say
/// whose it was.
fn is_under_token_alone(filter: &RowFilter) -> bool {
    filter.agent.is_none() && filter.conversation.is_none() && filter.call.is_none()
}

/// Where to look: the realms within reach of which there are rows.
fn places(connection: &Connection, reach: Option<&Reach>) -> Result<Vec<Place>, StoreError> {
    let tenant = reach.map(|reach| reach.tenant().as_str());
    if let Some((tenant, one)) = tenant.zip(reach.and_then(Reach::environment).map(Environment::as_str)) {
        return Ok(vec![(tenant.to_owned(), one.to_owned())]);
    }
    let sql = if tenant.is_some() { NEXT_ENVIRONMENT } else { NEXT_REALM };
    let mut next = connection.prepare(sql)?;
    let mut found: Vec<Place> = Vec::new();
    loop {
        let (after, environment) = found
            .last()
            .map_or((tenant.unwrap_or(""), ""), |(tenant, last)| (tenant.as_str(), last.as_str()));
        let row = next.query_row([after, environment], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let Some(place) = row else { break };
        found.push(place);
    }
    Ok(found)
}

/// Of a tenant.
pub(super) const NEXT_ENVIRONMENT: &str = "SELECT tenant, environment FROM audit INDEXED BY audit_realm \
     WHERE tenant = ?1 AND environment > ?2 ORDER BY environment LIMIT 1";
/// Of all.
pub(super) const NEXT_REALM: &str = "SELECT tenant, environment FROM audit INDEXED BY audit_realm \
     WHERE tenant IS NOT NULL AND (tenant, environment) > (?1, ?2) ORDER BY tenant, environment LIMIT 1";

/// Whose rows to look for: the agent's that is asked for, if one is; under a token alone, those of no agent, and of each one
/// that there is in the realm. There are few, beside their tokens.
fn agents(
    connection: &Connection,
    filter: &RowFilter,
    (tenant, environment): (&str, &str),
) -> Result<Vec<Option<String>>, StoreError> {
    let asked = filter.agent.as_ref().map(|agent| agent.as_str().to_owned());
    if !is_under_token_alone(filter) {
        return Ok(vec![asked]);
    }
    let mut next = connection.prepare(NEXT_AGENT)?;
    let (mut found, mut last) = (vec![None], String::new());
    loop {
        let with: [&dyn ToSql; 3] = [&tenant, &environment, &last];
        let Some(agent) = next.query_row(&with[..], |row| row.get::<_, Option<String>>(0))? else { break };
        last.clone_from(&agent);
        found.push(Some(agent));
    }
    Ok(found)
}

/// Of a realm.
pub(super) const NEXT_AGENT: &str = "SELECT min(agent) FROM audit INDEXED BY audit_agent \
     WHERE tenant = ?1 AND environment = ?2 AND agent > ?3";
