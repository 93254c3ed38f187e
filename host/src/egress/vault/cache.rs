//! Secrets in clear, as of one version of the store.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::{Named, Secret};
use crate::ids::{Realm, SecretLabel, UserId};

/// At most so many secrets are kept in clear: 32 MiB of the longest ones.
const SECRETS_MAX: usize = 4096;

/// INVARIANT (fresh): gives nothing out for another version of the store than the one it was read at. What is dropped
/// is zeroized as soon as the last send that uses it is over.
#[derive(Default)]
pub(super) struct Cache {
    held: RwLock<Held>,
}

type ByLabel = HashMap<SecretLabel, Arc<Secret>>;

#[derive(Default)]
struct Held {
    version: u64,
    count: usize,
    /// In steps, so that a look-up needs no copy of the names.
    by_realm: HashMap<Realm, HashMap<Option<UserId>, ByLabel>>,
}

impl Cache {
    /// The secret, if it was read at this version.
    pub(super) fn get(&self, version: u64, named: Named<'_>) -> Option<Arc<Secret>> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        if held.version != version {
            return None;
        }
        let own = held.by_realm.get(named.realm)?.get(&named.user.cloned())?;
        own.get(named.label).map(Arc::clone)
    }

    /// Keeps a secret that was read at this version. What was read at another one is dropped.
    pub(super) fn put(&self, version: u64, named: Named<'_>, secret: Arc<Secret>) {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        if held.version != version || held.count >= SECRETS_MAX {
            *held = Held { version, ..Held::default() };
        }
        held.count += 1;
        let Named { realm, user, label } = named;
        let own = held.by_realm.entry(realm.clone()).or_default().entry(user.cloned()).or_default();
        own.insert(label.clone(), secret);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named<'a>(realm: &'a Realm, user: Option<&'a UserId>, label: &'a SecretLabel) -> Named<'a> {
        Named { realm, user, label }
    }

    #[test]
    fn each_user_gets_its_own_and_no_other() {
        let cache = Cache::default();
        let realm = Realm { tenant: "acme".parse().unwrap(), environment: "prod".parse().unwrap() };
        let (ann, bob, label) = ("ann".parse().unwrap(), "bob".parse().unwrap(), "github".parse().unwrap());
        cache.put(1, named(&realm, Some(&ann), &label), Arc::new(Secret::canary()));
        assert!(cache.get(1, named(&realm, Some(&ann), &label)).is_some());
        assert!(cache.get(1, named(&realm, Some(&bob), &label)).is_none());
        assert!(cache.get(1, named(&realm, None, &label)).is_none());
    }

    #[test]
    fn another_version_gets_nothing_and_drops_everything() {
        let cache = Cache::default();
        let realm = Realm { tenant: "acme".parse().unwrap(), environment: "prod".parse().unwrap() };
        let (one, two): (SecretLabel, SecretLabel) = ("one".parse().unwrap(), "two".parse().unwrap());
        let secret = Arc::new(Secret::canary());
        cache.put(1, named(&realm, None, &one), Arc::clone(&secret));
        assert!(cache.get(1, named(&realm, None, &one)).is_some());
        assert!(cache.get(1, named(&realm, None, &two)).is_none());
        assert!(cache.get(2, named(&realm, None, &one)).is_none());
        cache.put(2, named(&realm, None, &two), Arc::new(Secret::canary()));
        assert!(
            cache.get(2, named(&realm, None, &one)).is_none(),
            "a secret read at version 1 came back at version 2"
        );
        assert_eq!(Arc::strong_count(&secret), 1, "it's still kept");
    }

    #[test]
    fn it_is_bounded() {
        let cache = Cache::default();
        let realm = Realm { tenant: "acme".parse().unwrap(), environment: "prod".parse().unwrap() };
        for n in 0..=SECRETS_MAX {
            let label = format!("s{n}").parse().unwrap();
            cache.put(1, named(&realm, None, &label), Arc::new(Secret::canary()));
        }
        assert!(cache.held.read().unwrap().by_realm[&realm][&None].len() <= SECRETS_MAX);
    }
}
