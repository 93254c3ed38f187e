//! How it's found out afterwards what became of a write whose reply was lost: a read of the same connection, and what its
//! reply says of the write.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::{Connection, Kind, Operation, Parameter, Parameters, TypedSend};
use crate::clock::Millis;
use crate::dto::read_json;
use crate::egress::SendFailure;
use crate::ids::{OperationName, UserId};

/// How far from the time at which a write was begun its record may be dated, in milliseconds: five minutes. A request takes two
/// at most (`TOTAL_MS_LIMIT`); the rest is for clocks that differ.
const SPAN_MS: i64 = 300_000;

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
    /// When its absence means that the write wasn't made. `None`: never.
    pub absent: Option<Absent>,
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

/// When the absence of a write means that it wasn't made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Absent {
    /// So long after it was begun.
    pub after: Duration,
    /// Where the reply says whether it left any out: it has to be `false`. `None`: it leaves none out.
    pub more: Option<String>,
}

/// A write that nobody knows the end of.
#[derive(Debug, Clone, Copy)]
pub struct LostWrite<'a> {
    /// The key that was written into its request.
    pub key: &'a str,
    /// When it was begun.
    pub begun: Millis,
}

/// What a look-up says of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It was carried out.
    Made {
        /// What it came to, in minor units, where it costs something.
        amount: Option<u64>,
    },
    /// It wasn't.
    NotMade,
    /// That can't be told, and why.
    Unclear(&'static str),
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

    /// What the body of a reply with a 2xx status says of the write.
    ///
    /// INVARIANT (proof): it was made only where one candidate, and no more, carries its key, is final and says what it came to.
    /// That none carries it proves nothing by itself: lists have pages, and upstreams lag behind.
    #[must_use]
    pub fn found(&self, write: LostWrite<'_>, body: &[u8], now: Millis) -> Found {
        let Ok(reply) = read_json(body, body.len()) else {
            return Found::Unclear("the reply isn't JSON");
        };
        let candidates = match &self.list {
            None => std::slice::from_ref(&reply),
            Some(at) => match reply.pointer(at).and_then(Value::as_array) {
                Some(list) => list.as_slice(),
                None => return Found::Unclear("the reply has no list where the connection's file says"),
            },
        };
        let says = |candidate: &Value, at: &str, wanted: &str| {
            candidate.pointer(at).and_then(Value::as_str) == Some(wanted)
        };
        let this: Vec<_> = candidates.iter().filter(|one| says(one, &self.key, write.key)).collect();
        if this.is_empty() {
            return self.absent(write, &reply, now);
        }
        let is_final = |one: &Value| self.status.as_ref().is_none_or(|(at, is)| says(one, at, is));
        let mut made = this.into_iter().filter(|one| is_final(one));
        let found = match (made.next(), made.next()) {
            (Some(found), None) => found,
            (Some(_), Some(_)) => return Found::Unclear("several carry its key"),
            (None, _) => return Found::Unclear("it's there, and its status isn't the final one"),
        };
        let Some(at) = &self.amount else { return Found::Made { amount: None } };
        match found.pointer(at).and_then(Value::as_u64) {
            None => Found::Unclear("it's there, and its amount isn't a whole number of at least 0"),
            amount => Found::Made { amount },
        }
    }

    fn absent(&self, write: LostWrite<'_>, reply: &Value, now: Millis) -> Found {
        let Some(Absent { after, more }) = &self.absent else {
            return Found::Unclear("it isn't among those that were read, which proves nothing");
        };
        let complete = more.as_ref().is_none_or(|at| reply.pointer(at) == Some(&Value::Bool(false)));
        match complete {
            false => Found::Unclear("it isn't among those that were read, and there may be more"),
            true if now < write.begun.plus(*after) => Found::Unclear("it isn't there yet"),
            true => Found::NotMade,
        }
    }
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
