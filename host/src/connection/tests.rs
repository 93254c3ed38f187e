mod reconcile;

use std::fs;

use serde_json::json;

use super::*;
use crate::egress::DraftBody;
use crate::refusal::FailureReason;

const STRIPE: &str = r#"
base_url = "https://api.stripe.com"
secret = "stripe-prod"
attach = { kind = "bearer" }
response_headers = ["request-id"]
headers = { "Stripe-Version" = "2024-06-20" }
tenants = ["acme"]

[operations.create_charge]
request = "POST /v1/charges"
effect = "write"
content_type = "application/x-www-form-urlencoded"
body.amount = { type = "integer", minimum = 1 }
body.currency = { type = "string", enum = ["usd", "eur"] }
body.customer = { type = "string", pattern = "^cus_", optional = true }
body."metadata[order]" = { type = "string", optional = true }
cost = { amount = "body.amount", currency = "body.currency" }

[operations.get_invoice]
request = "GET /v1/invoices/{id}"
effect = "read"
path.id = { type = "string", pattern = "^in_[A-Za-z0-9]+$" }

[operations.upcoming]
request = "GET /v1/invoices/upcoming"
effect = "read"
query.customer = { type = "string" }

[operations.note]
request = "PATCH /v1/notes/{n}"
effect = "write"
content_type = "application/merge-patch+json"
path.n = { type = "integer" }
body.tags = { type = "array", items = { type = "string" }, optional = true }
body.of = { type = "object", optional = true, properties = { a = { type = "boolean" } } }
body.due = { type = "integer", minimum = 1, optional = true, nullable = true }

[operations.upload]
request = "POST /v1/files"
effect = "write"
content_type = "multipart/form-data"

[operations.put_lines]
request = "POST /v1/lines"
effect = "write"
content_type = "application/json"
body.lines = { type = "array", max_items = 2, items = { type = "object", properties = { sku = { type = "string" } } } }
body_is = "lines"
"#;

fn stripe() -> Arc<Connection> {
    let all = Connections::parse(&[("stripe.toml", STRIPE)]).unwrap_or_else(|problems| panic!("{problems}"));
    all.iter().next().unwrap().clone()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn draft(method: &str, path: &str, body: Option<DraftBody>) -> Draft {
    Draft {
        connection: "stripe".into(),
        method: method.into(),
        path: path.into(),
        query: vec![],
        headers: vec![],
        body,
    }
}

fn charge(fields: &[(&str, &str)]) -> Result<TypedSend, SendFailure> {
    stripe().accept(draft("POST", "/v1/charges", Some(DraftBody::Form(pairs(fields)))))
}

fn problems(text: &str) -> String {
    Connections::parse(&[("c.toml", text)]).map(|_| ()).unwrap_err().to_string()
}

/// A valid file with one line more, before its operations.
fn with(line: &str) -> String {
    format!(
        "base_url = \"https://h.example\"\nsecret = \"s\"\nattach = {{ kind = \"bearer\" }}\n{line}\n\
         [operations.get]\nrequest = \"GET /x\"\neffect = \"read\"\n"
    )
}

/// A valid file with one operation of these lines.
fn operation(lines: &str) -> String {
    format!(
        "base_url = \"https://h.example\"\nsecret = \"s\"\nattach = {{ kind = \"bearer\" }}\n[operations.op]\n{lines}\n"
    )
}

#[test]
fn a_form_is_matched_typed_and_priced() {
    let send = charge(&[("amount", "1200"), ("currency", "eur"), ("metadata[order]", "7")]).unwrap();
    assert_eq!(send.operation_name().as_str(), "create_charge");
    let body = json!({"amount": 1200, "currency": "eur", "metadata[order]": "7"});
    assert_eq!(serde_json::Value::Object(send.parameters().body.clone()), body);
    assert_eq!(send.cost(), Some(&Cost { amount_minor: 1200, currency: "eur".into() }));
}

#[test]
fn a_wrong_form_names_the_parameter() {
    for (fields, message) in [
        (&[("amount", "1200")][..], "body.currency is missing"),
        (&[("amount", "0"), ("currency", "usd")], "body.amount must be at least 1"),
        (&[("amount", "-5"), ("currency", "usd")], "body.amount must be at least 1"),
        (
            &[("amount", "1e3"), ("currency", "usd")],
            "body.amount must be an integer between -2^63 and 2^63-1, written plainly",
        ),
        (&[("amount", "1"), ("currency", "gbp")], "body.currency must be one of usd, eur"),
        (&[("amount", "1"), ("currency", "usd"), ("x", "1")], "body.x isn't declared"),
        (
            &[("amount", "1"), ("currency", "usd"), ("amount[]", "9")],
            "body.amount[] is another spelling of body.amount, which is refused",
        ),
        (
            &[("amount", "1"), ("currency", "usd"), ("amount[0]", "9")],
            "body.amount[0] is another spelling of body.amount, which is refused",
        ),
        (&[("amount", "1"), ("currency", "usd"), ("Amount", "9")], "body.Amount isn't declared"),
        (
            &[("amount", "1"), ("currency", "usd"), ("metadata[other]", "9")],
            "body.metadata[other] isn't declared",
        ),
        (&[("amount", "1"), ("currency", "usd"), ("_method", "DELETE")], "body._method isn't declared"),
    ] {
        let failure = charge(fields).unwrap_err();
        assert_eq!(failure.reason, FailureReason::InvalidRequest);
        assert_eq!(failure.message, format!("stripe:create_charge: {message}"));
    }
}

#[test]
fn paths_choose_the_operation() {
    let get = |path: &str| stripe().accept(draft("GET", path, None));
    let send = get("/v1/invoices/in_1").unwrap();
    assert_eq!(
        (send.operation_name().as_str(), &send.parameters().path["id"]),
        ("get_invoice", &json!("in_1"))
    );
    assert_eq!(
        get("/v1/invoices/upcoming").unwrap_err().message,
        "stripe:upcoming: query.customer is missing"
    );
    assert_eq!(
        get("/v1/invoices/xx").unwrap_err().message,
        "stripe:get_invoice: path.id must match the pattern ^in_[A-Za-z0-9]+$"
    );
    for unknown in [
        "/",
        "/v1",
        "/v1/invoices",
        "/v1/invoices/",
        "/v1/invoices/in_1/",
        "/v1/Invoices/in_1",
        "/v1/charges",
    ] {
        assert_eq!(get(unknown).unwrap_err().reason, FailureReason::UnknownOperation, "{unknown}");
    }
    let with_query = Draft { query: pairs(&[("expand", "x")]), ..draft("GET", "/v1/invoices/in_1", None) };
    assert!(stripe().accept(with_query).unwrap_err().message.contains("query.expand isn't declared"));
}

#[test]
fn json_bodies_are_closed_and_go_out_under_the_operation_s_type() {
    let patch =
        |text: &str| stripe().accept(draft("PATCH", "/v1/notes/5", Some(DraftBody::Json(text.into()))));
    let send = patch(r#"{"tags": ["a"], "of": {"a": true}}"#).unwrap();
    assert_eq!(send.request().content_type(), Some("application/merge-patch+json"));
    assert_eq!(send.parameters().path["n"], json!(5));
    for (text, message) in [
        (r#"{"tags": [1]}"#, "body.tags[0] must be a string"),
        (r#"{"of": {"a": true, "b": 1}}"#, "body.of.b isn't declared"),
        (r#"{"of": {}}"#, "body.of.a is missing"),
        (r#"{"of": null}"#, "body.of must not be null, since it isn't declared with nullable = true"),
        (r#"{"tags": [null]}"#, "body.tags[0] must be a string"),
        (r#"{"due": 0}"#, "body.due must be at least 1"),
        (r#"{"other": 1}"#, "body.other isn't declared"),
        ("[]", "the JSON body must be an object"),
    ] {
        assert_eq!(patch(text).unwrap_err().message, format!("stripe:note: {message}"));
    }
}

#[test]
fn null_goes_out_where_it_may_stand_and_is_another_request() {
    let patch = |text: &str| {
        stripe().accept(draft("PATCH", "/v1/notes/5", Some(DraftBody::Json(text.into())))).unwrap()
    };
    let (unset, left) = (patch(r#"{"due": null}"#), patch("{}"));
    assert_eq!(unset.request().body_bytes(), r#"{"due":null}"#);
    assert_eq!(unset.parameters().body["due"], serde_json::Value::Null);
    assert_ne!(unset.request().digest(), left.request().digest());
    let summary = stripe().summary();
    let note = summary.operations.iter().find(|operation| operation.name == "note").unwrap();
    assert!(note.parameters.contains(&"body.due? or null".to_owned()), "{note:?}");
}

#[test]
fn a_body_that_is_a_list_is_its_one_parameter() {
    let post = |text: &str| stripe().accept(draft("POST", "/v1/lines", Some(DraftBody::Json(text.into()))));
    let sent = post(r#"[{"sku": "a"}, {"sku": "b"}]"#).unwrap();
    assert_eq!(sent.request().body_bytes(), r#"[{"sku":"a"},{"sku":"b"}]"#);
    assert_eq!(sent.parameters().body["lines"], json!([{"sku": "a"}, {"sku": "b"}]));
    for (text, message) in [
        (r#"{"lines": []}"#, "the JSON body must be an array"),
        ("null", "the JSON body must be an array"),
        (r#"[{"sku": 1}]"#, "body.lines[0].sku must be a string"),
        (r#"[{"sku": "a", "more": 1}]"#, "body.lines[0].more isn't declared"),
        ("[null]", "body.lines[0] must be an object"),
        (r#"[{"sku": "a"}, {"sku": "b"}, {"sku": "c"}]"#, "body.lines must have 0 to 2 items"),
    ] {
        assert_eq!(post(text).unwrap_err().message, format!("stripe:put_lines: {message}"));
    }
}

#[test]
fn a_media_type_goes_out_with_its_parameters() {
    let upload = |content_type: &str| {
        let data = bytes::Bytes::from_static(b"--AbC--");
        let body = DraftBody::Bytes { content_type: content_type.to_owned(), data };
        stripe().accept(draft("POST", "/v1/files", Some(body)))
    };
    for (given, sent) in [
        ("multipart/form-data", "multipart/form-data"),
        ("Multipart/Form-Data;Boundary=AbC", "multipart/form-data; boundary=AbC"),
        ("multipart/form-data; boundary=\"A b\"", "multipart/form-data; boundary=\"A b\""),
    ] {
        assert_eq!(upload(given).unwrap().request().content_type(), Some(sent));
    }
    for (given, message) in [
        ("text/csv", "the body's type must be multipart/form-data"),
        ("text/csv; a=\"multipart/form-data\"", "the body's type must be multipart/form-data"),
        ("multipart/form-data; boundary=a, text/csv", "isn't valid"),
        ("multipart/form-data; type=\"application/json\"", "names a type that the host reads itself"),
    ] {
        let refused = upload(given).unwrap_err();
        assert!(refused.message.contains(message), "{given}: {}", refused.message);
    }
}

#[test]
fn a_body_of_another_type_is_refused() {
    let json = stripe().accept(draft("POST", "/v1/charges", Some(DraftBody::Json("{}".into())))).unwrap_err();
    assert!(json.message.contains("must be application/x-www-form-urlencoded"));
    assert!(
        stripe().accept(draft("POST", "/v1/charges", None)).unwrap_err().message.contains("needs a body")
    );
}

#[test]
fn the_host_alone_writes_the_conversation() {
    let text = STRIPE.replace(
        "[operations.create_charge]",
        "[operations.create_charge]\nconversation_field = \"metadata[order]\"",
    );
    let all = Connections::parse(&[("stripe.toml", &text)]).unwrap_or_else(|problems| panic!("{problems}"));
    let stripe = all.iter().next().unwrap().clone();
    let charge = |more: &[(&str, &str)]| {
        let fields = [&[("amount", "5"), ("currency", "usd")], more].concat();
        let form = fields.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        draft("POST", "/v1/charges", Some(DraftBody::Form(form)))
    };
    let conversation = "chat-7".parse().unwrap();
    let sent = stripe.accept_in(charge(&[]), Some(&conversation)).unwrap();
    assert_eq!(sent.parameters().body["metadata[order]"], "chat-7");
    assert!(sent.request().body_bytes().ends_with(b"metadata%5Border%5D=chat-7"));
    let without = stripe.accept_in(charge(&[]), None).unwrap();
    assert!(!without.parameters().body.contains_key("metadata[order]"));
    for conversation in [None, Some(&conversation)] {
        let refused = stripe.accept_in(charge(&[("metadata[order]", "chat-8")]), conversation).unwrap_err();
        assert!(refused.message.contains("written by the host alone"), "{}", refused.message);
    }
}

#[test]
fn the_conversation_is_a_member_of_a_json_body_too() {
    let text = STRIPE.replace(
        "path.n = { type = \"integer\" }",
        "path.n = { type = \"integer\" }\nconversation_field = \"chat\"\n\
         body.chat = { type = \"string\", max_length = 8, optional = true }",
    );
    let all = Connections::parse(&[("stripe.toml", &text)]).unwrap_or_else(|problems| panic!("{problems}"));
    let stripe = all.iter().next().unwrap().clone();
    let note = |body: &str, conversation: Option<&ConversationId>| {
        stripe.accept_in(draft("PATCH", "/v1/notes/5", Some(DraftBody::Json(body.to_owned()))), conversation)
    };
    let conversation = "chat-7".parse().unwrap();
    let (sent, without) =
        (note(r#"{"tags":["a"]}"#, Some(&conversation)).unwrap(), note(r#"{"tags":["a"]}"#, None).unwrap());
    assert_eq!(sent.parameters().body["chat"], "chat-7");
    assert_eq!(sent.request().body_bytes(), r#"{"chat":"chat-7","tags":["a"]}"#);
    assert_eq!(sent.request().content_type(), Some("application/merge-patch+json"));
    assert_eq!(without.request().body_bytes(), r#"{"tags":["a"]}"#);
    assert_ne!(sent.request().digest(), without.request().digest());

    // Whoever asks can't say it, in whatever way it's spelled.
    for conversation in [None, Some(&conversation)] {
        for forged in [r#"{"chat":"chat-8"}"#, r#"{"ch\u0061t":"chat-7"}"#] {
            let refused = note(forged, conversation).unwrap_err();
            assert_eq!(refused.message, "stripe:note: body.chat is written by the host alone");
        }
    }
    for (body, message) in [
        ("[]", "the JSON body must be an object"),
        ("\"chat\"", "the JSON body must be an object"),
        (r#"{"chat":null}"#, "body.chat must not be null, since it isn't declared with nullable = true"),
    ] {
        let refused = note(body, Some(&conversation)).unwrap_err();
        assert_eq!(refused.message, format!("stripe:note: {message}"));
    }
    // What the declaration doesn't take isn't left out.
    let long = "chat-1234".parse().unwrap();
    assert!(note("{}", Some(&long)).unwrap_err().message.contains("body.chat"));
    // An operation that names no field takes the same conversation, and says nothing of it.
    let read = stripe.accept_in(draft("GET", "/v1/invoices/in_1", None), Some(&conversation)).unwrap();
    assert!(read.parameters().body.is_empty());
}

#[test]
fn values_stand_for_the_request_that_they_would_be() {
    let stripe = stripe();
    let accept = |name: &str, values: serde_json::Value| {
        let operation = stripe.operations.iter().find(|operation| operation.name.as_str() == name).unwrap();
        let members = |place: &str| values[place].as_object().cloned().unwrap_or_default();
        let parameters = Parameters { path: members("path"), query: members("query"), body: members("body") };
        stripe.accept_values(operation, &parameters, None).map(|sent| {
            assert_eq!(*sent.parameters(), parameters, "{name}");
            let request = sent.request();
            let body = String::from_utf8_lossy(request.body_bytes());
            format!("{} {}?{} {body}", request.method(), request.path(), request.query_encoded())
        })
    };
    for (name, values, sent) in [
        (
            "create_charge",
            json!({ "body": { "amount": 5, "currency": "usd", "metadata[order]": "a&b" } }),
            "POST /v1/charges? amount=5&currency=usd&metadata%5Border%5D=a%26b",
        ),
        ("get_invoice", json!({ "path": { "id": "in_1" } }), "GET /v1/invoices/in_1? "),
        ("upcoming", json!({ "query": { "customer": "a b" } }), "GET /v1/invoices/upcoming?customer=a%20b "),
        (
            "note",
            json!({ "path": { "n": -5 }, "body": { "of": { "a": true }, "tags": [] } }),
            r#"PATCH /v1/notes/-5? {"of":{"a":true},"tags":[]}"#,
        ),
        (
            "note",
            json!({ "path": { "n": 5 }, "body": { "due": null } }),
            r#"PATCH /v1/notes/5? {"due":null}"#,
        ),
        ("put_lines", json!({ "body": { "lines": [{ "sku": "a" }] } }), r#"POST /v1/lines? [{"sku":"a"}]"#),
    ] {
        assert_eq!(accept(name, values).unwrap(), sent);
    }
    let cut = json!({ "body": { "amount": 5, "currency": "usd", "customer": "cus_1\0" } });
    for (name, values, message) in [
        (
            "create_charge",
            json!({ "body": { "amount": "5", "currency": "usd" } }),
            "body.amount must be an integer",
        ),
        ("create_charge", json!({ "body": { "amount": 5 } }), "body.currency is missing"),
        ("create_charge", cut, "holds a NUL"),
        ("upcoming", json!({ "query": { "customer": "a".repeat(4_000) } }), "longer than"),
        ("get_invoice", json!({ "path": { "id": "in_1/../2" } }), "path.id must match"),
    ] {
        let refused = accept(name, values).unwrap_err();
        assert_eq!(refused.reason, FailureReason::InvalidRequest);
        assert!(refused.message.contains(message), "{name}: {}", refused.message);
    }
}

#[test]
fn filters_hide_a_connection() {
    let all = Connections::parse(&[("stripe.toml", STRIPE)]).unwrap();
    let realm =
        |tenant: &str| Realm { tenant: tenant.parse().unwrap(), environment: "prod".parse().unwrap() };
    assert!(all.get(&realm("acme"), "stripe").is_some());
    assert!(all.get(&realm("other"), "stripe").is_none());
    assert!(all.get(&realm("acme"), "../stripe").is_none());
}

#[test]
fn defaults_and_summary() {
    let stripe = stripe();
    assert_eq!(stripe.total_max, Duration::from_secs(10));
    assert_eq!(stripe.response_bytes_max, 1024 * 1024);
    assert!(stripe.response_headers.iter().any(|name| name == "request-id"));
    let summary = stripe.summary();
    assert_eq!(summary.operations[0].request, "POST /v1/charges");
    assert_eq!(
        summary.operations[0].parameters,
        ["body.amount", "body.currency", "body.customer?", "body.metadata[order]?"]
    );
    assert!(summary.warnings.is_empty());
}

#[test]
fn all_problems_are_told_at_once_with_their_places() {
    let text = "base_url = \"http://h.example\"\nsecert = \"s\"\nattach = { kind = \"baerer\" }\n\
                [operations.get]\nrequest = \"GTE /x\"\neffect = 1\ncolour = 1\n";
    assert_eq!(
        problems(text),
        "c.toml:1:12: base_url: must start with https:// (http:// goes to loopback only, and only with \
         allow_insecure_loopback = true)\n\
         c.toml:2:1: secert: unknown key\n  hint: did you mean secret?\n\
         c.toml:3:19: attach.kind: unknown kind\n  hint: use bearer, basic, header or query\n\
         c.toml:5:11: operations.get.request: unknown method \"GTE\"\n  hint: did you mean GET?\n\
         c.toml:6:10: operations.get.effect: must be a string, not an integer\n\
         c.toml:7:1: operations.get.colour: unknown key\n  hint: known keys here: request, effect, content_type, \
         path, query, body, body_is, cost, customer, settle, refund, conversation_field, key_field, reconcile, repeatable"
    );
}

#[test]
fn every_rule_of_the_top_has_its_message() {
    assert!(Connections::parse(&[("c.toml", &with(""))]).is_ok());
    for (line, message) in [
        ("allow_private = [\"0.0.0.0/0\"]", "isn't inside a private range"),
        ("allow_private = [\"10.0.0.1\"]", "isn't a range"),
        ("allow_private = \"10.0.0.0/8\"", "must be an array"),
        ("headers = { Authorization = \"x\" }", "can't be a constant header"),
        ("headers = { accept = \"a\\r\\nb\" }", "visible ASCII"),
        ("headers = { accept = \"a\", Accept = \"b\" }", "two spellings"),
        ("request_headers = [\"cookie\"]", "host alone"),
        ("request_headers = [\"authorization\"]", "host alone"),
        ("response_headers = [\"Set-Cookie\"]", "never handed to a tool"),
        ("response_headers = [\"a b\"]", "isn't a header's name"),
        ("timeouts = { total_ms_max = 0 }", "must be from 1 to 120000"),
        ("timeouts = { total_ms_max = 120001 }", "must be from 1 to 120000"),
        ("timeouts = { total_ms = 5 }", "did you mean total_ms_max?"),
        ("limits = { response_bytes_max = 16777217 }", "must be from 1 to 16777216"),
        ("limits = { request_bytes_max = \"1\" }", "must be an integer"),
        ("tenants = []", "lets nobody use"),
        ("tenants = [\"A B\"]", "not valid"),
        ("ca_file = \"missing.pem\"", "can't be read"),
        ("allow_insecure_loopback = \"yes\"", "must be true or false"),
        ("idempotency_header = \"Cookie\"", "can't carry an idempotency key"),
        ("idempotency_header = \"Authorization\"", "can't carry an idempotency key"),
        ("idempotency_header = \"a b\"", "isn't a header's name"),
        ("error_profile = \"strype\"", "unknown error profile"),
        ("secret_of = \"users\"", "use operator or user"),
        ("secret_of = true", "must be a string"),
    ] {
        let found = problems(&with(line));
        assert!(found.contains(message), "{line}: {found}");
    }
    for (attach, message) in [
        ("{ kind = \"header\" }", "attach.name: is missing"),
        ("{ kind = \"header\", name = \"host\" }", "can't carry a secret"),
        ("{ kind = \"bearer\", name = \"x\" }", "unknown key"),
        ("{ kind = \"basic\", user = \"a:b\" }", "holds no ':'"),
        ("{ kind = \"query\", name = \"a&b\" }", "letters, digits"),
        ("\"bearer\"", "must be a table"),
    ] {
        let found = problems(&with("").replace("{ kind = \"bearer\" }", attach));
        assert!(found.contains(message), "{attach}: {found}");
    }
}

#[test]
fn a_credential_in_the_file_is_refused_and_not_repeated() {
    let key = format!("sk_live_{}", "a1".repeat(12));
    let bearer = "{ kind = \"bearer\" }";
    for (text, message) in [
        (with("").replace("\"s\"", &format!("\"{key}\"")), "secret: this looks like a credential"),
        (with("").replace("\"s\"", &format!("\"{key}/+=\"")), "secret: this looks like a credential"),
        (with("").replace("\"s\"", "\"a1a1a1a1/+=\""), "secret: use 1 to 128 letters"),
        (with("").replace("bearer", &key), "attach.kind: unknown kind"),
        (
            with("").replace(bearer, &format!("{{ kind = \"basic\", user = \"{key}\" }}")),
            "attach.user: looks like a credential",
        ),
        (
            with("").replace(
                bearer,
                &format!("{{ kind = \"header\", name = \"authorization\", prefix = \"Bearer {key}\" }}"),
            ),
            "attach.prefix: looks like a credential",
        ),
        (
            with(&format!("headers = {{ X-Api-Key = \"Bearer {key}\" }}")),
            "headers.X-Api-Key: looks like a credential",
        ),
    ] {
        let found = problems(&text);
        assert!(found.contains(message) && !found.contains("a1a1"), "{text}: {found}");
    }
}

#[test]
fn every_rule_of_operations_has_its_message() {
    let get = "request = \"GET /x\"\neffect = \"read\"\n";
    let post = "request = \"POST /x\"\neffect = \"write\"\ncontent_type = \"application/json\"\n";
    let form = post.replace("json", "x-www-form-urlencoded");
    assert!(Connections::parse(&[("c.toml", &operation(post))]).is_ok());
    for (lines, message) in [
        ("effect = \"read\"".to_owned(), "request: is missing"),
        ("request = \"GET /x\"".to_owned(), "effect: is missing"),
        (get.replace("GET /x", "GET /a/../b"), "dot segment"),
        (get.replace("GET /x", "GET /{id}"), "{id} has no type"),
        (get.replace("GET /x", "/x"), "must be a method and a path"),
        (format!("{get}path.id = {{ type = \"string\" }}"), "no parameter {id}"),
        (format!("{get}content_type = \"application/json\""), "GET request has no body"),
        (format!("{get}body.a = {{ type = \"string\" }}"), "no content_type"),
        (post.replace("application/json", "JSON"), "isn't a media type"),
        (post.replace("application/json", "text/csv; charset=utf-8"), "isn't a media type"),
        (
            format!("{}body.a = {{ type = \"string\" }}", post.replace("application/json", "text/csv")),
            "no parameters that",
        ),
        (format!("{post}body.a = {{ type = \"text\" }}"), "unknown type"),
        (format!("{post}body.a = {{ }}"), "type: is missing"),
        (format!("{post}body.a = {{ type = \"string\", pattern = \"(\" }}"), "isn't a usable pattern"),
        (format!("{post}body.a = {{ type = \"string\", pattern = \"(?=x)\" }}"), "isn't a usable pattern"),
        (format!("{post}body.a = {{ type = \"string\", minimum = 1 }}"), "unknown key"),
        (format!("{post}body.a = {{ type = \"string\", maxLength = 1 }}"), "did you mean max_length?"),
        (format!("{post}body.a = {{ type = \"string\", enum = [] }}"), "allows no value"),
        (
            format!("{post}body.a = {{ type = \"integer\", minimum = 2, maximum = 1 }}"),
            "minimum is above maximum",
        ),
        (format!("{post}body.a = {{ type = \"array\" }}"), "items: is missing"),
        (
            format!(
                "{post}body.a = {{ type = \"array\", items = {{ type = \"string\", nullable = true }} }}"
            ),
            "items.nullable: unknown key",
        ),
        (format!("{post}body.a = {{ type = \"string\", nullable = \"yes\" }}"), "must be true or false"),
        (
            format!("{form}body.a = {{ type = \"string\", nullable = true }}"),
            "null stands in JSON bodies only",
        ),
        (
            format!("{get}query.a = {{ type = \"string\", nullable = false }}"),
            "null stands in JSON bodies only",
        ),
        (
            get.replace("GET /x", "GET /{id}") + "path.id = { type = \"string\", nullable = true }",
            "null stands in JSON bodies only",
        ),
        (
            format!(
                "{post}body.a = {{ type = \"integer\", minimum = 0, nullable = true }}\n\
                 cost = {{ amount = \"body.a\", currency = \"usd\" }}"
            ),
            "cost.amount: names a parameter that may be null",
        ),
        (
            format!(
                "{post}body.a = {{ type = \"integer\", minimum = 0 }}\n\
                 body.b = {{ type = \"string\", nullable = true }}\n\
                 cost = {{ amount = \"body.a\", currency = \"body.b\" }}"
            ),
            "cost.currency: names a parameter that may be null",
        ),
        (
            format!("{post}body.a = {{ type = \"string\", nullable = true }}\ncustomer = \"body.a\""),
            "customer: names a parameter that may be null",
        ),
        (
            format!(
                "{post}body.a = {{ type = \"string\", optional = true, nullable = true }}\n\
                 conversation_field = \"a\""
            ),
            "conversation_field: names a parameter that may be null",
        ),
        (
            format!(
                "{post}body.a = {{ type = \"string\", optional = true, nullable = true }}\nkey_field = \"a\""
            ),
            "key_field: names a parameter that may be null",
        ),
        (format!("{post}body_is = \"a\""), "must name the only parameter of a JSON body"),
        (
            format!("{post}body.a = {{ type = \"string\" }}\nbody_is = \"a\""),
            "must name the only parameter of a JSON body",
        ),
        (
            format!(
                "{post}body.a = {{ type = \"array\", items = {{ type = \"string\" }}, optional = true }}\n\
                 body_is = \"a\""
            ),
            "must name the only parameter of a JSON body",
        ),
        (
            format!(
                "{post}body.a = {{ type = \"array\", items = {{ type = \"string\" }}, nullable = true }}\n\
                 body_is = \"a\""
            ),
            "must name the only parameter of a JSON body",
        ),
        (
            format!(
                "{post}body.a = {{ type = \"array\", items = {{ type = \"string\" }} }}\n\
                 body.b = {{ type = \"string\" }}\nbody_is = \"a\""
            ),
            "must name the only parameter of a JSON body",
        ),
        (format!("{post}body.\"a b\" = {{ type = \"string\" }}"), "a parameter's name is"),
        (format!("{form}body.a = {{ type = \"array\", items = {{ type = \"string\" }} }}"), "JSON body only"),
        (
            format!("{form}body.a = {{ type = \"string\" }}\nbody.\"a[]\" = {{ type = \"string\" }}"),
            "another spelling",
        ),
        (format!("{post}cost = {{ amount = \"body.a\", currency = \"usd\" }}"), "isn't declared"),
        (format!("{post}settle = {{ amount = \"/amount\" }}"), "nothing to settle"),
        (format!("{get}repeatable = true"), "is for writes"),
        (
            format!(
                "{post}body.a = {{ type = \"integer\", minimum = 0 }}\n\
                 cost = {{ amount = \"body.a\", currency = \"usd\" }}\nrepeatable = true"
            ),
            "isn't for what costs something",
        ),
        (format!("{post}settle = {{ amount = \"amount\" }}"), "isn't a JSON pointer"),
        (format!("{post}customer = \"body.a\""), "isn't declared"),
        (format!("{post}conversation_field = \"a\""), "isn't declared as an optional string"),
        (format!("{form}conversation_field = \"a\""), "isn't declared as an optional string"),
        (
            format!("{form}body.a = {{ type = \"string\" }}\nconversation_field = \"a\""),
            "isn't declared as an optional string",
        ),
        (
            format!("{post}body.a = {{ type = \"integer\" }}\ncustomer = \"body.a\""),
            "must be a string parameter",
        ),
        (
            format!(
                "{post}body.a = {{ type = \"integer\" }}\ncost = {{ amount = \"body.a\", currency = \"usd\" }}"
            ),
            "minimum of at least 0",
        ),
        (
            format!(
                "{post}body.a = {{ type = \"integer\", minimum = 0, optional = true }}\ncost = {{ amount = \"body.a\", currency = \"usd\" }}"
            ),
            "mustn't be optional",
        ),
        (
            format!(
                "{post}body.a = {{ type = \"number\" }}\ncost = {{ amount = \"body.a\", currency = \"usd\" }}"
            ),
            "must be an integer parameter",
        ),
        (
            format!(
                "{post}body.a = {{ type = \"integer\", minimum = 0 }}\ncost = {{ amount = \"body.a\", currency = \"dollars\" }}"
            ),
            "neither a parameter nor a currency",
        ),
    ] {
        let found = problems(&operation(&lines));
        assert!(found.contains(message), "{lines}: {found}");
    }
    assert!(problems("base_url = 1").contains("operations: is missing"));
    let query = operation(&format!("{get}query.key = {{ type = \"string\" }}"))
        .replace("{ kind = \"bearer\" }", "{ kind = \"query\", name = \"key\" }");
    assert!(problems(&query).contains("carries the secret"));
}

#[test]
fn operations_that_could_be_mistaken_are_refused() {
    let two = |first: &str, second: &str, extra: &str| {
        let text = format!(
            "{}[operations.b]\nrequest = \"{second}\"\neffect = \"read\"\n{extra}",
            operation(&format!(
                "request = \"{first}\"\neffect = \"read\"\npath.id = {{ type = \"string\", pattern = \"^in_\" }}"
            ))
        );
        Connections::parse(&[("c.toml", &text)]).map(|_| ()).map_err(|problems| problems.to_string())
    };
    assert_eq!(two("GET /a/{id}", "GET /a/upcoming", ""), Ok(()));
    assert_eq!(two("GET /a/{id}", "DELETE /a/in_x", ""), Ok(()));
    assert_eq!(two("GET /a/{id}", "GET /a/{id}/b", "path.id = { type = \"string\" }"), Ok(()));
    assert!(two("GET /a/{id}", "GET /a/in_x", "").unwrap_err().contains("could be mistaken for b"));
    let both = two("GET /a/{id}", "GET /a/{x}", "path.x = { type = \"string\" }");
    assert!(both.unwrap_err().contains("could be mistaken"));
}

#[test]
fn a_slip_of_grammar_is_told_with_its_place() {
    let found = problems("base_url = \"x\nsecret = 1\n");
    assert!(found.starts_with("c.toml:1:"), "{found}");
    assert!(!found.contains("missing"), "{found}");
}

#[test]
fn a_folder_is_read_whole() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    put("good.toml", &with(""));
    put("notes.txt", "not a connection");
    assert_eq!(Connections::load(dir.path()).unwrap().iter().count(), 1);
    assert_eq!(Connections::load(&dir.path().join("missing")).unwrap().iter().count(), 0);

    put("Bad Name.toml", &with(""));
    put("other.toml", "x = 1");
    fs::write(dir.path().join("bytes.toml"), [0xff, 0xfe]).unwrap();
    let found = Connections::load(dir.path()).unwrap_err().to_string();
    for part in
        ["Bad Name.toml:1:1: the file's name", "other.toml:1:1: x: unknown key", "bytes.toml: can't be read"]
    {
        assert!(found.contains(part), "{part}: {found}");
    }
}

#[test]
fn ca_files_are_checked_when_they_are_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    put("c.toml", &with("ca_file = \"ca.pem\""));
    put("ca.pem", "nothing");
    assert!(Connections::load(dir.path()).unwrap_err().to_string().contains("no certificate"));
    put("ca.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    assert!(Connections::load(dir.path()).unwrap_err().to_string().contains("isn't usable"));
    put("ca.pem", &rcgen::generate_simple_self_signed(vec!["h.example".into()]).unwrap().cert.pem());
    let all = Connections::load(dir.path()).unwrap();
    assert_eq!(all.iter().next().unwrap().ca.as_ref().unwrap().roots().len(), 1);
}
