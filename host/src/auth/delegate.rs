//! What may be handed on. Pure: the clock's time is an argument.

use std::time::Duration;

use super::chain::DEPTH_MAX;
use super::mint::{self, Mint, Minted};
use super::{AuthError, Caller, Grant};
use crate::clock::Millis;
use crate::ids::{AgentId, ConversationId, RoleName};
use crate::store::{TokenKind, TokenRow};

/// At most so many tokens are kept below one that an operator minted, from whichever of them they were delegated: each is
/// a row, and stays for 30 days after its end.
pub const DESCENDANTS_MAX: u32 = 10_000;

/// At most so many patterns of tools and operations are in the grant of a token that was delegated, or as many as in its
/// parent's: they're kept with each.
pub const DELEGATED_PATTERNS_MAX: usize = 64;

/// A token to be delegated. What is left out is the parent's own, but for rights: those are named or not there.
#[derive(Debug, Clone, Default)]
pub struct Delegation {
    /// The agent that it's for.
    pub agent: Option<AgentId>,
    /// That agent's role. It opens nothing by itself: policies are asked for each link of the chain.
    pub role: Option<RoleName>,
    /// What that agent is to do.
    pub task: Option<String>,
    /// The one conversation that it serves. A parent that is bound to one binds its children.
    pub conversation: Option<ConversationId>,
    /// What it may do: at most what the parent may.
    pub grant: Grant,
    /// How long it's valid. Without it: as long as the parent.
    pub lifetime: Option<Duration>,
}

/// Whether anything may be delegated from this token.
pub(super) fn check_parent(parent: &Caller) -> Result<(), AuthError> {
    match parent.kind() {
        TokenKind::Agent => {}
        TokenKind::Operator => {
            return Err(AuthError::MayNotDelegate("an operator's token mints tokens, and delegates none"));
        }
        TokenKind::Monitor => {
            return Err(AuthError::MayNotDelegate("a monitor's token only looks, and delegates nothing"));
        }
    }
    if !parent.grant().may_delegate {
        return Err(AuthError::MayNotDelegate(
            "this token may not be delegated from; ask the operator for one that may",
        ));
    }
    if parent.depth() >= DEPTH_MAX {
        return Err(AuthError::MayNotDelegate(
            "this token was delegated through 8 others, and no chain is longer than that",
        ));
    }
    Ok(())
}

/// Checks a request against every token above it and makes the token, without storing it.
pub(super) fn make(parent: &Caller, request: Delegation, now: Millis) -> Result<Minted, AuthError> {
    let Delegation { agent, role, task, conversation, grant, lifetime } = request;
    for link in parent.chain() {
        if let Some(sentence) = too_wide(link, &grant) {
            return Err(AuthError::InvalidMint(sentence));
        }
    }
    if let (Some(bound), Some(wanted)) = (parent.conversation(), &conversation)
        && bound != wanted
    {
        return Err(AuthError::InvalidMint(format!(
            "the conversation is too wide: this token is bound to {bound}, so what is delegated from it is too"
        )));
    }
    let most = patterns(parent.grant()).max(DELEGATED_PATTERNS_MAX);
    if patterns(&grant) > most {
        return Err(AuthError::InvalidMint(format!(
            "the grant names more than {most} tools and operations; name fewer, or use '*' or CONNECTION:*"
        )));
    }
    let left = u64::try_from(parent.expires_at().0.saturating_sub(now.0)).unwrap_or(0);
    let left = Duration::from_millis(left);
    let lifetime = lifetime.unwrap_or(left);
    if lifetime > left {
        return Err(AuthError::InvalidMint(format!(
            "the lifetime is too wide: this token itself is valid for {} more seconds",
            left.as_secs()
        )));
    }
    let mut minted = mint::make(
        Mint {
            kind: TokenKind::Agent,
            realm: parent.realm().clone(),
            every_environment: false,
            agent: agent.unwrap_or_else(|| parent.agent().clone()),
            conversation: conversation.or_else(|| parent.conversation().cloned()),
            role: role.or_else(|| parent.role().cloned()),
            task: task.or_else(|| parent.task().map(str::to_owned)),
            user: parent.user().cloned(),
            grant,
            lifetime,
        },
        now,
    )?;
    minted.row.parent = Some(parent.token().clone());
    Ok(minted)
}

/// How many patterns of tools and operations a grant has.
fn patterns(grant: &Grant) -> usize {
    grant.tools.len() + grant.operations.len()
}

/// Which part of a child's grant is more than a token above it has, in a sentence.
fn too_wide(link: &TokenRow, child: &Grant) -> Option<String> {
    let above = &link.grant;
    if let Some(tool) = child.tools.iter().find(|tool| !above.covers_tool(tool)) {
        return Some(format!("the tools are too wide: this token may not call {tool} itself; leave it out"));
    }
    if let Some(operation) = child.operations.iter().find(|operation| !above.covers_operation(operation)) {
        return Some(format!(
            "the operations are too wide: this token may not use {operation} itself; leave it out"
        ));
    }
    if child.may_store_secrets && !above.may_store_secrets {
        return Some(
            "this token may not store a user's secrets itself; leave may_store_secrets out".to_owned(),
        );
    }
    if let Some(budget) = child.budgets.iter().find(|budget| !above.opens(budget)) {
        return Some(format!(
            "the budget \"{budget}\" is on what this token may not use itself, so it would limit nothing; leave it out"
        ));
    }
    // What a child spends is counted in every budget above it as well, so a budget that it doesn't have is no way
    // round one. One that promises more than there is would only mislead whoever gets the token.
    child.budgets.iter().find_map(|budget| {
        let over = above.budgets.iter().find(|wider| wider.includes(budget) && wider.limit < budget.limit)?;
        Some(format!(
            "the budget \"{budget}\" is too wide: this token itself has \"{over}\"; ask for at most {}",
            over.limit
        ))
    })
}
