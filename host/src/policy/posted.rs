//! A policy as it's posted (actions, `api://…` resources, an effect, constraints) → Cedar text.

use serde::{Deserialize, Serialize};

use super::names::{self, quoted};
use crate::ids::{AgentId, RoleName, TenantId};
use crate::json::object;
use crate::text::is_line;

/// The longest name, in characters.
const NAME_CHARS_MAX: usize = 128;
/// At most so many actions, resources or agents in one policy.
const LIST_MAX: usize = 100;
/// The longest action, in bytes.
const ACTION_BYTES_MAX: usize = super::ACTION_BYTES_MAX;

/// A policy as it's posted. An unknown or repeated member is an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostedPolicy {
    /// What its author calls it.
    pub name: String,
    /// Words for what is done.
    pub actions: Vec<String>,
    /// `api://…`; a `*` as the last segment stands for everything below.
    pub resources: Vec<String>,
    /// Allow or deny.
    pub effect: PostedEffect,
    /// What else has to hold.
    #[serde(default, deserialize_with = "object::option", skip_serializing_if = "Option::is_none")]
    pub constraints: Option<Constraints>,
    /// For agents of this role only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleName>,
    /// For these agents only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agents: Option<Vec<AgentId>>,
}

/// What a posted policy does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PostedEffect {
    /// It allows, unless something denies.
    Allow,
    /// It denies, whatever else allows.
    Deny,
}

/// What else has to hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Constraints {
    /// A person has to agree first, whichever policy allows it.
    #[serde(default)]
    pub requires_approval: bool,
    /// How many tasks each of its agents may have under way at once. A task is a call of the host: of a tool, code that
    /// it wrote, or a request at the proxy door. Of what an agent's own code does after it has asked, the host doesn't
    /// see the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_concurrent_tasks: Option<u32>,
}

impl PostedPolicy {
    /// The Cedar text: it can speak of nothing but this tenant's agents and `api://…` resources, whatever the members
    /// hold.
    ///
    /// # Errors
    /// A sentence that says what to change.
    pub fn cedar(&self, tenant: &TenantId) -> Result<String, String> {
        self.check()?;
        let constraints = self.constraints.unwrap_or_default();
        let actions: Vec<_> = self.actions.iter().map(|action| quoted(action)).collect();
        let resources: Vec<_> = self
            .resources
            .iter()
            .map(|resource| format!("resource.url like {}", pattern(resource)))
            .collect();
        let when =
            format!("[{}].contains(context.action) && ({})", actions.join(", "), resources.join(" || "));
        let effect = match self.effect {
            PostedEffect::Allow => "permit",
            PostedEffect::Deny => "forbid",
        };
        let mut text = String::new();
        for principal in self.principals(tenant) {
            let scope = format!("({principal}, action == Action::\"api\", resource is Api)");
            text += &format!("{effect} {scope}\nwhen {{ {when} }};\n");
            if constraints.requires_approval {
                // Apart from the permit: another policy's permit must not make a person's yes unnecessary.
                text +=
                    &format!("forbid {scope}\nwhen {{ {when} }}\nunless {{ context.approval.granted }};\n");
            }
        }
        Ok(text)
    }

    fn principals(&self, tenant: &TenantId) -> Vec<String> {
        match (&self.role, &self.agents) {
            (_, Some(agents)) => {
                agents.iter().map(|agent| format!("principal == {}", names::agent(tenant, agent))).collect()
            }
            (Some(role), None) => vec![format!("principal in {}", names::role(tenant, role))],
            (None, None) => vec![format!("principal in {}", names::tenant(tenant))],
        }
    }

    fn check(&self) -> Result<(), String> {
        if !is_line(&self.name, NAME_CHARS_MAX) {
            return Err("the name is not one line of 1 to 128 printable characters".to_owned());
        }
        if self.role.is_some() && self.agents.is_some() {
            return Err("give a role or agents, not both: write two policies".to_owned());
        }
        let agents = self.agents.as_ref().map_or(1, Vec::len);
        for (what, count) in
            [("actions", self.actions.len()), ("resources", self.resources.len()), ("agents", agents)]
        {
            if !(1..=LIST_MAX).contains(&count) {
                return Err(format!("name 1 to {LIST_MAX} {what}"));
            }
        }
        let constraints = self.constraints.unwrap_or_default();
        if constraints.requires_approval && self.effect == PostedEffect::Deny {
            return Err(
                "what is denied needs no approval: leave requiresApproval out, or allow it".to_owned()
            );
        }
        if constraints.max_concurrent_tasks.is_some() && self.effect == PostedEffect::Deny {
            return Err("what is denied never runs: leave maxConcurrentTasks out, or allow it".to_owned());
        }
        for action in &self.actions {
            // A star would look like "any action" and be none.
            if action.contains('*') || action.len() > ACTION_BYTES_MAX || !is_line(action, ACTION_BYTES_MAX) {
                return Err(format!("{:?} is no action: name each as one word, as \"read\"", cut(action)));
            }
        }
        for resource in &self.resources {
            let plain = match resource.strip_suffix('*') {
                None => is_api_resource(resource),
                // `api://tasks/*` and `api://*`, not `api://task*`.
                Some(below) => below == "api://" || (below.ends_with('/') && is_api_resource(below)),
            };
            if !plain {
                return Err(format!(
                    "{:?} is no resource: write it as \"api://tasks/7\", or \"api://tasks/*\" for everything below",
                    cut(resource)
                ));
            }
        }
        Ok(())
    }
}

/// Whether a text is an `api://…` resource in its one spelling: visible ASCII, no empty or dot segments, no escapes, no
/// query. So what a policy matches is what the enforcement point acts on.
#[must_use]
pub fn is_api_resource(text: &str) -> bool {
    let Some(path) = text.strip_prefix("api://") else { return false };
    let path = path.strip_suffix('/').unwrap_or(path);
    text.len() <= super::RESOURCE_BYTES_MAX
        && path.bytes().all(|b| b.is_ascii_graphic() && !b"\"\\<>{}|^`%?#*".contains(&b))
        && path.split('/').all(|segment| !segment.is_empty() && segment != "." && segment != "..")
}

/// A resource as a pattern of `like`. It holds no star but the last, and nothing that needs an escape.
fn pattern(resource: &str) -> String {
    format!("\"{resource}\"")
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use cedar_policy::{Effect, PolicySet};

    use super::*;

    fn posted(actions: &[&str], resources: &[&str], effect: PostedEffect) -> PostedPolicy {
        PostedPolicy {
            name: "Executor Capabilities".to_owned(),
            actions: actions.iter().map(|&action| action.to_owned()).collect(),
            resources: resources.iter().map(|&resource| resource.to_owned()).collect(),
            effect,
            constraints: None,
            role: None,
            agents: None,
        }
    }

    fn acme() -> TenantId {
        "acme".parse().unwrap()
    }

    /// The number of policies by effect.
    fn parsed(text: &str) -> (usize, usize) {
        let set: PolicySet = text.parse().unwrap_or_else(|error| panic!("{error:?}\n{text}"));
        let permits = set.policies().filter(|policy| policy.effect() == Effect::Permit).count();
        (permits, set.policies().count() - permits)
    }

    #[test]
    fn a_posted_policy_reads_as_cedar() {
        let allow = posted(&["read", "plan"], &["api://tasks/*", "api://workflows/1"], PostedEffect::Allow);
        assert_eq!(
            allow.cedar(&acme()).unwrap(),
            "permit (principal in Tenant::\"acme\", action == Action::\"api\", resource is Api)\nwhen { [\"read\", \
             \"plan\"].contains(context.action) && (resource.url like \"api://tasks/*\" || resource.url like \
             \"api://workflows/1\") };\n"
        );
        let role = PostedPolicy { role: Some("planner".parse().unwrap()), ..allow.clone() };
        assert!(role.cedar(&acme()).unwrap().contains("principal in Role::\"acme/planner\""));
        let agents = Some(vec!["a".parse().unwrap(), "b@x".parse().unwrap()]);
        let agents = PostedPolicy { agents, ..allow.clone() };
        assert_eq!(parsed(&agents.cedar(&acme()).unwrap()), (2, 0));
        let constraints = Some(Constraints { requires_approval: true, max_concurrent_tasks: Some(5) });
        let approved = PostedPolicy { constraints, ..allow.clone() };
        assert_eq!(parsed(&approved.cedar(&acme()).unwrap()), (1, 1));
        let deny = PostedPolicy { effect: PostedEffect::Deny, ..allow };
        assert_eq!(parsed(&deny.cedar(&acme()).unwrap()), (0, 1));
    }

    #[test]
    fn nothing_that_is_posted_breaks_out_of_its_quotes() {
        for hostile in [
            "read\"].contains(context.action) || true }; permit (principal, action, resource); //",
            "\\",
            "\\\"",
            "\"",
            "'",
            "a\\u{22}",
            "é",
            "日本",
            "// x",
            "${x}",
            "a b",
        ] {
            let policy = posted(&[hostile], &["api://tasks/*"], PostedEffect::Allow);
            let named = PostedPolicy { name: hostile.to_owned(), ..policy };
            assert_eq!(parsed(&named.cedar(&acme()).unwrap()), (1, 0), "{hostile:?}");
        }
        for unprintable in ["read\n", "a\rb", "\0", "\u{202e}", "\u{2028}", "", " ", "*", "re*"] {
            let policy = posted(&[unprintable], &["api://tasks/*"], PostedEffect::Allow);
            assert!(policy.cedar(&acme()).unwrap_err().contains("is no action"), "{unprintable:?}");
            let named = PostedPolicy {
                name: unprintable.to_owned(),
                ..posted(&["read"], &["api://tasks/*"], PostedEffect::Allow)
            };
            assert_eq!(named.cedar(&acme()).is_ok(), unprintable.contains('*'), "{unprintable:?}");
        }
    }

    #[test]
    fn resources_have_one_spelling() {
        for good in ["api://tasks", "api://tasks/", "api://tasks/execute/7", "api://a/b@c:1,2;x=y!$&'()+~_-."]
        {
            assert!(is_api_resource(good), "{good}");
        }
        for bad in [
            "",
            "tasks/1",
            "api:/tasks",
            "api://",
            "api:///",
            "API://tasks",
            "api://tasks//1",
            "api://tasks/../admin",
            "api://tasks/./1",
            "api://..",
            "api://tasks/%2e%2e/admin",
            "api://tasks/a%2fb",
            "api://tasks\\1",
            "api://tasks/1?x",
            "api://tasks/1#x",
            "api://tasks/*",
            "api://tasks/a b",
            "api://tasks/\"",
            "api://tasks/é",
            "api://tasks/\n",
            "https://tasks/1",
            "connection://stripe",
        ] {
            assert!(!is_api_resource(bad), "{bad:?}");
        }
        for pattern in ["api://tasks/*", "api://*", "api://tasks/1"] {
            assert!(posted(&["read"], &[pattern], PostedEffect::Allow).cedar(&acme()).is_ok(), "{pattern}");
        }
        for pattern in [
            "*",
            "api://task*",
            "api://*/1",
            "api://tasks/**",
            "api://tasks/../*",
            "api:*",
            "api://tasks/\"*",
        ] {
            let error = posted(&["read"], &[pattern], PostedEffect::Allow).cedar(&acme()).unwrap_err();
            assert!(error.contains("is no resource"), "{pattern}: {error}");
        }
    }

    #[test]
    fn what_is_meaningless_is_refused() {
        let allow = posted(&["read"], &["api://tasks/*"], PostedEffect::Allow);
        let constraints = Some(Constraints { requires_approval: true, max_concurrent_tasks: None });
        for (policy, hint) in [
            (posted(&[], &["api://tasks/*"], PostedEffect::Allow), "actions"),
            (posted(&["read"], &[], PostedEffect::Allow), "resources"),
            (PostedPolicy { agents: Some(Vec::new()), ..allow.clone() }, "agents"),
            (
                PostedPolicy {
                    agents: Some(vec!["a".parse().unwrap()]),
                    role: Some("r".parse().unwrap()),
                    ..allow.clone()
                },
                "not both",
            ),
            (PostedPolicy { constraints, effect: PostedEffect::Deny, ..allow.clone() }, "needs no approval"),
            (
                PostedPolicy {
                    constraints: Some(Constraints {
                        max_concurrent_tasks: Some(1),
                        ..Constraints::default()
                    }),
                    effect: PostedEffect::Deny,
                    ..allow.clone()
                },
                "never runs",
            ),
            (posted(&["read"; 101], &["api://tasks/*"], PostedEffect::Allow), "1 to 100 actions"),
        ] {
            let error = policy.cedar(&acme()).unwrap_err();
            assert!(error.contains(hint), "{error}");
        }
    }
}
