//! The key, and how to look for it.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use crate::failure::{Outcome, cannot};

/// A key made up for this run: random, so that finding it means something. Being fake, it may be printed.
pub(super) struct Needle {
    text: String,
    forms: Vec<Vec<u8>>,
}

impl Needle {
    /// A key as Stripe's test keys look.
    pub(super) fn invent() -> Outcome<Self> {
        let source = Path::new("/dev/urandom");
        let mut random = [0; 16];
        File::open(source)
            .and_then(|mut file| file.read_exact(&mut random))
            .map_err(cannot("read", source))?;
        Ok(Self::new(format!("sk_test_{}", hex(&random))))
    }

    fn new(text: String) -> Self {
        let mut forms = vec![text.clone().into_bytes(), hex(text.as_bytes()).into_bytes()];
        forms.extend((0..3).map(|skip| base64_core(text.as_bytes(), skip)));
        Self { text, forms }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// How often any form of it occurs.
    pub(super) fn count_in(&self, bytes: &[u8]) -> usize {
        self.forms.iter().map(|form| bytes.windows(form.len()).filter(|window| window == form).count()).sum()
    }
}

impl fmt::Display for Needle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The part of the base64 text that doesn't depend on what stands around `bytes`, when they begin `skip` bytes into
/// a group of three. With base64url it's the same text here: keys have no byte that makes a `+` or `/`.
fn base64_core(bytes: &[u8], skip: usize) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let aligned = bytes.get((3 - skip) % 3..).unwrap_or_default();
    let mut text = Vec::new();
    for group in aligned.chunks_exact(3) {
        let bits = group.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
        text.extend([18, 12, 6, 0].map(|shift| ALPHABET[bits >> shift & 63]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_found_and_nothing_else() {
        let key = Needle::new("sk_test_0123456789abcdef".into());
        assert_eq!(key.count_in(b"Authorization: Bearer sk_test_0123456789abcdef\r\n"), 1);
        assert_eq!(key.count_in(b"736b5f746573745f30313233343536373839616263646566"), 1);
        for encoded in [
            "c2tfdGVzdF8wMTIzNDU2Nzg5YWJjZGVm",     // the key
            "IHNrX3Rlc3RfMDEyMzQ1Njc4OWFiY2RlZg==", // a space, the key
            "OiBza190ZXN0XzAxMjM0NTY3ODlhYmNkZWY=", // a colon and a space, the key
        ] {
            assert_eq!(key.count_in(encoded.as_bytes()), 1, "{encoded}");
        }
        assert_eq!(key.count_in(b"sk_test_0123456789abcdee"), 0);
    }
}
