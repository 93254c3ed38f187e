//! A candidate that is asked beside the live policies.

use prometheus_client::metrics::counter::Counter;

use super::*;

#[test]
fn differences_are_counted_and_kept_and_change_nothing() {
    let counter = Counter::default();
    let live = policy("permit (principal, action in Action::\"send\", resource);");
    let candidate = policy("permit (principal, action in Action::\"read\", resource);");
    let both = live.with_shadow(candidate, counter.clone());
    let list = facts(json!({ "operation": "stripe:list_charges" }));
    let refund =
        facts(json!({ "operation": "stripe:create_refund", "path": { "id": "c" }, "body": { "amount": 5 } }));
    assert_eq!(verdict(&both, &list), "allowed");
    assert_eq!(counter.get(), 0);
    assert_eq!(verdict(&both, &refund), "allowed");
    assert_eq!(counter.get(), 1);
    let kept = both.shadow_differs();
    assert_eq!(kept.len(), 1);
    assert_eq!(
        (kept[0].subject.as_str(), kept[0].candidate.verdict),
        ("stripe:create_refund", Enforced::Denied)
    );
    assert_eq!(both.shadow_differs(), [], "they are handed out once");
    for _ in 0..SHADOW_KEPT_MAX + 5 {
        verdict(&both, &refund);
    }
    assert_eq!(both.shadow_differs().len(), SHADOW_KEPT_MAX);
}
