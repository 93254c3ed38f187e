//! What tokens carry, before any policy is asked: every row of the tables is a decision.

use super::*;
use crate::connection::Connections;
use crate::egress::Draft;
use crate::refusal::FailureReason;

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

/// What a token carries is permitted, of this connection and these tools.
fn what_tokens_grant() -> Policy {
    let connections = Arc::new(Connections::parse(&[("stripe.toml", STRIPE)]).unwrap());
    let schema = json!({ "type": "object", "properties": {} });
    let tools = ["get_invoice", "t"].map(|name| (name.parse().unwrap(), Digest::of(b"component"), &schema));
    Policy::of(&[PolicyFile::new("start.cedar", START)], &[], World::of(connections, tools)).unwrap()
}

#[test]
fn a_tool_is_called_by_who_was_granted_it() {
    let (auth, policy) = (auth(), what_tokens_grant());
    let operator = caller(&auth, TokenKind::Operator, &[], &[], None);
    for (grant, tool, allowed) in [
        (&["get_invoice"][..], "get_invoice", true),
        (&["*"], "get_invoice", true),
        (&["get_invoice"], "create_charge", false),
        (&["get_invoice"], "get_invoice_x", false),
        (&[], "get_invoice", false),
    ] {
        let agent = caller(&auth, TokenKind::Agent, grant, &[], None);
        let decided = policy.permit_invocation(invocation(&agent, tool, None), None);
        assert_eq!(decided.is_ok(), allowed, "{grant:?} {tool}");
        if let Err(denied) = decided {
            assert_eq!(
                denied.refusal,
                unknown_tool(tool),
                "a forbidden tool looks like one that isn't there"
            );
        }
    }
    assert!(policy.permit_invocation(invocation(&operator, "get_invoice", None), None).is_err());
}

#[test]
fn a_token_keeps_to_its_conversation() {
    let (auth, policy) = (auth(), what_tokens_grant());
    for (bound, named, known) in [
        (None, None, Ok(None)),
        (None, Some("a"), Ok(Some("a"))),
        (Some("a"), None, Ok(Some("a"))),
        (Some("a"), Some("a"), Ok(Some("a"))),
        (Some("a"), Some("b"), Err(Code::ConversationMismatch)),
    ] {
        let agent = caller(&auth, TokenKind::Agent, &["*"], &[], bound);
        let decided = policy.permit_invocation(invocation(&agent, "t", named), None);
        let decided = decided
            .map(|verdict| permitted(verdict).context.conversation.map(|talk| talk.to_string()))
            .map_err(|denied| denied.refusal.code);
        assert_eq!(decided, known.map(|talk| talk.map(str::to_owned)), "{bound:?} {named:?}");
    }
}

#[test]
fn a_send_needs_the_tool_and_the_token() {
    let (auth, policy) = (auth(), what_tokens_grant());
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
        let decided = policy.permit_send(ask, typed);
        assert_eq!(decided.policy(), policy.hash(), "whatever the answer");
        assert_eq!(matches!(decided, Verdict::Permitted(_)), allowed, "{declared:?} {granted:?} {path}");
        if let Verdict::Denied { failure, .. } = decided {
            assert_eq!(failure.reason, FailureReason::Denied);
            assert_eq!(failure.request_sent, crate::refusal::RequestSent::No);
        }
    }
}
