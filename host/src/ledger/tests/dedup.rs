use super::*;
use crate::egress::{Draft, DraftBody as Body};
use crate::ids::IntentId;
use crate::ledger::{
    FirstOutcome, Resolved, Settlement, WriteFacts, dedup_key, finish, hold, idempotency_value, made_before,
    prune, recover, refuse, release, reserve, reserve_attempt, resolve, settle,
};
use crate::store::WriteState;

const WINDOW_MS: u64 = 1_000;

/// A write of 40 of the 100 that there are.
fn write(number: u32, key: u8, at: Millis) -> Reservation {
    let mut asked = reservation(number, [line("tenant", "usd", Window::Total, 100, 40)]);
    asked.dedup = Some(Dedup { key: [key; 32], window_ms: WINDOW_MS });
    asked.at = at;
    asked
}

fn again(store: &dyn LedgerStore, number: u32, at: Millis) -> Reserved {
    within(store, |tx| reserve(tx, &write(number, 1, at)))
}

#[test]
fn a_write_under_way_is_not_made_a_second_time() {
    on_both(|store| {
        assert_eq!(again(store, 1, NOW), Reserved::Yes);
        let in_progress = Reserved::InProgress { first: id(1) };
        assert_eq!(again(store, 2, NOW), in_progress);
        // However long it takes.
        assert_eq!(again(store, 3, Millis(NOW.0 + 86_400_000)), in_progress);
        assert_eq!(within(store, |tx| reserve(tx, &write(4, 2, NOW))), Reserved::Yes);
    });
}

#[test]
fn a_write_that_was_made_gives_its_first_outcome_though_the_budget_is_used_up() {
    on_both(|store| {
        assert_eq!(again(store, 1, NOW), Reserved::Yes);
        let sealed = Some(vec![7, 0, 255]);
        within(store, |tx| settle(tx, &id(1), Some(100), Some(201), sealed.clone()));
        let outcome = FirstOutcome::Done { status: Some(201), reply: sealed.clone(), at: NOW };
        let first = Reserved::Duplicate { first: id(1), outcome };
        assert_eq!(again(store, 2, Millis(NOW.0 + 999)), first);
        assert_eq!(tally(store, &line("tenant", "usd", Window::Total, 100, 40)).counted(), 100);
    });
}

#[test]
fn an_open_reservation_is_read_with_what_is_known_of_its_write() {
    on_both(|store| {
        assert_eq!(store.reservation(&id(1)).unwrap(), None);
        assert_eq!(again(store, 1, NOW), Reserved::Yes);
        within(store, |tx| hold(tx, &id(1)));
        let (entry, write) = store.reservation(&id(1)).unwrap().unwrap();
        assert_eq!((entry.id, entry.state, entry.write), (id(1), EntryState::Held, Some([1; 32])));
        let write = write.unwrap();
        assert_eq!((write.reservation, write.state, write.attempt), (id(1), WriteState::Unknown, 0));
        within(store, |tx| settle(tx, &id(1), None, None, None));
        assert_eq!(store.reservation(&id(1)).unwrap(), None);
        let plain = reservation(2, [line("tenant", "usd", Window::Total, 100, 40)]);
        assert_eq!(within(store, |tx| reserve(tx, &plain)), Reserved::Yes);
        assert_eq!(store.reservation(&id(2)).unwrap().unwrap().1, None);
    });
}

#[test]
fn what_is_to_happen_anew_is_another_attempt_to_the_upstream() {
    on_both(|store| {
        let attempt = |number, at| {
            let (said, attempt) = within(store, |tx| reserve_attempt(tx, &write(number, 1, at)));
            assert_eq!(said, Reserved::Yes);
            attempt
        };
        assert_eq!(attempt(1, NOW), 0);
        within(store, |tx| refuse(tx, &id(1)));
        assert_eq!(attempt(2, NOW), 1);
        // What the upstream hasn't seen is the same attempt still.
        within(store, |tx| release(tx, &id(2)));
        assert_eq!(attempt(3, NOW), 1);
        // The upstream may have kept its answer to what an operator says wasn't carried out.
        within(store, |tx| hold(tx, &id(3)));
        assert!(within(store, |tx| resolve(tx, &id(3), false, None)) != Resolved::Unknown);
        assert_eq!(attempt(4, NOW), 2);
        within(store, |tx| settle(tx, &id(4), Some(0), Some(200), None));
        // A repetition that is meant is none to the upstream either, however long it remembers its keys.
        let later = Millis(NOW.0 + 1_000);
        assert_eq!(attempt(5, later), 3);
        // What nobody knows the end of may be known to the upstream.
        within(store, |tx| hold(tx, &id(5)));
        let later = Millis(later.0 + 1_000);
        assert_eq!(attempt(6, later), 3);
        within(store, |tx| resolve(tx, &id(5), false, None));
        within(store, |tx| settle(tx, &id(6), Some(0), Some(200), None));
        // By then no upstream remembers any.
        let over = later.0 + 1_000 + 45 * 86_400_000;
        within(store, |tx| prune(tx, Millis(over - 1)));
        assert_eq!(attempt(7, Millis(over - 1)), 4);
        within(store, |tx| settle(tx, &id(7), Some(0), Some(200), None));
        let over = over - 1 + 1_000 + 45 * 86_400_000;
        within(store, |tx| prune(tx, Millis(over)));
        assert_eq!(attempt(8, Millis(over)), 0);
    });
}

#[test]
fn after_its_window_a_write_is_a_new_one() {
    on_both(|store| {
        assert_eq!(again(store, 1, NOW), Reserved::Yes);
        within(store, |tx| settle(tx, &id(1), None, Some(200), None));
        let later = Millis(NOW.0 + 1_000);
        assert_eq!(again(store, 2, later), Reserved::Yes);
        assert_eq!(again(store, 3, later), Reserved::InProgress { first: id(2) });
    });
}

#[test]
fn what_surely_was_not_done_may_be_tried_again() {
    on_both(|store| {
        assert_eq!(again(store, 1, NOW), Reserved::Yes);
        within(store, |tx| release(tx, &id(1)));
        assert_eq!(again(store, 2, NOW), Reserved::Yes);
        within(store, |tx| refuse(tx, &id(2)));
        assert_eq!(again(store, 3, NOW), Reserved::Yes);
    });
}

#[test]
fn what_nobody_knows_is_not_tried_again_until_an_operator_says() {
    on_both(|store| {
        assert_eq!(again(store, 1, NOW), Reserved::Yes);
        within(store, |tx| finish(tx, &id(1), Settlement::Hold, None, None));
        let unknown =
            |first| Reserved::Duplicate { first: id(first), outcome: FirstOutcome::Unknown { at: NOW } };
        assert_eq!(again(store, 2, NOW), unknown(1));
        within(store, |tx| resolve(tx, &id(1), false, None));
        assert_eq!(again(store, 3, NOW), Reserved::Yes);
        within(store, recover);
        assert_eq!(again(store, 4, NOW), unknown(3));
        within(store, |tx| resolve(tx, &id(3), true, None));
        let outcome = FirstOutcome::Done { status: None, reply: None, at: NOW };
        let done = Reserved::Duplicate { first: id(3), outcome };
        assert_eq!(again(store, 5, NOW), done);
    });
}

#[test]
fn an_old_reservation_s_end_leaves_the_same_write_s_new_one_alone() {
    on_both(|store| {
        assert_eq!(again(store, 1, NOW), Reserved::Yes);
        within(store, |tx| hold(tx, &id(1)));
        let later = Millis(NOW.0 + 5_000);
        assert_eq!(again(store, 2, later), Reserved::Yes);
        within(store, |tx| resolve(tx, &id(1), false, None));
        assert_eq!(again(store, 3, later), Reserved::InProgress { first: id(2) });
    });
}

#[test]
fn a_write_without_a_budget_is_recognised_as_well() {
    on_both(|store| {
        let free = |number| Reservation { lines: Lines::none(), ..write(number, 1, NOW) };
        assert_eq!(within(store, |tx| reserve(tx, &free(1))), Reserved::Yes);
        within(store, |tx| hold(tx, &id(1)));
        assert!(matches!(within(store, |tx| reserve(tx, &free(2))), Reserved::Duplicate { .. }));
        // An operator can say of it too what became of it.
        within(store, |tx| resolve(tx, &id(1), false, None));
        assert_eq!(within(store, |tx| reserve(tx, &free(3))), Reserved::Yes);
    });
}

#[test]
fn writes_whose_time_is_over_are_pruned_but_not_those_under_way() {
    on_both(|store| {
        for (number, key) in [(1, 1), (2, 2), (3, 3)] {
            let free = Reservation { lines: Lines::none(), ..write(number, key, NOW) };
            assert_eq!(within(store, |tx| reserve(tx, &free)), Reserved::Yes);
        }
        within(store, |tx| hold(tx, &id(1)));
        within(store, |tx| settle(tx, &id(3), None, Some(200), Some(vec![7])));
        assert_eq!(within(store, |tx| prune(tx, Millis(NOW.0 + 999))), 0);
        // The reservation that stood for the first alone, and the reply of the third.
        assert_eq!(within(store, |tx| prune(tx, Millis(NOW.0 + 1_000))), 2);
        assert_eq!(entries(store).len(), 1);
        let third = within(store, |tx| tx.write(&[3; 32])).unwrap();
        assert_eq!(third.state, WriteState::Done { status: Some(200), reply: None });
        assert_eq!(within(store, |tx| prune(tx, Millis(NOW.0 + 1_000))), 0);
        let later = Millis(NOW.0 + 1_000 + 45 * 86_400_000);
        assert_eq!(within(store, |tx| prune(tx, later)), 2);
        let known = [1, 2, 3].map(|key| within(store, |tx| tx.write(&[key; 32])).is_some());
        assert_eq!(known, [false, true, false]);
    });
}

/// What comes of a write.
type End = fn(&mut dyn LedgerTx) -> Result<bool, StoreError>;

/// What comes of the first before the same one is asked for again.
const ENDS: [End; 6] = [
    |_| Ok(true),
    |tx| settle(tx, &id(1), None, Some(200), Some(vec![7])),
    |tx| settle(tx, &id(1), None, None, None),
    |tx| hold(tx, &id(1)),
    |tx| refuse(tx, &id(1)),
    |tx| release(tx, &id(1)),
];

#[test]
fn whoever_asks_before_hears_what_reserving_says() {
    for end in ENDS {
        for after in [0, 999, 1_000, 86_400_000] {
            on_both(|store| {
                assert_eq!(again(store, 1, NOW), Reserved::Yes);
                within(store, end);
                let now = Millis(NOW.0 + after);
                let known = within(store, |tx| tx.write(&[1; 32]));
                let told = known.and_then(|known| made_before(known, now));
                let said = again(store, 2, now);
                assert_eq!(told.unwrap_or(Reserved::Yes), said, "after {after} ms");
            });
        }
    }
}

/// A connection with a write of each kind of body.
const STRIPE: &str = r#"
base_url = "https://api.stripe.com"
secret = "stripe"
attach = { kind = "bearer" }
request_headers = ["accept", "accept-language", "idempotency-key", "if-match", "stripe-account", "x-key"]
idempotency_header = "X-Key"
[operations.create_charge]
request = "POST /v1/charges"
effect = "write"
content_type = "application/x-www-form-urlencoded"
body.amount = { type = "integer", minimum = 0 }
body.customer = { type = "string", optional = true }
[operations.note]
request = "POST /v1/notes/{id}"
effect = "write"
content_type = "application/json"
path.id = { type = "string" }
body.text = { type = "string" }
body.more = { type = "string", optional = true }
[operations.import]
request = "POST /v1/import"
effect = "write"
content_type = "text/csv"
"#;

struct Ask<'a> {
    tenant: &'a str,
    conversation: &'a str,
    path: &'a str,
    headers: &'a [(&'a str, &'a str)],
    body: Body,
    intent: Option<&'a str>,
    user: Option<&'a str>,
}

fn form(pairs: &[(&str, &str)]) -> Body {
    Body::Form(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
}

impl Ask<'_> {
    fn key(&self) -> [u8; 32] {
        let connections = Connections::parse(&[("stripe.toml", STRIPE)]).unwrap();
        let realm =
            Realm { tenant: self.tenant.parse().unwrap(), environment: "production".parse().unwrap() };
        let draft = Draft {
            connection: "stripe".to_owned(),
            method: "POST".to_owned(),
            path: self.path.to_owned(),
            query: Vec::new(),
            headers: self
                .headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            body: Some(self.body.clone()),
        };
        let typed = connections.get(&realm, "stripe").unwrap().accept(draft).unwrap();
        dedup_key(
            &[9; 32],
            &WriteFacts {
                realm: &realm,
                conversation: &self.conversation.parse().unwrap(),
                connection: typed.connection_name(),
                operation: typed.operation_name(),
                request: typed.request(),
                idempotency_header: typed.connection().idempotency_header.as_ref(),
                intent: self.intent.map(|intent| intent.parse::<IntentId>().unwrap()).as_ref(),
                user: self.user.map(|user| user.parse().unwrap()).as_ref(),
            },
        )
    }
}

fn ask<'a>() -> Ask<'a> {
    Ask {
        tenant: "acme",
        conversation: "chat-7",
        path: "/v1/charges",
        headers: &[],
        body: form(&[("amount", "500"), ("customer", "cus_1")]),
        intent: None,
        user: None,
    }
}

#[test]
fn the_same_write_has_the_same_key_whatever_an_sdk_adds_and_however_it_sorts() {
    assert_eq!(ask().key(), ask().key());
    let keys = [("Idempotency-Key", "a"), ("X-Key", "b")];
    assert_eq!(ask().key(), Ask { headers: &keys, ..ask() }.key());
    for looks in [[("Accept", "*/*")], [("Accept", "application/json")], [("Accept-Language", "de")]] {
        assert_eq!(ask().key(), Ask { headers: &looks, ..ask() }.key(), "{looks:?}");
    }
    let accounts = [("Stripe-Account", "acct_1"), ("idempotency-key", "c")];
    let swapped = [accounts[1], accounts[0]];
    assert_eq!(Ask { headers: &accounts, ..ask() }.key(), Ask { headers: &swapped, ..ask() }.key());
    assert_eq!(ask().key(), Ask { body: form(&[("customer", "cus_1"), ("amount", "500")]), ..ask() }.key());
    let note = |text: &str| Ask { path: "/v1/notes/1", body: Body::Json(text.to_owned()), ..ask() }.key();
    assert_eq!(note(r#"{"text":"a","more":"b"}"#), note(r#"{ "more": "b", "text": "a" }"#));
}

#[test]
fn parameters_of_the_media_type_make_another_write_unless_they_say_utf_8() {
    let import = |content_type: &str, data: &'static str| {
        let body = Body::Bytes { content_type: content_type.to_owned(), data: data.into() };
        Ask { path: "/v1/import", body, ..ask() }.key()
    };
    let plain = import("text/csv", "a,b");
    for content_type in ["text/csv; charset=utf-8", "text/csv;Charset=UTF-8", "text/csv; charset=\"utf-8\""] {
        assert_eq!(import(content_type, "a,b"), plain, "{content_type}");
        assert_ne!(import(content_type, "a,c"), plain, "{content_type}");
    }
    let others =
        ["header=present", "header=absent", "charset=iso-8859-1", "version=2", "version=2; header=present"];
    let mut keys: Vec<_> =
        others.iter().map(|other| import(&format!("text/csv; {other}"), "a,b")).chain([plain]).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), others.len() + 1);
    let both = import("text/csv; version=2; header=present", "a,b");
    for content_type in
        ["text/csv;header=present;version=2", "text/csv; version=2; charset=utf-8; header=present"]
    {
        assert_eq!(import(content_type, "a,b"), both, "{content_type}");
    }
}

#[test]
fn whatever_makes_a_write_another_changes_its_key() {
    let note = |path, text: &str| Ask { path, body: Body::Json(text.to_owned()), ..ask() }.key();
    let mut keys = vec![
        ask().key(),
        Ask { tenant: "globex", ..ask() }.key(),
        Ask { conversation: "chat-8", ..ask() }.key(),
        Ask { intent: Some("again"), ..ask() }.key(),
        Ask { intent: Some("again2"), ..ask() }.key(),
        Ask { user: Some("ann"), ..ask() }.key(),
        Ask { user: Some("bob"), ..ask() }.key(),
        Ask { headers: &[("Stripe-Account", "acct_1")], ..ask() }.key(),
        Ask { headers: &[("Stripe-Account", "acct_2")], ..ask() }.key(),
        Ask { headers: &[("If-Match", "\"1\"")], ..ask() }.key(),
        Ask { body: form(&[("amount", "501"), ("customer", "cus_1")]), ..ask() }.key(),
        Ask { body: form(&[("amount", "500")]), ..ask() }.key(),
        note("/v1/notes/1", r#"{"text":"a"}"#),
        note("/v1/notes/2", r#"{"text":"a"}"#),
        note("/v1/notes/1", r#"{"text":"b"}"#),
        note("/v1/notes/1", r#"{"text":"a","more":""}"#),
    ];
    let all = keys.len();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), all);
}

#[test]
fn the_upstream_gets_a_uuid_that_stays_the_same() {
    let value = idempotency_value(&[1; 32], 0);
    assert_eq!(value, idempotency_value(&[1; 32], 0));
    assert_ne!(value, idempotency_value(&[2; 32], 0));
    let others = [1, 2, 256].map(|attempt| idempotency_value(&[1; 32], attempt));
    assert!(!others.contains(&value) && others[0] != others[1] && others[0] != others[2]);
    let parts: Vec<_> = value.split('-').map(str::len).collect();
    assert_eq!(parts, [8, 4, 4, 4, 12]);
    assert_eq!(value.as_bytes()[14], b'8');
    assert!(b"89ab".contains(&value.as_bytes()[19]), "{value}");
    assert!(!value.contains(&"01".repeat(4)), "the key itself isn't in it");
}

#[test]
fn a_home_keeps_its_salt() {
    let control = crate::store::MemoryControl::new();
    let salt = crate::ledger::dedup_salt(&control).unwrap();
    assert_eq!(crate::ledger::dedup_salt(&control).unwrap(), salt);
    assert_ne!(crate::ledger::dedup_salt(&crate::store::MemoryControl::new()).unwrap(), salt);
    let damaged = crate::store::MemoryControl::new();
    crate::store::ControlStore::ensure_setting(&damaged, "ledger.salt", b"short").unwrap();
    assert!(crate::ledger::dedup_salt(&damaged).is_err());
}
