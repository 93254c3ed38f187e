//! An environment is a wall for operators as a tenant is: what is behind it doesn't exist, whatever is asked. A token for
//! every environment has none inside its tenant.

use serde_json::{Value, json};

use super::host::{Host, Reply};
use crate::approval::tests::ask_by;
use crate::auth::{Grant, Mint};
use crate::ids::{ApprovalId, CallId, Realm, TokenId};
use crate::ledger::Settlement;
use crate::runtime::test_guest::OK;
use crate::store::TokenKind;

const SECRET: &str = r#"{"secret": "ghp_0123456789"}"#;

fn realm(environment: &str) -> Realm {
    Realm { tenant: "acme".parse().unwrap(), environment: environment.parse().unwrap() }
}

/// A host with an operator of each of two environments, and one of both, whose token was minted in `dev`.
struct Walls {
    host: Host,
    dev: String,
    prod: String,
    every: String,
}

impl Walls {
    fn of(host: Host) -> Self {
        let dev = minted(&host, TokenKind::Operator, "dev", false).1;
        let prod = minted(&host, TokenKind::Operator, "prod", false).1;
        let every = minted(&host, TokenKind::Operator, "dev", true).1;
        Self { host, dev, prod, every }
    }

    fn start() -> Self {
        Self::of(Host::start())
    }

    fn agent(&self, environment: &str) -> (TokenId, String) {
        minted(&self.host, TokenKind::Agent, environment, false)
    }

    async fn ask(&self, method: &str, path: &str, token: &str, body: &Value) -> Reply {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.host.ask(method, path, token, &body).await
    }

    async fn get(&self, path: &str, token: &str) -> Value {
        let reply = self.host.get(path, token).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.json()
    }

    async fn made(&self, path: &str, token: &str, body: &Value) -> Value {
        let reply = self.ask("POST", path, token, body).await;
        assert_eq!(reply.status, 201, "{}", reply.body);
        reply.json()
    }

    /// What the operator of `prod` is told of something of `dev`: what it's told of nothing at all.
    async fn is_absent(&self, method: &str, path: &str, there: &str, absent: &str, body: &Value) {
        let nothing = self.ask(method, &path.replace("ID", absent), &self.prod, body).await;
        nothing.problem(404, "not_found");
        assert_eq!(self.ask(method, &path.replace("ID", there), &self.prod, body).await, nothing, "{path}");
    }

    /// The actions that are on record where this token reaches, newest first.
    async fn acts(&self, token: &str) -> Vec<String> {
        let page = self.get("/v1/audit?limit=1000", token).await;
        let rows = page["rows"].as_array().unwrap().clone();
        rows.iter().filter_map(|row| Some(row["action"].as_str()?.to_owned())).collect()
    }
}

fn minted(host: &Host, kind: TokenKind, environment: &str, every_environment: bool) -> (TokenId, String) {
    let tools = if kind == TokenKind::Agent { vec!["*".parse().unwrap()] } else { Vec::new() };
    let minted = host.door.app.auth.mint(Mint {
        kind,
        realm: realm(environment),
        every_environment,
        agent: "someone".parse().unwrap(),
        conversation: None,
        role: None,
        task: None,
        user: None,
        grant: Grant { tools, ..Grant::default() },
        lifetime: std::time::Duration::from_secs(60),
    });
    let minted = minted.unwrap();
    (minted.row.id, minted.token.to_string())
}

#[tokio::test]
async fn tokens_of_another_environment_do_not_exist_and_are_not_minted() {
    let walls = Walls::start();
    let (id, token) = walls.agent("dev");
    let absent = "tok_000000000000000000000000";
    walls.is_absent("DELETE", "/v1/tokens/ID", id.as_str(), absent, &Value::Null).await;
    assert_eq!(walls.host.get("/v1/tools", &token).await.status, 200);
    let listed = walls.get("/v1/tokens", &walls.prod).await;
    let realms: Vec<_> =
        listed["tokens"].as_array().unwrap().iter().map(|token| &token["environment"]).collect();
    assert_eq!(realms, ["prod"]);
    let wanted = |environment: &str| json!({ "agent": "a", "tools": ["*"], "expires_in_seconds": 60, "environment": environment });
    // There's something in one of them, and nothing in the other.
    let there = walls.ask("POST", "/v1/tokens", &walls.prod, &wanted("dev")).await;
    there.problem(403, "denied");
    assert_eq!(walls.ask("POST", "/v1/tokens", &walls.prod, &wanted("nowhere")).await, there);
    assert_eq!(walls.made("/v1/tokens", &walls.prod, &wanted("prod")).await["environment"], "prod");
    assert_eq!(walls.made("/v1/tokens", &walls.every, &wanted("prod")).await["environment"], "prod");
    assert_eq!(
        walls.ask("DELETE", &format!("/v1/tokens/{id}"), &walls.every, &Value::Null).await.status,
        204
    );
    walls.host.get("/v1/tools", &token).await.problem(401, "unauthorized");
}

#[tokio::test]
async fn a_monitor_looks_as_far_as_an_operator_of_its_reach_and_no_further() {
    let walls = Walls::start();
    let monitor = |environment, every| minted(&walls.host, TokenKind::Monitor, environment, every).1;
    let (dev, prod, every) = (monitor("dev", false), monitor("prod", false), monitor("dev", true));
    walls.agent("dev");
    walls.made("/v1/kill", &walls.dev, &json!({ "scope": "agent:loop", "reason": "a loop" })).await;
    walls.made("/v1/agents", &walls.prod, &json!({ "name": "planner" })).await;
    let secret: Value = serde_json::from_str(SECRET).unwrap();
    assert_eq!(walls.ask("PUT", "/v1/users/ann/secrets/github", &walls.dev, &secret).await.status, 200);
    for (monitor, operator) in [(&dev, &walls.dev), (&prod, &walls.prod), (&every, &walls.every)] {
        for path in [
            "/v1/tokens",
            "/v1/agents",
            "/v1/policies",
            "/v1/approvals",
            "/v1/budgets",
            "/v1/budgets/held",
            "/v1/kill",
            "/v1/audit",
            "/v1/users/ann/secrets",
        ] {
            assert_eq!(walls.get(path, monitor).await, walls.get(path, operator).await, "{path}");
        }
    }
    assert_eq!(walls.get("/v1/users/ann/secrets", &dev).await["secrets"][0]["label"], "github");
    assert_eq!(walls.get("/v1/kill", &prod).await, json!({ "kills": [] }));
    for (token, status) in [(&prod, 403), (&every, 200)] {
        let named = walls.host.get("/v1/users/ann/secrets?environment=dev", token).await;
        assert_eq!(named.status, status, "{named:?}");
    }
    for method in ["PUT", "DELETE"] {
        let refused = walls.ask(method, "/v1/users/ann/secrets/github", &dev, &secret).await;
        assert!(refused.problem(403, "denied").contains("only looks"), "{refused:?}");
    }
    assert_eq!(walls.get("/v1/users/ann/secrets", &dev).await["secrets"][0]["version"], 1);
}

#[tokio::test]
async fn an_operator_of_one_environment_neither_sees_nor_revokes_one_of_every() {
    let walls = Walls::start();
    let listed = walls.get("/v1/tokens", &walls.every).await["tokens"].as_array().unwrap().clone();
    let every = listed.iter().find(|token| token["every_environment"] == true).unwrap();
    let id = every["id"].as_str().unwrap();
    assert_eq!((listed.len(), &every["environment"]), (3, &json!("dev")));
    for narrow in [&walls.dev, &walls.prod] {
        assert!(!walls.get("/v1/tokens", narrow).await.to_string().contains(id));
        walls
            .ask("DELETE", &format!("/v1/tokens/{id}"), narrow, &Value::Null)
            .await
            .problem(404, "not_found");
    }
    walls.get("/v1/tokens", &walls.every).await;
}

#[tokio::test]
async fn agents_of_another_environment_do_not_exist() {
    let walls = Walls::start();
    let wanted = json!({ "name": "Planner", "metadata": { "role": "planner" } });
    let agent = walls.made("/v1/agents", &walls.dev, &wanted).await;
    let whole = walls.made("/v1/agents", &walls.every, &wanted).await;
    assert_eq!((&agent["environment"], &whole["environment"]), (&json!("dev"), &Value::Null));
    let absent = "agent_000000000000000000000000";
    for there in [&agent, &whole] {
        let there = there["id"].as_str().unwrap();
        walls.is_absent("DELETE", "/v1/agents/ID", there, absent, &Value::Null).await;
        for environment in [json!(null), json!("prod")] {
            let token = |id: &str| json!({ "agentId": id, "expiresIn": 60, "environment": environment });
            let nothing = walls.ask("POST", "/v1/tokens", &walls.prod, &token(absent)).await;
            nothing.problem(404, "not_found");
            assert_eq!(walls.ask("POST", "/v1/tokens", &walls.prod, &token(there)).await, nothing);
        }
    }
    assert_eq!(walls.get("/v1/agents", &walls.prod).await, json!({ "agents": [] }));
    assert_eq!(walls.get("/v1/agents", &walls.dev).await["agents"], json!([agent]));
    // One that is of every environment gets tokens in each; one that is of dev gets them there, whoever asks.
    let token =
        |of: &Value| json!({ "agentId": of["id"], "tools": ["*"], "expiresIn": 60, "environment": "prod" });
    let minted = walls.made("/v1/tokens", &walls.every, &token(&whole)).await;
    walls.ask("POST", "/v1/tokens", &walls.every, &token(&agent)).await.problem(404, "not_found");
    // Removing it revokes what it has in each.
    let path = format!("/v1/agents/{}", whole["id"].as_str().unwrap());
    assert_eq!(walls.ask("DELETE", &path, &walls.every, &Value::Null).await.status, 204);
    let minted = minted["token"].as_str().unwrap();
    walls.host.get("/v1/tools", minted).await.problem(401, "unauthorized");
    // The mint and the revocation are on record where the token was; the rest where the operator's token is.
    assert_eq!(walls.acts(&walls.prod).await, ["token.revoke", "token.mint"]);
    assert_eq!(walls.acts(&walls.dev).await, ["agent.remove", "agent.register", "agent.register"]);
}

fn may_read() -> Value {
    json!({ "name": "Reads", "actions": ["read"], "resources": ["api://tasks/*"], "effect": "allow" })
}

impl Walls {
    async fn enforce(&self, key: &str, token: &str) -> Value {
        let question = json!({
            "requestId": "r-1", "capabilityToken": token, "action": "read", "resourceId": "api://tasks/7",
        });
        let mut answer = self.ask("POST", "/v1/enforce", key, &question).await.json();
        answer["decisionId"] = Value::Null;
        answer
    }
}

#[tokio::test]
async fn a_policy_holds_in_the_environment_of_who_posted_it_alone() {
    let walls = Walls::of(Host::start_governed());
    let (dev, prod) = (walls.agent("dev").1, walls.agent("prod").1);
    let posted = walls.made("/v1/policies", &walls.dev, &may_read()).await;
    assert_eq!(posted["environment"], "dev");
    assert_eq!(walls.enforce(&walls.dev, &dev).await["decision"], "allowed");
    assert_eq!(walls.enforce(&walls.prod, &prod).await["decision"], "denied");
    let id = posted["id"].as_str().unwrap();
    walls.is_absent("DELETE", "/v1/policies/ID", id, "pol_000000000000000000000000", &Value::Null).await;
    assert_eq!(walls.get("/v1/policies", &walls.prod).await, json!({ "policies": [] }));
    // What is posted for every environment holds in each, and who manages one can't take it out.
    let deny = json!({ "effect": "deny", "name": "No", "actions": ["read"], "resources": ["api://tasks/*"] });
    let whole = walls.made("/v1/policies", &walls.every, &deny).await;
    assert_eq!(whole["environment"], Value::Null);
    assert_eq!(walls.enforce(&walls.dev, &dev).await["decision"], "denied");
    for narrow in [&walls.dev, &walls.prod] {
        let path = format!("/v1/policies/{}", whole["id"].as_str().unwrap());
        walls.ask("DELETE", &path, narrow, &Value::Null).await.problem(404, "not_found");
    }
    assert_eq!(walls.get("/v1/policies", &walls.every).await["policies"].as_array().unwrap().len(), 2);
    let path = format!("/v1/policies/{id}");
    assert_eq!(walls.ask("DELETE", &path, &walls.every, &Value::Null).await.status, 204);
}

#[tokio::test]
async fn an_enforcement_point_asks_about_tokens_of_its_own_environment() {
    let walls = Walls::of(Host::start_governed());
    walls.made("/v1/policies", &walls.every, &may_read()).await;
    let (id, dev) = walls.agent("dev");
    assert_eq!(walls.enforce(&walls.dev, &dev).await["decision"], "allowed");
    assert_eq!(walls.enforce(&walls.every, &dev).await["decision"], "allowed");
    let beyond = walls.enforce(&walls.prod, &dev).await;
    assert_eq!((&beyond["decision"], &beyond["reason"]), (&json!("denied"), &json!("unauthorized")));
    assert_eq!(beyond["message"], "the capability token is not valid");
    assert_eq!(beyond, walls.enforce(&walls.prod, "kbt_nothing").await);
    // It's on record where the question was asked, without a word of whose token it was.
    let rows = walls.get("/v1/audit", &walls.prod).await;
    assert_eq!(rows["rows"].as_array().unwrap().len(), 2);
    assert!(!rows.to_string().contains(id.as_str()), "{rows:#}");
}

#[tokio::test]
async fn a_switch_stops_the_environment_of_who_threw_it_alone() {
    let walls = Walls::start();
    let (dev, prod) = (walls.agent("dev").1, walls.agent("prod").1);
    let is_stopped = |token: &str| {
        let caller = walls.host.door.app.auth.verify(token).unwrap();
        let subjects = crate::kill::Subjects {
            realm: caller.realm(),
            caller: Some(&caller),
            call: None,
            conversation: None,
            tool: None,
            connection: None,
        };
        walls.host.door.app.kills.check(&subjects).is_err()
    };
    let order = |scope: &str| json!({ "scope": scope, "reason": "a loop" });
    let switch = walls.made("/v1/kill", &walls.dev, &order("agent:someone")).await;
    assert_eq!(switch["environment"], "dev");
    assert_eq!((is_stopped(&dev), is_stopped(&prod)), (true, false));
    let id = switch["id"].as_str().unwrap();
    walls.is_absent("DELETE", "/v1/kill/ID", id, "kill_000000000000000000000000", &Value::Null).await;
    assert_eq!(walls.get("/v1/kill", &walls.prod).await, json!({ "kills": [] }));
    let path = format!("/v1/kill/{id}");
    assert_eq!(walls.ask("DELETE", &path, &walls.every, &Value::Null).await.status, 204);

    // Neither another environment nor the whole tenant is this operator's to stop, and it's told so.
    let whole = walls.ask("POST", "/v1/kill", &walls.dev, &order("tenant")).await;
    assert!(whole.problem(403, "denied").contains(r#""environment": "dev""#), "{whole:?}");
    let other = |environment: &str| json!({ "scope": "tenant", "reason": "r", "environment": environment });
    let there = walls.ask("POST", "/v1/kill", &walls.dev, &other("prod")).await;
    there.problem(403, "denied");
    assert_eq!(walls.ask("POST", "/v1/kill", &walls.dev, &other("nowhere")).await, there);
    assert!(!is_stopped(&dev) && !is_stopped(&prod));
    let own = walls.made("/v1/kill", &walls.dev, &other("dev")).await;
    assert_eq!((is_stopped(&dev), is_stopped(&prod)), (true, false));
    let path = format!("/v1/kill/{}", own["id"].as_str().unwrap());
    assert_eq!(walls.ask("DELETE", &path, &walls.dev, &Value::Null).await.status, 204);

    let whole = walls.made("/v1/kill", &walls.every, &order("tenant")).await;
    assert_eq!(whole["environment"], Value::Null);
    assert_eq!((is_stopped(&dev), is_stopped(&prod)), (true, true));
    let path = format!("/v1/kill/{}", whole["id"].as_str().unwrap());
    for narrow in [&walls.dev, &walls.prod] {
        walls.ask("DELETE", &path, narrow, &Value::Null).await.problem(404, "not_found");
    }
    assert!(is_stopped(&dev));
    walls.ask("POST", "/v1/kill", &walls.every, &order("everything")).await.problem(403, "denied");
}

#[tokio::test]
async fn approvals_of_another_environment_do_not_exist() {
    let walls = Walls::start();
    let (_, agent) = walls.agent("dev");
    let caller = walls.host.door.app.auth.verify(&agent).unwrap();
    let approvals = walls.host.door.app.approvals.approvals();
    let id: ApprovalId = approvals.request(&ask_by(&caller, "pay")).unwrap().id;
    let absent = "apr_000000000000000000000000";
    for (method, path) in
        [("GET", "/v1/approvals/ID"), ("POST", "/v1/approvals/ID/approve"), ("POST", "/v1/approvals/ID/deny")]
    {
        walls.is_absent(method, path, id.as_str(), absent, &Value::Null).await;
    }
    assert_eq!(walls.get("/v1/approvals", &walls.prod).await, json!({ "approvals": [] }));
    for near in [&walls.dev, &walls.every] {
        assert_eq!(walls.get("/v1/approvals", near).await["approvals"][0]["id"], id.as_str());
        assert_eq!(walls.get(&format!("/v1/approvals/{id}"), near).await["state"], "pending");
    }
    let path = format!("/v1/approvals/{id}/deny");
    assert_eq!(walls.ask("POST", &path, &walls.every, &Value::Null).await.json()["state"], "denied");
}

#[tokio::test]
async fn money_of_another_environment_does_not_exist() {
    let walls = Walls::start();
    let (token, _) = walls.agent("dev");
    let held = walls.host.spent_in(&realm("dev"), token.as_str(), 1, Some(Settlement::Hold)).to_string();
    let absent = format!("{}.9", held.rsplit_once('.').unwrap().0);
    for path in ["/v1/budgets/held/ID/settle", "/v1/budgets/held/ID/release", "/v1/budgets/held/ID/reconcile"]
    {
        walls.is_absent("POST", path, &held, &absent, &Value::Null).await;
    }
    assert_eq!(walls.get("/v1/budgets", &walls.prod).await["budgets"], json!([]));
    assert_eq!(walls.get("/v1/budgets/held", &walls.prod).await, json!({ "held": [], "more": false }));
    for near in [&walls.dev, &walls.every] {
        assert_eq!(walls.get("/v1/budgets", near).await["budgets"][0]["held"], 1_250);
        assert_eq!(walls.get("/v1/budgets/held", near).await["held"][0]["id"], held);
    }
    let path = format!("/v1/budgets/held/{held}/release");
    assert_eq!(walls.ask("POST", &path, &walls.every, &Value::Null).await.json()["became"], "released");
    assert_eq!(walls.acts(&walls.dev).await, ["budget.release"]);
    assert_eq!(walls.acts(&walls.prod).await, [""; 0]);
}

#[tokio::test]
async fn the_trail_of_another_environment_does_not_exist() {
    let walls = Walls::start();
    walls.host.add_tool("probe", OK);
    let (_, agent) = walls.agent("dev");
    let called = walls.ask("POST", "/v1/tools/probe", &agent, &json!({})).await;
    let call: CallId = called.headers["keybearer-call-id"].to_str().unwrap().parse().unwrap();
    let nothing = "call_00000000000000000000000000000000";
    walls.is_absent("GET", "/v1/audit/ID", call.as_str(), nothing, &Value::Null).await;
    for path in ["/v1/audit".to_owned(), format!("/v1/audit?call={call}")] {
        assert_eq!(walls.get(&path, &walls.prod).await["rows"], json!([]));
        for near in [&walls.dev, &walls.every] {
            assert!(!walls.get(&path, near).await["rows"].as_array().unwrap().is_empty());
        }
    }
}

#[tokio::test]
async fn users_secrets_of_another_environment_are_neither_stored_listed_nor_removed() {
    let walls = Walls::start();
    let path = |environment: &str| format!("/v1/users/ann/secrets/github?environment={environment}");
    let body: Value = serde_json::from_str(SECRET).unwrap();
    for method in ["PUT", "DELETE"] {
        let there = walls.ask(method, &path("dev"), &walls.prod, &body).await;
        there.problem(403, "denied");
        assert_eq!(walls.ask(method, &path("nowhere"), &walls.prod, &body).await, there);
    }
    assert_eq!(walls.ask("PUT", "/v1/users/ann/secrets/github", &walls.dev, &body).await.status, 200);
    let list = "/v1/users/ann/secrets";
    walls.host.get(&format!("{list}?environment=dev"), &walls.prod).await.problem(403, "denied");
    assert_eq!(walls.get(list, &walls.prod).await, json!({ "secrets": [] }));
    walls.ask("DELETE", &path("prod"), &walls.prod, &Value::Null).await.problem(404, "not_found");
    assert_eq!(walls.ask("PUT", &path("prod"), &walls.every, &body).await.status, 200);
    assert_eq!(walls.get(list, &walls.prod).await["secrets"][0]["label"], "github");
    assert_eq!(walls.acts(&walls.prod).await, ["user-secret.set", "user-secret.put"]);
}

#[tokio::test]
async fn a_vault_key_is_for_the_operators_own_environment() {
    let walls = Walls::start();
    let wanted = |environment: &str| {
        json!({
            "daily_cap_usd": 5, "allowed_endpoints": ["charges.list"], "ttl_seconds": 60,
            "environment": environment,
        })
    };
    let there = walls.ask("POST", "/admin/vault-keys", &walls.prod, &wanted("dev")).await;
    there.problem(403, "denied");
    assert_eq!(walls.ask("POST", "/admin/vault-keys", &walls.prod, &wanted("nowhere")).await, there);
    // There's no connection here, which is what an operator whose token reaches it is told.
    for (key, environment) in [(&walls.prod, "prod"), (&walls.every, "prod"), (&walls.every, "dev")] {
        let told = walls.ask("POST", "/admin/vault-keys", key, &wanted(environment)).await;
        assert!(told.problem(400, "bad_request").contains("no connection"), "{told:?}");
    }
}
