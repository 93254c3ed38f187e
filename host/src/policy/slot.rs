//! What can be worked out before a question's parameters are known: the entities, and the policies that have a say.

use std::collections::{BTreeSet, HashSet};

use cedar_policy::{
    Context, Decision, Entities, Entity, EntityUid, Policy, PolicyId, PolicySet, Request,
    RestrictedExpression as Expression,
};
use serde_json::json;

use super::About;
use super::looks::Looks;
use super::names;
use super::question::{Question, What, Who};
use super::rule::{Rule, Subject, joined};
use super::set::authorizer;
use crate::connection::Effect;

/// From how many on forbids are merged.
const MERGED_MIN: usize = 2;
/// What they're called together. Nobody ever reads it.
const MERGED_ID: &str = "merged";

/// Everything about one principal, action and resource.
#[derive(Debug)]
pub(super) struct Slot {
    principal: EntityUid,
    action: EntityUid,
    resource: EntityUid,
    entities: Entities,
    policies: PolicySet,
    /// The same policies, those that forbid something as one as far as that can be: asked first.
    merged: Option<PolicySet>,
    /// The texts that may be approvers' names in some policy here, for the question who would have to agree.
    pub(super) approvers: Vec<String>,
    /// What they look at in a context, all together.
    pub(super) looks: Looks,
    /// The answer, where no policy looks at the context.
    constant: Option<Said>,
}

/// What the policies say of one context.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// Permitted, with no policy in error.
    pub(super) yes: bool,
    /// The policies that decided, sorted.
    pub(super) deciding: Vec<String>,
    /// The policies that couldn't be evaluated, and why.
    pub(super) errors: Vec<String>,
}

impl Slot {
    /// Works everything out for a question's principal, action and resource; what only many questions make up for, if
    /// it's to be `kept`.
    pub(super) fn new<'r>(
        question: &Question<'_>,
        rules: impl Iterator<Item = &'r Rule>,
        kept: bool,
    ) -> Result<Self, String> {
        let (principal, action, resource) = (principal(question), action(question), resource(question));
        let mut approvers = BTreeSet::new();
        let rules: Vec<_> = rules.filter(|rule| rule.concerns(&principal, &action, &resource)).collect();
        let mut looks = if kept { Looks::NOTHING } else { Looks::Whole };
        for rule in &rules {
            approvers.extend(rule.approvers.iter().cloned());
            looks.and(&rule.looks);
        }
        let mut slot = Self {
            entities: entities(question, [&principal, &action, &resource])?,
            principal: principal.uid,
            action: action.uid,
            resource: resource.uid,
            policies: set(&rules)?,
            merged: if kept { merged(&rules) } else { None },
            approvers: approvers.into_iter().collect(),
            looks,
            constant: None,
        };
        slot.constant = slot.looks.is_nothing().then(|| slot.ask(Context::empty()));
        Ok(slot)
    }

    /// The answer to every request of this principal, action and resource, where no policy that concerns them looks at a
    /// context.
    pub(super) fn constant(&self) -> Option<&Said> {
        self.constant.as_ref()
    }

    /// Asks the policies.
    pub(super) fn ask(&self, context: Context) -> Said {
        let uids = (self.principal.clone(), self.action.clone(), self.resource.clone());
        // Without a schema: the context was built from the types that the policies were checked against.
        let request = match Request::new(uids.0, uids.1, uids.2, context, None) {
            Ok(request) => request,
            Err(error) => return Said { errors: vec![error.to_string()], ..Said::default() },
        };
        if let Some(merged) = &self.merged {
            let said = said(&request, merged, &self.entities);
            // INVARIANT (merged): none of its conditions is met and none can't be evaluated, or it would have said no or
            // been in error; so it is with what was left as it is. Only who has to know which one it was asks each.
            if said.yes {
                return said;
            }
        }
        said(&request, &self.policies, &self.entities)
    }

    /// Whether the schema has this context for the action, with this principal and resource.
    #[cfg(test)]
    pub(super) fn fits(&self, context: Context, schema: &cedar_policy::Schema) -> Result<(), String> {
        let uids = (self.principal.clone(), self.action.clone(), self.resource.clone());
        let request = Request::new(uids.0, uids.1, uids.2, context, Some(schema));
        request.map(drop).map_err(|error| error.to_string())
    }

    /// How many policies have a say.
    pub(super) fn policies(&self) -> usize {
        self.policies.num_of_policies()
    }
}

fn said(request: &Request, policies: &PolicySet, entities: &Entities) -> Said {
    let response = authorizer().is_authorized(request, policies, entities);
    let errors: Vec<String> = response.diagnostics().errors().map(ToString::to_string).collect();
    let mut deciding: Vec<String> = response.diagnostics().reason().map(ToString::to_string).collect();
    deciding.sort();
    // INVARIANT (errors deny): Cedar skips a policy that it can't evaluate, also a forbid that might have said no.
    let yes = response.decision() == Decision::Allow && errors.is_empty();
    Said { yes, deciding, errors }
}

fn set<'r>(rules: impl IntoIterator<Item = &'r &'r Rule>) -> Result<PolicySet, String> {
    let mut set = PolicySet::new();
    for rule in rules {
        set.add(rule.cedar.clone()).map_err(|error| error.to_string())?;
    }
    Ok(set)
}

/// The policies with the forbids whose conditions can be taken over as one, which is met where one of them is: Cedar takes
/// far longer to begin with a policy than to evaluate it. `None`: there's nothing to be gained.
fn merged(rules: &[&Rule]) -> Option<PolicySet> {
    let (forbids, others): (Vec<&Rule>, Vec<&Rule>) =
        rules.iter().partition(|rule| rule.forbids() && rule.condition.is_some());
    if forbids.len() < MERGED_MIN {
        return None;
    }
    let conditions = forbids.iter().filter_map(|rule| rule.condition.clone()).collect();
    let forbid = json!({
        "effect": "forbid",
        // Their scopes are met: they have a say.
        "principal": { "op": "All" },
        "action": { "op": "All" },
        "resource": { "op": "All" },
        "conditions": [{ "kind": "when", "body": joined("||", conditions)? }],
    });
    let mut policies = set(&others).ok()?;
    // An id that is taken, or an expression that it doesn't take, only means that it can't be done.
    policies.add(Policy::from_json(Some(PolicyId::new(MERGED_ID)), forbid).ok()?).ok()?;
    Some(policies)
}

fn principal(question: &Question<'_>) -> Subject {
    let tenant = &question.realm.tenant;
    match question.who {
        Who::Agent(agent) => {
            let mut within = vec![names::tenant(tenant)];
            within.extend(agent.role.map(|role| names::role(tenant, role)));
            Subject { uid: names::agent(tenant, agent.agent), within }
        }
        Who::Operator(name) => {
            Subject { uid: names::operator(tenant, name), within: vec![names::tenant(tenant)] }
        }
    }
}

fn action(question: &Question<'_>) -> Subject {
    let (id, groups): (String, &[&str]) = match question.what {
        What::Send { connection, operation, .. } => {
            let groups: &[&str] = match operation.effect {
                Effect::Read => &["read", "send"],
                Effect::Write => &["write", "send"],
            };
            (names::operation_action(&connection.name, &operation.name), groups)
        }
        What::Call { tool, .. } => (names::call_action(tool), &["call"]),
        // In no group: whoever permits calls hasn't permitted this.
        What::Code { .. } => (names::RUN_CODE.to_owned(), &[]),
        What::Api { .. } => ("api".to_owned(), &[]),
        What::Approve { .. } => ("approve".to_owned(), &[]),
    };
    Subject { uid: names::action(&id), within: groups.iter().map(|group| names::action(group)).collect() }
}

fn resource(question: &Question<'_>) -> Subject {
    let uid = match question.what {
        What::Send { connection, .. } => names::connection(&connection.name),
        What::Call { tool, .. } | What::Code { tool, .. } => names::tool(tool),
        What::Api { url, .. } => names::api(url),
        What::Approve { about, .. } => about.resource(),
    };
    Subject { uid, within: vec![names::environment(question.realm), names::tenant(&question.realm.tenant)] }
}

/// The entities with all their ancestors; `within` is complete, so no closure has to be computed over more than these.
fn entities(question: &Question<'_>, subjects: [&Subject; 3]) -> Result<Entities, String> {
    let text = |text: &str| Expression::new_string(text.to_owned());
    let mut seen = HashSet::new();
    let mut all = Vec::new();
    for (place, subject) in subjects.into_iter().enumerate() {
        let attributes = match (place, question.who, question.what) {
            (0, Who::Agent(agent), _) => vec![("name", text(agent.agent.as_str()))],
            (0, Who::Operator(name), _) => vec![("name", text(name.as_str()))],
            (2, _, What::Api { url, .. }) => vec![("url", text(url))],
            (2, _, What::Approve { about: About::Api { resource, .. }, .. }) => {
                vec![("url", text(resource))]
            }
            _ => Vec::new(),
        };
        let attributes = attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        seen.insert(subject.uid.clone());
        let parents = subject.within.iter().cloned().collect();
        let entity = Entity::new(subject.uid.clone(), attributes, parents);
        all.push(entity.map_err(|error| error.to_string())?);
    }
    // The one who asked for what is approved is an agent in its role.
    if let What::Approve { requester, role, .. } = question.what {
        let tenant = &question.realm.tenant;
        let mut parents = HashSet::from([names::tenant(tenant)]);
        parents.extend(role.map(|role| names::role(tenant, role)));
        let attributes = [("name".to_owned(), text(requester.as_str()))].into_iter().collect();
        let entity = Entity::new(names::agent(tenant, requester), attributes, parents);
        all.push(entity.map_err(|error| error.to_string())?);
        if let Some(role) = role {
            seen.insert(names::role(tenant, role));
            all.push(in_tenant(names::role(tenant, role), question));
        }
    }
    let groups = subjects.into_iter().flat_map(|subject| &subject.within);
    for uid in groups {
        if seen.insert(uid.clone()) {
            all.push(match uid.type_name().to_string().as_str() {
                "Role" | "Environment" => in_tenant(uid.clone(), question),
                _ => Entity::with_uid(uid.clone()),
            });
        }
    }
    Entities::from_entities(all, None).map_err(|error| error.to_string())
}

fn in_tenant(uid: EntityUid, question: &Question<'_>) -> Entity {
    Entity::new_no_attrs(uid, HashSet::from([names::tenant(&question.realm.tenant)]))
}
