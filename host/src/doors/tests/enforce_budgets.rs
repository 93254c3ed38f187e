//! What an enforcement point is allowed takes from budgets.

use std::sync::Arc;

use serde_json::{Value, json};

use super::host::{Host, NoWire};
use crate::auth::Grant;
use crate::store::TokenKind;

const STRIPE: &str = r#"
base_url = "https://api.example.com"
secret = "key"
attach = { kind = "bearer" }
[operations.charge]
request = "POST /v1/charges"
effect = "write"
content_type = "application/x-www-form-urlencoded"
body.amount = { type = "integer", minimum = 0 }
body.currency = { type = "string" }
cost = { amount = "body.amount", currency = "body.currency" }
[operations.list]
request = "GET /v1/charges"
effect = "read"
"#;

const ALL: &str = "permit (principal, action, resource);";

struct Point {
    host: Host,
    key: String,
    agent: String,
}

impl Point {
    /// An enforcement point, and an agent with these budgets.
    fn of(policies: &str, budgets: &[&str]) -> Self {
        let host = Host::start_ruled(&[("stripe.toml", STRIPE)], Arc::new(NoWire), policies);
        let (_, key) = host.token(TokenKind::Operator);
        let operations = vec!["stripe:*".parse().unwrap()];
        let budgets = budgets.iter().map(|budget| budget.parse().unwrap()).collect();
        let grant = Grant { operations, budgets, ..Grant::default() };
        let (_, agent) = host.token_with("acme", TokenKind::Agent, grant);
        Self { host, key, agent }
    }

    /// Whether something may be done, or the code that says why not.
    async fn asks(&self, request: &str, action: &str, body: Value) -> String {
        let question = json!({
            "requestId": request, "capabilityToken": self.agent, "action": action,
            "resourceId": "connection://stripe", "context": { "body": body },
        });
        let answer = self.host.ask_with_key("POST", "/v1/enforce", &self.key, &question).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let answer = answer.json();
        let said = if answer["reason"].is_null() { &answer["decision"] } else { &answer["reason"] };
        said.as_str().unwrap().to_owned()
    }

    async fn charge(&self, request: &str, amount: u64) -> String {
        self.asks(request, "charge", json!({ "amount": amount, "currency": "usd" })).await
    }

    /// Spent, held and left.
    async fn standing(&self) -> [Option<u64>; 3] {
        let list = self.host.get("/v1/budgets", &self.key).await.json();
        ["spent", "held", "left"].map(|member| list["budgets"][0][member].as_u64())
    }

    async fn held(&self) -> Vec<Value> {
        let list = self.host.get("/v1/budgets/held", &self.key).await.json();
        list["held"].as_array().unwrap().clone()
    }

    async fn says(&self, id: &str, word: &str) -> u16 {
        let path = format!("/v1/budgets/held/{id}/{word}");
        self.host.ask("POST", &path, &self.key, "").await.status.as_u16()
    }
}

#[tokio::test]
async fn what_is_allowed_is_held_and_no_more_than_a_budget_has_room_for() {
    let point = Point::of(ALL, &["5000 usd total"]);
    assert_eq!(point.charge("r-1", 3_000).await, "allowed");
    assert_eq!(point.standing().await, [Some(0), Some(3_000), Some(2_000)]);
    assert_eq!(point.charge("r-2", 2_001).await, "over_budget");
    assert_eq!(point.charge("r-3", 2_000).await, "allowed");
    assert_eq!(point.charge("r-4", 1).await, "over_budget");
    let held = point.held().await;
    assert_eq!((held.len(), &held[0]["operation"]), (2, &json!("charge")), "{held:?}");
    // The answer's row belongs to the call that the held money is under.
    let first = held.iter().find(|held| held["cost"]["amount_minor"] == 3_000).unwrap();
    let (call, _) = first["id"].as_str().unwrap().rsplit_once('.').unwrap();
    let rows = point.host.get(&format!("/v1/audit/{call}"), &point.key).await.json();
    assert_eq!((&rows["rows"][0]["event"], &rows["rows"][0]["request"]), (&json!("decided"), &json!("r-1")));
    let all = point.host.get("/v1/audit", &point.key).await.json();
    let said: Vec<_> = all["rows"].as_array().unwrap().iter().map(|row| &row["reason"]).collect();
    assert_eq!(said, [&json!("over_budget"), &Value::Null, &json!("over_budget"), &Value::Null]);
    assert!(all["rows"].as_array().unwrap().iter().all(|row| row["policy"].is_string()), "{all:#}");
}

#[tokio::test]
async fn the_same_question_is_answered_the_same_and_counted_once() {
    let point = Point::of(ALL, &["5000 usd total"]);
    for _ in 0..3 {
        assert_eq!(point.charge("r-1", 5_000).await, "allowed");
    }
    assert_eq!((point.standing().await[1], point.held().await.len()), (Some(5_000), 1));
    // Another amount under the same name is another question, and so is the same under another.
    assert_eq!(point.charge("r-1", 4_999).await, "over_budget");
    assert_eq!(point.charge("r-2", 5_000).await, "over_budget");
}

#[tokio::test]
async fn an_operator_says_what_became_of_it() {
    let point = Point::of(ALL, &["5000 usd total"]);
    assert_eq!(point.charge("r-1", 3_000).await, "allowed");
    let id = point.held().await[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(point.says(&id, "settle").await, 200);
    assert_eq!(point.standing().await, [Some(3_000), Some(0), Some(2_000)]);
    assert_eq!(point.charge("r-1", 3_000).await, "allowed", "it was counted");
    assert_eq!(point.standing().await, [Some(3_000), Some(0), Some(2_000)]);
    assert_eq!(point.charge("r-2", 2_000).await, "allowed");
    let id = point.held().await[0]["id"].as_str().unwrap().to_owned();
    assert_eq!((point.says(&id, "release").await, point.says(&id, "release").await), (200, 404));
    assert_eq!(point.standing().await, [Some(3_000), Some(0), Some(2_000)]);
    assert_eq!(point.charge("r-2", 2_000).await, "allowed", "it counts anew: it wasn't carried out");
    assert_eq!(point.standing().await[1], Some(2_000));
}

#[tokio::test]
async fn what_is_denied_or_no_operation_takes_nothing() {
    let rules = "permit (principal, action, resource) when { false };
                 permit (principal, action == Action::\"api\", resource);";
    let point = Point::of(rules, &["5000 usd total", "1 requests total"]);
    assert_eq!(point.charge("r-1", 100).await, "denied");
    let api = json!({
        "requestId": "r-2", "capabilityToken": point.agent, "action": "pay", "resourceId": "api://payments/1",
        "context": { "amount": 999_999, "currency": "usd" },
    });
    for _ in 0..2 {
        let answer = point.host.ask_with_key("POST", "/v1/enforce", &point.key, &api).await.json();
        assert_eq!(answer["decision"], "allowed");
    }
    assert_eq!((point.standing().await, point.held().await.len()), ([None; 3], 0));
}

#[tokio::test]
async fn an_operation_that_the_token_does_not_name_is_denied_whatever_policies_permit() {
    let mut point = Point::of(ALL, &[]);
    let grant = Grant { operations: vec!["stripe:list".parse().unwrap()], ..Grant::default() };
    point.agent = point.host.token_with("acme", TokenKind::Agent, grant).1;
    assert_eq!(point.asks("r-1", "list", json!({})).await, "allowed");
    assert_eq!(point.charge("r-2", 1).await, "denied");
}

#[tokio::test]
async fn budgets_of_requests_and_of_single_calls_hold_too() {
    let point = Point::of(ALL, &["2 requests total"]);
    for (request, said) in
        [("r-1", "allowed"), ("r-1", "allowed"), ("r-2", "allowed"), ("r-3", "over_budget")]
    {
        assert_eq!(point.asks(request, "list", json!({})).await, said, "{request}");
    }
    assert_eq!((point.standing().await, point.held().await.len()), ([Some(2), Some(0), Some(0)], 0));
    let point = Point::of(ALL, &["1 requests minute"]);
    assert_eq!(point.charge("r-1", 1).await, "allowed");
    assert_eq!(point.charge("r-2", 1).await, "rate_limited");
    let point = Point::of(ALL, &["500 usd per_call", "9000 usd total"]);
    assert_eq!(point.charge("r-1", 501).await, "over_budget");
    let yen = point.asks("r-2", "charge", json!({ "amount": 5, "currency": "jpy" })).await;
    assert_eq!((yen.as_str(), point.held().await.len()), ("over_budget", 0));
    assert_eq!(point.charge("r-3", 500).await, "allowed");
    let point = Point::of(ALL, &["0 usd total"]);
    assert_eq!(point.charge("r-1", 0).await, "over_budget", "no write passes a budget of no money");
    assert_eq!(point.asks("r-2", "list", json!({})).await, "allowed");
}

#[tokio::test]
async fn nobody_is_asked_for_what_there_is_no_room_for() {
    let rules = "permit (principal, action, resource);
                 forbid (principal, action == Action::\"stripe:charge\", resource)
                 unless { context.approval.granted };";
    let point = Point::of(rules, &["500 usd per_call"]);
    assert_eq!(point.charge("r-1", 501).await, "over_budget");
    assert_eq!(point.host.get("/v1/approvals", &point.key).await.json(), json!({ "approvals": [] }));
    assert_eq!(point.charge("r-2", 500).await, "approval_required");
    assert_eq!(point.held().await.len(), 0, "nothing is taken before people have agreed");
}

#[tokio::test]
async fn nobody_is_asked_for_what_there_is_no_room_for_any_more() {
    let rules = "permit (principal, action, resource);
                 forbid (principal, action == Action::\"stripe:charge\", resource)
                 when { context.body.amount > 100 } unless { context.approval.granted };";
    let point = Point::of(rules, &["500 usd total"]);
    for request in ["r-1", "r-2"] {
        assert_eq!(point.charge(request, 100).await, "allowed");
    }
    assert_eq!(point.charge("r-3", 301).await, "over_budget");
    assert_eq!(point.host.get("/v1/approvals", &point.key).await.json(), json!({ "approvals": [] }));
    assert_eq!(point.charge("r-4", 300).await, "approval_required");
}

#[tokio::test]
async fn what_can_not_be_recorded_is_neither_allowed_nor_counted() {
    let point = Point::of(ALL, &["5000 usd total"]);
    point.host.trail.fill_up();
    let question = json!({
        "requestId": "r-1", "capabilityToken": point.agent, "action": "charge",
        "resourceId": "connection://stripe", "context": { "body": { "amount": 5, "currency": "usd" } },
    });
    let reply = point.host.ask_with_key("POST", "/v1/enforce", &point.key, &question).await;
    reply.problem(503, "audit_unavailable");
    assert_eq!((point.standing().await, point.held().await.len()), ([None; 3], 0));
}
