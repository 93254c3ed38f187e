//! One corpus of verdicts, the same at every door: `tests/golden/governance.md`.
//!
//! ```text
//! governance.md ─ table ─ row ─┬─ steps   what happened before, then the request
//!   policies.cedar             │    └─ ways   the tool door · the proxy door · the enforcement point
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

use row::{Corpus, Way};
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
const ROWS_MIN: usize = 480;

fn corpus() -> Corpus {
    let file = world::golden().join("governance.md");
    Corpus::of(table::read(&std::fs::read_to_string(file).unwrap()))
}

async fn every_row_at(way: Way) {
    let corpus = corpus();
    let mut wrong = Vec::new();
    for row in corpus.rows.iter().filter(|row| row.doors.contains(&way)) {
        let world = World::new(row, &corpus);
        if let Err(said) = Running::new(&world, row, way).run().await {
            wrong.push(format!("{} at the {way:?} door: {:?} was expected; {said}", row.id, row.verdict));
        }
    }
    assert!(wrong.is_empty(), "{} rows are wrong\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn verdicts_at_the_tool_door() {
    every_row_at(Way::Tool).await;
}

#[tokio::test]
async fn verdicts_at_the_proxy_door() {
    every_row_at(Way::Proxy).await;
}

#[tokio::test]
async fn verdicts_at_the_enforcement_point() {
    every_row_at(Way::Enforce).await;
}

#[tokio::test]
async fn verdicts_at_the_other_doors() {
    every_row_at(Way::Http).await;
}

#[test]
fn the_corpus_holds_what_it_has_to() {
    let rows = corpus().rows;
    assert!(rows.len() >= ROWS_MIN, "{} rows", rows.len());
    let ids: BTreeSet<_> = rows.iter().map(|row| &row.id).collect();
    assert_eq!(ids.len(), rows.len(), "an id is there twice");
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
