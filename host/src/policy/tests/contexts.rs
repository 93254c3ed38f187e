//! Whatever is put to the policies, the schema has it for its action. What they're checked against, and what is proved of them, would
//! else be something other than what they're asked.

use serde_json::{Map, Value, json};

use super::super::context::{Approval, context};
use super::super::kinds::{Record, Type};
use super::super::looks::Looks;
use super::super::question::{AgentFacts, Question, What, Who};
use super::super::slot::Slot;
use super::*;
use crate::connection::{Cost, Effect, Parameters};
use crate::ids::{AgentId, RoleName, ToolName};

fn with_sandbox() -> World {
    world().with_sandboxes([("run_python".parse().unwrap(), Digest::of(b"sandbox"))])
}

fn realm() -> Realm {
    Realm { tenant: "acme".parse().unwrap(), environment: "production".parse().unwrap() }
}

/// A value of this type. `whole`: with every member that it may have, and not only with those that it must.
fn value(kind: &Type, whole: bool) -> Value {
    match kind {
        Type::String => json!("usd"),
        Type::Long => json!(5),
        Type::Bool => json!(true),
        Type::Decimal => json!(0.5),
        Type::Set(items) => json!([value(items, whole)]),
        Type::Record(record) => Value::Object(members(record, whole)),
    }
}

fn members(record: &Record, whole: bool) -> Map<String, Value> {
    let wanted = record.members.iter().filter(|(_, member)| whole || !member.optional);
    wanted.map(|(name, member)| (name.clone(), value(&member.kind, whole))).collect()
}

/// What the schema says of all that is told of a question.
fn accepted(policy: &Policy, who: Who<'_>, what: What<'_>, approvers: &[String]) -> Result<(), String> {
    let (set, realm) = (policy.inner.set.load(), realm());
    let question = Question { realm: &realm, who, now: NOON, what };
    let slot = Slot::new(&question, std::iter::empty(), false)?;
    let count = u32::try_from(approvers.len()).unwrap();
    let approval = Approval { granted: count > 0, count, approvers };
    let told = context(&question, &set.world, approval, &Looks::Whole).map_err(|error| error.to_string())?;
    slot.fits(told, set.schema())
}

/// Every kind of question, with all that may be told of it, or with as little as there can be.
fn each_kind(whole: bool, mut ask: impl FnMut(&str, Who<'_>, What<'_>)) {
    let (agent, role): (AgentId, RoleName) = ("bot".parse().unwrap(), "billing".parse().unwrap());
    let (tool, sandbox): (ToolName, ToolName) =
        ("run_command".parse().unwrap(), "run_python".parse().unwrap());
    let said = |text: &'static str| whole.then_some(text);
    let who = Who::Agent(AgentFacts {
        agent: &agent,
        role: whole.then_some(&role),
        conversation: said("c-1"),
        task: said("pay the invoices of May"),
        turn: said("3"),
        intent: said("may"),
        user: said("ann"),
        token: "tok_000000000000000000000000",
        depth: 1,
    });
    let world = with_sandbox();
    for connection in world.connections.iter() {
        for typed in world.operations(connection) {
            let parameters = Parameters {
                path: members(&typed.path, whole),
                query: members(&typed.query, whole),
                body: members(&typed.body, whole),
            };
            let cost = typed.operation.check(&parameters).unwrap();
            let what = What::Send {
                connection,
                operation: &typed.operation,
                parameters: &parameters,
                cost: cost.as_ref(),
                door: Door::Code,
                tool: whole.then_some(&sandbox),
                approvers: None,
            };
            ask(&format!("{}:{}", connection.name, typed.operation.name), who, what);
        }
    }
    let arguments = members(&world.tool(&tool).unwrap().arguments, whole);
    let arguments = Some(&arguments);
    ask("call", who, What::Call { tool: &tool, component: None, arguments, approvers: None });
    ask("code", who, What::Code { tool: &sandbox, component: None, bytes: 5, approvers: None });
    ask("api", who, What::Api { action: "plan", url: "api://tasks/7", approvers: None });
    let cost = Cost { amount_minor: 5, currency: "usd".to_owned() };
    let operator: AgentId = "ann".parse().unwrap();
    for about in [
        About::Operation {
            connection: "stripe".parse().unwrap(),
            operation: "create_charge".parse().unwrap(),
        },
        About::Api { action: "plan".to_owned(), resource: "api://tasks/7".to_owned() },
        About::Call { tool: tool.clone() },
        About::Code { tool: sandbox.clone() },
    ] {
        let what = What::Approve {
            about: &about,
            effect: Effect::Write,
            cost: whole.then_some(&cost),
            requester: &agent,
            role: whole.then_some(&role),
        };
        ask(&format!("approve {}", about.shown()), Who::Operator(&operator), what);
    }
}

#[test]
fn the_schema_has_all_that_policies_are_asked_about() {
    let policy = Policy::of(&[], &[], with_sandbox()).unwrap();
    for whole in [true, false] {
        for approvers in [vec![], vec!["ann".to_owned()]] {
            each_kind(whole, |name, who, what| {
                let said = accepted(&policy, who, what, &approvers);
                assert_eq!(said, Ok(()), "{name}, whole: {whole}");
            });
        }
    }
}

/// Or the test above would say nothing.
#[test]
fn the_schema_refuses_what_it_does_not_have() {
    let policy = Policy::of(&[], &[], with_sandbox()).unwrap();
    let (set, realm) = (policy.inner.set.load(), realm());
    let made = |pairs: &[(&str, i64)]| {
        let pairs = pairs.iter().map(|(name, number)| {
            ((*name).to_owned(), cedar_policy::RestrictedExpression::new_long(*number))
        });
        cedar_policy::Context::from_pairs(pairs).unwrap()
    };
    each_kind(true, |name, who, what| {
        let question = Question { realm: &realm, who, now: NOON, what };
        let slot = Slot::new(&question, std::iter::empty(), false).unwrap();
        for wrong in [&[("more", 1)][..], &[("environment", 1)], &[]] {
            assert!(slot.fits(made(wrong), set.schema()).is_err(), "{name}: {wrong:?}");
        }
    });
}
