//! `cargo xtask bench`: what a call costs.

use std::process::Command;

use crate::failure::{Failure, Outcome};
use crate::place::Place;
use crate::program::Program;
use crate::setup::{self, Extent, Made};
use crate::step::Step;

/// What the bench is built with besides the one profile: what runs hot in tests is optimised anyway, the rest and our own
/// crates are built once more, and so is SQLite.
const OPTIMISED: &[&str] = &[
    "profile.dev.opt-level=3",
    "profile.dev.debug-assertions=false",
    "profile.dev.package.libsqlite3-sys.opt-level=3",
    "build.incremental=false",
];

/// Runs the benchmarks and prints their table.
pub(crate) fn run(place: &Place) -> Outcome<()> {
    let made = setup::run(place, Extent::Demo)?;
    println!("\nBenchmarks");
    build(place)?;
    let mut bench = place.command(place.built("keybearer-bench"));
    bench.arg("all").arg(place.folder("tools")?).arg(place.folder("bench")?);
    for program in [bench, executors(place, &made)?] {
        if !Program::start(program)?.wait()?.success() {
            return Err(Failure::Told("the benchmarks broke down; the message is above".into()));
        }
    }
    Ok(())
}

/// The sandbox over HTTP beside AutoGen's local executor, against a throw-away host.
fn executors(place: &Place, made: &Made) -> Outcome<Command> {
    let mut dev = place.host()?;
    dev.args(["dev", "--sandbox"]).arg(&made.sandbox).arg("--").arg(place.python());
    dev.arg("tests/bench/executors.py").env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(dev)
}

/// Builds the bench, and the host that the executors are measured against, all of it optimised.
fn build(place: &Place) -> Outcome<()> {
    let mut step = Step::begin("bench, optimised: minutes, the first time");
    let mut build = place.cargo();
    // With `-p` Cargo would choose other features for the dependencies, and build them all again.
    build.args(["build", "--locked", "--workspace", "--bin", "keybearer-bench", "--bin", "keybearer"]);
    for setting in OPTIMISED {
        build.args(["--config", setting]);
    }
    step.must(place, build, "The compiler's message above says what is wrong.")?;
    step.passed("");
    Ok(())
}
