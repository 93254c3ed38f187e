//! What rows say of refused requests and of tokens, how that is shown, and how older rows are read.

use super::*;
use crate::auth::{Grant, OperationPattern, ToolPattern};
use crate::connection::Cost;
use crate::store::{TokenKind, TokenRow};

fn row(event: Event) -> Row {
    Row {
        seq: 7,
        at: Millis(0),
        realm: Some(realm()),
        call: None,
        event,
        prev: Digest([0; 32]),
        hash: Digest([1; 32]),
    }
}

/// As `audit list` shows it, without number and time.
fn shown(event: Event) -> String {
    export::line(&row(event)).split_once("acme/prod  ").unwrap().1.to_owned()
}

fn known() -> SendKnown {
    SendKnown {
        operation: Some("create_charge".parse().unwrap()),
        cost: Some(Cost { amount_minor: 9_900, currency: "usd".to_owned() }),
        policy: Some(Digest([2; 32])),
        ..SendKnown::default()
    }
}

fn refused(code: Code, known: SendKnown) -> Event {
    Event::SendRefused(SendRefused { connection: "stripe".to_owned(), code, known })
}

fn token() -> TokenRow {
    TokenRow {
        id: "tok_000000000000000000000001".parse().unwrap(),
        hash: [0xaa; 32],
        kind: TokenKind::Agent,
        realm: realm(),
        every_environment: false,
        agent: "billing-1".parse().unwrap(),
        conversation: Some("march".parse().unwrap()),
        role: Some("billing".parse().unwrap()),
        task: Some("collect what is \"overdue\"".to_owned()),
        user: None,
        parent: None,
        minted_by: Some("cli:ann".parse().unwrap()),
        grant: Grant {
            tools: vec![ToolPattern::Any],
            operations: vec!["stripe:*".parse().unwrap()],
            budgets: vec!["50000 usd day".parse().unwrap()],
            may_delegate: true,
            may_store_secrets: false,
        },
        created_at: Millis(0),
        expires_at: Millis(60_000),
        revoked_at: None,
    }
}

#[test]
fn a_refused_request_is_shown_with_what_is_known_of_it() {
    assert_eq!(
        shown(refused(Code::Denied, known())),
        "send refused  stripe:create_charge  cost=99.00 USD  code=denied  policy=sha256:020202020202"
    );
    let first = ReservationId { call: "call_00000000000000000000000000000001".parse().unwrap(), send: 1 };
    let repeats = SendKnown { repeats: Some(first), ..SendKnown::default() };
    assert_eq!(
        shown(refused(Code::Duplicate, repeats)),
        "send refused  stripe  code=duplicate  repeats=call_00000000000000000000000000000001.1"
    );
    let begun = SendBegun { cost: known().cost, ..send_intent(1) };
    let line = shown(Event::SendBegun(begun));
    assert!(
        line.contains("stripe:get_invoice  cost=99.00 USD  secret=") && line.contains("  policy=sha256:")
    );
}

#[test]
fn a_call_and_what_came_of_its_sends_are_shown_whole() {
    let begun = CallBegun { role: Some("billing".parse().unwrap()), ..intent() };
    let line = shown(Event::CallBegun(begun));
    let component = Digest::of(b"component").short();
    assert!(line.contains(&format!("  door=tool  role=billing  component={component}  ")), "{line}");
    let line = shown(Event::SendBegun(SendBegun { budgets: 3, ..send_intent(1) }));
    assert!(line.contains("  budgets=3  secret="), "{line}");
    let finished = SendFinished {
        send: 1,
        status: Some(200),
        failure: None,
        request_sent: RequestSent::Yes,
        secret_version: Some(2),
        settlement: Some("settled".to_owned()),
        refunded: known().cost,
        reply: None,
        reply_bytes: 0,
        took_ms: 7,
    };
    assert_eq!(
        shown(Event::SendFinished(finished)),
        "send 1 finished  status=200  sent=yes  secret_version=2  settlement=settled  refunded=99.00 USD  7 ms"
    );
}

#[tokio::test]
async fn calls_and_what_is_done_to_tokens_and_agents_are_filed_under_them() {
    let trail = fixture();
    let row = token();
    trail.audit.given("token.mint", &row, "tok_000000000000000000000009").await.unwrap();
    trail.audit.admin(Some(realm()), "token.revoke", row.id.as_str(), "cli").await.unwrap();
    trail.audit.admin(Some(realm()), "agent.remove", "billing-1", "cli").await.unwrap();
    trail.audit.admin(Some(realm()), "tool.add", "billing-1", "cli").await.unwrap();
    let pending = trail.begin().await.unwrap();
    begin_send(&pending).await.unwrap().finished(answered(), SETTLED, None);
    pending.finish(Outcome::ok(b"{}"), ()).await.unwrap();
    let told_of = |filter: RowFilter| {
        let rows = trail.audit.rows(&RowFilter { limit: 99, ..filter }).unwrap();
        rows.iter().map(|row| told(&row.event)).collect::<Vec<_>>()
    };
    let of_token = RowFilter { token: Some(row.id.clone()), ..RowFilter::default() };
    assert_eq!(told_of(of_token), ["token.mint", "token.revoke"]);
    let of_agent = |name: &str| RowFilter { agent: Some(name.parse().unwrap()), ..RowFilter::default() };
    assert_eq!(told_of(of_agent("billing-1")), ["token.mint", "agent.remove"]);
    let call = ["call", "send 1", "send 1 done: sent yes", "Ok: 1 sends, sent yes"];
    assert_eq!(told_of(of_agent("billing-bot")), call);
    let of = |name: &str| RowFilter { conversation: Some(name.parse().unwrap()), ..RowFilter::default() };
    assert_eq!(told_of(of("march")), ["token.mint"]);
    assert_eq!(told_of(of("c-1")), call);
    verify(&*trail.store, None).unwrap();
}

#[tokio::test]
async fn what_people_are_asked_is_filed_under_who_asks_and_where_before_its_call_begins() {
    let trail = fixture();
    let step = |step: Step| ApprovalStep {
        id: "apr_000000000000000000000001".parse().unwrap(),
        step,
        by: "billing-1".parse().unwrap(),
        token: Some(token().id),
        fingerprint: crate::approval::Fingerprint::for_tests("x"),
        conversation: (step == Step::Asked).then(|| "march".parse().unwrap()),
    };
    let call = CallId::fresh(Millis(0));
    trail.audit.approval(&realm(), Some(&call), step(Step::Asked)).await.unwrap();
    for other in [Step::Approved, Step::Denied, Step::Claimed] {
        trail.audit.approval(&realm(), None, step(other)).await.unwrap();
    }
    for filter in [
        RowFilter { token: Some(token().id), ..RowFilter::default() },
        RowFilter { agent: Some("billing-1".parse().unwrap()), ..RowFilter::default() },
        RowFilter { conversation: Some("march".parse().unwrap()), ..RowFilter::default() },
    ] {
        let rows = trail.audit.rows(&RowFilter { limit: 9, ..filter }).unwrap();
        let told: Vec<_> = rows.iter().map(|row| told(&row.event)).collect();
        assert_eq!(told, ["apr_000000000000000000000001 asked"]);
    }
    // Read back from its text, it says the same.
    verify(&*trail.store, None).unwrap();
    let asked = shown(Event::Approval(step(Step::Asked)));
    assert!(asked.contains("1  conversation=march  fingerprint="), "{asked}");
}

#[test]
fn a_token_s_row_is_shown_with_who_got_it_for_what_and_what_it_may_do() {
    let given = |row: &TokenRow| Event::Admin {
        action: "token.mint".to_owned(),
        subject: row.id.to_string(),
        by: "cli".to_owned(),
        reason: None,
        token: Some(Box::new(row.into())),
    };
    assert_eq!(
        shown(given(&token())),
        "admin  token.mint  tok_000000000000000000000001  by=cli  minted_by=cli:ann  agent=billing-1  role=billing  \
         task=\"collect what is \\\"overdue\\\"\"  conversation=march  expires=1970-01-01T00:01:00.000Z  \
         may=* stripe:* [50000 usd day] delegate"
    );
    let operator = TokenRow {
        kind: TokenKind::Operator,
        agent: "alice".parse().unwrap(),
        every_environment: true,
        conversation: None,
        role: None,
        task: None,
        grant: Grant::default(),
        ..token()
    };
    assert!(
        shown(given(&operator))
            .ends_with("  operator=alice  expires=1970-01-01T00:01:00.000Z  every_environment")
    );
    let monitor = TokenRow { kind: TokenKind::Monitor, ..operator };
    assert!(
        shown(given(&monitor))
            .ends_with("  monitor=alice  expires=1970-01-01T00:01:00.000Z  every_environment")
    );
    let approval = Some("apr_000000000000000000000001".parse().unwrap());
    let begun = shown(Event::CallBegun(CallBegun { task: token().task, approval, ..intent() }));
    assert!(begun.contains("  task=\"collect what is \\\"overdue\\\"\"  conversation="), "{begun}");
    assert!(begun.contains("  approval=apr_000000000000000000000001  "), "{begun}");
}

#[tokio::test]
async fn a_token_is_on_record_whole_but_for_a_long_list_and_without_itself() {
    let trail = fixture();
    let mut long = token();
    long.grant.tools = (0..100).map(|n| format!("tool_{n}").parse().unwrap()).collect();
    let operation =
        |n| OperationPattern::Named("stripe".parse().unwrap(), format!("op_{n}").parse().unwrap());
    long.grant.operations = (0..70).map(operation).collect();
    trail.audit.given("token.mint", &token(), "cli").await.unwrap();
    trail.audit.given("token.delegate", &long, "tok_000000000000000000000002").await.unwrap();
    let records = trail.store.rows(&RowFilter { limit: 9, ..RowFilter::default() }).unwrap();
    assert!(records.iter().all(|record| record.realm == Some(realm()) && !record.event.contains("hash")));
    let given = trail.audit.rows(&RowFilter { limit: 9, ..RowFilter::default() }).unwrap();
    let given: Vec<_> = given
        .into_iter()
        .map(|row| match row.event {
            Event::Admin { action, subject, by, token: Some(token), .. } => (action, subject, by, *token),
            other => panic!("{other:?}"),
        })
        .collect();
    let (_, subject, by, whole) = &given[0];
    assert_eq!((subject.as_str(), by.as_str()), ("tok_000000000000000000000001", "cli"));
    assert_eq!((&whole.grant, whole.left_out), (&token().grant, 0));
    let (action, _, by, cut) = &given[1];
    assert_eq!((action.as_str(), by.as_str()), ("token.delegate", "tok_000000000000000000000002"));
    assert_eq!((cut.grant.tools.len(), cut.grant.operations.len(), cut.left_out), (64, 64, 42));
}

/// Their texts are what is hashed: they're read as they are, and say less.
#[test]
fn rows_of_before_are_read() {
    let known = SendKnown { question: Some("00ff".to_owned()), ..SendKnown::default() };
    for (text, event) in [
        (
            r#"{"event":"send_refused","connection":"stripe","code":"denied"}"#,
            refused(Code::Denied, SendKnown::default()),
        ),
        (
            r#"{"event":"send_refused","connection":"stripe","code":"denied","question":"00ff"}"#,
            refused(Code::Denied, known),
        ),
        (
            r#"{"event":"admin","action":"token.mint","subject":"tok","by":"cli"}"#,
            Event::Admin {
                action: "token.mint".to_owned(),
                subject: "tok".to_owned(),
                by: "cli".to_owned(),
                reason: None,
                token: None,
            },
        ),
    ] {
        assert_eq!(serde_json::from_str::<Event>(text).unwrap(), event);
        assert_eq!(serde_json::to_string(&event).unwrap(), text, "what isn't known isn't written");
    }
    let differed = Event::ShadowDiffered(difference());
    let older = serde_json::to_string(&differed).unwrap().replace(r#""policy":"#, r#""hash":"#);
    assert!(older.contains(r#""hash":"#), "{older}");
    assert_eq!(serde_json::from_str::<Event>(&older).unwrap(), differed);
    let begun = serde_json::to_string(&Event::CallBegun(intent())).unwrap();
    assert!(!begun.contains("task") && !begun.contains("approval"), "{begun}");
    for event in [refused(Code::OverBudget, self::known()), refused(Code::ToolLimit, SendKnown::default())] {
        let written = serde_json::to_string(&row(event)).unwrap();
        assert_eq!(serde_json::to_string(&serde_json::from_str::<Row>(&written).unwrap()).unwrap(), written);
    }
}
