//! The host looks by itself: some time after a write was begun whose end isn't known, and then ever more seldom.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::{ReconcileError, Reconciler, blocking};
use crate::audit::{AuditError, Became};
use crate::clock::Millis;
use crate::ids::CallId;
use crate::ledger::ReservationId;

/// How often the host looks whether any write is to be looked up.
const TICK: Duration = Duration::from_secs(10);

/// How long after a write was begun it's looked up first: upstreams lag behind, and most are well again by then.
const FIRST_AFTER: Duration = Duration::from_secs(30);

/// Each time is twice as long after the one before, up to this.
const EVERY_MAX: Duration = Duration::from_secs(3_600);

/// The host gives a write up that it hasn't found in so long: a week. An operator can have it looked up still.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(7 * 86_400);

/// Of what is held, so many are looked through: the oldest.
const HELD_MAX: u32 = 10_000;

impl Reconciler {
    /// Looks up what is held for as long as this is polled, a few writes at once. What fails is in the log, and tried again.
    pub async fn watch(self) {
        let reconciler = Arc::new(self);
        let mut schedule = Schedule::default();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let read = reconciler.clone();
            let held = blocking(move || read.candidates(HELD_MAX)).await;
            let held = match held.and_then(|held| held.map_err(AuditError::from)) {
                Ok(held) => held,
                Err(error) => {
                    tracing::error!(%error, "what is held can't be read");
                    continue;
                }
            };
            let held = held.into_iter().map(|entry| (entry.id, entry.at));
            let due = schedule.due(held, reconciler.clock.now());
            // All of it is in this one task, so whoever drops it has ended all of it.
            tokio::join!(
                reconciler.lane(&due, 0),
                reconciler.lane(&due, 1),
                reconciler.lane(&due, 2),
                reconciler.lane(&due, 3),
            );
        }
    }

    /// Looks up every fourth of these, from this one on, one after the other.
    async fn lane(&self, due: &[ReservationId], from: usize) {
        for hold in due.iter().skip(from).step_by(4) {
            match self.reconcile(None, hold, "host").await {
                Ok(report) => {
                    let (became, why) = (report.became.as_str(), report.why.as_deref());
                    let call = report.call.as_ref().map(CallId::as_str);
                    match report.became {
                        Became::Held => tracing::debug!(%hold, call, why, "a held write was looked up"),
                        _ => tracing::info!(%hold, call, became, "a held write was looked up"),
                    }
                }
                // An operator was quicker.
                Err(ReconcileError::Unknown | ReconcileError::UnderWay) => {}
                Err(ReconcileError::Audit(error)) => {
                    tracing::error!(%hold, %error, "a held write can't be looked up");
                }
            }
        }
    }
}

/// When each write is looked up next. It's forgotten with the host: the next one begins anew.
#[derive(Debug, Default)]
struct Schedule {
    next: HashMap<ReservationId, Next>,
}

#[derive(Debug, Clone, Copy)]
struct Next {
    at: Millis,
    /// How long after the look before.
    after: Duration,
}

impl Schedule {
    /// Those that are to be looked up now, of what is held. What isn't held any more is forgotten.
    fn due(
        &mut self,
        held: impl Iterator<Item = (ReservationId, Millis)>,
        now: Millis,
    ) -> Vec<ReservationId> {
        let (mut due, mut next) = (Vec::new(), HashMap::new());
        for (id, begun) in held.filter(|(_, begun)| now < begun.plus(GIVEN_UP_AFTER)) {
            let first = Next { at: begun.plus(FIRST_AFTER), after: FIRST_AFTER };
            let mut planned = self.next.remove(&id).unwrap_or(first);
            if planned.at <= now {
                due.push(id.clone());
                planned.after = planned.after.saturating_mul(2).min(EVERY_MAX);
                planned.at = now.plus(planned.after);
            }
            next.insert(id, planned);
        }
        self.next = next;
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_is_looked_up_ever_more_seldom_and_given_up_in_the_end() {
        let id = ReservationId { call: CallId::fresh(Millis(5)), send: 1 };
        let mut schedule = Schedule::default();
        let mut looks = Vec::new();
        for second in (0..8 * 86_400).step_by(10) {
            let held = std::iter::once((id.clone(), Millis(0)));
            if !schedule.due(held, Millis(second * 1_000)).is_empty() {
                looks.push(second);
            }
        }
        assert_eq!(looks[..6], [30, 90, 210, 450, 930, 1_890]);
        let between: Vec<_> = looks.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(between[7..].iter().all(|seconds| *seconds == 3_600), "{between:?}");
        assert!(looks.last().is_some_and(|last| *last < 7 * 86_400 && *last > 7 * 86_400 - 3_601));
    }

    #[test]
    fn what_is_not_held_any_more_is_forgotten() {
        let id = ReservationId { call: CallId::fresh(Millis(5)), send: 1 };
        let mut schedule = Schedule::default();
        let one = || std::iter::once((id.clone(), Millis(0)));
        assert_eq!(schedule.due(one(), Millis(30_000)), std::slice::from_ref(&id));
        assert!(schedule.due(one(), Millis(30_000)).is_empty());
        assert!(schedule.due(std::iter::empty(), Millis(40_000)).is_empty());
        assert!(schedule.next.is_empty());
    }
}
