//! Operations in a connection file.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::Method;

use super::parameters::{Where, parameters};
use super::reader::{Field, Table};
use super::reconcile::{key_field, reconcile_rule};
use crate::connection::operation::overlap;
use crate::connection::problem::did_you_mean;
use crate::connection::{
    CostRule, Currency, Effect, Kind, Operation, Parameter, PathTemplate, Place, ReconcileRule, RefundRule,
    SettleRule,
};
use crate::egress::{FORM, is_json};
use crate::ids::OperationName;

const METHODS: &[&str] = &["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"];

/// All operations, none of which can be mistaken for another; and how those are looked up that say it, by name.
pub(super) fn operations(
    field: &Field<'_, '_>,
) -> (Vec<Arc<Operation>>, BTreeMap<OperationName, Arc<ReconcileRule>>) {
    let Some(table) = field.table() else { return Default::default() };
    let fields = table.fields();
    if fields.is_empty() {
        field.problem("has no operations, so nothing can be sent");
    }
    let mut found: Vec<(&Field<'_, '_>, Arc<Operation>, Option<Field<'_, '_>>)> = Vec::new();
    for field in &fields {
        let Some((operation, reconcile)) = operation(field) else { continue };
        for (_, other, _) in &found {
            if overlap(other, &operation) {
                field.problem_hint(
                    format!(
                        "could be mistaken for {}: both match {} {}",
                        other.name, other.method, other.path
                    ),
                    "give a path parameter a pattern that leaves the other operation's path out",
                );
            }
        }
        found.push((field, Arc::new(operation), reconcile));
    }
    for (field, operation, _) in &found {
        let Some(rule) = &operation.refund else { continue };
        let has_cost = found.iter().any(|(_, other, _)| other.name == rule.of && other.cost.is_some());
        if !has_cost {
            field.problem_hint(
                format!("says that it refunds {}, which is no operation here that costs anything", rule.of),
                "write refund.of = \"create_charge\": the operation that has the cost",
            );
        }
    }
    let all: Vec<_> = found.iter().map(|(_, operation, _)| operation.clone()).collect();
    let mut rules = BTreeMap::new();
    for (_, write, reconcile) in &found {
        let rule = reconcile.as_ref().and_then(|f| reconcile_rule(f, write, &all));
        rules.extend(rule.map(|rule| (write.name.clone(), Arc::new(rule))));
    }
    (all, rules)
}

fn operation<'c, 'i>(field: &Field<'c, 'i>) -> Option<(Operation, Option<Field<'c, 'i>>)> {
    let name = field.ok(field.name.parse());
    let mut table = field.table()?;
    let request = table
        .required("request", "write request = \"GET /v1/things/{id}\"")
        .and_then(|f| Some((request(&f)?, f)));
    let effect = table
        .required("effect", "write effect = \"read\", or \"write\" when it changes anything upstream")
        .and_then(|f| effect(&f));
    let content_type = table.optional("content_type");
    let media_type = content_type.as_ref().and_then(|f| media_type(f));
    let mut group = |key: &'static str, place: Where| -> BTreeMap<String, Parameter> {
        let group = table.optional(key).and_then(|f| f.table());
        group.map(|group| parameters(&group, place, 0)).unwrap_or_default()
    };
    let path_parameters = group("path", Where::Path);
    let query_parameters = group("query", Where::Pair);
    let is_form = media_type.as_deref() == Some(FORM);
    let body_parameters = group("body", if is_form { Where::Pair } else { Where::Json });
    check_body(field, &table, media_type.as_deref(), &body_parameters);
    let body_is =
        table.optional("body_is").and_then(|f| body_is(&f, media_type.as_deref(), &body_parameters));
    let cost = table.optional("cost");
    let customer = table.optional("customer");
    let settle = table.optional("settle").and_then(|f| settle_rule(&f));
    let refund = table.optional("refund").and_then(|f| refund_rule(&f));
    let conversation_field =
        table.optional("conversation_field").and_then(|f| conversation_field(&f, &body_parameters));
    let key_field = table
        .optional("key_field")
        .and_then(|f| key_field(&f, effect, &body_parameters, conversation_field.as_ref()));
    let reconcile = table.optional("reconcile");
    let repeatable = table.optional("repeatable").and_then(|f| repeatable(&f, effect, cost.is_some()));
    if settle.is_some() && cost.is_none() {
        field.problem("has settle and no cost: there is nothing to settle");
    }
    table.finish();

    let ((method, path), request) = request?;
    if media_type.is_some() && matches!(method, Method::GET | Method::HEAD) {
        request.problem(format!("a {method} request has no body: leave content_type and body out"));
    }
    check_path(&request, &path, &path_parameters);
    let mut operation = Operation {
        name: name?,
        method,
        path,
        effect: effect?,
        content_type: media_type,
        path_parameters,
        query_parameters,
        body_parameters,
        body_is,
        cost: None,
        customer: None,
        settle,
        refund,
        repeatable: repeatable.unwrap_or_default(),
        conversation_field,
        key_field,
    };
    operation.cost = cost.and_then(|f| cost_rule(&f, &operation));
    operation.customer = customer.and_then(|f| customer_place(&f, &operation));
    Some((operation, reconcile))
}

fn request(field: &Field<'_, '_>) -> Option<(Method, PathTemplate)> {
    let text = field.string()?;
    let Some((method, path)) = text.split_once(' ') else {
        field.problem_hint("must be a method and a path", "write \"GET /v1/things/{id}\"");
        return None;
    };
    if !METHODS.contains(&method) {
        let meant = did_you_mean(&method.to_ascii_uppercase(), METHODS);
        field.problem_hint(
            format!("unknown method {method:?}"),
            meant.map_or_else(
                || format!("use one of {}", METHODS.join(", ")),
                |m| format!("did you mean {m}?"),
            ),
        );
        return None;
    }
    let path = field.ok(path.parse())?;
    Some((field.ok(method.parse::<Method>())?, path))
}

fn effect(field: &Field<'_, '_>) -> Option<Effect> {
    match field.string()? {
        "read" => Some(Effect::Read),
        "write" => Some(Effect::Write),
        other => {
            field.problem_hint(format!("unknown effect {other:?}"), "use read or write");
            None
        }
    }
}

fn repeatable(field: &Field<'_, '_>, effect: Option<Effect>, has_cost: bool) -> Option<bool> {
    let repeatable = field.boolean()?;
    if repeatable && effect == Some(Effect::Read) {
        field.problem("is for writes: reads are made each time as it is");
    }
    if repeatable && has_cost {
        field.problem("isn't for what costs something: a model that starts over would spend it again");
    }
    Some(repeatable)
}

fn media_type(field: &Field<'_, '_>) -> Option<String> {
    let text = field.string()?;
    let plain = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"/.+-".contains(&b));
    if !plain || text.matches('/').count() != 1 || text.starts_with('/') || text.ends_with('/') {
        field.problem_hint(
            "isn't a media type",
            "write \"application/json\", in lower case and without parameters: those are each request's own",
        );
        return None;
    }
    Some(text.to_owned())
}

fn check_body(
    field: &Field<'_, '_>,
    table: &Table<'_, '_>,
    media_type: Option<&str>,
    body: &BTreeMap<String, Parameter>,
) {
    if body.is_empty() {
        return;
    }
    match media_type {
        None => table.problem(
            "has body parameters and no content_type",
            Some("write content_type = \"application/json\" or \"application/x-www-form-urlencoded\""),
        ),
        Some(media_type) if media_type != FORM && !is_json(media_type) => {
            field.problem(format!("a body of type {media_type} has no parameters that could be checked"));
        }
        Some(_) => {}
    }
}

/// The one parameter that the whole JSON body is.
fn body_is(
    field: &Field<'_, '_>,
    media_type: Option<&str>,
    body: &BTreeMap<String, Parameter>,
) -> Option<String> {
    let name = field.string()?;
    let is_list = |p: &&Parameter| matches!(p.kind, Kind::Array { .. }) && !p.optional && !p.nullable;
    let is_whole = body.len() == 1 && body.get(name).filter(is_list).is_some();
    if !is_whole || !media_type.is_some_and(is_json) {
        field.problem_hint(
            "must name the only parameter of a JSON body, an array that is always there",
            "write body.items = { type = \"array\", items = { … } } beside body_is = \"items\"",
        );
        return None;
    }
    Some(name.to_owned())
}

fn check_path(request: &Field<'_, '_>, path: &PathTemplate, declared: &BTreeMap<String, Parameter>) {
    for name in path.parameters().filter(|name| !declared.contains_key(*name)) {
        request.problem_hint(
            format!("the path parameter {{{name}}} has no type"),
            format!("write path.{name} = {{ type = \"string\", pattern = \"^[A-Za-z0-9_]+$\" }}"),
        );
    }
    for name in declared.keys().filter(|name| !path.parameters().any(|used| used == name.as_str())) {
        request.problem(format!("the path has no parameter {{{name}}}, and path.{name} is declared"));
    }
}

fn cost_rule(field: &Field<'_, '_>, operation: &Operation) -> Option<CostRule> {
    let mut table = field.table()?;
    let amount = table
        .required("amount", "write amount = \"body.amount\": where the amount in minor units is")
        .and_then(|f| amount(&f, operation));
    let currency = table
        .required("currency", "write currency = \"body.currency\", or a constant as in \"usd\"")
        .and_then(|f| currency(&f, operation));
    table.finish();
    Some(CostRule { amount: amount?, currency: currency? })
}

fn settle_rule(field: &Field<'_, '_>) -> Option<SettleRule> {
    let mut table = field.table()?;
    let amount = table
        .required("amount", "write amount = \"/amount\": a JSON pointer into the reply")
        .and_then(|f| pointer(&f));
    table.finish();
    Some(SettleRule { amount: amount? })
}

fn refund_rule(field: &Field<'_, '_>) -> Option<RefundRule> {
    let mut table = field.table()?;
    let of = table
        .required("of", "write of = \"create_charge\": the operation whose money is given back")
        .and_then(|f| f.ok(f.string()?.parse()));
    let mut place = |key: &'static str, hint: &str| table.required(key, hint).and_then(|f| pointer(&f));
    let id = place("id", "write id = \"/id\": where the reply has the refund's id");
    let amount = place("amount", "write amount = \"/amount\": where the reply has what was given back");
    let currency = place("currency", "write currency = \"/currency\": where the reply has its currency");
    let status = table.optional("status").map(|f| final_status(&f));
    table.finish();
    let status = match status {
        None => None,
        Some(status) => Some(status?),
    };
    Some(RefundRule { of: of?, id: id?, amount: amount?, currency: currency?, status })
}

pub(super) fn final_status(field: &Field<'_, '_>) -> Option<(String, String)> {
    let mut table = field.table()?;
    let at = table
        .required("at", "write at = \"/status\": where the reply says how it stands")
        .and_then(|f| pointer(&f));
    let is = table
        .required("is", "write is = \"succeeded\": what it says once that is final")
        .and_then(|f| f.string().map(str::to_owned));
    table.finish();
    Some((at?, is?))
}

/// What the host writes itself, or goes by, is never null: nothing could be counted, or found again, by that.
pub(super) fn never_null(field: &Field<'_, '_>, parameter: Option<&Parameter>) -> Option<()> {
    if parameter.is_none_or(|parameter| !parameter.nullable) {
        return Some(());
    }
    field.problem_hint(
        "names a parameter that may be null, which the host can't go by",
        "take nullable = true out of that parameter's declaration",
    );
    None
}

/// A field that a request may lack, since not every call is part of a conversation.
fn conversation_field(field: &Field<'_, '_>, body: &BTreeMap<String, Parameter>) -> Option<String> {
    let name = field.string()?;
    never_null(field, body.get(name))?;
    match body.get(name) {
        Some(Parameter { kind: Kind::String { .. }, optional: true, .. }) => Some(name.to_owned()),
        _ => {
            field.problem_hint(
                format!("names body.{name}, which isn't declared as an optional string"),
                format!("write body.\"{name}\" = {{ type = \"string\", max_length = 128, optional = true }}"),
            );
            None
        }
    }
}

pub(super) fn pointer(field: &Field<'_, '_>) -> Option<String> {
    let text = field.string()?;
    // `~` stands for itself as `~0` alone, and for a slash as `~1`.
    let escaped = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    if !text.starts_with('/') || !escaped {
        field.problem_hint("isn't a JSON pointer", "write \"/amount\" or \"/data/amount\"");
        return None;
    }
    Some(text.to_owned())
}

fn customer_place(field: &Field<'_, '_>, operation: &Operation) -> Option<Place> {
    let place = place(field, operation)?;
    never_null(field, place.parameter(operation))?;
    if matches!(place.parameter(operation)?.kind, Kind::String { .. }) {
        return Some(place);
    }
    field.problem("the customer must be a string parameter");
    None
}

fn amount(field: &Field<'_, '_>, operation: &Operation) -> Option<Place> {
    let place = place(field, operation)?;
    let parameter = place.parameter(operation)?;
    never_null(field, Some(parameter))?;
    match parameter.kind {
        // A negative amount would give a budget back what was never spent.
        Kind::Integer { minimum, .. } if minimum >= 0 && !parameter.optional => Some(place),
        Kind::Integer { .. } if parameter.optional => {
            field.problem("the amount mustn't be optional: a cost must be known");
            None
        }
        Kind::Integer { .. } => {
            field.problem("the amount needs a minimum of at least 0");
            None
        }
        _ => {
            field.problem("the amount must be an integer parameter");
            None
        }
    }
}

fn currency(field: &Field<'_, '_>, operation: &Operation) -> Option<Currency> {
    let text = field.string()?;
    if !text.contains('.') {
        if text.len() == 3 && text.bytes().all(|b| b.is_ascii_alphabetic()) {
            return Some(Currency::Constant(text.to_ascii_lowercase()));
        }
        field.problem_hint("is neither a parameter nor a currency", "write \"body.currency\" or \"usd\"");
        return None;
    }
    let place = place(field, operation)?;
    let parameter = place.parameter(operation)?;
    never_null(field, Some(parameter))?;
    if matches!(parameter.kind, Kind::String { .. }) && !parameter.optional {
        return Some(Currency::Parameter(place));
    }
    field.problem("the currency must be a string parameter that isn't optional");
    None
}

fn place(field: &Field<'_, '_>, operation: &Operation) -> Option<Place> {
    let text = field.string()?;
    let place = match text.split_once('.') {
        Some(("path", name)) => Place::Path(name.to_owned()),
        Some(("query", name)) => Place::Query(name.to_owned()),
        Some(("body", name)) => Place::Body(name.to_owned()),
        _ => {
            field.problem_hint("isn't a parameter", "write path.NAME, query.NAME or body.NAME");
            return None;
        }
    };
    if place.parameter(operation).is_none() {
        field.problem(format!("names the parameter {text}, which isn't declared"));
        return None;
    }
    Some(place)
}
