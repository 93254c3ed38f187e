//! A secret in clear, for as long as it takes to attach it and to look for it in replies.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::ids::random;

/// What a canary begins with, so that a person who finds one knows what it is.
const CANARY_PREFIX: &str = "kbcanary_";

/// One version of a secret.
///
/// INVARIANT (unprintable): it can't be copied, printed, serialized or read outside `egress`, and it's zeroized when
/// dropped. Everyone may hold one:
///
/// ```
/// fn hold(secret: &keybearer::egress::Secret) -> u32 {
///     secret.version()
/// }
/// assert_eq!(hold(&keybearer::egress::Secret::canary()), 0);
/// ```
///
/// Nobody may clone, print or serialize it:
///
/// ```compile_fail,E0277
/// fn clone<T: Clone>(_: &T) {}
/// clone(&keybearer::egress::Secret::canary());
/// ```
/// ```compile_fail,E0277
/// fn debug<T: std::fmt::Debug>(_: &T) {}
/// debug(&keybearer::egress::Secret::canary());
/// ```
/// ```compile_fail,E0277
/// fn display<T: std::fmt::Display>(_: &T) {}
/// display(&keybearer::egress::Secret::canary());
/// ```
/// ```compile_fail,E0277
/// fn serialize<T: serde::Serialize>(_: &T) {}
/// serialize(&keybearer::egress::Secret::canary());
/// ```
///
/// And nobody outside `egress` gets at its bytes:
///
/// ```compile_fail,E0624
/// keybearer::egress::Secret::canary().expose();
/// ```
pub struct Secret {
    bytes: Zeroizing<Vec<u8>>,
    version: u32,
}

impl Secret {
    /// A secret that the vault opened.
    pub(in crate::egress) fn new(bytes: Zeroizing<Vec<u8>>, version: u32) -> Self {
        Self { bytes, version }
    }

    /// A fresh random value that stands in for a secret where there's none: in fixtures. It begins with `kbcanary_`
    /// and its version is 0, which no secret of the vault has.
    #[must_use]
    pub fn canary() -> Self {
        let mut entropy = Zeroizing::new([0_u8; 32]);
        random(&mut *entropy);
        let text = format!("{CANARY_PREFIX}{}", URL_SAFE_NO_PAD.encode(entropy.as_slice()));
        Self::new(Zeroizing::new(text.into_bytes()), 0)
    }

    /// Which version of the secret this is. A version number is never used twice for one label, so realm, label and
    /// version name a value for ever.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The secret itself, for attaching it and for compiling the leak sweep.
    pub(in crate::egress) fn expose(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canaries_are_recognisable_and_all_different() {
        let (one, two) = (Secret::canary(), Secret::canary());
        assert!(one.expose().starts_with(CANARY_PREFIX.as_bytes()));
        assert_eq!(one.expose().len(), CANARY_PREFIX.len() + 43);
        assert_ne!(one.expose(), two.expose());
    }
}
