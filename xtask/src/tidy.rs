//! `cargo xtask tidy`: formats the code, then lints it.

use crate::failure::Outcome;
use crate::place::Place;
use crate::step::Step;
use crate::test;

/// Formats everything and shows what clippy has to say.
pub(crate) fn run(place: &Place) -> Outcome<()> {
    let mut format = Step::begin("format");
    let mut command = place.cargo();
    command.args(["fmt", "--all"]);
    format.must(place, command, "Cargo's message above says which file can't be parsed.")?;
    format.passed("");

    let mut lints = Step::begin("lints");
    lints.must(place, test::clippy(place), "Each lint above names its line and mostly the remedy.")?;
    lints.passed("");
    Ok(())
}
