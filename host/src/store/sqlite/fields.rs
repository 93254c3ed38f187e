//! Columns → typed values. Whatever doesn't fit is reported as damage, with the row and the column.

use std::fmt::Display;
use std::str::FromStr;

use rusqlite::types::{FromSql, ValueRef};
use rusqlite::{Params, Row, Statement};
use serde::de::DeserializeOwned;

use crate::store::StoreError;

/// A row that is being read.
pub(super) struct Fields<'a, 's> {
    row: &'a Row<'s>,
    /// What the row is, for messages.
    what: &'static str,
    /// The columns that name it, for messages.
    keys: &'static [&'static str],
}

impl<'a, 's> Fields<'a, 's> {
    /// Wraps a row. `what` and the columns `keys` name it when it turns out to be damaged.
    pub(super) fn new(row: &'a Row<'s>, what: &'static str, keys: &'static [&'static str]) -> Self {
        Self { row, what, keys }
    }

    /// A column of one of SQLite's own types.
    pub(super) fn get<T: FromSql>(&self, column: &'static str) -> Result<T, StoreError> {
        self.row.get(column).map_err(|error| self.damaged(column, &error))
    }

    /// A column whose text is parsed.
    pub(super) fn parse<T: FromStr<Err: Display>>(&self, column: &'static str) -> Result<T, StoreError> {
        self.text(column)?.parse().map_err(|error| self.damaged(column, &error))
    }

    /// Like [`Self::parse`], for a column that may be null.
    pub(super) fn parse_optional<T: FromStr<Err: Display>>(
        &self,
        column: &'static str,
    ) -> Result<Option<T>, StoreError> {
        match self.row.get_ref(column) {
            Ok(ValueRef::Null) => Ok(None),
            _ => self.parse(column).map(Some),
        }
    }

    /// A column whose text is JSON.
    pub(super) fn json<T: DeserializeOwned>(&self, column: &'static str) -> Result<T, StoreError> {
        serde_json::from_str(self.text(column)?).map_err(|error| self.damaged(column, &error))
    }

    /// A column that holds a whole number which isn't negative.
    pub(super) fn unsigned<T: TryFrom<i64, Error: Display>>(
        &self,
        column: &'static str,
    ) -> Result<T, StoreError> {
        self.get::<i64>(column)?.try_into().map_err(|error| self.damaged(column, &error))
    }

    /// The report that a column holds what it can't.
    pub(super) fn damaged(&self, column: &'static str, why: &dyn Display) -> StoreError {
        let key: Vec<_> = self.keys.iter().map(|key| self.shown(key)).collect();
        StoreError::Damaged(format!("{} {}: column {column}: {why}", self.what, key.join("/")))
    }

    fn text(&self, column: &'static str) -> Result<&'a str, StoreError> {
        let value = self.row.get_ref(column).map_err(|error| self.damaged(column, &error))?;
        value.as_str().map_err(|error| self.damaged(column, &error))
    }

    fn shown(&self, column: &str) -> String {
        match self.row.get_ref(column) {
            Ok(ValueRef::Integer(number)) => number.to_string(),
            Ok(ValueRef::Text(text)) => {
                String::from_utf8_lossy(text).chars().flat_map(char::escape_default).take(128).collect()
            }
            _ => "?".to_owned(),
        }
    }
}

/// Reads every row of a query.
pub(super) fn all<T>(
    statement: &mut Statement<'_>,
    params: impl Params,
    read: impl Fn(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut rows = statement.query(params)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}

/// Reads the first row of a query, if there is one.
pub(super) fn first<T>(
    statement: &mut Statement<'_>,
    params: impl Params,
    read: impl Fn(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    let mut rows = statement.query(params)?;
    rows.next()?.map(read).transpose()
}
