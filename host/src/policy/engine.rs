//! What decides: a set of policies, or the baseline alone.

use super::question::{Question, What, Who};
use super::set::{Decided, Ruling, Set};
use crate::ids::{Digest, Realm};

/// The text that `keybearer init` writes into `policies/start.cedar`.
pub const START: &str = include_str!("start.cedar");

/// What decides.
#[derive(Debug)]
pub(super) enum Engine {
    /// What [`START`] says, of whatever connections and tools there are; with `code`, code may be run as well.
    Baseline { code: bool },
    /// Policies, checked against what there is.
    Set(Box<Set>),
}

impl Engine {
    pub(super) fn decide(&self, question: &Question<'_>) -> Decided {
        match self {
            Self::Baseline { code } => baseline(question, *code),
            Self::Set(set) => set.decide(question),
        }
    }

    pub(super) fn hash(&self) -> Digest {
        match self {
            Self::Baseline { .. } => Digest::of(START.as_bytes()),
            Self::Set(set) => set.hash(),
        }
    }

    pub(super) fn hash_for(&self, realm: &Realm) -> Digest {
        match self {
            Self::Baseline { .. } => self.hash(),
            Self::Set(set) => set.hash_for(realm),
        }
    }
}

/// The two policies of [`START`]. A test holds both to the same answers.
fn baseline(question: &Question<'_>, code: bool) -> Decided {
    let id = match (question.who, question.what) {
        (Who::Agent(_), What::Send { .. } | What::Call { .. }) => "what-tokens-grant",
        (Who::Agent(_), What::Code { .. }) if code => "code-runs",
        (Who::Operator(_), What::Approve { .. }) => "operators-approve",
        _ => return Decided::no("the baseline permits nothing of this kind".to_owned()),
    };
    Decided { ruling: Ruling::Allowed, policies: vec![id.to_owned()], cause: None }
}
