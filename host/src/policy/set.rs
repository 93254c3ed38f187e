//! All policies in force, and their answers.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use cedar_policy::{Authorizer, Schema};

use super::context::{Approval, ContextError, context};
use super::kinds::Unfit;
use super::load::{Loaded, Naming, PolicyFile, load};
use super::parts::{Parts, posted_rules};
use super::problem::{PolicyProblem, PolicyProblems};
use super::question::{Question, What, Who};
use super::rule::Rule;
use super::slot::{Said, Slot};
use super::world::World;
use crate::connection::Effect;
use crate::digested::Digested;
use crate::ids::{
    AgentId, ConnectionName, Digest, Environment, OperationName, Realm, RoleName, TenantId, ToolName,
};
use crate::store::PolicyRow;

/// How many approvals are thought of at most when a request is allowed only with some.
pub const QUORUM_MAX: u32 = 5;

/// The most slots kept; beyond, all are worked out anew.
const SLOTS_MAX: usize = 4_096;

/// The one authorizer: it has no state.
pub(super) fn authorizer() -> &'static Authorizer {
    static AUTHORIZER: LazyLock<Authorizer> = LazyLock::new(Authorizer::new);
    &AUTHORIZER
}

/// Policies and the world that they were checked against. It doesn't change.
#[derive(Debug)]
pub(super) struct Set {
    pub(super) world: Arc<World>,
    schema: Schema,
    /// From files: they apply to everyone.
    files: Vec<Rule>,
    /// Posted ones, which apply to their tenant or environment.
    posted: Parts,
    files_hash: Digest,
    /// What is suspicious but allowed.
    pub(super) warnings: Vec<PolicyProblem>,
    slots: RwLock<HashMap<Key, Arc<Slot>>>,
    /// Whether slots that are kept take short cuts: they ask forbids as one, and what nobody looks at isn't told.
    pub(super) shortens: bool,
}

/// The answer to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Decided {
    pub(super) ruling: Ruling,
    /// The ids of the policies that decided, sorted.
    pub(super) policies: Vec<String>,
    /// Why not, for the operator's log.
    pub(super) cause: Option<String>,
    /// The value that can't be put to the policies, if that's why not: none of them said so.
    pub(super) unfit: Option<Unfit>,
}

/// Yes, not yet, or no: the stricter is the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ruling {
    Allowed,
    NeedsApproval { quorum: u32 },
    Denied,
}

/// What a slot is for.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    tenant: TenantId,
    environment: Environment,
    who: AgentId,
    role: Option<RoleName>,
    what: KeyWhat,
}

#[derive(Debug, PartialEq, Eq, Hash)]
enum KeyWhat {
    /// With the effect that the request has, which decides what actions it's in.
    Send(ConnectionName, OperationName, Effect),
    Call(ToolName),
    Code(ToolName),
}

impl Set {
    /// Reads files and posted policies.
    ///
    /// # Errors
    /// Every problem of the files. A problem of a posted policy breaks what it was posted for alone; `before` has the
    /// policies that are kept there in that case.
    pub(super) fn new(
        files: &[PolicyFile],
        rows: &[PolicyRow],
        world: World,
        before: Option<&Self>,
    ) -> Result<Self, PolicyProblems> {
        let text = world.schema();
        let schema = Schema::from_cedarschema_str(&text).map(|(schema, _)| schema).map_err(|error| {
            PolicyProblems(vec![PolicyProblem::of("schema", format!("the schema can't be used: {error}"))])
        })?;
        let Loaded { rules, problems, warnings } = load(files, Naming::Annotated, &schema);
        if !problems.is_empty() {
            return Err(PolicyProblems(problems));
        }
        let files_hash = hash(rules.iter());
        let posted = Parts::new(rows, &schema, files_hash, before.map(|before| &before.posted));
        Ok(Self {
            world: Arc::new(world),
            schema,
            files: rules,
            posted,
            files_hash,
            warnings,
            slots: RwLock::default(),
            shortens: true,
        })
    }

    /// The same with what is posted now. Files, and what there is to decide about, are as they were.
    pub(super) fn with_posted(&self, rows: &[PolicyRow]) -> Self {
        Self {
            world: self.world.clone(),
            schema: self.schema.clone(),
            files: self.files.clone(),
            posted: Parts::new(rows, &self.schema, self.files_hash, Some(&self.posted)),
            files_hash: self.files_hash,
            warnings: self.warnings.clone(),
            slots: RwLock::default(),
            shortens: self.shortens,
        }
    }

    /// Checks a policy that is to be posted: its text, and whether there's room for it among `rules_max` where it would
    /// apply.
    pub(super) fn check_posted(&self, row: &PolicyRow, rules_max: usize) -> Result<(), PolicyProblems> {
        let more = posted_rules(&[row], &self.schema)?.0.len();
        let there = self.posted.beside(row);
        if there + more <= rules_max {
            return Ok(());
        }
        let message = format!(
            "it stands for {more} policies, and {there} are posted for the same place, where {rules_max} is the \
             most: remove some, or name a role in place of agents"
        );
        Err(PolicyProblems(vec![PolicyProblem::of(row.id.as_str(), message)]))
    }

    /// Whether a posted policy is in force.
    pub(super) fn holds(&self, row: &PolicyRow) -> bool {
        self.posted.holds(row)
    }

    /// Over the policies of the files.
    pub(super) fn files_hash(&self) -> Digest {
        self.files_hash
    }

    /// As [`Self::hash_for`], of each place that policies were posted for.
    pub(super) fn posted_hashes(&self) -> BTreeMap<String, Digest> {
        self.posted.hashes()
    }

    /// Over the policies that apply to a realm.
    pub(super) fn hash_for(&self, realm: &Realm) -> Digest {
        self.posted.hash_for(realm).unwrap_or(self.files_hash)
    }

    /// How many policies there are: from files, and posted.
    pub(super) fn count(&self) -> (usize, usize) {
        (self.files.len(), self.posted.count())
    }

    pub(super) fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The policies that apply to a realm.
    pub(super) fn rules(&self, realm: &Realm) -> impl Iterator<Item = &Rule> {
        self.files.iter().chain(self.posted.rules(realm))
    }

    /// The policies that may allow something in any environment of a tenant, and those that forbid it in every one.
    pub(super) fn rules_anywhere(&self, tenant: &TenantId) -> impl Iterator<Item = &Rule> {
        self.files.iter().chain(self.posted.rules_anywhere(tenant))
    }

    /// How many calls an agent of a realm may have under way at once: the least that any policy says.
    pub(super) fn calls_max(&self, realm: &Realm, agent: &AgentId, role: Option<&RoleName>) -> Option<u32> {
        let tasks = self.posted.tasks(realm);
        tasks.filter(|limit| limit.is_for(agent, role)).map(|limit| limit.calls_max).min()
    }

    /// Answers a question.
    pub(super) fn decide(&self, question: &Question<'_>) -> Decided {
        if let Some(problems) = self.posted.broken(question.realm) {
            return Decided::no(format!("the posted policies can't be used: {problems}"));
        }
        let slot = match self.slot(question) {
            Ok(slot) => slot,
            Err(error) => return Decided::no(format!("the policies can't be asked: {error}")),
        };
        let approvers: Vec<String> =
            question.approvers().unwrap_or_default().iter().map(ToString::to_string).collect();
        let count = u32::try_from(approvers.len()).unwrap_or(u32::MAX);
        let approval = Approval { granted: question.granted(), count, approvers: &approvers };
        let said = match (context(question, &self.world, approval, &slot.looks), slot.constant()) {
            (Err(error), _) => {
                let cause = format!("the request can't be put to the policies: {error}");
                let unfit = match error {
                    ContextError::Unfit(unfit) => Some(unfit),
                    ContextError::Unknown(_) | ContextError::Cedar(_) => None,
                };
                return Decided { unfit, ..Decided::no(cause) };
            }
            (Ok(_), Some(said)) => said.clone(),
            (Ok(context), None) => slot.ask(context),
        };
        if said.yes {
            return Decided { ruling: Ruling::Allowed, policies: said.deciding, cause: None, unfit: None };
        }
        let quorum = question.approvers().and_then(|_| self.quorum(question, &slot, approval));
        self.not_allowed(question, &slot, said, quorum)
    }

    /// How many approvals would make it a yes.
    fn quorum(&self, question: &Question<'_>, slot: &Slot, approval: Approval<'_>) -> Option<u32> {
        let first = if approval.granted { approval.count.saturating_add(1) } else { 1 };
        (first..=QUORUM_MAX).find(|count| {
            let thought = Approval { granted: true, count: *count, approvers: &slot.approvers };
            context(question, &self.world, thought, &slot.looks).is_ok_and(|context| slot.ask(context).yes)
        })
    }

    fn not_allowed(&self, question: &Question<'_>, slot: &Slot, said: Said, quorum: Option<u32>) -> Decided {
        if let Some(quorum) = quorum {
            let cause = format!("allowed only with {quorum} approvals");
            let ruling = Ruling::NeedsApproval { quorum };
            return Decided { ruling, policies: said.deciding, cause: Some(cause), unfit: None };
        }
        let cause = if !said.errors.is_empty() {
            format!("a policy could not be evaluated, which denies: {}", said.errors.join("; "))
        } else if said.deciding.is_empty() {
            format!(
                "no policy of the {} that concern it permits it; smallest rule that would allow it: {}",
                slot.policies(),
                question.smallest_rule()
            )
        } else {
            format!(
                "forbidden by {}; no permit can allow it, so one of these has to change",
                said.deciding.join(", ")
            )
        };
        Decided { policies: said.deciding, ..Decided::no(cause) }
    }

    fn slot(&self, question: &Question<'_>) -> Result<Arc<Slot>, String> {
        let Some(key) = Key::of(question) else {
            return Slot::new(question, self.rules(question.realm), false).map(Arc::new);
        };
        // A panic elsewhere can't leave the map half changed.
        if let Some(slot) = self.slots.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(slot.clone());
        }
        let slot = Arc::new(Slot::new(question, self.rules(question.realm), self.shortens)?);
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= SLOTS_MAX {
            slots.clear();
        }
        slots.insert(key, slot.clone());
        Ok(slot)
    }
}

impl Decided {
    /// The stricter of two answers, with the policies of both.
    pub(super) fn and(self, other: Self) -> Self {
        let (mut strict, other) = if other.ruling > self.ruling { (other, self) } else { (self, other) };
        strict.policies.extend(other.policies);
        strict.policies.sort();
        strict.policies.dedup();
        strict
    }

    pub(super) fn no(cause: String) -> Self {
        Self { ruling: Ruling::Denied, policies: Vec::new(), cause: Some(cause), unfit: None }
    }
}

impl Key {
    /// What slots are kept by. A question about an `api://…` resource has none: callers make those up, and an approver's
    /// is rare.
    fn of(question: &Question<'_>) -> Option<Self> {
        let Who::Agent(agent) = question.who else { return None };
        let what = match question.what {
            What::Send { connection, operation, .. } => {
                KeyWhat::Send(connection.name.clone(), operation.name.clone(), operation.effect)
            }
            What::Call { tool, .. } => KeyWhat::Call(tool.clone()),
            What::Code { tool, .. } => KeyWhat::Code(tool.clone()),
            What::Api { .. } | What::Approve { .. } => return None,
        };
        Some(Self {
            tenant: question.realm.tenant.clone(),
            environment: question.realm.environment.clone(),
            who: agent.agent.clone(),
            role: agent.role.cloned(),
            what,
        })
    }
}

/// Over ids and texts, in the order of the ids: neither white space nor the order of files changes it.
pub(super) fn hash<'r>(rules: impl Iterator<Item = &'r Rule>) -> Digest {
    let mut lines: Vec<_> = rules.map(|rule| (rule.id(), rule.canonical.as_str())).collect();
    lines.sort_unstable();
    let mut digested = Digested::of(b"");
    lines.into_iter().flat_map(|(id, text)| [id, text]).for_each(|part| digested.part(part.as_bytes()));
    digested.digest()
}
