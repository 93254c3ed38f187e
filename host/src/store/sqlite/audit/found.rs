//! Finds the rows of the calls of an agent, a conversation or a token: by what those calls' first rows are filed under, and
//! then by the calls. Each look goes by an index whose first columns are the realm, so nothing of another one is come upon.
//!
//! A call's first row is filed, be it that the call begins, that it's refused, or that people are asked for it before either.
//! Another that is filed says the same. No row of a call comes before its first one, but the last may come long after: so of
//! the calls that fit, none can be left out but by looking. Where somebody has many rows, a page is full after a few steps from
//! its end on. Where there are few, all of them are looked up by index, and sorted. What is left, many rows long ago, is walked
//! to, and takes its time.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{looked_through, query, times};
use crate::clock::Millis;
use crate::ids::Environment;
use crate::reach::Reach;
use crate::store::sqlite::within;
use crate::store::{RowFilter, StoreError};

/// So many rows are walked first, which takes some milliseconds.
const WALKED_FIRST: usize = 4_096;

/// So many rows of somebody are sorted at most: eight bytes for each, and half a second in all.
const SORTED_MAX: usize = 200_000;

/// So many calls are remembered at once, of which it's known whether they're meant.
const CALLS_KEPT: usize = 65_536;

/// A tenant and an environment, as they're stored.
type Place = (String, String);

/// A search, which reads in one transaction.
pub(super) struct Search<'s> {
    pub(super) connection: &'s Connection,
    pub(super) filter: &'s RowFilter,
    /// When it's given up, where others wait for it; and how long that is.
    pub(super) until: Option<(Instant, Duration)>,
}

impl Search<'_> {
    /// The numbers of at most `filter.limit` rows between two numbers, these included, in the filter's order. For a filter that
    /// names no call.
    pub(super) fn numbers(&self, range: (i64, i64)) -> Result<Vec<i64>, StoreError> {
        let mut found = Vec::new();
        let Some(rest) = self.walk(range, WALKED_FIRST, &mut found)? else { return Ok(found) };
        if let Some(sorted) = self.sorted(range, SORTED_MAX)? {
            return Ok(sorted);
        }
        self.walk(rest, usize::MAX, &mut found)?;
        Ok(found)
    }

    /// Looks at so many rows between two numbers, one by one and in the filter's order, until there are as many as are wanted.
    /// Answers what is left of them, if there may be more.
    pub(super) fn walk(
        &self,
        (first, last): (i64, i64),
        most: usize,
        found: &mut Vec<i64>,
    ) -> Result<Option<(i64, i64)>, StoreError> {
        let filter = self.filter;
        let limit = usize::try_from(filter.limit).unwrap_or(usize::MAX);
        // Rows of another time are looked at here: SQLite would skip any number of them in one step, whatever the limits.
        let untimed = RowFilter { since: None, until: None, ..filter.clone() };
        let mut statement = self.connection.prepare(&query(&untimed, WALKED))?;
        let (tenant, environment) = within::parts(filter.reach.as_ref());
        let (token, agent, conversation) = whose(filter);
        let (call, since, until, no_limit) = (None::<&str>, None::<i64>, None::<i64>, -1);
        let mut rows = statement.query(params![
            tenant,
            environment,
            call,
            first,
            last,
            since,
            until,
            no_limit,
            token,
            agent,
            conversation
        ])?;
        let mut calls: HashMap<Vec<u8>, bool> = HashMap::new();
        let mut walked = 0;
        while found.len() < limit {
            let Some(row) = rows.next()? else { return Ok(None) };
            let seq: i64 = row.get(0)?;
            if walked == most {
                return Ok(Some(if filter.newest_first { (first, seq) } else { (seq, last) }));
            }
            walked += 1;
            self.go_on()?;
            let at = Millis(row.get(1)?);
            if filter.since.is_some_and(|since| at < since) || filter.until.is_some_and(|until| at >= until) {
                continue;
            }
            let (call, is_filed): (Option<Vec<u8>>, bool) = (row.get(2)?, row.get(3)?);
            let is_meant = match call {
                None => is_filed,
                Some(call) => match calls.get(&call) {
                    Some(known) => *known,
                    None => {
                        // A damaged one is nobody's, and keeps back no other.
                        let is_theirs =
                            || str::from_utf8(&call).map_or(Ok(false), |call| self.is_of_them(call));
                        let is_meant = is_filed || is_theirs()?;
                        if calls.len() >= CALLS_KEPT {
                            calls.clear();
                        }
                        calls.insert(call, is_meant);
                        is_meant
                    }
                },
            };
            if is_meant {
                found.push(seq);
            }
        }
        Ok(None)
    }

    /// The same numbers by the indexes, if there are no more than `most` rows of somebody up to the last number.
    pub(super) fn sorted(
        &self,
        (first, last): (i64, i64),
        most: usize,
    ) -> Result<Option<Vec<i64>>, StoreError> {
        let filter = self.filter;
        let (sql, name) = by_name(filter);
        let mut statement = self.connection.prepare(&sql)?;
        let (token, agent, _) = whose(filter);
        let (mut looked_at, mut found) = (0, Vec::new());
        for (tenant, environment) in places(self.connection, filter.reach.as_ref())? {
            let mut rows = statement.query(params![tenant, environment, name, last, token, agent])?;
            while let Some(row) = rows.next()? {
                if looked_at == most {
                    return Ok(None);
                }
                looked_at += 1;
                self.go_on()?;
                let (seq, is_filed): (i64, bool) = (row.get(0)?, row.get(1)?);
                if is_filed && (first..=last).contains(&seq) {
                    found.push(seq);
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        if filter.newest_first {
            found.reverse();
        }
        self.in_time(found).map(Some)
    }

    /// As many of these as are wanted, in their order, that were recorded in the filter's time. Beyond the numbers alone only
    /// where the clock went back.
    fn in_time(&self, found: Vec<i64>) -> Result<Vec<i64>, StoreError> {
        let RowFilter { since, until, limit, .. } = *self.filter;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut within = Vec::new();
        for seq in found {
            if within.len() == limit {
                break;
            }
            self.go_on()?;
            let at = if since.is_some() || until.is_some() { times::at(self.connection, seq)? } else { None };
            if at.is_none_or(|at| {
                since.is_none_or(|since| at >= since) && until.is_none_or(|until| at < until)
            }) {
                within.push(seq);
            }
        }
        Ok(within)
    }

    /// Whether a row of this call is filed under all that is asked for.
    pub(super) fn is_of_them(&self, call: &str) -> Result<bool, StoreError> {
        let filter = self.filter;
        let (tenant, environment) = within::parts(filter.reach.as_ref());
        let (token, agent, conversation) = whose(filter);
        let mut statement = self.connection.prepare_cached(&of_call(filter.reach.as_ref()))?;
        let with = params![tenant, environment, call, token, agent, conversation];
        Ok(statement.query_row(with, |row| row.get(0))?)
    }

    fn go_on(&self) -> Result<(), StoreError> {
        match self.until {
            Some((end, most)) if Instant::now() >= end => Err(StoreError::TooLong(format!(
                "the search was given up after {} seconds, as others wait for theirs: ask about less, by since and until, \
                 or from a row on that is closer to what is looked for, by before",
                most.as_secs()
            ))),
            _ => Ok(()),
        }
    }
}

/// What is read of a row that is walked past: its number, its time, its call, and whether it's filed under all that is asked for, which
/// are the parameters from the ninth on.
pub(super) const WALKED: &str = "seq, at, CAST(call AS BLOB), tenant IS NOT NULL AND ifnull(token = ?9, ?9 IS NULL) \
     AND ifnull(agent = ?10, ?10 IS NULL) AND ifnull(conversation = ?11, ?11 IS NULL)";

/// All rows of the calls whose first row, up to a number, is under one name in its index, and those that belong to none; for
/// each, whether that row is filed under the others as well. And the name. Parameters: tenant, environment, name, last number,
/// token, agent.
pub(super) fn by_name(filter: &RowFilter) -> (String, Option<&str>) {
    let (token, agent, conversation) = whose(filter);
    // Beginning with what has the fewest rows.
    let (column, name) = match (conversation, token) {
        (Some(_), _) => ("conversation", conversation),
        (None, Some(_)) => ("token", token),
        (None, None) => ("agent", agent),
    };
    // What the index says isn't read again.
    let of_token = if column == "token" || token.is_none() { "?5 IS ?5" } else { "f.token IS ?5" };
    let of_agent = if column == "agent" || agent.is_none() { "?6 IS ?6" } else { "f.agent IS ?6" };
    let sql = format!(
        "SELECT coalesce(r.seq, f.seq), {of_token} AND {of_agent} FROM audit f INDEXED BY audit_{column} \
         LEFT JOIN audit r INDEXED BY audit_call ON r.call = f.call \
         WHERE f.tenant = ?1 AND f.environment = ?2 AND f.{column} = ?3 AND f.seq <= ?4"
    );
    (sql, name)
}

/// Parameters: tenant, environment, call, token, agent, conversation.
pub(super) fn of_call(reach: Option<&Reach>) -> String {
    format!(
        "SELECT EXISTS (SELECT 1 FROM audit INDEXED BY audit_call WHERE call = ?3 AND {} AND +tenant IS NOT NULL \
         AND ifnull(+token = ?4, ?4 IS NULL) AND ifnull(+agent = ?5, ?5 IS NULL) \
         AND ifnull(+conversation = ?6, ?6 IS NULL))",
        looked_through(reach)
    )
}

/// Token, agent and conversation.
fn whose(filter: &RowFilter) -> (Option<&str>, Option<&str>, Option<&str>) {
    (
        filter.token.as_ref().map(|token| token.as_str()),
        filter.agent.as_ref().map(|agent| agent.as_str()),
        filter.conversation.as_ref().map(|name| name.as_str()),
    )
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
