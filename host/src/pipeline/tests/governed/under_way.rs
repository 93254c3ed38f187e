//! What ends a request that is under way, or still connecting.

use super::*;
use crate::auth::Delegation;
use crate::refusal::FailureReason;
use crate::runtime::Outbound;

/// How a token ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Revoked,
    AboveRevoked,
    Expired,
}

const ENDS: [End; 3] = [End::Revoked, End::AboveRevoked, End::Expired];

/// How long a token that will expire is still good when it's used, by a clock that stands.
const LEFT: Duration = Duration::from_millis(60);

struct Ending {
    world: Governed,
    clock: Arc<ManualClock>,
    above: Arc<Caller>,
    caller: Arc<Caller>,
    end: End,
}

impl Ending {
    fn of(end: End) -> Self {
        let clock = Arc::new(ManualClock::at(SystemClock.now()));
        let world = Governed::under(START, clock.clone(), "", "{}");
        let charges = || vec!["stripe:*".parse().unwrap()];
        let minted = world.auth.mint(Mint {
            kind: TokenKind::Agent,
            realm: Realm { tenant: "acme".parse().unwrap(), environment: "dev".parse().unwrap() },
            every_environment: false,
            agent: "lead".parse().unwrap(),
            conversation: None,
            role: None,
            task: None,
            user: None,
            grant: Grant {
                operations: charges(),
                budgets: vec!["1000 usd total".parse().unwrap()],
                may_delegate: true,
                ..Grant::default()
            },
            lifetime: Duration::from_secs(600),
        });
        let above = world.auth.verify(minted.unwrap().token.as_str()).unwrap();
        let below = Delegation {
            grant: Grant { operations: charges(), ..Grant::default() },
            ..Delegation::default()
        };
        let minted = world.auth.delegate(&above, below).unwrap();
        let caller = world.auth.verify(minted.token.as_str()).unwrap();
        if end == End::Expired {
            clock.advance(Duration::from_secs(600) - LEFT);
        }
        Self { world, clock, above, caller, end }
    }

    fn happens(&self) {
        match self.end {
            End::Revoked => assert!(self.world.auth.revoke(self.caller.token(), None).unwrap()),
            End::AboveRevoked => assert!(self.world.auth.revoke(self.above.token(), None).unwrap()),
            End::Expired => self.clock.advance(LEFT),
        }
    }
}

#[tokio::test]
async fn a_token_that_ends_takes_what_is_under_way_along() {
    for end in ENDS {
        let ending = Ending::of(end);
        let world = &ending.world;
        world.wire.silent.store(true, Ordering::SeqCst);
        let ends = async {
            while world.sent() == 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            ending.happens();
        };
        let (refused, ()) = tokio::join!(world.charge(&ending.caller, 100, "cus_1"), ends);
        let refused = refused.unwrap_err();
        assert_eq!(
            (refused.code, refused.request_sent),
            (Code::Unauthorized, RequestSent::Unknown),
            "{end:?}"
        );
        assert_eq!(world.tally().held, 100, "nobody knows what came of it");
        world.wire.silent.store(false, Ordering::SeqCst);
        assert_eq!(code(world.charge(&ending.caller, 100, "cus_2").await), Code::Unauthorized);
        assert_eq!(world.sent(), 1);
    }
}

#[tokio::test]
async fn a_token_that_ends_while_a_request_connects_keeps_it_here() {
    for end in ENDS {
        let ending = Ending::of(end);
        let world = &ending.world;
        world.wire.closed.store(true, Ordering::SeqCst);
        let ends = async {
            while world.wire.connecting.load(Ordering::SeqCst) == 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            ending.happens();
        };
        let (refused, ()) = tokio::join!(world.charge(&ending.caller, 100, "cus_1"), ends);
        let refused = refused.unwrap_err();
        assert_eq!((refused.code, refused.request_sent), (Code::Unauthorized, RequestSent::No), "{end:?}");
        assert_eq!(world.tally(), Tally::default(), "no connection had it");
        world.wire.go.notify_waiters();
        tokio::task::yield_now().await;
        assert_eq!(world.sent(), 0, "{end:?}");
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_while_a_request_connects_holds_nothing() {
    let world = Governed::new("");
    let caller = world.caller("billing", None, &["1000 usd total"]);
    world.wire.closed.store(true, Ordering::SeqCst);
    let connects = async {
        while world.wire.connecting.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::select! {
        charged = world.charge(&caller, 700, "cus_1") => panic!("{charged:?}"),
        () = connects => {}
    }
    while world.tally().reserved > 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!((world.tally(), world.sent()), (Tally::default(), 0), "no connection had it");
}

#[tokio::test]
async fn what_a_client_that_hangs_up_cuts_off_is_counted() {
    let world = Governed::new("");
    let caller = world.caller("billing", None, &[]);
    world.wire.silent.store(true, Ordering::SeqCst);
    let sent = async {
        while world.sent() == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::select! {
        charged = world.charge(&caller, 100, "cus_1") => panic!("{charged:?}"),
        () = sent => {}
    }
    let text = world.pipeline.parts.metrics.render();
    let line = r#"keybearer_sends_total{connection="stripe",operation="charge",outcome="cancelled"} 1"#;
    assert!(text.contains(line), "{text}");
}

#[tokio::test]
async fn a_switch_that_is_thrown_before_the_bytes_leave_wins() {
    let world = Governed::new("");
    let caller = world.caller("billing", None, &["1000 usd total"]);
    world.wire.closed.store(true, Ordering::SeqCst);
    let stops = async {
        while world.wire.connecting.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        world.kills.throw(stop(Scope::Tenant)).unwrap();
        // By when the request is looked at again, there's a connection as well.
        world.wire.go.notify_waiters();
    };
    let (refused, ()) = tokio::join!(world.charge(&caller, 100, "cus_1"), stops);
    assert_eq!((code(refused), world.sent()), (Code::Killed, 0));
}

#[tokio::test]
async fn a_guest_hears_of_a_switch_only_where_its_call_goes_on() {
    for (scope, goes_on) in [(Scope::Tenant, false), (Scope::Connection("stripe".parse().unwrap()), true)] {
        let world = Governed::new("");
        let caller = world.caller("billing", None, &[]);
        let gate = world.gate(caller, CallContext::default()).await;
        let (mut guest, drafts) = CallSends::new(&gate, "probe".parse().unwrap());
        world.kills.throw(stop(scope.clone())).unwrap();
        let hears = tokio::select! {
            biased;
            heard = guest.send(draft("GET", None)) => heard.is_err_and(|failure| failure.reason == FailureReason::Killed),
            _ = drafts.serve(&gate) => false,
        };
        assert_eq!(hears, goes_on, "{scope:?}");
        assert_eq!(world.sent(), 0);
    }
}

#[tokio::test]
async fn what_changes_and_ends_nothing_lets_a_request_go_on() {
    let world = Governed::new("");
    let (caller, other) = (world.caller("billing", None, &[]), world.caller("other", None, &[]));
    world.wire.closed.store(true, Ordering::SeqCst);
    let others = async {
        while world.wire.connecting.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert!(world.auth.revoke(other.token(), None).unwrap());
        tokio::time::sleep(Duration::from_millis(4 * crate::kill::POLL_MS)).await;
        world.wire.go.notify_waiters();
    };
    let (sent, ()) = tokio::join!(world.charge(&caller, 100, "cus_1"), others);
    assert_eq!(sent.unwrap().status, 200);
}
