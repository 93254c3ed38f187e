//! What facts have to be, to be a question: asked with the keys of its kind alone, about what a host would put to the
//! policies. A slip in them is an error and no denial, which a table of verdicts would take for the policies' own.

use serde_json::{Map, Value};

use super::ask::Door;
use super::call::no_tool;
use super::names::{CALL, RUN_CODE};
use super::{CostFacts, Facts, Policy, is_api_resource};
use crate::catalog::SANDBOX_TOOL;
use crate::dto::{Arguments, InputSchema};
use crate::ids::ToolName;
use crate::json;

impl Facts {
    /// Refuses a key that says nothing about this kind of question.
    pub(super) fn check_keys(&self) -> Result<(), String> {
        let kinds = [
            ("operation", self.operation.is_some()),
            ("call", self.call.is_some()),
            ("code", self.code.is_some()),
            ("api", self.api.is_some()),
            ("approve", self.approve.is_some()),
        ];
        let mut asked = kinds.into_iter().filter(|(_, is_given)| *is_given).map(|(kind, _)| kind);
        // That there's one of them is said elsewhere.
        let (Some(kind), None) = (asked.next(), asked.next()) else { return Ok(()) };
        let keys: [(&str, bool, &[&str]); 11] = [
            ("door", self.door != Door::Tool, &["operation"]),
            ("tool", self.tool.is_some(), &["operation"]),
            ("path", !self.path.is_empty(), &["operation"]),
            ("query", !self.query.is_empty(), &["operation"]),
            ("body", !self.body.is_empty(), &["operation"]),
            ("approvers", self.approvers.is_some(), &["operation", "call", "code", "api"]),
            ("arguments", !self.arguments.is_empty(), &["call"]),
            ("bytes", self.bytes.is_some(), &["code"]),
            ("action", self.action.is_some(), &["api", "approve"]),
            ("operator", self.operator.is_some(), &["approve"]),
            ("cost", self.cost.is_some(), &["approve"]),
        ];
        match keys.into_iter().find(|(_, is_given, of)| *is_given && !of.contains(&kind)) {
            None => Ok(()),
            Some((key, _, of)) => {
                Err(format!("`{key}` goes with `{}`, and not with `{kind}`: take it out", of.join("` or `")))
            }
        }
    }
}

impl Policy {
    /// The arguments as a call of this tool has them when it's put to the policies: those that its input schema takes.
    pub(super) fn arguments(
        &self,
        tool: &ToolName,
        given: &Map<String, Value>,
    ) -> Result<Map<String, Value>, String> {
        if tool.as_str() == SANDBOX_TOOL {
            return Err(format!("{tool} isn't called, it runs code: ask with `code` and `bytes`"));
        }
        let set = self.inner.set.load();
        let known = set.world.tool(tool).ok_or_else(|| no_tool(tool))?;
        let schema = InputSchema::parse(&known.input.to_string())
            .map_err(|error| format!("the input schema of {tool} can't be used: {error}"))?;
        let text = json::text(&Value::Object(given.clone()));
        let arguments =
            Arguments::parse(text.as_bytes(), &schema).map_err(|error| format!("{tool}: {error}"))?;
        // By INVARIANT (arguments) they are an object.
        Ok(arguments.value().as_object().cloned().unwrap_or_default())
    }

    /// Refuses an `approve` that no operator could be asked: an operation costs what it costs, and has no other action.
    pub(super) fn check_approve(&self, facts: &Facts, name: &str) -> Result<(), String> {
        let is_api = name.starts_with("api://");
        match &facts.action {
            Some(_) if is_api => check_api(name)?,
            None if is_api => {
                return Err(
                    "`approve` of an `api://…` resource needs an `action` as well, as \"read\"".to_owned()
                );
            }
            Some(_) => return Err(format!("`action` goes with an `api://…` resource, not with {name:?}")),
            None => {}
        }
        let is_operation = !is_api && name != RUN_CODE && !name.starts_with(CALL);
        match (&facts.cost, self.operation(&facts.realm(), name)) {
            (None, Ok((_, operation))) if operation.cost.is_some() => Err(format!(
                "{name} has a cost, which policies see: add it, as `cost = {{ amount = 500, currency = \"usd\" }}`"
            )),
            (None, _) => Ok(()),
            (Some(cost), Ok((_, operation))) if operation.cost.is_some() => check_cost(cost),
            (Some(_), Err(error)) if is_operation => Err(error),
            (Some(_), _) => Err(format!("{name} has no cost: take `cost` out")),
        }
    }
}

/// Refuses the name of what is no sandbox's tool: they all have one name, whether or not there's a sandbox here.
pub(super) fn check_sandbox(tool: &ToolName) -> Result<(), String> {
    if tool.as_str() == SANDBOX_TOOL {
        return Ok(());
    }
    Err(format!("{tool} is no sandbox's tool, so no code runs there: write `code = \"{SANDBOX_TOOL}\"`"))
}

/// Refuses a resource that the enforcement point refuses.
pub(super) fn check_api(url: &str) -> Result<(), String> {
    if is_api_resource(url) {
        return Ok(());
    }
    Err(format!(
        "{url:?} is no resource: write it as \"api://tasks/7\", without escapes, query and empty segments"
    ))
}

fn check_cost(cost: &CostFacts) -> Result<(), String> {
    let is_currency = cost.currency.len() == 3 && cost.currency.bytes().all(|b| b.is_ascii_lowercase());
    if is_currency && cost.amount >= 0 {
        return Ok(());
    }
    Err("`cost` has an `amount` of at least 0 (cents), and a `currency` of three letters in lower case"
        .to_owned())
}
