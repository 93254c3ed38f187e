//! How it's found out afterwards what became of a write whose reply was lost: a read of the same connection, and what its
//! reply says of the write.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::{Connection, Kind, Operation, Parameter, Parameters, TypedSend};
use crate::clock::Millis;
use crate::ids::{OperationName, UserId};
use crate::json;
use crate::refusal::SendFailure;
use crate::text::visible;

/// How far from the time at which a write was begun its record may be dated, in milliseconds: five minutes. A request takes two
/// at most (`TOTAL_MS_LIMIT`); the rest is for clocks that differ.
const SPAN_MS: i64 = 300_000;

/// Of a status that isn't the final one, so many characters are shown.
const STATUS_SHOWN_MAX: usize = 40;

/// How a write is looked up that nobody knows the end of.
#[derive(Debug)]
pub struct ReconcileRule {
    /// The operation that looks: a GET that changes nothing.
    pub read: Arc<Operation>,
    /// Its parameters in the path.
    pub path: BTreeMap<String, Given>,
    /// Its parameters in the query.
    pub query: BTreeMap<String, Given>,
    /// Where its reply has the list of those that may be the write: a JSON pointer (RFC 6901), as all places here. `None`: the
    /// reply itself is the one.
    pub list: Option<String>,
    /// Where one of them carries a write's key.
    pub key: String,
    /// Where it has the amount in minor units: set for what costs something, and for nothing else.
    pub amount: Option<String>,
    /// Where it has a text, and which that has to be, for the write to have been carried out.
    pub status: Option<(String, String)>,
}

/// What a parameter of a look-up is given.
#[derive(Debug, Clone, PartialEq)]
pub enum Given {
    /// Always this.
    Constant(Value),
    /// The write's key.
    Key,
    /// Five minutes before the write was begun: seconds since 1970 where the parameter is an integer, RFC 3339 in a text.
    Earliest,
    /// Five minutes after it was begun, written likewise.
    Latest,
}

/// A write that nobody knows the end of.
#[derive(Debug, Clone, Copy)]
pub struct LostWrite<'a> {
    /// The key that was written into its request.
    pub key: &'a str,
    /// When it was begun.
    pub begun: Millis,
}

/// A request that looks a write up.
///
/// INVARIANT (looks): built only by [`Connection::lookup`], of the read that the connection's file names for that write.
#[derive(Debug)]
pub struct Lookup(TypedSend);

impl Lookup {
    /// The request.
    pub(crate) fn into_send(self) -> TypedSend {
        self.0
    }
}

impl Connection {
    /// How writes of this operation are looked up.
    #[must_use]
    pub fn reconciles(&self, operation: &OperationName) -> Option<&Arc<ReconcileRule>> {
        self.reconciles.get(operation)
    }

    /// The request that looks a write up, with the secret of the user whose own was attached to the write, if that was one.
    ///
    /// # Errors
    /// As for [`Self::accept_values`], and where a user's own secret is to be attached and there's no user.
    pub fn lookup(
        self: &Arc<Self>,
        rule: &ReconcileRule,
        write: LostWrite<'_>,
        user: Option<&UserId>,
    ) -> Result<Lookup, SendFailure> {
        let mut send = self.accept_values(&rule.read, &rule.parameters(write), None)?;
        send.bind(user)?;
        Ok(Lookup(send))
    }
}

impl ReconcileRule {
    /// The parameters of the read that looks this write up.
    pub(super) fn parameters(&self, write: LostWrite<'_>) -> Parameters {
        let values = |given: &BTreeMap<String, Given>, declared: &BTreeMap<String, Parameter>| {
            let value = |(name, given): (&String, &Given)| {
                let kind = declared.get(name).map(|parameter| &parameter.kind);
                (name.clone(), given.value(write, matches!(kind, Some(Kind::Integer { .. }))))
            };
            given.iter().map(value).collect::<Map<_, _>>()
        };
        Parameters {
            path: values(&self.path, &self.read.path_parameters),
            query: values(&self.query, &self.read.query_parameters),
            body: Map::new(),
        }
    }

    /// What a write came to, in minor units, where it costs something: by the body of a reply with a 2xx status, which says that
    /// the write with this key was carried out.
    ///
    /// INVARIANT (proof): it was only where one candidate, and no more, carries its key, is final and says what it came to. That
    /// none carries it proves nothing: lists have pages, upstreams lag behind, and a header of the write may have named another
    /// account.
    ///
    /// # Errors
    /// Why it can't be told.
    pub fn found(&self, key: &str, body: &[u8]) -> Result<Option<u64>, String> {
        let reply = json::parse(body, body.len()).map_err(|_| "the reply isn't JSON")?;
        let candidates = match &self.list {
            None => std::slice::from_ref(&reply),
            Some(at) => match reply.pointer(at).and_then(Value::as_array) {
                Some(list) => list.as_slice(),
                None => return Err("the reply has no list where the connection's file says".to_owned()),
            },
        };
        let this: Vec<_> = candidates.iter().filter(|one| text(one, &self.key) == Some(key)).collect();
        let is_final =
            |one: &&Value| self.status.as_ref().is_none_or(|(at, is)| text(one, at) == Some(is.as_str()));
        let mut made = this.iter().copied().filter(is_final);
        let found = match (made.next(), made.next(), this.first()) {
            (Some(found), None, _) => found,
            (Some(_), Some(_), _) => return Err("several carry its key".to_owned()),
            (None, _, Some(other)) => {
                let status = self.status.as_ref().and_then(|(at, _)| text(other, at)).unwrap_or_default();
                let shown = visible(status, STATUS_SHOWN_MAX);
                return Err(format!("it's there, and its status {shown:?} isn't the final one"));
            }
            (None, _, None) => {
                return Err("it isn't among those that were read, which proves nothing".to_owned());
            }
        };
        let Some(at) = &self.amount else { return Ok(None) };
        match found.pointer(at).and_then(Value::as_u64) {
            None => Err("it's there, and its amount isn't a whole number of at least 0".to_owned()),
            amount => Ok(amount),
        }
    }
}

/// A text of a reply.
fn text<'v>(of: &'v Value, at: &str) -> Option<&'v str> {
    of.pointer(at).and_then(Value::as_str)
}

impl Given {
    fn value(&self, write: LostWrite<'_>, in_seconds: bool) -> Value {
        let time = |at: i64| match in_seconds {
            true => Value::from(at.div_euclid(1_000)),
            false => Value::from(Millis(at).to_string()),
        };
        match self {
            Self::Constant(value) => value.clone(),
            Self::Key => Value::from(write.key),
            Self::Earliest => time(write.begun.0.saturating_sub(SPAN_MS)),
            Self::Latest => time(write.begun.0.saturating_add(SPAN_MS)),
        }
    }
}
