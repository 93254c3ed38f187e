//! A second start, and memory. Each is measured in a process of its own: this program again, with other words.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use keybearer::clock::{Clock as _, SystemClock};
use keybearer::doors;
use keybearer::home::Home;

use crate::cpu::resident;
use crate::stage::{Place, Stage, trail};
use crate::table::{Line, Target};
use crate::{home, in_process};

const TOOLS: usize = 20;
const STARTS: usize = 5;
const WARM_UP_CALLS: u64 = 3_000;
const CALLS: u64 = 10_000;
const START_MS_MAX: f64 = 300.0;
/// What the allocator and the page cache of the store may move by.
const GROWTH_MIB_MAX: f64 = 2.0;
const MIB: f64 = (1 << 20) as f64;

/// Measures g.
pub(crate) fn run(place: &Place, lines: &mut Vec<Line>) -> anyhow::Result<()> {
    let folder = place.folder()?;
    let (empty, full) = (folder.path().join("empty"), folder.path().join("full"));
    home::create(&empty)?;
    fill(place, &full)?;
    let (_, without) = starts(&empty)?;
    let (took, with) = starts(&full)?;
    lines.push(Line::within(&format!("g second start, {TOOLS} tools cached"), "ms", took, START_MS_MAX));
    lines.push(Line::within("g memory of an idle tool", "MiB", (with - without) / TOOLS as f64, 1.0));

    let tools = place.tools.to_str().context("a path in UTF-8")?;
    let scratch = place.scratch.to_str().context("a path in UTF-8")?;
    let [before, after] = again(&["memory", tools, scratch])?;
    lines.push(
        Line::beside("g memory after 10,000 calls beside before", "MiB", after, before)
            .wants(Target::Most(1.0 + GROWTH_MIB_MAX / before)),
    );
    Ok(())
}

/// A start of this home, in this process: prints how long it took and what memory it left in use.
pub(crate) fn start(path: &Path) -> anyhow::Result<()> {
    let started = Instant::now();
    let executor = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let home = Home::named(Some(path.to_owned()))?.existing()?;
    let app = executor.block_on(async { home::open(&home) })?;
    let bound = executor.block_on(doors::bind(&home::serve_config(&home)?))?;
    let took = started.elapsed();
    println!("{} {}", took.as_secs_f64() * 1e3, resident() as f64 / MIB);
    drop((bound, app));
    Ok(())
}

/// Many calls in this process: prints the memory in use before and after.
pub(crate) fn memory(place: &Place) -> anyhow::Result<()> {
    let folder = place.folder()?;
    let stage = Arc::new(Stage::set(place, trail(folder.path())?)?);
    let executor = in_process::executor(2)?;
    executor.block_on(in_process::calls(&stage, WARM_UP_CALLS))?;
    let before = resident() as f64 / MIB;
    executor.block_on(in_process::calls(&stage, CALLS))?;
    println!("{before} {}", resident() as f64 / MIB);
    Ok(())
}

/// A home with many tools: the same component under other names of the same length.
fn fill(place: &Place, path: &Path) -> anyhow::Result<()> {
    let home = home::create(path)?;
    let app = home::open(&home)?;
    let text = place.component("text")?;
    for number in 0..TOOLS {
        let name = format!("word_cnt{number:02}");
        app.catalog.add(&format!("text-{number}"), &renamed(&text, &name), &[], SystemClock.now())?;
    }
    ensure!(app.catalog.snapshot().tools().len() == TOOLS, "some tools are missing");
    Ok(())
}

fn renamed(component: &[u8], name: &str) -> Vec<u8> {
    const OLD: &[u8] = b"word_count";
    let mut bytes = component.to_vec();
    let mut at = 0;
    while let Some(found) =
        bytes.get(at..).and_then(|rest| rest.windows(OLD.len()).position(|part| part == OLD))
    {
        bytes.splice(at + found..at + found + OLD.len(), name.bytes());
        at += found + OLD.len();
    }
    bytes
}

/// The median start of a home: milliseconds, and MiB in use after it.
fn starts(home: &Path) -> anyhow::Result<(f64, f64)> {
    let path = home.to_str().context("a path in UTF-8")?;
    let each: Vec<[f64; 2]> = (0..STARTS).map(|_| again(&["start", path])).collect::<anyhow::Result<_>>()?;
    let median = |of: usize| {
        let mut values: Vec<f64> = each.iter().map(|pair| pair[of]).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    Ok((median(0), median(1)))
}

/// Runs this program again and reads the two numbers that it prints.
pub(crate) fn again(words: &[&str]) -> anyhow::Result<[f64; 2]> {
    let output = Command::new(std::env::current_exe()?).args(words).output()?;
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let numbers: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    numbers.try_into().ok().with_context(|| format!("{words:?} went wrong: {text}{errors}"))
}
