//! People are asked for what will be made, and not for what was made already or has no room in a budget.

use super::*;
use crate::approval::Approver;
use crate::ids::ApprovalId;
use crate::store::{ApprovalRow, ApprovalState};

const PEOPLE_AGREE: &str = r#"
@id("agents-send") permit (principal is Agent, action in Action::"send", resource);
@id("charges-need-a-person")
forbid (principal, action == Action::"stripe:charge", resource)
unless { context.approval.granted };
@id("operators-approve") permit (principal is Operator, action == Action::"approve", resource);
"#;

impl Governed {
    fn asking(body: &'static str) -> Self {
        Self::under(PEOPLE_AGREE, Arc::new(SystemClock), "", body)
    }

    /// Says yes to what waits for it by this answer.
    async fn approve(&self, asked: Result<Reply, Refusal>) -> ApprovalId {
        let refused = asked.unwrap_err();
        assert_eq!(refused.code, Code::ApprovalRequired, "{refused:?}");
        let at = refused.message.find("apr_").unwrap();
        let id = refused.message[at..at + 28].parse().unwrap();
        let state = self.desk.approve(Approver::command_line("ann").unwrap(), &id).await.unwrap();
        assert_eq!(state, ApprovalState::Granted);
        id
    }

    fn asked(&self) -> Vec<ApprovalRow> {
        self.desk.approvals().list(None, None, 100).unwrap()
    }

    fn refused(&self, wanted: Code) -> usize {
        let rows = self.rows().into_iter();
        rows.filter(|row| matches!(&row.event, Event::SendRefused(refused) if refused.code == wanted)).count()
    }
}

#[tokio::test]
async fn a_storm_over_an_approved_write_gets_the_first_reply_and_asks_nobody() {
    let world = Governed::asking(r#"{"id": "ch_1"}"#);
    let caller = world.caller("billing", None, &["100 usd total"]);
    let charge = || world.charge_as(&caller, 100, "usd", "cus_1", in_conversation("a"));
    world.approve(charge().await).await;
    let first = charge().await.unwrap();
    for _ in 0..3 {
        let again = charge().await.unwrap();
        assert_eq!((&again.status, &again.body), (&first.status, &first.body));
    }
    assert_eq!((world.sent(), world.asked().len()), (1, 1));
    assert_eq!(world.refused(Code::Duplicate), 3);
}

#[tokio::test]
async fn a_call_that_makes_its_approved_write_twice_gets_the_first_reply_the_second_time() {
    let world = Governed::asking(r#"{"id": "ch_1"}"#);
    let caller = world.caller("billing", None, &["100 usd total"]);
    world.approve(world.charge_as(&caller, 100, "usd", "cus_1", in_conversation("a")).await).await;
    let gate = world.gate(caller, in_conversation("a")).await;
    let send = || gate.send(draft("POST", Some(form(100, "usd", "cus_1"))));
    let first = send().await.unwrap();
    let again = send().await.unwrap();
    assert_eq!((&again.status, &again.body), (&first.status, &first.body));
    assert_eq!((world.sent(), world.asked().len()), (1, 1));
}

#[tokio::test]
async fn a_yes_to_a_write_that_was_made_meanwhile_is_not_used_up() {
    let world = Governed::asking(r#"{"id": "ch_1"}"#);
    let (one, other) = (world.caller("one", None, &[]), world.caller("other", None, &[]));
    let charge = |caller: &Arc<Caller>| {
        let caller = caller.clone();
        let world = &world;
        async move { world.charge_as(&caller, 100, "usd", "cus_1", in_conversation("a")).await }
    };
    world.approve(charge(&one).await).await;
    let unused = world.approve(charge(&other).await).await;
    let first = charge(&one).await.unwrap();
    assert_eq!(charge(&other).await.unwrap().body, first.body);
    let row = world.desk.approvals().get(None, &unused).unwrap().unwrap();
    assert_eq!((row.state(SystemClock.now()), world.sent()), (ApprovalState::Granted, 1));
}

#[tokio::test]
async fn a_write_that_is_under_way_or_unknown_is_answered_at_once() {
    let world = Governed::asking("{}");
    let caller = world.caller("billing", None, &[]);
    let charge = || world.charge_as(&caller, 100, "usd", "cus_1", in_conversation("a"));
    world.approve(charge().await).await;
    world.wire.silent.store(true, Ordering::SeqCst);
    {
        let under_way = charge();
        tokio::pin!(under_way);
        while world.sent() == 0 {
            tokio::select! {
                _ = &mut under_way => panic!("it was answered"),
                () = tokio::time::sleep(Duration::from_millis(2)) => {}
            }
        }
        let refused = charge().await.unwrap_err();
        assert_eq!((refused.code, refused.request_sent), (Code::Duplicate, RequestSent::No));
        let message = &refused.message;
        assert!(message.contains("under way") && !message.contains("Keybearer-Intent"), "{message}");
    }
    // Its client has hung up.
    loop {
        let refused = charge().await.unwrap_err();
        assert_eq!((refused.code, refused.request_sent), (Code::Duplicate, RequestSent::No));
        if refused.message.contains("nobody knows") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!((world.sent(), world.asked().len()), (1, 1));
}

#[tokio::test]
async fn a_write_that_would_be_made_is_put_before_people() {
    let world = Governed::asking("{}");
    let caller = world.caller("billing", None, &[]);
    let charge = |context| world.charge_as(&caller, 100, "usd", "cus_1", context);
    // The upstream has declined the first.
    world.wire.status.store(402, Ordering::SeqCst);
    world.approve(charge(in_conversation("a")).await).await;
    assert_eq!(charge(in_conversation("a")).await.unwrap().status, 402);
    world.wire.status.store(200, Ordering::SeqCst);
    world.approve(charge(in_conversation("a")).await).await;
    assert_eq!(charge(in_conversation("a")).await.unwrap().status, 200);
    let intent = CallContext { intent: Some("again".parse().unwrap()), ..in_conversation("a") };
    for context in [intent, in_conversation("b"), CallContext::default()] {
        assert_eq!(code(charge(context).await), Code::ApprovalRequired);
    }
    assert_eq!((world.sent(), world.asked().len()), (2, 5));
}

#[tokio::test]
async fn while_nobody_can_tell_whether_it_was_made_nobody_is_asked() {
    let world = Governed::asking("{}");
    let caller = world.caller("billing", None, &[]);
    world.between.gone.store(true, Ordering::SeqCst);
    let refused = world.charge_as(&caller, 100, "usd", "cus_1", in_conversation("a")).await.unwrap_err();
    assert_eq!((refused.code, refused.request_sent), (Code::AuditUnavailable, RequestSent::No));
    assert_eq!((world.sent(), world.asked().len()), (0, 0));
}

#[tokio::test]
async fn nobody_is_asked_for_what_a_budget_has_no_room_for_and_no_yes_is_used_up() {
    let world = Governed::asking("{}");
    let caller = world.caller("billing", None, &["300 usd total"]);
    let charge = |amount| world.charge_as(&caller, amount, "usd", "cus_1", CallContext::default());
    let unused = world.approve(charge(200).await).await;
    world.approve(charge(150).await).await;
    assert_eq!(charge(150).await.unwrap().status, 200);
    // There was room for it when people were asked.
    assert_eq!(code(charge(200).await), Code::OverBudget);
    let row = world.desk.approvals().get(None, &unused).unwrap().unwrap();
    assert_eq!(row.state(SystemClock.now()), ApprovalState::Granted);
    assert_eq!(code(charge(151).await), Code::OverBudget);
    assert_eq!((world.sent(), world.asked().len(), world.refused(Code::OverBudget)), (1, 2, 2));
}
