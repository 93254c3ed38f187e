//! What the stores keep.

use serde::{Deserialize, Serialize};

use crate::auth::Grant;
use crate::clock::Millis;
use crate::ids::{
    AgentId, CallId, ConnectionName, ConversationId, Digest, Realm, RoleName, SecretLabel, TenantId, TokenId,
    UserId,
};
use crate::reach::Reach;

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenKind {
    /// Calls tools (`kbt_…`).
    Agent,
    /// Manages tokens and reads the audit trail of its environment, or of its whole tenant (`kbo_…`).
    Operator,
    /// Looks at what an operator of the same reach manages, and changes nothing (`kbm_…`).
    Monitor,
}

impl TokenKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Agent, Self::Operator, Self::Monitor];
}

/// A minted token. The token itself is not stored, only its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRow {
    /// The public id.
    pub id: TokenId,
    /// SHA-256 of the token's text. 256 random bits need no slow hash.
    pub hash: [u8; 32],
    /// What it is for.
    pub kind: TokenKind,
    /// Whose it is.
    pub realm: Realm,
    /// An operator's or a monitor's: whether it reaches every environment of its tenant, and not its own alone.
    pub every_environment: bool,
    /// The agent it was minted for.
    pub agent: AgentId,
    /// The one conversation it serves, if it's bound to one.
    pub conversation: Option<ConversationId>,
    /// The agent's role, which policies speak of.
    pub role: Option<RoleName>,
    /// What the agent is to do, in the operator's words. Policies may ask for it; nobody acts on it.
    pub task: Option<String>,
    /// The person whose own secrets it may use. A child's is its parent's.
    pub user: Option<UserId>,
    /// The token that this one was delegated from: it may do nothing that its parent may not.
    pub parent: Option<TokenId>,
    /// The operator who minted it: the name on its token, or `cli:` and a user of the machine. None for a token that was
    /// delegated, and for those that the host makes by itself.
    pub minted_by: Option<AgentId>,
    /// What it may do.
    pub grant: Grant,
    /// When it was minted.
    pub created_at: Millis,
    /// From when on it's no longer valid.
    pub expires_at: Millis,
    /// When it was revoked, if it was.
    pub revoked_at: Option<Millis>,
}

impl TokenRow {
    /// Whether it's neither revoked nor expired at a time.
    #[must_use]
    pub fn is_valid(&self, at: Millis) -> bool {
        self.revoked_at.is_none() && self.expires_at > at
    }

    /// Whether an operator who reaches this far may see and revoke it. A token for every environment is the tenant's:
    /// who manages one environment doesn't take it away from the others.
    #[must_use]
    pub fn is_within(&self, reach: &Reach) -> bool {
        let environment = (!self.every_environment).then_some(&self.realm.environment);
        reach.covers_part(&self.realm.tenant, environment)
    }
}

/// A tenant's key-encryption key, wrapped by the master key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantKeyRow {
    /// Whose it is.
    pub tenant: TenantId,
    /// Which master key wrapped it: a public id derived from that key.
    pub master: String,
    /// The wrapped key, nonce included.
    pub wrapped: Vec<u8>,
}

/// One version of a secret, encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretRow {
    /// Whose it is.
    pub realm: Realm,
    /// The person whose own it is. `None`: an operator put it there.
    pub user: Option<UserId>,
    /// Its name. Another user's of the same name, and an operator's, are others.
    pub label: SecretLabel,
    /// Its version, from 1.
    pub version: u32,
    /// The data key, wrapped by the tenant's key, nonce included.
    pub wrapped_key: Vec<u8>,
    /// The secret under the data key, nonce included.
    pub ciphertext: Vec<u8>,
    /// When it was stored.
    pub created_at: Millis,
}

/// What a component is to its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ComponentKind {
    /// Its tools do what they were written for, over the connections that they declare.
    Tool,
    /// Its one tool runs code that agents write, which may use the connections that the operator chose.
    Sandbox,
}

impl ComponentKind {
    /// `tool` or `sandbox`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tool => "tool",
            Self::Sandbox => "sandbox",
        }
    }
}

/// A component that the operator consented to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentRow {
    /// The operator's name for it, `stripe` for example. One digest per name is active.
    pub name: String,
    /// What it is.
    pub kind: ComponentKind,
    /// The digest of its bytes, which lie in the home's `tools` folder under that digest.
    pub digest: Digest,
    /// What it described when it was added, as canonical JSON. A later description must be the same.
    pub described: String,
    /// The connections that the operator consented to.
    pub connections: Vec<ConnectionName>,
    /// When it was added.
    pub added_at: Millis,
    /// Whether it's the one in use under its name.
    pub active: bool,
}

/// Whose a row of the audit trail is, where its event says so: the first row of a call does, and stands for all of
/// them. Another of them that does says the same.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filed {
    /// The token that asked, or that something was done to.
    pub token: Option<TokenId>,
    /// The agent that it was minted for, or that something was done to.
    pub agent: Option<AgentId>,
    /// The conversation.
    pub conversation: Option<ConversationId>,
}

/// A row of the audit trail as it lies on disk.
///
/// The event is kept as the text that was hashed, not as a parsed value: so a change that parses to the same value
/// (a space, a reordered key) breaks the chain as well, and rows of an older version keep their hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    /// Its number, from 1, without gaps.
    pub seq: u64,
    /// When it was recorded.
    pub at: Millis,
    /// Whose it is. `None`: the host's own.
    pub realm: Option<Realm>,
    /// The call it belongs to, if any.
    pub call: Option<CallId>,
    /// What else it's found by. It's no part of the hash, since the event says it.
    pub filed: Filed,
    /// What happened, as JSON.
    pub event: String,
    /// The hash of the record before; all zeros for the first.
    pub prev: Digest,
    /// SHA-256 over this record's canonical form, `prev` included.
    pub hash: Digest,
}
