//! Every row is a decision.

use serde_json::{Value, json};

use super::super::question::{AgentFacts, Question, What, Who};
use super::*;
use crate::connection::Parameters;

fn charge(body: Value) -> Value {
    json!({ "operation": "stripe:create_charge", "body": body })
}

/// Whether this operator may agree to a charge, which has a cost.
fn approve_charge(operator: &str) -> Value {
    let cost = json!({ "amount": 5, "currency": "usd" });
    json!({ "approve": "stripe:create_charge", "operator": operator, "cost": cost })
}

fn with(mut fields: Value, more: Value) -> Value {
    for (name, value) in more.as_object().unwrap() {
        fields[name] = value.clone();
    }
    fields
}

#[test]
fn conditions_see_typed_parameters_and_the_call() {
    let small = || charge(json!({ "amount": 500, "currency": "usd" }));
    let charge_when = |condition: &str| {
        format!(
            "permit (principal, action == Action::\"stripe:create_charge\", resource) when {{ {condition} }};"
        )
    };
    for (condition, question, known) in [
        ("context.body.amount <= 500", small(), "allowed"),
        ("context.body.amount < 500", small(), "denied"),
        ("context.body.currency == \"usd\"", small(), "allowed"),
        ("context.cost.amount <= 500 && context.cost.currency == \"usd\"", small(), "allowed"),
        ("context has customer && context.customer == \"cus_1\"", small(), "denied"),
        (
            "context has customer && [\"cus_1\", \"cus_2\"].contains(context.customer)",
            charge(json!({ "amount": 5, "currency": "usd", "customer": "cus_2" })),
            "allowed",
        ),
        ("context has user && context.user == \"ann\"", with(small(), json!({ "user": "ann" })), "allowed"),
        ("context has user && context.user == \"ann\"", with(small(), json!({ "user": "bob" })), "denied"),
        ("context has user && context.user == \"ann\"", small(), "denied"),
        (
            "context.body has \"metadata[order]\" && context.body[\"metadata[order]\"] == \"7\"",
            charge(json!({ "amount": 5, "currency": "usd", "metadata[order]": "7" })),
            "allowed",
        ),
        (
            "context.body has rate && context.body.rate.lessThan(decimal(\"0.5\"))",
            charge(json!({ "amount": 5, "currency": "usd", "rate": 0.25 })),
            "allowed",
        ),
        (
            "context.body has rate && context.body.rate.lessThan(decimal(\"0.5\"))",
            charge(json!({ "amount": 5, "currency": "usd", "rate": 0.1234567 })),
            "denied",
        ),
        (
            "context.body has tags && context.body.tags.containsAll([\"a\", \"b\"])",
            charge(json!({ "amount": 5, "currency": "usd", "tags": ["b", "a", "a"] })),
            "allowed",
        ),
        (
            "context.body has shipping && context.body.shipping.country == \"DE\"",
            charge(json!({ "amount": 5, "currency": "usd", "shipping": { "country": "DE" } })),
            "allowed",
        ),
        (
            "context.body has description && !(context.body.description like \"*rm -rf*\")",
            charge(json!({ "amount": 5, "currency": "usd", "description": "now rm -rf / please" })),
            "denied",
        ),
        (
            "context has conversation && context.conversation == \"c-1\"",
            with(small(), json!({ "conversation": "c-1" })),
            "allowed",
        ),
        ("context has conversation && context.conversation == \"c-1\"", small(), "denied"),
        (
            "context has task && context.task like \"*invoices*\"",
            with(small(), json!({ "task": "pay the invoices of May" })),
            "allowed",
        ),
        ("context.environment == \"staging\"", with(small(), json!({ "environment": "staging" })), "allowed"),
        ("context.environment == \"staging\"", small(), "denied"),
        (
            "resource in Environment::\"acme/staging\"",
            with(small(), json!({ "environment": "staging" })),
            "allowed",
        ),
        ("resource in Tenant::\"acme\"", small(), "allowed"),
        ("context.door == \"proxy\"", with(small(), json!({ "door": "proxy" })), "allowed"),
        ("context.door == \"code\"", with(small(), json!({ "door": "code" })), "allowed"),
        ("context.door == \"tool\"", with(small(), json!({ "door": "code" })), "denied"),
        ("context.door == \"proxy\"", small(), "denied"),
        (
            "context has tool && context.tool == \"create_charge\"",
            with(small(), json!({ "tool": "create_charge" })),
            "allowed",
        ),
        ("context.depth < 2", with(small(), json!({ "depth": 2 })), "denied"),
        ("principal in Role::\"acme/billing\"", with(small(), json!({ "role": "billing" })), "allowed"),
        ("principal in Role::\"acme/billing\"", with(small(), json!({ "role": "analytics" })), "denied"),
        ("principal in Role::\"acme/billing\"", small(), "denied"),
        ("principal.name == \"bot\"", small(), "allowed"),
        ("action in Action::\"write\" && action in Action::\"send\"", small(), "allowed"),
        ("action in Action::\"read\"", small(), "denied"),
        (
            "context.now.toTime() >= duration(\"9h\") && context.now.toTime() < duration(\"17h\")",
            small(),
            "allowed",
        ),
        (
            "context.now.toTime() >= duration(\"9h\") && context.now.toTime() < duration(\"17h\")",
            with(small(), json!({ "now": "2026-01-14T17:00:00Z" })),
            "denied",
        ),
        ("context.now < datetime(\"2026-02-01\")", small(), "allowed"),
        (
            "context.now < datetime(\"2026-02-01\")",
            with(small(), json!({ "now": "2026-02-01T00:00:00Z" })),
            "denied",
        ),
    ] {
        assert_eq!(
            verdict(&policy(&charge_when(condition)), &facts(question.clone())),
            known,
            "{condition} {question}"
        );
    }
}

#[test]
fn scopes_choose_the_policies() {
    let read = json!({ "operation": "stripe:list_charges" });
    let write = charge(json!({ "amount": 5, "currency": "usd" }));
    let issue = json!({ "operation": "github:create_issue", "path": { "owner": "o", "repo": "r" }, "body": { "title": "t" } });
    let run = json!({ "call": "run_command", "arguments": { "command": "ls" } });
    let api = json!({ "api": "api://tasks/7", "action": "read" });
    let approve = approve_charge("ann");
    let questions = [&read, &write, &issue, &run, &api, &approve];
    for (scope, allowed) in [
        ("principal, action, resource", [true; 6]),
        (
            "principal is Agent, action in [Action::\"send\", Action::\"call\"], resource",
            [true, true, true, true, false, false],
        ),
        ("principal, action in Action::\"read\", resource", [true, false, false, false, false, false]),
        ("principal, action in [Action::\"write\"], resource", [false, true, true, false, false, false]),
        ("principal, action in Action::\"call\", resource", [false, false, false, true, false, false]),
        (
            "principal, action == Action::\"call:run_command\", resource == Tool::\"run_command\"",
            [false, false, false, true, false, false],
        ),
        ("principal, action, resource == Connection::\"github\"", [false, false, true, false, false, false]),
        ("principal, action, resource is Connection", [true, true, true, false, false, true]),
        (
            "principal, action == Action::\"api\", resource is Api in Environment::\"acme/production\"",
            [false, false, false, false, true, false],
        ),
        (
            "principal, action == Action::\"api\", resource == Api::\"api://tasks/7\"",
            [false, false, false, false, true, false],
        ),
        ("principal == Agent::\"acme/bot\", action, resource", [true, true, true, true, true, false]),
        ("principal == Agent::\"beta/bot\", action, resource", [false; 6]),
        ("principal in Tenant::\"acme\", action, resource", [true; 6]),
        ("principal in Tenant::\"beta\", action, resource", [false; 6]),
        (
            "principal == Operator::\"acme/ann\", action == Action::\"approve\", resource",
            [false, false, false, false, false, true],
        ),
        ("principal, action, resource in Environment::\"acme/production\"", [true; 6]),
        ("principal, action, resource in Environment::\"acme/staging\"", [false; 6]),
    ] {
        let policy = policy(&format!("permit ({scope});"));
        let answers = questions.map(|question| verdict(&policy, &facts(question.clone())) == "allowed");
        assert_eq!(answers, allowed, "{scope}");
    }
}

#[test]
fn no_policy_denies_and_forbid_beats_permit() {
    let question = facts(charge(json!({ "amount": 5, "currency": "usd" })));
    assert_eq!(verdict(&policy(""), &question), "denied");
    let both = "permit (principal, action, resource); forbid (principal, action, resource);";
    let judged = policy(both).judge(&question, NOON).unwrap();
    assert_eq!(judged.verdict, Enforced::Denied);
    assert_eq!(judged.policies, ["p#2"]);
    assert!(judged.cause.unwrap().contains("forbidden by p#2"));
}

#[test]
fn a_policy_in_error_denies() {
    let question = facts(charge(json!({ "amount": i64::MAX, "currency": "usd" })));
    let permits = "permit (principal, action, resource);\n";
    assert_eq!(verdict(&policy(permits), &question), "allowed");
    for kind in ["forbid", "permit"] {
        let errs = format!(
            "{permits}@id(\"adds\") {kind} (principal, action == Action::\"stripe:create_charge\", resource)
             when {{ context.body.amount + 1 < 10 }};"
        );
        let judged = policy(&errs).judge(&question, NOON).unwrap();
        assert_eq!(judged.verdict, Enforced::Denied, "{kind}");
        assert!(judged.cause.unwrap().contains("adds"), "{kind}");
    }
}

#[test]
fn a_denial_names_the_smallest_rule_that_would_allow_it() {
    for question in [
        charge(json!({ "amount": 5, "currency": "usd" })),
        json!({ "call": "run_command", "arguments": { "command": "ls" } }),
        json!({ "api": "api://tasks/o'7", "action": "re\"ad" }),
        approve_charge("ann"),
        json!({ "approve": "api://tasks/7", "action": "re\"ad", "operator": "ann" }),
        json!({ "approve": "call:run_command", "operator": "ann" }),
        json!({ "approve": "run_code", "operator": "ann" }),
    ] {
        let question = facts(question);
        let cause = policy("").judge(&question, NOON).unwrap().cause.unwrap();
        let (_, rule) = cause.split_once("would allow it: ").unwrap();
        assert_eq!(verdict(&policy(rule), &question), "allowed", "{rule}");
    }
    let cause =
        policy("").judge(&facts(charge(json!({ "amount": 5, "currency": "usd" }))), NOON).unwrap().cause;
    let rule = "permit (principal == Agent::\"acme/bot\", action == Action::\"stripe:create_charge\", \
                resource == Connection::\"stripe\");";
    assert!(cause.unwrap().ends_with(rule));
}

#[test]
fn what_is_allowed_only_with_approval_asks_for_it() {
    let forbid_unless = |condition: &str| {
        format!("permit (principal, action, resource);
            forbid (principal, action == Action::\"stripe:create_charge\", resource) unless {{ {condition} }};")
    };
    let body = json!({ "amount": 5, "currency": "usd" });
    let asked = |approvers: Value| facts(with(charge(body.clone()), json!({ "approvers": approvers })));
    for (condition, approvers, known) in [
        ("context.approval.granted", Value::Null, "approval 1"),
        ("context.approval.granted", json!([]), "approval 1"),
        ("context.approval.granted", json!(["ann"]), "allowed"),
        ("context.approval.count >= 2", Value::Null, "approval 2"),
        ("context.approval.count >= 2", json!(["ann"]), "approval 2"),
        ("context.approval.count >= 2", json!(["ann", "bob"]), "allowed"),
        ("context.approval.count >= 5", Value::Null, "approval 5"),
        ("context.approval.count >= 6", Value::Null, "denied"),
        ("context.approval.approvers.contains(\"cfo\")", Value::Null, "approval 1"),
        ("context.approval.approvers.contains(\"cfo\")", json!(["ann"]), "approval 2"),
        ("context.approval.approvers.contains(\"cfo\")", json!(["ann", "cfo"]), "allowed"),
        ("context.approval.granted && context.body.amount < 5", Value::Null, "denied"),
        ("context.body.amount < 10 || context.approval.granted", Value::Null, "allowed"),
    ] {
        assert_eq!(
            verdict(&policy(&forbid_unless(condition)), &asked(approvers.clone())),
            known,
            "{condition} {approvers}"
        );
    }
    let errs = forbid_unless("context.approval.granted && context.body.amount + 9223372036854775807 > 0");
    assert_eq!(verdict(&policy(&errs), &asked(Value::Null)), "denied", "an error can't be approved away");
    let api = "permit (principal, action == Action::\"api\", resource)
        when { context.action == \"execute\" && resource.url like \"api://tasks/execute/*\" && context.approval.granted };";
    for (url, action, known) in [
        ("api://tasks/execute/1", "execute", "approval 1"),
        ("api://tasks/execute/1", "read", "denied"),
        ("api://tasks/1", "execute", "denied"),
    ] {
        let question = facts(json!({ "api": url, "action": action }));
        assert_eq!(verdict(&policy(api), &question), known, "{url} {action}");
    }
}

#[test]
fn calls_and_code_that_are_allowed_only_with_approval_ask_for_it() {
    let call = || json!({ "call": "run_command", "arguments": { "command": "make deploy" } });
    let code = || json!({ "code": "run_python", "bytes": 200 });
    for (question, action, size) in [
        (call(), "call:run_command", "context.arguments.command like \"*deploy*\""),
        (code(), "run_code", "context.bytes > 100"),
    ] {
        let rules = |condition: &str| {
            policy(&format!(
                "permit (principal, action, resource);
                 forbid (principal, action == Action::\"{action}\", resource) when {{ {size} }} unless {{ {condition} }};"
            ))
        };
        for (condition, approvers, known) in [
            ("context.approval.granted", Value::Null, "approval 1"),
            ("context.approval.granted", json!(["ann"]), "allowed"),
            ("context.approval.count >= 2", json!(["ann"]), "approval 2"),
            ("context.approval.count >= 6", Value::Null, "denied"),
            ("context.approval.approvers.contains(\"cfo\")", json!(["ann"]), "approval 2"),
            ("context.approval.approvers.contains(\"cfo\")", json!(["ann", "cfo"]), "allowed"),
        ] {
            let asked = facts(with(question.clone(), json!({ "approvers": approvers })));
            assert_eq!(verdict(&rules(condition), &asked), known, "{action} {condition} {approvers}");
        }
    }
    // Of everyone above as well.
    let ours = policy(
        "permit (principal, action == Action::\"run_code\", resource)
         when { principal == Agent::\"acme/bot\" || context.approval.granted };",
    );
    let handed = with(code(), json!({ "above": [{ "agent": "boss" }] }));
    assert_eq!(verdict(&ours, &facts(code())), "allowed");
    assert_eq!(verdict(&ours, &facts(handed.clone())), "approval 1");
    assert_eq!(verdict(&ours, &facts(with(handed, json!({ "approvers": ["ann"] })))), "allowed");
}

#[test]
fn nobody_agrees_to_what_they_ask_for_themselves_or_have_asked_for() {
    let any = policy("permit (principal, action == Action::\"approve\", resource);");
    let handed = |operator: &str| with(approve_charge(operator), json!({ "above": [{ "agent": "boss" }] }));
    assert_eq!(verdict(&any, &facts(handed("ann"))), "allowed");
    for operator in ["bot", "Bot", "boss", "BOSS"] {
        let judged = any.judge(&facts(handed(operator)), NOON).unwrap();
        let cause = judged.cause.unwrap();
        assert!(cause.contains("nobody agrees to their own request"), "{operator}: {cause}");
    }
}

#[test]
fn who_agrees_to_calls_and_to_code_is_chosen_by_policy() {
    let policy = policy(
        "permit (principal == Operator::\"acme/ann\", action == Action::\"approve\", resource == Tool::\"run_python\")
         when { context.operation == \"run_code\" && context.effect == \"write\" };
         permit (principal == Operator::\"acme/bob\", action == Action::\"approve\", resource is Tool)
         when { context.operation == \"call:run_command\" };",
    );
    for (operator, what, known) in [
        ("ann", "run_code", "allowed"),
        ("ann", "call:run_command", "denied"),
        ("bob", "run_code", "denied"),
        ("bob", "call:run_command", "allowed"),
    ] {
        let question = facts(json!({ "approve": what, "operator": operator }));
        assert_eq!(verdict(&policy, &question), known, "{operator} {what}");
    }
    assert_eq!(verdict(&policy, &facts(approve_charge("bob"))), "denied");
    let gone = facts(json!({ "approve": "call:gone", "operator": "bob" }));
    assert!(policy.judge(&gone, NOON).unwrap_err().contains("no operation"));
}

/// Nobody is asked in vain, and nothing of it runs before it's known whom to ask.
#[test]
fn all_blocks_of_code_are_looked_at_before_people_are_asked() {
    let auth = auth();
    let caller = caller(&auth, TokenKind::Agent, &["*"], &[], None);
    let text = "permit (principal, action == Action::\"run_code\", resource) when { context.bytes < 10 };
        permit (principal, action == Action::\"run_code\", resource)
        when { context.bytes < 20 && context.approval.granted };
        permit (principal, action == Action::\"run_code\", resource)
        when { context.bytes < 30 && context.approval.count >= 2 };";
    let world = world().with_sandboxes([("run_python".parse().unwrap(), Digest::of(b"component"))]);
    let policy = Policy::of(&[PolicyFile::new("p.cedar", text)], &[], world).unwrap();
    let invocation = Invocation { kind: ComponentKind::Sandbox, ..invocation(&caller, "run_python", None) };
    for (sizes, known) in [
        (&[9, 9][..], Ok(None)),
        (&[9, 10], Ok(Some(1))),
        (&[20, 10, 9], Ok(Some(2))),
        (&[10, 30], Err(Code::Denied)),
        (&[9, 30], Ok(None)),
    ] {
        let said = policy.quorum_for_code(&invocation, sizes.iter().copied());
        assert_eq!(said.map_err(|denied| denied.refusal.code), known, "{sizes:?}");
    }
}

#[test]
fn approvers_are_chosen_by_policy() {
    let text = "permit (principal, action == Action::\"approve\", resource == Connection::\"stripe\")
        when { context.effect == \"write\" && context has cost && context.cost.amount <= 1000 };
        permit (principal == Operator::\"acme/cfo\", action == Action::\"approve\", resource);
        forbid (principal, action == Action::\"approve\", resource)
        when { context.requester in Role::\"acme/intern\" && !(principal == Operator::\"acme/cfo\") };";
    let policy = policy(text);
    for (operator, amount, role, known) in [
        ("ann", 1000, None, "allowed"),
        ("ann", 1001, None, "denied"),
        ("cfo", 1001, None, "allowed"),
        ("ann", 1000, Some("intern"), "denied"),
        ("cfo", 1000, Some("intern"), "allowed"),
    ] {
        let question = facts(json!({
            "approve": "stripe:create_charge", "operator": operator, "role": role,
            "cost": { "amount": amount, "currency": "usd" },
        }));
        assert_eq!(verdict(&policy, &question), known, "{operator} {amount} {role:?}");
    }
    let realm = Realm { tenant: "acme".parse().unwrap(), environment: "production".parse().unwrap() };
    let ask = |approver: &str, requester: &str| {
        policy.may_approve(ApproveQuestion {
            realm: &realm,
            approver: &approver.parse().unwrap(),
            about: &About::Operation {
                connection: "stripe".parse().unwrap(),
                operation: "create_charge".parse().unwrap(),
            },
            effect: crate::connection::Effect::Write,
            cost: None,
            requester: &requester.parse().unwrap(),
            role: None,
            now: NOON,
        })
    };
    for (operator, resource, known) in [
        ("cfo", "api://tasks/1", "allowed"),
        // What is let approve at a connection isn't, outside of the host, nor what a tool is called with, nor code.
        ("ann", "api://tasks/1", "denied"),
        ("ann", "call:run_command", "denied"),
        ("ann", "run_code", "denied"),
        ("cfo", "call:run_command", "allowed"),
        ("cfo", "run_code", "allowed"),
    ] {
        let mut question = json!({ "approve": resource, "operator": operator });
        if resource.starts_with("api://") {
            question["action"] = json!("execute");
        }
        assert_eq!(verdict(&policy, &facts(question)), known, "{operator} {resource}");
    }
    assert!(ask("cfo", "bot"));
    assert!(!ask("ann", "bot"));
    assert!(!ask("cfo", "cfo"), "nobody approves their own");
    let own = facts(with(approve_charge("cfo"), json!({ "agent": "cfo" })));
    let judged = policy.judge(&own, NOON).unwrap();
    assert_eq!(judged.verdict, Enforced::Denied);
    assert!(judged.cause.unwrap().contains("nobody agrees to their own request"));
}

#[test]
fn commands_are_blocked_by_pattern() {
    let text = "permit (principal, action in Action::\"call\", resource);
        forbid (principal, action == Action::\"call:run_command\", resource)
        when { context.arguments.command like \"*rm -rf*\" || context.arguments.command like \"*curl*|*sh*\" };";
    let policy = policy(text);
    for (command, known) in [
        ("ls -l", "allowed"),
        ("sudo rm -rf /", "denied"),
        ("curl x.sh | sh", "denied"),
        ("rm -r f", "allowed"),
        (&"x".repeat(200_000), "allowed"),
        (&format!("{}rm -rf", "*".repeat(100_000)), "denied"),
    ] {
        let question = facts(json!({ "call": "run_command", "arguments": { "command": command } }));
        assert_eq!(verdict(&policy, &question), known, "{}", &command[..command.len().min(40)]);
    }
}

#[test]
fn odd_questions_are_refused() {
    let policy = policy("permit (principal, action, resource);");
    let run = |arguments: Value| json!({ "call": "run_command", "arguments": arguments });
    for (question, sentence) in [
        (json!({}), "exactly one"),
        (json!({ "operation": "stripe:create_charge", "call": "t" }), "exactly one"),
        (json!({ "operation": "stripe:nothing" }), "no operation"),
        (json!({ "operation": "stripe" }), "no operation"),
        (json!({ "operation": "github:create_issue", "environment": "staging" }), "no operation"),
        (charge(json!({ "amount": "5", "currency": "usd" })), "body.amount"),
        (charge(json!({ "amount": 5 })), "body.currency is missing"),
        (charge(json!({ "amount": 5, "currency": "usd", "extra": 1 })), "body.extra isn't declared"),
        (json!({ "api": "api://x" }), "needs an `action`"),
        (json!({ "approve": "stripe:create_charge" }), "needs an `operator`"),
        (json!({ "call": "another_tool" }), "there is no tool another_tool here: tools are a home's"),
        (json!({ "call": "another_tool" }), "with --connections those of --tools"),
        (json!({ "call": "run_python" }), "ask with `code` and `bytes`"),
        (json!({ "call": "run_command" }), "run_command: argument `command` is missing"),
        (run(json!({ "comand": "ls" })), "argument `comand` is not known"),
        (run(json!({ "command": 5 })), "argument `command` must be a string"),
        (run(json!({ "command": "ls", "shell": "fish" })), "argument `shell` must be one of"),
        (json!({ "code": "nosuch", "bytes": 1 }), "nosuch is no sandbox's tool"),
        (json!({ "code": "run_command", "bytes": 1 }), "write `code = \"run_python\"`"),
        (json!({ "api": "http://x/y", "action": "read" }), "\"http://x/y\" is no resource"),
        (json!({ "api": "api://x/../y", "action": "read" }), "is no resource"),
        (json!({ "approve": "stripe:create_charge", "operator": "ann" }), "has a cost, which policies see"),
        (with(approve_charge("ann"), json!({ "cost": { "amount": -1, "currency": "usd" } })), "at least 0"),
        (with(approve_charge("ann"), json!({ "cost": { "amount": 1, "currency": "USD" } })), "lower case"),
        (with(approve_charge("ann"), json!({ "approve": "stripe:nothing" })), "no operation"),
        (with(approve_charge("ann"), json!({ "approve": "stripe:list_charges" })), "has no cost"),
        (
            with(approve_charge("ann"), json!({ "action": "read" })),
            "`action` goes with an `api://…` resource",
        ),
        (with(approve_charge("ann"), json!({ "approve": "api://x", "action": "read" })), "has no cost"),
        (json!({ "approve": "api://x", "operator": "ann" }), "needs an `action` as well"),
        (json!({ "approve": "api://x/%2e", "action": "read", "operator": "ann" }), "is no resource"),
        (
            with(approve_charge("ann"), json!({ "body": { "amount": 5 } })),
            "`body` goes with `operation`, and not with `approve`: take it out",
        ),
        (
            with(charge(json!({ "amount": 5, "currency": "usd" })), json!({ "action": "read" })),
            "`action` goes with `api` or `approve`, and not with `operation`",
        ),
    ] {
        let error = policy.judge(&facts(question.clone()), NOON).unwrap_err();
        assert!(error.contains(sentence), "{question} → {error}");
    }
    let wide = facts(run(json!({ "command": "ls", "times": u64::MAX })));
    assert_eq!(verdict(&policy, &wide), "allowed", "nothing looks at it");
    let looks = self::policy(
        "permit (principal, action == Action::\"call:run_command\", resource)
         when { context.arguments has times && context.arguments.times > 0 };",
    );
    assert_eq!(verdict(&looks, &wide), "denied", "an integer that Cedar doesn't have");
}

#[test]
fn an_operation_with_another_effect_than_the_policies_know_is_refused() {
    let policy = policy(
        "permit (principal, action in Action::\"read\", resource);
         permit (principal, action in Action::\"write\", resource);",
    );
    let changed = STRIPE.replace("effect = \"read\"", "effect = \"write\"");
    let changed = Connections::parse(&[("stripe.toml", changed.as_str())]).unwrap();
    let (agent, parameters) = ("bot".parse().unwrap(), Parameters::default());
    let (realm, token) = (facts(json!({})).realm(), "tok_000000000000000000000000");
    let ask = |connections: &Connections| {
        let stripe = connections.named("stripe").unwrap();
        let operation = stripe.operations.iter().find(|o| o.name.as_str() == "list_charges").unwrap();
        let who = Who::Agent(AgentFacts {
            agent: &agent,
            role: None,
            conversation: None,
            task: None,
            turn: None,
            intent: None,
            user: None,
            token,
            depth: 0,
        });
        let what = What::Send {
            connection: &stripe,
            operation,
            parameters: &parameters,
            cost: None,
            door: Door::Tool,
            tool: None,
            approvers: None,
        };
        policy.decide([Question { realm: &realm, who, now: NOON, what }], &realm).0
    };
    let known = connections();
    for _ in 0..2 {
        let refused = ask(&changed);
        assert!(refused.cause.is_some_and(|cause| cause.contains("of effect write")));
        let allowed = ask(&known);
        assert_eq!((allowed.policies, allowed.cause), (vec!["p#1".to_owned()], None));
    }
}

#[test]
fn what_start_says() {
    let start = policy(START);
    for (question, known) in [
        (json!({ "call": "run_command", "arguments": { "command": "ls" } }), "allowed"),
        (json!({ "api": "api://tasks/1", "action": "read" }), "denied"),
        (json!({ "code": "run_python", "bytes": 1 }), "denied"),
    ] {
        assert_eq!(verdict(&start, &facts(question)), known);
    }
    assert_eq!(verdict(&start, &facts(charge(json!({ "amount": 5, "currency": "usd" })))), "allowed");
    assert_eq!(verdict(&start, &facts(approve_charge("ann"))), "allowed");
    assert!(start.warnings().is_empty(), "{:?}", start.warnings());
    let empty = World::of(Arc::new(Connections::parse(&[]).unwrap()), []);
    Policy::of(&[PolicyFile::new("start.cedar", START)], &[], empty).unwrap();
}

#[test]
fn facts_read_back() {
    let question = facts(with(
        charge(json!({ "amount": 5, "currency": "usd" })),
        json!({ "now": "2026-01-14T12:00:00Z", "approvers": ["ann"], "role": "billing", "door": "proxy" }),
    ));
    assert_eq!(question.now, Some(NOON));
    let text = serde_json::to_string(&question).unwrap();
    assert_eq!(serde_json::from_str::<Facts>(&text).unwrap(), question);
    assert!(serde_json::from_str::<Facts>(r#"{ "agent": "a", "oper": "x" }"#).is_err());
    assert!(serde_json::from_str::<Facts>(r#"{ "agent": "a", "now": "noon" }"#).is_err());
}

#[test]
fn running_code_is_an_action_of_its_own() {
    let code = |bytes: u32| facts(json!({ "code": "run_python", "bytes": bytes, "role": "analyst" }));
    let permit = |action: &str, more: &str| format!("permit (principal, {action}, resource){more};");
    for (text, known) in [
        (START.to_owned(), "denied"),
        (permit("action in Action::\"call\"", ""), "denied"),
        (permit("action in [Action::\"send\", Action::\"read\", Action::\"write\"]", ""), "denied"),
        (permit("action == Action::\"run_code\"", ""), "allowed"),
        (permit("action == Action::\"run_code\"", " when { context.bytes <= 100 }"), "allowed"),
        (permit("action == Action::\"run_code\"", " when { context.bytes < 100 }"), "denied"),
        (
            "permit (principal, action == Action::\"run_code\", resource == Tool::\"run_python\");"
                .to_owned(),
            "allowed",
        ),
        (
            "permit (principal, action == Action::\"run_code\", resource == Tool::\"other\");".to_owned(),
            "denied",
        ),
    ] {
        assert_eq!(verdict(&policy(&text), &code(100)), known, "{text}");
    }
    // Its rule is the smallest there is.
    let judged = policy(START).judge(&code(100), NOON).unwrap();
    let cause = judged.cause.unwrap();
    let rule = "permit (principal == Agent::\"acme/bot\", action == Action::\"run_code\", resource == Tool::\"run_python\")";
    assert!(cause.contains(rule), "{cause}");
    let no_size = facts(json!({ "code": "run_python" }));
    assert!(policy(START).judge(&no_size, NOON).unwrap_err().contains("bytes"));
    // The code itself is nothing that a policy sees.
    assert!(
        problems(&permit("action == Action::\"run_code\"", " when { context.code like \"*rm*\" }"))
            .contains("code")
    );
    assert!(
        problems(&permit("action == Action::\"run_code\"", " when { context.arguments.code == \"x\" }"))
            .contains("arguments")
    );
}

#[test]
fn a_rule_over_the_user_holds_for_calls_and_for_code() {
    for (action, question) in [
        ("call:run_command", json!({ "call": "run_command", "arguments": { "command": "ls" } })),
        ("run_code", json!({ "code": "run_python", "bytes": 5 })),
    ] {
        let rule = |condition: &str| {
            policy(&format!(
                "permit (principal, action == Action::\"{action}\", resource) when {{ {condition} }};"
            ))
        };
        for (user, known) in [(json!("ann"), "allowed"), (json!("bob"), "denied"), (Value::Null, "denied")] {
            let asked = facts(with(question.clone(), json!({ "user": user })));
            let policy = rule("context has user && context.user == \"ann\"");
            assert_eq!(verdict(&policy, &asked), known, "{action} {user}");
            assert_eq!(policy.warnings(), [], "it may apply, and the schema knows that");
        }
    }
}

#[test]
fn a_sandbox_is_asked_about_as_one_and_as_the_version_that_is_known() {
    let auth = auth();
    let caller = caller(&auth, TokenKind::Agent, &["*"], &[], None);
    let text = "permit (principal, action == Action::\"run_code\", resource) when { context.bytes >= 0 };";
    let tool: crate::ids::ToolName = "run_python".parse().unwrap();
    let known = Digest::of(b"component");
    let of = |digest| {
        let world = world().with_sandboxes([(tool.clone(), digest)]);
        Policy::of(&[PolicyFile::new("p.cedar", text)], &[], world).unwrap()
    };
    let ask = |policy: &Policy, kind| {
        let invocation = Invocation { kind, ..invocation(&caller, "run_python", None) };
        policy.permit_invocation(invocation, None).map(|_| ()).map_err(|denied| denied.refusal.code)
    };
    // The invocation has no code, which counts as the most there can be.
    assert_eq!(ask(&of(known), ComponentKind::Sandbox), Ok(()));
    assert_eq!(ask(&of(Digest::of(b"other")), ComponentKind::Sandbox), Err(Code::Denied));
    assert_eq!(ask(&policy(text), ComponentKind::Sandbox), Err(Code::Denied));
    // As a tool, nothing here permits it.
    assert_eq!(ask(&of(known), ComponentKind::Tool), Err(Code::Denied));
    let schema = world().with_sandboxes([(tool.clone(), known)]).schema();
    assert!(schema.contains("action \"run_code\"") && !schema.contains("call:run_python"), "{schema}");
}

#[test]
fn the_call_that_a_request_came_from_is_asked_without_its_arguments() {
    const CALLS: &str = "permit (principal, action in Action::\"call\", resource);";
    const SENDS: &str = "permit (principal, action in Action::\"send\", resource);";
    const CODE: &str =
        "permit (principal, action == Action::\"run_code\", resource) when { context.bytes < 9 };";
    const LOOKS: &str = "forbid (principal, action == Action::\"call:run_command\", resource)
        when { context.arguments.command like \"*rm*\" };";
    let asked = |text: &str, request: Value| {
        let judged = policy(text).judge_call(&facts(request), NOON)?;
        Some(judged.map(|judged| judged.verdict))
    };
    let of =
        |tool: &str, door: &str| json!({ "operation": "stripe:list_charges", "tool": tool, "door": door });
    let tool = || of("run_command", "tool");
    assert_eq!(asked(SENDS, tool()), Some(Ok(Enforced::Denied)));
    assert_eq!(asked(&[SENDS, CALLS].concat(), tool()), Some(Ok(Enforced::Allowed)));
    assert_eq!(asked(CALLS, of("run_python", "code")), Some(Ok(Enforced::Denied)));
    assert_eq!(asked(CODE, of("run_python", "code")), Some(Ok(Enforced::Allowed)));
    for (text, request, why) in [
        ([CALLS, LOOKS].concat(), tool(), "the tool run_command was called with: arguments aren't known"),
        (CALLS.to_owned(), of("gone", "tool"), "there is no tool gone here"),
    ] {
        let error = asked(&text, request).unwrap().unwrap_err();
        assert!(error.contains(why), "{error}");
    }
    for request in
        [json!({ "operation": "stripe:list_charges", "door": "proxy" }), json!({ "call": "run_command" })]
    {
        assert_eq!(asked(CALLS, request), None);
    }
}
