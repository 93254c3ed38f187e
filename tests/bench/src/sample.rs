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

/// What two samples are compared by.
#[derive(Clone, Copy)]
pub(crate) enum Measure {
    /// Processor time for one call, in microseconds.
    Cpu,
    /// Calls in a second.
    Pace,
    /// The latency of half the calls, in microseconds.
    Half,
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

    fn value(&self, measure: Measure) -> f64 {
        match measure {
            Measure::Cpu => micros(self.used.ran) / self.calls.max(1) as f64,
            Measure::Pace => self.calls as f64 / self.wall.as_secs_f64(),
            Measure::Half => percentile_us(self.latencies.clone(), 0.5),
        }
    }
}

impl Sample {
    /// Adds a round.
    pub(crate) fn add(&mut self, round: Round) {
        self.0.push(round);
    }

    /// Processor time for one call, in microseconds: the median of the rounds.
    pub(crate) fn cpu_us(&self) -> f64 {
        self.value(Measure::Cpu)
    }

    /// Calls in a second: the median of the rounds.
    pub(crate) fn per_second(&self) -> f64 {
        self.value(Measure::Pace)
    }

    /// This beside what was measured in turn with it: the ratio of each two rounds, and the median of those. A machine
    /// that changes its pace now and then changes both rounds of most pairs.
    pub(crate) fn beside(&self, floor: &Self, measure: Measure) -> f64 {
        let pairs = self.0.iter().zip(&floor.0);
        median(pairs.map(|(ours, floor)| ours.value(measure) / floor.value(measure)))
    }

    /// The value alone: the median of the rounds.
    pub(crate) fn value(&self, measure: Measure) -> f64 {
        median(self.0.iter().map(|round| round.value(measure)))
    }

    /// The latency that this share of the calls stay below, in microseconds.
    pub(crate) fn percentile_us(&self, share: f64) -> f64 {
        percentile_us(self.0.iter().flat_map(|round| &round.latencies).copied().collect(), share)
    }

    /// How much of the time in which they could have run the threads waited for a core, in percent.
    pub(crate) fn waited_percent(&self) -> f64 {
        median(self.0.iter().map(|round| {
            let (ran, waited) = (round.used.ran.as_secs_f64(), round.used.waited.as_secs_f64());
            100.0 * waited / (ran + waited)
        }))
    }
}

fn median(each: impl Iterator<Item = f64>) -> f64 {
    let mut each: Vec<f64> = each.collect();
    each.sort_by(f64::total_cmp);
    each.get(each.len() / 2).copied().unwrap_or(f64::NAN)
}

fn percentile_us(mut latencies: Vec<Duration>, share: f64) -> f64 {
    latencies.sort();
    let at = (latencies.len() as f64 * share) as usize;
    latencies.get(at).or(latencies.last()).copied().map_or(f64::NAN, micros)
}

fn micros(span: Duration) -> f64 {
    span.as_secs_f64() * 1e6
}
