use std::time::Duration;

use tokio::time::timeout;

use super::*;
use crate::auth::{Auth, Caller, Delegation, Grant, Mint};
use crate::clock::ManualClock;
use crate::ids::{CallId, ConnectionName, ConversationId, Realm, ToolName};
use crate::store::sqlite::SqliteControl;
use crate::store::{MemoryControl, TokenKind};

const START: Millis = Millis(1_700_000_000_000);

struct World {
    store: Arc<dyn ControlStore>,
    clock: Arc<ManualClock>,
    auth: Auth,
    kills: Kills,
    call: CallId,
    conversation: ConversationId,
    tool: ToolName,
    connection: ConnectionName,
}

fn world() -> World {
    World::on(Arc::new(MemoryControl::new()))
}

impl World {
    fn on(store: Arc<dyn ControlStore>) -> Self {
        let clock = Arc::new(ManualClock::at(START));
        World {
            auth: Auth::new(store.clone(), clock.clone()),
            kills: Kills::new(store.clone(), clock.clone()),
            store,
            clock,
            call: CallId::fresh(START),
            conversation: "c1".parse().unwrap(),
            tool: "charge".parse().unwrap(),
            connection: "stripe".parse().unwrap(),
        }
    }

    /// The switches as another process sees them, over the same store.
    fn elsewhere(&self) -> Kills {
        Kills::new(self.store.clone(), self.clock.clone())
    }

    fn mint(&self, tenant: &str, agent: &str, role: Option<&str>) -> Arc<Caller> {
        let minted = self.auth.mint(Mint {
            kind: TokenKind::Agent,
            realm: Realm { tenant: tenant.parse().unwrap(), environment: "prod".parse().unwrap() },
            every_environment: false,
            agent: agent.parse().unwrap(),
            conversation: None,
            role: role.map(|role| role.parse().unwrap()),
            task: None,
            user: None,
            grant: Grant { may_delegate: true, ..Grant::default() },
            lifetime: Duration::from_secs(3600),
        });
        self.auth.verify(minted.unwrap().token.as_str()).unwrap()
    }

    fn subjects<'a>(&'a self, caller: &'a Caller) -> Subjects<'a> {
        Subjects {
            realm: caller.realm(),
            caller: Some(caller),
            call: Some(&self.call),
            conversation: Some(&self.conversation),
            tool: Some(&self.tool),
            connection: Some(&self.connection),
        }
    }

    fn stops(&self, caller: &Caller) -> bool {
        self.kills.check(&self.subjects(caller)).is_err()
    }

    /// As many switches of acme as there may be.
    fn fill(&self, environment: Option<&str>, scope: impl Fn(usize) -> String) {
        for n in 0..KILLS_MAX {
            let row = KillRow {
                id: KillId::fresh(),
                tenant: Some("acme".parse().unwrap()),
                environment: environment.map(|name| name.parse().unwrap()),
                scope: scope(n).parse().unwrap(),
                reason: "a loop".parse().unwrap(),
                by: "cli".to_owned(),
                at: START,
            };
            self.store.insert_kill(&row).unwrap();
        }
    }
}

fn order(scope: &str) -> Order {
    let scope: Scope = scope.parse().unwrap();
    Order {
        tenant: (scope != Scope::Everything).then(|| "acme".parse().unwrap()),
        scope,
        environment: None,
        reason: "a loop".parse().unwrap(),
        by: "cli".to_owned(),
    }
}

#[test]
fn each_scope_stops_what_it_names_and_nothing_else() {
    let w = world();
    let caller = w.mint("acme", "billing", Some("biller"));
    let other = w.mint("acme", "reader", Some("reader"));
    for (scope, stops_other) in [
        (format!("call:{}", w.call), true),
        ("conversation:c1".to_owned(), true),
        ("agent:billing".to_owned(), false),
        ("role:biller".to_owned(), false),
        (format!("token:{}", caller.token()), false),
        ("tool:charge".to_owned(), true),
        ("connection:stripe".to_owned(), true),
        ("tenant".to_owned(), true),
        ("everything".to_owned(), true),
    ] {
        assert!(!w.stops(&caller), "{scope}");
        let row = w.kills.throw(order(&scope)).unwrap();
        let killed = w.kills.check(&w.subjects(&caller)).unwrap_err();
        assert!(matches!(&killed, Killed::Stopped(by) if **by == row), "{scope}: {killed:?}");
        assert_eq!(w.stops(&other), stops_other, "{scope}");
        assert_eq!(w.kills.lift(&row.id, None).unwrap(), Some(row), "{scope}");
    }
    for scope in [
        "call:call_00000000000000000000000000000000",
        "conversation:c2",
        "agent:bill",
        "role:reader",
        "token:tok_000000000000000000000000",
        "tool:refund",
        "connection:github",
    ] {
        w.kills.throw(order(scope)).unwrap();
        assert!(!w.stops(&caller), "{scope}");
    }
}

#[test]
fn a_switch_keeps_to_its_tenant_and_environment() {
    let w = world();
    let (ours, theirs) = (w.mint("acme", "billing", None), w.mint("rival", "billing", None));
    for scope in ["agent:billing", "tenant", "tool:charge", "connection:stripe", "conversation:c1"] {
        let row = w.kills.throw(order(scope)).unwrap();
        assert!(w.stops(&ours) && !w.stops(&theirs), "{scope}");
        w.kills.lift(&row.id, None).unwrap();
        let row = w.kills.throw(Order { environment: Some("dev".parse().unwrap()), ..order(scope) }).unwrap();
        assert!(!w.stops(&ours), "{scope}");
        w.kills.lift(&row.id, None).unwrap();
    }
    w.kills.throw(Order { tenant: None, ..order("tool:charge") }).unwrap();
    assert!(w.stops(&ours) && w.stops(&theirs));
}

#[test]
fn what_was_delegated_stops_with_whoever_delegated() {
    let w = world();
    let parent = w.mint("acme", "planner", Some("planner"));
    let request = Delegation {
        agent: Some("executor".parse().unwrap()),
        role: Some("executor".parse().unwrap()),
        ..Delegation::default()
    };
    let child = w.auth.delegate(&parent, request).unwrap();
    let child = w.auth.verify(child.token.as_str()).unwrap();
    for scope in ["agent:planner".to_owned(), "role:planner".to_owned(), format!("token:{}", parent.token())]
    {
        let row = w.kills.throw(order(&scope)).unwrap();
        assert!(w.stops(&child), "{scope}");
        w.kills.lift(&row.id, None).unwrap();
    }
    w.kills.throw(order("agent:executor")).unwrap();
    assert!(w.stops(&child) && !w.stops(&parent));
}

#[test]
fn the_caller_is_not_told_the_reason() {
    let w = world();
    let caller = w.mint("acme", "billing", None);
    let row = w.kills.throw(Order { reason: "suspected fraud".parse().unwrap(), ..order("tenant") }).unwrap();
    let killed = w.kills.check(&w.subjects(&caller)).unwrap_err();
    let (failure, refusal) = (killed.failure(), killed.refusal());
    assert_eq!((failure.reason, refusal.code), (FailureReason::Killed, Code::Killed));
    for text in [&failure.message, &refusal.message] {
        assert!(text.contains("stopped by an operator") && !text.contains("fraud"), "{text}");
        assert!(!text.contains(row.id.as_str()));
    }
    assert!(failure.cause.unwrap().contains("suspected fraud"), "the log has it");
}

#[test]
fn a_token_that_is_bound_to_a_conversation_stops_with_it_whatever_its_caller_says() {
    let w = world();
    let minted = w.auth.mint(Mint {
        kind: TokenKind::Agent,
        realm: Realm { tenant: "acme".parse().unwrap(), environment: "prod".parse().unwrap() },
        every_environment: false,
        agent: "billing".parse().unwrap(),
        conversation: Some("own".parse().unwrap()),
        role: None,
        task: None,
        user: None,
        grant: Grant::default(),
        lifetime: Duration::from_secs(3600),
    });
    let caller = w.auth.verify(minted.unwrap().token.as_str()).unwrap();
    // The caller names another one, or none.
    let named = w.subjects(&caller);
    let unnamed = Subjects { conversation: None, ..named };
    assert!(w.kills.check(&named).is_ok() && w.kills.check(&unnamed).is_ok());
    w.kills.throw(order("conversation:own")).unwrap();
    assert!(w.kills.check(&named).is_err() && w.kills.check(&unnamed).is_err());
}

#[test]
fn another_environments_switches_leave_room() {
    let w = world();
    let within = |environment: &str, scope: &str| Order {
        environment: Some(environment.parse().unwrap()),
        ..order(scope)
    };
    for n in 0..KILLS_MAX {
        w.kills.throw(within("dev", &format!("agent:a{n}"))).unwrap();
    }
    assert!(w.kills.throw(within("dev", "agent:b")).unwrap_err().to_string().contains("lift some"));
    w.kills.throw(within("prod", "agent:b")).unwrap();
    w.kills.throw(order("tenant")).unwrap();
}

#[test]
fn however_many_switches_there_are_the_whole_can_be_stopped() {
    for environment in [None, Some("prod")] {
        let w = world();
        let caller = w.mint("acme", "billing", None);
        let here = |scope: &str| Order {
            environment: environment.map(|name| name.parse().unwrap()),
            ..order(scope)
        };
        w.fill(environment, |n| format!("agent:a{n}"));
        assert!(w.kills.throw(here("agent:b")).unwrap_err().to_string().contains("stop the whole tenant"));
        assert!(!w.stops(&caller), "{environment:?}");
        w.kills.throw(here("tenant")).unwrap();
        assert!(w.stops(&caller), "{environment:?}");
        // They are held in memory as well.
        w.fill(environment, |_| "tenant".to_owned());
        assert!(w.kills.throw(here("tenant")).is_err());
    }
}

#[test]
fn what_can_not_be_thrown_says_why() {
    let w = world();
    for (order, hint) in [
        (Order { tenant: Some("acme".parse().unwrap()), ..order("everything") }, "'tenant'"),
        (Order { tenant: None, ..order("tenant") }, "name the tenant"),
    ] {
        assert!(w.kills.throw(order).unwrap_err().to_string().contains(hint));
    }
    for n in 0..KILLS_MAX {
        w.kills.throw(order(&format!("agent:a{n}"))).unwrap();
    }
    assert!(w.kills.throw(order("agent:b")).unwrap_err().to_string().contains("lift some"));
    w.kills.throw(order("everything")).unwrap();
    for bad in ["", " ", "a\nb", "\u{1b}[2J", "\u{202e}", &"x".repeat(REASON_CHARS_MAX + 1)] {
        assert!(bad.parse::<Reason>().is_err(), "{bad:?}");
    }
}

#[test]
fn switches_on_calls_are_forgotten_after_an_hour() {
    let w = world();
    let old = w.kills.throw(order(&format!("call:{}", w.call))).unwrap();
    let kept = w.kills.throw(order("agent:billing")).unwrap();
    w.clock.advance(CALL_KEPT);
    let newer = w.kills.throw(order("call:call_00000000000000000000000000000000")).unwrap();
    assert_eq!(w.kills.list(None).unwrap(), [newer.clone(), kept.clone(), old], "not a moment sooner");
    w.clock.advance(Duration::from_millis(1));
    w.kills.forget_over().unwrap();
    assert_eq!(w.kills.list(None).unwrap(), [newer, kept]);
}

#[test]
fn switches_on_calls_that_are_over_leave_room_for_any_other() {
    let w = world();
    w.fill(None, |n| format!("call:call_{n:032x}"));
    w.clock.advance(CALL_KEPT);
    assert!(w.kills.throw(order("agent:billing")).is_err(), "not a moment sooner");
    w.clock.advance(Duration::from_millis(1));
    let row = w.kills.throw(order("agent:billing")).unwrap();
    assert_eq!(w.kills.list(None).unwrap(), [row]);
}

#[test]
fn another_process_s_switch_holds_at_the_next_check() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.db");
    let w = World::on(Arc::new(SqliteControl::open(&path).unwrap()));
    let caller = w.mint("acme", "billing", None);
    assert!(!w.stops(&caller));
    let elsewhere = Kills::new(Arc::new(SqliteControl::open(&path).unwrap()), w.clock.clone());
    let in_env = Order { environment: Some("prod".parse().unwrap()), ..order("agent:billing") };
    let row = elsewhere.throw(in_env).unwrap();
    let killed = w.kills.check(&w.subjects(&caller)).unwrap_err();
    assert!(matches!(&killed, Killed::Stopped(by) if **by == row), "{killed:?}");
    let acme = || row.tenant.clone().unwrap();
    let one = |name: &str| Reach::one(Realm { tenant: acme(), environment: name.parse().unwrap() });
    for beyond in [Reach::every("rival".parse().unwrap()), one("dev")] {
        assert_eq!(elsewhere.lift(&row.id, Some(&beyond)).unwrap(), None);
        assert_eq!(elsewhere.find(&row.id, Some(&beyond)).unwrap(), None);
        assert_eq!(elsewhere.list(Some(&beyond)).unwrap(), []);
    }
    let whole = elsewhere.throw(order("agent:other")).unwrap();
    assert_eq!(elsewhere.lift(&whole.id, Some(&one("prod"))).unwrap(), None, "the tenant's was lifted");
    assert_eq!(elsewhere.list(Some(&one("prod"))).unwrap(), std::slice::from_ref(&row));
    assert_eq!(elsewhere.lift(&whole.id, Some(&Reach::every(acme()))).unwrap(), Some(whole));
    assert_eq!(elsewhere.lift(&row.id, Some(&one("prod"))).unwrap(), Some(row));
    assert!(!w.stops(&caller));
}

#[test]
fn nothing_begins_while_the_switches_can_not_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.db");
    let w = World::on(Arc::new(SqliteControl::open(&path).unwrap()));
    let caller = w.mint("acme", "billing", None);
    w.kills.throw(order("agent:other")).unwrap();
    let tamper = rusqlite::Connection::open(&path).unwrap();
    tamper.execute("UPDATE kills SET target = 'nothing'", []).unwrap();
    let killed = w.kills.check(&w.subjects(&caller)).unwrap_err();
    assert!(matches!(killed, Killed::Unreadable(_)), "{killed:?}");
    assert_eq!(killed.refusal().code, Code::Internal);
    assert!(!killed.refusal().message.contains("column"));
}

#[test]
fn nothing_begins_once_the_file_of_the_switches_is_another_one() {
    let folder = tempfile::tempdir().unwrap();
    let (path, aside) = (folder.path().join("control.db"), folder.path().join("aside.db"));
    let w = World::on(Arc::new(SqliteControl::open(&path).unwrap()));
    let caller = w.mint("acme", "billing", None);
    assert!(!w.stops(&caller));
    std::fs::rename(&path, &aside).unwrap();
    std::fs::copy(&aside, &path).unwrap();
    std::thread::sleep(Duration::from_millis(POLL_MS));
    let killed = w.kills.check(&w.subjects(&caller)).unwrap_err();
    assert!(matches!(killed, Killed::Unreadable(_)), "{killed:?}");
    assert!(w.auth.alive(&caller).is_err());
    assert!(w.kills.throw(order("agent:billing")).is_err(), "it would stop nothing");
    std::fs::rename(&aside, &path).unwrap();
    assert!(!w.stops(&caller));
}

#[tokio::test]
async fn what_waits_is_stopped_at_once_by_this_process() {
    let w = world();
    let caller = w.mint("acme", "billing", None);
    let waits = w.kills.stopped(w.subjects(&caller));
    tokio::pin!(waits);
    assert!(timeout(Duration::from_millis(60), &mut waits).await.is_err());
    w.kills.throw(order("agent:other")).unwrap();
    assert!(timeout(Duration::from_millis(60), &mut waits).await.is_err(), "another one's switch");
    let row = w.kills.throw(order("agent:billing")).unwrap();
    let killed = timeout(Duration::ZERO, waits).await.expect("it needs no poll of the store");
    assert!(matches!(&killed, Killed::Stopped(by) if **by == row));
    // One that is thrown already stops what begins to wait.
    timeout(Duration::from_secs(5), w.kills.stopped(w.subjects(&caller))).await.unwrap();
}

#[tokio::test]
async fn what_waits_is_stopped_soon_by_another_process() {
    let w = world();
    let callers: Vec<_> = (0..100).map(|n| w.mint("acme", &format!("a{n}"), None)).collect();
    let elsewhere = w.elsewhere();
    let waits = callers.iter().map(|caller| w.kills.stopped(w.subjects(caller)));
    let all = futures(waits.collect());
    tokio::pin!(all);
    assert!(timeout(Duration::from_millis(60), &mut all).await.is_err());
    elsewhere.throw(order("role:nobody")).unwrap();
    assert!(timeout(Duration::from_millis(60), &mut all).await.is_err());
    elsewhere.throw(order("connection:stripe")).unwrap();
    let killed = timeout(Duration::from_secs(5), all).await.unwrap();
    assert_eq!(killed.len(), 100);
}

#[tokio::test]
async fn who_watches_hears_of_whatever_else_changes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.db");
    let w = World::on(Arc::new(SqliteControl::open(&path).unwrap()));
    let caller = w.mint("acme", "billing", None);
    let elsewhere = SqliteControl::open(&path).unwrap();
    let mut watching = w.kills.watching();
    // The store is looked at for the first time.
    timeout(Duration::from_secs(5), watching.changed()).await.unwrap();
    for name in ["a", "b", "c"] {
        assert!(timeout(Duration::from_millis(60), watching.changed()).await.is_err(), "{name}");
        elsewhere.ensure_setting(name, b"any").unwrap();
        timeout(Duration::from_secs(5), watching.changed()).await.unwrap();
        assert!(watching.stopped(&w.subjects(&caller)).is_none());
    }
    w.elsewhere().throw(order("agent:billing")).unwrap();
    timeout(Duration::from_secs(5), watching.changed()).await.unwrap();
    assert!(watching.stopped(&w.subjects(&caller)).is_some());
}

#[tokio::test]
async fn who_watches_goes_on_looking_while_the_switches_can_not_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.db");
    let w = World::on(Arc::new(SqliteControl::open(&path).unwrap()));
    let caller = w.mint("acme", "billing", None);
    w.kills.throw(order("agent:other")).unwrap();
    let mut watching = w.kills.watching();
    assert!(timeout(Duration::from_millis(60), watching.changed()).await.is_err());
    let tamper = rusqlite::Connection::open(&path).unwrap();
    tamper.execute("UPDATE kills SET target = 'nothing'", []).unwrap();
    for _ in 0..3 {
        timeout(Duration::from_secs(5), watching.changed()).await.unwrap();
        assert!(watching.stopped(&w.subjects(&caller)).is_none());
    }
}

/// All of them, on one task.
async fn futures(waits: Vec<impl Future<Output = Killed>>) -> Vec<Killed> {
    let mut waits: Vec<_> = waits.into_iter().map(|wait| (Box::pin(wait), None)).collect();
    std::future::poll_fn(|context| {
        for (wait, killed) in &mut waits {
            if killed.is_none()
                && let std::task::Poll::Ready(by) = wait.as_mut().poll(context)
            {
                *killed = Some(by);
            }
        }
        if waits.iter().all(|(_, killed)| killed.is_some()) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    waits.into_iter().filter_map(|(_, killed)| killed).collect()
}

#[tokio::test]
async fn a_waiter_that_is_not_polled_holds_nobody_up() {
    let w = world();
    let caller = w.mint("acme", "billing", None);
    let asleep = w.kills.stopped(w.subjects(&caller));
    tokio::pin!(asleep);
    // It has begun to wait, and isn't polled again.
    assert!(timeout(Duration::from_millis(1), &mut asleep).await.is_err());
    let waits = w.kills.stopped(w.subjects(&caller));
    let elsewhere = w.elsewhere();
    tokio::task::spawn_blocking(move || {
        std::thread::sleep(Duration::from_millis(60));
        elsewhere.throw(order("agent:billing")).unwrap();
    });
    timeout(Duration::from_secs(5), waits).await.unwrap();
}
