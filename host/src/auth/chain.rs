//! The tokens that a token was delegated from.

use super::AuthError;
use crate::ids::TokenId;
use crate::store::{ControlStore, StoreError, TokenKind, TokenRow};

/// A token is delegated through at most so many others: each is looked at for every use.
pub const DEPTH_MAX: usize = 8;

/// The tokens above `row`, the nearest first; none for a token that an operator minted. It ends whatever the store
/// holds, a loop included.
///
/// # Errors
/// [`AuthError::Unauthorized`] when a link is missing or revoked, may not stand where it stands, or there are too many.
/// Expiry isn't looked at here: the chain is kept, and time goes on.
pub(super) fn above(store: &dyn ControlStore, row: &TokenRow) -> Result<Vec<TokenRow>, AuthError> {
    climb(row, |id| store.token_by_id(id))
}

fn climb(
    row: &TokenRow,
    find: impl Fn(&TokenId) -> Result<Option<TokenRow>, StoreError>,
) -> Result<Vec<TokenRow>, AuthError> {
    let mut above: Vec<TokenRow> = Vec::new();
    loop {
        let below = above.last().unwrap_or(row);
        let Some(id) = &below.parent else { return Ok(above) };
        if above.len() >= DEPTH_MAX {
            return Err(AuthError::Unauthorized);
        }
        let parent = find(id)?.ok_or(AuthError::Unauthorized)?;
        if !stands_above(&parent, below) {
            return Err(AuthError::Unauthorized);
        }
        above.push(parent);
    }
}

/// Whether a child may stand below this parent. Minting keeps to the same; this holds even for rows that someone
/// tampered with. What the grants allow is asked of every link at each use, so they aren't compared here.
fn stands_above(parent: &TokenRow, child: &TokenRow) -> bool {
    parent.revoked_at.is_none()
        && parent.kind == TokenKind::Agent
        && child.kind == TokenKind::Agent
        && parent.grant.may_delegate
        && parent.realm == child.realm
        && parent.user == child.user
        && (parent.conversation.is_none() || parent.conversation == child.conversation)
}
