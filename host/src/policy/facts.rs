//! A decided question as plain data: what `policy explain` and `policy test` read, and what a replay asks again.

use jiff::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::ask::{Door, SendAsk, Via};
use super::call::{CallContext, Invocation};
use super::decide::code_bytes;
use super::enforce::Enforced;
use super::fit::{check_api, check_sandbox};
use super::names::{CALL, RUN_CODE};
use super::question::{AgentFacts, Question, What, Who};
use super::set::{Decided, Ruling};
use super::{About, Policy, grants};
use crate::auth::Caller;
use crate::catalog::SANDBOX_TOOL;
use crate::clock::Millis;
use crate::connection::{Cost, Effect, Parameters, TypedSend};
use crate::ids::{
    AgentId, ConversationId, Environment, IntentId, Realm, RoleName, TenantId, TokenId, ToolName, TurnId,
    UserId,
};
use crate::json;
use crate::store::ComponentKind;

/// The most bytes of a body that is written as JSON text. A connection takes less.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A question that was put to the policies, or could be. It holds a request's parameters, and so whatever the caller put
/// into them, but no credential.
///
/// Exactly one of `operation`, `call`, `code`, `api` and `approve` says what it's about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// Whose it is.
    #[serde(default = "default_tenant")]
    pub tenant: TenantId,
    /// In which environment.
    #[serde(default = "default_environment")]
    pub environment: Environment,
    /// The agent that asks; for `approve`, the one whose request it is.
    pub agent: AgentId,
    /// Its role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleName>,
    /// For `approve`: the operator who would agree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<AgentId>,
    /// The conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<ConversationId>,
    /// The turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<TurnId>,
    /// The intent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<IntentId>,
    /// What the agent is to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// The user that the token is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserId>,
    /// The token's public id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenId>,
    /// How many tokens are above it.
    #[serde(default)]
    pub depth: u32,
    /// Those above it, when the token was delegated: everyone has to be allowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub above: Vec<LinkFacts>,
    /// The time, as RFC 3339.
    #[serde(default, serialize_with = "write_time", deserialize_with = "read_time")]
    pub now: Option<Millis>,
    /// An operation, as `stripe:create_charge`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// The way that the request came.
    #[serde(default = "default_door")]
    pub door: Door,
    /// The tool that drafted the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<ToolName>,
    /// The operation's parameters in the path.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub path: Map<String, Value>,
    /// Those in the query.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub query: Map<String, Value>,
    /// Those in the body. It's read from the text of a JSON object as well: TOML has no null, and a body may.
    #[serde(default, skip_serializing_if = "Map::is_empty", deserialize_with = "read_body")]
    pub body: Map<String, Value>,
    /// Who has agreed, if the request was approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approvers: Option<Vec<AgentId>>,
    /// A tool's name: the question is whether it may be run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<ToolName>,
    /// The tool's arguments.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub arguments: Map<String, Value>,
    /// A sandbox's tool: the question is whether code may be run there. The code is no part of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<ToolName>,
    /// The code's size in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u32>,
    /// An `api://…` resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<String>,
    /// The word for what is to be done with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// An operation, as `stripe:create_charge`, a tool's call, as `call:run_command`, `run_code`, or an `api://…` resource with an
    /// `action`: the question is whether the operator may agree to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approve: Option<String>,
    /// For `approve`: what the request costs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<CostFacts>,
}

/// Someone who delegated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkFacts {
    /// The agent.
    pub agent: AgentId,
    /// Its role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleName>,
    /// What it was to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// The token's public id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenId>,
}

/// What a request costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CostFacts {
    /// The amount in the currency's minor unit.
    pub amount: i64,
    /// The currency: three letters in lower case.
    pub currency: String,
}

/// What the policies say of facts, and why. For operators: it names policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// Yes, no, or not yet.
    pub verdict: Enforced,
    /// The ids of the policies that decided, sorted.
    pub policies: Vec<String>,
    /// Why not, and the smallest rule that would allow it.
    pub cause: Option<String>,
}

impl SendAsk<'_> {
    /// The facts of this request, as the policies are asked about it.
    #[must_use]
    pub fn facts(&self, send: &TypedSend) -> Facts {
        Facts {
            approvers: self.approved.map(|approved| approved.approvers.clone()),
            now: Some(self.now),
            ..Facts::of_send(self.alive.caller(), self.context, self.via, send)
        }
    }
}

impl Invocation {
    /// The facts of this call, as the policies are asked about it.
    #[must_use]
    pub fn facts(&self) -> Facts {
        // By INVARIANT (arguments) they are an object.
        let arguments = self.arguments.value().as_object().cloned().unwrap_or_default();
        let caller = Facts {
            conversation: self.context.conversation.clone(),
            turn: self.context.turn.clone(),
            intent: self.context.intent.clone(),
            now: Some(self.now),
            ..Facts::of_caller(&self.caller)
        };
        match self.kind {
            ComponentKind::Tool => Facts { call: Some(self.tool.clone()), arguments, ..caller },
            ComponentKind::Sandbox => {
                let bytes = u32::try_from(code_bytes(&arguments)).unwrap_or(u32::MAX);
                Facts { code: Some(self.tool.clone()), bytes: Some(bytes), ..caller }
            }
        }
    }

    /// The same of code of another size, asked for as this call is.
    #[must_use]
    pub fn facts_of_code(&self, bytes: usize) -> Facts {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        Facts { code: Some(self.tool.clone()), bytes: Some(bytes), ..self.facts() }
    }
}

impl Facts {
    /// The facts of a request that nobody has approved, at no time.
    #[must_use]
    pub fn of_send(caller: &Caller, context: &CallContext, via: &Via, send: &TypedSend) -> Self {
        let parameters = send.parameters();
        Self {
            conversation: context.conversation.clone(),
            turn: context.turn.clone(),
            intent: context.intent.clone(),
            operation: Some(format!("{}:{}", send.connection_name(), send.operation_name())),
            door: via.door(),
            tool: via.tool().cloned(),
            path: parameters.path.clone(),
            query: parameters.query.clone(),
            body: parameters.body.clone(),
            now: None,
            ..Self::of_caller(caller)
        }
    }

    /// What is known of a caller, with no question yet.
    pub(super) fn of_caller(caller: &Caller) -> Self {
        Self {
            tenant: caller.realm().tenant.clone(),
            environment: caller.realm().environment.clone(),
            agent: caller.agent().clone(),
            role: caller.role().cloned(),
            operator: None,
            conversation: None,
            turn: None,
            intent: None,
            task: caller.task().map(str::to_owned),
            user: caller.user().cloned(),
            token: Some(caller.token().clone()),
            depth: grants::depth(caller),
            above: caller
                .chain()
                .skip(1)
                .map(|link| LinkFacts {
                    agent: link.agent.clone(),
                    role: link.role.clone(),
                    task: link.task.clone(),
                    token: Some(link.id.clone()),
                })
                .collect(),
            now: None,
            operation: None,
            door: Door::Tool,
            tool: None,
            path: Map::new(),
            query: Map::new(),
            body: Map::new(),
            approvers: None,
            call: None,
            arguments: Map::new(),
            code: None,
            bytes: None,
            api: None,
            action: None,
            approve: None,
            cost: None,
        }
    }

    /// Whose it is.
    #[must_use]
    pub fn realm(&self) -> Realm {
        Realm { tenant: self.tenant.clone(), environment: self.environment.clone() }
    }

    /// Everyone of the chain.
    pub(super) fn agents(&self) -> impl Iterator<Item = AgentFacts<'_>> {
        let own = (&self.agent, self.role.as_ref(), self.task.as_deref(), self.token.as_ref());
        let above = self
            .above
            .iter()
            .map(|link| (&link.agent, link.role.as_ref(), link.task.as_deref(), link.token.as_ref()));
        std::iter::once(own).chain(above).map(|(agent, role, task, token)| AgentFacts {
            agent,
            role,
            conversation: self.conversation.as_ref().map(|name| name.as_str()),
            task,
            turn: self.turn.as_ref().map(|name| name.as_str()),
            intent: self.intent.as_ref().map(|name| name.as_str()),
            user: self.user.as_ref().map(|user| user.as_str()),
            token: token.map_or("", |token| token.as_str()),
            depth: self.depth,
        })
    }
}

impl Policy {
    /// Asks the policies about facts. No grant is looked at: facts don't hold one. `now` stands in where they hold no
    /// time.
    ///
    /// # Errors
    /// A sentence that says why the facts are no question: they name no operation or tool that there is, parameters or
    /// arguments don't fit, or a key is missing, or goes with another kind of question.
    pub fn judge(&self, facts: &Facts, now: Millis) -> Result<Judged, String> {
        facts.check_keys()?;
        let (realm, now) = (facts.realm(), facts.now.unwrap_or(now));
        // An approval that nobody gave is none.
        let approvers = facts.approvers.as_deref().filter(|approvers| !approvers.is_empty());
        let decide = |what| {
            let everyone = facts.agents().map(Who::Agent);
            let questions = everyone.map(|who| Question { realm: &realm, who, now, what });
            judged(self.decide(questions, &realm).0)
        };
        match (&facts.operation, &facts.call, &facts.code, &facts.api, &facts.approve) {
            (Some(name), None, None, None, None) => {
                let (connection, operation) = self.operation(&realm, name)?;
                let parameters = Parameters {
                    path: facts.path.clone(),
                    query: facts.query.clone(),
                    body: facts.body.clone(),
                };
                let cost = operation.check(&parameters).map_err(|rule| format!("{name}: {rule}"))?;
                Ok(decide(What::Send {
                    connection: &connection,
                    operation: &operation,
                    parameters: &parameters,
                    cost: cost.as_ref(),
                    door: facts.door,
                    tool: facts.tool.as_ref(),
                    approvers,
                }))
            }
            (None, Some(tool), None, None, None) => {
                let arguments = self.arguments(tool, &facts.arguments)?;
                Ok(decide(What::Call { tool, component: None, arguments: Some(&arguments), approvers }))
            }
            (None, None, Some(tool), None, None) => {
                check_sandbox(tool)?;
                let bytes = i64::from(facts.bytes.ok_or("`code` needs `bytes`, the code's size, as 200")?);
                Ok(decide(What::Code { tool, component: None, bytes, approvers }))
            }
            (None, None, None, Some(url), None) => {
                check_api(url)?;
                let action = facts.action.as_deref().ok_or("`api` needs an `action`, as \"read\"")?;
                Ok(decide(What::Api { action, url, approvers }))
            }
            (None, None, None, None, Some(name)) => {
                let operator = facts.operator.as_ref().ok_or("`approve` needs an `operator`")?;
                self.check_approve(facts, name)?;
                // As the host has it: neither the agent that asks nor whoever handed it the token.
                let is_own = |agent: &AgentId| agent.as_str().eq_ignore_ascii_case(operator.as_str());
                if is_own(&facts.agent) || facts.above.iter().any(|link| is_own(&link.agent)) {
                    let cause = "nobody agrees to their own request, whatever the policies say";
                    return Ok(judged(Decided::no(cause.to_owned())));
                }
                let (about, effect) = self.about(&realm, name, facts.action.as_ref())?;
                let cost = facts
                    .cost
                    .as_ref()
                    .map(|cost| Cost { amount_minor: cost.amount, currency: cost.currency.clone() });
                let what = What::Approve {
                    about: &about,
                    effect,
                    cost: cost.as_ref(),
                    requester: &facts.agent,
                    role: facts.role.as_ref(),
                };
                let question = Question { realm: &realm, who: Who::Operator(operator), now, what };
                Ok(judged(self.decide([question], &realm).0))
            }
            _ => Err("write exactly one of `operation`, `call`, `code`, `api` and `approve`".to_owned()),
        }
    }

    /// What someone would agree to, and whether that changes anything. What isn't known counts as if it did.
    fn about(&self, realm: &Realm, name: &str, action: Option<&String>) -> Result<(About, Effect), String> {
        if let Some(action) = action.filter(|_| name.starts_with("api://")) {
            return Ok((About::Api { action: action.clone(), resource: name.to_owned() }, Effect::Write));
        }
        if name == RUN_CODE {
            let tool =
                SANDBOX_TOOL.parse::<ToolName>().map_err(|error| format!("{SANDBOX_TOOL}: {error}"))?;
            return Ok((About::Code { tool }, Effect::Write));
        }
        let tool = name.strip_prefix(CALL).and_then(|tool| tool.parse::<ToolName>().ok());
        if let Some(tool) = tool.filter(|tool| self.knows_tool(tool)) {
            return Ok((About::Call { tool }, Effect::Write));
        }
        let (connection, operation) = self.operation(realm, name)?;
        let names = (connection.name.clone(), operation.name.clone());
        Ok((About::Operation { connection: names.0, operation: names.1 }, operation.effect))
    }
}

pub(super) fn judged(decided: Decided) -> Judged {
    let verdict = match decided.ruling {
        Ruling::Allowed => Enforced::Allowed,
        Ruling::NeedsApproval { quorum } => Enforced::ApprovalRequired { quorum },
        Ruling::Denied => Enforced::Denied,
    };
    Judged { verdict, policies: decided.policies, cause: decided.cause }
}

#[expect(clippy::expect_used, reason = "the text is a constant of this program")]
fn default_tenant() -> TenantId {
    "default".parse().expect("a constant name is well formed")
}

#[expect(clippy::expect_used, reason = "the text is a constant of this program")]
fn default_environment() -> Environment {
    "production".parse().expect("a constant name is well formed")
}

fn default_door() -> Door {
    Door::Tool
}

#[expect(clippy::ref_option, reason = "serde's signature")]
fn write_time<S: Serializer>(time: &Option<Millis>, to: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.to_string()).serialize(to)
}

fn read_body<'de, D: Deserializer<'de>>(from: D) -> Result<Map<String, Value>, D::Error> {
    let body = match Value::deserialize(from)? {
        Value::String(text) => json::parse(text.as_bytes(), BODY_BYTES_MAX).map_err(|error| {
            D::Error::custom(format!("`body`: a string here is the text of a JSON object, and {error}"))
        })?,
        body => body,
    };
    match body {
        Value::Object(body) => Ok(body),
        _ => Err(D::Error::custom("`body` is no object: write a table, or the text of a JSON object")),
    }
}

fn read_time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Millis>, D::Error> {
    let Some(text) = Option::<String>::deserialize(from)? else { return Ok(None) };
    let time: Timestamp = text.parse().map_err(|_| {
        D::Error::custom(format!("{text:?} is no time: write it as \"2026-01-31T12:00:00Z\""))
    })?;
    Ok(Some(Millis(time.as_millisecond())))
}
