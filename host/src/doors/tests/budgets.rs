//! Budgets over HTTP: an operator sees what its own tenant has spent, and says what became of what is held.

use serde_json::{Value, json};

use super::host::Host;
use crate::auth::Grant;
use crate::clock::Millis;
use crate::connection::Cost;
use crate::ids::{CallId, Realm, ReservationId};
use crate::ledger::{self, Line, Lines, Period, Reservation, Reserved, Settlement, Subject, Window};
use crate::store::{CounterKey, LedgerStore as _, TokenKind};

const LEDGER: [&str; 3] = ["/v1/budgets", "/v1/budgets/held", "/v1/budgets/held/call_0/settle"];

impl Host {
    fn spent(&self, tenant: &str, token: &str, number: u32, how: Option<Settlement>) -> ReservationId {
        let realm = Realm { tenant: tenant.parse().unwrap(), environment: "dev".parse().unwrap() };
        self.spent_in(&realm, token, number, how)
    }

    /// A request of 12.50 USD by a token of this realm, ended so.
    pub(super) fn spent_in(
        &self,
        realm: &Realm,
        token: &str,
        number: u32,
        how: Option<Settlement>,
    ) -> ReservationId {
        let id = ReservationId { call: CallId::fresh(Millis(5)), send: number };
        let name = json!([
            realm.tenant,
            realm.environment,
            format!("token:{token}"),
            "usd",
            "total",
            null,
            null,
            null,
            null
        ]);
        let mut lines = Lines::none();
        lines.push(Line {
            subject: Subject::Tenant,
            own: false,
            unit: "usd".parse().unwrap(),
            window: Window::Total,
            period: Period::FOR_EVER,
            limit: 100_000,
            amount: 1_250,
            counter: CounterKey { name: name.to_string(), start: Millis(0) },
        });
        let reservation = Reservation {
            id: id.clone(),
            realm: realm.clone(),
            connection: Some("stripe".parse().unwrap()),
            operation: Some("create_charge".parse().unwrap()),
            cost: Some(Cost { amount_minor: 1_250, currency: "usd".to_owned() }),
            lines,
            dedup: None,
            at: self.now(),
        };
        self.trail
            .ledger(&mut |tx| {
                assert_eq!(ledger::reserve(tx, &reservation)?, Reserved::Yes);
                if let Some(how) = how {
                    ledger::finish(tx, &id, how, None, None)?;
                }
                Ok(())
            })
            .unwrap();
        id
    }

    async fn standing(&self, key: &str) -> Vec<Value> {
        let list = self.get("/v1/budgets", key).await.json();
        list["budgets"].as_array().unwrap().clone()
    }
}

/// A host, its operator's key, and a token with a budget of 50.00 USD: one charge settled, two held, one under way.
async fn spent() -> (Host, String, [ReservationId; 4]) {
    let host = Host::start();
    let (_, key) = host.token(TokenKind::Operator);
    let budget = serde_json::from_value(json!({ "limit": 5000, "unit": "usd", "window": "total" })).unwrap();
    let grant = Grant { budgets: vec![budget], ..Grant::default() };
    let (token, _) = host.token_with("acme", TokenKind::Agent, grant);
    let ids = [
        host.spent("acme", token.as_str(), 1, Some(Settlement::Settle { confirmed: None })),
        host.spent("acme", token.as_str(), 2, Some(Settlement::Hold)),
        host.spent("acme", token.as_str(), 3, Some(Settlement::Hold)),
        host.spent("acme", token.as_str(), 4, None),
    ];
    (host, key, ids)
}

#[tokio::test]
async fn what_is_spent_held_and_left_is_listed() {
    let (host, key, ids) = spent().await;
    let all = host.standing(&key).await;
    assert_eq!(all.len(), 1);
    let of = |member: &str| all[0][member].as_i64().unwrap();
    assert_eq!(["spent", "under_way", "held", "limit", "left"].map(of), [1_250, 1_250, 2_500, 5_000, 0]);
    let held = host.get("/v1/budgets/held", &key).await.json();
    let listed: Vec<_> =
        held["held"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap()).collect();
    let mut known = [ids[1].to_string(), ids[2].to_string()];
    known.sort();
    assert_eq!((listed.len(), &held["more"]), (2, &json!(false)));
    assert!(known.iter().all(|id| listed.contains(&id.as_str())), "{held:#}");
    let oldest = host.get("/v1/budgets/held?limit=1", &key).await.json();
    assert_eq!((&oldest["held"], &oldest["more"]), (&json!([held["held"][0]]), &json!(true)));
}

#[tokio::test]
async fn an_operator_s_word_on_what_is_held_counts_once_and_is_on_record() {
    let (host, key, ids) = spent().await;
    let post = |id: &ReservationId, word: &str, body: &'static str| {
        let path = format!("/v1/budgets/held/{id}/{word}");
        let (host, key) = (&host, key.clone());
        async move { host.ask("POST", &path, &key, body).await }
    };
    let done = post(&ids[1], "settle", r#"{"amount":900}"#).await.json();
    assert_eq!((&done["became"], &done["amount"]), (&json!("settled"), &json!(900)), "{done}");
    let done = post(&ids[2], "release", "").await.json();
    assert_eq!((&done["became"], &done["amount"]), (&json!("released"), &json!(1_250)), "{done}");
    let all = host.standing(&key).await;
    assert_eq!(
        (&all[0]["spent"], &all[0]["held"], &all[0]["left"]),
        (&json!(2_150), &json!(0), &json!(1_600))
    );
    for id in &ids[..3] {
        post(id, "settle", "").await.problem(404, "not_found");
    }
    post(&ids[3], "release", "").await.problem(403, "denied");
    let trail = host.get("/v1/audit", &key).await.json();
    let acts: Vec<_> = trail["rows"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["action"].as_str().is_some_and(|action| action.starts_with("budget.")))
        .map(|row| format!("{} {}", row["action"].as_str().unwrap(), row["subject"].as_str().unwrap()))
        .collect();
    let wanted =
        [format!("budget.release {} 12.50 USD", ids[2]), format!("budget.settle {} 9.00 USD", ids[1])];
    assert_eq!(acts, wanted, "newest first");
}

#[tokio::test]
async fn what_can_not_be_looked_up_stays_held_and_says_why() {
    let (host, key, ids) = spent().await;
    let path = |id: &ReservationId| format!("/v1/budgets/held/{id}/reconcile");
    let answer = host.ask("POST", &path(&ids[1]), &key, "").await.json();
    let wanted = json!({
        "id": ids[1], "became": "held", "amount": 1_250, "currency": "usd",
        "why": "there is no connection stripe any more", "call": null,
    });
    assert_eq!(answer, wanted);
    assert_eq!(host.standing(&key).await[0]["held"], 2_500);
    host.ask("POST", &path(&ids[0]), &key, "").await.problem(404, "not_found");
    host.ask("POST", &path(&ids[3]), &key, "").await.problem(403, "denied");
    let (_, agent) = host.token(TokenKind::Agent);
    host.ask("POST", &path(&ids[1]), &agent, "").await.problem(403, "denied");
    let (_, rival) = host.token_in("rival", TokenKind::Operator);
    host.ask("POST", &path(&ids[1]), &rival, "").await.problem(404, "not_found");
}

#[tokio::test]
async fn another_tenant_s_money_does_not_exist_and_agents_see_none() {
    let (host, key, ids) = spent().await;
    let (_, rival) = host.token_in("rival", TokenKind::Operator);
    let (_, agent) = host.token(TokenKind::Agent);
    assert_eq!(host.standing(&rival).await, [json!(null); 0]);
    assert_eq!(host.get("/v1/budgets/held", &rival).await.json(), json!({ "held": [], "more": false }));
    let settle = format!("/v1/budgets/held/{}/settle", ids[1]);
    let absent = host.ask("POST", &settle.replace(".2/", ".9/"), &rival, "").await;
    absent.problem(404, "not_found");
    assert_eq!(host.ask("POST", &settle, &rival, "").await, absent);
    for path in [LEDGER[0], LEDGER[1]] {
        host.get(path, &agent).await.problem(403, "denied");
        host.get(path, "").await.problem(401, "unauthorized");
    }
    host.ask("POST", &settle, &agent, "").await.problem(403, "denied");
    host.ask("POST", LEDGER[2], &key, "").await.problem(404, "not_found");
    assert_eq!(host.standing(&key).await[0]["held"], 2_500, "nothing has changed");
}

#[tokio::test]
async fn what_makes_no_sense_or_can_not_be_recorded_changes_nothing() {
    let (host, key, ids) = spent().await;
    let settle = format!("/v1/budgets/held/{}/settle", ids[1]);
    let release = format!("/v1/budgets/held/{}/release", ids[1]);
    for (path, body) in [
        (&settle, r#"{"amount":-1}"#),
        (&settle, r#"{"amount":1.5}"#),
        (&settle, r#"{"amount":9223372036854775808}"#),
        (&settle, r#"{"sum":1}"#),
        (&settle, "nothing"),
        (&release, r#"{"amount":1}"#),
    ] {
        host.ask("POST", path, &key, body).await.problem(400, "bad_request");
    }
    host.get("/v1/budgets?limit=0", &key).await.problem(400, "bad_request");
    host.get("/v1/budgets?tenant=rival", &key).await.problem(400, "bad_request");
    host.get("/v1/budgets/held?limit=0", &key).await.problem(400, "bad_request");
    host.trail.fill_up();
    host.ask("POST", &settle, &key, "").await.problem(503, "audit_unavailable");
    assert_eq!(host.standing(&key).await[0]["held"], 2_500);
}
