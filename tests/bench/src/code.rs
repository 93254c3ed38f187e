//! Python in the sandbox: how long a program that prints a word takes, how many at a time, and in how much memory.

use std::sync::Arc;

use anyhow::Context as _;

use crate::cpu::resident;
use crate::in_process::{at_once, executor, one_by_one};
use crate::sample::{Measure, Sample};
use crate::stage::{Place, Stage};
use crate::start::again;
use crate::table::{Line, Target};

const ROUNDS: usize = 15;
const CALLS: u64 = 100;
/// Executions at once where throughput is compared.
const IN_FLIGHT: u64 = 16;
/// Executions at once where memory is measured.
const MANY: u32 = 50;
const WARM_MS_MAX: f64 = 2.0;
/// What [`MANY`] executions at once may take, in MiB: what each place keeps, and the interpreter's image once.
const RESIDENT_MIB_MAX: f64 = 1024.0;
const MIB: f64 = (1 << 20) as f64;

/// Measures n.
pub(crate) fn run(place: &Place, lines: &mut Vec<Line>) -> anyhow::Result<()> {
    let stage = Arc::new(Stage::python(place, 64)?);
    let (one, two) = (executor(1)?, executor(2)?);
    let (mut alone, mut many) = (Sample::default(), Sample::default());
    one.block_on(one_by_one(stage.as_ref(), 50))?;
    two.block_on(at_once(&stage, IN_FLIGHT, 20 * IN_FLIGHT))?;
    for _ in 0..ROUNDS {
        alone.add(one.block_on(one_by_one(stage.as_ref(), CALLS))?);
        many.add(two.block_on(at_once(&stage, IN_FLIGHT, 4 * CALLS))?);
    }
    let ms = |share: f64| alone.percentile_us(share) / 1e3;
    lines.push(Line::within("n Python print('hi') in process: wall p50", "ms", ms(0.5), WARM_MS_MAX));
    lines.push(Line::alone("n the same: wall p99", "ms", ms(0.99)));
    lines.push(Line::alone("n the same: CPU", "ms", alone.cpu_us() / 1e3));
    lines.push(
        Line::in_turn("n Python, 16 at once on two threads beside one by one", Measure::Pace, &many, &alone)
            .wants(Target::Least(1.5)),
    );
    lines.push(Line::alone("n 16 at once: time spent waiting for a core", "%", many.waited_percent()));
    let tools = place.tools.to_str().context("a path in UTF-8")?;
    let scratch = place.scratch.to_str().context("a path in UTF-8")?;
    let [before, after] = again(&["code-memory", tools, scratch])?;
    lines.push(Line::within("n memory after 50 at once", "MiB", after, RESIDENT_MIB_MAX));
    lines.push(Line::alone("n memory of an idle sandbox", "MiB", before));
    Ok(())
}

/// Many executions at once in this process: prints the memory in use before and after.
pub(crate) fn memory(place: &Place) -> anyhow::Result<()> {
    let stage = Arc::new(Stage::python(place, MANY)?);
    let before = resident() as f64 / MIB;
    let executor = executor(2)?;
    executor.block_on(at_once(&stage, u64::from(MANY), 10 * u64::from(MANY)))?;
    println!("{before} {}", resident() as f64 / MIB);
    Ok(())
}
