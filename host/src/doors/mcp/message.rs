//! A JSON-RPC message of the Model Context Protocol, read strictly.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::glance::Glance;
use crate::json::Object;
use crate::refusal::{Code, Refusal};

/// The longest id that is taken, in bytes as it's written: it's sent back with every answer.
const ID_BYTES_MAX: usize = 128;

/// JSON-RPC's codes for what is wrong with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It's not JSON.
    Parse = -32700,
    /// It's JSON, and no message.
    Request = -32600,
    /// There's no such method.
    Method = -32601,
    /// The parameters aren't the method's.
    Params = -32602,
    /// The host refuses it, or failed. Of the range that is left to implementations.
    Refused = -32050,
}

/// A message.
#[derive(Debug)]
pub(super) enum Message<'m> {
    /// It's waited for.
    Request(Request<'m>),
    /// Nobody waits: a notification, or an answer to a question that this host never asks.
    Silent,
}

/// A request.
#[derive(Debug)]
pub(super) struct Request<'m> {
    pub(super) id: Id,
    pub(super) method: Cow<'m, str>,
    pub(super) params: Option<&'m RawValue>,
}

/// What an answer is found by: a string or a number, kept as it was written.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub(super) struct Id(Box<RawValue>);

impl Id {
    /// An id, if this is one.
    pub(super) fn of(value: &RawValue) -> Option<Self> {
        let text = value.get();
        let begins = |c: char| c == '"' || c == '-' || c.is_ascii_digit();
        (text.len() <= ID_BYTES_MAX && text.starts_with(begins)).then(|| Self(value.to_owned()))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.get())
    }
}

/// A text that is no message, with what can be told of the one that it was meant to be.
#[derive(Debug)]
pub(super) struct Unread {
    pub(super) id: Option<Id>,
    pub(super) method: Option<String>,
    pub(super) fault: Fault,
    pub(super) refusal: Refusal,
}

impl Unread {
    /// A text of which this much was seen.
    pub(super) fn of(glance: &Glance, fault: Fault, refusal: Refusal) -> Self {
        Self { id: glance.id(), method: glance.method(), fault, refusal }
    }

    /// Whether it comes from a client that has shaken hands: it's a request, and not the first one.
    pub(super) fn is_under_way(&self) -> bool {
        self.id.is_some() && self.method.as_deref().is_some_and(|method| method != super::INITIALIZE)
    }
}

impl<'m> Message<'m> {
    /// Reads one message.
    ///
    /// # Errors
    /// [`Unread`]. A name that stands twice where anything is read is an error; in what nobody reads it's as good as
    /// not there. The arguments of a tool are read by the tool's own schema, from the same bytes.
    pub(super) fn parse(bytes: &'m [u8]) -> Result<Self, Unread> {
        let unread = |fault: Fault, what: &str| {
            let refusal = Refusal::new(Code::BadRequest, format!("the message can't be used: {what}"));
            Unread::of(&Glance::at(bytes), fault, refusal)
        };
        if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
            return Err(unread(Fault::Request, "it is a batch; send one message at a time"));
        }
        let envelope: Envelope<'m> = serde_json::from_slice(bytes).map_err(|error| {
            let fault = if error.is_data() { Fault::Request } else { Fault::Parse };
            unread(fault, &error.to_string())
        })?;
        if envelope.jsonrpc != "2.0" {
            return Err(unread(Fault::Request, "its jsonrpc is not \"2.0\""));
        }
        let Some(method) = envelope.method else {
            return match envelope.result.or(envelope.error) {
                Some(_) => Ok(Self::Silent),
                None => Err(unread(Fault::Request, "it has no method")),
            };
        };
        let Some(id) = envelope.id else { return Ok(Self::Silent) };
        let id = Id::of(id)
            .ok_or_else(|| unread(Fault::Request, "its id is no number and no string of up to 126 bytes"))?;
        Ok(Self::Request(Request { id, method, params: envelope.params }))
    }
}

#[derive(Deserialize)]
struct Envelope<'m> {
    #[serde(borrow)]
    jsonrpc: Cow<'m, str>,
    /// A null is an id that was given, and is none.
    #[serde(borrow, default, deserialize_with = "given")]
    id: Option<&'m RawValue>,
    #[serde(borrow)]
    method: Option<Cow<'m, str>>,
    #[serde(borrow)]
    params: Option<&'m RawValue>,
    #[serde(borrow, default, deserialize_with = "given")]
    result: Option<&'m RawValue>,
    #[serde(borrow, default, deserialize_with = "given")]
    error: Option<&'m RawValue>,
}

fn given<'m, D: Deserializer<'m>>(from: D) -> Result<Option<&'m RawValue>, D::Error> {
    <&'m RawValue>::deserialize(from).map(Some)
}

/// The parameters of a method as one of the structs that say what it takes; none are an empty object.
///
/// # Errors
/// What is wrong with them, for the caller.
pub(super) fn params<'m, T: Deserialize<'m>>(params: Option<&'m RawValue>) -> Result<T, Refusal> {
    serde_json::from_str(params.map_or("{}", RawValue::get))
        .map(|Object(params)| params)
        .map_err(|error| Refusal::new(Code::BadRequest, format!("the parameters can't be used: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> (i64, Option<String>, String) {
        let unread = Message::parse(text.as_bytes()).expect_err(text);
        (unread.fault as i64, unread.id.map(|id| id.to_string()), unread.refusal.message)
    }

    fn request(text: &str) -> (String, String) {
        match Message::parse(text.as_bytes()).unwrap_or_else(|unread| panic!("{text}: {unread:?}")) {
            Message::Request(request) => (request.id.to_string(), request.method.into_owned()),
            Message::Silent => panic!("{text} isn't waited for"),
        }
    }

    #[test]
    fn an_id_comes_back_as_it_was_written() {
        for id in
            ["1", "0", "-7", "1.0", "1e3", "99999999999999999999999", r#""a""#, r#""\u0061\n""#, r#""""#]
        {
            let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
            assert_eq!(request(&text), (id.to_owned(), "ping".to_owned()));
        }
    }

    #[test]
    fn what_has_no_id_is_not_waited_for() {
        for text in [
            r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
            r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"charge"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":null}"#,
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":-1,"message":"m"}}"#,
        ] {
            assert!(matches!(Message::parse(text.as_bytes()), Ok(Message::Silent)), "{text}");
        }
    }

    #[test]
    fn what_is_no_message_says_what_is_wrong_and_keeps_its_id() {
        let deep = format!(r#"{{"id":1,"x":{}"#, "[".repeat(100_000));
        for (text, code, id) in [
            ("", -32700, None),
            ("nonsense", -32700, None),
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping""#, -32700, Some("1")),
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping"} x"#, -32700, Some("1")),
            (deep.as_str(), -32700, Some("1")),
            ("[]", -32600, None),
            (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, -32600, None),
            (r#"{"id":1,"method":"ping"}"#, -32600, Some("1")),
            (r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, -32600, Some("1")),
            (r#"{"jsonrpc":"2.0","id":1}"#, -32600, Some("1")),
            (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, -32600, Some("1")),
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}"#, -32600, Some("1")),
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping","\u006dethod":"tools/call"}"#, -32600, Some("1")),
            (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#, -32600, None),
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{},"params":{}}"#, -32600, Some("1")),
            (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, -32600, None),
            (r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#, -32600, None),
            (r#"{"jsonrpc":"2.0","id":true,"method":"ping"}"#, -32600, None),
            ("7", -32600, None),
            ("null", -32600, None),
        ] {
            let (fault, found, message) = fault(text);
            assert_eq!((fault, found.as_deref()), (code, id), "{text:.80}: {message}");
            assert!(message.starts_with("the message can't be used: "), "{message}");
        }
        // Values in the order of the members would be read as them.
        let (_, _, batch) = fault(r#"["2.0",1,"ping",null,null,null]"#);
        assert!(batch.contains("batch"), "{batch}");
        let long = format!(r#"{{"jsonrpc":"2.0","id":"{}","method":"ping"}}"#, "a".repeat(127));
        assert_eq!(fault(&long).1, None);
        let not_text = Message::parse(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}").unwrap_err();
        assert_eq!(not_text.id.map(|id| id.to_string()).as_deref(), Some("1"));
    }
}
