//! Bearer token → caller of the right kind.
//!
//! INVARIANT (one 401): no token, a malformed one, one in the wrong place, an unknown, an expired and a revoked one get
//! the same answer, byte for byte. It carries no call id, since that alone would tell two of them apart.
//!
//! INVARIANT (looking): a monitor comes in through [`Door::reader`] and [`Door::any_reader`] alone. A route that asks for
//! anyone else is closed to it, so one that says nothing of monitors is.

use std::sync::Arc;

use http::HeaderMap;

use super::change::unable;
use super::headers;
use super::router::Door;
use crate::auth::{AuthError, Caller, kind_of};
use crate::refusal::{Code, Refusal};
use crate::store::TokenKind;

impl Door {
    /// A caller that may call tools.
    ///
    /// # Errors
    /// [`Code::Unauthorized`]; [`Code::Denied`] for an operator's token, which manages and calls nothing, and for a
    /// monitor's, which looks.
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
            TokenKind::Operator => {
                denied("an operator's token (kbo_…) can't call tools; use an agent's token (kbt_…)")
            }
            TokenKind::Monitor => denied(
                "a monitor's token (kbm_…) only looks, and can't call tools; use an agent's token (kbt_…)",
            ),
        }
    }

    /// A caller that may manage what is within its reach. Its token may stand in `X-Api-Key`.
    ///
    /// # Errors
    /// [`Code::Unauthorized`]; [`Code::Denied`] for an agent's token, and for a monitor's.
    pub(super) fn operator(&self, headers: &HeaderMap) -> Result<Arc<Caller>, Refusal> {
        let caller = self.keyed(headers)?;
        match caller.kind() {
            TokenKind::Operator => Ok(caller),
            TokenKind::Agent => {
                denied("an agent's token (kbt_…) can't manage the host; use an operator's token (kbo_…)")
            }
            TokenKind::Monitor => denied(ONLY_LOOKS),
        }
    }

    /// A caller that may look at what is managed within its reach: an operator or a monitor. Its token may stand in
    /// `X-Api-Key`. For routes that change nothing.
    ///
    /// # Errors
    /// [`Code::Unauthorized`]; [`Code::Denied`] for an agent's token.
    pub(super) fn reader(&self, headers: &HeaderMap) -> Result<Arc<Caller>, Refusal> {
        let caller = self.keyed(headers)?;
        match caller.kind() {
            TokenKind::Operator | TokenKind::Monitor => Ok(caller),
            TokenKind::Agent => denied(
                "an agent's token (kbt_…) can't look at what operators manage; use an operator's token (kbo_…) or a \
                 monitor's (kbm_…)",
            ),
        }
    }

    /// An agent, or an operator, whose token may stand in `X-Api-Key`.
    ///
    /// # Errors
    /// [`Code::Unauthorized`]; [`Code::Denied`] for a monitor's token.
    pub(super) fn agent_or_operator(&self, headers: &HeaderMap) -> Result<Arc<Caller>, Refusal> {
        let caller = self.any_reader(headers)?;
        match caller.kind() {
            TokenKind::Agent | TokenKind::Operator => Ok(caller),
            TokenKind::Monitor => denied(ONLY_LOOKS),
        }
    }

    /// A caller of any kind, a monitor too. An operator's or a monitor's token may stand in `X-Api-Key`; beside an agent's
    /// token that header isn't read: it's some gateway's. For routes that change nothing.
    ///
    /// # Errors
    /// [`Code::Unauthorized`].
    pub(super) fn any_reader(&self, headers: &HeaderMap) -> Result<Arc<Caller>, Refusal> {
        let agent = headers::bearer(headers).filter(|token| kind_of(token) == Some(TokenKind::Agent));
        // The empty text is no token: what has none goes the same way as what has a wrong one.
        self.caller(agent.or_else(|| headers::token(headers)).unwrap_or(""))
    }

    /// A caller by a token that may stand in `X-Api-Key`.
    fn keyed(&self, headers: &HeaderMap) -> Result<Arc<Caller>, Refusal> {
        self.caller(headers::token(headers).unwrap_or(""))
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

/// What a monitor is told that wants to change something.
const ONLY_LOOKS: &str = "a monitor's token (kbm_…) only looks: it changes, decides and mints nothing; use an operator's \
     token (kbo_…)";

fn denied<T>(sentence: &str) -> Result<T, Refusal> {
    Err(Refusal::new(Code::Denied, sentence))
}
