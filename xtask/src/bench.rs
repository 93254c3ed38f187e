//! `cargo xtask bench`: what a call costs.

use crate::failure::{Failure, Outcome};
use crate::place::Place;
use crate::program::Program;
use crate::setup;
use crate::step::Step;

/// What the bench is built with besides the one profile: dependencies are optimised anyway, so only our own crates
/// are built once more.
const OPTIMISED: &[(&str, &str)] = &[
    ("CARGO_PROFILE_DEV_OPT_LEVEL", "3"),
    ("CARGO_PROFILE_DEV_DEBUG_ASSERTIONS", "false"),
    ("CARGO_INCREMENTAL", "0"),
];

/// Runs the benchmarks and prints their table.
pub(crate) fn run(place: &Place) -> Outcome<()> {
    setup::run(place)?;
    println!("\nBenchmarks");
    build(place)?;
    let mut bench = place.command(place.built("keybearer-bench"));
    bench.arg("all").arg(place.folder("tools")?).arg(place.folder("bench")?);
    if Program::start(bench)?.wait()?.success() {
        Ok(())
    } else {
        Err(Failure::Told("the benchmarks broke down; the message is above".into()))
    }
}

/// Builds the bench with our own crates optimised.
fn build(place: &Place) -> Outcome<()> {
    let mut step = Step::begin("bench, optimised");
    let mut build = place.cargo();
    // With `-p` Cargo would choose other features for the dependencies, and build them all again.
    build.args(["build", "--locked", "--workspace", "--bin", "keybearer-bench"]);
    build.envs(OPTIMISED.iter().copied());
    step.must(place, build, "The compiler's message above says what is wrong.")?;
    step.passed("");
    Ok(())
}
