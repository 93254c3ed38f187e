//! How a write is looked up, as a connection's file says it.

use super::*;
use crate::clock::Millis;

/// How the charge of [`STRIPE`] is looked up.
const RECONCILE: &str = r#"
key_field = "metadata[order]"
[operations.create_charge.reconcile]
read = "upcoming"
query.customer = "{key}"
in = "/data"
key = "/metadata/order"
amount = "/amount"
status = { at = "/status", is = "succeeded" }
"#;

fn reconciled(rule: &str) -> String {
    STRIPE.replace("[operations.get_invoice]", &format!("{rule}[operations.get_invoice]"))
}

#[test]
fn the_host_alone_writes_its_key_into_forms_and_json() {
    let text = reconciled(RECONCILE).replace(
        "path.n = { type = \"integer\" }",
        "path.n = { type = \"integer\" }\nbody.key = { type = \"string\", optional = true }\nkey_field = \"key\"",
    );
    let all = Connections::parse(&[("stripe.toml", &text)]).unwrap_or_else(|problems| panic!("{problems}"));
    let stripe = all.iter().next().unwrap().clone();
    let charge = |more: &[(&str, &str)]| {
        let fields = [&[("amount", "5"), ("currency", "usd")], more].concat();
        draft("POST", "/v1/charges", Some(DraftBody::Form(pairs(&fields))))
    };
    let sent = stripe.accept_in(charge(&[]), None).unwrap();
    assert_eq!((sent.key(), sent.parameters().body.len()), (None, 2));
    let before = sent.request().digest();
    let sent = sent.with_key("k-1").unwrap();
    assert_eq!((sent.key(), &sent.parameters().body["metadata[order]"]), (Some("k-1"), &json!("k-1")));
    assert_eq!(sent.request().body_bytes(), "amount=5&currency=usd&metadata%5Border%5D=k-1");
    assert_ne!(sent.request().digest(), before);
    let note = |body: &str| {
        stripe.accept_in(draft("PATCH", "/v1/notes/5", Some(DraftBody::Json(body.to_owned()))), None)
    };
    let sent = note(r#"{"tags":["a"]}"#).unwrap().with_key("k-2").unwrap();
    assert_eq!(sent.request().body_bytes(), r#"{"key":"k-2","tags":["a"]}"#);
    assert_eq!(sent.request().content_type(), Some("application/merge-patch+json"));
    for refused in [stripe.accept_in(charge(&[("metadata[order]", "x")]), None), note(r#"{"key":"x"}"#)] {
        assert!(refused.unwrap_err().message.contains("written by the host alone"));
    }
    // What has no such field stays as it is.
    let read = stripe.accept_in(draft("GET", "/v1/invoices/in_1", None), None).unwrap();
    assert_eq!(read.with_key("k-3").unwrap().key(), None);
}

#[test]
fn a_look_up_is_given_what_is_known_of_the_write() {
    let rule = RECONCILE.replace("query.customer = \"{key}\"", "query.customer = \"{latest}\"");
    for (rule, query) in [
        (RECONCILE.to_owned(), "customer=k-1"),
        (rule.clone(), "customer=2023-11-14T22%3A18%3A20.000Z"),
        (rule.replace("{latest}", "{earliest}"), "customer=2023-11-14T22%3A08%3A20.000Z"),
        (rule.replace("{latest}", "cus_1"), "customer=cus_1"),
    ] {
        let all =
            Connections::parse(&[("stripe.toml", &reconciled(&rule))]).unwrap_or_else(|p| panic!("{p}"));
        let stripe = all.iter().next().unwrap().clone();
        let rule = stripe.reconciles(&"create_charge".parse().unwrap()).unwrap();
        let write = LostWrite { key: "k-1", begun: Millis(1_700_000_000_000) };
        let look = stripe.lookup(rule, write, None).unwrap().into_send();
        assert_eq!((look.operation_name().as_str(), look.request().query_encoded()), ("upcoming", query));
        assert!(stripe.reconciles(&"note".parse().unwrap()).is_none());
    }
}

#[test]
fn every_rule_of_look_ups_has_its_message() {
    assert!(Connections::parse(&[("c.toml", &reconciled(RECONCILE))]).is_ok());
    for (was, instead, message) in [
        ("key_field = \"metadata[order]\"\n", "", "a key that isn't written into it"),
        ("metadata[order]", "customer", "isn't declared as an optional string that a UUID fits"),
        ("metadata[order]", "currency", "isn't declared as an optional string that a UUID fits"),
        ("metadata[order]", "metadata[none]", "isn't declared as an optional string that a UUID fits"),
        ("key_field", "conversation_field = \"metadata[order]\"\nkey_field", "is the conversation's field"),
        ("read = \"upcoming\"", "", "reconcile.read: is missing"),
        ("\"upcoming\"", "\"note\"", "no operation here that is a GET, a read and free"),
        ("\"upcoming\"", "\"upcomming\"", "no operation here that is a GET, a read and free"),
        ("\"upcoming\"", "\"get_invoice\"", "path.id is missing"),
        ("query.customer = \"{key}\"", "", "query.customer is missing"),
        ("query.customer = \"{key}\"", "query.customer = 5", "query.customer must be a string"),
        ("query.customer", "query.limit = 100\nquery.customer", "limit isn't declared"),
        ("{key}", "{kee}", "nothing that is known of a write"),
        ("\"{key}\"", "[1]", "must be a string, a number, true or false, not an array"),
        ("key = \"/metadata/order\"", "", "reconcile.key: is missing"),
        ("\"/metadata/order\"", "\"metadata.order\"", "isn't a JSON pointer"),
        ("\"/metadata/order\"", "\"/metadata~2order\"", "isn't a JSON pointer"),
        ("in = \"/data\"", "in = 5", "must be a string"),
        ("amount = \"/amount\"", "", "reconcile.amount: is missing"),
        ("status = {", "states = {", "did you mean status?"),
    ] {
        let text = reconciled(&RECONCILE.replacen(was, instead, 1));
        let found = problems(&text);
        assert!(found.contains(message), "{instead}: {found}");
        assert!(found.contains("operations.create_charge"), "{found}");
    }
    let nowhere = RECONCILE
        .replace("upcoming", "get_invoice")
        .replace("query.customer = \"{key}\"", "path.id = \"..\"");
    assert!(problems(&reconciled(&nowhere).replace("^in_[A-Za-z0-9]+$", "^.{2}$")).contains("a dot segment"));
    let free = reconciled(RECONCILE)
        .replace("cost = { amount = \"body.amount\", currency = \"body.currency\" }\n", "");
    assert!(problems(&free).contains("nothing to settle"));
    let repeated =
        free.replace("key_field", "repeatable = true\nkey_field").replace("amount = \"/amount\"", "");
    assert!(problems(&repeated).contains("such a write has no key"));
    let read = reconciled("key_field = \"a\"\n").replace("effect = \"write\"", "effect = \"read\"");
    assert!(problems(&read).contains("nobody has to find out"));
}
