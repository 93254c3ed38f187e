//! The one place that says yes.
//!
//! Default deny. What is allowed is what the tool declares and the operator consented to, the token's grant carries,
//! and the policies permit: an intersection, never a sum. Policies are [Cedar](https://www.cedarpolicy.com), checked
//! strictly against a schema that is made from connections and tools.
//!
//! ```text
//! a door's question → grants    what the token carries
//!                   → slot      the policies whose scope is met, and the entities: kept for the next time
//!                   → context   the typed parameters, as Cedar values
//!                   → Cedar     yes · no · an error, which is a no
//!                   → once more, as if people had agreed: then it needs approval
//! ```

mod approve;
mod ask;
mod call;
mod context;
mod decide;
mod enforce;
mod facts;
mod fit;
mod grants;
mod kinds;
mod load;
mod looks;
mod names;
mod nulls;
mod parts;
mod permit;
mod posted;
mod problem;
mod prove;
mod question;
mod rule;
mod schema;
mod set;
mod shadow;
mod slot;
mod source;
mod tasks;
#[cfg(test)]
mod tests;
mod world;

pub use approve::{About, ApproveQuestion, Approved};
pub use ask::{Door, SendAsk, Verdict, Via};
pub use call::{CallContext, CallDenied, CallVerdict, Invocation};
pub use enforce::{
    ACTION_BYTES_MAX, EnforceDecision, EnforceQuestion, EnforceSpends, EnforceSubject, Enforced,
    RESOURCE_BYTES_MAX,
};
pub use facts::{CostFacts, Facts, Judged, LinkFacts};
pub use load::{POLICIES_MAX, POLICY_FILE_BYTES_MAX, PolicyFile, START};
pub use permit::Permitted;
pub use posted::{Constraints, PostedEffect, PostedPolicy, is_api_resource};
pub use problem::{PolicyProblem, PolicyProblems};
pub use prove::{Proof, ProveError};
pub use set::QUORUM_MAX;
pub use shadow::{SHADOW_KEPT_MAX, ShadowDifference};
pub use source::PolicySource;
pub use world::World;

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use self::question::Question;
use self::set::{Decided, Set};
use self::shadow::Shadow;
use crate::auth::Caller;
use crate::connection::{Connection, Operation};
use crate::ids::{Digest, Realm};
use crate::ledger::CallLimit;
use crate::refusal::{Code, Refusal};
use crate::store::PolicyRow;
use crate::text::visible;

/// Decides. Pure: no clock, no store, no wire; [`Policy::refresh`] alone looks for other policies. A clone is the same
/// policy and changes with it.
#[derive(Clone)]
pub struct Policy {
    inner: Arc<Inner>,
}

struct Inner {
    set: ArcSwap<Set>,
    source: Option<PolicySource>,
    shadow: Option<Shadow>,
}

impl Policy {
    /// These policies and no others.
    ///
    /// # Errors
    /// Every problem of the files: a set is taken whole or not at all. Posted policies that don't fit deny everything
    /// where they apply, and are in the log.
    pub fn of(files: &[PolicyFile], posted: &[PolicyRow], world: World) -> Result<Self, PolicyProblems> {
        Ok(Self::of_set(Set::new(files, posted, world, None)?, None))
    }

    fn of_set(set: Set, source: Option<PolicySource>) -> Self {
        Self { inner: Arc::new(Inner { set: ArcSwap::from_pointee(set), source, shadow: None }) }
    }

    /// SHA-256 over the ids and texts of the files' policies: what [`Self::hash_for`] says wherever none was posted.
    #[must_use]
    pub fn hash(&self) -> Digest {
        self.inner.set.load().files_hash()
    }

    /// What [`Self::hash_for`] says where policies were posted: by `TENANT/ENVIRONMENT`, and by `TENANT` for those of its
    /// environments that have none of their own.
    #[must_use]
    pub fn posted_hashes(&self) -> BTreeMap<String, Digest> {
        self.inner.set.load().posted_hashes()
    }

    /// SHA-256 over the ids and texts of the policies that apply to a realm: it changes when one of those does, and not
    /// when one is posted for another tenant or environment.
    #[must_use]
    pub fn hash_for(&self, realm: &Realm) -> Digest {
        self.inner.set.load().hash_for(realm)
    }

    /// How many policies are in force: from files, and posted.
    #[must_use]
    pub fn count(&self) -> (usize, usize) {
        self.inner.set.load().count()
    }

    /// Would this posted policy be taken, beside those that are in force where it applies?
    ///
    /// # Errors
    /// Every problem of its text, with line and column, or that they would be more than [`POLICIES_MAX`].
    pub fn check_stored(&self, row: &PolicyRow) -> Result<(), PolicyProblems> {
        self.inner.set.load().check_posted(row, POLICIES_MAX)
    }

    /// Whether this posted policy is in force. `None`: these policies don't follow what is posted.
    #[must_use]
    pub fn holds(&self, row: &PolicyRow) -> Option<bool> {
        self.inner.source.as_ref().map(|_| self.inner.set.load().holds(row))
    }

    /// What is suspicious in the policies in force, and allowed: one that can never apply, for example.
    #[must_use]
    pub fn warnings(&self) -> Vec<PolicyProblem> {
        self.inner.set.load().warnings.clone()
    }

    /// The text of a policy that applies to a realm.
    #[must_use]
    pub fn text(&self, realm: &Realm, id: &str) -> Option<String> {
        let set = self.inner.set.load();
        set.rules(realm).find(|rule| rule.id() == id)?.cedar.to_cedar()
    }

    /// The connection of this name, if this realm may use it.
    fn connection(&self, realm: &Realm, name: &str) -> Option<Arc<Connection>> {
        self.inner.set.load().world.connections.get(realm, name)
    }

    /// The operation of this name, as `stripe:create_charge`, if this realm may use its connection.
    fn operation(&self, realm: &Realm, name: &str) -> Result<(Arc<Connection>, Arc<Operation>), String> {
        let missing = || format!("there is no operation {name:?} in {realm}");
        let (connection, operation) = name.split_once(':').ok_or_else(missing)?;
        let connection = self.connection(realm, connection).ok_or_else(missing)?;
        let operation = connection.operations.iter().find(|o| o.name.as_str() == operation).cloned();
        Ok((connection, operation.ok_or_else(missing)?))
    }

    /// How many calls the agents of a caller's chain may have under way at once, where posted policies say so: each
    /// agent once. Whoever delegates can't get more done at once by handing it on.
    #[must_use]
    pub fn calls_at_once(&self, caller: &Caller) -> Vec<CallLimit> {
        let set = self.inner.set.load();
        let mut limits: Vec<CallLimit> = Vec::new();
        for link in caller.chain() {
            let Some(calls_max) = set.calls_max(caller.realm(), &link.agent, link.role.as_ref()) else {
                continue;
            };
            match limits.iter_mut().find(|known| known.agent == link.agent) {
                Some(known) => known.calls_max = known.calls_max.min(calls_max),
                None => limits.push(CallLimit { agent: link.agent.clone(), calls_max }),
            }
        }
        limits
    }

    /// The answer to the same question asked by everyone of a chain, and the hash of the policies that gave it.
    ///
    /// By INVARIANT (chain) whoever delegates names the child's agent and role: so everyone above has to be allowed, too.
    fn decide<'q>(
        &self,
        questions: impl IntoIterator<Item = Question<'q>>,
        realm: &Realm,
    ) -> (Decided, Digest) {
        let set = self.inner.set.load();
        // A chain is mostly one link long.
        let questions: Vec<_> = questions.into_iter().collect();
        let all = questions.iter().map(|question| set.decide(question));
        let decided = all.reduce(Decided::and).unwrap_or_else(|| Decided::no("nobody asks".to_owned()));
        self.compare(&questions, &decided);
        (decided, set.hash_for(realm))
    }
}

/// The one answer for a tool that isn't there and for one that this token may not call.
#[must_use]
pub fn unknown_tool(name: &str) -> Refusal {
    let shown = visible(name, 64);
    Refusal::new(
        Code::UnknownTool,
        format!("there is no tool {shown:?} that this token may call; GET /v1/tools lists those it may"),
    )
}

impl std::fmt::Debug for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Policy").field("hash", &self.hash()).finish_non_exhaustive()
    }
}
