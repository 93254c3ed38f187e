//! A write that is asked for once more.

use super::*;

#[tokio::test]
async fn the_same_write_again_is_answered_with_the_first_reply() {
    let world = Governed::answering("", r#"{"id": "ch_1"}"#);
    let caller = world.caller("billing", None, &["1000 usd total"]);
    let first = world.charge_as(&caller, 100, "usd", "cus_1", in_conversation("a")).await.unwrap();
    let again = world.charge_as(&caller, 100, "usd", "cus_1", in_conversation("a")).await.unwrap();
    assert_eq!((&again.status, &again.body), (&first.status, &first.body));
    assert_eq!(world.sent(), 1);
    let intent = CallContext { intent: Some("march".parse().unwrap()), ..in_conversation("a") };
    for (amount, customer, context) in [
        (100, "cus_1", intent),
        (100, "cus_1", in_conversation("b")),
        (101, "cus_1", in_conversation("a")),
        (100, "cus_2", in_conversation("a")),
        // Without a conversation nothing says that it's a repetition.
        (100, "cus_1", CallContext::default()),
        (100, "cus_1", CallContext::default()),
    ] {
        assert!(world.charge_as(&caller, amount, "usd", customer, context).await.is_ok());
    }
    assert_eq!(world.sent(), 7);
    let mut keys = world.wire.keys.lock().unwrap().clone();
    assert_eq!(keys.len(), 5, "one for each write that is told apart");
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 5);
}

#[tokio::test]
async fn what_may_be_repeated_is_made_each_time() {
    let world = Governed::new("");
    let caller = world.caller("billing", None, &[]);
    // What was changed is changed back.
    for name in ["a", "b", "a", "a"] {
        let body = DraftBody::Form(vec![("name".to_owned(), name.to_owned())]);
        assert!(world.forward(&caller, "PUT", Some(body), in_conversation("c")).await.is_ok());
    }
    assert_eq!(world.sent(), 4);
    assert!(world.wire.keys.lock().unwrap().is_empty(), "under one key the upstream would make it once");
}

#[tokio::test]
async fn a_declined_write_is_another_attempt_to_the_upstream_the_next_time() {
    let world = Governed::new("");
    let caller = world.caller("billing", None, &[]);
    let charge = || world.charge_as(&caller, 100, "usd", "cus_1", in_conversation("a"));
    world.wire.status.store(402, Ordering::SeqCst);
    assert_eq!(charge().await.unwrap().status, 402);
    assert_eq!(charge().await.unwrap().status, 402);
    world.wire.gone.store(true, Ordering::SeqCst);
    assert_eq!(code(charge().await), Code::UpstreamUnreachable);
    world.wire.gone.store(false, Ordering::SeqCst);
    world.wire.status.store(503, Ordering::SeqCst);
    assert_eq!(charge().await.unwrap().status, 503);
    // Nobody knows what became of that one: it's not made again, so no other key goes out for it.
    assert_eq!(code(charge().await), Code::Duplicate);
    let keys = world.wire.keys.lock().unwrap().clone();
    let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
    assert_eq!((keys.len(), distinct.len()), (3, 3), "{keys:?}");
}

#[tokio::test]
async fn a_write_that_may_have_happened_is_not_made_again() {
    let world = Governed::new("");
    let caller = world.caller("billing", None, &[]);
    world.wire.status.store(503, Ordering::SeqCst);
    let charge = || world.charge_as(&caller, 100, "usd", "cus_1", in_conversation("a"));
    assert_eq!(charge().await.unwrap().status, 503);
    world.wire.status.store(200, Ordering::SeqCst);
    let refusal = charge().await.unwrap_err();
    assert_eq!((refusal.code, refusal.request_sent), (Code::Duplicate, RequestSent::No));
    assert!(refusal.message.contains("nobody knows") && refusal.message.contains("Keybearer-Intent"));
    assert_eq!(world.sent(), 1);
}
