//! Measured rounds.

use std::time::{Duration, Instant};

use crate::cpu::{Cpu, Used};

/// One round of calls.
#[derive(Default)]
pub(crate) struct Round {
    calls: u64,
    wall: Duration,
    used: Used,
    latencies: Vec<Duration>,
}

/// A round in progress.
pub(crate) struct Watch {
    started: Instant,
    cpu: Cpu,
}

/// All rounds of one measure.
#[derive(Default)]
pub(crate) struct Sample(Vec<Round>);

impl Watch {
    /// Begins a round.
    pub(crate) fn start() -> Self {
        Self { cpu: Cpu::now(), started: Instant::now() }
    }

    /// Begins a round of another program, and its children.
    pub(crate) fn of(pid: u32) -> Self {
        Self { cpu: Cpu::of(pid), started: Instant::now() }
    }

    /// Ends it. There may be more calls than latencies.
    pub(crate) fn stop(&self, calls: u64, latencies: Vec<Duration>) -> Round {
        let wall = self.started.elapsed();
        Round { calls, wall, used: self.cpu.elapsed(), latencies }
    }
}

impl Round {
    /// The latencies, where they're known later.
    pub(crate) fn set_latencies(&mut self, latencies: Vec<Duration>) {
        self.latencies = latencies;
    }
}

impl Sample {
    /// Adds a round.
    pub(crate) fn add(&mut self, round: Round) {
        self.0.push(round);
    }

    /// Processor time for one call, in microseconds: the median of the rounds.
    pub(crate) fn cpu_us(&self) -> f64 {
        self.median(|round| micros(round.used.ran) / round.calls.max(1) as f64)
    }

    /// Calls in a second: the median of the rounds.
    pub(crate) fn per_second(&self) -> f64 {
        self.median(|round| round.calls as f64 / round.wall.as_secs_f64())
    }

    /// The latency that this share of the calls stay below, in microseconds.
    pub(crate) fn percentile_us(&self, share: f64) -> f64 {
        let mut all: Vec<_> = self.0.iter().flat_map(|round| &round.latencies).copied().collect();
        all.sort();
        let at = (all.len() as f64 * share) as usize;
        all.get(at).or(all.last()).copied().map_or(f64::NAN, micros)
    }

    /// How much of the time in which they could have run the threads waited for a core, in percent.
    pub(crate) fn waited_percent(&self) -> f64 {
        self.median(|round| {
            let (ran, waited) = (round.used.ran.as_secs_f64(), round.used.waited.as_secs_f64());
            100.0 * waited / (ran + waited)
        })
    }

    fn median(&self, of: impl Fn(&Round) -> f64) -> f64 {
        let mut each: Vec<f64> = self.0.iter().map(of).collect();
        each.sort_by(f64::total_cmp);
        each.get(each.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

fn micros(span: Duration) -> f64 {
    span.as_secs_f64() * 1e6
}
