//! Every example of the guide is sound.

use std::collections::BTreeMap;

use super::*;

const GUIDE: &str = include_str!("../../../../docs/POLICY.md");

/// The fenced blocks of a language.
fn blocks(language: &str) -> Vec<&'static str> {
    let fence = format!("```{language}\n");
    GUIDE.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

#[test]
fn every_example_of_the_guide_is_taken() {
    let examples = blocks("cedar");
    assert_eq!(examples.len(), 13, "the guide has more or fewer: is each fenced as cedar?");
    for example in examples {
        let policy = policy(example);
        assert_eq!(policy.warnings(), [], "{example}");
        // Names are the guide's own, so all examples can stand in one home.
        assert!(example.contains("@id("), "{example}");
    }
    let together = blocks("cedar").join("\n");
    assert_eq!(policy(&together).count(), (together.matches("@id(").count(), 0));
}

#[test]
fn what_the_guide_says_of_approval_holds() {
    let text = blocks("cedar").into_iter().find(|block| block.contains("refunds-need-two")).unwrap();
    let policy = policy(&format!("{START}\n{text}"));
    let charge = |amount: i64| {
        facts(json!({ "operation": "stripe:create_charge",
        "body": { "amount": amount, "currency": "usd" } }))
    };
    let refund =
        facts(json!({ "operation": "stripe:create_refund", "path": { "id": "c" }, "body": { "amount": 5 } }));
    assert_eq!(verdict(&policy, &charge(10_000)), "allowed");
    assert_eq!(verdict(&policy, &charge(10_001)), "approval 1");
    assert_eq!(verdict(&policy, &refund), "approval 2");
}

#[test]
fn what_the_guide_says_of_reading_code_holds() {
    let text = blocks("cedar").into_iter().find(|block| block.contains("a-person-reads-code")).unwrap();
    let policy = policy(&format!(
        "{START}\n@id(\"c\") permit (principal, action == Action::\"run_code\", resource);\n{text}"
    ));
    let code = facts(json!({ "code": "run_python", "bytes": 1 }));
    let command = |text: &str| facts(json!({ "call": "run_command", "arguments": { "command": text } }));
    assert_eq!(verdict(&policy, &code), "approval 1");
    assert_eq!(verdict(&policy, &command("ls")), "allowed");
    assert_eq!(verdict(&policy, &command("make deploy")), "approval 1");
}

#[test]
fn who_reads_code_is_who_the_guides_name_though_start_cedar_lets_every_operator_approve() {
    let governance = include_str!("../../../../docs/GOVERNANCE.md");
    for (guide, id, tenant, readers) in [
        (GUIDE, "reviewers-read-code", "acme", ["rita", "cfo"]),
        (governance, "rita-reads-code", "default", ["rita", "cli"]),
    ] {
        let mut blocks = guide.split("```cedar\n").skip(1).map(|rest| rest.split("```").next().unwrap());
        let text = blocks.find(|block| block.contains(&format!("@id(\"{id}\")"))).unwrap();
        let policy = policy(&format!("{START}\n{text}"));
        let may = |operator: &str| {
            let asked = json!({ "tenant": tenant, "approve": "run_code", "operator": operator });
            verdict(&policy, &facts(asked))
        };
        for reader in readers {
            assert_eq!(may(reader), "allowed", "{id}: {reader}");
        }
        assert_eq!(may("ann"), "denied", "{id}");
    }
}

#[test]
fn what_the_guide_says_of_delegated_tokens_holds() {
    let text =
        blocks("cedar").into_iter().find(|block| block.contains("delegated-tokens-only-read")).unwrap();
    let policy = policy(&format!("{START}\n{text}"));
    let refund = |depth: u32| {
        facts(json!({ "operation": "stripe:create_refund", "path": { "id": "c" }, "body": { "amount": 5 },
        "depth": depth }))
    };
    assert_eq!(verdict(&policy, &refund(0)), "allowed");
    assert_eq!(verdict(&policy, &refund(1)), "denied");
    let list = facts(json!({ "operation": "stripe:list_charges", "depth": 1 }));
    assert_eq!(verdict(&policy, &list), "allowed");
}

/// What stands between backticks.
fn ticked(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[test]
fn every_key_of_a_request_is_in_the_guide_with_what_it_goes_with() {
    let (_, table) = GUIDE.split_once("| key | with | |\n|---|---|---|\n").unwrap();
    let mut told = BTreeMap::new();
    for row in table.lines().take_while(|line| line.starts_with('|')) {
        let mut cells = row.split('|').skip(1);
        let (keys, with) = (ticked(cells.next().unwrap()), cells.next().unwrap().trim());
        told.extend(keys.into_iter().map(|key| (key, with)));
    }
    let unknown = serde_json::from_str::<Facts>(r#"{ "agent": "a", "nosuch": 1 }"#).unwrap_err().to_string();
    let (_, known) = unknown.split_once("expected one of").unwrap();
    let mut known = ticked(known);
    known.sort_unstable();
    assert_eq!(told.keys().copied().collect::<Vec<_>>(), known);

    let kinds = json!({
        "operation": "stripe:list_charges", "call": "run_command", "code": "run_python", "api": "api://x",
        "approve": "stripe:create_refund",
    });
    let keys = json!({
        "door": "proxy", "tool": "t", "path": { "a": 1 }, "query": { "a": 1 }, "body": { "a": 1 },
        "approvers": ["ann"], "arguments": { "a": 1 }, "bytes": 1, "action": "read", "operator": "ann",
        "cost": { "amount": 1, "currency": "usd" },
    });
    let limited = told.iter().filter(|(_, with)| !matches!(**with, "" | "all"));
    assert_eq!(limited.clone().count(), keys.as_object().unwrap().len());
    for ((key, with), (kind, what)) in
        limited.flat_map(|told| kinds.as_object().unwrap().iter().map(move |kind| (told, kind)))
    {
        let mut question = json!({ *key: keys[*key] });
        question[kind] = what.clone();
        let checked = facts(question).check_keys();
        assert_eq!(checked.is_ok(), ticked(with).contains(&kind.as_str()), "{key} {kind}: {checked:?}");
    }
}
