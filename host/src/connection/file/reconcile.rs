//! How a write is looked up afterwards, in a connection file.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::Method;
use serde_json::Value;

use super::operations::{final_status, never_null, pointer};
use super::reader::{Field, Table};
use crate::clock::Millis;
use crate::connection::{Effect, Given, LostWrite, Operation, Parameter, ReconcileRule, values};
use crate::egress::canonical_path;

/// A key as the host writes it.
const KEY: &str = "00000000-0000-8000-8000-000000000000";

/// A write to check the look-up's parameters with.
const WRITE: LostWrite<'static> = LostWrite { key: KEY, begun: Millis(1_700_000_000_000) };

/// A field that a request may lack, since a write outside of any conversation has no key.
pub(super) fn key_field(
    field: &Field<'_, '_>,
    effect: Option<Effect>,
    body: &BTreeMap<String, Parameter>,
    conversation_field: Option<&String>,
) -> Option<String> {
    let name = field.string()?;
    if effect == Some(Effect::Read) {
        field.problem("is for writes: nobody has to find out what became of a read");
    }
    if conversation_field.is_some_and(|other| other == name) {
        field.problem("is the conversation's field: declare one of its own");
    }
    never_null(field, body.get(name))?;
    let takes_key = |p: &&Parameter| p.optional && p.kind.check(&Value::from(KEY)).is_ok();
    if body.get(name).filter(takes_key).is_none() {
        field.problem_hint(
            format!("names body.{name}, which isn't declared as an optional string that a UUID fits"),
            format!("write body.\"{name}\" = {{ type = \"string\", max_length = 36, optional = true }}"),
        );
        return None;
    }
    Some(name.to_owned())
}

/// How a write is looked up, with the operations that are there.
pub(super) fn reconcile_rule(
    field: &Field<'_, '_>,
    write: &Operation,
    all: &[Arc<Operation>],
) -> Option<ReconcileRule> {
    let mut table = field.table()?;
    if write.key_field.is_none() {
        let hint =
            "write key_field = \"metadata[keybearer_key]\" beside it: the host writes it into each request";
        table.problem("looks the write up by a key that isn't written into it", Some(hint));
    }
    if write.repeatable {
        table.problem("isn't for what is repeatable: such a write has no key", None);
    }
    let read = table
        .required("read", "write read = \"list_charges\": the operation that looks")
        .and_then(|f| read(&f, all));
    let mut group = |key| table.optional(key).map_or_else(|| Some(BTreeMap::new()), |f| given(&f));
    let (path, query) = (group("path"), group("query"));
    let list = table.optional("in").map(|f| pointer(&f));
    let key = table
        .required(
            "key",
            "write key = \"/metadata/keybearer_key\": where one that may be the write has its key",
        )
        .and_then(|f| pointer(&f));
    let amount = amount(&mut table, write.cost.is_some());
    let status = table.optional("status").map(|f| final_status(&f));
    table.finish();
    let rule = ReconcileRule {
        read: read?,
        path: path?,
        query: query?,
        list: all_or_none(list)?,
        key: key?,
        amount: amount?,
        status: all_or_none(status)?,
    };
    let parameters = rule.parameters(WRITE);
    // A path that no request may have would show with the first look.
    let path = canonical_path(&values::path(&rule.read, &parameters.path)).map_err(str::to_owned);
    let checked = rule.read.check(&parameters).and(path);
    field.ok(checked.map_err(|why| format!("{}: {why}", rule.read.name)))?;
    Some(rule)
}

fn read(field: &Field<'_, '_>, all: &[Arc<Operation>]) -> Option<Arc<Operation>> {
    let name = field.string()?;
    let looks = |read: &&Arc<Operation>| {
        read.name.as_str() == name
            && read.method == Method::GET
            && read.effect == Effect::Read
            && read.cost.is_none()
    };
    let found = all.iter().find(looks).cloned();
    if found.is_none() {
        field.problem_hint(
            format!("{name:?} is no operation here that is a GET, a read and free"),
            "name the operation that lists what this one makes",
        );
    }
    found
}

/// Parameters of the look-up: constants, and what is known of the write.
fn given(field: &Field<'_, '_>) -> Option<BTreeMap<String, Given>> {
    let one = |field: &Field<'_, '_>| {
        let value = field.constant()?;
        let given = match value.as_str() {
            Some("{key}") => Given::Key,
            Some("{earliest}") => Given::Earliest,
            Some("{latest}") => Given::Latest,
            Some(text) if text.starts_with('{') && text.ends_with('}') => {
                field.problem_hint(
                    format!("{text} is nothing that is known of a write"),
                    "use {key}, {earliest} or {latest}",
                );
                return None;
            }
            _ => Given::Constant(value),
        };
        Some((field.name.clone(), given))
    };
    // All of them first: each has its problems.
    let read: Vec<_> = field.table()?.fields().iter().map(one).collect();
    read.into_iter().collect()
}

/// A write that costs nothing has no amount that could count.
fn amount(table: &mut Table<'_, '_>, has_cost: bool) -> Option<Option<String>> {
    if has_cost {
        let hint = "write amount = \"/amount\": where one that may be the write has what it came to";
        return table.required("amount", hint).and_then(|f| pointer(&f)).map(Some);
    }
    if let Some(field) = table.optional("amount") {
        field.problem("is for what has a cost: there is nothing to settle");
    }
    Some(None)
}

/// What isn't there is well; what is there and wrong isn't.
fn all_or_none<T>(read: Option<Option<T>>) -> Option<Option<T>> {
    match read {
        None => Some(None),
        Some(read) => read.map(Some),
    }
}
