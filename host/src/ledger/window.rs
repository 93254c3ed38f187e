//! When a window began, and when it ends.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Window;
use crate::clock::Millis;

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

/// One minute, hour, day or month; or for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// When it began; the zero of time for a window without a begin.
    pub start: Millis,
    /// When it ends; `None`: never.
    pub ends: Option<Millis>,
}

impl Period {
    /// The one that never ends.
    pub const FOR_EVER: Self = Self { start: Millis(0), ends: None };
}

impl Window {
    /// The period of this window that `now` is in. Days and months begin in `zone`, UTC when there's none: a day in
    /// which the clocks change has 23 or 25 hours.
    ///
    /// `None` when `now` is outside of the years that a calendar has (9999 after Christ).
    #[must_use]
    pub fn period(self, now: Millis, zone: Option<&TimeZone>) -> Option<Period> {
        match (self, zone) {
            (Self::PerCall | Self::AtOnce | Self::Total, _) => Some(Period::FOR_EVER),
            (Self::Minute, _) => every(MINUTE_MS, now),
            (Self::Hour, _) => every(HOUR_MS, now),
            (Self::Day, None) => every(DAY_MS, now),
            (Self::Day, Some(zone)) => day(now, zone),
            (Self::Month, zone) => month(now, zone.unwrap_or(&TimeZone::UTC)),
        }
    }
}

fn every(ms: i64, now: Millis) -> Option<Period> {
    let start = now.0.div_euclid(ms).checked_mul(ms)?;
    Some(Period { start: Millis(start), ends: Some(Millis(start.checked_add(ms)?)) })
}

fn day(now: Millis, zone: &TimeZone) -> Option<Period> {
    let today = Timestamp::from_millisecond(now.0).ok()?.to_zoned(zone.clone());
    // By the date rather than by 24 hours; a date that the zone skipped begins where the next one does.
    let start = today.start_of_day().ok()?;
    let ends = today.date().tomorrow().ok()?.to_zoned(zone.clone()).ok()?.start_of_day().ok()?;
    period(&start, &ends)
}

fn month(now: Millis, zone: &TimeZone) -> Option<Period> {
    let today = Timestamp::from_millisecond(now.0).ok()?.to_zoned(zone.clone());
    let first = today.date().first_of_month();
    let next = first.last_of_month().tomorrow().ok()?;
    let start = first.to_zoned(zone.clone()).ok()?.start_of_day().ok()?;
    let ends = next.to_zoned(zone.clone()).ok()?.start_of_day().ok()?;
    period(&start, &ends)
}

fn period(start: &jiff::Zoned, ends: &jiff::Zoned) -> Option<Period> {
    let ms = |zoned: &jiff::Zoned| Millis(zoned.timestamp().as_millisecond());
    Some(Period { start: ms(start), ends: Some(ms(ends)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Millis {
        Millis(text.parse::<Timestamp>().unwrap().as_millisecond())
    }

    fn in_zone(window: Window, now: &str, zone: &str) -> (String, i64) {
        let zone = TimeZone::get(zone).unwrap();
        let period = window.period(at(now), Some(&zone)).unwrap();
        (period.start.to_string(), (period.ends.unwrap().0 - period.start.0) / HOUR_MS)
    }

    #[test]
    fn minutes_and_hours_go_by_the_clock() {
        let period = Window::Minute.period(at("2026-11-21T10:01:59.999Z"), None).unwrap();
        assert_eq!(period.start, at("2026-11-21T10:01:00Z"));
        assert_eq!(period.ends, Some(at("2026-11-21T10:02:00Z")));
        let next = Window::Minute.period(at("2026-11-21T10:02:00Z"), None).unwrap();
        assert_eq!(Some(next.start), period.ends);
        assert_eq!(Window::Hour.period(Millis(-1), None).unwrap().start, Millis(-HOUR_MS));
    }

    #[test]
    fn days_are_those_of_the_zone_and_the_clocks_change_in_some() {
        let day = |now, zone| in_zone(Window::Day, now, zone);
        assert_eq!(day("2026-11-21T22:59:59Z", "Europe/Berlin"), ("2026-11-20T23:00:00.000Z".to_owned(), 24));
        assert_eq!(day("2026-11-21T23:00:00Z", "Europe/Berlin"), ("2026-11-21T23:00:00.000Z".to_owned(), 24));
        // The clocks go forward on 29 March 2026 and back on 25 October.
        assert_eq!(day("2026-03-29T12:00:00Z", "Europe/Berlin"), ("2026-03-28T23:00:00.000Z".to_owned(), 23));
        assert_eq!(day("2026-10-25T12:00:00Z", "Europe/Berlin"), ("2026-10-24T22:00:00.000Z".to_owned(), 25));
        // Both 2:30 of that night are the same day.
        for twice in ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"] {
            assert_eq!(day(twice, "Europe/Berlin").0, "2026-10-24T22:00:00.000Z");
        }
    }

    #[test]
    fn a_midnight_that_is_not_there_and_a_day_that_was_skipped() {
        // In São Paulo, the clocks went from 0:00 to 1:00 on 4 November 2018.
        let (start, hours) = in_zone(Window::Day, "2018-11-04T12:00:00Z", "America/Sao_Paulo");
        assert_eq!((start.as_str(), hours), ("2018-11-04T03:00:00.000Z", 23));
        // Samoa had no 30 December 2011: the 29th ends where the 31st begins.
        let (start, hours) = in_zone(Window::Day, "2011-12-30T09:59:59Z", "Pacific/Apia");
        assert_eq!((start.as_str(), hours), ("2011-12-29T10:00:00.000Z", 24));
        let (start, _) = in_zone(Window::Day, "2011-12-30T10:00:00Z", "Pacific/Apia");
        assert_eq!(start, "2011-12-30T10:00:00.000Z");
    }

    #[test]
    fn months_are_those_of_the_zone() {
        let month = |now| in_zone(Window::Month, now, "America/New_York");
        assert_eq!(month("2026-03-01T04:59:59Z"), ("2026-02-01T05:00:00.000Z".to_owned(), 28 * 24));
        assert_eq!(month("2026-03-01T05:00:00Z"), ("2026-03-01T05:00:00.000Z".to_owned(), 31 * 24 - 1));
        assert_eq!(month("2026-12-31T20:00:00Z"), ("2026-12-01T05:00:00.000Z".to_owned(), 31 * 24));
        assert_eq!(
            Window::Month.period(at("2024-02-29T00:00:00Z"), None).unwrap().start,
            at("2024-02-01T00:00:00Z")
        );
    }

    #[test]
    fn a_time_beyond_the_calendar_has_no_day() {
        let utc = TimeZone::UTC;
        assert_eq!(Window::Day.period(Millis(i64::MAX), Some(&utc)), None);
        assert_eq!(Window::Minute.period(Millis(i64::MIN), None), None);
        assert_eq!(Window::Total.period(Millis(i64::MAX), None), Some(Period::FOR_EVER));
    }

    proptest::proptest! {
        #[test]
        fn every_moment_is_in_its_period_and_periods_join(
            now in 1_000_000_000_000_i64..2_000_000_000_000,
            zone in proptest::sample::select(vec!["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Casablanca"]),
            window in proptest::sample::select(vec![Window::Minute, Window::Hour, Window::Day, Window::Month]),
        ) {
            let zone = TimeZone::get(zone).unwrap();
            let period = window.period(Millis(now), Some(&zone)).unwrap();
            let ends = period.ends.unwrap();
            proptest::prop_assert!(period.start.0 <= now && now < ends.0);
            proptest::prop_assert_eq!(window.period(period.start, Some(&zone)), Some(period));
            proptest::prop_assert_eq!(window.period(Millis(ends.0 - 1), Some(&zone)), Some(period));
            proptest::prop_assert_eq!(window.period(ends, Some(&zone)).unwrap().start, ends);
        }
    }
}
