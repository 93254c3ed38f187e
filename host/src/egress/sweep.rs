//! Finds an injected secret, in every form it may come back in.
//!
//! Two things work together. Forms that a text takes on as a whole (base64, hex, reversed) are searched for as they
//! are, all at once. Forms that may mix with plain characters (percent, backslash and HTML escapes, line breaks inside)
//! are undone in what is searched: it doesn't matter which of the characters are written so. `decode` says which escapes
//! there are.
//!
//! A body is searched as a whole, after it was put together and decompressed, so it doesn't matter how it was cut
//! into pieces on the way.

mod decode;
mod filter;
#[cfg(test)]
mod tests;

use std::fmt;

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use filter::Filter;

/// What stands in a redacted text.
pub(super) const REDACTED: &str = "[REDACTED]";
/// A longer secret is searched for by its first bytes: whoever has the whole has those too, and the automaton stays
/// small.
const SEARCHED_BYTES_MAX: usize = 256;
/// How many escapes may lie one inside the other: a percent-encoded text inside a JSON string, for example.
const ESCAPES_NESTED_MAX: usize = 2;

/// Knows every form of the one value that was injected.
///
/// It is compiled once for a version of a secret and holds what it searches for, in clear and not zeroized, for as
/// long as that version is in use. `Debug` shows nothing of it.
pub struct Sweep {
    /// `None`: nothing could be compiled, and everything counts as found.
    finder: Option<AhoCorasick>,
    /// Spares the finder most of a text. `None`: it looks at all of it.
    filter: Option<Filter>,
    /// How many of the patterns, the first ones, are injected values as they are, in full.
    plain: usize,
}

impl Sweep {
    /// A sweep for a reply that no secret was injected for: it finds nothing.
    #[must_use]
    pub(crate) fn of_nothing() -> Self {
        Self { finder: AhoCorasick::new::<_, &[u8]>([]).ok(), filter: None, plain: 0 }
    }

    /// Compiles a sweep for the values that are injected: the secret, and what it was turned into.
    ///
    /// INVARIANT (fails closed): without a usable value, or when compiling fails, everything counts as found.
    #[must_use]
    pub(in crate::egress) fn new<V: AsRef<[u8]>>(values: &[V]) -> Self {
        let cut = |value: &V| value.as_ref().iter().copied().take(SEARCHED_BYTES_MAX).collect::<Vec<u8>>();
        let mut patterns: Vec<Vec<u8>> = values.iter().map(cut).collect();
        let whole = values.iter().all(|value| value.as_ref().len() <= SEARCHED_BYTES_MAX);
        let plain = if whole { patterns.len() } else { 0 };
        let usable = !patterns.is_empty() && patterns.iter().all(|pattern| !pattern.is_empty());
        for value in patterns.clone() {
            patterns.extend(forms(&value));
        }
        // Letters of either case: hex comes in both, and a secret in capitals is still one.
        let compiled = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(&patterns);
        Self { finder: compiled.ok().filter(|_| usable), filter: Filter::new(&patterns), plain }
    }

    /// Whether any form of the secret is in these bytes.
    #[must_use]
    pub fn finds(&self, bytes: &[u8]) -> bool {
        match &self.finder {
            Some(finder) => self.finds_written(finder, bytes, ESCAPES_NESTED_MAX),
            None => true,
        }
    }

    fn finds_written(&self, finder: &AhoCorasick, bytes: &[u8], escapes_left: usize) -> bool {
        let found = match &self.filter {
            Some(filter) => filter.any(bytes, |stretch| finder.is_match(stretch)),
            None => finder.is_match(bytes),
        };
        if found {
            return true;
        }
        let Some(left) = escapes_left.checked_sub(1) else { return false };
        let mut undone = decode::ALL.iter().filter_map(|decode| decode(bytes));
        undone.any(|plain| self.finds_written(finder, &plain, left))
    }

    /// The text with the secret replaced by `[REDACTED]`; where it hides in another form, the whole text is.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        let Some(finder) = &self.finder else { return REDACTED.to_owned() };
        if !self.finds(text.as_bytes()) {
            return text.to_owned();
        }
        let mut redacted = String::with_capacity(text.len());
        let mut from = 0;
        for found in finder.find_iter(text) {
            if found.pattern().as_usize() >= self.plain {
                return REDACTED.to_owned();
            }
            redacted.push_str(text.get(from..found.start()).unwrap_or_default());
            redacted.push_str(REDACTED);
            from = found.end();
        }
        redacted.push_str(text.get(from..).unwrap_or_default());
        if self.finds(redacted.as_bytes()) { REDACTED.to_owned() } else { redacted }
    }
}

impl fmt::Debug for Sweep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sweep")
    }
}

/// Every form that a value takes on as a whole.
fn forms(value: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = vec![value.iter().rev().copied().collect(), hex::encode(value).into_bytes()];
    if value.contains(&b' ') {
        // A form's way to write a space.
        forms.push(value.iter().map(|&b| if b == b' ' { b'+' } else { b }).collect());
        // What is searched has its lines put together, and so loses its spaces.
        forms.push(value.iter().copied().filter(|&b| b != b' ').collect());
    }
    // What is searched has its escapes undone, and so may lose what only looked like one in the secret.
    forms.extend(decode::ALL.iter().filter_map(|decode| decode(value)));
    for before in 0..3 {
        forms.push(base64_core(&STANDARD_NO_PAD, value, before));
        forms.push(base64_core(&URL_SAFE_NO_PAD, value, before));
    }
    forms.sort();
    forms.dedup();
    // A pattern this short would be found everywhere. What comes to this is a secret of spaces, or of escapes, for the most
    // part, without them.
    const SURE_BYTES_MIN: usize = 6;
    forms.retain(|form| form.len() >= SURE_BYTES_MIN);
    forms
}

/// The characters that a value turns into when so many bytes stand before it, without those at either end that
/// depend on its neighbours.
fn base64_core(engine: &impl base64::Engine, value: &[u8], before: usize) -> Vec<u8> {
    let mut bytes = vec![0; before];
    bytes.extend_from_slice(value);
    let encoded = engine.encode(&bytes).into_bytes();
    let first = (before * 8).div_ceil(6);
    let end = bytes.len() * 8 / 6;
    encoded.get(first..end).unwrap_or_default().to_vec()
}
