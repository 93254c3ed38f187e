//! The document against what really goes over the wire.

use jsonschema::Validator;

use super::super::agents::{AgentList, RegisterBody};
use super::super::approvals::{ApprovalDetail, ApprovalEntry, ApprovalList, ApprovalStatus};
use super::super::code::{CodeAnswer, CodeBody};
use super::super::enforce::EnforceAnswer;
use super::super::kill::{KillEntry, KillList, ThrowBody};
use super::super::policies::PolicyList;
use super::super::problem::Problem;
use super::super::user_secrets::{OwnSecret, OwnSecretList, StoredSecret};
use super::super::vault_keys::{CapBody, VaultKey, VaultKeyBody};
use super::super::wire::{
    AuditCall, AuditPage, MintBody, MintedBody, StatusBody, TokenEntry, TokenList, ToolEntry, ToolList,
};
use super::*;
use crate::approval::Fingerprint;
use crate::audit::{
    ApprovalStep, Became, CallBegun, CallFinished, CallMark, CallRefused, Decided, Decision, Event,
    ReconcileBegun, Reconciled, Row, SendBegun, SendFinished, SendKnown, SendRefused, ShadowDiffered, Step,
    TokenGiven,
};
use crate::auth::Grant;
use crate::clock::Millis;
use crate::connection::Cost;
use crate::ids::{
    AgentId, ApprovalId, CallId, DecisionId, Digest, KillId, PolicyId, Realm, ReservationId, TokenId,
};
use crate::policy::PostedPolicy;
use crate::refusal::{Code, Refusal, RequestSent};
use crate::store::{AgentRow, ApprovalState, KillRow, PolicyRow, TokenKind, TokenRow};

fn validator(schema: &str) -> Validator {
    let mut root = document();
    root["$ref"] = format!("#/components/schemas/{schema}").into();
    jsonschema::validator_for(&root).unwrap()
}

#[track_caller]
fn fits(schema: &str, value: &impl serde::Serialize) {
    let value = serde_json::to_value(value).unwrap();
    let errors: Vec<_> = validator(schema).iter_errors(&value).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{schema}: {errors:#?}\n{value:#}");
}

fn row_of(event: Event) -> Row {
    Row {
        seq: 1,
        at: Millis(1_700_000_000_000),
        realm: Some(realm()),
        call: Some(call()),
        event,
        prev: Digest([0; 32]),
        hash: Digest::of(b"row"),
    }
}

fn realm() -> Realm {
    Realm { tenant: "acme".parse().unwrap(), environment: "dev".parse().unwrap() }
}

fn call() -> CallId {
    CallId::fresh(Millis(1_700_000_000_000))
}

fn token(kind: TokenKind) -> TokenRow {
    TokenRow {
        id: TokenId::fresh(),
        hash: [0; 32],
        kind,
        realm: realm(),
        every_environment: false,
        agent: "billing".parse().unwrap(),
        conversation: Some("conv-1".parse().unwrap()),
        role: None,
        task: None,
        user: None,
        parent: None,
        minted_by: Some("alice".parse().unwrap()),
        grant: Grant {
            tools: vec!["*".parse().unwrap(), "get_invoice".parse().unwrap()],
            operations: vec!["stripe:*".parse().unwrap(), "stripe:get_invoice".parse().unwrap()],
            ..Grant::default()
        },
        created_at: Millis(1),
        expires_at: Millis(2),
        revoked_at: None,
    }
}

#[test]
fn problems_of_every_code_fit() {
    for code in Code::ALL {
        for sent in [RequestSent::No, RequestSent::Yes, RequestSent::Unknown] {
            let refusal = Refusal::new(*code, "why").sent(sent);
            fits("Problem", &Problem::of_call(refusal.clone(), call()).body());
            fits("Problem", &Problem::from(refusal).body());
        }
    }
}

#[test]
fn every_code_is_listed_with_its_status() {
    let code = &document()["components"]["schemas"]["Code"];
    for known in Code::ALL {
        assert!(code["enum"].as_array().unwrap().contains(&known.as_str().into()), "{known:?}");
        let status = Problem::new(*known, "why").body().status;
        assert_eq!(code["x-status"][known.as_str()], status, "{known:?}");
    }
    assert_eq!(code["enum"].as_array().unwrap().len(), Code::ALL.len());
}

#[test]
fn tokens_fit_and_hide_what_is_secret() {
    let mut revoked = token(TokenKind::Operator);
    revoked.revoked_at = Some(Millis(3));
    revoked.conversation = None;
    let monitor = TokenRow { conversation: None, grant: Grant::default(), ..token(TokenKind::Monitor) };
    let tokens = vec![token(TokenKind::Agent).into(), TokenEntry::from(revoked), monitor.into()];
    fits("TokenList", &TokenList { tokens, next_before: Some(TokenId::fresh()) });
    fits("TokenList", &TokenList { tokens: Vec::new(), next_before: None });
    fits("MintedToken", &MintedBody { token: "kbt_…", entry: token(TokenKind::Agent).into() });
    let listed = serde_json::to_value(TokenEntry::from(token(TokenKind::Agent))).unwrap();
    assert!(listed.get("hash").is_none() && listed.get("token").is_none());
}

#[test]
fn what_can_be_minted_is_what_is_described() {
    let whole = json!({
        "agent": "billing", "environment": "dev", "conversation": "c", "role": "biller", "task": "bill", "tools": ["*"],
        "operations": ["stripe:*"], "may_delegate": true, "expires_in_seconds": 60,
        "user": "user-1", "may_store_secrets": true,
        "budgets": [{ "limit": 5, "unit": "usd", "window": "day", "time_zone": "Asia/Tokyo", "connection": "stripe",
            "operation": "create_charge", "effect": "write" }, { "limit": 5, "unit": "requests", "window": "at_once" }],
    });
    let least = json!({ "agent": "billing", "expires_in_seconds": 60 });
    for good in [&whole, &least] {
        fits("Mint", good);
        serde_json::from_value::<MintBody>(good.clone()).unwrap();
    }
    for (member, bad) in [
        ("kind", json!("operator")),
        ("kind", json!("monitor")),
        ("tenant", json!("other")),
        ("agent", json!("a b")),
        ("tools", json!(["get*"])),
        ("operations", json!(["*"])),
        ("role", json!("Biller")),
        ("may_delegate", json!("yes")),
        ("may_store_secrets", json!(1)),
        ("user", json!("a b")),
        ("budgets", json!([{ "limit": -5, "unit": "usd", "window": "day" }])),
        ("budgets", json!([{ "limit": 0.5, "unit": "usd", "window": "day" }])),
        ("budgets", json!([{ "limit": 5, "unit": "dollars", "window": "day" }])),
        ("budgets", json!([{ "limit": 5, "unit": "usd", "window": "week" }])),
        ("budgets", json!([{ "limit": 5, "unit": "usd", "window": "day", "customer": "c" }])),
        ("expires_in_seconds", json!("60")),
        ("expires_in_seconds", json!(-1)),
        ("expires_in_seconds", json!(1.5)),
    ] {
        let mut body = whole.clone();
        body[member] = bad;
        assert!(!validator("Mint").is_valid(&body), "{body}");
        assert!(serde_json::from_value::<MintBody>(body.clone()).is_err(), "{body}");
    }
}

#[test]
fn agents_fit() {
    let row = AgentRow {
        id: AgentId::fresh(),
        tenant: realm().tenant,
        environment: None,
        name: "Planner Agent".to_owned(),
        description: String::new(),
        metadata: json!({ "framework": "autogen", "role": "planner" }),
        role: Some("planner".parse().unwrap()),
        created_at: Millis(1),
    };
    let without =
        AgentRow { role: None, environment: Some(realm().environment), metadata: json!({}), ..row.clone() };
    fits("AgentList", &AgentList { agents: vec![row.into(), without.into()] });
    for body in
        [json!({ "name": "a" }), json!({ "name": "a", "description": "d", "metadata": { "role": "r" } })]
    {
        fits("RegisterAgent", &body);
        serde_json::from_value::<RegisterBody>(body).unwrap();
    }
    let by_id = json!({ "agentId": "agent_000000000000000000000000", "expiresIn": 3600 });
    fits("Mint", &by_id);
    serde_json::from_value::<MintBody>(by_id).unwrap();
}

#[test]
fn vault_keys_fit() {
    let cap = CapBody { amount: 50_000, currency: "usd".to_owned() };
    let least = json!({ "daily_cap_usd": 12.5, "allowed_endpoints": ["/v1/charges"], "ttl_seconds": 60 });
    let whole = json!({
        "daily_cap": cap, "allowed_endpoints": ["POST /v1/charges"], "ttl_seconds": 60, "conversation_id": "c",
        "agent": "billing", "role": "biller", "task": "bill", "connection": "stripe", "environment": "dev",
    });
    for body in [least, whole] {
        fits("MintVaultKey", &body);
        serde_json::from_str::<VaultKeyBody>(&body.to_string()).unwrap();
    }
    fits(
        "VaultKey",
        &VaultKey {
            vault_key: "kbt_…",
            id: TokenId::fresh(),
            connection: "stripe".parse().unwrap(),
            base_path: "/proxy/stripe".to_owned(),
            operations: vec!["stripe:create_charge".parse().unwrap()],
            daily_cap: cap,
            conversation_id: None,
            expires_at: Millis(1),
        },
    );
}

#[test]
fn code_and_what_comes_of_it_fit() {
    let block = json!({ "language": "python", "code": "1 + 1" });
    for good in [json!({ "blocks": [block] }), json!({ "blocks": [block, block], "timeout_ms": 1 })] {
        fits("RunCode", &good);
        serde_json::from_value::<CodeBody>(good).unwrap();
    }
    for bad in [json!({ "blocks": [], "x": 1 }), json!({ "blocks": [{ "language": "python" }] }), json!({})] {
        assert!(!validator("RunCode").is_valid(&bad));
        assert!(serde_json::from_value::<CodeBody>(bad).is_err());
    }
    fits("CodeResult", &CodeAnswer::default());
    let result = Some("2".to_owned());
    fits(
        "CodeResult",
        &CodeAnswer { exit_code: -1, output: "o".to_owned(), result, calls: vec![call(), call()] },
    );
}

#[test]
fn users_secrets_fit_and_show_no_value() {
    let (reference, label) = ("secret:github".to_owned(), "github".parse().unwrap());
    fits("StoredSecret", &StoredSecret { reference: reference.clone(), label, version: 1 });
    let secret = OwnSecret { reference, label: "github".parse().unwrap(), version: 2, stored_at: Millis(1) };
    fits("OwnSecretList", &OwnSecretList { secrets: vec![secret] });
    fits("PutSecret", &json!({ "secret": "ghp_12345678" }));
}

#[test]
fn policies_and_decisions_fit() {
    let body = json!({
        "name": "Executor Capabilities", "actions": ["execute"], "resources": ["api://tasks/execute/*"],
        "effect": "allow", "constraints": { "requiresApproval": true, "maxConcurrentTasks": 5 }, "role": "executor",
    });
    fits("PostPolicy", &body);
    let posted: PostedPolicy = serde_json::from_value(body.clone()).unwrap();
    let row = PolicyRow {
        id: PolicyId::fresh(),
        tenant: realm().tenant,
        environment: Some(realm().environment),
        name: posted.name.clone(),
        source: serde_json::to_value(&posted).unwrap(),
        cedar: posted.cedar(&realm().tenant).unwrap(),
        created_at: Millis(1),
    };
    fits("PolicyList", &PolicyList { policies: vec![row.into()] });
    fits(
        "Enforce",
        &json!({ "requestId": "r", "capabilityToken": "kbt_…", "action": "a", "resourceId": "api://a" }),
    );
    for (decision, reason) in [(Decision::Allowed, None), (Decision::Denied, Some(Code::Killed))] {
        fits(
            "EnforceAnswer",
            &EnforceAnswer {
                decision,
                reason,
                message: "m".to_owned(),
                request_id: "r".to_owned(),
                decision_id: DecisionId::fresh(),
                approval_id: reason.map(|_| ApprovalId::fresh()),
            },
        );
    }
}

#[test]
fn kill_switches_fit() {
    let row = |scope: &str, environment: Option<&str>| KillRow {
        id: KillId::fresh(),
        tenant: Some(realm().tenant),
        environment: environment.map(|name| name.parse().unwrap()),
        scope: scope.parse().unwrap(),
        reason: "a loop".parse().unwrap(),
        by: "cli".to_owned(),
        at: Millis(1),
    };
    let scopes = [
        "call:call_00000000000000000000000000000000",
        "conversation:c:1@x",
        "agent:billing",
        "role:biller",
        "tool:create_charge",
        "connection:stripe",
        "token:tok_000000000000000000000000",
        "tenant",
    ];
    for scope in scopes {
        let body = json!({ "scope": scope, "reason": "a loop", "environment": "dev" });
        fits("ThrowKill", &body);
        serde_json::from_value::<ThrowBody>(body).unwrap();
    }
    let kills = scopes.map(|scope| KillEntry::from(row(scope, None))).into_iter();
    fits("KillList", &KillList { kills: kills.chain([row("tenant", Some("dev")).into()]).collect() });
}

#[test]
fn audit_rows_of_every_event_fit() {
    let digest = Digest::of(b"x");
    let events = [
        Event::HostStarted { version: "0.1.0".to_owned(), recovered: 0 },
        Event::Checkpoint { row: 50_000, calls: vec![CallId::fresh(Millis(0))] },
        Event::CallBegun(CallBegun {
            door: crate::policy::Door::Tool,
            token: TokenId::fresh(),
            agent: "billing".parse().unwrap(),
            role: Some("billing".parse().unwrap()),
            task: Some("collect what is overdue".to_owned()),
            conversation: None,
            turn: Some("1".parse().unwrap()),
            tool: Some("get_invoice".parse().unwrap()),
            component: Some(digest),
            arguments: Some(digest),
            arguments_bytes: 2,
            policy: Some(digest),
            approval: Some(ApprovalId::fresh()),
            trace: Some("4bf92f3577b34da6a3ce929d0e0e4736".to_owned()),
            model_call: Some("call_x/1".parse().unwrap()),
        }),
        Event::CallRefused(CallRefused {
            token: TokenId::fresh(),
            agent: "billing".parse().unwrap(),
            conversation: None,
            tool: "get_invoice".to_owned(),
            code: Code::UnknownTool,
            policy: None,
            model_call: None,
        }),
        Event::CallRefused(CallRefused {
            token: TokenId::fresh(),
            agent: "billing".parse().unwrap(),
            conversation: Some("c-1".parse().unwrap()),
            tool: "get_invoice".to_owned(),
            code: Code::Denied,
            policy: Some(digest),
            model_call: None,
        }),
        Event::SendBegun(SendBegun {
            send: 1,
            connection: "stripe".parse().unwrap(),
            operation: "get_invoice".parse().unwrap(),
            request: digest,
            body_bytes: 0,
            secret: "stripe-prod".parse().unwrap(),
            user: Some("ann".parse().unwrap()),
            cost: Some(Cost { amount_minor: 1_999, currency: "usd".to_owned() }),
            budgets: 2,
            approval: Some(ApprovalId::fresh()),
            policy: digest,
            question: Some("00ff".to_owned()),
            key: Some("00000000-0000-8000-8000-000000000000".to_owned()),
        }),
        Event::SendRefused(SendRefused {
            connection: "stripe".to_owned(),
            code: Code::Duplicate,
            known: SendKnown {
                operation: Some("create_charge".parse().unwrap()),
                cost: Some(Cost { amount_minor: 9_900, currency: "usd".to_owned() }),
                policy: Some(digest),
                repeats: Some(ReservationId { call: call(), send: 1 }),
                question: Some("00ff".to_owned()),
            },
        }),
        Event::SendRefused(SendRefused {
            connection: "*".to_owned(),
            code: Code::ToolLimit,
            known: SendKnown::default(),
        }),
        Event::SendFinished(SendFinished {
            send: 1,
            status: None,
            failure: Some(Code::UpstreamTimeout),
            request_sent: RequestSent::Unknown,
            secret_version: Some(1),
            settlement: Some("settled".to_owned()),
            refunded: Some(Cost { amount_minor: 5, currency: "usd".to_owned() }),
            reply: None,
            reply_bytes: 0,
            took_ms: 1,
        }),
        Event::CallFinished(CallFinished {
            mark: CallMark::Ok,
            code: None,
            request_sent: RequestSent::Yes,
            sends: 1,
            result: Some(digest),
            result_bytes: 2,
            took_ms: 1,
        }),
        Event::Decided(Decided {
            id: DecisionId::fresh(),
            request: "r-1".to_owned(),
            by: TokenId::fresh(),
            token: Some(TokenId::fresh()),
            agent: Some("billing".parse().unwrap()),
            action: "plan".to_owned(),
            resource: "api://workflows/plan".to_owned(),
            decision: Decision::ApprovalRequired,
            reason: Some(Code::ApprovalRequired),
            policies: vec!["pol_x".to_owned()],
            policy: Some(digest),
            approval: Some(ApprovalId::fresh()),
        }),
        Event::ReconcileBegun(ReconcileBegun {
            hold: ReservationId { call: call(), send: 1 },
            by: "host".to_owned(),
        }),
        Event::Reconciled(Reconciled {
            hold: ReservationId { call: call(), send: 1 },
            became: Became::Settled,
            amount: Some(Cost { amount_minor: 5, currency: "usd".to_owned() }),
            why: None,
        }),
        Event::Reconciled(Reconciled {
            hold: ReservationId { call: call(), send: 1 },
            became: Became::Held,
            amount: None,
            why: Some("it isn't there yet".to_owned()),
        }),
        Event::ShadowDiffered(ShadowDiffered {
            who: "billing".parse().unwrap(),
            subject: "stripe:create_charge".to_owned(),
            live: Decision::Allowed,
            candidate: Decision::ApprovalRequired,
            policies: vec!["new".to_owned()],
            policy: digest,
        }),
        Event::Approval(ApprovalStep {
            id: ApprovalId::fresh(),
            step: Step::Asked,
            by: "billing".parse().unwrap(),
            token: Some(TokenId::fresh()),
            fingerprint: Fingerprint::for_tests("x"),
            conversation: Some("march".parse().unwrap()),
        }),
        Event::Approval(ApprovalStep {
            id: ApprovalId::fresh(),
            step: Step::Denied,
            by: "cli:root".parse().unwrap(),
            token: None,
            fingerprint: Fingerprint::for_tests("x"),
            conversation: None,
        }),
        Event::Admin {
            action: "token.mint".to_owned(),
            subject: "tok".to_owned(),
            by: "cli".to_owned(),
            reason: None,
            token: Some(Box::new(TokenGiven::from(&token(TokenKind::Agent)))),
        },
        Event::Admin {
            action: "token.mint".to_owned(),
            subject: "tok".to_owned(),
            by: "cli".to_owned(),
            reason: None,
            token: Some(Box::new(TokenGiven::from(&token(TokenKind::Monitor)))),
        },
        Event::Admin {
            action: "kill.throw".to_owned(),
            subject: "kill".to_owned(),
            by: "cli".to_owned(),
            reason: Some("a loop".to_owned()),
            token: None,
        },
    ];
    for event in &events {
        let (own, row) = (json!(event), json!(row_of(event.clone())));
        // `seq`, `at`, `realm`, `call`, `prev` and `hash` are the row's.
        let both = own.as_object().unwrap().len() + 6;
        assert_eq!(row.as_object().unwrap().len(), both, "a key would stand twice in {row}");
    }
    let rows: Vec<_> = events.into_iter().map(row_of).collect();
    fits("AuditCall", &AuditCall { call: call(), rows: rows.clone() });
    fits("AuditPage", &AuditPage { rows, next_before: Some(1) });
    fits("AuditPage", &AuditPage { rows: Vec::new(), next_before: None });
}

#[test]
fn approvals_fit() {
    let now = Millis(1_700_000_000_000);
    let (row, note) = crate::approval::tests::sample();
    let of = |about| ApprovalEntry::of(crate::store::ApprovalRow { about, ..row.clone() }, now);
    let tool: crate::ids::ToolName = "run_python".parse().unwrap();
    let code = crate::policy::About::Code { tool: tool.clone() };
    fits(
        "ApprovalList",
        &ApprovalList { approvals: vec![of(crate::policy::About::Call { tool }), of(code.clone())] },
    );
    let mut request = note.rendering.clone();
    request.tool = Some("run_python".to_owned());
    request.code = vec![crate::approval::ShownCode {
        language: "python".to_owned(),
        bytes: 5,
        lines: vec!["pay()".to_owned()],
    }];
    let text = Some(request.text());
    fits("ApprovalDetail", &ApprovalDetail { entry: of(code), text, request: Some(request) });
    let entry = || ApprovalEntry::of(row.clone(), now);
    fits("ApprovalList", &ApprovalList { approvals: vec![entry()] });
    let text = Some(note.rendering.text());
    fits("ApprovalDetail", &ApprovalDetail { entry: entry(), text, request: Some(note.rendering) });
    fits("ApprovalDetail", &ApprovalDetail { entry: entry(), text: None, request: None });
    for state in ApprovalState::ALL {
        fits("ApprovalStatus", &ApprovalStatus { id: row.id.clone(), state, expires_at: now });
    }
}

#[test]
fn states_fit() {
    fits("Status", &StatusBody { status: "ok" });
    fits("Status", &StatusBody { status: "ready" });
    fits("ToolList", &ToolList { tools: Vec::<ToolEntry<'_>>::new() });
}

#[test]
fn every_route_is_described_and_every_reference_leads_somewhere() {
    let document = document();
    for route in Route::ALL.into_iter().filter(|route| *route != Route::Unknown) {
        assert!(document["paths"].get(route.path()).is_some(), "{route:?}");
    }
    assert!(document["paths"].get(PROXY_ROOT).is_some());
    // Without the unknown ones, and with the second path of the proxy door.
    assert_eq!(document["paths"].as_object().unwrap().len(), Route::ALL.len());

    let text = document.to_string();
    for part in text.split("\"$ref\":\"#").skip(1) {
        let pointer = part.split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer}");
    }
}
