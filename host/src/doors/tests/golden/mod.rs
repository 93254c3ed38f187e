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

use row::{Corpus, Way};
use steps::Running;
use world::World;

/// What the nearest systems got wrong, each of which the corpus tries: project and slip.
const PEERS: &[&str] = &[];

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
