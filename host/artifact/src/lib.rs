//! Compiled components on disk.
//!
//! A compiled component is machine code: whoever can choose its bytes runs code in the host. So this host seals
//! what it compiles with a key that only it has, and loads nothing else. The seal covers which component the code
//! was compiled from and for which engine, so a file moved to another name doesn't open either.
//!
//! This crate is apart from `keybearer` so that all of the project's `unsafe` is one line in one small file.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use wasmtime::Engine;
use wasmtime::component::Component;
use zeroize::Zeroize;

/// Says what the file is, and which version of this format.
const MAGIC: &[u8; 8] = b"kbcode\0\x01";
/// The length of an HMAC-SHA-256 tag, in bytes.
const TAG_BYTES: usize = 32;

/// The key that seals one home's cache. It is zeroized on drop.
pub struct CacheKey([u8; 32]);

impl CacheKey {
    /// A key of 256 random bits, which the caller drew.
    #[must_use]
    pub fn new(random: [u8; 32]) -> Self {
        Self(random)
    }

    /// The key's bytes, for the one file that keeps them.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0
    }
}

impl Drop for CacheKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CacheKey(…)")
    }
}

/// What a piece of compiled code is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding {
    /// SHA-256 of the component that it was compiled from.
    pub component: [u8; 32],
    /// A hash of all that the compiled form depends on: wasmtime's version, the target, the settings.
    pub engine: [u8; 32],
}

/// Why a file was not loaded. Whatever the reason, the answer is to compile again.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It isn't what this host sealed for this component and this engine.
    #[error("the cached code was not sealed by this host for this component and engine")]
    NotAuthentic,
    /// It is, and the engine can't use it all the same.
    #[error("the engine can't load the cached code: {0}")]
    Unusable(String),
}

/// Seals compiled code, as [`Component::serialize`] gives it.
#[must_use]
pub fn seal(key: &CacheKey, binding: &Binding, code: &[u8]) -> Vec<u8> {
    let tag = authenticator(key, binding, code).finalize().into_bytes();
    let mut file = Vec::with_capacity(MAGIC.len() + TAG_BYTES + code.len());
    file.extend_from_slice(MAGIC);
    file.extend_from_slice(&tag);
    file.extend_from_slice(code);
    file
}

/// Opens what [`seal`] sealed with the same key and binding, and loads it.
///
/// # Errors
/// [`OpenError::NotAuthentic`] for any other bytes.
#[expect(unsafe_code, reason = "loading machine code is unsafe; what makes it sound is written beside it")]
pub fn open(key: &CacheKey, binding: &Binding, engine: &Engine, file: &[u8]) -> Result<Component, OpenError> {
    let code = authentic(key, binding, file).ok_or(OpenError::NotAuthentic)?;
    // SAFETY: `deserialize` asks for bytes that `serialize` gave, unchanged. `authentic` has just checked a MAC over
    // these very bytes, held in memory since, with a key that only this host's `seal` uses, and `seal` is only given
    // what `Component::serialize` returned. `deserialize` itself checks that version, target and settings fit.
    unsafe { Component::deserialize(engine, code) }.map_err(|error| OpenError::Unusable(format!("{error:#}")))
}

/// The code in a sealed file, if the seal holds. The tags are compared in constant time.
fn authentic<'f>(key: &CacheKey, binding: &Binding, file: &'f [u8]) -> Option<&'f [u8]> {
    let (tag, code) = file.strip_prefix(MAGIC)?.split_at_checked(TAG_BYTES)?;
    authenticator(key, binding, code).verify_slice(tag).ok()?;
    Some(code)
}

/// HMAC-SHA-256 over the format, the binding and the code. All parts before the code have a fixed length, so no two
/// different triples give the same input.
#[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
fn authenticator(key: &CacheKey, binding: &Binding, code: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&key.0).expect("HMAC takes a key of any length");
    mac.update(MAGIC);
    mac.update(&binding.component);
    mac.update(&binding.engine);
    mac.update(code);
    mac
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics has failed")]
mod tests {
    use super::*;

    /// The smallest component there is.
    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    const BINDING: Binding = Binding { component: [1; 32], engine: [2; 32] };

    fn key() -> CacheKey {
        CacheKey::new([7; 32])
    }

    fn sealed(engine: &Engine) -> Vec<u8> {
        let code = Component::new(engine, EMPTY).unwrap().serialize().unwrap();
        seal(&key(), &BINDING, &code)
    }

    fn is_refused(engine: &Engine, binding: &Binding, file: &[u8]) -> bool {
        matches!(open(&key(), binding, engine, file), Err(OpenError::NotAuthentic))
    }

    #[test]
    fn what_was_sealed_opens() {
        let engine = Engine::default();
        open(&key(), &BINDING, &engine, &sealed(&engine)).unwrap();
    }

    #[test]
    fn no_bit_may_change() {
        let engine = Engine::default();
        let file = sealed(&engine);
        let header = 0..MAGIC.len() + TAG_BYTES;
        let body = (header.end..file.len()).step_by(file.len() / 200);
        for at in header.chain(body).chain([file.len() - 1]) {
            let mut changed = file.clone();
            changed[at] ^= 1 << (at % 8);
            assert!(is_refused(&engine, &BINDING, &changed), "byte {at}");
        }
    }

    #[test]
    fn no_length_but_its_own_opens() {
        let engine = Engine::default();
        let mut file = sealed(&engine);
        for length in [0, 1, 7, 8, 39, 40, 41, file.len() / 2, file.len() - 1] {
            assert!(is_refused(&engine, &BINDING, &file[..length]), "{length} bytes");
        }
        file.push(0);
        assert!(is_refused(&engine, &BINDING, &file));
    }

    #[test]
    fn another_component_engine_or_key_does_not_open() {
        let engine = Engine::default();
        let file = sealed(&engine);
        assert!(is_refused(&engine, &Binding { component: [3; 32], ..BINDING }, &file));
        assert!(is_refused(&engine, &Binding { engine: [3; 32], ..BINDING }, &file));
        let other = CacheKey::new([8; 32]);
        assert!(matches!(open(&other, &BINDING, &engine, &file), Err(OpenError::NotAuthentic)));
    }

    #[test]
    fn sealed_nonsense_is_an_error_and_no_crash() {
        let file = seal(&key(), &BINDING, b"no machine code");
        let opened = open(&key(), &BINDING, &Engine::default(), &file);
        assert!(matches!(opened, Err(OpenError::Unusable(_))));
    }

    #[test]
    fn a_key_is_not_printed() {
        assert_eq!(format!("{:?}", key()), "CacheKey(…)");
    }
}
