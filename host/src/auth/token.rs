//! The text of a token: `kbt_`, `kbo_` or `kbm_`, then 256 random bits in 43 characters of base64url.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::ids::random;
use crate::store::TokenKind;

/// 256 bits: nobody guesses one, so a plain hash is enough for storage.
const RANDOM_BYTES: usize = 32;
/// `RANDOM_BYTES` in base64 without padding.
const RANDOM_CHARS: usize = 43;

/// A token in clear. It exists between minting and showing it once, and is zeroized when dropped.
///
/// INVARIANT (shown once): no `Clone`, no `Serialize`, and `Debug` says nothing. `Display` prints it, for the one
/// place that hands it over.
pub struct TokenText(Zeroizing<String>);

impl TokenText {
    /// A fresh token of this kind.
    pub(super) fn fresh(kind: TokenKind) -> Self {
        let mut bytes = Zeroizing::new([0_u8; RANDOM_BYTES]);
        random(&mut *bytes);
        let prefix = prefix(kind);
        // Room for all of it from the start: growing would leave a copy behind.
        let mut text = Zeroizing::new(String::with_capacity(prefix.len() + RANDOM_CHARS + 1));
        text.push_str(prefix);
        URL_SAFE_NO_PAD.encode_string(bytes.as_slice(), &mut text);
        Self(text)
    }

    /// The token, to be handed over.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the store keeps of it.
    pub(super) fn hash(&self) -> [u8; 32] {
        hash(&self.0)
    }
}

impl fmt::Display for TokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenText([REDACTED])")
    }
}

/// What a presented token says of itself. Nothing of it is verified.
pub(super) struct Presented {
    pub(super) kind: TokenKind,
    pub(super) hash: [u8; 32],
}

/// The kind of token that a text begins as, if it begins as one.
pub(crate) fn kind_of(text: &str) -> Option<TokenKind> {
    TokenKind::ALL.into_iter().find(|kind| text.starts_with(prefix(*kind)))
}

/// Reads a presented token; `None` when it can't be one.
pub(super) fn parse(text: &str) -> Option<Presented> {
    let kind = kind_of(text)?;
    let random = text.strip_prefix(prefix(kind))?;
    let in_alphabet = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    (random.len() == RANDOM_CHARS && random.bytes().all(in_alphabet))
        .then(|| Presented { kind, hash: hash(text) })
}

fn prefix(kind: TokenKind) -> &'static str {
    match kind {
        TokenKind::Agent => "kbt_",
        TokenKind::Operator => "kbo_",
        TokenKind::Monitor => "kbm_",
    }
}

fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_token_parses_and_is_unlike_the_next() {
        for kind in TokenKind::ALL {
            let token = TokenText::fresh(kind);
            assert_eq!(token.as_str().len(), 47);
            let presented = parse(token.as_str()).unwrap();
            assert_eq!(presented.kind, kind);
            assert_eq!(presented.hash, token.hash());
            assert_ne!(presented.hash, TokenText::fresh(kind).hash());
        }
    }

    #[test]
    fn what_is_not_a_token_is_not_looked_up() {
        let token = TokenText::fresh(TokenKind::Agent);
        let random = &token.as_str()[4..];
        for bad in [
            String::new(),
            "kbt_".to_owned(),
            random.to_owned(),
            format!("kbx_{random}"),
            format!("KBT_{random}"),
            format!(" kbt_{random}"),
            format!("kbt_{random} "),
            format!("kbt_{random}a"),
            format!("kbt_{}", &random[1..]),
            format!("kbt_{}=", &random[1..]),
            format!("kbt_{}\0", &random[1..]),
            format!("kbt_{}é", &random[2..]),
            format!("Bearer kbt_{random}"),
        ] {
            assert!(parse(&bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn debug_says_nothing() {
        let token = TokenText::fresh(TokenKind::Agent);
        assert_eq!(format!("{token:?}"), "TokenText([REDACTED])");
        assert_eq!(token.to_string(), token.as_str());
    }
}
