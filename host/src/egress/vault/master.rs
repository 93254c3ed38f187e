//! The master key, at the top of the vault's keys: it wraps the tenants' keys and nothing else.

use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::seal::{Place, SealingKey, Unopenable};
use super::tenant::TenantKey;
use super::{key_file, passphrase};
use crate::ids::TenantId;
use crate::store::{ControlStore, StoreError, TenantKeyRow};

/// A 256-bit master key. No `Debug`, no `Clone`; zeroized when dropped.
///
/// The key as given is used to derive two things with HKDF-SHA-256 and then forgotten: the key that wraps, and a public
/// id that rows carry, so that it can be told which master key wrapped them.
pub struct MasterKey {
    wrapping: SealingKey,
    id: String,
}

/// Why there's no master key.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    /// There's a file already.
    #[error("{0} exists already and was left as it is: overwriting a master key would lose every secret")]
    Exists(PathBuf),
    /// There's no file.
    #[error(
        "there is no master key at {0}; put its copy back, or say in keybearer.toml where it is. Without it nobody can \
         read the secrets that it was used for"
    )]
    NoFile(PathBuf),
    /// Others may read the file.
    #[error("{path} may be read or changed by others (mode {mode:04o}); run: chmod 600 {path}", path = .path.display())]
    Shared {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file couldn't be read or written.
    #[error("the master key at {path} can't be read or written: {cause}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        cause: io::Error,
    },
    /// There's no such environment variable.
    #[error("the environment variable {0} is not set (or isn't text); it has to hold the master key")]
    NoVariable(String),
    /// What was given is no key. It isn't repeated here.
    #[error("{from} holds no master key: {rule}")]
    Malformed {
        /// Where it came from.
        from: String,
        /// What it should be.
        rule: &'static str,
    },
    /// Too easily guessed.
    #[error(
        "the passphrase is too short; use at least {} characters, six random words for example",
        passphrase::PASSPHRASE_CHARS_MIN
    )]
    WeakPassphrase,
    /// The salt couldn't be read or stored.
    #[error("the passphrase's salt can't be read or stored: {0}")]
    Store(#[from] StoreError),
    /// Argon2 couldn't run.
    #[error("no key can be derived from the passphrase: {0}")]
    Derivation(String),
}

impl MasterKey {
    /// Makes a random key and writes it to a new file that only its owner may read.
    ///
    /// # Errors
    /// [`MasterKeyError::Exists`] when the file is there: it's left as it is. [`MasterKeyError::File`].
    pub fn create_file(path: &Path) -> Result<Self, MasterKeyError> {
        key_file::create(path)
    }

    /// Reads a key file: 64 hexadecimal digits, or 32 bytes in base64, on a line by themselves. Lines that begin with
    /// `#` are comments.
    ///
    /// # Errors
    /// [`MasterKeyError::Shared`] when anyone but the owner may read or change it, and the other ways to fail.
    pub fn from_file(path: &Path) -> Result<Self, MasterKeyError> {
        key_file::read(path)
    }

    /// Reads a key from an environment variable, which holds what a key file would.
    ///
    /// # Errors
    /// [`MasterKeyError::NoVariable`], [`MasterKeyError::Malformed`].
    pub fn from_env(variable: &str) -> Result<Self, MasterKeyError> {
        let text = env::var(variable).map_err(|_| MasterKeyError::NoVariable(variable.to_owned()))?;
        Self::parse(&Zeroizing::new(text), &format!("the environment variable {variable}"))
    }

    /// Derives a key from a passphrase with Argon2id. The salt is in the store; the first time, it's made. Takes tens of
    /// milliseconds and 19 MiB. A wrong passphrase gives another key: opening the vault tells.
    ///
    /// # Errors
    /// [`MasterKeyError::WeakPassphrase`], [`MasterKeyError::Store`].
    pub fn from_passphrase(store: &dyn ControlStore, passphrase: &str) -> Result<Self, MasterKeyError> {
        Ok(Self::derive(&*passphrase::stretch(store, passphrase)?))
    }

    /// A key that anyone could have, for the tests of what needs a vault.
    #[cfg(test)]
    pub(crate) fn for_tests(byte: u8) -> Self {
        Self::derive(&[byte; 32])
    }

    /// The public id: `mk_` and 16 hexadecimal digits. It tells nothing of the key.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The key in a file's or variable's text.
    pub(super) fn parse(text: &str, from: &str) -> Result<Self, MasterKeyError> {
        let malformed = |rule| MasterKeyError::Malformed { from: from.to_owned(), rule };
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let (Some(line), None) = (lines.next(), lines.next()) else {
            return Err(malformed(
                "it has to have one line with the key, besides comments that begin with '#'",
            ));
        };
        let mut key = Zeroizing::new([0_u8; 32]);
        // Room for one byte more than a key, so that a longer one isn't taken for one.
        let mut decoded = Zeroizing::new([0_u8; 48]);
        if hex::decode_to_slice(line, &mut *key).is_err() {
            match LENIENT.decode_slice(line, &mut *decoded) {
                Ok(32) => key.copy_from_slice(decoded.first_chunk::<32>().unwrap_or(&[0; 32])),
                _ => return Err(malformed("a key is 64 hexadecimal digits, or 32 bytes in base64")),
            }
        }
        if key.iter().all(|byte| Some(byte) == key.first()) {
            return Err(malformed("all its bytes are the same; a key has to be random"));
        }
        Ok(Self::derive(&key))
    }

    /// The key from its 32 bytes.
    #[expect(clippy::expect_used, reason = "HKDF-SHA-256 fails beyond 8160 bytes of output alone")]
    pub(super) fn derive(bytes: &[u8; 32]) -> Self {
        let hkdf = Hkdf::<Sha256>::new(Some(b"keybearer master key v1"), bytes);
        let mut id = [0; 8];
        hkdf.expand(b"public id", &mut id).expect("8 bytes are few enough");
        let wrapping = SealingKey::filled(|key| {
            hkdf.expand(b"wraps tenants' keys", key).expect("32 bytes are few enough");
        });
        Self { wrapping, id: format!("mk_{}", hex::encode(id)) }
    }

    /// A tenant's key under this master key.
    pub(super) fn wrap(&self, tenant: &TenantId, key: &TenantKey) -> TenantKeyRow {
        let wrapped = key.wrapped(&self.wrapping, &Place::tenant_key(tenant, &self.id));
        TenantKeyRow { tenant: tenant.clone(), master: self.id.clone(), wrapped }
    }

    /// The key that a row of this tenant holds.
    pub(super) fn unwrap(&self, tenant: &TenantId, row: &TenantKeyRow) -> Result<TenantKey, Unopenable> {
        TenantKey::unwrapped(&self.wrapping, &Place::tenant_key(tenant, &self.id), &row.wrapped)
    }
}

/// Base64 as `openssl rand -base64 32` prints it; its padding may be left out.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The master keys that a host knows: the one that it was given first, and such as it may still (or soon) meet in the
/// store, which says which of them is in use.
pub struct MasterKeys {
    current: Arc<MasterKey>,
    others: Vec<Arc<MasterKey>>,
    file: Option<PathBuf>,
}

impl From<MasterKey> for MasterKeys {
    fn from(current: MasterKey) -> Self {
        Self { current: Arc::new(current), others: Vec::new(), file: None }
    }
}

impl MasterKeys {
    /// The key in a file, and the one before it in `FILE.previous`, where a rotation leaves it. A vault that is opened
    /// with these reads the file again when it meets a key that it doesn't know, so a running host follows a
    /// rotation by the command line.
    ///
    /// # Errors
    /// As [`MasterKey::from_file`].
    pub fn from_file(path: &Path) -> Result<Self, MasterKeyError> {
        let current = key_file::read(path)?;
        let others = match key_file::read(&key_file::previous(path)) {
            Ok(previous) => vec![Arc::new(previous)],
            Err(MasterKeyError::NoFile(_)) => Vec::new(),
            Err(error) => return Err(error),
        };
        Ok(Self { current: Arc::new(current), others, file: Some(path.to_owned()) })
    }

    /// The same keys and more: those before a rotation, or the one after it.
    #[must_use]
    pub fn and(mut self, others: impl Into<Self>) -> Self {
        let others: Self = others.into();
        self.others.extend(others.all().map(Arc::clone));
        self
    }

    /// The key that was given first, or rotated to since: an empty vault takes it into use.
    #[must_use]
    pub fn current(&self) -> &MasterKey {
        &self.current
    }

    /// The file that the first key was read from.
    pub(super) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The key with this id.
    pub(super) fn find(&self, id: &str) -> Option<Arc<MasterKey>> {
        self.all().find(|key| key.id == id).map(Arc::clone)
    }

    /// The ids of all of them, for messages.
    pub(super) fn ids(&self) -> String {
        self.all().map(|key| key.id()).collect::<Vec<_>>().join(", ")
    }

    /// What is in the file now, and these keys after it: a row that was read before may still need them.
    pub(super) fn read_again(&self, file: &Path) -> Result<Self, MasterKeyError> {
        let mut again = Self::from_file(file)?;
        let kept: Vec<_> = self.all().filter(|key| again.find(key.id()).is_none()).map(Arc::clone).collect();
        again.others.extend(kept);
        Ok(again)
    }

    /// These keys after `next` took the place of the first.
    pub(super) fn succeeded_by(&self, next: MasterKey) -> Self {
        let others = self.all().map(Arc::clone).collect();
        Self { current: Arc::new(next), others, file: self.file.clone() }
    }

    fn all(&self) -> impl Iterator<Item = &Arc<MasterKey>> {
        std::iter::once(&self.current).chain(&self.others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const BASE64: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn id(text: &str) -> Result<String, String> {
        MasterKey::parse(text, "the test").map(|key| key.id).map_err(|error| error.to_string())
    }

    #[test]
    fn hex_and_base64_are_the_same_key() {
        let expected = id(HEX).unwrap();
        assert!(expected.starts_with("mk_") && expected.len() == 19);
        for text in [
            format!("# a comment\n\n{HEX}\n"),
            HEX.to_uppercase(),
            format!("  {HEX}\r\n"),
            BASE64.to_owned(),
            BASE64.trim_end_matches('=').to_owned(),
        ] {
            assert_eq!(id(&text).as_ref(), Ok(&expected), "{text}");
        }
    }

    #[test]
    fn the_id_is_a_stable_vector() {
        // Computed with another HKDF. The id is stored in rows: another derivation would lock everyone out.
        assert_eq!(id(HEX).unwrap(), "mk_62c8d0e8d2a0a355");
    }

    #[test]
    fn what_is_no_key_is_refused_and_not_repeated() {
        let longer = format!("{HEX}00");
        for bad in [
            "",
            "# only a comment",
            &HEX[2..],
            &longer,
            "hunter2hunter2",
            &format!("{HEX}\n{HEX}"),
            &BASE64[4..],
        ] {
            let error = id(bad).unwrap_err();
            assert!(error.contains("the test"), "{error}");
            assert!(!error.contains("hunter2") && !error.contains("0a0b0c"), "{error}");
        }
        assert!(id(&"00".repeat(32)).unwrap_err().contains("random"));
        assert!(id(&"A".repeat(43)).unwrap_err().contains("random"));
    }

    #[test]
    fn a_variable_that_is_not_set_is_named() {
        let error = MasterKey::from_env("KEYBEARER_TEST_NO_SUCH_VARIABLE").err().unwrap();
        assert!(error.to_string().contains("KEYBEARER_TEST_NO_SUCH_VARIABLE"));
    }
}
