//! `ANY /proxy/{connection}/{path}`: a vendor's own SDK, with two lines changed: the key and the base URL.
//!
//! ```text
//! key       the capability token, from where the SDK puts its key → Caller
//!   → draft    method, path, query, headers, body → Draft: nothing is decided and nothing put right here
//!     → pipeline  the way of a tool's send, with no tool around it
//!   → answer   status, allowed headers, body
//!   → profile  or the refusal, in the words that this SDK understands
//! ```
//!
//! What an SDK sends is as unchecked as what a tool sends, and goes the same way. This door knows no rule of its own
//! about what may be sent.

mod answer;
mod draft;
mod key;
mod pairs;
mod profile;
mod stripe;

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::response::Response;
use http::{Method, Uri};
use tracing::Instrument as _;
use zeroize::Zeroizing;

use super::router::{Door, Route};
use super::{body, headers};
use crate::auth::Caller;
use crate::connection::Connection;
use crate::egress::Reply;
use crate::ids::CallId;
use crate::pipeline::ForwardRequest;
use crate::refusal::{Code, Refusal};
use draft::Given;
use pairs::Pairs;
use profile::Refused;

/// Forwards one request. When the client hangs up, this future is dropped, which stops the request and records it.
pub(super) async fn forward(State(door): State<Arc<Door>>, request: Request) -> Response {
    let started = Instant::now();
    let Target { connection: name, path } = Target::of(request.uri());
    // Whoever asks: before the caller is known, the connection says where its SDK puts the key, and no more.
    let connection = door.app.pipeline.connection(name);
    let mut query = pairs::decode("query", request.uri().query().unwrap_or_default());
    let token = key::take(request.headers(), query.as_mut().ok(), connection.as_deref());
    let response = match door.agent_by(&token) {
        // A 401 has no call id: see the invariant in `access`.
        Err(refusal) => Refused { profile: profile::of(connection.as_deref()), refusal, call: None }.answer(),
        Ok(caller) => {
            // From here on a connection of another realm is one that isn't there.
            let connection = connection.filter(|connection| connection.is_for(caller.realm()));
            let (profile, method) = (profile::of(connection.as_deref()), request.method().clone());
            let id = CallId::fresh(door.app.clock.now());
            let asked =
                Asked { name: name.to_owned(), path: path.to_owned(), query, token, connection, started };
            match asked.forward(&door, caller, id.clone(), request).await {
                Ok(reply) => answer::response(reply, &method, profile, &id),
                Err(refusal) => Refused { profile, refusal, call: Some(id) }.answer(),
            }
        }
    };
    door.answered(Route::Proxy, response)
}

/// `/proxy/{connection}` and what is below it, as it stood in the request line.
struct Target<'r> {
    connection: &'r str,
    /// It begins with `/`. No escape was decoded, no segment resolved: whatever it holds has to be refused by the
    /// rules for paths, not tidied up before they see it.
    path: &'r str,
}

impl<'r> Target<'r> {
    fn of(uri: &'r Uri) -> Self {
        let below = uri.path().strip_prefix("/proxy/").unwrap_or_default();
        let (connection, path) = below.split_at(below.find('/').unwrap_or(below.len()));
        Self { connection, path }
    }
}

/// A request of a known caller.
struct Asked {
    name: String,
    path: String,
    query: Result<Pairs, Refusal>,
    token: Zeroizing<String>,
    connection: Option<Arc<Connection>>,
    started: Instant,
}

impl Asked {
    async fn forward(
        self,
        door: &Door,
        caller: Arc<Caller>,
        call: CallId,
        request: Request,
    ) -> Result<Reply, Refusal> {
        if door.is_draining() {
            return Err(Refusal::new(Code::ShuttingDown, "the host is stopping; try again in a moment"));
        }
        let (head, body) = request.into_parts();
        let context = headers::context(&head.headers)?;
        let deadline = headers::deadline(&head.headers, door.deadline, door.deadline_max)?;
        // The body's time is part of the request's: the SDK waits for both.
        let body = body::read(body, door.body_bytes_max, door.body_time_max.min(deadline)).await?;
        let connection = self.name.clone();
        let draft = self.query.and_then(|query| {
            let (method, headers) = (&head.method, &head.headers);
            let given = Given { connection: self.name, method, path: self.path, query, headers, body };
            draft::draft(given, self.connection.as_deref()).and_then(|draft| key::kept(draft, &self.token))
        });
        drop(self.token);

        let _place = door.places.take()?;
        // Ids and the connection's name only: what is forwarded is never logged.
        let name = self.connection.as_deref().map(|connection| tracing::field::display(&connection.name));
        let span = tracing::info_span!("forward", %call, connection = name, token = %caller.token());
        let deadline = deadline.saturating_sub(self.started.elapsed());
        let request = ForwardRequest { caller, connection, draft, call, context, deadline };
        door.app.pipeline.forward(request).instrument(span).await?.into_inner()
    }
}

/// Whether a request of this method only looks, by HTTP's own rules.
fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_is_cut_and_nothing_else_is_done_to_it() {
        for (uri, connection, path) in [
            ("/proxy/stripe/v1/charges", "stripe", "/v1/charges"),
            ("/proxy/stripe/", "stripe", "/"),
            ("/proxy/stripe//v1", "stripe", "//v1"),
            ("/proxy/stripe/v1/../x", "stripe", "/v1/../x"),
            ("/proxy/stripe/%2e%2e/%2Fx?y=/z", "stripe", "/%2e%2e/%2Fx"),
            ("/proxy/%73tripe/v1", "%73tripe", "/v1"),
            ("/proxy/../v1", "..", "/v1"),
            ("/proxy/stripe", "stripe", ""),
            ("http://elsewhere/proxy/stripe/v1", "stripe", "/v1"),
        ] {
            let uri: Uri = uri.parse().unwrap();
            let target = Target::of(&uri);
            assert_eq!((target.connection, target.path), (connection, path), "{uri}");
        }
    }
}
