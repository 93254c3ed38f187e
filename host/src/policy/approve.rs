//! The question whether someone may approve a request.

use crate::clock::Millis;
use crate::connection::{Cost, Effect};
use crate::ids::{AgentId, ConnectionName, OperationName, Realm, RoleName};

/// May this operator agree to this request? The action is `Action::"approve"`, the principal the operator, the
/// resource the connection; the rest is in the context.
#[derive(Debug, Clone, Copy)]
pub struct ApproveQuestion<'a> {
    /// Whose request it is. An operator approves in its own tenant only; that's checked before.
    pub realm: &'a Realm,
    /// The operator's name.
    pub approver: &'a AgentId,
    /// Where the request goes.
    pub connection: &'a ConnectionName,
    /// What it does there.
    pub operation: &'a OperationName,
    /// Whether that changes anything upstream.
    pub effect: Effect,
    /// What it costs, when the operation has a cost rule.
    pub cost: Option<&'a Cost>,
    /// The agent that asks.
    pub requester: &'a AgentId,
    /// The agent's role.
    pub role: Option<&'a RoleName>,
    /// The time.
    pub now: Millis,
}
