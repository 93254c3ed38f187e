//! A time as people and programs write it in a question to the trail.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::clock::Millis;
use crate::ids::InvalidName;

/// A time by RFC 3339 with its offset from UTC, as `2026-07-01T08:00:00Z`, or a date, which is its first moment in UTC.
///
/// # Errors
/// [`InvalidName`] for anything else: a number, a time without an offset, words.
pub fn when(text: &str) -> Result<Millis, InvalidName> {
    let is_date = text.len() == "2026-07-01".len() && text.bytes().filter(|byte| *byte == b'-').count() == 2;
    let parsed = if is_date {
        let date = text.parse::<Date>().and_then(|date| date.to_zoned(TimeZone::UTC));
        date.map(|midnight| midnight.timestamp())
    } else {
        text.parse::<Timestamp>()
    };
    parsed.map(|time| Millis(time.as_millisecond())).map_err(|_| InvalidName {
        what: "time",
        value: text.chars().take(80).collect(),
        rule: "give a date, or a time with its offset, as 2026-07-01T08:00:00Z",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_dates_are_read_and_nothing_else() {
        let day = Millis(1_782_864_000_000);
        for text in
            ["2026-07-01", "2026-07-01T00:00:00Z", "2026-07-01T02:00:00+02:00", "2026-07-01T00:00:00.000Z"]
        {
            assert_eq!(when(text), Ok(day), "{text}");
        }
        assert_eq!(when(&day.to_string()), Ok(day), "as `audit list` shows them");
        for text in
            ["", "monday", "20260701", "1782864000000", "2026-07-01T00:00:00", "2026-13-01", "2026-07", "-"]
        {
            let error = when(text).unwrap_err().to_string();
            assert!(error.contains("give a date, or a time with its offset"), "{text}: {error}");
        }
    }
}
