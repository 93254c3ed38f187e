//! The HTTP door: sockets → routes → the pipeline → one answer.
//!
//! ```text
//! listener   sockets, TLS, limits on connections and time, drain
//!   → router   the table of routes
//!     → access   bearer token → Caller, of the right kind
//!     → headers  conversation, turn, trace, deadline
//!     → body     capped in size and time
//!     → tools · code · tokens · delegate · agents · vault_keys · user_secrets · policies · enforce · approvals ·
//!       kill · budgets · audit · health · openapi
//!     → mcp     the same tools in the words of the Model Context Protocol
//!     → proxy   a vendor's SDK: its key, its request, its errors
//!   → problem  the one file that picks a status code
//! ```
//!
//! Three answers need no token, and show nothing of any tenant: `/healthz`, `/readyz` and `/metrics` (whose labels
//! are names of tools, connections and operations; put a proxy in front where even those are private).
//! `/openapi.json` is the same for everyone.

mod access;
mod agents;
mod approvals;
mod audit;
mod body;
mod budgets;
mod change;
mod code;
mod delegate;
mod endpoints;
mod enforce;
mod headers;
mod health;
mod kill;
mod listener;
mod mcp;
mod openapi;
mod pace;
mod places;
mod policies;
mod problem;
mod proxy;
mod query;
mod realm;
mod rest;
mod router;
mod tls;
mod tokens;
mod tools;
mod turns;
mod unread;
mod user_secrets;
mod vault_keys;
mod wire;

#[cfg(test)]
mod tests;

pub(crate) use listener::certificate;
pub use listener::{Bound, ServeError, bind};
pub use openapi::document as openapi;
pub use tls::Certificate;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::app::App;
use crate::config::{CodeConfig, DoorLimits, Tls};

/// How the door is opened.
#[derive(Debug, Clone)]
pub struct ServeConfig {
    /// Where to listen. Port 0 takes a free one, which [`Bound::address`] tells.
    pub listen: SocketAddr,
    /// The listener's certificate. `None`: plain HTTP.
    pub tls: Option<Tls>,
    /// Allows plain HTTP on an address that isn't loopback, where tokens and results can be read on the way.
    pub insecure_listen: bool,
    /// What is let in.
    pub limits: DoorLimits,
    /// How long a call may take when its caller doesn't say.
    pub deadline: Duration,
    /// The longest that a caller may ask for.
    pub deadline_max: Duration,
    /// How code that agents write is run.
    pub code: CodeConfig,
}

/// Binds and serves until `shutdown` resolves and the calls under way have ended, or the drain time is over: what
/// still runs then is dropped, and recorded as cancelled.
///
/// # Errors
/// [`ServeError`], before anything is served.
pub async fn serve(
    app: Arc<App>,
    config: ServeConfig,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    bind(&config).await?.serve(app, shutdown).await
}
