//! A tenant's posted policies are its own, and an environment's are that one's.

use super::super::set::Set;
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
    let acme = list("acme").realm();
    let (a, b) = (posted("acme", READ), posted("beta", READ));
    let (none, one, two) = (of(READ, &[]), of(READ, std::slice::from_ref(&a)), of(READ, &[a, b]));
    assert_ne!(none.hash_for(&acme), one.hash_for(&acme));
    assert_eq!(one.hash_for(&acme), two.hash_for(&acme), "another tenant's policy changed it");
    assert!(none.hash() == one.hash() && one.hash() == none.hash_for(&acme), "the files' alone");
    assert_eq!(two.posted_hashes()["acme"], one.hash_for(&acme));
}

fn posted_in(environment: &str, cedar: &str) -> PolicyRow {
    PolicyRow { environment: Some(environment.parse().unwrap()), ..posted("acme", cedar) }
}

fn list_in(environment: &str) -> Facts {
    Facts { environment: environment.parse().unwrap(), ..list("acme") }
}

#[test]
fn what_is_posted_for_one_environment_applies_there_alone() {
    let policy = of("", &[posted_in("dev", READ)]);
    assert_eq!(verdict(&policy, &list_in("dev")), "allowed");
    assert_eq!(verdict(&policy, &list_in("prod")), "denied");
    let policy = of(READ, &[posted_in("dev", "forbid (principal, action, resource);")]);
    assert_eq!(verdict(&policy, &list_in("dev")), "denied");
    assert_eq!(verdict(&policy, &list_in("prod")), "allowed");
    let policy = of("", &[posted("acme", READ), posted_in("dev", READ)]);
    for environment in ["dev", "prod"] {
        assert_eq!(verdict(&policy, &list_in(environment)), "allowed", "the tenant's as a whole");
    }
}

#[test]
fn a_broken_policy_of_one_environment_denies_nothing_in_another() {
    for broken in [
        posted_in("dev", "forbid ("),
        PolicyRow {
            source: json!({
                "name": "t", "actions": ["run"], "resources": ["api://x"], "effect": "allow",
                "constraints": { "maxConcurrentTasks": "5" },
            }),
            ..posted_in("dev", READ)
        },
    ] {
        let policy = of("permit (principal, action, resource);", &[broken, posted_in("prod", READ)]);
        assert_eq!(verdict(&policy, &list_in("dev")), "denied");
        assert_eq!(verdict(&policy, &list_in("prod")), "allowed");
    }
    let policy =
        of("permit (principal, action, resource);", &[posted("acme", "forbid ("), posted_in("dev", READ)]);
    assert_eq!(verdict(&policy, &list_in("dev")), "denied", "the tenant's as a whole is broken");
}

#[test]
fn what_is_posted_for_one_place_has_one_limit() {
    let there = [posted("acme", &READ.repeat(3)), posted("acme", READ), posted_in("dev", READ)];
    let set = Set::new(&[], &there, world(), None).unwrap();
    let two = READ.repeat(2);
    for (row, most) in [
        (posted("acme", READ), 5),
        (posted("acme", &two), 6),
        (posted_in("dev", &two), 3),
        (posted_in("prod", READ), 1),
        (posted("beta", READ), 1),
    ] {
        set.check_posted(&row, most).unwrap();
        let refused = set.check_posted(&row, most - 1).unwrap_err().to_string();
        assert!(refused.contains(&format!("{} is the most", most - 1)), "{refused}");
    }
}

#[test]
fn an_environments_hash_changes_with_its_own_policies_and_the_tenants() {
    let (dev, prod) = (list_in("dev").realm(), list_in("prod").realm());
    let none = of(READ, &[]);
    let one = of(READ, &[posted_in("dev", READ)]);
    assert_ne!(none.hash_for(&dev), one.hash_for(&dev));
    assert_eq!(none.hash_for(&prod), one.hash_for(&prod), "another environment's policy changed it");
    let whole = of(READ, &[posted("acme", READ)]);
    assert_ne!(none.hash_for(&prod), whole.hash_for(&prod));
    let both = of(READ, &[posted("acme", READ), posted_in("dev", READ)]);
    assert_ne!(both.hash_for(&dev), both.hash_for(&prod));
    assert_eq!((none.count(), both.count()), ((1, 0), (1, 2)));
}

#[test]
fn a_limit_on_tasks_holds_in_its_own_environment() {
    let auth = auth();
    let caller = caller(&auth, TokenKind::Agent, &["*"], &[], None);
    let limited = |environment: &str, max: u32| PolicyRow {
        environment: Some(environment.parse().unwrap()),
        ..tasks("acme", json!(max), json!({}))
    };
    let least = |rows: &[PolicyRow]| of("", rows).calls_at_once(&caller).first().map(|limit| limit.calls_max);
    assert_eq!(least(&[limited("prod", 1)]), None, "another environment's limit");
    assert_eq!(least(&[limited("dev", 3), limited("prod", 1)]), Some(3));
    assert_eq!(
        least(&[limited("dev", 3), tasks("acme", json!(2), json!({}))]),
        Some(2),
        "the tenant's holds, too"
    );
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
