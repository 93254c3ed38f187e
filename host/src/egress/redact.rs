//! Takes what looks like a credential out of a line that people read, and nobody acts on: a tool's in the host's log.
//!
//! The rules are those of the Python package's `redact` (`secrets/detect.py`), and it errs towards finding: the shapes of
//! vendors' credentials, what something names as a password or a key, what logs somebody in, in a header or an address,
//! and what looks random shortly after a word for secrets. What looks like a word in a sentence stays.
//!
//! A tool writes the lines, so all that repeats in these patterns has a limit or is read once: the time grows with a line's
//! length alone, and the length is bounded.

mod blank;
mod named;
mod random;
mod sent;
#[cfg(test)]
mod tests;
mod value;

use std::ops::Range;
use std::sync::LazyLock;

use self::blank::Blank;
use self::named::Named;
use self::random::Random;
use self::sent::Sent;
use super::shape::credential_places;
use super::sweep::REDACTED;

/// The rules that are patterns.
struct Rules {
    named: Named,
    sent: Sent,
    random: Random,
}

impl Rules {
    fn new() -> Option<Self> {
        Some(Self { named: Named::new()?, sent: Sent::new()?, random: Random::new()? })
    }

    fn places(&self, text: &str) -> Option<Vec<Range<usize>>> {
        let mut places = credential_places(text)?;
        places.extend(self.named.places(text));
        places.extend(self.sent.places(text));
        places.extend(self.random.places(text));
        places.sort_by_key(|place| (place.start, place.end));
        Some(places)
    }
}

/// The text with `[REDACTED]` in place of whatever looks like a credential.
///
/// INVARIANT (fails closed): when the rules can't be compiled, `[REDACTED]` is all that's left.
#[must_use]
pub(crate) fn redact(text: &str) -> String {
    static RULES: LazyLock<Option<Rules>> = LazyLock::new(Rules::new);
    let Some(places) = RULES.as_ref().and_then(|rules| rules.places(text)) else {
        return REDACTED.to_owned();
    };
    let mut redacted = String::with_capacity(text.len());
    let mut done = 0;
    for place in places {
        // What overlaps is one.
        if place.start >= done {
            redacted.push_str(text.get(done..place.start).unwrap_or_default());
            redacted.push_str(REDACTED);
        }
        done = done.max(place.end);
    }
    redacted.push_str(text.get(done..).unwrap_or_default());
    redacted
}
