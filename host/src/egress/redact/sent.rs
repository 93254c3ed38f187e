//! What logs somebody in, in a header or an address.

use std::ops::Range;

use regex::Regex;

use super::Blank;
use super::blank::is_word_for_nothing;
use crate::egress::shape::may_begin;

/// How many characters make what follows `Bearer` a token.
const TOKEN_MIN: usize = 4;

/// Finds them.
pub(super) struct Sent {
    /// An address with a password. One that wasn't written as URLs have it may hold an @: the last one ends it.
    address: Regex,
    /// `Bearer`, or `Authorization:` with the scheme that may follow.
    header: Regex,
    blank: Blank,
}

impl Sent {
    pub(super) fn new() -> Option<Self> {
        let address =
            r#"[A-Za-z][A-Za-z0-9+.-]{1,20}://[^\s/:@]{0,128}:(?P<password>[^\s/@]+(?:@[^\s/@"'`<>,;]*)*)@"#;
        let header = r#"(?i)(?:bearer\s{1,4}|(?:proxy-)?authorization(?:\\{0,8}["'])?\s{0,4}[:=]\s{0,4}(?:\\{0,8}["'])?(?P<scheme>[a-z]{3,12}\s{1,4})?)"#;
        Some(Self {
            address: Regex::new(address).ok()?,
            header: Regex::new(header).ok()?,
            blank: Blank::new()?,
        })
    }

    pub(super) fn places(&self, text: &str) -> Vec<Range<usize>> {
        let passwords = self.address.captures_iter(text).filter_map(|found| found.name("password"));
        let is_value =
            |value: &str| self.blank.len(value) != Some(value.len()) && !is_word_for_nothing(value);
        let passwords = passwords.filter(|found| is_value(found.as_str())).map(|found| found.range());
        let mut places: Vec<_> = passwords.collect();
        self.headers(text, &mut places);
        places
    }

    fn headers(&self, text: &str, places: &mut Vec<Range<usize>>) {
        let mut at = 0;
        while let Some(header) = self.header.captures_at(text, at) {
            let Some(whole) = header.get(0) else { break };
            if !may_begin(text.as_bytes().get(..whole.start()).unwrap_or_default()) {
                // Both words begin with a letter of one byte.
                at = whole.start() + 1;
                continue;
            }
            at = whole.end();
            // What looks like a scheme may be all that there is.
            let scheme = header.name("scheme").map(|scheme| scheme.start());
            let place = std::iter::once(at).chain(scheme).find_map(|start| Some(start..given(text, start)?));
            if let Some(place) = place {
                at = at.max(place.end);
                places.push(place);
            }
        }
    }
}

/// Where a token ends that begins here, if it's long enough.
fn given(text: &str, start: usize) -> Option<usize> {
    let rest = text.get(start..)?;
    let (mut end, mut count) = (start, 0);
    let mut chars = rest.char_indices().peekable();
    while let Some((at, char)) = chars.next() {
        if char.is_whitespace() || matches!(char, '"' | '\'' | ',' | ';') {
            break;
        }
        let mut next = at + char.len_utf8();
        if char == '\\' {
            // A run of them is a part of it, unless a quote follows.
            while let Some((at, _)) = chars.next_if(|(_, char)| *char == '\\') {
                next = at + 1;
            }
            if chars.peek().is_some_and(|(_, char)| matches!(char, '"' | '\'')) {
                break;
            }
        }
        (end, count) = (start + next, count + 1);
    }
    (count >= TOKEN_MIN).then_some(end)
}
