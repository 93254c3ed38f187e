//! Replies.

use crate::bindings::keybearer::tool::credentialed_http as wire;
use crate::json::{FromJson, Reader};
use crate::{Error, Result};

/// An upstream's reply, cleaned by the host.
///
/// [`json`](Response::json) and [`text`](Response::text) fail on a status that isn't 2xx, so that a tool can't
/// take an error for a result. To treat a status by itself, look at [`status`](Response::status) first.
#[derive(Debug)]
pub struct Response {
    connection: String,
    wire: wire::Response,
}

impl Response {
    pub(crate) fn new(connection: String, wire: wire::Response) -> Self {
        Self { connection, wire }
    }

    /// The status code. A redirect is an answer like any other; it isn't followed.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.wire.status
    }

    /// A header, if the connection's allow-list lets it through. Case doesn't matter.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.wire.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The body's bytes, whatever the status.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.wire.body
    }

    /// The reply itself if its status is 2xx.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) for 404 and 410,
    /// [`ErrorKind::Upstream`](crate::ErrorKind::Upstream) for the rest, with the status in the message and nothing
    /// of the body.
    pub fn error_for_status(self) -> Result<Self> {
        self.check_status()?;
        Ok(self)
    }

    /// Reads the body as JSON. Fields that `T` doesn't have are skipped.
    ///
    /// # Errors
    ///
    /// As [`error_for_status`](Response::error_for_status); and `Upstream`, naming the field, when the body isn't
    /// what `T` needs.
    pub fn json<T: FromJson>(&self) -> Result<T> {
        self.check_status()?;
        self.error_json()
    }

    /// Reads the body as JSON whatever the status: for an upstream whose error bodies the tool understands.
    ///
    /// # Errors
    ///
    /// `Upstream`, naming the field, when the body isn't what `T` needs.
    pub fn error_json<T: FromJson>(&self) -> Result<T> {
        Reader::read(self.utf8()?).map_err(|error| Error::reply(&self.connection, &error))
    }

    /// The body as text.
    ///
    /// # Errors
    ///
    /// As [`error_for_status`](Response::error_for_status); and `Upstream` when the body isn't UTF-8.
    pub fn text(&self) -> Result<&str> {
        self.check_status()?;
        self.utf8()
    }

    fn utf8(&self) -> Result<&str> {
        std::str::from_utf8(&self.wire.body)
            .map_err(|_| Error::upstream(format!("the reply of `{}` isn't UTF-8 text", self.connection)))
    }

    fn check_status(&self) -> Result<()> {
        let (name, status) = (&self.connection, self.wire.status);
        let problem = match status {
            200..=299 => return Ok(()),
            404 | 410 => {
                return Err(Error::not_found(format!("`{name}` has no such thing (status {status})")));
            }
            300..=399 => "answered with a redirect, which isn't followed",
            400 | 422 => "found the request wrong: check the arguments",
            401 | 403 => "refused the credential or what it's used for: an operator has to look at it",
            402 => "declined the payment",
            409 => "reports a conflict with the present state",
            429 => "asks to slow down: wait before trying again",
            500..=599 => "has an error of its own: it may work later",
            _ => "refused the request",
        };
        Err(Error::upstream(format!("`{name}` {problem} (status {status})")))
    }
}
