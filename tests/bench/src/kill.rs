//! How long after a kill switch is answered anything still leaves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use keybearer::kill::{Order, Scope};
use keybearer::store::MemoryAudit;

use crate::in_process::executor;
use crate::stage::{Place, Stage, realm};
use crate::table::Line;

const REPETITIONS: usize = 100;
const IN_FLIGHT: usize = 64;

/// The times of requests upstream, in nanoseconds since a start.
pub(crate) struct Clock {
    start: Instant,
    last: AtomicU64,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { start: Instant::now(), last: AtomicU64::new(0) }
    }

    /// A request has reached the upstream.
    pub(crate) fn tick(&self) {
        self.last.fetch_max(self.now(), Ordering::SeqCst);
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Measures l: sixty-four callers in a loop, one switch that stops them all.
pub(crate) fn run(place: &Place, lines: &mut Vec<Line>) -> anyhow::Result<()> {
    let stage = Arc::new(Stage::set(place, Arc::new(MemoryAudit::new()))?);
    let executor = executor(2)?;
    let mut late = Vec::with_capacity(REPETITIONS);
    for _ in 0..REPETITIONS {
        late.push(executor.block_on(once(&stage))?);
    }
    late.sort_unstable();
    let at =
        |share: f64| late.get((late.len() as f64 * share) as usize).or(late.last()).copied().unwrap_or(0);
    let us = |nanos: u64| nanos as f64 / 1_000.0;
    lines.push(Line::alone(
        "l kill switch answered to last request upstream, 64 callers: p50",
        "µs",
        us(at(0.5)),
    ));
    lines.push(Line::alone("l the same: p99", "µs", us(at(0.99))));
    lines.push(Line::alone("l the same: the longest", "µs", us(at(1.0))));
    Ok(())
}

/// In nanoseconds; 0 when nothing left after the answer.
async fn once(stage: &Arc<Stage>) -> anyhow::Result<u64> {
    let callers: Vec<_> = (0..IN_FLIGHT)
        .map(|_| {
            let stage = stage.clone();
            tokio::spawn(async move { while stage.call().await.is_ok() {} })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let kills = stage.kills().clone();
    let order = Order {
        scope: Scope::Tenant,
        tenant: Some(realm()?.tenant),
        environment: None,
        reason: "a measurement".parse()?,
        by: "bench".to_owned(),
    };
    // The store's write would block: not on a thread that calls.
    let (switch, answered) = tokio::task::spawn_blocking(move || {
        let switch = kills.throw(order);
        (switch, Instant::now())
    })
    .await?;
    let switch = switch?;
    for caller in callers {
        tokio::time::timeout(Duration::from_secs(10), caller).await.context("a caller was not stopped")??;
    }
    ensure!(stage.call().await.is_err(), "a call went through a switch that is thrown");
    ensure!(stage.kills().lift(&switch.id, None)?.is_some(), "the switch can't be lifted");
    let clock = stage.clock();
    let answered = u64::try_from(answered.duration_since(clock.start).as_nanos()).unwrap_or(u64::MAX);
    Ok(clock.last.load(Ordering::SeqCst).saturating_sub(answered))
}
