//! The host looks by itself: some time after a write was begun whose end isn't known, and then ever more seldom.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{ReconcileError, Reconciler, Report, blocking};
use crate::audit::AuditError;
use crate::clock::Millis;
use crate::ids::{ConnectionName, Realm};
use crate::store::{EntryRow, StoreError};

/// How often the host looks whether any write is to be looked up.
const TICK: Duration = Duration::from_secs(10);

/// How long after a write was begun it's looked up first, in milliseconds: upstreams lag behind, and most are well again by then.
/// Each time is twice as long after the one before.
const FIRST_AFTER_MS: i64 = 30_000;

/// The host gives a write up that it hasn't found in so long, in milliseconds: a week. An operator can have it looked up still.
const GIVEN_UP_AFTER_MS: i64 = 7 * 86_400_000;

impl Reconciler {
    /// Looks up what is held for as long as this is polled, a few writes at once. What fails is in the log, and tried again.
    pub async fn watch(self) {
        let reconciler = Arc::new(self);
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut last, mut due) = (None, BTreeMap::new());
        loop {
            ticks.tick().await;
            let (read, now) = (reconciler.clone(), reconciler.clock.now());
            let found = blocking(move || read.due(last, now)).await;
            match found.and_then(|found| found.map_err(AuditError::from)) {
                Ok(found) => due.extend(found.into_iter().map(|entry| (entry.id.clone(), entry))),
                Err(error) => {
                    tracing::error!(%error, "what is held can't be read");
                    continue;
                }
            }
            last = Some(now);
            let later = reconciler.sweep(due.into_values().collect()).await;
            due = later.into_iter().map(|entry| (entry.id.clone(), entry)).collect();
        }
    }

    /// What is to be looked up now.
    fn due(&self, last: Option<Millis>, now: Millis) -> Result<Vec<EntryRow>, StoreError> {
        let mut due = Vec::new();
        for (after, up_to) in begun(last, now) {
            due.extend(self.candidates(after, up_to)?);
        }
        Ok(due)
    }

    /// Looks these up, and answers those that are put off.
    pub(super) async fn sweep(&self, due: Vec<EntryRow>) -> Vec<EntryRow> {
        let shared = Mutex::new(Sweep::default());
        // All of it is in this one task, so whoever drops it has ended all of it.
        tokio::join!(
            self.lane(&due, 0, &shared),
            self.lane(&due, 1, &shared),
            self.lane(&due, 2, &shared),
            self.lane(&due, 3, &shared),
        );
        shared.into_inner().unwrap_or_else(PoisonError::into_inner).later
    }

    /// Looks up every fourth of these, from this one on, one after the other.
    async fn lane(&self, due: &[EntryRow], from: usize, shared: &Mutex<Sweep>) {
        let sweep = || shared.lock().unwrap_or_else(PoisonError::into_inner);
        for entry in due.iter().skip(from).step_by(4) {
            if sweep().puts_off(entry) {
                continue;
            }
            match self.reconcile(None, &entry.id, "host").await {
                Ok(report) => {
                    tell(&report);
                    if report.unanswered {
                        sweep().silent.insert(upstream(entry));
                    }
                }
                // An operator was quicker.
                Err(ReconcileError::Unknown | ReconcileError::UnderWay) => {}
                Err(ReconcileError::Audit(error)) => {
                    tracing::error!(hold = %entry.id, %error, "a held write can't be looked up");
                }
            }
        }
    }
}

/// What the lanes of a sweep share.
#[derive(Debug, Default)]
struct Sweep {
    /// Those that didn't answer: whatever else is looked up there would wait as long, and all others for it.
    silent: HashSet<Upstream>,
    /// What would have been looked up there: it's the next sweep's.
    later: Vec<EntryRow>,
}

/// Where a realm's writes go.
type Upstream = (Realm, Option<ConnectionName>);

impl Sweep {
    fn puts_off(&mut self, entry: &EntryRow) -> bool {
        let is_silent = self.silent.contains(&upstream(entry));
        self.later.extend(is_silent.then(|| entry.clone()));
        is_silent
    }
}

fn upstream(entry: &EntryRow) -> Upstream {
    (entry.realm.clone(), entry.connection.clone())
}

fn tell(report: &Report) {
    let (hold, became, why) = (&report.hold, report.became.as_str(), report.why.as_deref());
    match &report.call {
        Some(call) => tracing::info!(%hold, %call, became, why, "a held write was looked up"),
        None => tracing::info!(%hold, why, "a held write can't be looked up"),
    }
}

/// Between which times a write was begun that is to be looked up now, if those were that were to be at `last`: after the first
/// of them, and up to the second. To begin with, all that isn't given up.
fn begun(last: Option<Millis>, now: Millis) -> Vec<(Millis, Millis)> {
    let before = |time: Millis, span_ms: i64| Millis(time.0.saturating_sub(span_ms));
    let Some(last) = last else {
        return vec![(before(now, GIVEN_UP_AFTER_MS), before(now, FIRST_AFTER_MS))];
    };
    let looks = std::iter::successors(Some(FIRST_AFTER_MS), |after| Some(2 * after + FIRST_AFTER_MS));
    let looks = looks.take_while(|after| *after < GIVEN_UP_AFTER_MS);
    looks.map(|after| (before(last, after), before(now, after))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a write that was begun at 0 is looked up at this second.
    fn is_due(last: Option<i64>, now: i64) -> bool {
        let second = |second: i64| Millis(second * 1_000);
        let begun = begun(last.map(second), second(now));
        begun.iter().any(|(after, up_to)| *after < Millis(0) && Millis(0) <= *up_to)
    }

    #[test]
    fn a_write_is_looked_up_ever_more_seldom_and_given_up_in_the_end() {
        let ticks = (10..8 * 86_400).step_by(10);
        let looks: Vec<_> = ticks.filter(|now| is_due(Some(now - 10), *now)).collect();
        assert_eq!(looks[..6], [30, 90, 210, 450, 930, 1_890]);
        assert!(looks.windows(3).all(|w| w[2] - w[1] == 2 * (w[1] - w[0])), "{looks:?}");
        assert_eq!((looks.len(), looks.last()), (14, Some(&491_490)));
    }

    #[test]
    fn what_a_late_tick_missed_is_looked_up_and_so_is_all_at_a_start() {
        for (last, now, due) in [
            (Some(29), 31, true),
            (Some(30), 89, false),
            (Some(40), 5_000, true),
            (Some(90), 10, false),
            (None, 29, false),
            (None, 30, true),
            (None, 600_000, true),
            (None, 604_800, false),
        ] {
            assert_eq!(is_due(last, now), due, "{last:?} {now}");
        }
    }
}
