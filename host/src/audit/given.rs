//! What is recorded of a token that was minted or delegated: the token itself is removed some time after its end, the trail
//! isn't.

use serde::{Deserialize, Serialize};

use super::{Audit, AuditError, Event};
use crate::auth::Grant;
use crate::clock::Millis;
use crate::ids::{AgentId, ConversationId, RoleName, UserId};
use crate::store::{TokenKind, TokenRow};

/// How many tools, and how many operations, a row names: a row stays small.
const PATTERNS_MAX: usize = 64;

/// A token that was given to somebody: to whom, for what, and what it may do. Whose it is, is the row's realm; its text and
/// its hash are nowhere in the trail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenGiven {
    /// What it is for.
    pub kind: TokenKind,
    /// An operator's or a monitor's: whether it reaches every environment of its tenant.
    pub every_environment: bool,
    /// The agent that got it; the operator's or monitor's name.
    pub agent: AgentId,
    /// The agent's role.
    pub role: Option<RoleName>,
    /// What the agent is to do: one line of at most [`TASK_CHARS_MAX`](crate::auth::TASK_CHARS_MAX) characters.
    pub task: Option<String>,
    /// The one conversation that it serves.
    pub conversation: Option<ConversationId>,
    /// The person whose own secrets it may use.
    pub user: Option<UserId>,
    /// The operator who minted it. None for one that was delegated, and for those that the host makes by itself.
    pub minted_by: Option<AgentId>,
    /// From when on it's no longer valid.
    pub expires_at: Millis,
    /// What it may do: at most 64 tools and 64 operations of it.
    pub grant: Grant,
    /// How many more tools and operations it names.
    pub left_out: u32,
}

impl From<&TokenRow> for TokenGiven {
    fn from(row: &TokenRow) -> Self {
        let mut grant = row.grant.clone();
        let named = grant.tools.len() + grant.operations.len();
        grant.tools.truncate(PATTERNS_MAX);
        grant.operations.truncate(PATTERNS_MAX);
        let left_out = named - grant.tools.len() - grant.operations.len();
        Self {
            kind: row.kind,
            every_environment: row.every_environment,
            agent: row.agent.clone(),
            role: row.role.clone(),
            task: row.task.clone(),
            conversation: row.conversation.clone(),
            user: row.user.clone(),
            minted_by: row.minted_by.clone(),
            expires_at: row.expires_at,
            grant,
            left_out: u32::try_from(left_out).unwrap_or(u32::MAX),
        }
    }
}

impl Audit {
    /// Records that a token was given: `token.mint` or `token.delegate`, by whom (a token's id or `cli`), to whom, for what,
    /// and what it may do. It's on the disk when this resolves.
    ///
    /// # Errors
    /// As for [`Self::begin`].
    pub async fn given(&self, action: &str, token: &TokenRow, by: &str) -> Result<(), AuditError> {
        let event = Event::Admin {
            action: action.to_owned(),
            subject: token.id.to_string(),
            by: by.to_owned(),
            reason: None,
            token: Some(Box::new(token.into())),
        };
        self.written(Some(token.realm.clone()), None, event).await
    }
}
