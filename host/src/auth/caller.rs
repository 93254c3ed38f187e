//! Who calls.

use crate::auth::Grant;
use crate::clock::Millis;
use crate::ids::{
    AgentId, ConnectionName, ConversationId, OperationName, Realm, RoleName, TenantId, TokenId, ToolName,
    UserId,
};
use crate::reach::Reach;
use crate::store::{TokenKind, TokenRow};

/// A verified caller.
///
/// INVARIANT (verified): only `Auth` makes one, from a token that it found, unexpired and unrevoked, as is every token
/// that this one was delegated from.
#[derive(Debug)]
pub struct Caller {
    row: TokenRow,
    /// The tokens that it was delegated from, the nearest first.
    above: Vec<TokenRow>,
    expires_at: Millis,
}

impl Caller {
    /// A caller from its token's row and those above it, the nearest first.
    pub(super) fn new(row: TokenRow, above: Vec<TokenRow>) -> Self {
        // A child is minted to end no later than its parent; a row that says otherwise doesn't help.
        let expires_at = above.iter().map(|link| link.expires_at).fold(row.expires_at, Millis::min);
        Self { row, above, expires_at }
    }

    /// SHA-256 of the token, by which it's found again.
    pub(super) fn hash(&self) -> &[u8; 32] {
        &self.row.hash
    }

    /// Proof that this caller may manage tokens; `None` for an agent and for a monitor.
    #[must_use]
    pub fn as_operator(&self) -> Option<Operator<'_>> {
        (self.kind() == TokenKind::Operator).then_some(Operator { caller: self })
    }

    /// The token's public id.
    #[must_use]
    pub fn token(&self) -> &TokenId {
        &self.row.id
    }

    /// What the token is for.
    #[must_use]
    pub fn kind(&self) -> TokenKind {
        self.row.kind
    }

    /// Whose it is.
    #[must_use]
    pub fn realm(&self) -> &Realm {
        &self.row.realm
    }

    /// How far it reaches: its own environment, or every one of its tenant for an operator or a monitor whose token says so.
    #[must_use]
    pub fn reach(&self) -> Reach {
        match self.kind() {
            TokenKind::Operator | TokenKind::Monitor if self.row.every_environment => {
                Reach::every(self.row.realm.tenant.clone())
            }
            TokenKind::Operator | TokenKind::Monitor | TokenKind::Agent => Reach::one(self.row.realm.clone()),
        }
    }

    /// The agent.
    #[must_use]
    pub fn agent(&self) -> &AgentId {
        &self.row.agent
    }

    /// The conversation it's bound to.
    #[must_use]
    pub fn conversation(&self) -> Option<&ConversationId> {
        self.row.conversation.as_ref()
    }

    /// The agent's role.
    #[must_use]
    pub fn role(&self) -> Option<&RoleName> {
        self.row.role.as_ref()
    }

    /// What the agent is to do, in the operator's words.
    #[must_use]
    pub fn task(&self) -> Option<&str> {
        self.row.task.as_deref()
    }

    /// The person whose own secrets it may use.
    ///
    /// INVARIANT (one user): a whole chain is of one user, or of none. A child gets its parent's, and a row that says
    /// otherwise is no valid token: so no row alone opens a user's secrets.
    #[must_use]
    pub fn user(&self) -> Option<&UserId> {
        self.row.user.as_ref()
    }

    /// Whether it may store and remove that user's secrets: every link of the chain has to be allowed to.
    #[must_use]
    pub fn may_store_secrets_of(&self, user: &UserId) -> bool {
        self.user() == Some(user) && self.chain().all(|link| link.grant.may_store_secrets)
    }

    /// What its own token says that it may do. What it may do in fact is what every link of the chain allows:
    /// [`Self::allows_tool`], [`Self::allows_operation`].
    #[must_use]
    pub fn grant(&self) -> &Grant {
        &self.row.grant
    }

    /// Its own token, then the one that this was delegated from, and so on up to the one that an operator minted.
    ///
    /// INVARIANT (chain): what is asked of a caller is asked of every link, each by its own agent, role, task and grant.
    /// Whoever delegates names the child's agent and role, so these alone must not open anything.
    pub fn chain(&self) -> impl Iterator<Item = &TokenRow> {
        std::iter::once(&self.row).chain(&self.above)
    }

    /// The first token of its chain, which an operator minted: its own if nobody delegated it.
    #[must_use]
    pub fn root(&self) -> &TokenId {
        &self.above.last().unwrap_or(&self.row).id
    }

    /// How many tokens it was delegated through: 0 for one that an operator minted.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.above.len()
    }

    /// Whether every link of the chain may call this tool.
    #[must_use]
    pub fn allows_tool(&self, tool: &ToolName) -> bool {
        self.chain().all(|link| link.grant.allows_tool(tool))
    }

    /// Whether every link of the chain may use this operation.
    #[must_use]
    pub fn allows_operation(&self, connection: &ConnectionName, operation: &OperationName) -> bool {
        self.chain().all(|link| link.grant.allows_operation(connection, operation))
    }

    /// From when on the token is no longer valid: the earliest expiry of the chain.
    #[must_use]
    pub fn expires_at(&self) -> Millis {
        self.expires_at
    }
}

/// Proof that a moment ago neither a caller's token nor one above it was revoked or expired.
#[derive(Debug)]
pub struct Alive<'c> {
    caller: &'c Caller,
}

impl<'c> Alive<'c> {
    /// Only `Auth` may say so.
    pub(super) fn new(caller: &'c Caller) -> Self {
        Self { caller }
    }

    /// The caller.
    #[must_use]
    pub fn caller(&self) -> &'c Caller {
        self.caller
    }
}

/// Proof that a caller is an operator: it manages what is within its reach.
#[derive(Debug)]
pub struct Operator<'c> {
    caller: &'c Caller,
}

impl<'c> Operator<'c> {
    /// How far it manages.
    #[must_use]
    pub fn reach(&self) -> Reach {
        self.caller.reach()
    }

    /// Its tenant.
    #[must_use]
    pub fn tenant(&self) -> &'c TenantId {
        &self.caller.realm().tenant
    }

    /// The caller.
    #[must_use]
    pub fn caller(&self) -> &'c Caller {
        self.caller
    }
}
