//! What looks like a credential, whosever it is.
//!
//! The sweep finds the secret that was injected, and refuses. This finds what has the shape of some vendor's secret: an
//! upstream that hands out keys in its replies, or a tool that has one built in. It may as well be a name or an example,
//! so it's only told to the operator, and no reply is refused for it. What an operator writes where it's kept in clear is
//! refused: another name costs nothing.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, Input, MatchKind};

use crate::ids::{InvalidName, SecretLabel};

/// A beginning that only credentials have, and how many characters of a token have to follow.
const SHAPES: &[(&str, usize)] = &[
    ("sk_live_", 16),
    ("sk_test_", 16),
    ("rk_live_", 16),
    ("rk_test_", 16),
    ("whsec_", 24),
    ("ghp_", 36),
    ("gho_", 36),
    ("ghu_", 36),
    ("ghs_", 36),
    ("ghr_", 36),
    ("github_pat_", 50),
    ("glpat-", 20),
    ("xoxb-", 20),
    ("xoxp-", 20),
    ("sk-ant-", 24),
    ("AKIA", 16),
    ("AIza", 35),
    ("kbt_", 43),
    ("kbo_", 43),
    ("-----BEGIN PRIVATE KEY-----", 0),
    ("-----BEGIN RSA PRIVATE KEY-----", 0),
    ("-----BEGIN EC PRIVATE KEY-----", 0),
    ("-----BEGIN OPENSSH PRIVATE KEY-----", 0),
];

/// The first shape of a credential in these bytes: its beginning, which says whose it is and is no secret.
#[must_use]
pub(crate) fn credential_shape(bytes: &[u8]) -> Option<&'static str> {
    // The leftmost match is what the automaton finds several bytes at a time.
    static FINDER: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
        let beginnings = SHAPES.iter().map(|(beginning, _)| beginning);
        AhoCorasick::builder().match_kind(MatchKind::LeftmostFirst).build(beginnings).ok()
    });
    let finder = FINDER.as_ref()?;
    let mut from = 0;
    while let Some(found) = finder.find(Input::new(bytes).range(from..)) {
        let (beginning, more) = SHAPES.get(found.pattern().as_usize())?;
        let (before, after) = (bytes.get(..found.start())?, bytes.get(found.end()..)?);
        let is_token = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        // In the middle of a longer word it's no beginning.
        let begins = !before.last().is_some_and(u8::is_ascii_alphanumeric);
        if begins && after.iter().take(*more).take_while(is_token).count() == *more {
            return Some(beginning);
        }
        from = found.start() + 1;
    }
    None
}

/// The label that a secret is stored under, or that a connection names, as someone wrote it. The secret itself, in its
/// label's place, would be in clear in the database, in lists and on the audit trail. A label that is stored can still be
/// parsed, and removed.
///
/// # Errors
/// What is wrong, without a word of the text.
pub(crate) fn new_label(text: &str) -> Result<SecretLabel, &'static str> {
    if credential_shape(text.as_bytes()).is_some() {
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
            ("-----BEGIN RSA PRIVATE KEY-----\nMII".to_owned(), "-----BEGIN RSA PRIVATE KEY-----"),
            (format!("sk_live_short and sk_test_{}", "b".repeat(20)), "sk_test_"),
            ("xoxb------BEGIN PRIVATE KEY-----".to_owned(), "-----BEGIN PRIVATE KEY-----"),
        ] {
            assert_eq!(credential_shape(text.as_bytes()), Some(shape), "{text}");
        }
    }

    #[test]
    fn a_credential_is_no_label_and_is_not_repeated() {
        let credential = format!("sk_live_{}", "a1".repeat(12));
        for text in ["sk/+=", "", "a b", &credential, &format!("stripe:{credential}")] {
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
    }
}
