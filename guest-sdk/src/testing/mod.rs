//! Tests of a tool's logic, run natively by `cargo test`.
//!
//! [`Upstream`] stands in for the host and everything behind it. Each test scripts the requests that it expects, in
//! order, with their replies. A request that differs fails the test, and so does one that never comes.
//!
//! ```
//! use keybearer_guest::prelude::*;
//! use keybearer_guest::testing::{self, Upstream};
//! # /// Which customer to look up.
//! # #[derive(Args)]
//! # struct GetCustomer {
//! #     /// The customer's id.
//! #     id: String,
//! # }
//! # /// What the agent sees of a customer.
//! # #[derive(Output)]
//! # struct Customer {
//! #     /// The customer's id.
//! #     id: String,
//! # }
//! # /// Looks up a customer by id.
//! # #[tool(connections = ["stripe"])]
//! # fn get_customer(args: GetCustomer) -> Result<Customer> {
//! #     connection("stripe").get("/v1/customers/{}", [&args.id]).send()?.json()
//! # }
//! # fn main() {
//! let upstream = Upstream::new();
//! upstream.expect("GET", "/v1/customers/cus_1").reply(404, r#"{"error": {"message": "No such customer"}}"#);
//!
//! let error = testing::call::<get_customer>(r#"{"id": "cus_1"}"#).unwrap_err();
//! assert_eq!(error.kind(), ErrorKind::NotFound);
//! assert!(!error.message().contains("No such customer"));
//! # }
//! ```

mod path;
mod refused;
mod script;

use std::cell::RefCell;
use std::rc::Rc;

use crate::bindings::keybearer::tool::credentialed_http as wire;
use crate::{FailureReason, RequestSent, Result, Tool};
use script::{Answer, Body, Expected, Script};

pub use crate::bindings::keybearer::tool::log::Level;

/// A scripted upstream, in place on this thread for as long as it lives.
///
/// # Panics
///
/// When it is dropped and a request that was expected hasn't come. That's how a test fails.
#[derive(Debug)]
#[must_use = "the upstream is in place only while it lives"]
pub struct Upstream {
    script: Rc<RefCell<Script>>,
}

impl Upstream {
    /// Puts an upstream in place that expects nothing yet.
    ///
    /// # Panics
    ///
    /// When this thread has one already.
    #[expect(clippy::new_without_default, reason = "it has an effect")]
    pub fn new() -> Self {
        let script = Rc::new(RefCell::new(Script::default()));
        SCRIPT.with_borrow_mut(|current| {
            assert!(current.is_none(), "this thread has a scripted upstream already");
            *current = Some(Rc::clone(&script));
        });
        Self { script }
    }

    /// Expects a request, after those expected before it. The path is as the tool gives it to the host: a value's
    /// characters percent-encoded, all but letters, digits and `-._~` (the host sends `%40` as `@`).
    ///
    /// What isn't said mustn't be there: no query, no body, no field in a form. Headers and the connection are checked
    /// only where they're said.
    pub fn expect(&self, method: &str, path: &str) -> Expectation<'_> {
        Expectation { upstream: self, expected: Expected::new(method, path), headers: Vec::new() }
    }

    /// What the tool has logged.
    #[must_use]
    pub fn logs(&self) -> Vec<(Level, String)> {
        self.script.borrow().logs.clone()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        SCRIPT.with_borrow_mut(|current| *current = None);
        if std::thread::panicking() {
            return;
        }
        if let Some(next) = self.script.borrow().expected.front() {
            panic!("a request that was expected never came: {next}");
        }
    }
}

/// A request being described. It counts once it has an answer: [`reply`](Self::reply) or [`fail`](Self::fail).
#[derive(Debug)]
#[must_use = "without `reply` or `fail` nothing is expected"]
pub struct Expectation<'u> {
    upstream: &'u Upstream,
    expected: Expected,
    headers: Vec<(String, String)>,
}

impl Expectation<'_> {
    /// Through this connection.
    pub fn connection(mut self, name: &str) -> Self {
        self.expected.connection = Some(name.to_owned());
        self
    }

    /// With this query parameter.
    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.expected.query.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With this header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.expected.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With this field in a form body. Order doesn't matter.
    pub fn form(mut self, name: &str, value: &str) -> Self {
        let field = (name.to_owned(), value.to_owned());
        match &mut self.expected.body {
            Some(Body::Form(fields)) => fields.push(field),
            body => *body = Some(Body::Form(vec![field])),
        }
        self
    }

    /// With this JSON body. Order and white space don't matter, nor how a number is written: the host sends `5` for `5.0`.
    ///
    /// # Panics
    ///
    /// When the text isn't JSON.
    pub fn json(mut self, body: &str) -> Self {
        self.expected.body =
            Some(Body::Json(serde_json::from_str(body).expect("the expected body should be JSON")));
        self
    }

    /// With these bytes as the body, of this media type.
    pub fn bytes(mut self, content_type: &str, data: impl Into<Vec<u8>>) -> Self {
        let raw = wire::RawBody { content_type: content_type.to_owned(), data: data.into() };
        self.expected.body = Some(Body::Bytes(raw));
        self
    }

    /// The reply will have this header. The host hands a tool `content-type`, `etag`, `last-modified` and `retry-after`, and
    /// those in the connection's `response_headers`; here every header reaches it.
    pub fn reply_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_ascii_lowercase(), value.to_owned()));
        self
    }

    /// Answers with a status and a body.
    pub fn reply(self, status: u16, body: impl Into<Vec<u8>>) {
        let response = wire::Response { status, headers: self.headers, body: body.into() };
        self.upstream.script.borrow_mut().push(self.expected, Answer::Reply(response));
    }

    /// Answers with a failure of the host, as when the policy denies the request or the upstream hangs up.
    pub fn fail(self, reason: FailureReason, request_sent: RequestSent, message: &str) {
        let failure = wire::Failure { reason, message: message.to_owned(), request_sent };
        self.upstream.script.borrow_mut().push(self.expected, Answer::Failure(failure));
    }
}

/// Runs a tool from JSON arguments to the JSON that it hands to the host: fields in their struct's order, `1.0` for an `f64`.
/// The agent gets this as the host writes it, its names sorted and `1` for `1.0`, and only if it passes the output schema.
///
/// # Errors
///
/// When the arguments can't be read, or the tool fails. The schema's own constraints (`min`, `pattern` and so on)
/// are checked by the host, not here.
pub fn call<T: Tool>(arguments: &str) -> Result<String> {
    crate::tool::call_one::<T>(arguments)
}

/// The JSON Schema of a tool's arguments.
#[must_use]
pub fn input_schema<T: Tool>() -> String {
    crate::tool::schema::<T::Args>()
}

/// The JSON Schema of a tool's result.
#[must_use]
pub fn output_schema<T: Tool>() -> String {
    crate::tool::schema::<T::Output>()
}

thread_local! {
    static SCRIPT: RefCell<Option<Rc<RefCell<Script>>>> = const { RefCell::new(None) };
    /// The tools that are running on this thread, the one that was called first.
    static RUNNING: RefCell<Vec<Declared>> = const { RefCell::new(Vec::new()) };
}

#[derive(Debug, Clone, Copy)]
struct Declared {
    tool: &'static str,
    connections: &'static [&'static str],
}

/// While it lives, a tool is running on this thread.
#[derive(Debug)]
pub(crate) struct Running;

impl Running {
    pub(crate) fn new(tool: &'static str, connections: &'static [&'static str]) -> Self {
        RUNNING.with_borrow_mut(|running| running.push(Declared { tool, connections }));
        Self
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.with_borrow_mut(|running| running.pop());
    }
}

/// Serves the import `credentialed-http`.
pub(crate) fn answer(request: wire::Request) -> std::result::Result<wire::Response, wire::Failure> {
    // Whichever tools it runs as functions, a call is held to what the one that was called declares.
    if let Some(declared) = RUNNING.with_borrow(|running| running.first().copied()) {
        let Declared { tool, connections } = declared;
        assert!(
            connections.contains(&request.connection.as_str()),
            "`{tool}` uses the connection `{}` and doesn't declare it: #[tool(connections = [\"{}\"])]",
            request.connection,
            request.connection,
        );
    }
    if let Err(rule) = refused::check(&request) {
        panic!("the host refuses {} {}: {rule}", request.method, request.path);
    }
    let Some(script) = SCRIPT.with_borrow(Clone::clone) else {
        panic!("nothing serves requests here: begin the test with `let upstream = Upstream::new();`");
    };
    match script.borrow_mut().take(&request) {
        Answer::Reply(response) => Ok(response),
        Answer::Failure(failure) => Err(failure),
    }
}

/// Serves the import `log`. Without a scripted upstream, messages go to the test's standard error.
pub(crate) fn logged(level: Level, message: &str) {
    match SCRIPT.with_borrow(Clone::clone) {
        Some(script) => script.borrow_mut().logs.push((level, message.to_owned())),
        None => eprintln!("{level:?}: {message}"),
    }
}

#[cfg(test)]
mod tests;
