//! What policies see of a parameter that is null.

use super::*;

const CRM: &str = r#"
base_url = "https://api.example.com"
secret = "key"
attach = { kind = "bearer" }
[operations.update]
request = "PATCH /v1/accounts"
effect = "write"
content_type = "application/merge-patch+json"
body.limit = { type = "integer", minimum = 0, optional = true, nullable = true }
body.owner = { type = "string", nullable = true }
body.address = { type = "object", optional = true, properties = { zip = { type = "string", nullable = true } } }
body.lines = { type = "array", optional = true, items = { type = "object", properties = { note = { type = "string", nullable = true } } } }
[operations.rename]
request = "PUT /v1/accounts"
effect = "write"
content_type = "application/json"
body.owner = { type = "string" }
"#;

fn crm(text: &str) -> Result<Policy, String> {
    let connections = Arc::new(Connections::parse(&[("crm.toml", CRM)]).unwrap());
    let files = [PolicyFile::new("p.cedar", text)];
    Policy::of(&files, &[], World::of(connections, [])).map_err(|problems| problems.to_string())
}

/// What is said of an update, with a rule beside one that permits everything.
fn judged(rule: &str, body: serde_json::Value) -> String {
    let policy = crm(&format!("permit (principal, action, resource); {rule}")).unwrap();
    verdict(&policy, &facts(json!({ "operation": "crm:update", "body": body })))
}

#[test]
fn null_passes_no_rule_that_nothing_would_not_pass() {
    for (rule, absent) in [
        (
            "forbid (principal, action == Action::\"crm:update\", resource)
             when { context.body has limit && context.body.limit > 9 };",
            "allowed",
        ),
        (
            "forbid (principal, action == Action::\"crm:update\", resource)
             unless { context.body has limit && context.body.limit <= 9 };",
            "denied",
        ),
        (
            "forbid (principal, action == Action::\"crm:update\", resource) unless { context.body has limit };",
            "denied",
        ),
        (
            "forbid (principal, action == Action::\"crm:update\", resource) when { context.body has limit };",
            "allowed",
        ),
    ] {
        assert_eq!(judged(rule, json!({ "owner": "a" })), absent, "{rule}");
        assert_eq!(judged(rule, json!({ "owner": "a", "limit": null })), absent, "{rule}");
    }
    let permit = "permit (principal, action == Action::\"crm:update\", resource)
                  when { context.body has limit && context.body.limit <= 9 };";
    for (limit, said) in [(json!(9), "allowed"), (json!(10), "denied"), (json!(null), "denied")] {
        let question = facts(json!({ "operation": "crm:update", "body": { "owner": "a", "limit": limit } }));
        assert_eq!(verdict(&crm(permit).unwrap(), &question), said);
    }
}

#[test]
fn what_may_be_null_has_to_be_asked_for_though_it_is_always_there() {
    let rule = "permit (principal, action == Action::\"crm:update\", resource) when { OWNER };";
    let bare = rule.replace("OWNER", "context.body.owner == \"a\"");
    assert!(crm(&bare).unwrap_err().contains("owner"));
    let asked = crm(&rule.replace("OWNER", "context.body has owner && context.body.owner == \"a\"")).unwrap();
    for (owner, said) in [(json!("a"), "allowed"), (json!(null), "denied")] {
        let question = facts(json!({ "operation": "crm:update", "body": { "owner": owner } }));
        assert_eq!(verdict(&asked, &question), said);
    }
}

#[test]
fn a_rule_can_forbid_that_something_is_unset() {
    for (place, body) in [
        ("limit", json!({ "owner": "a", "limit": null })),
        ("owner", json!({ "owner": null })),
        ("address.zip", json!({ "owner": "a", "address": { "zip": null } })),
        ("lines[].note", json!({ "owner": "a", "lines": [{ "note": "x" }, { "note": null }] })),
    ] {
        let rule = format!(
            "forbid (principal, action == Action::\"crm:update\", resource)
             when {{ context.nulls.contains(\"{place}\") }};"
        );
        assert_eq!(judged(&rule, body), "denied", "{place}");
        assert_eq!(judged(&rule, json!({ "owner": "a" })), "allowed", "{place}");
    }
    // Over all operations it's asked for: one without such parameters has no set.
    let all = "forbid (principal, action in Action::\"write\", resource) when { CHECK };";
    assert!(crm(&all.replace("CHECK", "!context.nulls.isEmpty()")).unwrap_err().contains("nulls"));
    let asked = all.replace("CHECK", "context has nulls && !context.nulls.isEmpty()");
    assert_eq!(judged(&asked, json!({ "owner": null })), "denied");
    assert_eq!(judged(&asked, json!({ "owner": "a" })), "allowed");
}
