//! What is taken and what isn't, and what is said about it.

use super::*;

#[test]
fn mistakes_are_named_with_their_place_and_a_hint() {
    for (text, parts) in [
        (
            "permit (principal, action == Action::\"stripe:create_charge\", resource)\nwhen { context.body.amonut <= 5 };",
            &["p.cedar:2:", "amonut", "amount"][..],
        ),
        (
            "permit (principal, action == Action::\"stripe:create_charge\", resource)\n  when { context.body.amount <= \"5\" };",
            &["p.cedar:2:", "Long", "String"],
        ),
        (
            "permit (principal, action == Action::\"stripe:create_charg\", resource);",
            &["p.cedar:1:", "stripe:create_charg", "stripe:create_charge"],
        ),
        (
            "permit (principal, action == Action::\"stripe:create_charge\", resource)\nwhen { context.body.description like \"*x*\" };",
            &["p.cedar:2:", "description", "optional"],
        ),
        ("permit (principal is Agnet, action, resource);", &["p.cedar:1:", "Agnet", "Agent"]),
        ("permit (principal, action, resource)", &["p.cedar:1:37", "unexpected end"]),
        ("\n\npermit (principal, acton, resource);", &["p.cedar:3:"]),
        ("permit (principal == ?principal, action, resource);", &["p.cedar", "templates"]),
        (
            "@id(\"a\") permit (principal, action, resource); @id(\"a\") forbid (principal, action, resource);",
            &["\"a\" is taken", "@id"],
        ),
        ("@id(\"a b\") permit (principal, action, resource);", &["a b", "ASCII"]),
        (
            "permit (principal, action == Action::\"approve\", resource) when { context.approval.granted };",
            &["p.cedar:1:", "approval"],
        ),
    ] {
        let said = problems(text);
        for part in parts {
            assert!(said.contains(part), "{text}\n→ {said}\nlacks {part}");
        }
    }
}

#[test]
fn a_set_is_taken_whole_or_not_at_all() {
    let good = PolicyFile::new("a.cedar", "permit (principal, action, resource);");
    let bad = [PolicyFile::new("b.cedar", "permit ();"), PolicyFile::new("c.cedar", "nonsense")];
    let said =
        Policy::of(&[good.clone(), bad[0].clone(), bad[1].clone()], &[], world()).unwrap_err().to_string();
    assert!(said.contains("b.cedar") && said.contains("c.cedar"), "{said}");
    let twice =
        [good.clone(), PolicyFile::new("a2.cedar", "@id(\"a#1\") permit (principal, action, resource);")];
    assert!(Policy::of(&twice, &[], world()).unwrap_err().to_string().contains("is taken"));
}

#[test]
fn ids_are_the_files_stem_and_a_number_or_chosen() {
    let text =
        "permit (principal, action, resource); // one\n@id(\"second\") forbid (principal, action, resource);
        forbid (principal, action, resource);";
    let judged = policy(text).judge(&facts(json!({ "operation": "stripe:list_charges" })), NOON).unwrap();
    assert_eq!(judged.policies, ["p#3", "second"]);
}

#[test]
fn the_hash_is_of_ids_and_meaning() {
    let hash = |text: &str| policy(text).hash();
    let text = "permit (principal, action, resource);";
    assert_eq!(hash(text), hash("// a comment\npermit(principal,action,\n  resource );"));
    assert_ne!(hash(text), hash(""));
    assert_ne!(hash(text), hash("forbid (principal, action, resource);"));
    assert_ne!(hash(text), hash("@id(\"x\") permit (principal, action, resource);"));
    let files = |a: &str, b: &str| {
        let file = |name: &str| PolicyFile::new(name, "permit (principal, action, resource);");
        Policy::of(&[file(a), file(b)], &[], world()).unwrap().hash()
    };
    assert_eq!(files("a.cedar", "b.cedar"), files("b.cedar", "a.cedar"));
    assert_ne!(files("a.cedar", "b.cedar"), files("a.cedar", "c.cedar"));
    // Held over versions of this program: the audit trail refers to it.
    assert_eq!(
        hash(text).to_string(),
        "sha256:37c890c89207d3cb0a7c904cdde703f25fbabe7dff7a9b794df15a0cfabbf9a2"
    );
}

#[test]
fn huge_and_deep_texts_are_refused_or_taken_and_never_crash() {
    let when = |condition: String| format!("permit (principal, action, resource) when {{ {condition} }};");
    let deep = |open: &str, inner: &str, close: &str, n: usize| {
        when(format!("{}{inner}{}", open.repeat(n), close.repeat(n)))
    };
    for n in [100, 100_000] {
        for text in [
            deep("(", "true", ")", n),
            deep("[", "1", "].contains([])", n),
            deep("if true then ", "true", " else false", n),
            deep("", "true", " && true", n),
            deep("", "1", " + 1", n),
            deep("{ \"a\": ", "1", " }", n),
            deep("!", "true", "", n),
            deep("context", ".a", "", n),
        ] {
            // Either answer will do.
            let _ = Policy::of(&[PolicyFile::new("p.cedar", text)], &[], world());
        }
    }
    let long = when(format!("context.environment == \"{}\"", "x".repeat(POLICY_FILE_BYTES_MAX)));
    assert!(problems(&long).contains("larger than"));
    let said =
        problems(&format!("permit (principal, action, resource);\n{}", deep("", "true", " && true", 10_000)));
    assert!(said.contains("p.cedar:2:") && said.contains("split it up"), "{said}");
    let many: Vec<String> = (0..20_000).map(|n| format!("\"cus_{n}\"")).collect();
    let customers = format!(
        "permit (principal, action == Action::\"stripe:create_charge\", resource)
         when {{ context has customer && [{}].contains(context.customer) }};",
        many.join(", ")
    );
    let question = json!({ "operation": "stripe:create_charge",
        "body": { "amount": 1, "currency": "usd", "customer": "cus_19999" } });
    assert_eq!(verdict(&policy(&customers), &facts(question)), "allowed");
}

#[test]
fn a_deep_policy_that_is_taken_can_be_asked_on_a_small_stack() {
    let condition = "true && ".repeat(600);
    let policy = policy(&format!("permit (principal, action, resource) when {{ {condition} true }};"));
    std::thread::Builder::new()
        .stack_size(2 * 1024 * 1024)
        .spawn(move || {
            let asked = verdict(&policy, &facts(json!({ "operation": "stripe:list_charges" })));
            drop(policy);
            asked
        })
        .unwrap()
        .join()
        .unwrap();
}

/// What is answered on a stack of so many bytes.
fn asked_on(stack_bytes: usize, policy: &Policy) -> String {
    let policy = policy.clone();
    let ask = move || verdict(&policy, &facts(json!({ "operation": "stripe:list_charges" })));
    std::thread::Builder::new().stack_size(stack_bytes).spawn(ask).unwrap().join().unwrap()
}

#[test]
fn deep_forbids_can_be_asked_on_a_small_stack() {
    let nested = |open: &str, close: &str, levels: usize| {
        let condition = format!("{}false{}", open.repeat(levels), close.repeat(levels));
        let forbid = format!("forbid (principal, action, resource) when {{ {condition} }};");
        policy(&format!("permit (principal, action, resource); {forbid} {forbid}"))
    };
    for (open, close, most) in [
        ("true && ", "", 600),
        ("false || ", "", 600),
        ("!(", ")", 300),
        ("if true then ", " else false", 300),
    ] {
        for levels in [2, 10, 12, 14] {
            assert_eq!(asked_on(2 << 20, &nested(open, close, levels)), "allowed", "{levels} × {open}");
        }
        // The evaluator itself may give up, which denies.
        let deepest = nested(open, close, most);
        for stack_bytes in [2 << 20, 1 << 20] {
            asked_on(stack_bytes, &deepest);
        }
    }
}

#[test]
fn one_deep_forbid_leaves_the_others_as_they_are() {
    let forbid = |condition: &str| {
        format!(
            "forbid (principal, action == Action::\"stripe:create_charge\", resource) when {{ {condition} }};"
        )
    };
    let deep = format!("{}context.body.amount == 3", "true && ".repeat(12));
    let policy = policy(&format!(
        "permit (principal, action, resource); {} {} {}",
        forbid("context.body.amount == 1"),
        forbid("context.body.amount == 2"),
        forbid(&deep),
    ));
    for (amount, decided) in [(1, "p#2"), (2, "p#3"), (3, "p#4"), (4, "p#1")] {
        let body = json!({ "amount": amount, "currency": "usd" });
        let question = facts(json!({ "operation": "stripe:create_charge", "body": body }));
        assert_eq!(policy.judge(&question, NOON).unwrap().policies, [decided], "{amount}");
    }
}

#[test]
fn what_can_never_apply_is_a_warning() {
    let policy =
        policy("permit (principal, action == Action::\"stripe:create_charge\", resource) when { false };");
    let warnings: Vec<_> = policy.warnings().iter().map(ToString::to_string).collect();
    assert!(warnings[0].starts_with("p.cedar:1:"), "{warnings:?}");
}

#[test]
fn files_are_read_by_name_and_others_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [("b.cedar", "b"), ("a.cedar", "a"), ("c.txt", "c"), ("d.cedar.bak", "d")] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let files = PolicyFile::read_all(folder.path()).unwrap();
    assert_eq!(files, [PolicyFile::new("a.cedar", "a"), PolicyFile::new("b.cedar", "b")]);
    assert_eq!(PolicyFile::read_all(&folder.path().join("none")).unwrap(), []);
    std::fs::write(folder.path().join("e.cedar"), [0xff]).unwrap();
    assert!(PolicyFile::read_all(folder.path()).unwrap_err().to_string().contains("e.cedar"));
}
