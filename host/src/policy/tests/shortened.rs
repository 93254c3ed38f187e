//! Forbids that are asked as one, of a context that has only what they look at, answer as each of them would of all of it.

use proptest::prelude::*;
use serde_json::json;

use super::super::set::Set;
use super::*;

/// Conditions of forbids: some are met, some not, some can't be evaluated.
const CONDITIONS: &[&str] = &[
    "when { context.body.amount > 50 }",
    "when { context.body.amount + 9223372036854775807 < 0 }",
    "unless { context.body.currency == \"usd\" }",
    "when { context.body.amount < 3 } unless { context.body.amount == 1 }",
    "when { context.body has description && context.body.description like \"*x*\" }",
    "when { context.now < datetime(\"2020-01-01\") }",
    "when { principal == Agent::\"acme/bot\" } when { context.body.amount == 7 }",
    "when { if context.body.amount == 9 then true else false }",
    "unless { context has customer && context.customer == \"cus_1\" }",
    "when { context.cost.amount > 45 || context.depth > 3 }",
    "when { context.approval.approvers.isEmpty() && context.body.amount == 8 }",
    "when { if context has tool then context.tool == \"x\" else context.body.amount == 4 }",
    "when { context.body.amount == 6 && [context.path, context.path].contains(context.path) }",
    "when { [1, 2].contains(context.body.amount) || principal in Role::\"acme/none\" }",
];

fn texts() -> impl Strategy<Value = String> {
    proptest::collection::vec((0..CONDITIONS.len(), proptest::bool::weighted(0.2)), 0..5).prop_map(|chosen| {
        let policies = chosen.into_iter().map(|(condition, permits)| {
            let effect = if permits { "permit" } else { "forbid" };
            format!(
                "{effect} (principal, action == Action::\"stripe:create_charge\", resource) {};\n",
                CONDITIONS[condition]
            )
        });
        policies.fold("permit (principal, action, resource);\n".to_owned(), |all, one| all + &one)
    })
}

/// The same policies, each of which is asked by itself, of the whole context.
fn one_by_one(text: &str) -> Policy {
    let mut set = Set::new(&[PolicyFile::new("p.cedar", text)], &[], world(), None).unwrap();
    set.shortens = false;
    Policy::of_set(set, None)
}

proptest! {
    // Each makes two sets of policies, which takes longer than all that is asked of them.
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn they_answer_as_each_of_them_does(
        text in texts(),
        amount in prop_oneof![1..12_i64, 40..60_i64],
        currency in prop_oneof![Just("usd"), Just("eur")],
        description in proptest::option::of("[xy]{0,2}"),
    ) {
        let mut body = json!({ "amount": amount, "currency": currency });
        if let Some(description) = description {
            body["description"] = description.into();
        }
        let question = facts(json!({ "operation": "stripe:create_charge", "body": body }));
        let judged = |policy: &Policy| {
            let judged = policy.judge(&question, NOON).unwrap();
            (judged.verdict, judged.policies)
        };
        prop_assert_eq!(judged(&policy(&text)), judged(&one_by_one(&text)), "{}", text);
    }
}

#[test]
fn who_decided_is_known_all_the_same() {
    let forbid = "forbid (principal, action == Action::\"stripe:create_charge\", resource) when";
    let text = format!(
        "permit (principal, action, resource);\n\
         @id(\"merged\") {forbid} {{ context.door == \"tool\" }};\n\
         @id(\"other\") {forbid} {{ context.cost.amount > 5 }};"
    );
    let ask = |door: &str, amount: i64| {
        let body = json!({ "amount": amount, "currency": "usd" });
        let question = json!({ "operation": "stripe:create_charge", "door": door, "body": body });
        policy(&text).judge(&facts(question), NOON).unwrap().policies
    };
    assert_eq!(ask("proxy", 5), ["p#1"]);
    assert_eq!(ask("tool", 5), ["merged"]);
    assert_eq!(ask("proxy", 6), ["other"]);
    assert_eq!(ask("tool", 6), ["merged", "other"]);
}
