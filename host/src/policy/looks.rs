//! What policies look at in a context: the rest of it needn't be made.

use std::collections::BTreeMap;

use serde_json::Value;

/// How many members deep it's known what is looked at; further down, all of it is. Whoever asks goes through it by
/// recursion, and `has` takes hundreds of names.
const MEMBERS_DEPTH_MAX: usize = 32;

/// What is looked at in a record: the context itself, or one in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Looks {
    /// All of it: it's used as a whole, or in a way that isn't known here.
    Whole,
    /// These members, and so much of each.
    Members(BTreeMap<String, Self>),
}

impl Looks {
    pub(super) const NOTHING: Self = Self::Members(BTreeMap::new());

    /// What the conditions of a policy look at, from their JSON form.
    ///
    /// INVARIANT (looks): an expression has the same value, or the same error, on a context that lacks what this leaves out.
    /// Whatever begins with `context` and goes on by member after member is kept from its last member on; so is what `has`
    /// asks for. `context` anywhere else keeps everything.
    pub(super) fn of(conditions: &Value) -> Self {
        let mut looks = Self::NOTHING;
        looks.add_all(conditions);
        looks
    }

    /// With what another policy looks at.
    pub(super) fn and(&mut self, other: &Self) {
        match (&mut *self, other) {
            (Self::Whole, _) => {}
            (_, Self::Whole) => *self = Self::Whole,
            (Self::Members(members), Self::Members(others)) => {
                for (name, other) in others {
                    members.entry(name.clone()).or_insert(Self::NOTHING).and(other);
                }
            }
        }
    }

    /// Nothing at all.
    pub(super) fn is_nothing(&self) -> bool {
        *self == Self::NOTHING
    }

    /// What is looked at in a member; `None`: it isn't.
    pub(super) fn member(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Whole => Some(self),
            Self::Members(members) => members.get(name),
        }
    }

    fn add_all(&mut self, json: &Value) {
        if let Some(mut path) = path(json).or_else(|| asked(json)) {
            path.truncate(MEMBERS_DEPTH_MAX);
            return self.add(&path);
        }
        match json {
            Value::Array(items) => items.iter().for_each(|item| self.add_all(item)),
            Value::Object(members) => members.values().for_each(|member| self.add_all(member)),
            _ => {}
        }
    }

    fn add(&mut self, path: &[&str]) {
        match (&mut *self, path) {
            (Self::Whole, _) => {}
            (Self::Members(_), []) => *self = Self::Whole,
            (Self::Members(members), [first, rest @ ..]) => {
                members.entry((*first).to_owned()).or_insert(Self::NOTHING).add(rest);
            }
        }
    }
}

/// The members that lead from the context to what this expression is; `None`: it's something else.
fn path(json: &Value) -> Option<Vec<&str>> {
    let (operator, argument) = only(json)?;
    match operator {
        "Var" => (argument == "context").then(Vec::new),
        "." => {
            let mut path = path(argument.get("left")?)?;
            path.push(argument.get("attr")?.as_str()?);
            Some(path)
        }
        _ => None,
    }
}

/// The member that `has` asks for in something of the context, as a path: `context.body has card.country`.
fn asked(json: &Value) -> Option<Vec<&str>> {
    let ("has", argument) = only(json)? else { return None };
    let mut path = path(argument.get("left")?)?;
    match argument.get("attr")? {
        Value::String(name) => path.push(name),
        Value::Array(names) => {
            for name in names {
                path.push(name.as_str()?);
            }
        }
        _ => return None,
    }
    Some(path)
}

/// The one member of an object: an expression's operator, and what it's applied to.
fn only(json: &Value) -> Option<(&str, &Value)> {
    let mut members = json.as_object()?.iter();
    let (operator, argument) = members.next()?;
    members.next().is_none().then_some((operator, argument))
}

#[cfg(test)]
mod tests {
    use cedar_policy::Policy;
    use serde_json::json;

    use super::*;

    fn looks(conditions: &str) -> Looks {
        let policy = Policy::parse(None, format!("permit (principal, action, resource) {conditions};"));
        Looks::of(&policy.unwrap().to_json().unwrap()["conditions"])
    }

    /// `{"body": {"amount": {}}}`; `*` is all of it.
    fn written(looks: &Looks) -> Value {
        match looks {
            Looks::Whole => json!("*"),
            Looks::Members(members) => {
                members.iter().map(|(name, looks)| (name.clone(), written(looks))).collect()
            }
        }
    }

    #[test]
    fn what_is_named_is_looked_at() {
        for (conditions, known) in [
            ("", json!({})),
            ("when { true }", json!({})),
            ("when { principal.name == \"context\" }", json!({})),
            ("when { context.body.amount > 5 }", json!({ "body": { "amount": "*" } })),
            ("when { context[\"body\"][\"a b\"] }", json!({ "body": { "a b": "*" } })),
            (
                "when { context.body.amount > 5 } unless { context.door == \"tool\" }",
                json!({ "body": { "amount": "*" }, "door": "*" }),
            ),
            ("when { context has tool }", json!({ "tool": "*" })),
            ("when { context.body has card.country }", json!({ "body": { "card": { "country": "*" } } })),
            ("when { context.body has \"a.b\" }", json!({ "body": { "a.b": "*" } })),
            (
                "when { if context.body has x then context.body.y.z else context.now < datetime(\"2020-01-01\") }",
                json!({ "body": { "x": "*", "y": { "z": "*" } }, "now": "*" }),
            ),
            (
                "when { context.approval.approvers.contains(\"ann\") }",
                json!({ "approval": { "approvers": "*" } }),
            ),
            ("when { [context.a, 1].contains(2) || {x: context.b}.x }", json!({ "a": "*", "b": "*" })),
        ] {
            assert_eq!(written(&looks(conditions)), known, "{conditions}");
        }
    }

    #[test]
    fn what_is_used_as_a_whole_is_kept_as_a_whole() {
        for (conditions, known) in [
            ("when { context == {} }", json!("*")),
            ("when { context.body.x && [context].isEmpty() }", json!("*")),
            ("when { context.body == {} }", json!({ "body": "*" })),
            ("when { context.body.x == 1 && context.body == {} }", json!({ "body": "*" })),
            ("when { context.body == {} && context.body.x == 1 }", json!({ "body": "*" })),
            ("when { {x: context.body}.x.y }", json!({ "body": "*" })),
            ("when { (if true then context else {body: {x: 1}}).body.x == 1 }", json!("*")),
            ("when { (if true then context else {body: {x: 1}}) has body }", json!("*")),
        ] {
            assert_eq!(written(&looks(conditions)), known, "{conditions}");
        }
    }

    #[test]
    fn what_lies_deep_is_kept_as_a_whole() {
        let context = json!({ "Var": "context" });
        let below = |left: Value, _| json!({ ".": { "left": left, "attr": "a" } });
        let known = (0..MEMBERS_DEPTH_MAX).fold(json!("*"), |known, _| json!({ "a": known }));
        for expression in [
            (0..100).fold(context.clone(), below),
            json!({ "has": { "left": context, "attr": vec!["a"; 600] } }),
        ] {
            assert_eq!(written(&Looks::of(&expression)), known);
        }
    }

    #[test]
    fn policies_together_look_at_what_each_does() {
        let mut all = Looks::NOTHING;
        for conditions in
            ["when { context.body.a }", "when { context.body.b.c }", "when { context has tool }"]
        {
            all.and(&looks(conditions));
        }
        assert_eq!(written(&all), json!({ "body": { "a": "*", "b": { "c": "*" } }, "tool": "*" }));
        all.and(&looks("when { context.body == {} }"));
        assert_eq!(written(&all), json!({ "body": "*", "tool": "*" }));
        all.and(&Looks::Whole);
        assert_eq!(all, Looks::Whole);
    }
}
