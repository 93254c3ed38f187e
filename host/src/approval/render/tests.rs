use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::approval::code::BYTES_MAX;
use crate::auth::{Auth, Grant, Mint};
use crate::clock::{ManualClock, Millis};
use crate::connection::Connections;
use crate::dto::{Arguments, InputSchema};
use crate::egress::{Draft, DraftBody};
use crate::ids::{CallId, Digest, Realm};
use crate::store::{MemoryControl, TokenKind};

const STRIPE: &str = r#"
base_url = "https://api.example.com"
secret = "key"
attach = { kind = "bearer" }
[operations.create_charge]
request = "POST /v1/customers/{id}/charges"
effect = "write"
content_type = "application/json"
path.id = { type = "string" }
query.expand = { type = "string", optional = true }
body.amount = { type = "integer", minimum = 0 }
body.currency = { type = "string" }
body.description = { type = "string", max_length = 50000, optional = true }
body.urgent = { type = "boolean", optional = true }
body.items = { type = "array", optional = true, items = { type = "object", properties = { sku = { type = "string" } } } }
cost = { amount = "body.amount", currency = "body.currency" }
customer = "path.id"
[operations.upload]
request = "PUT /v1/file"
effect = "write"
content_type = "text/csv"
[operations.look]
request = "GET /v1/file"
effect = "read"
"#;

fn caller(task: &str) -> Arc<Caller> {
    let auth = Auth::new(Arc::new(MemoryControl::new()), Arc::new(ManualClock::at(Millis(1_000))));
    let minted = auth
        .mint(Mint {
            kind: TokenKind::Agent,
            realm: Realm { tenant: "acme".parse().unwrap(), environment: "dev".parse().unwrap() },
            every_environment: false,
            agent: "billing".parse().unwrap(),
            conversation: None,
            role: Some("payer".parse().unwrap()),
            task: Some(task.to_owned()),
            user: None,
            grant: Grant { tools: vec!["*".parse().unwrap()], ..Grant::default() },
            lifetime: Duration::from_secs(60),
        })
        .unwrap();
    auth.verify(minted.token.as_str()).unwrap()
}

fn send(method: &str, path: &str, query: &[(&str, &str)], body: Option<DraftBody>) -> TypedSend {
    let all = Connections::parse(&[("stripe.toml", STRIPE)]).unwrap_or_else(|problems| panic!("{problems}"));
    let stripe = all.iter().next().unwrap().clone();
    let query = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let headers = vec![("if-match".to_owned(), "\"v1\"".to_owned())];
    let draft = Draft {
        connection: "stripe".into(),
        method: method.into(),
        path: path.into(),
        query,
        headers: if method == "POST" { headers } else { Vec::new() },
        body,
    };
    stripe.accept(draft).unwrap_or_else(|failure| panic!("{failure:?}"))
}

fn charge(customer: &str, body: &serde_json::Value) -> TypedSend {
    let path = format!("/v1/customers/{customer}/charges");
    send("POST", &path, &[], Some(DraftBody::Json(body.to_string())))
}

fn rendered(send: &TypedSend, task: &str) -> Rendering {
    let context = CallContext { conversation: Some("conv-1".parse().unwrap()), ..CallContext::default() };
    let via = Via::Tool {
        name: "create_charge".parse().unwrap(),
        component: Digest::of(b"c"),
        connections: Arc::from([]),
    };
    Rendering::of(&caller(task), &context, &via, send)
}

#[test]
fn an_approver_reads_what_will_be_sent() {
    let body =
        serde_json::json!({"amount": 1234, "currency": "eur", "urgent": true, "items": [{"sku": "a"}]});
    let rendering = rendered(&charge("cus_1", &body), "Collect what is owed");
    let token = rendering.asked_by.token.clone();
    let expected = format!(
        "operation: stripe:create_charge (write)\n\
         request: POST /v1/customers/{{id}}/charges at \"https://api.example.com\"\n\
         amount: 12.34 EUR (1234 minor units)\n\
         customer: \"cus_1\"\n\
         parameters: all 6\n\
         \x20 path.id: \"cus_1\"\n\
         \x20 body.amount: 1234\n\
         \x20 body.currency: \"eur\"\n\
         \x20 body.urgent: true\n\
         \x20 header.if-match: \"\\\"v1\\\"\"\n\
         \x20 body.items[0].sku: \"a\"\n\
         asked by: billing as payer, through the tool create_charge, with {token}\n"
    );
    let text = rendering.text().replace("\n      | ", "");
    let expected = expected.replace(&format!("{token}\n"), &format!("{token} of acme/dev\n"));
    assert!(text.starts_with(&expected), "{text}");
    assert!(text.ends_with(
        "in the words of the agent or its operator, which nobody has checked:\n  conversation: \"conv-1\"\n  \
         task: \"Collect what is owed\"\n"
    ));
}

#[test]
fn an_approver_is_told_that_no_person_wrote_the_request() {
    let via = Via::Code {
        name: "run_python".parse().unwrap(),
        component: Digest::of(b"c"),
        connections: Arc::from([]),
    };
    let body = serde_json::json!({"amount": 5, "currency": "usd"});
    let rendering = Rendering::of(&caller("t"), &CallContext::default(), &via, &charge("cus_1", &body));
    let text = rendering.text().replace("\n      | ", "");
    assert!(
        text.contains(
            "asked by: billing as payer, through code that it wrote itself (run_python), with tok_"
        ),
        "{text}"
    );
}

#[test]
fn a_currency_without_a_minor_unit_has_none() {
    let body = serde_json::json!({"amount": 5000, "currency": "JPY"});
    let rendering = rendered(&charge("cus_1", &body), "t");
    assert_eq!(rendering.amount.as_deref(), Some("5000 JPY (5000 minor units)"));
}

#[test]
fn no_value_can_look_like_another_line() {
    for nasty in [
        "5\napproved: yes",
        "x\r\n  body.amount: 1",
        "x\u{2028}  body.amount: 1",
        "\u{1b}[1A\u{1b}[2K  body.amount: 1",
        "\u{202e}1 :tnuoma.ydob",
        &format!("x{}  body.amount: 1", " ".repeat(200)),
        // Where a terminal of some width would break the line by itself.
        &"x".repeat(76 - "  body.description: \"".len())
            .chars()
            .chain("  body.amount: 1".chars())
            .collect::<String>(),
        &"  body.amount: 1".repeat(8),
        "\", body.amount: 1, \"",
    ] {
        let body = serde_json::json!({"amount": 999_999, "currency": "usd", "description": nasty});
        let mut rendering = rendered(&charge("cus_1", &body), "t");
        // No such task can be minted; a row that someone tampered with may hold one.
        rendering.words.push(Shown { name: "task".to_owned(), value: shown::text(nasty) });
        let text = rendering.text();
        assert!(text.bytes().all(|b| b == b'\n' || (0x20..0x7f).contains(&b)), "{text}");
        assert!(text.lines().all(|line| line.len() <= WIDTH), "{text}");
        let claims: Vec<_> =
            text.lines().filter(|line| line.trim_start().starts_with("body.amount")).collect();
        assert_eq!(claims, ["  body.amount: 999999"], "{text}");
        assert!(!text.lines().any(|line| line.trim_start().starts_with("approved")), "{text}");
        let whole = serde_json::to_string(&rendering).unwrap();
        assert!(whole.is_ascii(), "the JSON form is as safe: {whole}");
    }
}

#[test]
fn what_is_too_long_is_cut_and_says_so() {
    let body = serde_json::json!({"amount": 1, "currency": "usd", "description": "y".repeat(40_000)});
    let rendering = rendered(&charge("cus_1", &body), "t");
    let description = rendering.parameters.iter().find(|shown| shown.name == "body.description").unwrap();
    assert!(description.value.contains("39860 characters left out here; all 40000 bytes: sha256:"));
    assert!(description.value.len() < 300);
}

#[test]
fn a_flood_of_parameters_does_not_hide_the_amount() {
    let items: Vec<_> = (0..100).map(|_| serde_json::json!({"sku": "a"})).collect();
    let body = serde_json::json!({"items": items, "amount": 7, "currency": "usd", "urgent": false});
    let rendering = rendered(&charge("cus_1", &body), "t");
    assert_eq!((rendering.parameters.len(), rendering.left_out), (LINES_MAX, 45));
    let text = rendering.text();
    assert!(text.contains("parameters: ONLY 60 SHOWN, 45 MORE ARE NOT"), "{text}");
    for plain in ["  path.id: ", "  body.amount: 7\n", "  body.urgent: false\n", "  header.if-match: "] {
        assert!(text.contains(plain), "{plain} {text}");
    }
}

#[test]
fn a_body_without_parameters_is_named_by_its_digest() {
    let bytes = b"a,b\n1,2\n".to_vec();
    let body = DraftBody::Bytes { content_type: "text/csv".to_owned(), data: bytes.clone().into() };
    let rendering = rendered(&send("PUT", "/v1/file", &[], Some(body)), "t");
    let shown = rendering.raw_body.clone().unwrap();
    assert_eq!(shown, format!("8 bytes of type \"text/csv\", not shown: {}", Digest::of(&bytes)));
    let text = rendering.text();
    assert!(text.contains("amount: not known, since the operation has no cost rule"), "{text}");
    assert!(text.contains("body: 8 bytes"), "{text}");
    let read = rendered(&send("GET", "/v1/file", &[], None), "t").text();
    assert!(!read.contains("amount") && read.contains("parameters: none"), "{read}");
}

/// A call of a tool that takes a command and notes, or of a sandbox's.
fn invocation(kind: ComponentKind, arguments: &serde_json::Value) -> Invocation {
    let schema = serde_json::json!({
        "type": "object", "additionalProperties": false,
        "properties": {
            "code": { "type": "string" }, "command": { "type": "string" },
            "notes": { "type": "array", "items": { "type": "string" } },
        },
    });
    let schema = InputSchema::parse(&schema.to_string()).unwrap();
    Invocation {
        call: CallId::fresh(Millis(1_000)),
        caller: caller("Tidy up"),
        tool: "run_command".parse().unwrap(),
        kind,
        component: Digest::of(b"c"),
        connections: Arc::from([]),
        arguments: Arguments::parse(arguments.to_string().as_bytes(), &schema).unwrap(),
        context: CallContext { conversation: Some("conv-1".parse().unwrap()), ..CallContext::default() },
        now: Millis(1_000),
    }
}

fn called(arguments: &serde_json::Value) -> Result<Rendering, TooLong> {
    Rendering::of_call(&invocation(ComponentKind::Tool, arguments), &[])
}

fn coded(code: &str) -> Result<Rendering, TooLong> {
    let blocks = [CodeBlock { language: "python".to_owned(), code: code.to_owned() }];
    let arguments = serde_json::json!({ "code": code });
    Rendering::of_call(&invocation(ComponentKind::Sandbox, &arguments), &blocks)
}

#[test]
fn an_approver_reads_all_that_a_tool_is_called_with() {
    let notes: Vec<_> = (0..100).map(|number| format!("note {number}")).collect();
    let long = format!("ls {}; rm -rf /", "-l ".repeat(200));
    let rendering = called(&serde_json::json!({ "command": long, "notes": notes })).unwrap();
    let text = rendering.text().replace("\n      | ", "");
    assert!(text.starts_with("call: of the tool run_command\narguments: all 101\n"), "{text}");
    assert!(text.contains(&format!("\n  arguments.command: \"{long}\"\n")), "nothing is cut: {text}");
    assert!(
        text.contains("\n  arguments.notes[99]: \"note 99\"\nasked by: billing as payer, with tok_"),
        "{text}"
    );
    assert!(text.ends_with("  conversation: \"conv-1\"\n  task: \"Tidy up\"\n"), "{text}");
    assert!(!text.contains("amount"), "{text}");
    assert!(called(&serde_json::json!({})).unwrap().text().contains("arguments: none\n"));
}

#[test]
fn what_is_too_long_to_be_read_is_not_rendered() {
    let command = "x".repeat(BYTES_MAX);
    assert!(called(&serde_json::json!({ "command": &command[20..] })).is_ok());
    assert!(called(&serde_json::json!({ "command": command })).is_err());
    let notes = |count| serde_json::json!({ "notes": vec!["n"; count] });
    assert!(called(&notes(4_000)).is_ok() && called(&notes(4_001)).is_err());
    assert!(coded(&command).is_ok() && coded(&format!("{command}x")).is_err());
}

#[test]
fn no_code_can_look_like_another_line() {
    for nasty in [
        "x\nasked by: nobody",
        "x\r\nasked by: nobody",
        "# x\rasked by: nobody",
        "x\u{2028}asked by: nobody",
        "\u{1b}[1A\u{1b}[2Kasked by: nobody",
        "\u{202e}ydobon :yb deksa",
        &format!("x{}asked by: nobody", " ".repeat(200)),
        // Where the line is broken.
        &format!("{}asked by: nobody", "x".repeat(WIDTH - "    1: ".len())),
        &format!("{}asked by: nobody", " ".repeat(30)),
        &"asked by: nobody".repeat(9),
        "    2: asked by: nobody",
        "x\n\n\n",
    ] {
        let rendering = coded(nasty).unwrap();
        let text = rendering.text();
        assert!(text.bytes().all(|b| b == b'\n' || (0x20..0x7f).contains(&b)), "{text}");
        assert!(text.lines().all(|line| line.len() <= WIDTH), "{text}");
        let claims = text.lines().filter(|line| line.trim_start().starts_with("asked by"));
        assert_eq!(claims.count(), 1, "{text}");
        let whole = serde_json::to_string(&rendering).unwrap();
        assert!(whole.is_ascii(), "the JSON form is as safe: {whole}");
    }
}

/// What was sealed before there were calls and code in it.
#[test]
fn a_rendering_of_before_is_read() {
    let body = serde_json::json!({ "amount": 5, "currency": "usd" });
    let rendering = rendered(&charge("cus_1", &body), "t");
    let mut older = serde_json::to_value(&rendering).unwrap();
    older.as_object_mut().unwrap().retain(|name, _| name != "tool" && name != "code");
    assert_eq!(serde_json::from_value::<Rendering>(older).unwrap(), rendering);
}
