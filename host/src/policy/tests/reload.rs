//! Policies of a home, while it changes.

use std::path::Path;

use super::*;
use crate::catalog::{Catalog, CodeCache, Loader};
use crate::connection::LiveConnections;
use crate::runtime::{Runtime, RuntimeConfig};
use crate::store::PolicyStore as _;

const READS: &str = "permit (principal, action in Action::\"read\", resource);";

fn open(dir: &Path, store: &Arc<MemoryControl>) -> Policy {
    let runtime = Arc::new(Runtime::new(&RuntimeConfig::for_commands()).unwrap());
    let loader = Loader::new(runtime, CodeCache::off());
    let catalog = Catalog::with_loader(dir.join("tools"), store.clone(), loader, &|_| {}).unwrap();
    let connections = Arc::new(LiveConnections::fixed(connections()));
    let source = PolicySource::new(Some(dir.join("policies")), store.clone(), connections, Arc::new(catalog));
    Policy::open(source).unwrap()
}

#[test]
fn a_change_is_taken_up_and_a_mistake_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let (store, folder) = (Arc::new(MemoryControl::new()), dir.path().join("policies"));
    let policy = open(dir.path(), &store);
    let list = facts(json!({ "operation": "stripe:list_charges" }));
    assert_eq!((policy.count(), verdict(&policy, &list).as_str()), (Some((0, 0)), "denied"));
    assert!(!policy.is_stale() && !policy.refresh().unwrap());

    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("a.cedar"), READS).unwrap();
    assert!(policy.is_stale());
    let same = policy.clone();
    assert!(policy.refresh().unwrap());
    assert_eq!(verdict(&same, &list), "allowed", "a clone is the same policy");
    let good = policy.hash();

    std::fs::write(folder.join("b.cedar"), "forbid (principal, action, resource); permit (").unwrap();
    assert!(policy.refresh().unwrap_err().to_string().contains("b.cedar:1:"));
    assert_eq!((policy.hash(), verdict(&policy, &list).as_str()), (good, "allowed"));
    assert!(!policy.refresh().unwrap(), "a mistake is told once");

    std::fs::write(folder.join("b.cedar"), "forbid (principal, action, resource);").unwrap();
    assert!(policy.refresh().unwrap());
    assert_eq!(verdict(&policy, &list), "denied");
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
