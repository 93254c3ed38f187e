//! A master key from a passphrase.

use argon2::{Algorithm, Argon2, Params, Version};
use zeroize::Zeroizing;

use super::MasterKeyError;
use crate::ids::random;
use crate::store::ControlStore;

/// A passphrase has at least so many characters.
pub const PASSPHRASE_CHARS_MIN: usize = 12;

/// Argon2id with 19 MiB, 2 passes and 1 lane: what the OWASP Password Storage Cheat Sheet asks for at least
/// (<https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html#argon2id>).
/// The key depends on these: another set of them needs another name for the salt.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Where the salt lies in the store. It's public, and one for the whole vault.
const SALT: &str = "vault.passphrase-salt.v1";
const SALT_BYTES: usize = 16;

/// The 32 bytes behind a passphrase.
pub(super) fn stretch(
    store: &dyn ControlStore,
    passphrase: &str,
) -> Result<Zeroizing<[u8; 32]>, MasterKeyError> {
    if passphrase.chars().count() < PASSPHRASE_CHARS_MIN {
        return Err(MasterKeyError::WeakPassphrase);
    }
    derive(passphrase.as_bytes(), &salt(store)?)
}

fn salt(store: &dyn ControlStore) -> Result<Vec<u8>, MasterKeyError> {
    if let Some(salt) = store.setting(SALT)? {
        return Ok(salt);
    }
    let mut fresh = [0; SALT_BYTES];
    random(&mut fresh);
    // Another process may have been quicker: its one counts.
    Ok(store.ensure_setting(SALT, &fresh)?)
}

fn derive(passphrase: &[u8], salt: &[u8]) -> Result<Zeroizing<[u8; 32]>, MasterKeyError> {
    let failed = |error: argon2::Error| MasterKeyError::Derivation(error.to_string());
    let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(32)).map_err(failed)?;
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase, salt, &mut *key)
        .map_err(failed)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;
    use crate::egress::MasterKey;
    use crate::store::MemoryControl;

    #[test]
    fn the_derivation_is_a_stable_vector() {
        let key = derive(b"correct horse battery staple", b"0123456789abcdef").unwrap();
        // Computed with another implementation of Argon2.
        assert_eq!(hex::encode(*key), "832e52b959b967b570ee4781f6c7bda7ced019ca266ac781fd2d94d4e853b0cd");
    }

    #[test]
    fn the_same_passphrase_gives_the_same_key_in_the_same_vault_alone() {
        let (one, two) = (MemoryControl::new(), MemoryControl::new());
        let id = |store: &MemoryControl, text: &str| {
            MasterKey::from_passphrase(store, text).ok().unwrap().id().to_owned()
        };
        let first = id(&one, "correct horse battery");
        assert_eq!(first, id(&one, "correct horse battery"));
        assert_ne!(first, id(&one, "correct horse batterz"));
        assert_ne!(first, id(&two, "correct horse battery"), "each vault has its own salt");
    }

    #[test]
    fn of_several_that_use_it_first_at_once_all_have_one_salt() {
        for _ in 0..50 {
            let (store, start) = (MemoryControl::new(), Barrier::new(8));
            let used = || {
                start.wait();
                salt(&store).unwrap()
            };
            let salts: Vec<_> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..8).map(|_| scope.spawn(used)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert!(salts.iter().all(|salt| *salt == salts[0]), "{salts:?}");
        }
    }

    #[test]
    fn a_short_passphrase_is_refused() {
        let error = MasterKey::from_passphrase(&MemoryControl::new(), "hunter2").err().unwrap();
        assert!(matches!(error, MasterKeyError::WeakPassphrase));
        assert!(!error.to_string().contains("hunter2"));
    }
}
