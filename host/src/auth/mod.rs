//! Bearer token → [`Caller`].
//!
//! A token is 256 random bits behind a prefix that says its kind. The store holds its SHA-256 only. What a token
//! may do is fixed when it's minted; the one thing that changes later is that it gets revoked, and
//! [`Auth::alive`] sees that before every single send.
//!
//! A token whose grant says so can be delegated from: the child may do what it and every token above it may do, and
//! ends with the first of them. Each use looks at the whole chain.

mod agents;
mod cache;
mod caller;
mod chain;
mod delegate;
mod grant;
mod mint;
#[cfg(test)]
mod tests;
mod token;

pub use agents::{
    AGENT_DESCRIPTION_CHARS_MAX, AGENT_METADATA_BYTES_MAX, AGENT_NAME_CHARS_MAX, AGENTS_MAX, Registration,
};
pub use caller::{Alive, Caller, Operator};
pub use chain::DEPTH_MAX;
pub use delegate::{DELEGATED_PATTERNS_MAX, DESCENDANTS_MAX, Delegation};
pub use grant::{Grant, OperationPattern, ToolPattern};
pub use mint::{GRANT_PATTERNS_MAX, LIFETIME_MAX, Mint, Minted, TASK_CHARS_MAX};
pub use token::TokenText;
pub(crate) use token::kind_of;

use std::sync::Arc;
use std::time::Duration;

use subtle::ConstantTimeEq as _;

use crate::clock::{Clock, Millis};
use crate::ids::{AgentId, TokenId};
use crate::reach::Reach;
use crate::store::{BeforeForgotten, ControlStore, StoreError, TokenRow};
use cache::Cache;

/// Why a token didn't do.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// Malformed, unknown, expired or revoked: which of them is nobody's business but the operator's.
    #[error(
        "no valid token: send 'Authorization: Bearer kbt_…' with a token that was neither revoked nor expired"
    )]
    Unauthorized,
    /// A token as asked for can't be minted. The sentence says what to change.
    #[error("{0}")]
    InvalidMint(String),
    /// This token may not be delegated from. The sentence says why.
    #[error("{0}")]
    MayNotDelegate(&'static str),
    /// The store couldn't be read or written. Nobody is let in then.
    #[error("tokens can't be checked or changed now: {0}")]
    Store(#[from] StoreError),
}

/// How long a token is kept to be looked at after it expired or was revoked. The audit trail keeps for ever who got it, for
/// what, and what it could do.
const KEPT: Duration = Duration::from_secs(30 * 86_400);

/// Knows who may come in.
pub struct Auth {
    store: Arc<dyn ControlStore>,
    clock: Arc<dyn Clock>,
    cache: Cache,
}

impl Auth {
    /// Checks against the tokens in `store`, by the time of `clock`.
    #[must_use]
    pub fn new(store: Arc<dyn ControlStore>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock, cache: Cache::default() }
    }

    /// The caller behind a token: the text that follows `Bearer `.
    ///
    /// # Errors
    /// [`AuthError::Unauthorized`], one and the same for a text that is no token, an unknown token, and one that
    /// has expired or was revoked; [`AuthError::Store`] when the store can't be read.
    pub fn verify(&self, bearer: &str) -> Result<Arc<Caller>, AuthError> {
        let presented = token::parse(bearer).ok_or(AuthError::Unauthorized)?;
        let caller = self.live(&presented.hash)?;
        // The kind is part of the text, so of the hash: they can differ only in a row that someone tampered with.
        if caller.kind() == presented.kind { Ok(caller) } else { Err(AuthError::Unauthorized) }
    }

    /// Proof that neither the caller's token nor one above it is revoked or expired now. Microseconds: it's for before
    /// every send.
    ///
    /// # Errors
    /// [`AuthError::Unauthorized`] when it's no longer valid; [`AuthError::Store`] when that can't be told.
    pub fn alive<'c>(&self, caller: &'c Caller) -> Result<Alive<'c>, AuthError> {
        self.live(caller.hash())?;
        Ok(Alive::new(caller))
    }

    /// Makes a token. Its text is in the answer and nowhere else.
    ///
    /// # Errors
    /// [`AuthError::InvalidMint`] with a sentence that says what to change; [`AuthError::Store`].
    pub fn mint(&self, request: Mint) -> Result<Minted, AuthError> {
        let minted = mint::make(request, self.clock.now())?;
        self.store.insert_token(&minted.row)?;
        Ok(minted)
    }

    /// Makes a token on behalf of an operator: for an agent, within the operator's reach.
    ///
    /// # Errors
    /// As [`Auth::mint`], and [`AuthError::InvalidMint`] for what is beyond that or no agent's token: an operator
    /// token that could mint its own successor would never expire.
    pub fn mint_for(&self, operator: &Operator<'_>, request: Mint) -> Result<Minted, AuthError> {
        mint::check_operator(operator, &request)?;
        self.mint_as(operator.caller().agent(), request)
    }

    /// As [`Auth::mint_for`], for a registered agent. `None`: it isn't registered any more, and no token was made.
    ///
    /// # Errors
    /// As [`Auth::mint_for`].
    pub fn mint_for_registered(
        &self,
        operator: &Operator<'_>,
        request: Mint,
    ) -> Result<Option<Minted>, AuthError> {
        mint::check_operator(operator, &request)?;
        let minted = self.made_by(operator.caller().agent(), request)?;
        Ok(self.store.insert_registered(&minted.row)?.then_some(minted))
    }

    /// As [`Auth::mint`]; on record is who mints: whoever holds the token doesn't ask in their own name alone.
    ///
    /// # Errors
    /// As [`Auth::mint`].
    pub fn mint_as(&self, operator: &AgentId, request: Mint) -> Result<Minted, AuthError> {
        let minted = self.made_by(operator, request)?;
        self.store.insert_token(&minted.row)?;
        Ok(minted)
    }

    fn made_by(&self, operator: &AgentId, request: Mint) -> Result<Minted, AuthError> {
        let mut minted = mint::make(request, self.clock.now())?;
        minted.row.minted_by = Some(operator.clone());
        Ok(minted)
    }

    /// Makes a token that its parent's holder hands on. It may do nothing that any token above it may not.
    ///
    /// # Errors
    /// [`AuthError::MayNotDelegate`] when the parent's grant doesn't allow it, or the chain or the number of tokens below
    /// its root is at its limit; [`AuthError::InvalidMint`] with a sentence that says which part is too wide;
    /// [`AuthError::Unauthorized`] when the parent is no longer valid; [`AuthError::Store`].
    pub fn delegate(&self, parent: &Caller, request: Delegation) -> Result<Minted, AuthError> {
        self.alive(parent)?;
        delegate::check_parent(parent)?;
        let minted = delegate::make(parent, request, self.clock.now())?;
        if !self.store.insert_delegated(&minted.row, parent.root(), DESCENDANTS_MAX)? {
            return Err(AuthError::MayNotDelegate(
                "10000 tokens were delegated below the one that an operator minted, and there can't be more; ask \
                 the operator for another one",
            ));
        }
        Ok(minted)
    }

    /// All tokens, those within a reach where one is given, newest first. Expired and revoked ones are among them.
    ///
    /// # Errors
    /// [`AuthError::Store`].
    pub fn list(&self, reach: Option<&Reach>) -> Result<Vec<TokenRow>, AuthError> {
        Ok(self.store.tokens(reach)?)
    }

    /// So many of these at most: the newest, or those that come after one of them.
    ///
    /// # Errors
    /// [`AuthError::Store`].
    pub fn page(
        &self,
        reach: &Reach,
        after: Option<&TokenId>,
        limit: u32,
    ) -> Result<Vec<TokenRow>, AuthError> {
        Ok(self.store.token_page(Some(reach), after, limit)?)
    }

    /// A token within reach.
    ///
    /// # Errors
    /// [`AuthError::Store`].
    pub fn find(&self, id: &TokenId, reach: &Reach) -> Result<Option<TokenRow>, AuthError> {
        Ok(self.store.token_by_id(id)?.filter(|row| row.is_within(reach)))
    }

    /// The token of this text, whether it's valid or not: for whoever finds one where it shouldn't be. `None`: there's none.
    ///
    /// # Errors
    /// [`AuthError::Store`].
    pub fn of_text(&self, text: &str) -> Result<Option<TokenRow>, AuthError> {
        let Some(presented) = token::parse(text) else { return Ok(None) };
        Ok(self.store.token_by_hash(&presented.hash)?)
    }

    /// Revokes a token: every check that begins after this returns refuses it and all that were delegated from it. False
    /// when there's no such token (within this reach, where one is given). Revoking twice answers true and keeps the
    /// first time.
    ///
    /// # Errors
    /// [`AuthError::Store`].
    pub fn revoke(&self, id: &TokenId, reach: Option<&Reach>) -> Result<bool, AuthError> {
        Ok(self.store.revoke_token(id, reach, self.clock.now())?)
    }

    /// Removes the tokens that ended long ago. Of some at a time, `first` is told which they are; where it fails, they stay.
    ///
    /// # Errors
    /// Those of `first`, and when the store can't be read or written.
    pub fn forget_over(&self, first: BeforeForgotten<'_>) -> Result<(), StoreError> {
        let kept = i64::try_from(KEPT.as_millis()).unwrap_or(i64::MAX);
        self.store.forget_tokens(Millis(self.clock.now().0.saturating_sub(kept)), first)
    }

    /// The caller with this hash, if its token is valid now.
    fn live(&self, hash: &[u8; 32]) -> Result<Arc<Caller>, AuthError> {
        // INVARIANT (seen): the version is read before the row. A change between the two makes the row newer than
        // the version it's filed under, never older.
        let version = self.store.version()?;
        let caller = match self.cache.get(version, hash) {
            Some(caller) => caller,
            None => {
                let caller = Arc::new(self.unrevoked(hash)?);
                self.cache.put(version, Arc::clone(&caller));
                caller
            }
        };
        if is_over(caller.expires_at(), self.clock.now()) { Err(AuthError::Unauthorized) } else { Ok(caller) }
    }

    fn unrevoked(&self, hash: &[u8; 32]) -> Result<Caller, AuthError> {
        let row = self.store.token_by_hash(hash)?.ok_or(AuthError::Unauthorized)?;
        // The store has looked the hash up already; this holds even if its index is damaged.
        let same = bool::from(row.hash.ct_eq(hash));
        if !same || row.revoked_at.is_some() {
            return Err(AuthError::Unauthorized);
        }
        let above = chain::above(&*self.store, &row)?;
        Ok(Caller::new(row, above))
    }
}

/// A token is valid up to its expiry, and not at it.
fn is_over(expires_at: Millis, now: Millis) -> bool {
    now >= expires_at
}
