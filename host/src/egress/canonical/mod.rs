//! A request in the one form that is matched, decided on and sent.

mod header;
mod media;
mod pairs;
mod path;
#[cfg(test)]
mod tests;

pub(crate) use header::{header_value, is_reserved};
pub(crate) use pairs::push_pair;
pub(crate) use path::canonical_path;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};
use serde_json::Value;

use super::{Draft, DraftBody};
use crate::connection::Connection;
use crate::digested::Digested;
use crate::ids::Digest;
use crate::json;
use crate::refusal::{FailureReason, SendFailure};

/// The media type of JSON bodies.
pub const JSON: &str = "application/json";
/// The media type of forms.
pub const FORM: &str = "application/x-www-form-urlencoded";

/// The longest query, encoded, in bytes: with the longest path it stays below the 8 KiB that common servers take.
const QUERY_BYTES_MAX: usize = 3_072;

/// A request in canonical form.
///
/// INVARIANT (same bytes): what the policy sees, what the audit trail digests and what goes on the wire are this
/// value's bytes. Nothing between the check and the wire encodes anything again.
#[derive(Debug)]
pub struct Canonical {
    method: Method,
    path: String,
    segments: Vec<String>,
    query: Vec<(String, String)>,
    query_encoded: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    content_type: Option<String>,
    body: CanonicalBody,
    body_bytes: Bytes,
    digest: Digest,
}

/// What a body's bytes say.
#[derive(Debug, Clone, PartialEq)]
pub enum CanonicalBody {
    /// There's none.
    None,
    /// JSON, its keys sorted and nothing in it twice.
    Json(Value),
    /// Form fields, decoded, each name once.
    Form(Vec<(String, String)>),
    /// Bytes of a media type that the host doesn't look into.
    Raw,
}

impl Canonical {
    /// Brings a guest's words into canonical form, by the rules and limits of the connection they're meant for.
    ///
    /// # Errors
    /// [`FailureReason::InvalidRequest`] with the rule that is broken.
    pub(crate) fn from_draft(draft: Draft, connection: &Connection) -> Result<Self, SendFailure> {
        let invalid = |rule: String| SendFailure::unsent(FailureReason::InvalidRequest, rule);
        let method = method(&draft.method).map_err(invalid)?;
        let path = canonical_path(&draft.path).map_err(|rule| invalid(rule.to_owned()))?;
        let query_encoded =
            pairs::encode_pairs("query parameter", &draft.query, QUERY_BYTES_MAX).map_err(invalid)?;
        let headers = header::canonical_headers(&draft.headers, connection).map_err(invalid)?;
        if draft.body.is_some() && matches!(method, Method::GET | Method::HEAD) {
            return Err(invalid(format!("a {method} request has no body")));
        }
        let (content_type, body, body_bytes) =
            body(draft.body, connection.request_bytes_max).map_err(invalid)?;
        let mut canonical = Self {
            method,
            path: path.encoded,
            segments: path.segments,
            query: draft.query,
            query_encoded,
            headers,
            content_type,
            body,
            body_bytes,
            digest: Digest([0; 32]),
        };
        canonical.digest = canonical.compute_digest(connection);
        Ok(canonical)
    }

    /// The same request with another JSON media type, the operation's own (`application/merge-patch+json`).
    pub(crate) fn with_content_type(mut self, content_type: &str, connection: &Connection) -> Self {
        self.content_type = Some(content_type.to_owned());
        self.digest = self.compute_digest(connection);
        self
    }

    /// The same request with one more form field, or property of its JSON object. A body that has neither stays as it is.
    ///
    /// # Errors
    /// [`FailureReason::InvalidRequest`] where the body becomes larger than the connection allows.
    pub(crate) fn with_member(
        mut self,
        name: &str,
        value: &str,
        connection: &Connection,
    ) -> Result<Self, SendFailure> {
        let draft = match self.body {
            CanonicalBody::Form(mut fields) => {
                fields.push((name.to_owned(), value.to_owned()));
                DraftBody::Form(fields)
            }
            CanonicalBody::Json(Value::Object(mut members)) => {
                members.insert(name.to_owned(), Value::from(value));
                DraftBody::Json(json::text(&Value::Object(members)))
            }
            CanonicalBody::Json(_) | CanonicalBody::None | CanonicalBody::Raw => return Ok(self),
        };
        let (_, body, body_bytes) = body(Some(draft), connection.request_bytes_max)
            .map_err(|rule| SendFailure::unsent(FailureReason::InvalidRequest, rule))?;
        (self.body, self.body_bytes) = (body, body_bytes);
        self.digest = self.compute_digest(connection);
        Ok(self)
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The path, percent-encoded, below the connection's base URL.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The path's segments, decoded; the last one is empty when the path ends with a slash.
    #[must_use]
    pub fn segments(&self) -> &[String] {
        &self.segments
    }

    /// The query parameters, decoded, each name once, in the guest's order.
    #[must_use]
    pub fn query(&self) -> &[(String, String)] {
        &self.query
    }

    /// The query as it's sent, without `?`; empty for none.
    #[must_use]
    pub fn query_encoded(&self) -> &str {
        &self.query_encoded
    }

    /// The guest's headers, by name.
    #[must_use]
    pub fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.headers
    }

    /// The body's media type as it's sent: in lower case, its parameters' values as they were given. JSON and forms, which are
    /// UTF-8, have no parameters.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.content_type.as_deref()
    }

    /// The body's media type without its parameters.
    #[must_use]
    pub fn media_type(&self) -> Option<&str> {
        self.content_type().map(media::essence)
    }

    /// What the body says.
    #[must_use]
    pub fn body(&self) -> &CanonicalBody {
        &self.body
    }

    /// The body's bytes, as they'll be sent.
    #[must_use]
    pub fn body_bytes(&self) -> &Bytes {
        &self.body_bytes
    }

    /// SHA-256 over every part of the request and the connection's name; the secret isn't part of it.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Every part goes in with its length before it, so that no two requests give the same text.
    fn compute_digest(&self, connection: &Connection) -> Digest {
        let mut digested = Digested::of(b"");
        let mut part = |bytes: &[u8]| digested.part(bytes);
        part(b"keybearer canonical request 1");
        part(connection.name.as_str().as_bytes());
        part(self.method.as_str().as_bytes());
        part(self.path.as_bytes());
        part(self.query_encoded.as_bytes());
        part(&(self.headers.len() as u64).to_be_bytes());
        for (name, value) in &self.headers {
            part(name.as_str().as_bytes());
            part(value.as_bytes());
        }
        part(self.content_type.as_deref().unwrap_or_default().as_bytes());
        part(&self.body_bytes);
        digested.digest()
    }
}

fn method(text: &str) -> Result<Method, String> {
    match text {
        "GET" => Ok(Method::GET),
        "POST" => Ok(Method::POST),
        "PUT" => Ok(Method::PUT),
        "PATCH" => Ok(Method::PATCH),
        "DELETE" => Ok(Method::DELETE),
        "HEAD" => Ok(Method::HEAD),
        _ => Err(format!("the method {} isn't one of GET, POST, PUT, PATCH, DELETE and HEAD", shown(text))),
    }
}

type Body = (Option<String>, CanonicalBody, Bytes);

fn body(draft: Option<DraftBody>, bytes_max: usize) -> Result<Body, String> {
    let too_large = || format!("the body is larger than the {bytes_max} bytes that the connection allows");
    match draft {
        None => Ok((None, CanonicalBody::None, Bytes::new())),
        Some(DraftBody::Json(text)) => {
            if text.len() > bytes_max {
                return Err(too_large());
            }
            let value = json::parse(text.as_bytes(), bytes_max)
                .map_err(|error| format!("the JSON body is refused: {error}"))?;
            if holds_nul(&value) {
                return Err("the JSON body is refused: a text in it holds a NUL".to_owned());
            }
            // Escapes may grow: what counts is what is sent.
            let bytes = Bytes::from(json::text(&value));
            if bytes.len() > bytes_max {
                return Err(too_large());
            }
            Ok((Some(JSON.to_owned()), CanonicalBody::Json(value), bytes))
        }
        Some(DraftBody::Form(fields)) => {
            let bytes = Bytes::from(pairs::encode_pairs("form field", &fields, bytes_max)?);
            Ok((Some(FORM.to_owned()), CanonicalBody::Form(fields), bytes))
        }
        Some(DraftBody::Bytes { content_type, data }) => {
            if data.len() > bytes_max {
                return Err(too_large());
            }
            Ok((Some(media::raw_media_type(&content_type)?), CanonicalBody::Raw, data))
        }
    }
}

/// Whether a NUL, at which some readers end a text, is in any of a value's texts or names.
fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(holds_nul),
        Value::Object(members) => members.iter().any(|(name, value)| name.contains('\0') || holds_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// `application/json`, or a type that is JSON by its name.
#[must_use]
pub(crate) fn is_json(media_type: &str) -> bool {
    media_type == JSON || media_type == "text/json" || media_type.ends_with("+json")
}

/// A guest's text, fit for a message: printable, quoted, cut.
pub(crate) fn shown(text: &str) -> String {
    const SHOWN_MAX: usize = 64;
    let cut: String = text.chars().take(SHOWN_MAX).collect();
    format!("{cut:?}")
}
