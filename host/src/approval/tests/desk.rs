//! Approvals on record: the way of the gate, and of who decides.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use super::*;
use crate::audit::{Audit, Event, Step};
use crate::ids::{CallId, Digest};
use crate::policy::{Facts, Policy, PolicyFile, World as PolicyWorld};
use crate::refusal::{FailureReason, SendFailure};
use crate::store::{AuditRecord, AuditStore, MemoryAudit, RowFilter, TrailWork};

/// Who may approve: anyone but `intern`. Where the task says so, `anna` has to be among them.
struct NoIntern;

const ANNA: &str = "anna has to agree";

impl MayApprove for NoIntern {
    fn may_approve(&self, approver: &Approver, _: &ApprovalRow, _: &Note, _: Millis) -> bool {
        approver.principal().as_str() != "intern"
    }

    fn is_enough(&self, note: &Note, agreed: &[AgentId], _: Millis) -> bool {
        note.facts.task.as_deref() != Some(ANNA) || agreed.contains(&name("anna"))
    }
}

struct Office {
    world: World,
    desk: ApprovalDesk,
    audit: Audit,
    broken: Arc<Breakable>,
}

fn office() -> Office {
    let world = in_sqlite();
    let broken = Arc::new(Breakable::default());
    let audit = Audit::start(broken.clone(), world.clock.clone()).unwrap();
    let desk = ApprovalDesk::new(world.approvals.clone(), audit.clone(), Arc::new(NoIntern));
    Office { world, desk, audit, broken }
}

fn operator(who: &str, tenant: &str) -> Approver {
    Approver::Operator { name: name(who), token: token_id(99), reach: Reach::every(tenant.parse().unwrap()) }
}

impl Office {
    async fn obtain(
        &self,
        ask: &ApprovalAsk,
        id: Option<&ApprovalId>,
        wait: bool,
    ) -> Result<Approved, SendFailure> {
        self.obtain_within(Duration::from_secs(10), ask, id, wait).await
    }

    async fn obtain_within(
        &self,
        within: Duration,
        ask: &ApprovalAsk,
        id: Option<&ApprovalId>,
        wait: bool,
    ) -> Result<Approved, SendFailure> {
        let given: Vec<_> = id.into_iter().cloned().collect();
        self.obtain_with(within, ask, &given, wait).await
    }

    async fn obtain_with(
        &self,
        within: Duration,
        ask: &ApprovalAsk,
        given: &[ApprovalId],
        wait: bool,
    ) -> Result<Approved, SendFailure> {
        let deadline = Instant::now() + within;
        let obtained =
            self.desk.obtain(&CallId::fresh(START), &|| Ok(ask.clone()), (given, wait), deadline).await?;
        assert_eq!(obtained.fingerprint, ask.fingerprint);
        Ok(obtained.approved)
    }

    fn steps(&self) -> Vec<(Step, String, bool)> {
        let rows = self.audit.rows(&RowFilter { limit: 100, ..RowFilter::default() }).unwrap();
        rows.into_iter()
            .map(|row| match row.event {
                Event::Approval(step) => (step.step, step.by.to_string(), row.call.is_some()),
                other => panic!("{other:?}"),
            })
            .collect()
    }
}

/// The id in a message.
fn id_in(failure: &SendFailure) -> ApprovalId {
    let at = failure.message.find("apr_").unwrap_or_else(|| panic!("{failure:?}"));
    failure.message[at..at + 28].parse().unwrap()
}

#[tokio::test]
async fn a_request_is_asked_approved_and_made_all_on_record() {
    let office = office();
    let ask = ask("acme", 1, "pay");
    let failure = office.obtain(&ask, None, false).await.unwrap_err();
    assert_eq!(failure.reason, FailureReason::ApprovalRequired);
    let id = id_in(&failure);
    assert!(failure.message.contains(&format!("Keybearer-Approval: {id}")), "{}", failure.message);
    let again = office.obtain(&ask, None, false).await.unwrap_err();
    assert_eq!(id_in(&again), id, "a loop asks once");
    let state = office.desk.approve(operator("alice", "acme"), &id).await.unwrap();
    assert_eq!(state, ApprovalState::Granted);
    let approved = office.obtain(&ask, Some(&id), false).await.unwrap();
    assert_eq!(approved.approvers, [name("alice")]);
    let used = office.obtain(&ask, Some(&id), false).await.unwrap_err();
    assert!(used.message.contains("was used before"), "{}", used.message);
    assert_eq!(
        office.steps(),
        [
            (Step::Asked, "billing".to_owned(), true),
            (Step::Approved, "alice".to_owned(), false),
            (Step::Claimed, "billing".to_owned(), true),
        ]
    );
}

#[tokio::test]
async fn a_request_is_found_on_the_trail_by_who_asked_and_in_which_conversation() {
    let office = office();
    let id = id_in(&office.obtain(&ask("acme", 1, "pay"), None, false).await.unwrap_err());
    office.desk.approve(operator("alice", "acme"), &id).await.unwrap();
    for filter in [
        RowFilter { token: Some(token_id(1)), ..RowFilter::default() },
        RowFilter { agent: Some(name("billing")), ..RowFilter::default() },
        RowFilter { conversation: Some("c-1".parse().unwrap()), ..RowFilter::default() },
    ] {
        let rows = office.audit.rows(&RowFilter { limit: 9, ..filter }).unwrap();
        let [row] = &rows[..] else { panic!("{rows:?}") };
        let Event::Approval(step) = &row.event else { panic!("{row:?}") };
        assert_eq!((step.step, &step.id), (Step::Asked, &id));
        assert_eq!(step.conversation, Some("c-1".parse().unwrap()));
    }
}

/// Another of the same token and agent, about a tool's call.
fn of_a_call(what: &str) -> ApprovalAsk {
    ApprovalAsk { about: About::Call { tool: "run_command".parse().unwrap() }, ..ask("acme", 1, what) }
}

#[tokio::test]
async fn of_several_approvals_each_is_used_for_what_it_was_given_for() {
    let office = office();
    let (call, send) = (of_a_call("deploy"), ask("acme", 1, "pay"));
    let given = [office.world.granted(&send), office.world.granted(&call)];
    let obtain = |ask| {
        let (office, given) = (&office, &given);
        async move { office.obtain_with(Duration::from_secs(10), ask, given, false).await }
    };
    assert_eq!(obtain(&call).await.unwrap().id, given[1]);
    assert_eq!(office.world.state(&given[0]), ApprovalState::Granted, "that of the send stays for it");
    assert_eq!(obtain(&send).await.unwrap().id, given[0]);
    assert!(obtain(&call).await.unwrap_err().message.contains("was used before"));
}

#[tokio::test]
async fn an_approval_of_something_of_another_kind_is_left_alone_and_told_of() {
    let office = office();
    let (call, send) = (of_a_call("deploy"), ask("acme", 1, "pay"));
    let of_the_call = office.world.granted(&call);
    let failure = office.obtain(&send, Some(&of_the_call), false).await.unwrap_err();
    assert_eq!(failure.reason, FailureReason::ApprovalRequired);
    assert_ne!(id_in(&failure), of_the_call, "another is asked for");
    assert!(
        failure.message.ends_with(&format!("(this isn't what was approved as {of_the_call})")),
        "{failure:?}"
    );
    assert_eq!(office.world.state(&of_the_call), ApprovalState::Granted);
    // Beside one that is for nothing here, nobody is asked.
    let asked = office.world.approvals.list(None, None, 9).unwrap().len();
    let unknown: ApprovalId = "apr_000000000000000000000000".parse().unwrap();
    let others = ApprovalAsk { token: token_id(2), ..of_a_call("of another token") };
    let of_another = office.world.granted(&others);
    for wrong in [unknown, of_another] {
        let given = [of_the_call.clone(), wrong.clone()];
        let refused = office.obtain_with(Duration::from_secs(10), &of_a_call("more"), &given, true).await;
        let refused = refused.unwrap_err();
        assert!(refused.message.contains("there is no approval"), "{refused:?}");
        let other = ask("acme", 1, "pay more");
        let refused = office.obtain_with(Duration::from_secs(10), &other, &given, true).await.unwrap_err();
        assert!(refused.message.contains(&format!("there is no approval {wrong}")), "{refused:?}");
    }
    assert_eq!(office.world.approvals.list(None, None, 9).unwrap().len(), asked + 1);
}

#[tokio::test]
async fn an_own_approval_of_something_else_is_never_fatal_and_of_several_one_that_is_good_is_used() {
    let office = office();
    let (one, two) = (ask("acme", 1, "one"), ask("acme", 1, "two"));
    let used = office.world.granted(&one);
    office.obtain(&one, Some(&used), false).await.unwrap();
    // The same kind of thing, of the same token: people are asked for it.
    let failure = office.obtain(&two, Some(&used), false).await.unwrap_err();
    assert!(failure.message.ends_with(&format!("(this isn't what was approved as {used})")), "{failure:?}");
    assert_ne!(id_in(&failure), used);
    // One that is over stands in the way of none that isn't, in whichever order.
    for used_first in [true, false] {
        let granted = office.world.granted(&one);
        let mut given = [used.clone(), granted.clone()];
        if !used_first {
            given.reverse();
        }
        let obtained = office.obtain_with(Duration::from_secs(10), &one, &given, false).await;
        assert_eq!(obtained.unwrap().id, granted);
    }
    let over = office.obtain(&one, Some(&used), false).await.unwrap_err();
    assert!(over.message.contains("was used before"), "{over:?}");
}

#[tokio::test]
async fn what_two_have_found_one_uses_up() {
    let office = office();
    let asked = ask("acme", 1, "pay");
    let id = office.world.granted(&asked);
    let call = CallId::fresh(START);
    let find = async || {
        let ask = || Ok(asked.clone());
        let until = Instant::now() + Duration::from_secs(10);
        let mut waits = 0;
        let found = office.desk.find(&call, &ask, (&[], true), until, &mut || waits += 1).await;
        assert_eq!(waits, 0, "nobody is waited for");
        found.unwrap()
    };
    let (first, second) = (find().await, find().await);
    assert_eq!((&first.approved, &second.approved.id), (&second.approved, &id));
    assert_eq!((office.world.state(&id), office.steps().len()), (ApprovalState::Granted, 0));
    office.desk.use_up(&call, &first).await.unwrap();
    let late = office.desk.use_up(&call, &second).await.unwrap_err();
    assert!(late.message.contains("was used before"), "{late:?}");
    assert_eq!(office.steps(), [(Step::Claimed, "billing".to_owned(), true)]);
}

#[tokio::test]
async fn who_hangs_up_before_the_store_gets_to_it_uses_nothing() {
    let office = office();
    let asked = ask("acme", 1, "pay");
    let id = office.world.granted(&asked);
    let claimed = office.world.approvals.claim_if(&asked.realm, &id, asked.fingerprint, &|| false);
    assert!(matches!(claimed, Err(ClaimError::Gone)));
    assert_eq!(office.world.state(&id), ApprovalState::Granted);

    let call = CallId::fresh(START);
    let until = Instant::now() + Duration::from_secs(10);
    let found =
        office.desk.find(&call, &|| Ok(asked.clone()), (&[], false), until, &mut || {}).await.unwrap();
    // On this test's one thread the store isn't reached before the thread is given up.
    let mut used = Box::pin(office.desk.use_up(&call, &found));
    let waits = std::future::poll_fn(|cx| std::task::Poll::Ready(used.as_mut().poll(cx).is_pending())).await;
    assert!(waits);
    drop(used);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!((office.world.state(&id), office.steps().len()), (ApprovalState::Granted, 0));
    office.desk.use_up(&call, &found).await.unwrap();
    assert_eq!(office.world.state(&id), ApprovalState::Used);
}

#[tokio::test]
async fn of_two_that_would_wait_for_the_same_one_waits() {
    let office = office();
    let ask = ask("acme", 1, "pay");
    let (one, other) = (office.obtain(&ask, None, true), office.obtain(&ask, None, true));
    tokio::pin!(one, other);
    let (refused, waits) = tokio::select! {
        obtained = &mut one => (obtained, other),
        obtained = &mut other => (obtained, one),
    };
    let id = id_in(&refused.unwrap_err());
    office.desk.approve(operator("alice", "acme"), &id).await.unwrap();
    assert_eq!(waits.await.unwrap().id, id);
}

#[tokio::test]
async fn an_agent_that_can_not_set_headers_makes_the_request_again() {
    let office = office();
    let ask = ask("acme", 1, "pay");
    let id = id_in(&office.obtain(&ask, None, false).await.unwrap_err());
    office.desk.approve(operator("alice", "acme"), &id).await.unwrap();
    assert_eq!(office.obtain(&ask, None, false).await.unwrap().id, id);
    let next = office.obtain(&ask, None, false).await.unwrap_err();
    assert_ne!(id_in(&next), id, "the next one needs a yes of its own");
}

#[tokio::test]
async fn the_agent_hears_which_way_it_failed_and_no_more() {
    let office = office();
    let mine = ask("acme", 1, "pay");
    let id = office.world.asked(&mine);
    let said = |failure: SendFailure, reason, words: &str| {
        assert_eq!(failure.reason, reason, "{failure:?}");
        assert!(failure.message.contains(words), "{failure:?}");
    };
    said(
        office.obtain(&mine, Some(&id), false).await.unwrap_err(),
        FailureReason::ApprovalRequired,
        "still waits",
    );
    for other in [ask("acme", 2, "pay more"), ask("beta", 1, "pay")] {
        let mismatch = office.obtain(&other, Some(&id), true).await.unwrap_err();
        let unknown =
            office.obtain(&other, Some(&"apr_000000000000000000000000".parse().unwrap()), true).await;
        let (a, b) = (mismatch.message.replace(id.as_str(), "ID"), unknown.unwrap_err().message);
        assert_eq!(a, b.replace("apr_000000000000000000000000", "ID"), "one answer for both");
        said(mismatch, FailureReason::ApprovalRequired, "there is no approval");
    }
    office.desk.deny(operator("alice", "acme"), &id).await.unwrap();
    said(office.obtain(&mine, Some(&id), false).await.unwrap_err(), FailureReason::Denied, "has denied");
    said(office.obtain(&mine, None, true).await.unwrap_err(), FailureReason::Denied, "has denied");
    office.world.clock.advance(TTL);
    let expired = ask("acme", 1, "late");
    let id = office.world.asked(&expired);
    office.world.clock.advance(TTL);
    said(
        office.obtain(&expired, Some(&id), true).await.unwrap_err(),
        FailureReason::ApprovalRequired,
        "has expired",
    );
    for n in 0..3 {
        office.world.asked(&ask("acme", 1, &n.to_string()));
    }
    let full = office.obtain(&ask("acme", 1, "one more"), None, false).await.unwrap_err();
    said(full, FailureReason::RateLimited, "no more are taken now");
}

#[tokio::test]
async fn a_caller_may_wait_and_goes_on_when_approved() {
    let office = office();
    let ask = ask("acme", 1, "pay");
    let (first, decided) = tokio::join!(office.obtain(&ask, None, true), async {
        loop {
            tokio::time::sleep(Duration::from_millis(5)).await;
            if let Some(row) = office.world.approvals.list(None, None, 1).unwrap().pop() {
                return office.desk.approve(operator("alice", "acme"), &row.id).await;
            }
        }
    });
    assert_eq!((first.unwrap().approvers, decided.unwrap()), (vec![name("alice")], ApprovalState::Granted));
    // Nobody agrees to the next one: its caller hears of the id before the deadline. A busy machine may be late, now and
    // then.
    let within = Duration::from_millis(450);
    for attempt in 1.. {
        let before = Instant::now();
        let late = office.obtain_within(within, &ask, None, true).await.unwrap_err();
        let took = before.elapsed();
        assert_eq!(late.reason, FailureReason::ApprovalRequired);
        id_in(&late);
        assert!(took >= Duration::from_millis(190), "{took:?}");
        if took < within {
            break;
        }
        assert!(attempt < 10, "{took:?}");
    }
}

#[tokio::test]
async fn what_changes_during_the_wait_is_not_what_was_approved() {
    let office = office();
    // The policies are others from the second look on.
    let looks = AtomicU32::new(0);
    let changing = || {
        let under = if looks.fetch_add(1, Ordering::SeqCst) == 0 { "pay" } else { "pay, other policies" };
        Ok(ask("acme", 1, under))
    };
    let (call, deadline) = (CallId::fresh(START), Instant::now() + Duration::from_secs(10));
    let (obtained, decided) =
        tokio::join!(office.desk.obtain(&call, &changing, (&[], true), deadline), async {
            loop {
                tokio::time::sleep(Duration::from_millis(5)).await;
                if let Some(row) = office.world.approvals.list(None, None, 1).unwrap().pop() {
                    return office.desk.approve(operator("alice", "acme"), &row.id).await;
                }
            }
        });
    assert_eq!(decided.unwrap(), ApprovalState::Granted);
    let failure = obtained.unwrap_err();
    assert!(failure.message.contains("there is no approval"), "{failure:?}");
}

#[tokio::test]
async fn who_may_not_approve_changes_nothing() {
    let office = office();
    let ask = ask("acme", 1, "pay");
    let id = office.world.asked(&ask);
    let yes = |who: &str, tenant: &str| {
        let (desk, approver, id) = (office.desk.clone(), operator(who, tenant), id.clone());
        async move { desk.approve(approver, &id).await }
    };
    assert!(matches!(yes("intern", "acme").await, Err(DecideError::NotAllowed)));
    assert!(matches!(yes("alice", "beta").await, Err(DecideError::Unknown)));
    assert!(matches!(yes("billing", "acme").await, Err(DecideError::Own)));
    assert!(matches!(office.desk.deny(operator("alice", "beta"), &id).await, Err(DecideError::Unknown)));
    let elsewhere = Realm { environment: "elsewhere".parse().unwrap(), ..ask.realm.clone() };
    let elsewhere = || Approver::Operator {
        name: name("alice"),
        token: token_id(99),
        reach: Reach::one(elsewhere.clone()),
    };
    assert!(matches!(office.desk.approve(elsewhere(), &id).await, Err(DecideError::Unknown)));
    assert!(matches!(office.desk.deny(elsewhere(), &id).await, Err(DecideError::Unknown)));
    assert_eq!((office.world.state(&id), office.steps()), (ApprovalState::Pending, vec![]));
    let cli = Approver::command_line("root").unwrap();
    assert_eq!(office.desk.approve(cli, &id).await.unwrap(), ApprovalState::Granted);
    assert_eq!(office.steps(), [(Step::Approved, "cli:root".to_owned(), false)]);
}

#[tokio::test]
async fn the_users_of_the_command_line_are_people_of_their_own() {
    let office = office();
    let ask = ApprovalAsk { quorum: 2, ..ask("acme", 1, "pay") };
    let id = office.world.asked(&ask);
    let user = |user: &str| Approver::command_line(user).unwrap();
    assert_eq!(office.desk.approve(user("ann"), &id).await.unwrap(), ApprovalState::Pending);
    assert!(matches!(office.desk.approve(user("ann"), &id).await, Err(DecideError::Twice)));
    assert_eq!(office.desk.approve(user("ben"), &id).await.unwrap(), ApprovalState::Granted);
}

#[tokio::test]
async fn it_waits_for_whom_the_policies_want_and_is_not_used_up_meanwhile() {
    let office = office();
    let mut ask = ask("acme", 1, "pay");
    ask.note.facts.task = Some(ANNA.to_owned());
    let id = office.world.asked(&ask);
    let yes = |who: &str| office.desk.approve(operator(who, "acme"), &id);
    for who in ["ben", "carol"] {
        assert_eq!(yes(who).await.unwrap(), ApprovalState::Pending);
        let failure = office.obtain(&ask, Some(&id), false).await.unwrap_err();
        assert_eq!(failure.reason, FailureReason::ApprovalRequired);
        assert!(failure.message.contains("still waits"), "{failure:?}");
    }
    assert!(matches!(yes("ben").await, Err(DecideError::Twice)));
    assert_eq!(yes("anna").await.unwrap(), ApprovalState::Granted);
    let approved = office.obtain(&ask, Some(&id), false).await.unwrap();
    assert_eq!(approved.approvers, ["ben", "carol", "anna"].map(name));
    assert!(office.obtain(&ask, Some(&id), false).await.is_err(), "once");
}

#[test]
fn those_who_agree_have_to_be_enough_for_every_block_of_code() {
    let text = "permit (principal, action == Action::\"run_code\", resource)
        when { context.bytes < 10 && context.approval.granted };
        permit (principal, action == Action::\"run_code\", resource)
        when { context.approval.approvers.contains(\"anna\") };";
    let policy = Policy::of(&[PolicyFile::new("p.cedar", text)], &[], PolicyWorld::default());
    let policy = policy.unwrap_or_else(|problems| panic!("{problems}"));
    let facts = |bytes: u32| -> Facts {
        let facts = serde_json::json!({ "agent": "billing", "code": "run_python", "bytes": bytes });
        serde_json::from_value(facts).unwrap()
    };
    let (_, sample) = sample();
    let small = Note { facts: facts(5), ..sample.clone() };
    let both = Note { facts: facts(5), more: vec![facts(50)], ..sample };
    let enough = |note: &Note, who: &str| MayApprove::is_enough(&policy, note, &[name(who)], START);
    assert!(enough(&small, "ben") && enough(&small, "anna") && enough(&both, "anna"));
    assert!(!enough(&both, "ben"));
}

#[tokio::test]
async fn not_everybody_can_agree_in_vain_for_ever() {
    let office = office();
    let mut ask = ask("acme", 1, "pay");
    ask.note.facts.task = Some(ANNA.to_owned());
    let id = office.world.asked(&ask);
    for number in 0..20 {
        let someone = operator(&format!("someone-{number}"), "acme");
        assert_eq!(office.desk.approve(someone, &id).await.unwrap(), ApprovalState::Pending);
    }
    let anna = office.desk.approve(operator("anna", "acme"), &id).await;
    assert!(matches!(anna, Err(DecideError::Enough)), "{anna:?}");
    assert_eq!(office.desk.deny(operator("anna", "acme"), &id).await.unwrap(), ApprovalState::Denied);
}

#[tokio::test]
async fn what_can_not_be_recorded_does_not_count() {
    let office = office();
    let (asked, unasked) = (ask("acme", 1, "pay"), ask("acme", 1, "pay more"));
    let id = office.world.asked(&asked);
    office.broken.0.store(true, Ordering::SeqCst);
    let failure = office.obtain(&unasked, None, false).await.unwrap_err();
    assert_eq!(failure.reason, FailureReason::AuditUnavailable);
    assert_eq!(office.world.approvals.list(None, None, 9).unwrap().len(), 1, "nobody was asked");
    let yes = office.desk.approve(operator("alice", "acme"), &id).await;
    assert!(matches!(yes, Err(DecideError::Unrecorded(_))));
    assert_eq!(office.world.state(&id), ApprovalState::Pending);
    // A no holds even so.
    let no = office.desk.deny(operator("alice", "acme"), &id).await;
    assert!(matches!(no, Err(DecideError::Unrecorded(_))));
    assert_eq!(office.world.state(&id), ApprovalState::Denied);

    let granted = ask("acme", 2, "pay");
    let id = office.world.granted(&granted);
    let failure = office.obtain(&granted, Some(&id), false).await.unwrap_err();
    assert_eq!(failure.reason, FailureReason::AuditUnavailable);
    office.broken.0.store(false, Ordering::SeqCst);
    let failure = office.obtain(&granted, Some(&id), false).await.unwrap_err();
    assert!(failure.message.contains("was used before"), "it can't be used twice for all that: {failure:?}");
}

#[tokio::test]
async fn nobody_can_decide_what_is_not_on_record_yet() {
    let world = in_sqlite();
    let witness = Arc::new(Witness {
        approvals: world.approvals.clone(),
        to_decide: AtomicUsize::new(9),
        memory: MemoryAudit::default(),
    });
    let audit = Audit::start(witness.clone(), world.clock.clone()).unwrap();
    let desk = ApprovalDesk::new(world.approvals.clone(), audit, Arc::new(NoIntern));
    let asked = desk.ask(None, ask("acme", 1, "pay")).await.unwrap();
    assert_eq!((asked.fresh, world.state(&asked.id)), (true, ApprovalState::Pending));
    assert_eq!(
        witness.to_decide.load(Ordering::SeqCst),
        0,
        "a crash here would have left it there unrecorded"
    );
}

#[tokio::test]
async fn nobody_says_yes_to_what_nobody_can_read() {
    let office = office();
    let id = office.world.asked(&ask("acme", 1, "pay"));
    let path = office.world._folder.as_ref().unwrap().path().join("control.db");
    rusqlite::Connection::open(path).unwrap().execute_batch("UPDATE approvals SET note = x'00'").unwrap();
    let yes = office.desk.approve(operator("alice", "acme"), &id).await;
    assert!(matches!(yes, Err(DecideError::Unreadable(_))));
    assert_eq!(office.steps(), []);
    assert_eq!(office.desk.deny(operator("alice", "acme"), &id).await.unwrap(), ApprovalState::Denied);
}

/// A trail whose disk can be broken.
#[derive(Default)]
struct Breakable(AtomicBool, MemoryAudit);

impl AuditStore for Breakable {
    fn write(&self, work: TrailWork<'_>) -> Result<(), StoreError> {
        match self.0.load(Ordering::SeqCst) {
            true => Err(StoreError::Failed("the disk is full".to_owned())),
            false => self.1.write(work),
        }
    }

    fn rows(&self, filter: &RowFilter) -> Result<Vec<AuditRecord>, StoreError> {
        self.1.rows(filter)
    }

    fn head(&self) -> Result<(u64, Digest), StoreError> {
        self.1.head()
    }
}

/// A trail that counts what people could decide when it was written.
struct Witness {
    approvals: Arc<Approvals>,
    to_decide: AtomicUsize,
    memory: MemoryAudit,
}

impl AuditStore for Witness {
    fn write(&self, work: TrailWork<'_>) -> Result<(), StoreError> {
        self.to_decide.store(self.approvals.list(None, None, 9)?.len(), Ordering::SeqCst);
        self.memory.write(work)
    }

    fn rows(&self, filter: &RowFilter) -> Result<Vec<AuditRecord>, StoreError> {
        self.memory.rows(filter)
    }

    fn head(&self) -> Result<(u64, Digest), StoreError> {
        self.memory.head()
    }
}
