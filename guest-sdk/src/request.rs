//! Requests: a builder over the `credentialed-http` import.

use crate::bindings::keybearer::tool::credentialed_http as wire;
use crate::field::{Field, PathError, PathSegment, fill_path};
use crate::json::ToJson;
use crate::{Error, Response, Result};

/// An upstream that the operator set up. The host knows its address and its credential; the tool knows its name.
#[derive(Debug, Clone, Copy)]
pub struct Connection<'n> {
    name: &'n str,
}

/// Names a connection. The tool must declare it: `#[tool(connections = ["stripe"])]`.
#[must_use]
pub fn connection(name: &str) -> Connection<'_> {
    Connection { name }
}

impl Connection<'_> {
    /// A `GET` request. Each `{}` of the path takes one value, percent-encoded.
    pub fn get<const N: usize>(&self, path: &str, segments: [PathSegment<'_>; N]) -> Request {
        self.request("GET", path, &segments)
    }

    /// A `POST` request; see [`Connection::get`] for the path.
    pub fn post<const N: usize>(&self, path: &str, segments: [PathSegment<'_>; N]) -> Request {
        self.request("POST", path, &segments)
    }

    /// A `PUT` request; see [`Connection::get`] for the path.
    pub fn put<const N: usize>(&self, path: &str, segments: [PathSegment<'_>; N]) -> Request {
        self.request("PUT", path, &segments)
    }

    /// A `PATCH` request; see [`Connection::get`] for the path.
    pub fn patch<const N: usize>(&self, path: &str, segments: [PathSegment<'_>; N]) -> Request {
        self.request("PATCH", path, &segments)
    }

    /// A `DELETE` request; see [`Connection::get`] for the path.
    pub fn delete<const N: usize>(&self, path: &str, segments: [PathSegment<'_>; N]) -> Request {
        self.request("DELETE", path, &segments)
    }

    fn request(&self, method: &str, template: &str, segments: &[PathSegment<'_>]) -> Request {
        let (path, problem) = match fill_path(template, segments) {
            Ok(path) => (path, None),
            Err(PathError::Template) => (
                String::new(),
                Some(Error::failed(format!("the path `{template}` has another number of places"))),
            ),
            Err(PathError::Value(value)) => {
                let message = format!(
                    "`{value}` can't stand in a path: it's empty, dots, or holds a slash, a backslash, a `%` or a \
                     control character"
                );
                (String::new(), Some(Error::invalid_arguments(message)))
            }
        };
        let wire = wire::Request {
            connection: self.name.to_owned(),
            method: method.to_owned(),
            path,
            query: Vec::new(),
            headers: Vec::new(),
            body: None,
        };
        Request { wire, problem }
    }
}

/// A request being put together. Nothing happens before [`send`](Request::send).
#[must_use = "a request does nothing until it's sent"]
pub struct Request {
    wire: wire::Request,
    /// The first mistake made while building, kept for `send`, so that the builder's steps needn't fail.
    problem: Option<Error>,
}

impl Request {
    /// Adds a query parameter; `None` adds nothing. A name may be given once.
    pub fn query(mut self, name: &str, value: impl Field) -> Self {
        if let Some(text) = self.text(name, &value) {
            self.wire.query.push((name.to_owned(), text));
        }
        self
    }

    /// Adds a header; `None` adds nothing. The host refuses those that carry credentials, route or frame.
    pub fn header(mut self, name: &str, value: impl Field) -> Self {
        if let Some(text) = self.text(name, &value) {
            self.wire.headers.push((name.to_owned(), text));
        }
        self
    }

    /// Makes the body one JSON text, in place of any other.
    pub fn json(mut self, body: &(impl ToJson + ?Sized)) -> Self {
        let mut text = String::new();
        if let Err(error) = body.to_json(&mut text) {
            self.problem
                .get_or_insert_with(|| Error::failed(format!("the JSON body can't be written: {error}")));
        }
        self.wire.body = Some(wire::Body::Json(text));
        self
    }

    /// Makes the body a form, in place of any other, and adds a field to it. `None` adds none: a form of such fields
    /// alone is sent without any. A name may be given once.
    pub fn form(mut self, name: &str, value: impl Field) -> Self {
        let field = self.text(name, &value).map(|text| (name.to_owned(), text));
        match &mut self.wire.body {
            Some(wire::Body::Form(fields)) => fields.extend(field),
            body => *body = Some(wire::Body::Form(field.into_iter().collect())),
        }
        self
    }

    /// Adds the field `name[key]` to a form body, the way some APIs nest: `metadata[order]`.
    pub fn form_entry(self, name: &str, key: &str, value: impl Field) -> Self {
        self.form(&format!("{name}[{key}]"), value)
    }

    /// Makes the body these bytes, in place of any other.
    pub fn bytes(mut self, content_type: &str, data: impl Into<Vec<u8>>) -> Self {
        let raw = wire::RawBody { content_type: content_type.to_owned(), data: data.into() };
        self.wire.body = Some(wire::Body::Bytes(raw));
        self
    }

    /// A value's text. The mistake of one that has none is kept for `send`.
    fn text(&mut self, name: &str, value: &impl Field) -> Option<String> {
        value.to_text().unwrap_or_else(|error| {
            self.problem.get_or_insert_with(|| Error::failed(error.in_field(name).to_string()));
            None
        })
    }

    /// Sends the request and waits for the reply, whatever its status.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::SendFailed`](crate::ErrorKind::SendFailed) when no reply came: the host didn't allow it, or the
    /// upstream couldn't be reached. `?` is nearly always right. [`Error::send_failure`] has the details. A mistake in
    /// what was given to build the request is [`InvalidArguments`](crate::ErrorKind::InvalidArguments) for a path's
    /// value and [`Failed`](crate::ErrorKind::Failed) for the rest, and nothing is sent.
    pub fn send(self) -> Result<Response> {
        if let Some(problem) = self.problem {
            return Err(problem);
        }
        let connection = self.wire.connection.clone();
        match transport(self.wire) {
            Ok(reply) => Ok(Response::new(connection, reply)),
            Err(failure) => Err(Error::send(failure)),
        }
    }
}

#[cfg(target_arch = "wasm32")]
fn transport(request: wire::Request) -> std::result::Result<wire::Response, wire::Failure> {
    wire::send(&request)
}

#[cfg(not(target_arch = "wasm32"))]
fn transport(request: wire::Request) -> std::result::Result<wire::Response, wire::Failure> {
    crate::testing::answer(request)
}
