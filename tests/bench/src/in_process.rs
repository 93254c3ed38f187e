//! Calls without sockets: the bare engine, the pipeline, the pipeline with its trail on the disk, and both on two
//! threads.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use bytes::Bytes;
use keybearer::store::MemoryAudit;
use tokio::runtime::{Builder, Runtime};

use crate::raw::Raw;
use crate::sample::{Measure, Round, Sample, Watch};
use crate::stage::{INVOICE, INVOICE_ARGUMENTS, INVOICE_TOOL, Place, Stage, trail};
use crate::table::{Line, Target};

const ROUNDS: usize = 35;
const CALLS: u64 = 400;
/// Calls at once where threads are compared.
const IN_FLIGHT: u64 = 16;

/// Something that can be called.
pub(crate) trait Call: Send + Sync + 'static {
    fn call(&self) -> impl Future<Output = anyhow::Result<()>> + Send;
}

impl Call for Raw {
    async fn call(&self) -> anyhow::Result<()> {
        Raw::call(self, INVOICE_TOOL, INVOICE_ARGUMENTS).await.map(drop)
    }
}

impl Call for Stage {
    fn call(&self) -> impl Future<Output = anyhow::Result<()>> + Send {
        Stage::call(self)
    }
}

/// Measures a, b and f.
pub(crate) fn run(place: &Place, lines: &mut Vec<Line>) -> anyhow::Result<()> {
    let raw = Arc::new(Raw::new(&place.component("stripe")?, Bytes::from_static(INVOICE.as_bytes()))?);
    let stage = Arc::new(Stage::set(place, Arc::new(MemoryAudit::new()))?);
    compare(&raw, &stage, lines)?;
    threads(&raw, &stage, lines)
}

fn compare(raw: &Arc<Raw>, stage: &Arc<Stage>, lines: &mut Vec<Line>) -> anyhow::Result<()> {
    let executor = Builder::new_current_thread().enable_all().build()?;
    let (mut floor, mut ours) = (Sample::default(), Sample::default());
    executor.block_on(one_by_one(raw.as_ref(), 500))?;
    executor.block_on(one_by_one(stage.as_ref(), 500))?;
    for _ in 0..ROUNDS {
        floor.add(executor.block_on(one_by_one(raw.as_ref(), CALLS))?);
        ours.add(executor.block_on(one_by_one(stage.as_ref(), CALLS))?);
    }
    let (p50, p99) = (ours.percentile_us(0.5), ours.percentile_us(0.99));
    lines.push(Line::alone("a wasmtime alone, get_invoice: CPU a call", "µs", floor.cpu_us()));
    lines.push(Line::alone("a the same: wall p50", "µs", floor.percentile_us(0.5)));
    lines.push(
        Line::in_turn("b pipeline, trail in memory: CPU a call", Measure::Cpu, &ours, &floor)
            .wants(Target::Most(2.5)),
    );
    lines.push(Line::in_turn("b the same: wall p50", Measure::Half, &ours, &floor).wants(Target::Most(2.5)));
    lines.push(Line::beside("b the same: wall p99 beside p50", "µs", p99, p50).wants(Target::Most(4.0)));
    Ok(())
}

fn threads(raw: &Arc<Raw>, stage: &Arc<Stage>, lines: &mut Vec<Line>) -> anyhow::Result<()> {
    let (one, two) = (executor(1)?, executor(2)?);
    let mut samples: [Sample; 4] = Default::default();
    for _ in 0..ROUNDS {
        samples[0].add(one.block_on(at_once(raw, IN_FLIGHT, 2 * CALLS))?);
        samples[1].add(two.block_on(at_once(raw, IN_FLIGHT, 4 * CALLS))?);
        samples[2].add(one.block_on(at_once(stage, IN_FLIGHT, 2 * CALLS))?);
        samples[3].add(two.block_on(at_once(stage, IN_FLIGHT, 4 * CALLS))?);
    }
    let [raw_one, raw_two, one, two] = samples;
    let wasmtime = "f wasmtime alone, two threads beside one: calls/s";
    lines.push(Line::in_turn(wasmtime, Measure::Pace, &raw_two, &raw_one));
    lines.push(
        Line::in_turn("f pipeline, two threads beside one: calls/s", Measure::Pace, &two, &one)
            .wants(Target::Least(1.7)),
    );
    // What other programs take of the second core is missing above, and not here.
    lines.push(Line::beside(
        "f the same by CPU: twice (one's CPU a call / two's)",
        "µs",
        2.0 * one.cpu_us(),
        two.cpu_us(),
    ));
    lines.push(Line::alone("f two threads: time spent waiting for a core", "%", two.waited_percent()));
    Ok(())
}

/// Measures c.
pub(crate) fn durable(place: &Place, lines: &mut Vec<Line>) -> anyhow::Result<()> {
    let folder = place.folder()?;
    let stage = Arc::new(Stage::set(place, trail(folder.path())?)?);
    let executor = executor(2)?;
    for (in_flight, calls) in [(1, 500), (16, 3_000), (64, 6_000)] {
        let mut sample = Sample::default();
        for _ in 0..3 {
            sample.add(executor.block_on(at_once(&stage, in_flight, calls))?);
        }
        let title = |what: &str| format!("c trail on disk, {in_flight} at once: {what}");
        lines.push(Line::alone(&title("CPU a call"), "µs", sample.cpu_us()));
        lines.push(Line::alone(&title("calls/s"), "/s", sample.per_second()));
        lines.push(Line::alone(&title("wall p50"), "µs", sample.percentile_us(0.5)));
    }
    drop(executor);
    if let Some(stage) = Arc::into_inner(stage) {
        stage.end();
    }
    Ok(())
}

/// Six budgets that every call is reserved and settled in, none of which it ever reaches.
const SIX_BUDGETS: &[(&str, &str)] = &[
    ("each token", "total"),
    ("each conversation", "total"),
    ("each agent", "day"),
    ("each role", "day"),
    ("connection:stripe", "hour"),
    ("tenant", "month"),
];

/// Measures j: the ledger beside the same calls without it.
pub(crate) fn ledger(place: &Place, lines: &mut Vec<Line>) -> anyhow::Result<()> {
    let budgets: String = SIX_BUDGETS
        .iter()
        .map(|(subject, window)| {
            format!(
                "[[budget]]\nsubject = \"{subject}\"\nlimit = 1000000000\nunit = \"requests\"\nwindow = \"{window}\"\n"
            )
        })
        .collect();
    let folders = [place.folder()?, place.folder()?];
    let without = Arc::new(Stage::set(place, trail(folders[0].path())?)?);
    let with = Arc::new(Stage::with_budgets(place, trail(folders[1].path())?, &budgets)?);
    let executor = executor(2)?;
    let (mut floor, mut ours) = (Sample::default(), Sample::default());
    for _ in 0..5 {
        floor.add(executor.block_on(at_once(&without, 64, 6_000))?);
        ours.add(executor.block_on(at_once(&with, 64, 6_000))?);
    }
    lines.push(
        Line::in_turn("j six budgets, 64 at once, trail on disk: calls/s", Measure::Pace, &ours, &floor)
            .wants(Target::Least(0.7)),
    );
    lines.push(Line::in_turn("j the same: CPU a call", Measure::Cpu, &ours, &floor));
    drop(executor);
    for stage in [without, with] {
        if let Some(stage) = Arc::into_inner(stage) {
            stage.end();
        }
    }
    Ok(())
}

/// An executor with this many threads, which runs nothing on the caller's.
pub(crate) fn executor(threads: usize) -> anyhow::Result<Runtime> {
    Ok(Builder::new_multi_thread().worker_threads(threads).thread_name("host").enable_all().build()?)
}

pub(crate) async fn one_by_one(what: &impl Call, calls: u64) -> anyhow::Result<Round> {
    let mut latencies = Vec::with_capacity(calls as usize);
    let watch = Watch::start();
    for _ in 0..calls {
        let started = Instant::now();
        what.call().await?;
        latencies.push(started.elapsed());
    }
    Ok(watch.stop(calls, latencies))
}

pub(crate) async fn at_once(what: &Arc<impl Call>, in_flight: u64, calls: u64) -> anyhow::Result<Round> {
    let watch = Watch::start();
    let each = calls / in_flight;
    let tasks: Vec<_> = (0..in_flight)
        .map(|_| {
            let what = what.clone();
            tokio::spawn(async move {
                let mut latencies = Vec::with_capacity(each as usize);
                for _ in 0..each {
                    let started = Instant::now();
                    what.call().await?;
                    latencies.push(started.elapsed());
                }
                anyhow::Ok(latencies)
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.context("a call broke down")??);
    }
    Ok(watch.stop(each * in_flight, latencies))
}

/// Reads the invoice so many times, 16 at once.
pub(crate) async fn calls(stage: &Arc<Stage>, calls: u64) -> anyhow::Result<()> {
    at_once(stage, IN_FLIGHT, calls).await.map(drop)
}
