//! Posted policies, by where they apply: in one environment, or in every one of a tenant.

use std::collections::BTreeMap;

use cedar_policy::Schema;

use super::load::{Loaded, Naming, PolicyFile, load};
use super::problem::{PolicyProblem, PolicyProblems};
use super::rule::Rule;
use super::set::hash;
use super::tasks::TaskLimit;
use crate::ids::{Digest, Environment, Realm, TenantId};
use crate::store::PolicyRow;

/// All posted policies.
///
/// INVARIANT (apart): what was posted for one environment, well or broken, changes no answer in another, nor the hash of
/// what applies there. Nobody who manages one environment can stop another with a policy.
#[derive(Debug)]
pub(super) struct Parts {
    tenants: BTreeMap<TenantId, Tenant>,
}

/// A tenant's.
#[derive(Debug, Default)]
struct Tenant {
    /// What applies in every environment.
    whole: Option<Part>,
    environments: BTreeMap<Environment, Part>,
}

#[derive(Debug)]
struct Part {
    posted: Posted,
    /// Over all that applies: the files, what is the tenant's, and what is the environment's.
    hash: Digest,
}

#[derive(Debug, Clone)]
enum Posted {
    Rules(Vec<Rule>, Vec<TaskLimit>),
    /// They don't fit the world: nothing is allowed where they apply, since one of them may be a forbid.
    Broken(PolicyProblems),
}

impl Parts {
    /// Reads rows. A problem breaks what it was posted beside, and nothing else; `before` has the policies that are kept
    /// in that case.
    pub(super) fn new(rows: &[PolicyRow], schema: &Schema, files: Digest, before: Option<&Self>) -> Self {
        let mut parts: BTreeMap<(&TenantId, Option<&Environment>), Vec<&PolicyRow>> = BTreeMap::new();
        for row in rows {
            parts.entry((&row.tenant, row.environment.as_ref())).or_default().push(row);
        }
        let mut tenants: BTreeMap<TenantId, Tenant> = BTreeMap::new();
        // What is the tenant's comes before what is an environment's, whose hash is over both.
        for ((name, environment), rows) in parts {
            let kept =
                before.and_then(|before| before.part(name, environment)).map(|part| part.posted.clone());
            let posted = match (posted_rules(&rows, schema), kept) {
                (Ok((rules, tasks)), _) => Posted::Rules(rules, tasks),
                (Err(problems), Some(Posted::Rules(rules, tasks))) => {
                    tracing::error!(tenant = %name, environment = environment.map(Environment::as_str), %problems,
                        "posted policies don't fit: the earlier ones stay in force");
                    Posted::Rules(rules, tasks)
                }
                (Err(problems), _) => {
                    tracing::error!(tenant = %name, environment = environment.map(Environment::as_str), %problems,
                        "posted policies don't fit: everything is denied there");
                    Posted::Broken(problems)
                }
            };
            let tenant = tenants.entry(name.clone()).or_default();
            let hash = posted.hash(tenant.whole.as_ref().map_or(files, |whole| whole.hash));
            let part = Part { posted, hash };
            match environment {
                None => tenant.whole = Some(part),
                Some(environment) => drop(tenant.environments.insert(environment.clone(), part)),
            }
        }
        Self { tenants }
    }

    /// Over the policies that apply to a realm; `None` where none was posted.
    pub(super) fn hash_for(&self, realm: &Realm) -> Option<Digest> {
        self.of(realm).last().map(|part| part.hash)
    }

    /// As [`Self::hash_for`], of each place: `TENANT/ENVIRONMENT`, and `TENANT` for its other environments.
    pub(super) fn hashes(&self) -> BTreeMap<String, Digest> {
        let places = self.tenants.iter().flat_map(|(name, tenant)| {
            let whole = tenant.whole.iter().map(move |part| (name.to_string(), part.hash));
            let environments = tenant.environments.iter();
            whole.chain(
                environments.map(move |(environment, part)| (format!("{name}/{environment}"), part.hash)),
            )
        });
        places.collect()
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        let parts =
            self.tenants.values().flat_map(|tenant| tenant.whole.iter().chain(tenant.environments.values()));
        parts.map(|part| part.posted.rules().len()).sum()
    }

    /// How many there are where this one applies.
    pub(super) fn beside(&self, row: &PolicyRow) -> usize {
        self.part(&row.tenant, row.environment.as_ref()).map_or(0, |part| part.posted.rules().len())
    }

    /// Whether this one is among those that apply.
    pub(super) fn holds(&self, row: &PolicyRow) -> bool {
        let of_row = |rule: &Rule| rule.id().rsplit_once('#').is_some_and(|(id, _)| id == row.id.as_str());
        self.part(&row.tenant, row.environment.as_ref())
            .is_some_and(|part| part.posted.rules().iter().any(of_row))
    }

    /// The policies that apply to a realm.
    pub(super) fn rules(&self, realm: &Realm) -> impl Iterator<Item = &Rule> {
        self.of(realm).flat_map(|part| part.posted.rules())
    }

    /// Those that may allow something in any environment of a tenant, and those that forbid it in every one.
    pub(super) fn rules_anywhere(&self, tenant: &TenantId) -> impl Iterator<Item = &Rule> {
        let tenant = self.tenants.get(tenant);
        let whole = tenant.and_then(|tenant| tenant.whole.as_ref());
        let environments = tenant.into_iter().flat_map(|tenant| tenant.environments.values());
        let permits = environments.flat_map(|part| part.posted.rules()).filter(|rule| !rule.forbids());
        whole.into_iter().flat_map(|part| part.posted.rules()).chain(permits)
    }

    /// The limits on tasks that apply to a realm.
    pub(super) fn tasks(&self, realm: &Realm) -> impl Iterator<Item = &TaskLimit> {
        self.of(realm).flat_map(|part| match &part.posted {
            Posted::Rules(_, tasks) => tasks.as_slice(),
            Posted::Broken(_) => &[],
        })
    }

    /// Why nothing is allowed in a realm, if that's so.
    pub(super) fn broken(&self, realm: &Realm) -> Option<&PolicyProblems> {
        self.of(realm).find_map(|part| match &part.posted {
            Posted::Rules(..) => None,
            Posted::Broken(problems) => Some(problems),
        })
    }

    /// The tenant's and the environment's, in this order.
    fn of(&self, realm: &Realm) -> impl Iterator<Item = &Part> {
        let tenant = self.tenants.get(&realm.tenant);
        let whole = tenant.and_then(|tenant| tenant.whole.as_ref());
        whole.into_iter().chain(tenant.and_then(|tenant| tenant.environments.get(&realm.environment)))
    }

    fn part(&self, tenant: &TenantId, environment: Option<&Environment>) -> Option<&Part> {
        let tenant = self.tenants.get(tenant)?;
        match environment {
            None => tenant.whole.as_ref(),
            Some(environment) => tenant.environments.get(environment),
        }
    }
}

impl Posted {
    fn rules(&self) -> &[Rule] {
        match self {
            Self::Rules(rules, _) => rules,
            Self::Broken(_) => &[],
        }
    }

    fn hash(&self, beneath: Digest) -> Digest {
        let own = match self {
            Self::Rules(rules, _) => hash(rules.iter()),
            Self::Broken(problems) => Digest::of(problems.to_string().as_bytes()),
        };
        Digest::of(&[beneath.0, own.0].concat())
    }
}

/// Reads what was posted for one place.
pub(super) fn posted_rules(
    rows: &[&PolicyRow],
    schema: &Schema,
) -> Result<(Vec<Rule>, Vec<TaskLimit>), PolicyProblems> {
    let file = |row: &&PolicyRow| PolicyFile::new(row.id.as_str(), row.cedar.clone());
    let files: Vec<_> = rows.iter().map(file).collect();
    let Loaded { rules, mut problems, .. } = load(&files, Naming::Numbered, schema);
    let mut tasks = Vec::new();
    for row in rows {
        match TaskLimit::of_stored(&row.source) {
            Ok(limit) => tasks.extend(limit),
            Err(message) => problems.push(PolicyProblem::of(row.id.as_str(), message)),
        }
    }
    if problems.is_empty() { Ok((rules, tasks)) } else { Err(PolicyProblems(problems)) }
}
