//! `budgets.toml` → rules, or everything that is wrong with it.

use std::ops::Range;

use jiff::tz::TimeZone;
use serde::Deserialize;
use toml::Spanned;

use super::Rule;
use crate::connection::{Connections, Effect, Problem, Problems};
use crate::ledger::{Budget, SUBJECT_FORMS, Unit, Window};

/// The most budgets in the file: each is looked at for every send.
const RULES_MAX: usize = 1_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    budget: Option<Vec<Spanned<RawBudget>>>,
}

/// All texts, so that each is checked here and its problem has a place and a hint.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBudget {
    subject: Spanned<String>,
    limit: Spanned<i64>,
    unit: Spanned<String>,
    window: Spanned<String>,
    time_zone: Option<Spanned<String>>,
    tenant: Option<Spanned<String>>,
    environment: Option<Spanned<String>>,
    connection: Option<Spanned<String>>,
    operation: Option<Spanned<String>>,
    effect: Option<Spanned<String>>,
    refunds: Option<Spanned<String>>,
}

/// The rules; `None` where the text doesn't speak of budgets.
pub(super) fn read(text: &str, file: &str, connections: &Connections) -> Result<Option<Vec<Rule>>, Problems> {
    let mut reading = Reading { file, text, problems: Vec::new() };
    let raw: RawFile = match toml::from_str(text) {
        Ok(raw) => raw,
        Err(error) => {
            let span = error.span().unwrap_or(0..0);
            reading.problem(&span, "", error.message().to_owned(), None);
            return Err(Problems(reading.problems));
        }
    };
    let Some(budgets) = raw.budget else { return Ok(None) };
    let mut rules = Vec::with_capacity(budgets.len());
    if let Some(over) = budgets.get(RULES_MAX) {
        reading.problem(&over.span(), "budget", format!("there are more than {RULES_MAX} budgets"), None);
    }
    for raw in budgets {
        let span = raw.span();
        rules.extend(reading.rule(raw.into_inner(), &span, connections));
    }
    if reading.problems.is_empty() { Ok(Some(rules)) } else { Err(Problems(reading.problems)) }
}

struct Reading<'t> {
    file: &'t str,
    text: &'t str,
    problems: Vec<Problem>,
}

impl Reading<'_> {
    fn rule(&mut self, raw: RawBudget, whole: &Range<usize>, connections: &Connections) -> Option<Rule> {
        let subject = self.parse("subject", &raw.subject, Some(SUBJECT_FORMS));
        let unit = self.parse("unit", &raw.unit, None);
        let window = self.parse("window", &raw.window, None);
        let limit = u64::try_from(*raw.limit.get_ref());
        if limit.is_err() {
            let hint = "write 0 to allow nothing; leave the budget out to allow all".to_owned();
            self.problem(&raw.limit.span(), "limit", "a limit isn't negative".to_owned(), Some(hint));
        }
        let tenant = self.optional("tenant", raw.tenant.as_ref());
        let environment = self.optional("environment", raw.environment.as_ref());
        let connection = self.optional("connection", raw.connection.as_ref());
        let operation = self.optional("operation", raw.operation.as_ref());
        let effect = raw.effect.as_ref().map(|effect| self.effect(effect));
        let budget = Budget {
            limit: limit.ok()?,
            unit: unit?,
            window: window?,
            time_zone: raw.time_zone.as_ref().map(|zone| zone.get_ref().clone()),
            connection: connection?,
            operation: operation?,
            effect: match effect {
                None => None,
                Some(effect) => Some(effect?),
            },
        };
        if let Err((key, rule)) = budget.check() {
            let span = match key {
                "time_zone" => raw.time_zone.as_ref().map(Spanned::span),
                "operation" => raw.operation.as_ref().map(Spanned::span),
                _ => Some(raw.limit.span()),
            };
            self.problem(&span.unwrap_or_else(|| whole.clone()), key, rule, None);
            return None;
        }
        // A rule may be for every tenant and environment, so it's enough that some realm has what it names.
        if let Err((key, message, known)) = budget.find_names(connections, None) {
            let at = if key == "operation" { &raw.operation } else { &raw.connection };
            let span = at.as_ref().map_or_else(|| whole.clone(), Spanned::span);
            self.problem(&span, key, message, Some(known_as(&known)));
            return None;
        }
        let reopens = match &raw.refunds {
            None => false,
            Some(refunds) => self.reopens(refunds, &budget, connections)?,
        };
        let zone = budget.time_zone.as_deref().map(TimeZone::get).transpose().ok()?;
        Some(Rule { subject: subject?, tenant: tenant?, environment: environment?, reopens, budget, zone })
    }

    /// Whether refunds give room back. A budget that says so, and to which nothing ever would, is a slip.
    fn reopens(
        &mut self,
        refunds: &Spanned<String>,
        budget: &Budget,
        connections: &Connections,
    ) -> Option<bool> {
        let problem = |reading: &mut Self, message: String, hint: &str| {
            reading.problem(&refunds.span(), "refunds", message, Some(hint.to_owned()));
            None
        };
        match refunds.get_ref().as_str() {
            "keep" => return Some(false),
            "reopen" => {}
            other => {
                let hint = "write \"reopen\", or \"keep\" as it is without this key";
                return problem(self, format!("{other:?} is nothing that refunds do"), hint);
            }
        }
        let counts = !matches!(budget.window, Window::PerCall | Window::AtOnce);
        if budget.unit == Unit::Requests || !counts || budget.effect == Some(Effect::Read) {
            let hint = "leave refunds out, or limit money over a minute, hour, day, month or in total";
            return problem(self, "a refund gives no room back to such a budget".to_owned(), hint);
        }
        let refundable = connections
            .iter()
            .filter(|connection| budget.connection.as_ref().is_none_or(|name| connection.name == *name))
            .flat_map(|connection| &connection.operations)
            .filter_map(|operation| operation.refund.as_ref())
            .any(|rule| budget.operation.as_ref().is_none_or(|name| rule.of == *name));
        if !refundable {
            let hint = "in the connection's file, give the operation that refunds a refund = { of = …, id = …, amount = …, \
                        currency = … }";
            return problem(self, "no operation says what it refunds".to_owned(), hint);
        }
        Some(true)
    }

    fn effect(&mut self, effect: &Spanned<String>) -> Option<Effect> {
        match effect.get_ref().as_str() {
            "read" => Some(Effect::Read),
            "write" => Some(Effect::Write),
            other => {
                let hint = Some("write \"read\" or \"write\", or leave it out for both".to_owned());
                self.problem(&effect.span(), "effect", format!("{other:?} is no effect"), hint);
                None
            }
        }
    }

    /// `Some(None)`: the key isn't there. `None`: it's wrong.
    fn optional<T: std::str::FromStr<Err: ToString>>(
        &mut self,
        key: &str,
        value: Option<&Spanned<String>>,
    ) -> Option<Option<T>> {
        match value {
            None => Some(None),
            Some(value) => self.parse(key, value, None).map(Some),
        }
    }

    fn parse<T: std::str::FromStr<Err: ToString>>(
        &mut self,
        key: &str,
        value: &Spanned<String>,
        forms: Option<&str>,
    ) -> Option<T> {
        let parsed = value.get_ref().parse().map_err(|error: T::Err| error.to_string());
        parsed
            .map_err(|rule| {
                self.problem(&value.span(), key, rule, forms.map(|forms| format!("write one of: {forms}")))
            })
            .ok()
    }

    fn problem(&mut self, span: &Range<usize>, key: &str, message: String, hint: Option<String>) {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        self.problems.push(Problem {
            file: self.file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before.rsplit('\n').next().map_or(0, |tail| tail.chars().count()) + 1,
            key: key.to_owned(),
            message,
            hint,
        });
    }
}

fn known_as(known: &[String]) -> String {
    let shown: Vec<_> = known.iter().take(20).map(String::as_str).collect();
    if shown.is_empty() { "there are none".to_owned() } else { format!("known: {}", shown.join(", ")) }
}
