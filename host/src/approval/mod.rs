//! A person's yes to one exact request.

use crate::ids::{AgentId, ApprovalId};

/// What people decided of one exact request: it's granted, by these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approved {
    /// The approval.
    pub id: ApprovalId,
    /// Who agreed, each once.
    pub approvers: Vec<AgentId>,
}
