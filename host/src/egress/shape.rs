//! What looks like a credential, whosever it is.
//!
//! The sweep finds the secret that was injected, and refuses. This finds what has the shape of some vendor's secret: an
//! upstream that hands out keys in its replies, or a tool that has one built in. It may as well be a name or an example,
//! so it's only told to the operator, and no reply is refused for it. What an operator writes where it's kept in clear is
//! refused: another name costs nothing. From a line of a log it's cut out, and there shorter ones are too: nobody acts on
//! such a line. JSON Web Tokens, some of which are for everyone, and ids of AWS's temporary keys, which every signed link
//! has, are cut out of logs and are no labels; nothing else is said of them.

use std::ops::Range;
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, Input, MatchKind};
use memchr::memmem;

use crate::ids::{InvalidName, SecretLabel};

/// What a vendor's credentials look like.
struct Shape {
    /// A beginning that only credentials have.
    beginning: &'static str,
    /// What follows it.
    follows: Follows,
    /// How many characters of that make it better left out of a log.
    doubtful: usize,
    /// How many make it a credential; [`NEVER`]: it may be meant for everyone.
    sure: usize,
}

impl Shape {
    /// How many make it something that no label is.
    fn no_label(&self) -> usize {
        if self.sure == NEVER { self.doubtful } else { self.sure }
    }
}

/// More than any text has.
const NEVER: usize = usize::MAX;

const fn shape(beginning: &'static str, follows: Follows, doubtful: usize, sure: usize) -> Shape {
    Shape { beginning, follows, doubtful, sure }
}

/// One list for all that asks. The Python package knows the same ones (`secrets/detect.py`). Where one begins as another one
/// does, the longer comes first.
const SHAPES: &[Shape] = &[
    shape("sk_live_", Follows::Token, 8, 16),
    shape("sk_test_", Follows::Token, 8, 16),
    shape("rk_live_", Follows::Token, 8, 16),
    shape("rk_test_", Follows::Token, 8, 16),
    shape("whsec_", Follows::Base64, 16, 24),
    shape("ghp_", Follows::Token, 20, 36),
    shape("gho_", Follows::Token, 20, 36),
    shape("ghu_", Follows::Token, 20, 36),
    shape("ghs_", Follows::Token, 20, 36),
    shape("ghr_", Follows::Token, 20, 36),
    shape("github_pat_", Follows::Token, 20, 50),
    shape("glpat-", Follows::Token, 16, 20),
    shape("gldt-", Follows::Token, 16, 20),
    shape("glrt-", Follows::Token, 16, 20),
    shape("glcbt-", Follows::Token, 16, 20),
    shape("glptt-", Follows::Token, 16, 20),
    shape("glsoat-", Follows::Token, 16, 20),
    shape("xoxa-", Follows::Token, 10, 20),
    shape("xoxb-", Follows::Token, 10, 20),
    shape("xoxe-", Follows::Token, 10, 20),
    shape("xoxo-", Follows::Token, 10, 20),
    shape("xoxp-", Follows::Token, 10, 20),
    shape("xoxr-", Follows::Token, 10, 20),
    shape("xoxs-", Follows::Token, 10, 20),
    shape("xapp-", Follows::Token, 10, 20),
    shape("hooks.slack.com/services/", Follows::Base64, 16, 20),
    shape("hooks.slack.com/workflows/", Follows::Base64, 16, 20),
    shape("hooks.slack.com/triggers/", Follows::Base64, 16, 20),
    shape("sk-ant-", Follows::Token, 12, 24),
    shape("sk-proj-", Follows::Numbered, 11, 20),
    shape("sk-", Follows::Numbered, 16, 40),
    shape("AKIA", Follows::Capitals, 16, 16),
    shape("ASIA", Follows::Capitals, 16, NEVER),
    shape("AIza", Follows::Token, 35, 35),
    shape("ya29.", Follows::Dotted, 20, 40),
    shape("SG.", Follows::Dotted, 33, 60),
    shape("npm_", Follows::Token, 30, 36),
    shape("pypi-", Follows::Token, 40, 60),
    shape("hf_", Follows::Token, 30, 34),
    shape("eyJ", Follows::Signed, 0, NEVER),
    shape("kbt_", Follows::Token, 16, 43),
    shape("kbo_", Follows::Token, 16, 43),
    shape("kbm_", Follows::Token, 16, 43),
    shape("-----BEGIN PRIVATE KEY-----", Follows::Key, 0, 0),
    shape("-----BEGIN RSA PRIVATE KEY-----", Follows::Key, 0, 0),
    shape("-----BEGIN EC PRIVATE KEY-----", Follows::Key, 0, 0),
    shape("-----BEGIN DSA PRIVATE KEY-----", Follows::Key, 0, 0),
    shape("-----BEGIN OPENSSH PRIVATE KEY-----", Follows::Key, 0, 0),
    shape("-----BEGIN ENCRYPTED PRIVATE KEY-----", Follows::Key, 0, 0),
    shape("-----BEGIN PGP PRIVATE KEY BLOCK-----", Follows::Key, 0, 0),
];

/// What follows the beginning of a credential.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Follows {
    /// Letters, digits, `-` and `_`.
    Token,
    /// The same, with a digit early on: `sk-` begins words as well.
    Numbered,
    /// Capital letters and digits: so many of them, and then neither a letter nor a digit.
    Capitals,
    /// What base64 and base64url have, and so what a path has.
    Base64,
    /// A token with dots in it.
    Dotted,
    /// The rest of a JSON Web Token.
    Signed,
    /// A private key, up to the line that ends it.
    Key,
}

impl Follows {
    fn takes(self, byte: u8) -> bool {
        match self {
            Self::Token | Self::Numbered => is_token(byte),
            Self::Capitals => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
            Self::Base64 => is_token(byte) || matches!(byte, b'+' | b'/' | b'='),
            Self::Dotted | Self::Signed => is_token(byte) || byte == b'.',
            Self::Key => true,
        }
    }

    /// Whether enough of it stands at the beginning of these bytes.
    fn begins(self, after: &[u8], least: usize) -> bool {
        const DIGIT_WITHIN: usize = 65;
        let all = |least: usize| after.get(..least).is_some_and(|first| first.iter().all(|b| self.takes(*b)));
        match self {
            Self::Numbered => {
                let mut early = after.iter().take(DIGIT_WITHIN).take_while(|byte| is_token(**byte));
                all(least) && early.any(u8::is_ascii_digit)
            }
            Self::Capitals => all(least) && !after.get(least).is_some_and(u8::is_ascii_alphanumeric),
            Self::Signed => least != NEVER && is_signed(after),
            _ => all(least),
        }
    }

    /// Where it ends that goes on at this place.
    fn end(self, bytes: &[u8], from: usize) -> usize {
        let rest = bytes.get(from..).unwrap_or_default();
        from + match self {
            Self::Key => end_of_key(rest),
            _ => rest.iter().take_while(|byte| self.takes(**byte)).count(),
        }
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// Whether these bytes go on as a JSON Web Token does after its first three characters: three parts and two dots.
///
/// The first part ends where another token may begin, so that a run of beginnings is read once.
fn is_signed(after: &[u8]) -> bool {
    const PART_MIN: usize = 8;
    let first = after
        .iter()
        .enumerate()
        .take_while(|(at, byte)| {
            let anew =
                matches!(byte, b'-' | b'_') && after.get(at + 1..).is_some_and(|b| b.starts_with(b"eyJ"));
            is_token(**byte) && !anew
        })
        .count();
    let Some(rest) = after.get(first..).and_then(|rest| rest.strip_prefix(b".")) else { return false };
    let second = rest.iter().take_while(|byte| is_token(**byte)).count();
    first >= PART_MIN && second >= PART_MIN && rest.get(second) == Some(&b'.')
}

/// How long the rest of a private key is: up to the end of the line that ends it, or all of it.
fn end_of_key(rest: &[u8]) -> usize {
    const LAST: &[u8] = b"PRIVATE KEY";
    const DASHES: &[u8] = b"-----";
    let last = memmem::find(rest, LAST).map(|at| at + LAST.len());
    let end = last.and_then(|at| Some(at + memmem::find(rest.get(at..)?, DASHES)? + DASHES.len()));
    end.unwrap_or(rest.len())
}

/// Whether a word may begin after these bytes. In the middle of a longer one it doesn't; after what stands for another
/// character it does: a line break that was written as `\n`, a byte of an address as `%3D`, a terminal's color.
pub(super) fn may_begin(before: &[u8]) -> bool {
    let in_a_word = before.last().is_some_and(u8::is_ascii_alphanumeric);
    !in_a_word
        || matches!(before, [.., b'\\', b'n' | b'r' | b't'])
        || matches!(before, [.., b'%', a, b] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit())
        || ends_color(before)
}

/// Whether a terminal's color ends here, as a line of a log has it: `\u{1b}[1;31m`.
fn ends_color(before: &[u8]) -> bool {
    const NUMBERS_MAX: usize = 16;
    let Some(rest) = before.strip_suffix(b"m") else { return false };
    let is_number = |byte: &&u8| byte.is_ascii_digit() || **byte == b';';
    let numbers = rest.iter().rev().take(NUMBERS_MAX).take_while(is_number).count();
    rest.get(..rest.len() - numbers).is_some_and(|rest| rest.ends_with(br"\u{1b}["))
}

/// Finds beginnings; the leftmost one is what it finds several bytes at a time.
fn finder() -> Option<&'static AhoCorasick> {
    static FINDER: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
        let beginnings = SHAPES.iter().map(|shape| shape.beginning);
        AhoCorasick::builder().match_kind(MatchKind::LeftmostFirst).build(beginnings).ok()
    });
    FINDER.as_ref()
}

/// The next place at or after `from` where something has the shape of a credential, and which shape. `least` says how many
/// characters that takes.
fn next(
    finder: &AhoCorasick,
    bytes: &[u8],
    mut from: usize,
    least: fn(&Shape) -> usize,
) -> Option<(usize, &'static Shape)> {
    while let Some(found) = finder.find(Input::new(bytes).range(from..)) {
        let shape = SHAPES.get(found.pattern().as_usize())?;
        let (before, after) = (bytes.get(..found.start())?, bytes.get(found.end()..)?);
        let stands_alone = shape.follows == Follows::Key || may_begin(before);
        if stands_alone && shape.follows.begins(after, least(shape)) {
            return Some((found.start(), shape));
        }
        from = found.start() + 1;
    }
    None
}

/// The first shape of a credential in these bytes: its beginning, which says whose it is and is no secret.
#[must_use]
pub(crate) fn credential_shape(bytes: &[u8]) -> Option<&'static str> {
    let (_, shape) = next(finder()?, bytes, 0, |shape| shape.sure)?;
    Some(shape.beginning)
}

/// Where a text has what may well be a credential by its shape, from left to right, no two overlapping. `None`: there's no
/// telling.
///
/// No byte is gone over more than a few times, whoever wrote the text.
pub(super) fn credential_places(text: &str) -> Option<Vec<Range<usize>>> {
    let (finder, bytes) = (finder()?, text.as_bytes());
    let mut places: Vec<Range<usize>> = Vec::new();
    let mut from = 0;
    while let Some((start, shape)) = next(finder, bytes, from, |shape| shape.doubtful) {
        // One that begins inside another goes on from where that ends.
        let known = places.last().map_or(0, |place| place.end);
        let end = shape.follows.end(bytes, known.max(start + shape.beginning.len()));
        match places.last_mut() {
            Some(last) if start < last.end => last.end = end,
            _ => places.push(start..end),
        }
        from = start + 1;
    }
    Some(places)
}

/// The label that a secret is stored under, or that a connection names, as someone wrote it. The secret itself, in its
/// label's place, would be in clear in the database, in lists and on the audit trail. A label that is stored can still be
/// parsed, and removed.
///
/// # Errors
/// What is wrong, without a word of the text.
pub(crate) fn new_label(text: &str) -> Result<SecretLabel, &'static str> {
    let looks_like_one = |finder| next(finder, text.as_bytes(), 0, Shape::no_label).is_some();
    if finder().is_none_or(looks_like_one) {
        return Err("this looks like a credential, not like the label of one");
    }
    text.parse().map_err(|error: InvalidName| error.rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_known_by_their_shape() {
        for (text, shape) in [
            (format!(r#"{{"key":"sk_live_{}"}}"#, "a1".repeat(12)), "sk_live_"),
            (format!("token=ghp_{}", "x".repeat(36)), "ghp_"),
            (format!("AKIA{}", "Z2".repeat(8)), "AKIA"),
            (format!("a kbt_{}", "a".repeat(43)), "kbt_"),
            (format!("a kbm_{}", "a".repeat(43)), "kbm_"),
            ("-----BEGIN RSA PRIVATE KEY-----\nMII".to_owned(), "-----BEGIN RSA PRIVATE KEY-----"),
            (format!("sk_live_short and sk_test_{}", "b".repeat(20)), "sk_test_"),
            ("xoxb------BEGIN PRIVATE KEY-----".to_owned(), "-----BEGIN PRIVATE KEY-----"),
            (format!("OPENAI_API_KEY=sk-proj-{}", "a1".repeat(24)), "sk-proj-"),
            (format!("sk-{}", "a1".repeat(24)), "sk-"),
            (format!("sk-ant-api03-{}", "a1".repeat(24)), "sk-ant-"),
            (format!(r"first\nglpat-{}", "x".repeat(20)), "glpat-"),
            (format!("token%3Dghp_{}", "x".repeat(36)), "ghp_"),
            (format!(r"\u{{1b}}[1;31mghp_{}\u{{1b}}[0m", "x".repeat(36)), "ghp_"),
            (format!(r"\u{{1b}}[mAKIA{}\u{{1b}}[m", "Z2".repeat(8)), "AKIA"),
        ] {
            assert_eq!(credential_shape(text.as_bytes()), Some(shape), "{text}");
        }
    }

    #[test]
    fn a_credential_is_no_label_and_is_not_repeated() {
        let credential = format!("sk_live_{}", "a1".repeat(12));
        let signed = format!("eyJ{}.eyJ{}.{}", "a".repeat(12), "b".repeat(12), "c".repeat(43));
        let temporary = format!("ASIA{}", "Z2".repeat(8));
        let prefixed = format!("stripe:{credential}");
        for text in ["sk/+=", "", "a b", &credential, &prefixed, &signed, &temporary] {
            let said = new_label(text).unwrap_err();
            assert!(text.is_empty() || !said.contains(text), "{said}");
        }
        for label in ["stripe-prod", "sk_live_eu", "stripe:live.eu"] {
            assert_eq!(new_label(label).unwrap().as_str(), label);
        }
    }

    #[test]
    fn names_and_talk_of_keys_are_not_credentials() {
        let in_a_word = format!("task_live_{}", "a".repeat(20));
        for text in
            ["", "sk_live_", "sk_live_…", "keys begin with sk_live_ or ghp_", "AKIA is a prefix", &in_a_word]
        {
            assert_eq!(credential_shape(text.as_bytes()), None, "{text}");
        }
        for text in [
            "sk-circle-fade-dot-of-the-spinner-that-is-shown-for-a-while",
            "sk-production-eu-1",
            "eyJhbGciOiJub25lIn0 and eyJhbGciOiJub25lIn0.eyJhbGciOiJub25lIn0",
            "SG.1",
            "%sksk_live_abcdefghijklmnopqrst",
            "[31msk_live_abcdefghijklmnopqrst",
            "AKIAPACIFICREGIONSOUTHEASTHUB",
        ] {
            assert_eq!(credential_shape(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn what_may_be_meant_for_everyone_is_cut_out_of_logs_alone() {
        for credential in [
            format!("eyJ{}.eyJ{}.{}", "a".repeat(12), "b".repeat(12), "c".repeat(43)),
            format!("ASIA{}", "Z2".repeat(8)),
        ] {
            for text in [
                credential.clone(),
                format!("Bearer {credential}"),
                format!("https://s3.example.com/f?X-Amz-Credential={credential}%2F20260101"),
            ] {
                assert_eq!(credential_shape(text.as_bytes()), None, "{text}");
                let start = text.find(&credential).unwrap();
                let place = start..start + credential.len();
                assert_eq!(credential_places(&text), Some(vec![place]), "{text}");
            }
        }
        assert_eq!(credential_places("AWS: ASIAPACIFICREGIONSOUTHEASTHUB"), Some(vec![]));
    }

    #[test]
    fn each_shape_is_found_from_its_least_length_on_and_no_earlier() {
        for shape in SHAPES.iter().filter(|shape| !matches!(shape.follows, Follows::Signed | Follows::Key)) {
            let text =
                |length: usize| format!("{}{}", shape.beginning, "A1".repeat(length).split_at(length).0);
            let is_sure = |text: &str| credential_shape(text.as_bytes()).is_some();
            let is_doubtful = |text: &str| {
                let places = credential_places(text).unwrap();
                places.first().is_some_and(|place| place.start == 0 && place.end == text.len())
            };
            if shape.sure == NEVER {
                assert!(!is_sure(&text(shape.doubtful)), "{}", shape.beginning);
            } else {
                assert!(is_sure(&text(shape.sure)) && !is_sure(&text(shape.sure - 1)), "{}", shape.beginning);
            }
            let least = shape.doubtful;
            assert!(is_doubtful(&text(least)) && !is_doubtful(&text(least - 1)), "{}", shape.beginning);
            assert!(shape.doubtful <= shape.sure, "{}", shape.beginning);
        }
    }

    #[test]
    fn places_end_where_the_credential_does() {
        let rsa = "-----BEGIN RSA PRIVATE KEY-----\\nMII\\n-----END RSA PRIVATE KEY-----";
        for (before, credential, after) in [
            ("key ", "sk_live_abcdefgh", ", thanks"),
            ("", "sk-ant-abcdefgh1234_sk_live_abcdefgh", " "),
            (r"here:\n", rsa, r"\nthat's it"),
            ("", "xoxb------BEGIN PRIVATE KEY-----MII", ""),
            ("ü ", "eyJabcdefgh.abcdefgh.", " ü"),
            ("https://", "hooks.slack.com/services/T0/B0/abcdefghijkl", "?x=1"),
        ] {
            let text = format!("{before}{credential}{after}");
            let place = before.len()..before.len() + credential.len();
            assert_eq!(credential_places(&text), Some(vec![place]), "{text}");
        }
    }

    #[test]
    fn beginnings_without_end_are_read_in_time_that_grows_with_their_number_alone() {
        for beginning in [
            "_eyJabcdefgh",
            "-sk-ant-abcdefgh1234",
            "-----BEGIN PRIVATE KEY-----",
            "_sk-proj-",
            "%3Dghp_",
            "1;1;1;1;1;1;1;1;1mghp_",
        ] {
            let text = beginning.repeat((1 << 20) / beginning.len());
            let begun = std::time::Instant::now();
            let (shape, places) = (credential_shape(text.as_bytes()), credential_places(&text).unwrap());
            assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{beginning} {shape:?}");
            assert!(places.len() <= 1, "{beginning}");
        }
    }
}
