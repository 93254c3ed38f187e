//! Parameters that came as values and not as a request's bytes → the request that they stand for.

use std::sync::Arc;

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

use super::{Connection, Operation, Parameters, Segment, TypedSend};
use crate::egress::{Draft, DraftBody, FORM, is_json};
use crate::ids::ConversationId;
use crate::refusal::{FailureReason, SendFailure};

/// What is encoded in a path's parameter: all but RFC 3986's unreserved characters.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

impl Connection {
    /// The request of one of its operations with these parameters, as part of a conversation, as though a guest had worded
    /// it: what is refused of a request's bytes is refused of values too.
    ///
    /// # Errors
    /// As for [`Self::accept_in`].
    pub fn accept_values(
        self: &Arc<Self>,
        operation: &Operation,
        parameters: &Parameters,
        conversation: Option<&ConversationId>,
    ) -> Result<TypedSend, SendFailure> {
        // First, as in a request's text `"5"` and 5 are the same.
        operation.check(parameters).map_err(|rule| {
            let message = format!("{}:{}: {rule}", self.name, operation.name);
            SendFailure::unsent(FailureReason::InvalidRequest, message)
        })?;
        let draft = Draft {
            connection: self.name.to_string(),
            method: operation.method.to_string(),
            path: path(operation, &parameters.path),
            query: pairs(&parameters.query),
            headers: Vec::new(),
            body: body(operation, &parameters.body),
        };
        self.accept_in(draft, conversation)
    }
}

/// The path of one of an operation's requests.
pub(super) fn path(operation: &Operation, values: &Map<String, Value>) -> String {
    let segments = operation.path.segments().iter();
    let encoded = segments.map(|segment| match segment {
        Segment::Literal(text) => format!("/{text}"),
        Segment::Parameter(name) => {
            let value = values.get(name).map(text).unwrap_or_default();
            format!("/{}", utf8_percent_encode(&value, SEGMENT))
        }
    });
    encoded.collect()
}

fn body(operation: &Operation, values: &Map<String, Value>) -> Option<DraftBody> {
    let content_type = operation.content_type.as_deref()?;
    Some(if content_type == FORM {
        DraftBody::Form(pairs(values))
    } else if is_json(content_type) {
        let whole = operation.body_is.as_ref().and_then(|name| values.get(name));
        DraftBody::Json(whole.map_or_else(|| Value::Object(values.clone()).to_string(), Value::to_string))
    } else {
        DraftBody::Bytes { content_type: content_type.to_owned(), data: Bytes::new() }
    })
}

fn pairs(values: &Map<String, Value>) -> Vec<(String, String)> {
    values.iter().map(|(name, value)| (name.clone(), text(value))).collect()
}

/// A value as a path, a query or a form writes it.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
