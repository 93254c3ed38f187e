//! A person's yes to one exact request.
//!
//! ```text
//! request → Asked (pending) ─ decide: yes … yes (quorum, and the policies take these people) → granted ─ claim → used
//!                           ├ decide: no → denied
//!                           └ time → expired (granted ones too)
//! ```
//!
//! What is asked is a request, a tool's call, code, or a question of an enforcement point. An approval is bound by its
//! [`Fingerprint`] to who asks, for what, in which bytes, under which policies and with which secret. It's used once. All of
//! its state is in the store, so that any process can decide it, and no two can use it.
//!
//! Who may approve is the policy's to say ([`MayApprove`]). Whatever it says, nobody approves their own: neither the
//! agent that asks, nor anyone who handed it the token, as far as that is known ([`ApprovalAsk::own`]).

mod ask;
mod code;
mod desk;
mod error;
mod fingerprint;
mod question;
mod render;
mod rules;
mod shown;
#[cfg(test)]
pub(crate) mod tests;
mod waiting;

pub use ask::{ApprovalAsk, AskParts, CallParts};
pub use code::{CodeBlock, ShownCode};
pub(crate) use desk::ANSWER_BEFORE;
pub use desk::{ApprovalDesk, Approver, MayApprove, Obtained};
pub use error::{ApprovalError, ClaimError, DecideError};
pub use fingerprint::{CallFingerprintParts, Fingerprint, FingerprintParts, QuestionParts};
pub use question::Unanswered;
pub use render::{AskedBy, Note, Rendering, Shown};

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::{Clock, Millis};
use crate::egress::Vault;
use crate::ids::{AgentId, ApprovalId, Realm};
use crate::policy::Approved;
use crate::reach::Reach;
use crate::store::{
    ApprovalFilter, ApprovalRow, ApprovalState, ControlStore, Opening, PendingLimits, Stage, StoreError,
    Watch,
};
use waiting::Waiting;

/// How long an approval is kept to be looked at after it expired. The audit trail keeps it for ever.
const KEPT: Duration = Duration::from_secs(30 * 86_400);

/// How long requests wait for people, how many may, and who of them doesn't count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApprovalLimits {
    /// From when it's asked for, an approval can be decided and used so long.
    pub ttl: Duration,
    /// How many may wait.
    pub pending: PendingLimits,
    /// Whether the operator who minted the first token of a chain may agree to what is asked with it.
    pub minter_may_approve: bool,
}

/// A request that was put before people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The approval's id.
    pub id: ApprovalId,
    /// How it stands: pending; or granted or denied, when the same was asked before.
    pub state: ApprovalState,
    /// From when on it's no longer good.
    pub expires_at: Millis,
    /// Whether it's new.
    pub fresh: bool,
}

/// The approvals of a host. Its methods block for a short time, [`Approvals::wait`] apart; [`ApprovalDesk`] is for
/// doors and the gate, and records every step.
pub struct Approvals {
    store: Arc<dyn ControlStore>,
    vault: Arc<Vault>,
    clock: Arc<dyn Clock>,
    limits: ApprovalLimits,
    watch: Arc<Watch>,
    waiting: Waiting,
}

impl Approvals {
    /// Approvals in `store`, what approvers read sealed by `vault`.
    #[must_use]
    pub fn new(
        store: Arc<dyn ControlStore>,
        vault: Arc<Vault>,
        clock: Arc<dyn Clock>,
        limits: ApprovalLimits,
    ) -> Self {
        let watch = Arc::new(Watch::new(store.clone()));
        Self { store, vault, clock, limits, watch, waiting: Waiting::default() }
    }

    /// Puts a request before people: [`Self::draft`], and [`Self::open`] if it's new.
    #[cfg(test)]
    pub(crate) fn request(&self, ask: &ApprovalAsk) -> Result<Asked, ApprovalError> {
        let (row, asked) = self.draft(ask)?;
        if asked.fresh { self.open(&row) } else { Ok(asked) }
    }

    /// A request that is to be put before people, and what would come of that. The same request again, while the first
    /// can still be decided or used or was denied, gets the same approval: a loop asks once, and a no stays a no until it
    /// expires.
    ///
    /// # Errors
    /// [`ApprovalError::TooMany`] when too many wait already; [`ApprovalError::Note`] when what approvers would read
    /// can't be sealed; [`ApprovalError::Store`].
    pub fn draft(&self, ask: &ApprovalAsk) -> Result<(ApprovalRow, Asked), ApprovalError> {
        let (id, now) = (ApprovalId::fresh(), self.clock.now());
        let note = serde_json::to_vec(&ask.note).map_err(|error| ApprovalError::Note(error.to_string()))?;
        let note = self
            .vault
            .seal_note(&ask.realm, id.as_str(), &note)
            .map_err(|error| ApprovalError::Note(error.to_string()))?;
        let row = ApprovalRow {
            id,
            realm: ask.realm.clone(),
            fingerprint: ask.fingerprint,
            token: ask.token.clone(),
            root: ask.root.clone(),
            agent: ask.agent.clone(),
            role: ask.role.clone(),
            conversation: ask.conversation.clone(),
            about: ask.about.clone(),
            quorum: ask.quorum.max(1),
            own: ask.own.clone(),
            note,
            asked_at: now,
            expires_at: now.plus(self.limits.ttl),
            stage: Stage::Pending,
            votes: Vec::new(),
        };
        let asked = self.asked(&row, self.store.foresee_approval(&row, self.limits.pending)?)?;
        Ok((row, asked))
    }

    /// Puts a drafted request before people, unless the same one was meanwhile.
    ///
    /// # Errors
    /// As for [`Self::draft`].
    pub fn open(&self, row: &ApprovalRow) -> Result<Asked, ApprovalError> {
        self.asked(row, self.store.open_approval(row, self.limits.pending)?)
    }

    /// What came of a request, or would.
    fn asked(&self, row: &ApprovalRow, opening: Opening) -> Result<Asked, ApprovalError> {
        let PendingLimits { per_token_max, per_environment_max } = self.limits.pending;
        let asked = |row: &ApprovalRow, fresh| Asked {
            id: row.id.clone(),
            state: row.state(self.clock.now()),
            expires_at: row.expires_at,
            fresh,
        };
        match opening {
            Opening::Fresh => Ok(asked(row, true)),
            Opening::Known(known) => Ok(asked(&known, false)),
            Opening::TokenFull => Err(ApprovalError::TooMany { of: "token", max: per_token_max }),
            Opening::EnvironmentFull => {
                Err(ApprovalError::TooMany { of: "environment", max: per_environment_max })
            }
        }
    }

    /// Removes the requests that were over long ago.
    ///
    /// # Errors
    /// When the store can't be written.
    pub fn forget_over(&self) -> Result<(), StoreError> {
        let kept = i64::try_from(KEPT.as_millis()).unwrap_or(i64::MAX);
        self.store.forget_approvals(Millis(self.clock.now().0.saturating_sub(kept)))
    }

    /// Enters one person's answer and answers how the approval stands then. `is_enough` says whether the policies take
    /// those who have agreed, the new one among them, as enough: it's asked where the quorum is reached, in the
    /// transaction that grants. As long as it says no, the approval waits for others.
    ///
    /// # Errors
    /// [`DecideError`]; nothing has changed then.
    pub fn decide_if(
        &self,
        id: &ApprovalId,
        by: &AgentId,
        yes: bool,
        is_enough: &dyn Fn(&ApprovalRow) -> bool,
    ) -> Result<ApprovalState, DecideError> {
        let mut decided = Err(DecideError::Unknown);
        let now = self.clock.now();
        self.store.change_approval(id, &mut |row| decided = rules::vote(row, by, yes, now, is_enough))?;
        self.watch.look();
        decided
    }

    /// As [`Self::decide_if`], where the quorum alone decides.
    #[cfg(test)]
    pub(crate) fn decide(
        &self,
        id: &ApprovalId,
        by: &AgentId,
        yes: bool,
    ) -> Result<ApprovalState, DecideError> {
        self.decide_if(id, by, yes, &|_| true)
    }

    /// As [`Self::claim_if`], where it's wanted.
    #[cfg(test)]
    pub(crate) fn claim(
        &self,
        realm: &Realm,
        id: &ApprovalId,
        fingerprint: Fingerprint,
    ) -> Result<Approved, ClaimError> {
        self.claim_if(realm, id, fingerprint, &|| true)
    }

    /// Uses an approval up for exactly the request that it was given to, if it's still wanted, which is asked in the transaction
    /// that uses it: getting there may take long. Of any number of claims at once, by any number of processes, one succeeds.
    ///
    /// # Errors
    /// [`ClaimError`].
    pub fn claim_if(
        &self,
        realm: &Realm,
        id: &ApprovalId,
        fingerprint: Fingerprint,
        is_wanted: &dyn Fn() -> bool,
    ) -> Result<Approved, ClaimError> {
        let mut claimed = Err(ClaimError::Unknown);
        let now = self.clock.now();
        self.store.change_approval(id, &mut |row| {
            claimed =
                if is_wanted() { rules::claim(row, realm, fingerprint, now) } else { Err(ClaimError::Gone) };
        })?;
        self.watch.look();
        claimed
    }

    /// What [`Self::claim_if`] would answer now. Nothing is used up.
    ///
    /// # Errors
    /// As for [`Self::claim_if`].
    pub fn look(
        &self,
        realm: &Realm,
        id: &ApprovalId,
        fingerprint: Fingerprint,
    ) -> Result<Approved, ClaimError> {
        let mut row = self.store.approval(id)?.ok_or(ClaimError::Unknown)?;
        rules::claim(&mut row, realm, fingerprint, self.clock.now())
    }

    /// Which of them requests wait for in this process.
    fn waiting(&self) -> &Waiting {
        &self.waiting
    }

    /// Waits until an approval is no longer pending, or until `until`, and answers how it stands then. `None`: there's
    /// none. Dropping the future ends the wait.
    ///
    /// A decision in this process ends it at once, one by another process within about 50 milliseconds.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn wait(&self, id: &ApprovalId, until: Instant) -> Result<Option<ApprovalState>, StoreError> {
        let mut waiter = self.watch.waiter();
        loop {
            // INVARIANT (no lost wake-up): what changes from here on is seen by the row's reading or by `changed`.
            let Some(row) = self.store.approval(id)? else { return Ok(None) };
            let now = self.clock.now();
            let state = row.state(now);
            if state != ApprovalState::Pending || Instant::now() >= until {
                return Ok(Some(state));
            }
            let left = u64::try_from(row.expires_at.0.saturating_sub(now.0)).unwrap_or(0);
            let over = Instant::now().checked_add(Duration::from_millis(left)).unwrap_or(until);
            // Either way the row is looked at again.
            let _ = tokio::time::timeout_at(until.min(over), waiter.changed()).await;
        }
    }

    /// One approval, if it's within reach where one is given.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn get(&self, reach: Option<&Reach>, id: &ApprovalId) -> Result<Option<ApprovalRow>, StoreError> {
        let row = self.store.approval(id)?;
        Ok(row.filter(|row| reach.is_none_or(|reach| reach.covers(&row.realm))))
    }

    /// Approvals, those within a reach where one is given, newest first.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn list(
        &self,
        reach: Option<&Reach>,
        state: Option<ApprovalState>,
        limit: u32,
    ) -> Result<Vec<ApprovalRow>, StoreError> {
        let filter = ApprovalFilter { reach: reach.cloned(), state, now: self.clock.now(), limit };
        self.store.approvals(&filter)
    }

    /// What an approval is about.
    ///
    /// # Errors
    /// [`ApprovalError::Note`] when it doesn't open: such an approval can't be judged.
    pub fn note(&self, row: &ApprovalRow) -> Result<Note, ApprovalError> {
        let unreadable = |error: &dyn std::fmt::Display| ApprovalError::Note(error.to_string());
        let note = self
            .vault
            .open_note(&row.realm, row.id.as_str(), &row.note)
            .map_err(|error| unreadable(&error))?;
        serde_json::from_slice(&note).map_err(|error| unreadable(&error))
    }

    /// Whether the operator who minted a token may agree to what is asked with it.
    #[must_use]
    pub fn minter_may_approve(&self) -> bool {
        self.limits.minter_may_approve
    }

    /// The time that states are told by.
    #[must_use]
    pub fn now(&self) -> Millis {
        self.clock.now()
    }
}
