//! `cargo xtask …`: the chores of this repository.
//!
//! | command | what it does |
//! |---|---|
//! | `demo` | shows the main job from end to end, with a real AutoGen agent and a fake Stripe |
//! | `test [STEP…]` | everything that has to hold before a change goes in; `.ci/run` calls it |
//! | `bench` | what a call costs |
//! | `tidy` | formats, then lints |
//! | `setup` | what `demo` and `test` do first: targets, builds, components, Python packages |
//!
//! Every command can be run again at any time: what is already there is kept. Everything made lies below the
//! target directory, and Ctrl-C leaves nothing running.

mod bench;
mod demo;
mod failure;
mod place;
mod program;
mod scratch;
mod setup;
mod step;
mod test;
mod tidy;

use std::process::ExitCode;

use failure::{Failure, Outcome};
use place::Place;
use setup::Extent;

const USAGE: &str = "usage: cargo xtask demo | test [STEP…] | bench | tidy | setup";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure @ Failure::Counted) => failure.exit_code(),
        Err(failure) => {
            eprintln!("\n{failure}");
            failure.exit_code()
        }
    }
}

fn run(arguments: &[String]) -> Outcome<()> {
    let (command, rest) = arguments.split_first().ok_or_else(|| Failure::usage(USAGE))?;
    if !rest.is_empty() && command != "test" {
        return Err(Failure::usage(USAGE));
    }
    program::handle_interrupts()?;
    let place = Place::find()?;
    match command.as_str() {
        "demo" => demo::run(&place),
        "test" => test::run(&place, rest),
        "bench" => bench::run(&place),
        "tidy" => tidy::run(&place),
        "setup" => setup::run(&place, Extent::Tests).map(drop),
        _ => Err(Failure::usage(USAGE)),
    }
}
