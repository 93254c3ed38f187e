//! One corpus of verdicts, the same at every door: `tests/golden/governance.md`.
//!
//! ```text
//! governance.md ─ table ─ row ─┬─ steps   what happened before, then the request
//!   policies.cedar             │    └─ ways   the tool door · the door for code · the proxy door · the enforcement point
//!   connections/*.toml         └─ world   a host of its own for each row and door
//! ```

mod ask;
mod guest;
mod row;
mod steps;
mod table;
mod upstream;
mod ways;
mod world;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use row::Corpus;
use steps::Running;
use world::World;

/// What the nearest systems got wrong, or right, that concerns policy, budgets or approvals.
const PEERS: &[&str] = &[
    "Intercept: a charge whose outcome isn't known frees its budget",
    "LiteLLM: check-then-increment races",
    "clawpatrol: good: an approval is consumed once",
    "clawpatrol: good: bound to the exact request",
    "clawpatrol: good: truncated or unparseable input fails closed",
    "clawpatrol: good: what can't be evaluated fails closed",
    "ironclaw: approvals passed by a newline",
    "ironclaw: budget 0 = unlimited",
    "nono: a denied approval was forwarded all the same",
    "obelisk: policy on the raw path",
    "onecli: only the first 16 KB of a body is checked",
    "onecli: unknown operators count as matched",
    "wassette: the agent can grant itself permissions",
];

/// The corpus may grow, and not shrink.
const ROWS_MIN: usize = 620;

fn corpus() -> Corpus {
    let file = world::golden().join("governance.md");
    Corpus::of(table::read(&std::fs::read_to_string(file).unwrap()))
}

/// Runs the rows whose ids begin with one of these letters, each at each of its doors.
async fn rows(letters: &str) {
    let corpus = corpus();
    let mut wrong = String::new();
    for row in corpus.rows.iter().filter(|row| letters.contains(row.letter())) {
        let mut said = Vec::new();
        for way in &row.doors {
            let world = World::new(row, &corpus);
            said.push((way, Running::new(&world, row, *way).run().await));
        }
        if said.iter().all(|(_, result)| result.is_ok()) {
            continue;
        }
        let _ = writeln!(wrong, "{}: {:?} was expected", row.id, row.verdict);
        for (way, result) in said {
            let _ = writeln!(wrong, "    {way:?}: {}", result.err().as_deref().unwrap_or("as expected"));
        }
    }
    assert!(wrong.is_empty(), "rows are wrong\n{wrong}");
}

macro_rules! rows {
    ($($name:ident = $letters:literal;)+) => {
        $(
            #[tokio::test]
            async fn $name() {
                rows($letters).await;
            }
        )+

        /// The letters of all rows that are run.
        const LETTERS: &str = concat!($($letters),+);
    };
}

rows! {
    grants_walls_and_policies = "GEP";
    parameters_and_conditions = "LXC";
    malformed_requests = "M";
    conversations_times_and_kill_switches = "TWK";
    budgets = "B";
    currencies_settlements_refunds_and_rates = "YSFR";
    writes_made_again = "D";
    approvals = "A";
    calls_and_code = "N";
    delegation_and_what_agents_may_not_change = "HO";
}

#[test]
fn the_corpus_holds_what_it_has_to() {
    let rows = corpus().rows;
    assert!(rows.len() >= ROWS_MIN, "{} rows", rows.len());
    let ids: BTreeSet<_> = rows.iter().map(|row| &row.id).collect();
    assert_eq!(ids.len(), rows.len(), "an id is there twice");
    assert!(rows.iter().all(|row| LETTERS.contains(row.letter())), "a row that no test runs");
    assert!(rows.iter().all(|row| !row.doors.is_empty()), "a row without a door");
    let named: BTreeSet<_> = rows.iter().filter_map(|row| row.peer.as_deref()).collect();
    assert_eq!(named, PEERS.iter().copied().collect(), "a peer's case is missing, or isn't listed here");
}

/// A policy that no row has in force is one that nobody has tried.
#[test]
fn every_policy_and_budget_is_tried() {
    let corpus = corpus();
    let used = |name: &str| {
        corpus.rows.iter().any(|row| {
            row.rules.iter().any(|rule| rule == name)
                || row.before.iter().any(|step| step.strip_prefix("posted ") == Some(name))
        })
    };
    let budgets = corpus.budgets.iter().map(|(name, _)| name.clone());
    let policies = world::policy_ids().filter(|id| !id.starts_with("base-")).map(str::to_owned);
    let unused: Vec<_> = policies.chain(budgets).filter(|name| !used(name)).collect();
    assert!(unused.is_empty(), "{unused:?}");
    let acts = |name: &String| corpus.rows.iter().any(|row| row.who == *name);
    let idle: Vec<_> = corpus.actors.iter().filter(|actor| !acts(&actor.name)).collect();
    assert!(idle.is_empty(), "{idle:?}");
}
