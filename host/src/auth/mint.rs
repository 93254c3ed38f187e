//! What may be minted. Pure: the clock's time is an argument.

use std::time::Duration;

use super::token::TokenText;
use super::{AuthError, Grant, Operator};
use crate::clock::Millis;
use crate::ids::{AgentId, ConversationId, Realm, RoleName, TokenId, UserId};
use crate::ledger::Budget;
use crate::store::{TokenKind, TokenRow};
use crate::text::is_line;

/// No token lives longer than a year of 365 days: one that was forgotten ends by itself.
pub const LIFETIME_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// At most so many patterns of tools and operations in one grant: they're walked for every send.
pub const GRANT_PATTERNS_MAX: usize = 1024;

/// The longest description of a task, in characters: it's kept with the token and shown to approvers.
pub const TASK_CHARS_MAX: usize = 512;

/// A token to be made.
#[derive(Debug, Clone)]
pub struct Mint {
    /// What it is for.
    pub kind: TokenKind,
    /// Whose it is.
    pub realm: Realm,
    /// For an operator token or a monitor's: whether it reaches every environment of its tenant, and not its own alone.
    pub every_environment: bool,
    /// The agent it's for. For an operator token or a monitor's: a name for who holds it.
    pub agent: AgentId,
    /// The one conversation it serves, if it's to be bound to one.
    pub conversation: Option<ConversationId>,
    /// The agent's role.
    pub role: Option<RoleName>,
    /// What the agent is to do, in the operator's words: at most [`TASK_CHARS_MAX`] characters.
    pub task: Option<String>,
    /// The person whose own secrets it may use. For an agent's token alone.
    pub user: Option<UserId>,
    /// What it may do. Empty for an operator token, which manages, and for a monitor's, which looks: they call no tool.
    pub grant: Grant,
    /// How long it's valid from now on: at least a millisecond, at most [`LIFETIME_MAX`].
    pub lifetime: Duration,
}

/// A token that was made.
#[derive(Debug)]
pub struct Minted {
    /// What is stored of it.
    pub row: TokenRow,
    /// The token itself. This is the only time that it's there.
    pub token: TokenText,
}

/// Checks a request and makes the token, without storing it.
pub(super) fn make(request: Mint, now: Millis) -> Result<Minted, AuthError> {
    let Mint { kind, realm, every_environment, agent, conversation, role, task, user, grant, lifetime } =
        request;
    if lifetime.as_millis() == 0 {
        return invalid("the token would expire at once; give it a lifetime, for example one hour");
    }
    if lifetime > LIFETIME_MAX {
        return invalid("no token lives longer than 365 days; give it a shorter lifetime");
    }
    if grant.tools.len() + grant.operations.len() > GRANT_PATTERNS_MAX {
        return invalid("the grant names more than 1024 tools and operations; use '*' or CONNECTION:*");
    }
    Budget::check_all(&grant.budgets).map_err(AuthError::InvalidMint)?;
    if kind != TokenKind::Agent {
        check_without_rights(kind, &grant, conversation.as_ref(), user.as_ref())?;
    }
    if kind == TokenKind::Agent && every_environment {
        return invalid(
            "an agent's token is for one environment; only an operator token or a monitor's reaches every one",
        );
    }
    if grant.may_store_secrets && user.is_none() {
        return invalid("a token that may store a user's secrets has to be bound to one; name the user");
    }
    if task.as_ref().is_some_and(|task| task.chars().count() > TASK_CHARS_MAX) {
        return invalid("the task is longer than 512 characters; say it more briefly");
    }
    if task.as_ref().is_some_and(|task| !is_line(task, TASK_CHARS_MAX)) {
        return invalid("the task is not one line of printable characters; write it as one, or leave it out");
    }
    let token = TokenText::fresh(kind);
    let row = TokenRow {
        id: TokenId::fresh(),
        hash: token.hash(),
        kind,
        realm,
        every_environment,
        agent,
        conversation,
        role,
        task,
        user,
        parent: None,
        minted_by: None,
        grant,
        created_at: now,
        expires_at: now.plus(lifetime),
        revoked_at: None,
    };
    Ok(Minted { row, token })
}

/// What an operator and a monitor may do is their kind's: an agent's rights and bounds would say something else.
fn check_without_rights(
    kind: TokenKind,
    grant: &Grant,
    conversation: Option<&ConversationId>,
    user: Option<&UserId>,
) -> Result<(), AuthError> {
    if *grant != Grant::default() {
        return invalid(match kind {
            TokenKind::Monitor => {
                "a monitor's token looks and calls no tool; leave its tools, operations and budgets out"
            }
            TokenKind::Operator | TokenKind::Agent => {
                "an operator token manages tokens and calls no tool; leave its tools, operations and budgets out"
            }
        });
    }
    if conversation.is_some() {
        return invalid("only an agent's token can be bound to a conversation; leave the conversation out");
    }
    if user.is_some() {
        return invalid("only an agent's token can be bound to a user; leave the user out");
    }
    Ok(())
}

/// What an operator's token may mint.
pub(super) fn check_operator(operator: &Operator<'_>, request: &Mint) -> Result<(), AuthError> {
    if request.kind != TokenKind::Agent {
        return invalid(
            "an operator token mints agents' tokens only; mint operators' and monitors' on the host's command line",
        );
    }
    if request.realm.tenant != *operator.tenant() {
        return invalid("an operator token mints tokens of its own tenant only");
    }
    if !operator.reach().covers(&request.realm) {
        return invalid("this operator token mints tokens of its own environment only");
    }
    Ok(())
}

fn invalid<T>(sentence: &str) -> Result<T, AuthError> {
    Err(AuthError::InvalidMint(sentence.to_owned()))
}
