//! Digests over several parts.

use sha2::{Digest as _, Sha256};

use crate::ids::Digest;

/// What is digested part by part: each has its length in front, so that no two lists of parts are the same bytes by where one
/// part ends and the next begins.
///
/// A kind of digest sticks to one of the two ways of adding a part: only then does each tell apart what the other wouldn't.
pub(crate) struct Digested(Sha256);

impl Digested {
    /// Begins with what says which kind of digest this is, so that none of another kind can be passed off as one. It goes in as
    /// it is, so it has to end in a byte that no other kind has there; empty: the first part says it.
    pub(crate) fn of(kind: &[u8]) -> Self {
        Self(Sha256::new().chain_update(kind))
    }

    /// Adds a part that is always there.
    pub(crate) fn part(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    /// Adds a part that may be missing, which is not the same as an empty one: a byte in front says whether it's there.
    pub(crate) fn part_or_none(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            None => self.0.update([0]),
            Some(bytes) => {
                self.0.update([1]);
                self.part(bytes);
            }
        }
    }

    /// The digest of all of it.
    pub(crate) fn digest(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(kind: &[u8], parts: &[&[u8]]) -> Digest {
        let mut digested = Digested::of(kind);
        parts.iter().for_each(|part| digested.part(part));
        digested.digest()
    }

    #[test]
    fn where_a_part_ends_is_part_of_it() {
        let lists: [&[&[u8]]; 6] = [&[], &[b""], &[b"ab"], &[b"a", b"b"], &[b"ab", b""], &[b"", b"ab"]];
        for (index, list) in lists.iter().enumerate() {
            for other in &lists[..index] {
                assert_ne!(digest(b"k\0", list), digest(b"k\0", other), "{list:?} {other:?}");
            }
        }
        assert_ne!(digest(b"k\0", &[b"a"]), digest(b"l\0", &[b"a"]));
    }

    #[test]
    fn a_missing_part_is_no_empty_one() {
        let digest = |parts: &[Option<&[u8]>]| {
            let mut digested = Digested::of(b"k\0");
            parts.iter().for_each(|part| digested.part_or_none(*part));
            digested.digest()
        };
        assert_ne!(digest(&[None]), digest(&[Some(b"")]));
        assert_ne!(digest(&[None, Some(b"a")]), digest(&[Some(b"a"), None]));
    }

    #[test]
    fn the_bytes_are_those_that_verifiers_expect() {
        // SHA-256 of "k", zero, the length 1 in eight bytes, "a".
        let bytes = [b"k\0".as_slice(), &[0, 0, 0, 0, 0, 0, 0, 1], b"a"].concat();
        assert_eq!(digest(b"k\0", &[b"a"]), Digest::of(&bytes));
    }
}
