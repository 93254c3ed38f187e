//! Requests that need a person, behind a port.

use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::approval::Fingerprint;
use crate::clock::Millis;
use crate::ids::{AgentId, ApprovalId, ConversationId, Realm, RoleName, TokenId};
use crate::policy::About;
use crate::reach::Reach;

/// A request that was put before people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalRow {
    /// Its id.
    pub id: ApprovalId,
    /// Whose it is.
    pub realm: Realm,
    /// What exactly is approved.
    pub fingerprint: Fingerprint,
    /// The token that asked. It alone may look at the approval and use it.
    pub token: TokenId,
    /// The first token of its chain, which an operator minted; the token itself if nobody delegated it.
    pub root: TokenId,
    /// The agent that asked.
    pub agent: AgentId,
    /// Its role.
    pub role: Option<RoleName>,
    /// The conversation it asked in.
    pub conversation: Option<ConversationId>,
    /// What it would do, and where.
    pub about: About,
    /// How many people have to agree, at least 1.
    pub quorum: u32,
    /// Who asked, directly or by handing out the token, and so can't approve.
    pub own: Vec<AgentId>,
    /// What approvers read, sealed with the tenant's key.
    pub note: Vec<u8>,
    /// When it was asked for.
    pub asked_at: Millis,
    /// From when on it can neither be decided nor used.
    pub expires_at: Millis,
    /// How far it has got.
    pub stage: Stage,
    /// What people said, in order.
    pub votes: Vec<Vote>,
}

/// One person's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vote {
    /// Who.
    pub by: AgentId,
    /// Yes or no.
    pub yes: bool,
    /// When.
    pub at: Millis,
}

/// How far an approval has got, whatever the time is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Too few have answered.
    Pending,
    /// Enough have agreed.
    Granted,
    /// Someone said no.
    Denied,
    /// The request was made.
    Used,
}

/// What an approval is worth at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalState {
    /// It waits for people.
    Pending,
    /// It can be used once.
    Granted,
    /// Someone said no.
    Denied,
    /// It was used.
    Used,
    /// Its time was over before it was denied or used.
    Expired,
}

/// How many requests may wait for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PendingLimits {
    /// Of one token that an operator minted and all that were delegated from it, together: those that wait, and those that
    /// were denied and haven't expired.
    pub per_token_max: u32,
    /// Of one environment of a tenant: those that wait.
    pub per_environment_max: u32,
}

/// What became of a request for approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opening {
    /// The row is stored, or would be.
    Fresh,
    /// The same request was put before people already and hasn't been used or expired: this is it.
    Known(Box<ApprovalRow>),
    /// The token, with all that share its root, has too many of them.
    TokenFull,
    /// The environment has too many of them.
    EnvironmentFull,
}

/// Which approvals to read.
#[derive(Debug, Clone)]
pub struct ApprovalFilter {
    /// Those within this reach only. `None`: all (the host's operator).
    pub reach: Option<Reach>,
    /// In this state only.
    pub state: Option<ApprovalState>,
    /// The time, which states depend on.
    pub now: Millis,
    /// At most so many, newest first.
    pub limit: u32,
}

/// Approvals. Every call blocks for a short time; writes are durable when they return.
pub trait ApprovalStore: Send + Sync + 'static {
    /// What [`Self::open_approval`] would answer now. Nothing is stored.
    fn foresee_approval(&self, row: &ApprovalRow, limits: PendingLimits) -> Result<Opening, StoreError>;
    /// Stores a request for approval in one transaction, unless the same one is there or there's no room for more.
    fn open_approval(&self, row: &ApprovalRow, limits: PendingLimits) -> Result<Opening, StoreError>;
    /// The approval with this id.
    fn approval(&self, id: &ApprovalId) -> Result<Option<ApprovalRow>, StoreError>;
    /// Approvals, newest first.
    fn approvals(&self, filter: &ApprovalFilter) -> Result<Vec<ApprovalRow>, StoreError>;
    /// Shows a row to `change` in a transaction that no other change of any process can cut into, and stores the stage
    /// and the votes that it leaves. False when there's no such row. `change` is called at most once.
    fn change_approval(
        &self,
        id: &ApprovalId,
        change: &mut dyn FnMut(&mut ApprovalRow),
    ) -> Result<bool, StoreError>;
    /// Removes the rows that were no longer good at a time.
    fn forget_approvals(&self, at: Millis) -> Result<(), StoreError>;
}

impl ApprovalRow {
    /// What it's worth at `now`. It's good up to its expiry, and not at it.
    #[must_use]
    pub fn state(&self, now: Millis) -> ApprovalState {
        match self.stage {
            Stage::Used => ApprovalState::Used,
            Stage::Denied => ApprovalState::Denied,
            Stage::Pending | Stage::Granted if now >= self.expires_at => ApprovalState::Expired,
            Stage::Pending => ApprovalState::Pending,
            Stage::Granted => ApprovalState::Granted,
        }
    }

    /// Who has agreed so far.
    pub fn agreed(&self) -> impl Iterator<Item = &AgentId> {
        self.votes.iter().filter(|vote| vote.yes).map(|vote| &vote.by)
    }
}

impl Stage {
    /// Every stage.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Granted, Self::Denied, Self::Used];

    /// As it's stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Granted => "granted",
            Self::Denied => "denied",
            Self::Used => "used",
        }
    }
}

impl ApprovalState {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Pending, Self::Granted, Self::Denied, Self::Used, Self::Expired];

    /// As it's shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Granted => "granted",
            Self::Denied => "denied",
            Self::Used => "used",
            Self::Expired => "expired",
        }
    }
}

impl std::str::FromStr for ApprovalState {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|state| state.as_str() == text);
        known.ok_or_else(|| "write pending, granted, denied, used or expired".to_owned())
    }
}
