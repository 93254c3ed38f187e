//! Authenticated encryption, each ciphertext bound to the one place where it belongs.

use aes_gcm::{AeadInOut as _, Aes256Gcm, KeyInit as _};
use zeroize::Zeroizing;

use super::Named;
use crate::ids::{Realm, TenantId, random};

pub(super) const KEY_BYTES: usize = 32;
/// 96 random bits: with one key, two of four thousand million messages meet with a chance of 2⁻³³ (NIST SP 800-38D,
/// 8.3). A data key seals one message, a tenant's key one for every version and note stored, a master key one for every
/// tenant.
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;

/// A 256-bit AES-GCM key. Boxed, so that moving it leaves no copy; zeroized when dropped.
pub(super) struct SealingKey(Box<Zeroizing<[u8; KEY_BYTES]>>);

/// The ciphertext was changed, moved from its place, or sealed under another key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unopenable;

impl SealingKey {
    /// A random key.
    pub(super) fn fresh() -> Self {
        Self::filled(|bytes| random(bytes))
    }

    /// A key that `fill` writes in place.
    pub(super) fn filled(fill: impl FnOnce(&mut [u8; KEY_BYTES])) -> Self {
        let mut key = Box::new(Zeroizing::new([0; KEY_BYTES]));
        fill(&mut key);
        Self(key)
    }

    /// The key of these bytes.
    pub(super) fn of(bytes: &[u8; KEY_BYTES]) -> Self {
        Self::filled(|key| key.copy_from_slice(bytes))
    }

    /// The bytes of the key.
    pub(super) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// Encrypts: nonce, ciphertext, tag.
    #[expect(clippy::expect_used, reason = "AES-GCM fails beyond 64 GiB alone, and secrets are a few KiB")]
    pub(super) fn seal(&self, place: &Place, plain: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE_BYTES];
        random(&mut nonce);
        let mut body = Vec::with_capacity(NONCE_BYTES + plain.len() + TAG_BYTES);
        body.extend_from_slice(&nonce);
        body.extend_from_slice(plain);
        let (_, text) = body.split_at_mut(NONCE_BYTES);
        let tag = self
            .cipher()
            .encrypt_inout_detached(&nonce.into(), &place.0, text.into())
            .expect("a secret is shorter than 64 GiB");
        body.extend_from_slice(&tag);
        body
    }

    /// Decrypts what [`SealingKey::seal`] sealed for the same place.
    pub(super) fn open(&self, place: &Place, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unopenable> {
        let (nonce, rest) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(Unopenable)?;
        let (text, tag) = rest.split_last_chunk::<TAG_BYTES>().ok_or(Unopenable)?;
        let mut plain = Zeroizing::new(text.to_vec());
        self.cipher()
            .decrypt_inout_detached(nonce.into(), &place.0, plain.as_mut_slice().into(), tag.into())
            .map_err(|_| Unopenable)?;
        Ok(plain)
    }

    /// Encrypts another key under this one.
    pub(super) fn wrap(&self, place: &Place, key: &Self) -> Vec<u8> {
        self.seal(place, key.bytes())
    }

    /// Decrypts a key that was wrapped for the same place.
    pub(super) fn unwrap(&self, place: &Place, wrapped: &[u8]) -> Result<Self, Unopenable> {
        let plain = self.open(place, wrapped)?;
        let bytes: &[u8; KEY_BYTES] = plain.as_slice().try_into().map_err(|_| Unopenable)?;
        Ok(Self::of(bytes))
    }

    fn cipher(&self) -> Aes256Gcm {
        Aes256Gcm::new(self.bytes().into())
    }
}

/// Where a ciphertext belongs, as its associated data.
///
/// INVARIANT (bound): the encoding names a purpose and prefixes every field with its length, so two different places
/// never have the same one, and a row that is copied to another place doesn't open there.
pub(super) struct Place(Vec<u8>);

impl Place {
    /// A tenant's key, wrapped by this master key.
    pub(super) fn tenant_key(tenant: &TenantId, master: &str) -> Self {
        Self::encode("tenant key", &[tenant.as_str().as_bytes(), master.as_bytes()])
    }

    /// The data key of one version of a secret.
    pub(super) fn data_key(of: Named<'_>, version: u32) -> Self {
        Self::of_version(["data key", "user's data key"], of, version)
    }

    /// One version of a secret itself.
    pub(super) fn secret(of: Named<'_>, version: u32) -> Self {
        Self::of_version(["secret", "user's secret"], of, version)
    }

    /// A note about something of this name.
    pub(super) fn note(realm: &Realm, about: &str) -> Self {
        Self::encode(
            "note",
            &[realm.tenant.as_str().as_bytes(), realm.environment.as_str().as_bytes(), about.as_bytes()],
        )
    }

    /// The place of an operator's secret, or of a user's own: each has a purpose of its own, so that no label and no
    /// user's id, however it's chosen, makes one into the other.
    fn of_version([operators, users]: [&str; 2], of: Named<'_>, version: u32) -> Self {
        let Named { realm, user, label } = of;
        let (tenant, environment) = (realm.tenant.as_str().as_bytes(), realm.environment.as_str().as_bytes());
        let (label, version) = (label.as_str().as_bytes(), version.to_be_bytes());
        match user {
            None => Self::encode(operators, &[tenant, environment, label, &version]),
            Some(user) => {
                Self::encode(users, &[tenant, environment, user.as_str().as_bytes(), label, &version])
            }
        }
    }

    fn encode(purpose: &str, fields: &[&[u8]]) -> Self {
        let mut bytes = Vec::new();
        for field in [b"keybearer vault v1", purpose.as_bytes()].iter().chain(fields) {
            bytes.extend_from_slice(&(field.len() as u64).to_be_bytes());
            bytes.extend_from_slice(field);
        }
        Self(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{SecretLabel, UserId};

    fn realm(tenant: &str, environment: &str) -> Realm {
        Realm { tenant: tenant.parse().unwrap(), environment: environment.parse().unwrap() }
    }

    fn label(text: &str) -> SecretLabel {
        text.parse().unwrap()
    }

    fn named<'a>(realm: &'a Realm, label: &'a SecretLabel) -> Named<'a> {
        Named { realm, user: None, label }
    }

    #[test]
    fn what_is_sealed_opens_in_its_place() {
        let key = SealingKey::fresh();
        let place = Place::secret(named(&realm("acme", "prod"), &label("stripe")), 1);
        let sealed = key.seal(&place, b"sk_live_1");
        assert_eq!(sealed.len(), NONCE_BYTES + 9 + TAG_BYTES);
        assert_eq!(&**key.open(&place, &sealed).unwrap(), b"sk_live_1");
        assert_ne!(sealed, key.seal(&place, b"sk_live_1"), "the nonce is fresh");
    }

    #[test]
    fn another_place_does_not_open() {
        let key = SealingKey::fresh();
        let sealed =
            key.seal(&Place::secret(named(&realm("acme", "prod"), &label("stripe")), 1), b"sk_live_1");
        for (what, place) in [
            ("tenant", Place::secret(named(&realm("acm", "prod"), &label("stripe")), 1)),
            ("environment", Place::secret(named(&realm("acme", "dev"), &label("stripe")), 1)),
            ("label", Place::secret(named(&realm("acme", "prod"), &label("stripe2")), 1)),
            ("version", Place::secret(named(&realm("acme", "prod"), &label("stripe")), 2)),
            ("purpose", Place::data_key(named(&realm("acme", "prod"), &label("stripe")), 1)),
            ("note", Place::note(&realm("acme", "prod"), "stripe")),
            ("shifted fields", Place::secret(named(&realm("acmep", "rod"), &label("stripe")), 1)),
        ] {
            assert_eq!(key.open(&place, &sealed).err(), Some(Unopenable), "{what}");
        }
        let master = SealingKey::fresh();
        let wrapped = master.wrap(&Place::tenant_key(&"acme".parse().unwrap(), "mk_1"), &key);
        assert!(master.unwrap(&Place::tenant_key(&"acme".parse().unwrap(), "mk_1"), &wrapped).is_ok());
        assert!(master.unwrap(&Place::tenant_key(&"beta".parse().unwrap(), "mk_1"), &wrapped).is_err());
        assert!(master.unwrap(&Place::tenant_key(&"acme".parse().unwrap(), "mk_2"), &wrapped).is_err());
    }

    #[test]
    fn no_label_makes_a_user_s_secret_an_operator_s_or_another_user_s() {
        let (key, realm) = (SealingKey::fresh(), realm("acme", "prod"));
        let of = |user: &str, name: &str| {
            let user: Option<UserId> = (!user.is_empty()).then(|| user.parse().unwrap());
            let name = label(name);
            Place::secret(Named { realm: &realm, user: user.as_ref(), label: &name }, 1)
        };
        let sealed = key.seal(&of("ann", "github"), b"ghp_12345");
        assert!(key.open(&of("ann", "github"), &sealed).is_ok());
        for (user, name) in [
            ("", "github"),
            ("", "ann"),
            ("", "ann:github"),
            ("", "ann.github"),
            ("bob", "github"),
            ("annagithub", "b"),
            ("ann:github", "github"),
            ("a", "nngithub"),
            ("anng", "ithub"),
            ("github", "ann"),
        ] {
            assert_eq!(key.open(&of(user, name), &sealed).err(), Some(Unopenable), "{user} {name}");
        }
    }

    #[test]
    fn no_damage_goes_unseen() {
        let key = SealingKey::fresh();
        let place = Place::secret(named(&realm("acme", "prod"), &label("stripe")), 1);
        let sealed = key.seal(&place, b"sk_live_1");
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert!(key.open(&place, &damaged).is_err(), "byte {at}");
            assert!(key.open(&place, &sealed[..at]).is_err(), "cut at {at}");
        }
        assert!(SealingKey::fresh().open(&place, &sealed).is_err(), "another key");
    }

    #[test]
    fn a_key_of_another_length_is_no_key() {
        let (master, place) = (SealingKey::fresh(), Place::tenant_key(&"acme".parse().unwrap(), "mk_1"));
        assert!(master.unwrap(&place, &master.seal(&place, &[7; 16])).is_err());
    }

    #[test]
    fn the_encoding_keeps_fields_apart() {
        let encode = |fields: &[&[u8]]| Place::encode("p", fields).0;
        assert_ne!(encode(&[b"ab", b"c"]), encode(&[b"a", b"bc"]));
        assert_ne!(encode(&[b"a"]), encode(&[b"a", b""]));
        assert_ne!(Place::encode("pq", &[]).0, Place::encode("p", &[b"q"]).0);
    }
}
