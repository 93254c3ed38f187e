//! What a refused request leaves on record: what was asked, for how much, under which policies, and what it repeats. And
//! what one without a reply does.

use super::*;
use crate::approval::Approver;
use crate::audit::{SendKnown, SendRefused};
use crate::connection::Cost;
use crate::ids::ReservationId;

const RULES: &str = r#"
@id("agents-send") permit (principal is Agent, action in Action::"send", resource);
@id("small-charges")
forbid (principal, action == Action::"stripe:charge", resource) when { context.body.amount > 5000 };
@id("charges-need-a-person")
forbid (principal, action == Action::"stripe:charge", resource) when { context.body.amount > 3000 }
unless { context.approval.granted };
@id("operators-approve") permit (principal is Operator, action == Action::"approve", resource);
"#;

impl Governed {
    fn ruled() -> Self {
        Self::under(RULES, Arc::new(SystemClock), "", r#"{"id": "ch_1"}"#)
    }

    fn refusals(&self) -> Vec<SendRefused> {
        let events = self.rows().into_iter().map(|row| row.event);
        let refused = |event| if let Event::SendRefused(refused) = event { Some(refused) } else { None };
        events.filter_map(refused).collect()
    }

    /// The first request of which the intent is on record.
    fn first(&self) -> ReservationId {
        let mut rows = self.rows().into_iter();
        let begun = rows.find(|row| matches!(row.event, Event::SendBegun(_))).unwrap();
        ReservationId { call: begun.call.unwrap(), send: 1 }
    }

    /// All that is known of a charge by the time that the policies were asked.
    fn known(&self, caller: &Caller, minor: i64) -> SendKnown {
        SendKnown {
            operation: Some("charge".parse().unwrap()),
            cost: Some(Cost { amount_minor: minor, currency: "usd".to_owned() }),
            policy: Some(self.pipeline.parts.policy.hash_for(caller.realm())),
            ..SendKnown::default()
        }
    }
}

fn told(refusals: Vec<SendRefused>) -> Vec<(Code, SendKnown)> {
    refusals.into_iter().map(|refused| (refused.code, refused.known)).collect()
}

#[tokio::test]
async fn a_refused_charge_says_what_for_how_much_and_under_which_policies() {
    let world = Governed::ruled();
    let caller = world.caller("billing", None, &["4000 usd total"]);
    assert_eq!(code(world.charge(&caller, 9_900, "cus_1").await), Code::Denied);
    assert_eq!(code(world.charge(&caller, 4_000, "cus_1").await), Code::ApprovalRequired);
    assert!(world.charge(&caller, 3_000, "cus_1").await.is_ok());
    assert_eq!(code(world.charge(&caller, 1_001, "cus_1").await), Code::OverBudget);
    let known = |minor| world.known(&caller, minor);
    assert_eq!(
        told(world.refusals()),
        [
            (Code::Denied, known(9_900)),
            (Code::ApprovalRequired, known(4_000)),
            (Code::OverBudget, known(1_001)),
        ]
    );
}

#[tokio::test]
async fn a_charge_that_a_token_may_not_make_says_the_same() {
    let world = Governed::ruled();
    let minted = world.auth.mint(Mint {
        kind: TokenKind::Agent,
        realm: Realm { tenant: "acme".parse().unwrap(), environment: "dev".parse().unwrap() },
        every_environment: false,
        agent: "reader".parse().unwrap(),
        conversation: None,
        role: None,
        task: None,
        user: None,
        grant: Grant { operations: vec!["stripe:look".parse().unwrap()], ..Grant::default() },
        lifetime: Duration::from_secs(600),
    });
    let reader = world.auth.verify(minted.unwrap().token.as_str()).unwrap();
    assert_eq!(code(world.charge(&reader, 99, "cus_1").await), Code::Denied);
    assert_eq!(told(world.refusals()), [(Code::Denied, world.known(&reader, 99))]);
}

#[tokio::test]
async fn what_is_not_known_is_left_out() {
    let world = Governed::ruled();
    let caller = world.caller("billing", None, &[]);
    let elsewhere = Draft { path: "/v1/elsewhere".to_owned(), ..draft("GET", None) };
    let within = Duration::from_secs(4);
    let refused = world.forward_within(within, &caller, elsewhere, CallContext::default()).await;
    assert_eq!(code(refused), Code::UnknownOperation);
    assert!(world.auth.revoke(caller.token(), None).unwrap());
    assert_eq!(code(world.charge(&caller, 100, "cus_1").await), Code::Unauthorized);
    let unasked = SendKnown { policy: None, ..world.known(&caller, 100) };
    assert_eq!(
        told(world.refusals()),
        [(Code::UnknownOperation, SendKnown::default()), (Code::Unauthorized, unasked)]
    );
}

#[tokio::test]
async fn a_repetition_names_the_send_that_it_repeats() {
    // The first amount people aren't asked about. Where they would be, it's found out before they are.
    for amount in [100, 4_000] {
        let world = Governed::ruled();
        let caller = world.caller("billing", None, &[]);
        let charge = || world.charge_as(&caller, amount, "usd", "cus_1", in_conversation("a"));
        let mut first = charge().await;
        if let Err(asked) = &first {
            let at = asked.message.find("apr_").unwrap();
            let id = asked.message[at..at + 28].parse().unwrap();
            world.desk.approve(Approver::command_line("ann").unwrap(), &id).await.unwrap();
            first = charge().await;
        }
        let first = first.unwrap();
        assert_eq!(charge().await.unwrap().body, first.body);
        let minor = i64::try_from(amount).unwrap();
        let repeated = SendKnown { repeats: Some(world.first()), ..world.known(&caller, minor) };
        let last = world.refusals().pop().unwrap();
        assert_eq!((last.code, last.known), (Code::Duplicate, repeated));
        assert_eq!(world.sent(), 1);
    }
}

#[tokio::test]
async fn a_request_without_a_reply_has_the_version_of_the_secret_that_was_attached() {
    let world = Governed::new("");
    let caller = world.caller("billing", None, &[]);
    let within = |deadline| {
        world.forward_within(
            Duration::from_millis(deadline),
            &caller,
            draft("GET", None),
            CallContext::default(),
        )
    };
    let versions = || {
        let events = world.rows().into_iter().map(|row| row.event);
        let version =
            |event| if let Event::SendFinished(send) = event { Some(send.secret_version) } else { None };
        events.filter_map(version).collect::<Vec<_>>()
    };
    let under_way = async |sent| {
        while world.sent() == sent {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    world.wire.echoes.store(true, Ordering::SeqCst);
    assert_eq!(code(within(4_000).await), Code::UpstreamRefused);
    world.wire.gone.store(true, Ordering::SeqCst);
    assert_eq!(code(within(4_000).await), Code::UpstreamUnreachable);
    world.wire.gone.store(false, Ordering::SeqCst);
    world.wire.silent.store(true, Ordering::SeqCst);
    assert!(within(2_000).await.is_err());
    let sent = world.sent();
    let throws = async {
        under_way(sent).await;
        world.kills.throw(stop(Scope::Tenant)).unwrap()
    };
    let (refused, switch) = tokio::join!(within(4_000), throws);
    assert_eq!(code(refused), Code::Killed);
    world.kills.lift(&switch.id, None).unwrap();
    let sent = world.sent();
    tokio::select! {
        answered = within(4_000) => panic!("{answered:?}"),
        () = under_way(sent) => {}
    }
    let all = async {
        while versions().len() < 5 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), all).await.unwrap();
    assert_eq!(versions(), [Some(0); 5], "a canary's");

    let (auth, token) = (world.auth.clone(), caller.token().clone());
    let revokes = move || assert!(auth.revoke(&token, None).unwrap());
    *world.between.act.lock().unwrap() = Some(Box::new(revokes));
    world.between.left.store(1, Ordering::SeqCst);
    assert_eq!(code(within(4_000).await), Code::Unauthorized);
    assert_eq!(versions().last(), Some(&None), "none was attached");
}
