//! A question's context, as policies see it.

use cedar_policy::{Context, RestrictedExpression as Expression};
use serde_json::{Map, Value};

use super::kinds::{Record, Unfit};
use super::looks::Looks;
use super::names;
use super::nulls::nulls;
use super::question::{AgentFacts, Question, What, Who};
use super::world::World;
use crate::connection::Cost;
use crate::ids::{Digest, ToolName};

/// The approval that a question is asked with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Approval<'a> {
    pub(super) granted: bool,
    pub(super) count: u32,
    pub(super) approvers: &'a [String],
}

/// Why there is no context: the question can't be decided, so the answer is no.
#[derive(Debug, thiserror::Error)]
pub(super) enum ContextError {
    #[error("the policies weren't loaded with {0}")]
    Unknown(String),
    #[error("{0}")]
    Unfit(#[from] Unfit),
    #[error("{0}")]
    Cedar(String),
}

/// Builds so much of the context as is looked at. What isn't of its type is refused, whether they look at it or not; a number
/// that they couldn't compare, where they do.
pub(super) fn context(
    question: &Question<'_>,
    world: &World,
    approval: Approval<'_>,
    looks: &Looks,
) -> Result<Context, ContextError> {
    let mut pairs = Pairs { looks, made: Vec::new() };
    pairs.text("environment", question.realm.environment.as_str());
    pairs.add("now", || Expression::new_datetime(question.now.to_string()));
    if let Who::Agent(agent) = question.who {
        pairs.agent(&agent);
    }
    match question.what {
        What::Send { connection, operation, parameters, cost, door, tool, .. } => {
            let typed = world
                .operation(&connection.name, &operation.name)
                .ok_or_else(|| ContextError::Unknown(format!("{}:{}", connection.name, operation.name)))?;
            if typed.operation.effect != operation.effect {
                let effect = operation.effect.as_str();
                let known =
                    format!("{}:{} as an operation of effect {effect}", connection.name, operation.name);
                return Err(ContextError::Unknown(known));
            }
            pairs.text("door", door.as_str());
            pairs.optional("tool", tool.map(|tool| tool.as_str()));
            pairs.approval(approval)?;
            pairs.cost(cost)?;
            let customer = operation.customer.as_ref().and_then(|place| place.value(parameters));
            pairs.optional("customer", customer.and_then(Value::as_str));
            pairs.typed("path", &typed.path, &parameters.path)?;
            pairs.typed("query", &typed.query, &parameters.query)?;
            pairs.typed("body", &typed.body, &parameters.body)?;
            pairs.nulls(&typed.body, &parameters.body);
        }
        What::Call { tool, component, arguments, .. } => {
            let typed = world
                .tool(tool)
                .filter(|known| component.is_none_or(|digest| digest == known.component))
                .ok_or_else(|| ContextError::Unknown(format!("this version of the tool {tool}")))?;
            match arguments {
                Some(arguments) => pairs.typed("arguments", &typed.arguments, arguments)?,
                None if looks.member("arguments").is_none() => {}
                None => return Err(Unfit { at: "arguments".to_owned(), rule: "aren't known" }.into()),
            }
            pairs.approval(approval)?;
        }
        What::Code { tool, component, bytes, .. } => {
            if !knows_sandbox(world, tool, component) {
                return Err(ContextError::Unknown(format!("this version of the sandbox's tool {tool}")));
            }
            pairs.add("bytes", || Expression::new_long(bytes));
            pairs.approval(approval)?;
        }
        What::Api { action, .. } => {
            pairs.text("action", action);
            pairs.approval(approval)?;
        }
        What::Approve { about, effect, cost, requester, role } => {
            let tenant = &question.realm.tenant;
            pairs.text("operation", &about.word());
            pairs.text("effect", effect.as_str());
            pairs.cost(cost)?;
            pairs.add("requester", || Expression::new_entity_uid(names::agent(tenant, requester)));
            if let Some(role) = role {
                pairs.add("role", || Expression::new_entity_uid(names::role(tenant, role)));
            }
        }
    }
    Context::from_pairs(pairs.made).map_err(|error| ContextError::Cedar(error.to_string()))
}

/// A component that is to run must be the one that the policies were loaded with. The context has nothing of its own
/// from it, so a question that names none can be answered anywhere.
fn knows_sandbox(world: &World, tool: &ToolName, component: Option<Digest>) -> bool {
    component.is_none_or(|digest| world.sandbox(tool) == Some(digest))
}

/// The members of a context that are looked at.
struct Pairs<'l> {
    looks: &'l Looks,
    made: Vec<(String, Expression)>,
}

impl Pairs<'_> {
    fn add(&mut self, name: &str, value: impl FnOnce() -> Expression) {
        if self.looks.member(name).is_some() {
            self.made.push((name.to_owned(), value()));
        }
    }

    fn text(&mut self, name: &str, value: &str) {
        self.add(name, || Expression::new_string(value.to_owned()));
    }

    fn optional(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    fn agent(&mut self, agent: &AgentFacts<'_>) {
        self.optional("conversation", agent.conversation);
        self.optional("task", agent.task);
        self.optional("turn", agent.turn);
        self.optional("intent", agent.intent);
        self.optional("user", agent.user);
        self.text("token", agent.token);
        self.add("depth", || Expression::new_long(agent.depth.into()));
    }

    fn approval(&mut self, approval: Approval<'_>) -> Result<(), ContextError> {
        self.record("approval", || {
            let approvers = approval.approvers.iter().map(|name| Expression::new_string(name.clone()));
            [
                ("granted", Expression::new_bool(approval.granted)),
                ("count", Expression::new_long(approval.count.into())),
                ("approvers", Expression::new_set(approvers)),
            ]
        })
    }

    fn cost(&mut self, cost: Option<&Cost>) -> Result<(), ContextError> {
        let Some(cost) = cost else { return Ok(()) };
        self.record("cost", || {
            [
                ("amount", Expression::new_long(cost.amount_minor)),
                ("currency", Expression::new_string(cost.currency.clone())),
            ]
        })
    }

    /// A record of few members, made whole.
    fn record<const N: usize>(
        &mut self,
        name: &str,
        members: impl FnOnce() -> [(&'static str, Expression); N],
    ) -> Result<(), ContextError> {
        if self.looks.member(name).is_some() {
            let members = members().map(|(name, value)| (name.to_owned(), value));
            let record = Expression::new_record(members).map_err(|e| ContextError::Cedar(e.to_string()))?;
            self.made.push((name.to_owned(), record));
        }
        Ok(())
    }

    /// Where the body holds null, of an operation whose body may.
    fn nulls(&mut self, kind: &Record, body: &Map<String, Value>) {
        if kind.has_nullable() {
            self.add("nulls", || Expression::new_set(nulls(body).into_iter().map(Expression::new_string)));
        }
    }

    /// What the caller gave, of its declared type.
    fn typed(&mut self, name: &str, kind: &Record, values: &Map<String, Value>) -> Result<(), Unfit> {
        let value = kind.value(name, values, self.looks.member(name))?;
        self.made.extend(value.map(|value| (name.to_owned(), value)));
        Ok(())
    }
}
