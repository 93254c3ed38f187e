//! What an approver reads: made by the host from the typed parameters, never from anyone's description of them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::code::{self, CodeBlock, ShownCode, TooLong};
use super::shown;
use crate::auth::Caller;
use crate::catalog::SANDBOX_TOOL;
use crate::connection::{Cost, Effect, Operation, Parameters, TypedSend};
use crate::egress::CanonicalBody;
use crate::ledger::money;
use crate::policy::{About, CallContext, EnforceSubject, Facts, Invocation, Via};
use crate::store::ComponentKind;

/// At most so many parameters and headers of a request are shown, so that the important ones don't scroll away. Of a call's
/// arguments all are.
const LINES_MAX: usize = 60;
/// The width of the text form: it breaks its lines itself, with a mark, so that no value can choose where a terminal
/// breaks them. Terminals have 80 columns or more.
const WIDTH: usize = 76;
/// Begins what continues the line before.
const CONTINUED: &str = "      | ";

/// A request as an approver reads it. Every text in it is printable ASCII on one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rendering {
    /// The connection's name. Empty for what isn't done through one.
    pub connection: String,
    /// The upstream's base URL; what is acted on, where there's no connection. Empty for a tool's call and for code.
    pub upstream: String,
    /// The operation's name; the word for what is to be done, where there's no connection: `call:run_command` and `run_code`
    /// for a tool's call and for code.
    pub operation: String,
    /// Its method and path template: `POST /v1/charges`. Empty where there's no connection.
    pub request: String,
    /// Whether it changes anything upstream.
    pub effect: Effect,
    /// What it costs, if the operation has a cost rule: `12.34 EUR (1234 minor units)`.
    pub amount: Option<String>,
    /// The customer whom it concerns, if the operation says where that is.
    pub customer: Option<String>,
    /// Every parameter and header that the caller chose: those of the path, the query and the body, then the headers,
    /// then what lies inside lists and objects.
    pub parameters: Vec<Shown>,
    /// How many more there are.
    pub left_out: u32,
    /// The tool that is called, or that runs code. None: it's neither.
    #[serde(default)]
    pub tool: Option<String>,
    /// All the code that is run, block by block.
    #[serde(default)]
    pub code: Vec<ShownCode>,
    /// What is known of a body that has no parameters.
    pub raw_body: Option<String>,
    /// Who asks: what the host knows from the token.
    pub asked_by: AskedBy,
    /// What the agent or its operator wrote. The host hasn't checked it and doesn't act on it.
    pub words: Vec<Shown>,
}

/// What is kept, sealed, of a request: for those who decide it, and for the policy that says who they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Note {
    /// What approvers read.
    pub rendering: Rendering,
    /// What it costs.
    pub cost: Option<Cost>,
    /// The request as the policies are asked about it, so that they can be asked whether those who have agreed are
    /// enough.
    pub facts: Facts,
    /// The same of each further block of code: they have to be enough for every one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub more: Vec<Facts>,
}

/// A name and its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shown {
    /// `body.amount`, for example.
    pub name: String,
    /// A number, `true`, `false`, `null`, or a text in quotes.
    pub value: String,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskedBy {
    /// Tenant and environment.
    pub realm: String,
    /// The agent.
    pub agent: String,
    /// Its role.
    pub role: Option<String>,
    /// The id of its token.
    pub token: String,
    /// The tool that drafted the request. None: it came through the proxy door, or is a question.
    pub tool: Option<String>,
    /// Whether an enforcement point asks: then the host doesn't do it, but the agent's own code.
    pub question: bool,
}

impl Rendering {
    /// Renders a request.
    #[must_use]
    pub fn of(caller: &Caller, context: &CallContext, via: &Via, send: &TypedSend) -> Self {
        let operation = send.operation();
        let headers = send.request().headers().iter().map(|(name, value)| Shown {
            name: format!("header.{}", shown::name(name.as_str())),
            value: shown::text(&String::from_utf8_lossy(value.as_bytes())),
        });
        let (parameters, left_out) = parameters(send.parameters(), headers);
        Self {
            connection: shown::name(send.connection_name().as_str()),
            upstream: shown::text(&send.connection().base.to_string()),
            operation: shown::name(operation.name.as_str()),
            request: format!(
                "{} {}",
                shown::name(operation.method.as_str()),
                shown::name(&operation.path.to_string())
            ),
            effect: operation.effect,
            amount: send.cost().map(amount),
            customer: customer(operation, send.parameters()),
            parameters,
            left_out,
            tool: None,
            code: Vec::new(),
            raw_body: raw_body(send),
            asked_by: AskedBy { tool: via.tool().map(ToString::to_string), ..AskedBy::of(caller) },
            words: words(caller, context),
        }
    }

    /// Renders a question of an enforcement point.
    #[must_use]
    pub fn of_question(caller: &Caller, context: &CallContext, subject: &EnforceSubject) -> Self {
        let known = subject.operation.as_ref();
        let (connection, upstream) = known.map_or_else(Default::default, |(connection, _)| {
            (shown::name(connection.name.as_str()), shown::text(&connection.base.to_string()))
        });
        let (request, customer) = known.map_or_else(Default::default, |(_, operation)| {
            let method = shown::name(operation.method.as_str());
            let request = format!("{method} {}", shown::name(&operation.path.to_string()));
            (request, customer(operation, &subject.parameters))
        });
        let (operation, upstream) = match &subject.about {
            About::Operation { operation, .. } => (shown::name(operation.as_str()), upstream),
            About::Api { action, resource } => (shown::text(action), shown::text(resource)),
            About::Call { .. } | About::Code { .. } => (shown::name(&subject.about.word()), upstream),
        };
        let (mut parameters, mut left_out) = parameters(&subject.parameters, std::iter::empty());
        if let About::Api { .. } = subject.about {
            (parameters, left_out) = flat_lines("context", &subject.said);
        }
        Self {
            connection,
            upstream,
            operation,
            request,
            effect: subject.effect,
            amount: subject.cost.as_ref().map(amount),
            customer,
            parameters,
            left_out,
            tool: None,
            code: Vec::new(),
            raw_body: None,
            asked_by: AskedBy { question: true, ..AskedBy::of(caller) },
            words: words(caller, context),
        }
    }

    /// Renders a call of a tool with its arguments, or code with all that is run: nothing of it is cut.
    pub(super) fn of_call(invocation: &Invocation, blocks: &[CodeBlock]) -> Result<Self, TooLong> {
        let Invocation { caller, context, tool, arguments, kind, .. } = invocation;
        let (about, parameters, code) = match kind {
            ComponentKind::Tool => {
                let lines = whole_lines(arguments.value());
                TooLong::check(arguments.as_str().len(), lines.len())?;
                (About::Call { tool: tool.clone() }, lines, Vec::new())
            }
            ComponentKind::Sandbox => {
                (About::Code { tool: tool.clone() }, Vec::new(), code::rendered(blocks)?)
            }
        };
        Ok(Self {
            connection: String::new(),
            upstream: String::new(),
            operation: shown::name(&about.word()),
            request: String::new(),
            // Nobody knows what it does.
            effect: Effect::Write,
            amount: None,
            customer: None,
            parameters,
            left_out: 0,
            tool: Some(shown::name(tool.as_str())),
            code,
            raw_body: None,
            asked_by: AskedBy::of(caller),
            words: words(caller, context),
        })
    }

    /// As lines for a terminal of 80 columns, none of them wider than 76.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |line: String| wrap(&line, &mut text);
        let outside = self.connection.is_empty();
        match &self.tool {
            Some(tool) if self.code.is_empty() => line(format!("call: of the tool {tool}")),
            Some(tool) => line(format!("code: that the agent wrote, to be run by {tool}")),
            None if outside => line(format!("action: {} on {}", self.operation, self.upstream)),
            None => {
                line(format!("operation: {}:{} ({})", self.connection, self.operation, self.effect.as_str()));
                line(format!("request: {} at {}", self.request, self.upstream));
            }
        }
        if self.asked_by.question {
            line("done by: the agent's own code, outside of this host".to_owned());
        }
        match &self.amount {
            Some(amount) => line(format!("amount: {amount}")),
            None if self.effect == Effect::Write && !outside => {
                line("amount: not known, since the operation has no cost rule".to_owned());
            }
            None => {}
        }
        if let Some(customer) = &self.customer {
            line(format!("customer: {customer}"));
        }
        if self.code.is_empty() {
            let what = if self.tool.is_some() { "arguments" } else { "parameters" };
            line(match self.parameters.len() {
                0 => format!("{what}: none"),
                count if self.left_out > 0 => {
                    format!("{what}: ONLY {count} SHOWN, {} MORE ARE NOT", self.left_out)
                }
                count => format!("{what}: all {count}"),
            });
        }
        for Shown { name, value } in &self.parameters {
            line(format!("  {name}: {value}"));
        }
        for (index, ShownCode { language, bytes, lines }) in self.code.iter().enumerate() {
            let (number, count) = (index + 1, self.code.len());
            line(format!("block {number} of {count}: {language}, {bytes} bytes, all {} lines", lines.len()));
            for (index, text) in lines.iter().enumerate() {
                line(format!("{:>5}: {text}", index + 1));
            }
        }
        if let Some(body) = &self.raw_body {
            line(format!("body: {body}"));
        }
        let AskedBy { realm, agent, role, token, tool, question } = &self.asked_by;
        let role = role.as_ref().map(|role| format!(" as {role}")).unwrap_or_default();
        let through = match (tool.as_deref(), question) {
            // It's the tool's call that is asked about, or the code.
            _ if self.tool.is_some() => String::new(),
            // No tool but a sandbox's has this name.
            (Some(SANDBOX_TOOL), _) => format!(" through code that it wrote itself ({SANDBOX_TOOL}),"),
            (Some(tool), _) => format!(" through the tool {tool},"),
            (None, true) => " through an enforcement point,".to_owned(),
            (None, false) => " through the proxy door,".to_owned(),
        };
        line(format!("asked by: {agent}{role},{through} with {token} of {realm}"));
        if !self.words.is_empty() {
            line("in the words of the agent or its operator, which nobody has checked:".to_owned());
            for Shown { name, value } in &self.words {
                line(format!("  {name}: {value}"));
            }
        }
        text
    }
}

impl AskedBy {
    fn of(caller: &Caller) -> Self {
        Self {
            realm: caller.realm().to_string(),
            agent: caller.agent().to_string(),
            role: caller.role().map(ToString::to_string),
            token: caller.token().to_string(),
            tool: None,
            question: false,
        }
    }
}

fn customer(operation: &Operation, parameters: &Parameters) -> Option<String> {
    let value = operation.customer.as_ref()?.value(parameters)?;
    let mut shown = String::new();
    shown::flat("", value, shown::text, &mut |_, value| shown.push_str(&value));
    Some(shown)
}

/// `12.34 EUR (1234 minor units)`. The count is there too, since an upstream may have units of its own for a currency,
/// and the count is what is sent.
fn amount(cost: &Cost) -> String {
    match u64::try_from(cost.amount_minor) {
        Ok(count) => format!("{} ({count} minor units)", money::shown(count, &cost.currency)),
        // No cost rule takes one.
        Err(_) => format!("{} minor units of {}", cost.amount_minor, shown::text(&cost.currency)),
    }
}

/// The parameters and the caller's headers, and how many of them there was no room for.
fn parameters(parameters: &Parameters, headers: impl Iterator<Item = Shown>) -> (Vec<Shown>, u32) {
    let mut plain = Vec::new();
    let mut inner = Vec::new();
    for (place, values) in
        [("path", &parameters.path), ("query", &parameters.query), ("body", &parameters.body)]
    {
        // By name: the order of the request is the agent's choice.
        let mut values: Vec<_> = values.iter().collect();
        values.sort_by_key(|(name, _)| *name);
        for (name, value) in values {
            let lines = if value.is_array() || value.is_object() { &mut inner } else { &mut plain };
            shown::flat(&format!("{place}.{}", shown::name(name)), value, shown::text, &mut |name, value| {
                lines.push(Shown { name, value });
            });
        }
    }
    plain.extend(headers);
    plain.extend(inner);
    cut(plain)
}

/// All values inside some members, and how many there was no room for.
fn flat_lines(place: &str, members: &Map<String, Value>) -> (Vec<Shown>, u32) {
    let mut lines = Vec::new();
    for (name, value) in members {
        shown::flat(&format!("{place}.{}", shown::name(name)), value, shown::text, &mut |name, value| {
            lines.push(Shown { name, value });
        });
    }
    cut(lines)
}

/// All values inside a tool's arguments, in full, in the order of their names.
fn whole_lines(arguments: &Value) -> Vec<Shown> {
    let mut lines = Vec::new();
    for (name, value) in arguments.as_object().into_iter().flatten() {
        shown::flat(&format!("arguments.{}", shown::name(name)), value, shown::whole, &mut |name, value| {
            lines.push(Shown { name, value });
        });
    }
    lines
}

fn cut(mut plain: Vec<Shown>) -> (Vec<Shown>, u32) {
    let left_out = u32::try_from(plain.len().saturating_sub(LINES_MAX)).unwrap_or(u32::MAX);
    plain.truncate(LINES_MAX);
    (plain, left_out)
}

/// A body that has no parameters isn't shown, and that is said.
fn raw_body(send: &TypedSend) -> Option<String> {
    let request = send.request();
    matches!(request.body(), CanonicalBody::Raw).then(|| {
        format!(
            "{} bytes of type {}, not shown: {}",
            request.body_bytes().len(),
            shown::text(request.content_type().unwrap_or_default()),
            crate::ids::Digest::of(request.body_bytes())
        )
    })
}

fn words(caller: &Caller, context: &CallContext) -> Vec<Shown> {
    [
        ("conversation", context.conversation.as_ref().map(|id| id.as_str())),
        ("turn", context.turn.as_ref().map(|id| id.as_str())),
        ("intent", context.intent.as_ref().map(|id| id.as_str())),
        ("task", caller.task()),
    ]
    .into_iter()
    .filter_map(|(name, word)| word.map(|word| Shown { name: name.to_owned(), value: shown::text(word) }))
    .collect()
}

/// Adds a line of ASCII, broken at the width.
fn wrap(line: &str, to: &mut String) {
    let mut room = WIDTH;
    for char in line.chars() {
        if room == 0 {
            to.push('\n');
            to.push_str(CONTINUED);
            room = WIDTH - CONTINUED.len();
        }
        to.push(char);
        room -= 1;
    }
    to.push('\n');
}

#[cfg(test)]
mod tests;
