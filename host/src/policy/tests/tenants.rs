//! A tenant's posted policies are its own.

use super::*;

const READ: &str = "permit (principal, action in Action::\"read\", resource);";

fn list(tenant: &str) -> Facts {
    let mut facts = facts(json!({ "operation": "stripe:list_charges" }));
    facts.tenant = tenant.parse().unwrap();
    facts
}

fn of(files: &str, posted: &[PolicyRow]) -> Policy {
    Policy::of(&[PolicyFile::new("p.cedar", files)], posted, world()).unwrap()
}

#[test]
fn a_posted_policy_applies_to_its_tenant_alone() {
    for text in [
        READ,
        "permit (principal == Agent::\"beta/bot\", action, resource);",
        "permit (principal, action, resource);",
    ] {
        let policy = of("", &[posted("acme", text)]);
        assert_eq!(verdict(&policy, &list("beta")), "denied", "{text}");
    }
    let policy = of("", &[posted("acme", READ)]);
    assert_eq!(verdict(&policy, &list("acme")), "allowed");
    let policy = of(READ, &[posted("acme", "forbid (principal, action, resource);")]);
    assert_eq!(verdict(&policy, &list("acme")), "denied");
    assert_eq!(verdict(&policy, &list("beta")), "allowed");
}

#[test]
fn a_posted_policy_cannot_take_an_id() {
    let row = posted("acme", "@id(\"p#1\") permit (principal, action, resource);");
    let policy = of(READ, std::slice::from_ref(&row));
    let judged = policy.judge(&list("acme"), NOON).unwrap();
    assert_eq!(judged.policies, ["p#1".to_owned(), format!("{}#1", row.id)]);
}

#[test]
fn a_broken_posted_policy_denies_its_tenant_and_no_other() {
    let policy =
        of("permit (principal, action, resource);", &[posted("acme", "forbid ("), posted("acme", READ)]);
    assert_eq!(verdict(&policy, &list("acme")), "denied");
    assert_eq!(verdict(&policy, &list("beta")), "allowed");
    assert!(policy.check_stored(&posted("acme", "forbid (")).is_err());
    let said =
        policy.check_stored(&posted("acme", "permit (principal, action, resource) when { context.x };"));
    assert!(said.unwrap_err().to_string().contains(":1:"));
    assert!(policy.check_stored(&posted("acme", READ)).is_ok());
}

#[test]
fn a_tenants_hash_changes_with_its_own_policies() {
    let acme = "acme".parse().unwrap();
    let (a, b) = (posted("acme", READ), posted("beta", READ));
    let (none, one, two) = (of(READ, &[]), of(READ, std::slice::from_ref(&a)), of(READ, &[a, b]));
    assert_ne!(none.hash_for(&acme), one.hash_for(&acme));
    assert_eq!(one.hash_for(&acme), two.hash_for(&acme), "another tenant's policy changed it");
    assert_ne!(one.hash(), two.hash());
}

/// A posted policy that allows so many tasks at once.
fn tasks(tenant: &str, limit: serde_json::Value, whom: serde_json::Value) -> PolicyRow {
    let mut source = json!({
        "name": "t", "actions": ["run"], "resources": ["api://tasks/*"], "effect": "allow",
        "constraints": { "maxConcurrentTasks": limit },
    });
    for (name, value) in whom.as_object().unwrap() {
        source[name] = value.clone();
    }
    PolicyRow { source, ..posted(tenant, READ) }
}

#[test]
fn the_least_of_the_limits_on_tasks_that_are_for_an_agent_holds() {
    let auth = auth();
    let caller = caller(&auth, TokenKind::Agent, &["*"], &[], None);
    let limits = |rows: &[PolicyRow]| -> Vec<_> {
        let limits = of("", rows).calls_at_once(&caller);
        limits.into_iter().map(|limit| (limit.agent.to_string(), limit.calls_max)).collect()
    };
    let one = |max: u32| vec![("billing".to_owned(), max)];
    assert_eq!(limits(&[posted("acme", READ)]), []);
    assert_eq!(limits(&[tasks("acme", json!(5), json!({}))]), one(5));
    assert_eq!(limits(&[tasks("acme", json!(5), json!({})), tasks("acme", json!(0), json!({}))]), one(0));
    assert_eq!(limits(&[tasks("acme", json!(2), json!({ "agents": ["other", "billing"] }))]), one(2));
    for other in [json!({ "agents": ["other"] }), json!({ "role": "payer" })] {
        assert_eq!(limits(&[tasks("acme", json!(2), other)]), []);
    }
    assert_eq!(limits(&[tasks("beta", json!(2), json!({}))]), [], "another tenant's limit");
}

#[test]
fn a_limit_on_tasks_that_can_not_be_read_denies_its_tenant() {
    for limit in [json!("5"), json!(-1), json!(1.5), json!({})] {
        let policy = of("permit (principal, action, resource);", &[tasks("acme", limit, json!({}))]);
        assert_eq!(verdict(&policy, &list("acme")), "denied");
        assert_eq!(verdict(&policy, &list("beta")), "allowed");
    }
}
