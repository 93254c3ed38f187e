//! Every example of the guide is sound.

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
