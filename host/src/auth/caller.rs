//! Who calls.

use crate::auth::Grant;
use crate::clock::Millis;
use crate::ids::{AgentId, ConversationId, Realm, RoleName, TenantId, TokenId};
use crate::store::{TokenKind, TokenRow};

/// A verified caller.
///
/// INVARIANT (verified): only `Auth` makes one, from a token that it found, unexpired and unrevoked.
#[derive(Debug)]
pub struct Caller {
    row: TokenRow,
}

impl Caller {
    /// A caller from its token's row.
    pub(super) fn new(row: TokenRow) -> Self {
        Self { row }
    }

    /// SHA-256 of the token, by which it's found again.
    pub(super) fn hash(&self) -> &[u8; 32] {
        &self.row.hash
    }

    /// Proof that this caller may manage its tenant's tokens; `None` for an agent.
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

    /// What it may do.
    #[must_use]
    pub fn grant(&self) -> &Grant {
        &self.row.grant
    }

    /// From when on the token is no longer valid.
    #[must_use]
    pub fn expires_at(&self) -> Millis {
        self.row.expires_at
    }
}

/// Proof that a caller's token was neither revoked nor expired a moment ago.
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

/// Proof that a caller is an operator: it manages the tokens of its own tenant, in all environments of that.
#[derive(Debug)]
pub struct Operator<'c> {
    caller: &'c Caller,
}

impl<'c> Operator<'c> {
    /// The tenant that it manages.
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
