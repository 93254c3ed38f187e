//! What is asked for, as a row writes it.
//!
//! ```text
//! charge amount=500 currency=usd            an operation with its parameters (stripe's, unless shell:run is written)
//! charge … metadata[order]=7 @intent=a      with what the caller says of it: intent, conversation, deadline
//! POST /v1/charges form:amount=1&amount=2   a request as it stands on the wire: form:, json:, bytes:TYPE:, or no body
//! POST /v1/charges … +x-other=1             with a header for the upstream; ~connection=shell, for another upstream
//! 40x charge …                              so many at once
//! ```
//!
//! Values may stand in double quotes, with `\n`, `\u{202e}` and so on inside; `{a*17000}` is 17,000 times `a`.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Map, Value};

use crate::connection::{Connections, Operation, Parameter};
use crate::egress::{Draft, DraftBody, FORM};

/// What is left as it is in a path's parameter.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'-').remove(b'.').remove(b'~');

type Pairs = Vec<(String, String)>;

/// A request, in the words of each door.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    /// How many of them at once.
    pub(super) times: usize,
    /// The request, as a tool drafts it.
    pub(super) draft: Draft,
    /// Query and form as they stand on the wire, where the row says so.
    raw: (Option<String>, Option<String>),
    /// What the caller says of its call: name and value.
    pub(super) says: Pairs,
    /// The same as a question of an enforcement point, where the row names an operation.
    pub(super) question: Option<Question>,
}

/// An operation and its parameters.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub(super) connection: String,
    pub(super) operation: String,
    pub(super) parameters: Value,
}

impl Ask {
    /// Reads a cell.
    pub(super) fn parse(text: &str, connections: &Connections) -> Self {
        let mut words = words(text);
        let times = words[0].strip_suffix('x').and_then(|n| n.parse().ok());
        if times.is_some() {
            words.remove(0);
        }
        let (mut says, mut headers, mut connection) = (Pairs::new(), Pairs::new(), "stripe".to_owned());
        words.retain(|word| {
            let Some((name, value)) = word.split_once('=') else { return true };
            match name.chars().next() {
                Some('@') => says.push((name[1..].to_owned(), value.to_owned())),
                Some('+') => headers.push((name[1..].to_owned(), value.to_owned())),
                _ if name == "~connection" => value.clone_into(&mut connection),
                _ => return true,
            }
            false
        });
        let mut ask = if words[0].bytes().all(|b| b.is_ascii_uppercase()) {
            Self::of_wire(connection, &words)
        } else {
            let (connection, operation) = words[0].split_once(':').unwrap_or(("stripe", &words[0]));
            let found = connections.named(connection).unwrap_or_else(|| panic!("no connection in {text:?}"));
            let operation = found.operations.iter().find(|known| known.name.as_str() == operation);
            let operation = operation.unwrap_or_else(|| panic!("no such operation: {text:?}"));
            Self::of_operation(connection, operation, &words[1..])
        };
        ask.times = times.unwrap_or(1);
        ask.draft.headers = headers;
        ask.says = says;
        ask
    }

    fn of_wire(connection: String, words: &[String]) -> Self {
        let (path, query) = match words[1].split_once('?') {
            None => (words[1].clone(), None),
            Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
        };
        let (kind, text) = words.get(2).map_or(("", ""), |body| body.split_once(':').unwrap());
        let (body, raw_form) = match kind {
            "" => (None, None),
            "form" => (Some(DraftBody::Form(pairs(text))), Some(text.to_owned())),
            "json" => (Some(DraftBody::Json(text.to_owned())), None),
            "bytes" => {
                let (content_type, data) = text.split_once(':').unwrap();
                let data = data.as_bytes().to_vec().into();
                (Some(DraftBody::Bytes { content_type: content_type.to_owned(), data }), None)
            }
            other => panic!("no kind of body: {other:?}"),
        };
        let draft = Draft {
            connection,
            method: words[0].clone(),
            path,
            query: query.as_deref().map(pairs).unwrap_or_default(),
            headers: Vec::new(),
            body,
        };
        Self { times: 1, draft, raw: (query, raw_form), says: Vec::new(), question: None }
    }

    fn of_operation(connection: &str, operation: &Operation, words: &[String]) -> Self {
        let mut path = operation.path.to_string();
        let is_form = operation.content_type.as_deref() == Some(FORM);
        let (mut query, mut form, mut json) = (Pairs::new(), Pairs::new(), Map::new());
        let (mut of_path, mut of_query, mut of_body) = (Map::new(), Map::new(), Map::new());
        for word in words {
            let (name, text) = word.split_once('=').unwrap_or_else(|| panic!("no NAME=VALUE: {word:?}"));
            if let Some(parameter) = operation.path_parameters.get(name) {
                let encoded = utf8_percent_encode(text, SEGMENT).to_string();
                path = path.replace(&format!("{{{name}}}"), &encoded);
                of_path.insert(name.to_owned(), typed(Some(parameter), text));
            } else if operation.content_type.is_none() || operation.query_parameters.contains_key(name) {
                query.push((name.to_owned(), text.to_owned()));
                of_query.insert(name.to_owned(), typed(operation.query_parameters.get(name), text));
            } else if is_form {
                form.push((name.to_owned(), text.to_owned()));
                of_body.insert(name.to_owned(), typed(operation.body_parameters.get(name), text));
            } else {
                let value = serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
                json.insert(name.to_owned(), value.clone());
                of_body.insert(name.to_owned(), value);
            }
        }
        let body = match &operation.content_type {
            None => None,
            Some(_) if is_form => Some(DraftBody::Form(form)),
            Some(_) => Some(DraftBody::Json(Value::Object(json).to_string())),
        };
        Self {
            times: 1,
            draft: Draft {
                connection: connection.to_owned(),
                method: operation.method.to_string(),
                path,
                query,
                headers: Vec::new(),
                body,
            },
            raw: (None, None),
            says: Vec::new(),
            question: Some(Question {
                connection: connection.to_owned(),
                operation: operation.name.to_string(),
                parameters: serde_json::json!({ "path": of_path, "query": of_query, "body": of_body }),
            }),
        }
    }

    /// The target and the body as an SDK writes them: path and query, media type, text.
    pub(super) fn on_wire(&self) -> (String, Option<(String, Vec<u8>)>) {
        let (raw_query, raw_form) = &self.raw;
        let query = raw_query.clone().unwrap_or_else(|| encoded(&self.draft.query));
        let mark = if query.is_empty() { "" } else { "?" };
        let body = self.draft.body.as_ref().map(|body| match body {
            DraftBody::Form(fields) => {
                (FORM.to_owned(), raw_form.clone().unwrap_or_else(|| encoded(fields)).into_bytes())
            }
            DraftBody::Json(text) => ("application/json".to_owned(), text.clone().into_bytes()),
            DraftBody::Bytes { content_type, data } => (content_type.clone(), data.to_vec()),
        });
        (format!("/proxy/{}{}{mark}{query}", self.draft.connection, self.draft.path), body)
    }
}

/// What an enforcement point would say of a text: the value, if it's of its type; the text itself if it isn't.
fn typed(parameter: Option<&Parameter>, text: &str) -> Value {
    parameter.and_then(|parameter| parameter.kind.of_text(text).ok()).unwrap_or_else(|| Value::from(text))
}

fn pairs(text: &str) -> Pairs {
    let decoded = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(name), decoded(value))
    };
    text.split('&').filter(|part| !part.is_empty()).map(pair).collect()
}

fn encoded(pairs: &Pairs) -> String {
    let part = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    pairs.iter().map(|(name, value)| format!("{}={}", part(name), part(value))).collect::<Vec<_>>().join("&")
}

/// Words, parted by spaces that stand in no quotes; each read as described above.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '"' if !word.contains(":{") && !word.contains("={") && !word.contains("=[") => quoted = !quoted,
            ' ' if !quoted => words.push(std::mem::take(&mut word)),
            '\\' if quoted => {
                let (escaped, after) = escape(rest);
                word.push(escaped);
                rest = after;
            }
            '{' if rest.contains('*') => match repeated(rest) {
                Some((many, after)) => {
                    word.push_str(&many);
                    rest = after;
                }
                None => word.push(c),
            },
            _ => word.push(c),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

fn escape(rest: &str) -> (char, &str) {
    let (c, after) = (rest.chars().next().unwrap(), &rest[1..]);
    match c {
        'n' => ('\n', after),
        'r' => ('\r', after),
        't' => ('\t', after),
        '0' => ('\0', after),
        'u' => {
            let (hex, after) = after.strip_prefix('{').unwrap().split_once('}').unwrap();
            (char::from_u32(u32::from_str_radix(hex, 16).unwrap()).unwrap(), after)
        }
        other => (other, after),
    }
}

/// `a*17000}` and what comes after it.
fn repeated(rest: &str) -> Option<(String, &str)> {
    let (inside, after) = rest.split_once('}')?;
    let (what, times) = inside.split_once('*')?;
    Some((what.repeat(times.parse().ok()?), after))
}
