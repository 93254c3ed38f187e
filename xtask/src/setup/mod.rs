//! What `demo` and `test` need before they start. Every step finds out by itself whether there's anything to do.

mod components;
mod python;
mod sandbox;
mod stamp;

use std::path::PathBuf;

pub(crate) use python::{Environment, FRAMEWORKS, MAIN};

use python::Environments;

use crate::failure::{Failure, Outcome};
use crate::place::Place;
use crate::step::Step;

const WASM_TARGET: &str = "wasm32-unknown-unknown";

/// What the set-up made.
pub(crate) struct Made {
    /// The components of `tools/`, by name.
    pub tools: Vec<PathBuf>,
    /// The components of `tests/guests/`, by name.
    pub guests: Vec<PathBuf>,
    /// The component that runs Python.
    pub sandbox: PathBuf,
}

/// How much there is to set up.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// What the demo needs.
    Demo,
    /// What the tests need besides: the component of a guide, and the other agent frameworks.
    Tests,
}

/// Sets up what is needed. The Python packages are installed while the rest is built.
pub(crate) fn run(place: &Place, extent: Extent) -> Outcome<Made> {
    println!("Set-up (in {})", place.target.display());
    let frameworks = if extent == Extent::Tests { FRAMEWORKS.as_slice() } else { &[] };
    let environments = Environments::begin(place, std::iter::once(&MAIN).chain(frameworks).collect())?;
    wasm_target(place)?;
    programs(place, extent)?;
    let tools = components::build(place, "tools", "tools", &[])?;
    // No host takes one of them, which is what it's for.
    let guests = components::build(place, "tests/guests", "hostile guests", &["--unchecked"])?;
    if extent == Extent::Tests {
        components::build(place, "examples/migration", "the guide to migration", &[])?;
    }
    let sandbox = sandbox::build(place)?;
    environments.finish(place)?;
    Ok(Made { tools, guests, sandbox })
}

fn wasm_target(place: &Place) -> Outcome<()> {
    let mut step = Step::begin(format!("Rust target {WASM_TARGET}"));
    let mut ask = place.command("rustc");
    ask.args(["--print", "target-libdir", "--target", WASM_TARGET]);
    let libraries = step.must(place, ask, "Is Rust installed?")?;
    if PathBuf::from(libraries.trim()).is_dir() {
        step.passed("");
        return Ok(());
    }
    let mut add = place.command("rustup");
    add.args(["target", "add", WASM_TARGET]);
    step.must(
        place,
        add,
        "Without rustup, install the standard library for wasm32-unknown-unknown of the same Rust version \
         in another way.",
    )?;
    step.passed("added");
    Ok(())
}

/// One build for both the demo and the tests: the same profile and the same packages, since Cargo builds a dependency
/// with the features that all packages together ask for. What tests alone need is built along with the rest: it would take
/// one core for a minute if it came last.
fn programs(place: &Place, extent: Extent) -> Outcome<()> {
    let first = !place.built("keybearer-tls-front").is_file();
    let mut step = Step::begin(if first {
        "host and test programs: minutes, this once"
    } else {
        "host and test programs"
    });
    let mut build = place.cargo();
    build.args(["build", "--locked", "--workspace", "--bins"]);
    if extent == Extent::Tests {
        build.arg("--all-targets");
    }
    step.must(
        place,
        build,
        "If a linker or C compiler is missing: Debian's package build-essential has both.",
    )?;
    if !place.built("keybearer").is_file() {
        let wanted = place.built("keybearer");
        return Err(Failure::Told(format!(
            "Cargo didn't put the host where it's looked for: {}",
            wanted.display()
        )));
    }
    step.passed("");
    Ok(())
}
