//! The script: what is expected, and how a request is held against it.

use std::collections::VecDeque;
use std::fmt;

use serde_json::{Number, Value};

use super::{Level, wire};

/// The requests still expected, and what was logged.
#[derive(Debug, Default)]
pub(super) struct Script {
    pub(super) expected: VecDeque<Expected>,
    answers: VecDeque<Answer>,
    pub(super) logs: Vec<(Level, String)>,
}

/// How an expected request is answered.
#[derive(Debug)]
pub(super) enum Answer {
    Reply(wire::Response),
    Failure(wire::Failure),
}

/// One expected request.
#[derive(Debug)]
pub(super) struct Expected {
    method: String,
    path: String,
    pub(super) connection: Option<String>,
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Option<Body>,
}

/// The body of an expected request.
#[derive(Debug)]
pub(super) enum Body {
    Json(Value),
    Form(Vec<(String, String)>),
    Bytes(wire::RawBody),
}

impl Script {
    pub(super) fn push(&mut self, expected: Expected, answer: Answer) {
        self.expected.push_back(expected);
        self.answers.push_back(answer);
    }

    /// The next answer, if the request is the one expected next.
    ///
    /// # Panics
    ///
    /// When it isn't.
    pub(super) fn take(&mut self, request: &wire::Request) -> Answer {
        let (Some(expected), Some(answer)) = (self.expected.pop_front(), self.answers.pop_front()) else {
            panic!("a request came that wasn't expected: {} {}", request.method, request.path);
        };
        if let Some(difference) = expected.difference(request) {
            panic!("a request isn't the one expected ({expected}): {difference}");
        }
        answer
    }
}

impl Expected {
    pub(super) fn new(method: &str, path: &str) -> Self {
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            connection: None,
            query: Vec::new(),
            headers: Vec::new(),
            body: None,
        }
    }

    /// The first thing about a request that isn't as expected.
    fn difference(&self, request: &wire::Request) -> Option<String> {
        if (&self.method, &self.path) != (&request.method, &request.path) {
            return Some(format!("it is {} {}", request.method, request.path));
        }
        if let Some(connection) = self.connection.as_ref().filter(|name| **name != request.connection) {
            return Some(format!("it goes through `{}`, not `{connection}`", request.connection));
        }
        if sorted(&self.query) != sorted(&request.query) {
            return Some(format!("its query is {:?}, not {:?}", request.query, self.query));
        }
        for (name, value) in &self.headers {
            let sent = |(header, sent): &(String, String)| header.eq_ignore_ascii_case(name) && sent == value;
            if !request.headers.iter().any(sent) {
                return Some(format!("it lacks the header `{name}: {value}`; it has {:?}", request.headers));
            }
        }
        self.body_difference(request.body.as_ref())
    }

    fn body_difference(&self, body: Option<&wire::Body>) -> Option<String> {
        let right = match (body, &self.body) {
            (None, None) => true,
            (Some(wire::Body::Json(text)), Some(Body::Json(json))) => {
                serde_json::from_str::<Value>(text).is_ok_and(|sent| is_same(&sent, json))
            }
            (Some(wire::Body::Form(fields)), None) => fields.is_empty(),
            (Some(wire::Body::Form(fields)), Some(Body::Form(wanted))) => sorted(fields) == sorted(wanted),
            (Some(wire::Body::Bytes(raw)), Some(Body::Bytes(wanted))) => {
                raw.content_type.eq_ignore_ascii_case(&wanted.content_type) && raw.data == wanted.data
            }
            _ => false,
        };
        if right {
            return None;
        }
        let wanted = match &self.body {
            None => "none".to_owned(),
            Some(Body::Json(json)) => format!("the JSON {json}"),
            Some(Body::Form(fields)) => format!("the form {fields:?}"),
            Some(Body::Bytes(raw)) => shown(raw),
        };
        let sent = match body {
            None => "none".to_owned(),
            Some(wire::Body::Json(text)) => format!("the JSON {text}"),
            Some(wire::Body::Form(fields)) => format!("the form {fields:?}"),
            Some(wire::Body::Bytes(raw)) => shown(raw),
        };
        Some(format!("its body is {sent}, not {wanted}"))
    }
}

/// Whether two values are one, however their numbers are written.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => match (whole(one), whole(other)) {
            (None, None) => one == other,
            (one, other) => one == other,
        },
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let in_other =
                |(name, value): (&String, &Value)| other.get(name).is_some_and(|other| is_same(value, other));
            one.len() == other.len() && one.iter().all(in_other)
        }
        _ => one == other,
    }
}

/// A whole number, exactly. `None` for one with a fraction, or of more than 38 digits.
fn whole(number: &Number) -> Option<i128> {
    let integer = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
    let float = || number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < 1e38);
    integer.or_else(|| float().map(|float| float as i128))
}

fn shown(raw: &wire::RawBody) -> String {
    format!("the {} \"{}\"", raw.content_type, raw.data.escape_ascii())
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

fn sorted(pairs: &[(String, String)]) -> Vec<&(String, String)> {
    let mut pairs: Vec<_> = pairs.iter().collect();
    pairs.sort();
    pairs
}
