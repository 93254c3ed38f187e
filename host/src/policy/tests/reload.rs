//! Policies of a home, while it changes.

use std::path::Path;

use super::*;
use crate::catalog::{Catalog, CodeCache, Loader};
use crate::connection::LiveConnections;
use crate::reach::Reach;
use crate::runtime::{Runtime, RuntimeConfig};
use crate::store::PolicyStore as _;

const READS: &str = "permit (principal, action in Action::\"read\", resource);";

fn open(dir: &Path, store: &Arc<MemoryControl>) -> Policy {
    let runtime = Arc::new(Runtime::new(&RuntimeConfig::for_commands()).unwrap());
    let loader = Loader::new(runtime, CodeCache::off());
    let catalog = Catalog::open(dir.join("tools"), store.clone(), loader, &|_| {}).unwrap();
    let connections = Arc::new(LiveConnections::fixed(connections()));
    let source = PolicySource::new(Some(dir.join("policies")), store.clone(), connections, Arc::new(catalog));
    Policy::open(source).unwrap()
}

/// Two looks at a folder that has changed: whether the second one finds something to do.
fn settled(policy: &Policy) -> bool {
    assert!(!policy.is_stale(), "it may be half written");
    policy.is_stale()
}

#[test]
fn a_change_is_taken_up_and_a_mistake_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let (store, folder) = (Arc::new(MemoryControl::new()), dir.path().join("policies"));
    let policy = open(dir.path(), &store);
    let list = facts(json!({ "operation": "stripe:list_charges" }));
    assert_eq!((policy.count(), verdict(&policy, &list).as_str()), ((0, 0), "denied"));
    assert!(!policy.is_stale() && !policy.refresh().unwrap());

    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("a.cedar"), READS).unwrap();
    assert!(settled(&policy));
    let same = policy.clone();
    assert!(policy.refresh().unwrap());
    assert_eq!(verdict(&same, &list), "allowed", "a clone is the same policy");
    let good = policy.hash();

    std::fs::write(folder.join("b.cedar"), "forbid (principal, action, resource); permit (").unwrap();
    assert!(settled(&policy));
    assert!(policy.refresh().unwrap_err().to_string().contains("b.cedar:1:"));
    assert_eq!((policy.hash(), verdict(&policy, &list).as_str()), (good, "allowed"));
    assert!(!policy.refresh().unwrap(), "a mistake is told once");

    std::fs::write(folder.join("b.cedar"), "forbid (principal, action, resource);").unwrap();
    assert!(settled(&policy) && policy.refresh().unwrap());
    assert_eq!(verdict(&policy, &list), "denied");
}

#[test]
fn a_file_that_is_just_being_written_is_not_read_whatever_else_changes() {
    let dir = tempfile::tempdir().unwrap();
    let (store, file) = (Arc::new(MemoryControl::new()), dir.path().join("policies/a.cedar"));
    std::fs::create_dir(dir.path().join("policies")).unwrap();
    let forbids = format!("{READS} forbid (principal, action, resource);");
    std::fs::write(&file, &forbids).unwrap();
    let policy = open(dir.path(), &store);
    let list = facts(json!({ "operation": "stripe:list_charges" }));
    assert_eq!(verdict(&policy, &list), "denied");

    // Half of it is there when a policy is posted.
    std::fs::write(&file, READS).unwrap();
    store.insert_policy(&posted("acme", READS)).unwrap();
    assert!(policy.refresh().unwrap());
    assert_eq!(verdict(&policy, &list), "denied");
    assert!(!policy.is_stale());
    std::fs::write(&file, format!("{READS}\n")).unwrap();
    store.insert_policy(&posted("acme", READS)).unwrap();
    assert!(policy.is_stale() && policy.refresh().unwrap());
    assert_eq!(verdict(&policy, &list), "denied");
    std::fs::write(&file, format!("{forbids}\n")).unwrap();
    assert!(settled(&policy) && policy.refresh().unwrap());
    assert_eq!(verdict(&policy, &list), "denied");

    std::fs::write(&file, READS).unwrap();
    assert!(settled(&policy) && policy.refresh().unwrap());
    assert_eq!(verdict(&policy, &list), "allowed");
}

#[test]
fn posted_policies_are_taken_up_and_the_earlier_ones_stay_when_they_break() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(MemoryControl::new());
    let policy = open(dir.path(), &store);
    let list = facts(json!({ "operation": "stripe:list_charges" }));
    store.insert_policy(&posted("acme", READS)).unwrap();
    assert!(policy.is_stale() && policy.refresh().unwrap());
    assert_eq!(verdict(&policy, &list), "allowed");
    store.insert_policy(&posted("acme", "forbid (")).unwrap();
    assert!(policy.refresh().unwrap());
    assert_eq!(verdict(&policy, &list), "allowed", "the earlier ones stay");
    let fresh = open(dir.path(), &store);
    assert_eq!(verdict(&fresh, &list), "denied", "where there are none, nothing is allowed");
}

#[test]
fn what_is_posted_holds_at_once_whatever_is_wrong_with_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let (store, folder) = (Arc::new(MemoryControl::new()), dir.path().join("policies"));
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("a.cedar"), READS).unwrap();
    let policy = open(dir.path(), &store);
    let list = facts(json!({ "operation": "stripe:list_charges" }));
    let broken = folder.join("b.cedar");
    // No policy, and no text.
    for bytes in [b"permit (".as_slice(), &[0xff]] {
        std::fs::write(&broken, bytes).unwrap();
        assert!(settled(&policy) && policy.refresh().is_err());
        let deny = posted("acme", "forbid (principal, action, resource);");
        store.insert_policy(&deny).unwrap();
        assert!(policy.refresh().is_err());
        assert_eq!((policy.holds(&deny), verdict(&policy, &list).as_str()), (Some(true), "denied"));
        assert!(store.remove_policy(&Reach::every(deny.tenant.clone()), &deny.id).unwrap());
        assert!(policy.refresh().is_err());
        assert_eq!((policy.holds(&deny), verdict(&policy, &list).as_str()), (Some(false), "allowed"));

        std::fs::remove_file(&broken).unwrap();
        let _ = (policy.is_stale(), policy.is_stale());
        policy.refresh().unwrap();
        assert_eq!(verdict(&policy, &list), "allowed");
    }
}

#[test]
fn what_can_not_be_taken_up_beside_the_others_is_known_not_to_hold() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(MemoryControl::new());
    let policy = open(dir.path(), &store);
    let (good, broken, later) = (posted("acme", READS), posted("acme", "forbid ("), posted("acme", READS));
    store.insert_policy(&good).unwrap();
    policy.refresh().unwrap();
    for row in [&broken, &later] {
        store.insert_policy(row).unwrap();
        policy.refresh().unwrap();
        assert_eq!((policy.holds(&good), policy.holds(row)), (Some(true), Some(false)));
    }
    store.remove_policy(&Reach::every(good.tenant.clone()), &broken.id).unwrap();
    policy.refresh().unwrap();
    assert_eq!(policy.holds(&later), Some(true));
}
