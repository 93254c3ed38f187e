//! Time as a value, from a clock that tests can set; and whether the clock runs, or was put.

mod trust;

pub use trust::ClockTrust;

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z. Shown as RFC 3339 in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub i64);

impl Millis {
    /// This time and `span` more; the greatest time there is when that would overflow.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(time) => write!(f, "{time:.3}"),
            Err(_) => write!(f, "{} ms since 1970", self.0),
        }
    }
}

/// Where the time comes from.
pub trait Clock: Send + Sync + 'static {
    /// The present time.
    fn now(&self) -> Millis;
}

/// The machine's clock.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Millis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// A clock that stands until it's told to move.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `start`.
    #[must_use]
    pub fn at(start: Millis) -> Self {
        Self(AtomicI64::new(start.0))
    }

    /// Moves the clock forward.
    pub fn advance(&self, span: Duration) {
        self.0.fetch_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX), Ordering::SeqCst);
    }

    /// Puts the clock, ahead or back.
    pub fn put(&self, now: Millis) {
        self.0.store(now.0, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Millis {
        Millis(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(target_os = "linux")]
const SINCE_BOOT: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const SINCE_BOOT: ClockId = ClockId::Monotonic;

/// How long ago the machine was started, whatever its clock was put to. On Linux the time is part of it in which it slept.
#[must_use]
pub fn since_boot() -> Duration {
    // It's never negative.
    Duration::try_from(clock_gettime(SINCE_BOOT)).unwrap_or_default()
}

/// How far the clock may be off the time that has passed, in milliseconds. By more, it was put.
const OFF_MS_MAX: i64 = 5 * 60 * 1_000;
/// How long a clock wasn't believed at most before a start asks whether it's right, in milliseconds.
const AWAY_MS_MAX: i64 = 30 * DAY_MS;
/// How long a clock that was put is doubted: time to read the warning, and to put it right.
const DOUBTED: Duration = Duration::from_secs(6 * 3_600);
const HOUR_MS: i64 = 3_600 * 1_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Watches a clock for being put ahead or back, since what is removed for its age by a wrong clock is gone when the clock is
/// right again. It doesn't know which of two times is the right one.
#[derive(Debug)]
pub struct ClockWatch(Mutex<Watched>);

#[derive(Debug)]
struct Watched {
    /// What the clock showed at the last look.
    clock: Millis,
    /// When that was, since the machine's start.
    at: Duration,
    /// When it was found to have been put, the last time.
    put: Option<Duration>,
}

impl ClockWatch {
    /// Begins to watch a clock that shows `now`, `at` so long [since the machine's start](since_boot). It's doubted from the
    /// beginning, and the log says so, if it's behind the `newest` time on record, or more than 30 days ahead of the time at
    /// which it was `believed` the last time: what is on record since then may be so by the same wrong clock. Where it never
    /// was, the newest time on record stands for that. It's doubted as well if it was when the last host ended (`doubted`).
    #[must_use]
    pub fn begin(
        now: Millis,
        at: Duration,
        newest: Option<Millis>,
        believed: Option<Millis>,
        doubted: bool,
    ) -> Self {
        let ahead_of = |time: Millis| now.0.saturating_sub(time.0);
        let newest = newest.map(|time| (time, "the newest row of the audit trail"));
        let believed = believed.map(|time| (time, "the last time that was believed")).or(newest);
        let far = believed.filter(|(time, _)| ahead_of(*time) > AWAY_MS_MAX);
        let wrong = far.or_else(|| newest.filter(|(time, _)| ahead_of(*time) < -OFF_MS_MAX));
        if let Some((recorded, what)) = wrong {
            tracing::warn!(
                %now,
                %recorded,
                "the clock is {} {what}; if it's wrong, stop the host and put it right: tokens, approvals, budgets and writes \
                 that were made go by it. Nothing is removed for its age in the next 6 hours",
                off(ahead_of(recorded), "ahead of", "behind")
            );
        }
        Self(Mutex::new(Watched { clock: now, at, put: (doubted || wrong.is_some()).then_some(at) }))
    }

    /// Takes a look at the clock, which shows `now`. Answers whether it's doubted: whether it was put within the last 6
    /// hours, ahead or back, by more than 5 minutes. The log says when it was.
    pub fn is_doubted(&self, now: Millis, at: Duration) -> bool {
        let mut watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = at.saturating_sub(watched.at);
        let ahead = now.0.saturating_sub(watched.clock.plus(passed).0);
        if ahead.saturating_abs() > OFF_MS_MAX {
            tracing::warn!(
                %now,
                "the clock was put {}, or this machine was paused; if it's wrong now, put it right: tokens, approvals, budgets and \
                 writes that were made go by it. Nothing is removed for its age in the next 6 hours",
                off(ahead, "ahead", "back")
            );
            watched.put = Some(at);
        }
        (watched.clock, watched.at) = (now, at);
        watched.put.is_some_and(|put| at.saturating_sub(put) < DOUBTED)
    }
}

/// A span and its direction, in words.
fn off(ahead_ms: i64, ahead: &str, behind: &str) -> String {
    let span = ahead_ms.saturating_abs();
    let units = [(DAY_MS, "days"), (HOUR_MS, "hours")];
    let (unit_ms, unit) = units.into_iter().find(|(ms, _)| span >= 2 * ms).unwrap_or((60_000, "minutes"));
    let count = span / unit_ms;
    format!("{count} {unit} {}", if ahead_ms < 0 { behind } else { ahead })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn times_are_shown_as_rfc_3339() {
        assert_eq!(Millis(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Millis(1_700_000_000_123).to_string(), "2023-11-14T22:13:20.123Z");
    }

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = ManualClock::at(Millis(5));
        assert_eq!(clock.now(), Millis(5));
        clock.advance(Duration::from_secs(1));
        assert_eq!(clock.now(), Millis(1005));
        clock.put(Millis(3));
        assert_eq!(clock.now(), Millis(3));
    }

    #[test]
    fn a_clock_that_was_put_is_doubted_until_it_has_run_for_a_while() {
        let (now, at) = (Millis(1_700_000_000_000), since_boot());
        let watch = ClockWatch::begin(now, at, None, None, false);
        assert!(!watch.is_doubted(now.plus(DAY), at + DAY), "a day has passed");
        let (now, at) = (now.plus(DAY), at + DAY);
        assert!(!watch.is_doubted(now.plus(4 * MINUTE), at), "it was adjusted");
        let years_ahead = now.plus(3 * 365 * DAY);
        assert!(watch.is_doubted(years_ahead, at));
        assert!(watch.is_doubted(years_ahead.plus(5 * 60 * MINUTE), at + 5 * 60 * MINUTE));
        assert!(watch.is_doubted(now.plus(5 * 60 * MINUTE), at + 5 * 60 * MINUTE), "it was put back");
        assert!(watch.is_doubted(now.plus(10 * 60 * MINUTE), at + 10 * 60 * MINUTE));
        assert!(!watch.is_doubted(now.plus(11 * 60 * MINUTE), at + 11 * 60 * MINUTE));
    }

    #[test]
    fn a_clock_is_held_against_what_was_recorded() {
        let (now, at) = (Millis(1_700_000_000_000), since_boot());
        let before = |span: Duration| Some(Millis(now.0 - i64::try_from(span.as_millis()).unwrap()));
        for (newest, believed, doubted) in [
            (None, None, false),
            (Some(now.plus(4 * MINUTE)), None, false),
            (Some(now.plus(6 * MINUTE)), None, true),
            (Some(now.plus(3 * 365 * DAY)), before(DAY), true),
            (before(29 * DAY), None, false),
            (before(31 * DAY), None, true),
            (before(31 * DAY), before(29 * DAY), false),
            (before(MINUTE), before(29 * DAY), false),
        ] {
            let watch = ClockWatch::begin(now, at, newest, believed, false);
            assert_eq!(watch.is_doubted(now, at), doubted, "{newest:?} {believed:?}");
        }
    }

    #[test]
    fn a_wrong_clock_is_doubted_anew_by_a_host_that_is_started_again() {
        let (believed, at) = (Millis(1_700_000_000_000), since_boot());
        let wrong = believed.plus(3 * 365 * DAY);
        // The second time the newest row is the start that the wrong clock put on record.
        for newest in [believed, wrong] {
            let watch = ClockWatch::begin(wrong, at, Some(newest), Some(believed), false);
            assert!(watch.is_doubted(wrong.plus(5 * 60 * MINUTE), at + 5 * 60 * MINUTE), "{newest}");
        }
        // Off by less than that, it's as the last host left it.
        for doubted in [false, true] {
            let (now, newest) = (believed.plus(2 * DAY), Some(believed.plus(2 * DAY)));
            let watch = ClockWatch::begin(now, at, newest, Some(believed), doubted);
            assert_eq!(watch.is_doubted(now, at), doubted);
        }
    }

    #[test]
    fn how_far_a_clock_is_off_is_said_in_words() {
        assert_eq!(off(6 * 60_000, "ahead", "back"), "6 minutes ahead");
        assert_eq!(off(-3 * HOUR_MS, "ahead", "back"), "3 hours back");
        assert_eq!(off(i64::MIN, "ahead", "back"), "106751991167 days back");
    }
}
