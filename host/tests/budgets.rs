//! `keybearer budget` on a home whose ledger holds what a host left.

use std::path::Path;
use std::process::{Command, Output};

use keybearer::clock::{Clock as _, Millis, SystemClock};
use keybearer::connection::{Connections, Cost, Effect};
use keybearer::ids::{CallId, Realm, ReservationId};
use keybearer::ledger::{self, Budgets, Customer, Link, Reservation, Reserved, Settlement, SpendFacts};
use keybearer::store::LedgerStore as _;
use keybearer::store::sqlite::SqliteAudit;
use serde_json::{Value, json};
use tempfile::TempDir;

const BUDGETS: &str = r#"
[[budget]]
subject = "each agent"
unit = "usd"
window = "total"
limit = 5000

[[budget]]
subject = "tenant"
unit = "requests"
window = "at_once"
limit = 3
"#;

fn kb(home: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keybearer"));
    command.arg("--home").arg(home).args(arguments).output().unwrap()
}

fn succeed(home: &Path, arguments: &[&str]) -> String {
    let output = kb(home, arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A home with budgets, and three reservations of 12.50 USD: the first settled, the second held, the third under way.
fn home() -> (TempDir, [ReservationId; 3]) {
    let home = TempDir::new().unwrap();
    succeed(home.path(), &["init"]);
    std::fs::write(home.path().join("budgets.toml"), BUDGETS).unwrap();
    let now = SystemClock.now();
    let ids = [1, 2, 3].map(|send| ReservationId { call: CallId::fresh(now), send });
    let store = SqliteAudit::open(&home.path().join("audit.db")).unwrap();
    store
        .ledger(&mut |tx| {
            for id in &ids {
                assert_eq!(ledger::reserve(tx, &reservation(id, now))?, Reserved::Yes);
            }
            ledger::finish(tx, &ids[0], Settlement::Settle { confirmed: None }, Some(200), None)?;
            ledger::finish(tx, &ids[1], Settlement::Hold, None, None)?;
            Ok(())
        })
        .unwrap();
    (home, ids)
}

fn reservation(id: &ReservationId, at: Millis) -> Reservation {
    let budgets = Budgets::parse(BUDGETS, "budgets.toml", &Connections::default()).unwrap();
    let realm = Realm { tenant: "default".parse().unwrap(), environment: "production".parse().unwrap() };
    let cost = Cost { amount_minor: 1_250, currency: "usd".to_owned() };
    let (token, agent) = ("tok_000000000000000000000001".parse().unwrap(), "billing".parse().unwrap());
    let chain = [Link { token: &token, agent: &agent, role: None, budgets: &[] }];
    let (connection, operation) = ("stripe".parse().unwrap(), "create_charge".parse().unwrap());
    let facts = SpendFacts {
        realm: &realm,
        conversation: None,
        chain: &chain,
        connection: &connection,
        operation: &operation,
        effect: Effect::Write,
        settles: false,
        customer: Customer::NotConcerned,
        cost: Some(&cost),
        now: at,
    };
    let lines = budgets.lines(&facts).unwrap();
    Reservation {
        id: id.clone(),
        realm: realm.clone(),
        connection: Some(connection.clone()),
        operation: Some(operation.clone()),
        cost: Some(cost.clone()),
        lines,
        dedup: None,
        at,
    }
}

#[test]
fn what_is_held_is_listed_and_an_operator_s_word_is_recorded() {
    let (home, ids) = home();
    let home = home.path();
    let table = succeed(home, &["budget", "list"]);
    let agent = table.lines().find(|line| line.contains("agent:billing")).unwrap();
    let cells: Vec<_> = agent.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
    let expected = [
        "default/production",
        "agent:billing",
        "all",
        "total",
        "12.50 USD",
        "12.50 USD",
        "12.50 USD",
        "50.00 USD",
        "12.50 USD",
    ];
    assert_eq!(cells, expected, "{table}");

    let held: Value = serde_json::from_str(&succeed(home, &["budget", "list", "--held", "--json"])).unwrap();
    assert_eq!((held.as_array().unwrap().len(), &held[0]["id"]), (1, &json!(ids[1].to_string())), "{held}");
    assert_eq!(held[0]["cost"], json!({ "amount_minor": 1250, "currency": "usd" }));

    let unclear: Value =
        serde_json::from_str(&succeed(home, &["budget", "reconcile", &ids[1].to_string(), "--json"]))
            .unwrap();
    assert_eq!((&unclear[0]["became"], &unclear[0]["amount"]), (&json!("held"), &json!(1_250)), "{unclear}");
    assert_eq!(unclear[0]["why"], "there is no connection stripe any more");
    let none = kb(home, &["budget", "reconcile"]);
    assert!(String::from_utf8_lossy(&none.stderr).contains("nothing is held that"), "{none:?}");
    let unknown = kb(home, &["budget", "reconcile", &ids[0].to_string()]);
    assert!(
        String::from_utf8_lossy(&unknown.stderr).contains("nothing is held under this id"),
        "{unknown:?}"
    );

    let under_way = kb(home, &["budget", "release", &ids[2].to_string()]);
    assert_eq!(under_way.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&under_way.stderr).contains("is under way"), "{under_way:?}");
    for (amount, code, said) in [
        ("18446744073709551615", 2, "9223372036854775807"),
        ("90000", 1, "900.00 USD is more than the 12.50 USD that were reserved"),
    ] {
        let slip = kb(home, &["budget", "settle", &ids[1].to_string(), "--amount", amount]);
        assert_eq!(slip.status.code(), Some(code), "{slip:?}");
        assert!(String::from_utf8_lossy(&slip.stderr).contains(said), "{slip:?}");
    }
    let told = succeed(home, &["budget", "settle", &ids[1].to_string(), "--amount", "900"]);
    assert!(told.contains("9.00 USD"), "{told}");
    let again = kb(home, &["budget", "settle", &ids[1].to_string()]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("nothing is held under"), "{again:?}");

    let rows: Value = serde_json::from_str(&succeed(home, &["budget", "list", "--json"])).unwrap();
    let agent = rows.as_array().unwrap().iter().find(|row| row["subject"] == "agent:billing").unwrap();
    assert_eq!((&agent["spent"], &agent["held"], &agent["left"]), (&json!(2150), &json!(0), &json!(1600)));
    let audit: Value = serde_json::from_str(&succeed(home, &["audit", "list", "--json"])).unwrap();
    let last = audit.as_array().unwrap().last().unwrap();
    assert_eq!(last["action"], "budget.settle");
    assert_eq!(last["subject"], format!("{} 9.00 USD", ids[1]));
}

#[test]
fn more_than_was_reserved_is_settled_where_that_is_meant() {
    let (home, ids) = home();
    let settle = ["budget", "settle", &ids[1].to_string(), "--amount", "1300"];
    assert_eq!(kb(home.path(), &settle).status.code(), Some(1));
    let told = succeed(home.path(), &[&settle[..], &["--yes"]].concat());
    assert!(told.contains("13.00 USD"), "{told}");
}

#[test]
fn a_file_with_slips_is_a_problem_with_its_place() {
    let (home, _) = home();
    assert!(succeed(home.path(), &["budget", "check"]).contains("2 budgets: all well"));
    std::fs::write(home.path().join("budgets.toml"), BUDGETS.replace("5000", "-1")).unwrap();
    let output = kb(home.path(), &["budget", "check"]);
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("budgets.toml:6:9: limit: a limit isn't negative"), "{said}");
    let list = kb(home.path(), &["budget", "list"]);
    assert_eq!(list.status.code(), Some(1), "limits that can't be read aren't shown as none: {list:?}");
}
