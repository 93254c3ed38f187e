//! Bearer token → caller of the right kind.
//!
//! INVARIANT (one 401): no token, a malformed one, one in the wrong place, an unknown, an expired and a revoked one get
//! the same answer, byte for byte. It carries no call id, since that alone would tell two of them apart.

use std::sync::Arc;

use http::HeaderMap;

use super::change::unable;
use super::headers;
use super::router::Door;
use crate::auth::{AuthError, Caller};
use crate::refusal::{Code, Refusal};
use crate::store::TokenKind;

impl Door {
    /// A caller that may call tools.
    ///
    /// # Errors
    /// [`Code::Unauthorized`]; [`Code::Denied`] for an operator's token, which manages and calls nothing.
    pub(super) fn agent(&self, headers: &HeaderMap) -> Result<Arc<Caller>, Refusal> {
        // The empty text is no token: what has none goes the same way as what has a wrong one.
        self.agent_by(headers::bearer(headers).unwrap_or(""))
    }

    /// The same, by a token that stood in another place; the empty text for none.
    ///
    /// # Errors
    /// As [`Door::agent`].
    pub(super) fn agent_by(&self, token: &str) -> Result<Arc<Caller>, Refusal> {
        let caller = self.caller(token)?;
        match caller.kind() {
            TokenKind::Agent => Ok(caller),
            TokenKind::Operator => Err(Refusal::new(
                Code::Denied,
                "an operator's token (kbo_…) can't call tools; use an agent's token (kbt_…)",
            )),
        }
    }

    /// A caller that may manage what is within its reach. Its token may stand in `X-Api-Key`.
    ///
    /// # Errors
    /// [`Code::Unauthorized`]; [`Code::Denied`] for an agent's token.
    pub(super) fn operator(&self, headers: &HeaderMap) -> Result<Arc<Caller>, Refusal> {
        let caller = self.caller(headers::operator_key(headers).unwrap_or(""))?;
        match caller.kind() {
            TokenKind::Operator => Ok(caller),
            TokenKind::Agent => Err(Refusal::new(
                Code::Denied,
                "an agent's token (kbt_…) can't manage the host; use an operator's token (kbo_…)",
            )),
        }
    }

    /// A caller of either kind.
    ///
    /// # Errors
    /// [`Code::Unauthorized`].
    pub(super) fn anyone(&self, headers: &HeaderMap) -> Result<Arc<Caller>, Refusal> {
        // The empty text is no token: what has none goes the same way as what has a wrong one.
        self.caller(headers::bearer(headers).unwrap_or(""))
    }

    fn caller(&self, token: &str) -> Result<Arc<Caller>, Refusal> {
        self.app.auth.verify(token).map_err(|error| match error {
            AuthError::Unauthorized => {
                self.app.metrics.auth_failed();
                Refusal::new(Code::Unauthorized, AuthError::Unauthorized.to_string())
            }
            other => unable("check tokens", &other),
        })
    }
}
