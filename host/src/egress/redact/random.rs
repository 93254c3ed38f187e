//! What looks random, shortly after a word for secrets.

use std::ops::Range;

use memchr::memmem;
use regex::Regex;

use super::named::{KEYS, PASSWORDS, PHRASES};

/// How far a word reaches, in bytes.
const REACH: usize = 100;
/// The shortest text that is taken for random, in bytes.
const RANDOM_MIN: usize = 20;
/// How many bits a character of it has at least.
const BITS_MIN: f64 = 3.3;
/// How far back an address may begin, in bytes.
const ADDRESS_MAX: usize = 256;

/// Finds it.
pub(super) struct Random {
    words: Regex,
    /// A text without a space in it, as tokens and keys are written.
    token: Regex,
    /// What has digits and letters, and is no secret: `in_1Abc`, a UUID.
    id: Regex,
    /// Of words, as people name folders.
    path: Regex,
}

impl Random {
    pub(super) fn new() -> Option<Self> {
        let words = ["(?i)(?:", PASSWORDS, "|", KEYS, "|", PHRASES, r"|\bpin|(?-i:_PASS)|\bkey\b)"];
        let id = "^(?:[a-z]{2,8}_[A-Za-z0-9]+|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})$";
        Some(Self {
            words: Regex::new(&words.concat()).ok()?,
            token: Regex::new(&format!("[A-Za-z0-9_+/=-]{{{RANDOM_MIN},}}")).ok()?,
            id: Regex::new(id).ok()?,
            path: Regex::new("^/?(?:[A-Z]?[a-z0-9_-]+/)+[A-Z]?[a-z0-9_-]*$").ok()?,
        })
    }

    pub(super) fn places(&self, text: &str) -> Vec<Range<usize>> {
        let mut words = self.words.find_iter(text).map(|word| word.end()).peekable();
        let mut reached = 0;
        let mut places = Vec::new();
        for token in self.token.find_iter(text) {
            while let Some(end) = words.next_if(|end| *end <= token.start()) {
                reached = end + REACH;
            }
            let is_near = token.start() < reached && !in_address(text, token.start());
            if is_near && self.looks_random(token.as_str()) {
                places.push(token.range());
            }
        }
        places
    }

    fn looks_random(&self, token: &str) -> bool {
        if self.id.is_match(token) {
            return false;
        }
        if self.path.is_match(token) {
            return token.split('/').any(|part| part.len() >= RANDOM_MIN && self.looks_random(part));
        }
        let has_both = token.bytes().any(|byte| byte.is_ascii_digit())
            && token.bytes().any(|byte| byte.is_ascii_alphabetic());
        has_both && bits_per_character(token) >= BITS_MIN
    }
}

/// Whether this place is inside a URL. What such a URL shows, its reader sees anyway.
fn in_address(text: &str, at: usize) -> bool {
    let before = text.as_bytes().get(at.saturating_sub(ADDRESS_MAX)..at).unwrap_or_default();
    let word = before.rsplit(u8::is_ascii_whitespace).next().unwrap_or_default();
    memmem::find(word, b"://").is_some()
}

/// How many bits each character of a text tells, by how often it's there.
fn bits_per_character(text: &str) -> f64 {
    let mut counts = [0_usize; 256];
    for byte in text.bytes() {
        if let Some(count) = counts.get_mut(usize::from(byte)) {
            *count += 1;
        }
    }
    let shares = counts.iter().filter(|count| **count > 0).map(|count| *count as f64 / text.len() as f64);
    shares.map(|share| -share * share.log2()).sum()
}
