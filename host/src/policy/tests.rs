//! Who may do what: every row of the tables is a decision.

use std::time::Duration;

use super::*;
use crate::auth::{Auth, Grant, Mint};
use crate::clock::{ManualClock, Millis};
use crate::connection::Connections;
use crate::dto::InputSchema;
use crate::egress::Draft;
use crate::ids::Realm;
use crate::store::MemoryControl;

const STRIPE: &str = r#"
base_url = "https://api.example.com"
secret = "key"
attach = { kind = "bearer" }
[operations.get_invoice]
request = "GET /v1/invoices"
effect = "read"
[operations.list_charges]
request = "GET /v1/charges"
effect = "read"
"#;

fn auth() -> Auth {
    Auth::new(Arc::new(MemoryControl::new()), Arc::new(ManualClock::at(Millis(1_000))))
}

fn caller(
    auth: &Auth,
    kind: TokenKind,
    tools: &[&str],
    operations: &[&str],
    talk: Option<&str>,
) -> Arc<Caller> {
    let minted = auth
        .mint(Mint {
            kind,
            realm: Realm { tenant: "acme".parse().unwrap(), environment: "dev".parse().unwrap() },
            agent: "billing".parse().unwrap(),
            conversation: talk.map(|talk| talk.parse().unwrap()),
            role: None,
            task: None,
            grant: Grant {
                tools: tools.iter().map(|tool| tool.parse().unwrap()).collect(),
                operations: operations.iter().map(|operation| operation.parse().unwrap()).collect(),
                ..Grant::default()
            },
            lifetime: Duration::from_secs(60),
        })
        .unwrap();
    auth.verify(minted.token.as_str()).unwrap()
}

fn invocation(caller: &Arc<Caller>, tool: &str, talk: Option<&str>) -> Invocation {
    let schema =
        InputSchema::parse(r#"{"type":"object","properties":{},"additionalProperties":false}"#).unwrap();
    Invocation {
        call: CallId::fresh(Millis(1_000)),
        caller: caller.clone(),
        tool: tool.parse().unwrap(),
        component: Digest::of(b"component"),
        connections: Arc::from([]),
        arguments: Arguments::parse(b"{}", &schema).unwrap(),
        context: CallContext {
            conversation: talk.map(|talk| talk.parse().unwrap()),
            ..CallContext::default()
        },
    }
}

#[test]
fn a_tool_is_called_by_who_was_granted_it() {
    let auth = auth();
    let operator = caller(&auth, TokenKind::Operator, &[], &[], None);
    for (grant, tool, allowed) in [
        (&["get_invoice"][..], "get_invoice", true),
        (&["*"], "get_invoice", true),
        (&["get_invoice"], "create_charge", false),
        (&["get_invoice"], "get_invoice_x", false),
        (&[], "get_invoice", false),
    ] {
        let agent = caller(&auth, TokenKind::Agent, grant, &[], None);
        let decided = Policy::permissive().permit_invocation(invocation(&agent, tool, None));
        assert_eq!(decided.is_ok(), allowed, "{grant:?} {tool}");
        if let Err(refusal) = decided {
            assert_eq!(refusal, unknown_tool(tool), "a forbidden tool looks like one that isn't there");
        }
    }
    assert!(Policy::permissive().permit_invocation(invocation(&operator, "get_invoice", None)).is_err());
}

#[test]
fn a_token_keeps_to_its_conversation() {
    let auth = auth();
    for (bound, named, known) in [
        (None, None, Ok(None)),
        (None, Some("a"), Ok(Some("a"))),
        (Some("a"), None, Ok(Some("a"))),
        (Some("a"), Some("a"), Ok(Some("a"))),
        (Some("a"), Some("b"), Err(Code::ConversationMismatch)),
    ] {
        let agent = caller(&auth, TokenKind::Agent, &["*"], &[], bound);
        let decided = Policy::permissive().permit_invocation(invocation(&agent, "t", named));
        let decided = decided
            .map(|permit| permit.into_request().context.conversation.map(|talk| talk.to_string()))
            .map_err(|refusal| refusal.code);
        assert_eq!(decided, known.map(|talk| talk.map(str::to_owned)), "{bound:?} {named:?}");
    }
}

#[test]
fn a_send_needs_the_tool_and_the_token() {
    let auth = auth();
    let stripe = Connections::parse(&[("stripe.toml", STRIPE)]).unwrap();
    let declares: [ConnectionName; 1] = ["stripe".parse().unwrap()];
    for (declared, granted, path, allowed) in [
        (&declares[..], &["stripe:get_invoice"][..], "/v1/invoices", true),
        (&declares, &["stripe:*"], "/v1/charges", true),
        (&declares, &["stripe:get_invoice"], "/v1/charges", false),
        (&declares, &["github:*"], "/v1/invoices", false),
        (&declares, &[], "/v1/invoices", false),
        (&[], &["stripe:*"], "/v1/invoices", false),
    ] {
        let agent = caller(&auth, TokenKind::Agent, &["*"], granted, None);
        let connection = stripe.get(agent.realm(), "stripe").unwrap();
        let typed = connection
            .accept(Draft {
                connection: "stripe".to_owned(),
                method: "GET".to_owned(),
                path: path.to_owned(),
                query: Vec::new(),
                headers: Vec::new(),
                body: None,
            })
            .unwrap();
        let alive = auth.alive(&agent).unwrap();
        let via = Via::Tool {
            name: "t".parse().unwrap(),
            component: Digest::of(b"component"),
            connections: Arc::from(declared),
        };
        let context = CallContext::default();
        let ask = SendAsk { alive: &alive, context: &context, via: &via, now: Millis(1_000), approved: None };
        let decided = Policy::permissive().permit_send(ask, typed);
        assert_eq!(matches!(decided, Verdict::Permitted(_)), allowed, "{declared:?} {granted:?} {path}");
        if let Verdict::Denied(failure) = decided {
            assert_eq!(failure.reason, FailureReason::Denied);
            assert_eq!(failure.request_sent, crate::refusal::RequestSent::No);
        }
    }
}
