//! Policies over one small world: a connection with a charge, a refund and a read, a second one, and a tool.

mod contexts;
mod decisions;
mod docs;
mod grants;
mod loading;
mod nulls;
mod reload;
mod shadow;
mod shortened;
mod tenants;

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::auth::{Auth, Caller, Grant, Mint};
use crate::clock::{ManualClock, Millis};
use crate::connection::Connections;
use crate::dto::{Arguments, InputSchema};
use crate::ids::{CallId, ConnectionName, PolicyId};
use crate::store::{ComponentKind, MemoryControl, TokenKind};

/// 2026-01-14T12:00:00Z, a Wednesday.
const NOON: Millis = Millis(1_768_392_000_000);

pub(super) const STRIPE: &str = r#"
base_url = "https://api.example.com"
secret = "key"
attach = { kind = "bearer" }
[operations.create_charge]
request = "POST /v1/charges"
effect = "write"
content_type = "application/json"
body.amount = { type = "integer", minimum = 1 }
body.currency = { type = "string", enum = ["usd", "eur"] }
body.customer = { type = "string", optional = true }
body.description = { type = "string", optional = true }
body."metadata[order]" = { type = "string", optional = true }
body.rate = { type = "number", optional = true }
body.capture = { type = "boolean", optional = true }
body.tags = { type = "array", items = { type = "string" }, optional = true }
body.shipping = { type = "object", optional = true, properties = { country = { type = "string" }, zip = { type = "string", optional = true } } }
cost = { amount = "body.amount", currency = "body.currency" }
customer = "body.customer"
[operations.create_refund]
request = "POST /v1/charges/{id}/refunds"
effect = "write"
content_type = "application/json"
path.id = { type = "string" }
body.amount = { type = "integer", minimum = 0 }
cost = { amount = "body.amount", currency = "usd" }
[operations.list_charges]
request = "GET /v1/charges"
effect = "read"
query.limit = { type = "integer", optional = true }
"#;

const GITHUB: &str = r#"
base_url = "https://api.example.org"
secret = "key"
attach = { kind = "bearer" }
environments = ["production"]
[operations.create_issue]
request = "POST /repos/{owner}/{repo}/issues"
effect = "write"
content_type = "application/json"
path.owner = { type = "string" }
path.repo = { type = "string" }
body.title = { type = "string" }
body.body = { type = "string", optional = true }
"#;

pub(super) fn connections() -> Arc<Connections> {
    Arc::new(Connections::parse(&[("stripe.toml", STRIPE), ("github.toml", GITHUB)]).unwrap())
}

pub(super) fn world() -> World {
    let schema = json!({
        "type": "object", "required": ["command"], "additionalProperties": false,
        "properties": {
            "command": { "type": "string" }, "times": { "type": "integer" },
            "shell": { "type": "string", "enum": ["sh", "bash"] },
        },
    });
    World::of(connections(), [("run_command".parse().unwrap(), Digest::of(b"component"), &schema)])
}

/// A policy of one file.
fn policy(text: &str) -> Policy {
    match Policy::of(&[PolicyFile::new("p.cedar", text)], &[], world()) {
        Ok(policy) => policy,
        Err(problems) => panic!("{problems}"),
    }
}

/// The problems of one file.
fn problems(text: &str) -> String {
    Policy::of(&[PolicyFile::new("p.cedar", text)], &[], world()).expect_err(text).to_string()
}

/// Facts from the fields that matter.
fn facts(fields: serde_json::Value) -> Facts {
    let mut all = json!({ "tenant": "acme", "agent": "bot" });
    for (name, value) in fields.as_object().unwrap() {
        all[name] = value.clone();
    }
    serde_json::from_value(all).unwrap()
}

/// `allowed`, `denied` or `approval N`.
fn verdict(policy: &Policy, facts: &Facts) -> String {
    match policy.judge(facts, NOON).unwrap().verdict {
        Enforced::Allowed => "allowed".to_owned(),
        Enforced::Denied => "denied".to_owned(),
        Enforced::ApprovalRequired { quorum } => format!("approval {quorum}"),
    }
}

fn posted(tenant: &str, cedar: &str) -> PolicyRow {
    PolicyRow {
        id: PolicyId::fresh(),
        tenant: tenant.parse().unwrap(),
        environment: None,
        name: "posted".to_owned(),
        source: json!({}),
        cedar: cedar.to_owned(),
        created_at: NOON,
    }
}

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
            every_environment: false,
            agent: "billing".parse().unwrap(),
            conversation: talk.map(|talk| talk.parse().unwrap()),
            role: None,
            task: None,
            user: None,
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

/// What may be run without anybody's yes.
fn permitted(verdict: CallVerdict) -> Invocation {
    match verdict {
        CallVerdict::Permitted(permit) => permit.into_request(),
        CallVerdict::NeedsApproval { quorum, .. } => panic!("{quorum} have to agree"),
    }
}

fn invocation(caller: &Arc<Caller>, tool: &str, talk: Option<&str>) -> Invocation {
    let schema =
        InputSchema::parse(r#"{"type":"object","properties":{},"additionalProperties":false}"#).unwrap();
    Invocation {
        call: CallId::fresh(Millis(1_000)),
        caller: caller.clone(),
        tool: tool.parse().unwrap(),
        kind: ComponentKind::Tool,
        component: Digest::of(b"component"),
        connections: Arc::from([]),
        arguments: Arguments::parse(b"{}", &schema).unwrap(),
        context: CallContext {
            conversation: talk.map(|talk| talk.parse().unwrap()),
            ..CallContext::default()
        },
        now: Millis(1_000),
    }
}
