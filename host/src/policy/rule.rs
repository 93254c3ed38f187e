//! One policy, and whether its scope lets it have a say.

use std::collections::BTreeSet;

use cedar_policy::{
    ActionConstraint, Effect, EntityUid, Policy as Cedar, PrincipalConstraint, ResourceConstraint,
};
use serde_json::{Value, json};

use super::looks::Looks;

/// The most levels of objects and lists that a condition has in JSON when it's taken over into another policy; an operator
/// has two. Cedar reads JSON by recursion, on the stack of whoever asks: 2 MiB, of which it takes 6 KiB for an operator,
/// and 100 KiB where it isn't optimised.
const CONDITION_DEPTH_MAX: usize = 24;

/// A policy, checked against the schema.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) cedar: Cedar,
    /// Its text in one spelling, whatever its file's white space and comments are.
    pub(super) canonical: String,
    /// The texts of its conditions, when they ask who approved: one of them may be a name that counts.
    pub(super) approvers: Vec<String>,
    /// What it looks at in a context.
    pub(super) looks: Looks,
    /// What it asks of a request in scope, as one Cedar expression in JSON. `None`: nothing, or it has no JSON form, or one
    /// that is too deep.
    pub(super) condition: Option<Value>,
}

/// A principal, an action or a resource: itself and all that it's in.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    pub(super) uid: EntityUid,
    pub(super) within: Vec<EntityUid>,
}

impl Rule {
    /// Walks over all of its policy by recursion, so it wants the stack that policies are read on.
    pub(super) fn new(cedar: Cedar) -> Self {
        // It came from a text, so it has a JSON form; if not, its own text does for a hash.
        let json = cedar.to_json().unwrap_or_else(|_| Value::String(cedar.to_string()));
        let mut texts = BTreeSet::new();
        let asks = json.get("conditions").is_some_and(|conditions| collect(conditions, &mut texts));
        let approvers = if asks { texts.into_iter().collect() } else { Vec::new() };
        let looks = json.get("conditions").map_or(Looks::Whole, Looks::of);
        let condition = condition(&json);
        Self { canonical: json.to_string(), approvers, looks, condition, cedar }
    }

    pub(super) fn forbids(&self) -> bool {
        self.cedar.effect() == Effect::Forbid
    }

    pub(super) fn id(&self) -> &str {
        self.cedar.id().as_ref()
    }

    /// Whether its scope is met. What isn't in scope can neither decide nor err, so leaving it out changes no answer.
    pub(super) fn concerns(&self, principal: &Subject, action: &Subject, resource: &Subject) -> bool {
        let by_principal = match self.cedar.principal_constraint() {
            PrincipalConstraint::Any => true,
            PrincipalConstraint::In(uid) => principal.is_in(&uid),
            PrincipalConstraint::Eq(uid) => principal.uid == uid,
            PrincipalConstraint::Is(kind) => principal.uid.type_name() == &kind,
            PrincipalConstraint::IsIn(kind, uid) => {
                principal.uid.type_name() == &kind && principal.is_in(&uid)
            }
        };
        let by_action = match self.cedar.action_constraint() {
            ActionConstraint::Any => true,
            ActionConstraint::In(uids) => uids.iter().any(|uid| action.is_in(uid)),
            ActionConstraint::Eq(uid) => action.uid == uid,
        };
        let by_resource = match self.cedar.resource_constraint() {
            ResourceConstraint::Any => true,
            ResourceConstraint::In(uid) => resource.is_in(&uid),
            ResourceConstraint::Eq(uid) => resource.uid == uid,
            ResourceConstraint::Is(kind) => resource.uid.type_name() == &kind,
            ResourceConstraint::IsIn(kind, uid) => resource.uid.type_name() == &kind && resource.is_in(&uid),
        };
        by_principal && by_action && by_resource
    }
}

impl Subject {
    fn is_in(&self, uid: &EntityUid) -> bool {
        self.uid == *uid || self.within.contains(uid)
    }
}

/// All of a policy's `when` and `unless`, in their order.
fn condition(json: &Value) -> Option<Value> {
    let each = json.get("conditions")?.as_array()?.iter().map(|condition| {
        let body = condition.get("body")?.clone();
        match condition.get("kind")?.as_str()? {
            "when" => Some(body),
            "unless" => Some(json!({ "!": { "arg": body } })),
            _ => None,
        }
    });
    let all: Vec<_> = each.collect::<Option<_>>()?;
    joined("&&", all).filter(|condition| depth(condition) <= CONDITION_DEPTH_MAX)
}

/// How many levels of objects and lists there are.
fn depth(json: &Value) -> usize {
    let deepest = match json {
        Value::Array(items) => items.iter().map(depth).max(),
        Value::Object(members) => members.values().map(depth).max(),
        _ => return 0,
    };
    1 + deepest.unwrap_or(0)
}

/// Expressions with an operator between them, nested as little as can be: the evaluator recurses.
pub(super) fn joined(operator: &str, mut all: Vec<Value>) -> Option<Value> {
    if all.len() < 2 {
        return all.pop();
    }
    let right = all.split_off(all.len() / 2);
    Some(json!({ operator: { "left": joined(operator, all)?, "right": joined(operator, right)? } }))
}

/// Collects every text of a policy's JSON form; says whether `approvers` is among the attributes that it asks for.
fn collect(json: &Value, texts: &mut BTreeSet<String>) -> bool {
    match json {
        Value::Array(items) => items.iter().fold(false, |asks, item| collect(item, texts) | asks),
        Value::Object(members) => members.iter().fold(false, |asks, (name, value)| {
            if name == "Value"
                && let Some(text) = value.as_str()
            {
                texts.insert(text.to_owned());
            }
            let here = name == "attr" && value == "approvers";
            collect(value, texts) | here | asks
        }),
        _ => false,
    }
}
