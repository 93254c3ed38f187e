//! The question whether someone may approve a request.

use super::Policy;
use super::question::{Question, What, Who};
use super::set::Ruling;
use crate::approval::About;
use crate::clock::Millis;
use crate::connection::{Cost, Effect};
use crate::ids::{AgentId, Realm, RoleName};

/// May this operator agree to this request? The action is `Action::"approve"`, the principal the operator, the
/// resource the connection or the `api://…` resource; the rest is in the context.
#[derive(Debug, Clone, Copy)]
pub struct ApproveQuestion<'a> {
    /// Whose request it is. An operator approves within its reach only; that's checked before.
    pub realm: &'a Realm,
    /// The operator's name.
    pub approver: &'a AgentId,
    /// What it would do, and where.
    pub about: &'a About,
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

impl Policy {
    /// May this operator approve this request? Nobody approves what was asked for in their own name, whatever the
    /// policies say.
    #[must_use]
    pub fn may_approve(&self, question: ApproveQuestion<'_>) -> bool {
        if question.approver == question.requester {
            return false;
        }
        let asked = Question {
            realm: question.realm,
            who: Who::Operator(question.approver),
            now: question.now,
            what: What::Approve {
                about: question.about,
                effect: question.effect,
                cost: question.cost,
                requester: question.requester,
                role: question.role,
            },
        };
        let (decided, _) = self.decide([asked], question.realm);
        if let Some(cause) = &decided.cause {
            tracing::info!(approver = %question.approver, %cause, "an approval was refused by policy");
        }
        decided.ruling == Ruling::Allowed
    }
}
