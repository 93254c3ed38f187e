//! Approvals on record: what the gate, the doors and the command line use.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::error::required;
use super::{
    ApprovalAsk, ApprovalError, Approvals, Asked, ClaimError, DecideError, Fingerprint, Note, rules,
};
use crate::audit::{ApprovalStep, Audit, Step};
use crate::auth::Caller;
use crate::clock::Millis;
use crate::ids::{AgentId, ApprovalId, CallId, InvalidName, Realm, TokenId};
use crate::policy::{ApproveQuestion, Approved, Enforced, Facts, Policy};
use crate::reach::Reach;
use crate::refusal::SendFailure;
use crate::store::{ApprovalRow, ApprovalState, StoreError};

/// How long before its deadline, at least, a call stops waiting for people, so that its caller still hears which approval to
/// come back with.
pub(crate) const ANSWER_BEFORE: Duration = Duration::from_millis(250);

/// Says who may approve what. Default deny.
pub trait MayApprove: Send + Sync + 'static {
    /// Whether any rule lets this approver approve this request, and none forbids it. An error is a no.
    fn may_approve(&self, approver: &Approver, row: &ApprovalRow, note: &Note, now: Millis) -> bool;
    /// Whether the request would be allowed now that these people have agreed. An error is a no.
    fn is_enough(&self, note: &Note, agreed: &[AgentId], now: Millis) -> bool;
}

impl MayApprove for Policy {
    fn may_approve(&self, approver: &Approver, row: &ApprovalRow, note: &Note, now: Millis) -> bool {
        self.may_approve(ApproveQuestion {
            realm: &row.realm,
            approver: approver.principal(),
            about: &row.about,
            effect: note.rendering.effect,
            cost: note.cost.as_ref(),
            requester: &row.agent,
            role: row.role.as_ref(),
            now,
        })
    }

    fn is_enough(&self, note: &Note, agreed: &[AgentId], now: Millis) -> bool {
        std::iter::once(&note.facts).chain(&note.more).all(|facts| {
            let facts = Facts { approvers: Some(agreed.to_vec()), now: None, ..facts.clone() };
            match self.judge(&facts, now) {
                Ok(judged) => judged.verdict == Enforced::Allowed,
                Err(cause) => {
                    tracing::info!(cause, "an approval can't be judged by the policies in force");
                    false
                }
            }
        })
    }
}

/// Someone who decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Approver {
    /// The holder of an operator's token: decides what is within its reach.
    Operator {
        /// The name that the token was minted for: who it is.
        name: AgentId,
        /// The token.
        token: TokenId,
        /// How far it reaches.
        reach: Reach,
    },
    /// A user of the machine, at the command line: decides in every tenant.
    CommandLine {
        /// `cli:` and the user's name.
        user: AgentId,
        /// `cli`.
        cli: AgentId,
    },
}

/// People's yes, and what exactly it's for.
#[derive(Debug)]
pub struct Obtained {
    /// The yes.
    pub approved: Approved,
    /// What it's for.
    pub fingerprint: Fingerprint,
    realm: Realm,
    by: By,
}

/// Which approval a request comes with, or waits for.
struct Found {
    id: ApprovalId,
    /// Set where it was put before people just now, or before by the same request.
    expires_at: Option<Millis>,
    /// `None`: it's for something else, or there's none.
    state: Option<ApprovalState>,
}

/// Approvals, each step of which is on the audit trail. Clones share everything.
#[derive(Clone)]
pub struct ApprovalDesk {
    approvals: Arc<Approvals>,
    audit: Audit,
    policy: Arc<dyn MayApprove>,
}

impl Approver {
    /// Who it is. A name counts once for each approval.
    #[must_use]
    pub fn name(&self) -> &AgentId {
        match self {
            Self::Operator { name, .. } => name,
            Self::CommandLine { user, .. } => user,
        }
    }

    /// What policies call it, behind the tenant: `Operator::"acme/alice"`, and `Operator::"acme/cli"` for every user of
    /// the command line.
    #[must_use]
    pub fn principal(&self) -> &AgentId {
        match self {
            Self::Operator { name, .. } => name,
            Self::CommandLine { cli, .. } => cli,
        }
    }

    /// A user of the machine. Characters that a name can't have become `_`, and it's cut to the length of a name.
    ///
    /// # Errors
    /// Never in practice: what is left is a name.
    pub fn command_line(user: &str) -> Result<Self, InvalidName> {
        let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.@".contains(c) { c } else { '_' };
        let user: String = user.chars().map(plain).take(100).collect();
        Ok(Self::CommandLine { user: format!("cli:{user}").parse()?, cli: "cli".parse()? })
    }

    fn reach(&self) -> Option<&Reach> {
        match self {
            Self::Operator { reach, .. } => Some(reach),
            Self::CommandLine { .. } => None,
        }
    }

    fn token(&self) -> Option<&TokenId> {
        match self {
            Self::Operator { token, .. } => Some(token),
            Self::CommandLine { .. } => None,
        }
    }
}

impl ApprovalDesk {
    /// Approvals, recorded in `audit`; `policy` says who may approve.
    #[must_use]
    pub fn new(approvals: Arc<Approvals>, audit: Audit, policy: Arc<dyn MayApprove>) -> Self {
        Self { approvals, audit, policy }
    }

    /// The approvals, to be read.
    #[must_use]
    pub fn approvals(&self) -> &Arc<Approvals> {
        &self.approvals
    }

    /// Who asks in truth, beside the agent, and so can't approve: every agent that its token was delegated by; and where
    /// the host is set up so, the operator who minted the first of them.
    #[must_use]
    pub fn own(&self, caller: &Caller) -> Vec<AgentId> {
        let mut own: Vec<_> = caller.chain().skip(1).map(|link| link.agent.clone()).collect();
        if !self.approvals.minter_may_approve() {
            own.extend(caller.chain().filter_map(|link| link.minted_by.clone()));
        }
        own
    }

    /// Has a request approved: [`Self::find`] up to a quarter of a second before the deadline, and [`Self::use_up`].
    ///
    /// # Errors
    /// As for these.
    pub async fn obtain(
        &self,
        call: &CallId,
        ask: &(dyn Fn() -> Result<ApprovalAsk, SendFailure> + Sync),
        said: (&[ApprovalId], bool),
        deadline: Instant,
    ) -> Result<Obtained, SendFailure> {
        let until = deadline.checked_sub(ANSWER_BEFORE).unwrap_or(deadline);
        let found = self.find(call, ask, said, until, &mut || {}).await?;
        self.use_up(call, &found).await?;
        Ok(found)
    }

    /// Finds people's yes to a request, a call or code, and leaves it unused: that of the `given` approvals which is for it, or
    /// the one that was granted to the same before. Otherwise asks for one, and waits for it until `until`, if the caller wants
    /// that and no other request waits for the same one already. `on_wait` is called before a wait.
    ///
    /// `given` is what the caller came back with, for its call and for what that sends. One that was given to the same token for
    /// something else stays for that, and another one is asked for. One that is nobody's, or another token's, is answered as
    /// one that there isn't.
    ///
    /// `ask` tells what is asked under the policies and secrets of the moment. After a wait it's called again: an
    /// approval holds for what it was asked under, and that may have changed. Whatever else was checked before has to be
    /// checked again afterwards, too: people take their time.
    ///
    /// # Errors
    /// What the agent hears; nothing was sent. It names the approval to come back with where there's one.
    pub async fn find(
        &self,
        call: &CallId,
        ask: &(dyn Fn() -> Result<ApprovalAsk, SendFailure> + Sync),
        (given, waits): (&[ApprovalId], bool),
        until: Instant,
        on_wait: &mut (dyn FnMut() + Send),
    ) -> Result<Obtained, SendFailure> {
        let first = ask()?;
        let (realm, mut fingerprint) = (first.realm.clone(), first.fingerprint);
        let by = By { agent: first.agent.clone(), token: Some(first.token.clone()) };
        let Found { id, expires_at, state } = match self.fitting(given, &first)? {
            Some(found) => found,
            None => {
                let asked = self.ask(Some(call), first).await.map_err(|error| error.failure())?;
                Found { id: asked.id, expires_at: Some(asked.expires_at), state: Some(asked.state) }
            }
        };
        // INVARIANT (waiters): one request waits for an approval, so no more wait than may be pending. One alone could use it.
        if waits
            && state == Some(ApprovalState::Pending)
            && let Some(_sole) = self.approvals.waiting().alone(&id)
        {
            on_wait();
            let waited = self.approvals.wait(&id, until).await;
            waited.map_err(|error| ClaimError::Store(error).failure(&id))?;
            fingerprint = ask()?.fingerprint;
        }
        match self.approvals.look(&realm, &id, fingerprint) {
            Ok(approved) => Ok(Obtained { approved, fingerprint, realm, by }),
            Err(ClaimError::Pending) => Err(match expires_at {
                Some(expires_at) => required(&id, expires_at, given),
                None => ClaimError::Pending.failure(&id),
            }),
            Err(error) => Err(error.failure(&id)),
        }
    }

    /// Uses up what was [found](Self::find), on record as part of `call`. Of any number that found the same, one succeeds.
    /// Where the future is dropped before its turn in the store has come, nothing is used.
    ///
    /// # Errors
    /// What the agent hears; nothing was sent.
    pub async fn use_up(&self, call: &CallId, found: &Obtained) -> Result<(), SendFailure> {
        let Obtained { approved, fingerprint, realm, by } = found;
        // It goes with this future: at a hang-up, at the deadline, or by a switch.
        let here = Arc::new(());
        let waits = Arc::downgrade(&here);
        let is_wanted = move || waits.strong_count() > 0;
        let used = self.claim_if(Some(call), realm, &approved.id, *fingerprint, by.clone(), is_wanted).await;
        drop(here);
        match used {
            // Who agreed is what it was: nothing is entered into what was granted.
            Ok(_) => Ok(()),
            Err(error) => Err(error.failure(&approved.id)),
        }
    }

    /// Puts a request before people, on record. See [`Approvals::draft`].
    ///
    /// # Errors
    /// [`ApprovalError`]; nobody was asked then.
    pub async fn ask(&self, call: Option<&CallId>, ask: ApprovalAsk) -> Result<Asked, ApprovalError> {
        let (desk, call) = (self.clone(), call.cloned());
        settled(async move {
            let realm = ask.realm.clone();
            let (fingerprint, by) =
                (ask.fingerprint, By { agent: ask.agent.clone(), token: Some(ask.token.clone()) });
            let approvals = desk.approvals.clone();
            let (row, asked) = blocking(move || approvals.draft(&ask)).await??;
            if !asked.fresh {
                return Ok(asked);
            }
            // The trail first: nobody can decide what isn't on record, whatever ends the host in between. Of a request that
            // was recorded and didn't come to be, nothing comes.
            let step = ApprovalStep {
                conversation: row.conversation.clone(),
                ..by.step(&row.id, Step::Asked, fingerprint)
            };
            desk.audit.approval(&realm, call.as_ref(), step).await?;
            blocking(move || desk.approvals.open(&row)).await?
        })
        .await?
    }

    /// Uses an approval up, on record. See [`Approvals::claim_if`].
    ///
    /// # Errors
    /// [`ClaimError`].
    pub(super) async fn claim_if(
        &self,
        call: Option<&CallId>,
        realm: &Realm,
        id: &ApprovalId,
        fingerprint: Fingerprint,
        by: By,
        is_wanted: impl Fn() -> bool + Send + 'static,
    ) -> Result<Approved, ClaimError> {
        let (desk, call, realm, id) = (self.clone(), call.cloned(), realm.clone(), id.clone());
        settled(async move {
            let approved = {
                let (approvals, realm) = (desk.approvals.clone(), realm.clone());
                blocking(move || approvals.claim_if(&realm, &id, fingerprint, &is_wanted)).await??
            };
            let step = by.step(&approved.id, Step::Claimed, fingerprint);
            desk.audit.approval(&realm, call.as_ref(), step).await?;
            Ok(approved)
        })
        .await?
    }

    /// Enters someone's yes, on record, if the policy lets them approve this; answers how the approval stands then. It
    /// stays pending while too few have agreed, and while the policies in force want somebody else to agree as well.
    ///
    /// # Errors
    /// [`DecideError`]; nothing has changed then.
    pub async fn approve(&self, approver: Approver, id: &ApprovalId) -> Result<ApprovalState, DecideError> {
        let (desk, id) = (self.clone(), id.clone());
        settled(async move {
            let (row, note) = {
                let (desk, approver, id) = (desk.clone(), approver.clone(), id.clone());
                blocking(move || desk.check_yes(&approver, &id)).await??
            };
            // The trail first: a yes that isn't on record mustn't count. If someone's no comes in between, the trail
            // shows both, and the no holds.
            desk.audit.approval(&row.realm, None, approver.step(&row, Step::Approved)).await?;
            blocking(move || {
                desk.approvals.decide_if(&id, approver.name(), true, &|row| {
                    let agreed: Vec<_> = row.agreed().cloned().collect();
                    desk.policy.is_enough(&note, &agreed, desk.approvals.now())
                })
            })
            .await?
        })
        .await?
    }

    /// Enters someone's no, on record. Whoever manages the environment may say no.
    ///
    /// # Errors
    /// [`DecideError::Unrecorded`] when it's denied and that can't be recorded; otherwise nothing has changed.
    pub async fn deny(&self, approver: Approver, id: &ApprovalId) -> Result<ApprovalState, DecideError> {
        let (desk, id) = (self.clone(), id.clone());
        settled(async move {
            // The no first: a trail that can't be written mustn't keep a request alive.
            let (row, state) = {
                let (desk, approver) = (desk.clone(), approver.clone());
                blocking(move || -> Result<_, DecideError> {
                    let row = desk.of(&approver, &id)?;
                    let state = desk.approvals.decide_if(&id, approver.name(), false, &|_| false)?;
                    Ok((row, state))
                })
                .await??
            };
            desk.audit.approval(&row.realm, None, approver.step(&row, Step::Denied)).await?;
            Ok(state)
        })
        .await?
    }

    /// Whether this yes would count: what it's a yes to.
    fn check_yes(&self, approver: &Approver, id: &ApprovalId) -> Result<(ApprovalRow, Note), DecideError> {
        let row = self.of(approver, id)?;
        let now = self.approvals.now();
        rules::check(&row, approver.name(), true, now)?;
        // Nobody says yes to what nobody can read.
        let note = self.approvals.note(&row).map_err(|error| DecideError::Unreadable(error.to_string()))?;
        if self.policy.may_approve(approver, &row, &note, now) {
            Ok((row, note))
        } else {
            Err(DecideError::NotAllowed)
        }
    }

    /// By INVARIANT (environments) what is beyond an operator's reach doesn't exist for it.
    fn of(&self, approver: &Approver, id: &ApprovalId) -> Result<ApprovalRow, DecideError> {
        self.approvals.get(approver.reach(), id)?.ok_or(DecideError::Unknown)
    }

    /// Which of the approvals that a call came back with is for this request, and how it stands: one that is or may be granted
    /// before one that is over. `None`: each of them was given to the same token for something else, which the call may yet come
    /// to, or which came before it.
    ///
    /// If none fits and one isn't like that, it's that one, without a state: it isn't waited for, as the time at which that ends
    /// would tell of its decision, and it can't be used.
    fn fitting(&self, given: &[ApprovalId], ask: &ApprovalAsk) -> Result<Option<Found>, SendFailure> {
        let reach = Reach::one(ask.realm.clone());
        let (mut over, mut unfit) = (None, None);
        for id in given {
            let row = self.approvals.get(Some(&reach), id);
            let row = row.map_err(|error| ClaimError::from(error).failure(id))?;
            match row {
                Some(row) if row.fingerprint == ask.fingerprint => {
                    let state = row.state(self.approvals.now());
                    let found = Found { id: id.clone(), expires_at: None, state: Some(state) };
                    if matches!(state, ApprovalState::Granted | ApprovalState::Pending) {
                        return Ok(Some(found));
                    }
                    over = over.or(Some(found));
                }
                Some(row) if row.token == ask.token => {}
                _ => unfit = unfit.or_else(|| Some(id.clone())),
            }
        }
        Ok(over.or_else(|| unfit.map(|id| Found { id, expires_at: None, state: None })))
    }
}

/// The agent that asks or uses, for the record.
#[derive(Debug, Clone)]
pub(super) struct By {
    /// Its name.
    pub agent: AgentId,
    /// Its token.
    pub token: Option<TokenId>,
}

impl By {
    fn step(self, id: &ApprovalId, step: Step, fingerprint: Fingerprint) -> ApprovalStep {
        let (by, token) = (self.agent, self.token);
        ApprovalStep { id: id.clone(), step, by, token, fingerprint, conversation: None }
    }
}

impl Approver {
    fn step(&self, row: &ApprovalRow, step: Step) -> ApprovalStep {
        ApprovalStep {
            id: row.id.clone(),
            step,
            by: self.name().clone(),
            token: self.token().cloned(),
            fingerprint: row.fingerprint,
            conversation: None,
        }
    }
}

/// Lets a step and its record run to their end together, even when nobody waits for them any more.
async fn settled<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Result<T, StoreError> {
    tokio::spawn(work).await.map_err(|error| broke_down(&error))
}

/// The store's writes wait for the disk: not on a thread that serves.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| broke_down(&error))
}

fn broke_down(error: &tokio::task::JoinError) -> StoreError {
    StoreError::Failed(format!("a step of an approval broke down: {error}"))
}
