//! Callers by token hash, as of one version of the store.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::Caller;

/// At most so many callers are kept: about 10 MB with ordinary grants.
const CALLERS_MAX: usize = 10_000;

/// INVARIANT (fresh): holds unrevoked callers only, and gives none out for another version of the store than the one
/// they were read at.
#[derive(Default)]
pub(super) struct Cache {
    held: RwLock<Held>,
}

#[derive(Default)]
struct Held {
    version: u64,
    by_hash: HashMap<[u8; 32], Arc<Caller>>,
}

impl Cache {
    /// The caller with this hash, if it was read at this version.
    pub(super) fn get(&self, version: u64, hash: &[u8; 32]) -> Option<Arc<Caller>> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        if held.version == version { held.by_hash.get(hash).map(Arc::clone) } else { None }
    }

    /// Keeps a caller that was read at this version. What was read at another one is dropped.
    pub(super) fn put(&self, version: u64, caller: Arc<Caller>) {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        if held.version != version || held.by_hash.len() >= CALLERS_MAX {
            held.by_hash.clear();
            held.version = version;
        }
        held.by_hash.insert(*caller.hash(), caller);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::tests::{caller_with_hash, number_hash};

    #[test]
    fn another_version_gets_nothing() {
        let cache = Cache::default();
        cache.put(3, caller_with_hash([1; 32]));
        assert!(cache.get(3, &[1; 32]).is_some());
        assert!(cache.get(4, &[1; 32]).is_none());
        assert!(cache.get(2, &[1; 32]).is_none());
        cache.put(4, caller_with_hash([2; 32]));
        assert!(cache.get(4, &[1; 32]).is_none(), "a caller read at version 3 came back at version 4");
    }

    #[test]
    fn it_is_bounded() {
        let cache = Cache::default();
        for n in 0..=CALLERS_MAX {
            cache.put(1, caller_with_hash(number_hash(n)));
        }
        assert!(cache.held.read().unwrap().by_hash.len() <= CALLERS_MAX);
        assert!(cache.get(1, &number_hash(CALLERS_MAX)).is_some());
    }
}
