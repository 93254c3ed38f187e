//! `cargo xtask test`: everything that has to hold. A step that fails doesn't keep the others from running.

mod memory;
mod tally;

use std::path::PathBuf;
use std::process::Command;

use crate::failure::{Failure, Outcome};
use crate::place::Place;
use crate::scratch::Scratch;
use crate::setup::{self, Extent, FRAMEWORKS, Made};
use crate::step::{Step, show};
use tally::Tally;

/// A step: its name, what it is, and what runs it.
struct Check {
    name: &'static str,
    title: &'static str,
    command: fn(&Place, &Made) -> Outcome<Command>,
    count: fn(&str) -> Option<Tally>,
}

/// The most processes that the end-to-end tests run in: more have nothing to do while the longest file runs.
const WORKERS_MAX: usize = 6;

const CHECKS: &[Check] = &[
    Check { name: "format", title: "format", command: |place, _| Ok(format(place)), count: tally::one },
    Check { name: "lints", title: "lints", command: |place, _| Ok(clippy(place)), count: tally::one },
    Check { name: "rust", title: "Rust tests", command: |place, _| rust(place), count: tally::of_rust },
    Check {
        name: "doctests",
        title: "examples in the docs",
        command: |place, _| Ok(doctests(place)),
        count: tally::one,
    },
    Check { name: "fixtures", title: "fixtures of the tools", command: fixtures, count: tally::of_fixtures },
    // Apart from the tools: a guest that loops takes time from all that runs beside it.
    Check {
        name: "guests",
        title: "fixtures of the hostile guests",
        command: guests,
        count: tally::of_fixtures,
    },
    Check {
        name: "python",
        title: "end to end with agents and Stripe's SDK",
        command: |place, _| pytest(place),
        count: tally::of_pytest,
    },
    Check { name: "demo", title: "the demo", command: |place, _| Ok(demo(place)), count: tally::one },
    Check {
        name: "docs",
        title: "docs without warnings",
        command: |place, _| Ok(docs(place)),
        count: tally::one,
    },
];

/// Runs the steps named, or all.
pub(crate) fn run(place: &Place, only: &[String]) -> Outcome<()> {
    let wanted = |name: &str| only.is_empty() || only.iter().any(|step| step == name);
    if let Some(unknown) = only.iter().find(|name| !CHECKS.iter().any(|check| check.name == *name)) {
        let known: Vec<_> = CHECKS.iter().map(|check| check.name).collect();
        return Err(Failure::Told(format!("no step {unknown}; there are: {}", known.join(", "))));
    }
    let made = setup::run(place, if wanted("python") { Extent::Tests } else { Extent::Demo })?;
    println!("\nTests");
    let scratch = memory::scratch();
    let mut total = Tally::default();
    let mut failed = Vec::new();
    for check in CHECKS.iter().filter(|check| wanted(check.name)) {
        let tally = check.run(place, &made, scratch.as_ref())?;
        if tally.failed > 0 {
            failed.push(check.title);
        }
        total = total + tally;
    }

    println!();
    if !failed.is_empty() {
        println!("failed: {}", failed.join(", "));
    }
    // Test runners are read by their last line.
    println!("{} passed, {} failed", total.passed, total.failed);
    if failed.is_empty() { Ok(()) } else { Err(Failure::Counted) }
}

impl Check {
    fn run(&self, place: &Place, made: &Made, scratch: Option<&Scratch>) -> Outcome<Tally> {
        let mut step = Step::begin(self.title);
        let mut command = (self.command)(place, made)?;
        if let Some(scratch) = scratch {
            command.env("TMPDIR", scratch.folder());
        }
        let shown = show(&command);
        let ran = step.run(place, command)?;
        let tally = match (ran.ok, (self.count)(&ran.output)) {
            (true, Some(tally)) if tally.passed > 0 && tally.failed == 0 => {
                step.passed(&tally.note());
                return Ok(tally);
            }
            // A runner that says nothing, or that ran nothing, has tested nothing.
            (true, _) => Tally { passed: 0, failed: 1 },
            (false, counted) => {
                let tally = counted.unwrap_or_default();
                Tally { failed: tally.failed.max(1), ..tally }
            }
        };
        step.failed(&tally.note());
        if ran.ok {
            println!("it ended well, but no test was run, or its summary can't be read");
        }
        println!("{}\n\nfailed: {shown}\nall of its output: {}\n", ran.tail(), ran.log.display());
        Ok(tally)
    }
}

fn format(place: &Place) -> Command {
    cargo(place, &["fmt", "--all", "--check"])
}

/// Clippy over everything, warnings denied.
pub(crate) fn clippy(place: &Place) -> Command {
    cargo(
        place,
        &["clippy", "--locked", "--workspace", "--all-targets", "--quiet", "--", "--deny", "warnings"],
    )
}

fn rust(place: &Place) -> Outcome<Command> {
    let nextest =
        Command::new("cargo-nextest").arg("--version").output().is_ok_and(|output| output.status.success());
    let mut command = if nextest {
        cargo(place, &["nextest", "run", "--locked", "--workspace", "--no-fail-fast"])
    } else {
        cargo(place, &["test", "--locked", "--workspace", "--all-targets", "--no-fail-fast"])
    };
    command.env("KEYBEARER_TEST_COMPONENTS", place.target.join("xtask"));
    place.keep_caches(&mut command)?;
    Ok(command)
}

fn doctests(place: &Place) -> Command {
    cargo(place, &["test", "--locked", "--workspace", "--doc"])
}

fn fixtures(place: &Place, made: &Made) -> Outcome<Command> {
    tool_test(place, "tools", made.tools.iter().chain([&made.sandbox]))
}

/// Those guests that load: the others have nothing that could be called.
fn guests(place: &Place, made: &Made) -> Outcome<Command> {
    let has_fixtures = |component: &&PathBuf| {
        let folder = component.file_stem().unwrap_or_default();
        place.root.join("tests/guests").join(folder).join("fixtures").is_dir()
    };
    tool_test(place, "tests/guests", made.guests.iter().filter(has_fixtures))
}

fn tool_test<'a>(
    place: &Place,
    folder: &str,
    components: impl IntoIterator<Item = &'a PathBuf>,
) -> Outcome<Command> {
    let mut command = place.host()?;
    command.args(["tool", "test", folder]);
    for component in components {
        command.arg("--component").arg(component);
    }
    Ok(command)
}

fn pytest(place: &Place) -> Outcome<Command> {
    let mut command = place.command(place.python());
    command.args(["-m", "pytest", "tests/python", "--quiet", "--color=no", "-p", "no:cacheprovider"]);
    // The tests of a file share fixtures; the files come in the order that conftest.py puts them in.
    command
        .args(["--dist", "loadfile", "--no-loadscope-reorder", "--numprocesses"])
        .arg(workers().to_string());
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command.env("KEYBEARER_BIN", place.built("keybearer"));
    command.env("KEYBEARER_TLS_FRONT_BIN", place.built("keybearer-tls-front"));
    command.env("KEYBEARER_TEST_COMPONENTS", place.target.join("xtask"));
    for environment in &FRAMEWORKS {
        command.env(environment.variable(), place.venv(environment));
    }
    place.keep_caches(&mut command)?;
    Ok(command)
}

/// One more than there are cores, since many a test waits; each costs the start of its hosts.
fn workers() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (cores + 1).min(WORKERS_MAX)
}

/// This program again, as it lies there now: it fails where it doesn't show what it should.
fn demo(place: &Place) -> Command {
    let mut command = place.command(place.built("xtask"));
    command.arg("demo");
    command
}

fn docs(place: &Place) -> Command {
    let mut command = cargo(place, &["doc", "--locked", "--workspace", "--no-deps"]);
    command.env("RUSTDOCFLAGS", "--deny warnings");
    command
}

fn cargo(place: &Place, arguments: &[&str]) -> Command {
    let mut command = place.cargo();
    command.args(arguments).env("CARGO_TERM_COLOR", "never").env("NO_COLOR", "1");
    command
}
