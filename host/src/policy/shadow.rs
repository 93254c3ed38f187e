//! A candidate set, asked beside the live one. Its answers change nothing: where they differ, that's counted and logged.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::metrics::counter::Counter;

use super::Policy;
use super::facts::{Judged, judged};
use super::question::{Question, Who};
use super::set::Decided;
use crate::clock::Millis;
use crate::ids::{AgentId, Digest, Realm};

/// How many differences are kept for [`Policy::shadow_differs`]; the oldest are dropped beyond.
pub const SHADOW_KEPT_MAX: usize = 1_000;

/// A question that the candidate decides otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShadowDifference {
    /// When it was asked.
    pub at: Millis,
    /// Whose it is.
    pub realm: Realm,
    /// The agent, or the operator who would approve.
    pub who: AgentId,
    /// What was asked for, as `stripe:create_charge`.
    pub subject: String,
    /// What was answered.
    pub live: Judged,
    /// What the candidate would have answered.
    pub candidate: Judged,
    /// The candidate's hash.
    pub hash: Digest,
}

/// The candidate, and what it has decided otherwise.
pub(super) struct Shadow {
    pub(super) candidate: Policy,
    counter: Counter,
    kept: Mutex<VecDeque<ShadowDifference>>,
}

impl Shadow {
    fn compare(&self, questions: &[Question<'_>], live: &Decided) {
        let Some(asked) = questions.first() else { return };
        let (candidate, hash) = self.candidate.decide(questions.iter().copied(), asked.realm);
        if candidate.ruling == live.ruling {
            return;
        }
        let who = match asked.who {
            Who::Agent(agent) => agent.agent,
            Who::Operator(name) => name,
        };
        let difference = ShadowDifference {
            at: asked.now,
            realm: asked.realm.clone(),
            who: who.clone(),
            subject: asked.what.subject(),
            live: judged(live.clone()),
            candidate: judged(candidate),
            hash,
        };
        tracing::warn!(realm = %difference.realm, who = %difference.who, subject = %difference.subject,
            live = ?difference.live.verdict, candidate = ?difference.candidate.verdict,
            policies = ?difference.candidate.policies, cause = difference.candidate.cause.as_deref(),
            "the shadow policies decide otherwise");
        self.counter.inc();
        // A panic elsewhere can't leave the queue half changed.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= SHADOW_KEPT_MAX {
            kept.pop_front();
        }
        kept.push_back(difference);
    }
}

impl Policy {
    /// The same policies, with a candidate that is asked beside them; `counter` counts the answers that differ.
    #[must_use]
    pub fn with_shadow(self, candidate: Self, counter: Counter) -> Self {
        let shadow = Shadow { candidate, counter, kept: Mutex::default() };
        let (set, source) = match Arc::try_unwrap(self.inner) {
            Ok(inner) => (inner.set, inner.source),
            // Someone holds a clone already: it would not see the shadow, so nothing is shadowed.
            Err(inner) => return Self { inner },
        };
        Self { inner: Arc::new(super::Inner { set, source, shadow: Some(shadow) }) }
    }

    /// The answers that differed since this was asked the last time, the oldest first.
    #[must_use]
    pub fn shadow_differs(&self) -> Vec<ShadowDifference> {
        let Some(shadow) = &self.inner.shadow else { return Vec::new() };
        shadow.kept.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }

    /// Asks the candidate, if there is one.
    pub(super) fn compare(&self, questions: &[Question<'_>], live: &Decided) {
        if let Some(shadow) = &self.inner.shadow {
            shadow.compare(questions, live);
        }
    }
}
