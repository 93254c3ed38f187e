//! Something kept for each realm and connection: never shared between two of either.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::connection::Connection;
use crate::ids::{ConnectionName, Realm};

/// The most that are kept: a host with more of them in use at once builds some again and again, and still works.
const KEPT_MAX: usize = 4_096;

/// What is kept, until the connection is loaded anew or the value no longer fits.
pub(super) struct PerRealm<T> {
    kept: Mutex<Kept<T>>,
}

struct Kept<T> {
    entries: HashMap<(Realm, ConnectionName), Entry<T>>,
    uses: u64,
}

struct Entry<T> {
    connection: Arc<Connection>,
    value: T,
    used: u64,
}

impl<T: Clone> PerRealm<T> {
    pub(super) fn new() -> Self {
        Self { kept: Mutex::new(Kept { entries: HashMap::new(), uses: 0 }) }
    }

    /// The value kept for this realm and connection if it `fits`; otherwise a new one, kept from now on. Where several
    /// make one at once, all get the first.
    pub(super) fn get<E>(
        &self,
        realm: &Realm,
        connection: &Arc<Connection>,
        fits: impl Fn(&T) -> bool,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let key = (realm.clone(), connection.name.clone());
        if let Some(value) = self.lock().find(&key, connection, &fits) {
            return Ok(value);
        }
        // It takes milliseconds, which nobody else waits for.
        let value = make()?;
        let mut kept = self.lock();
        if let Some(first) = kept.find(&key, connection, &fits) {
            return Ok(first);
        }
        kept.keep(key, connection.clone(), value.clone());
        Ok(value)
    }

    fn lock(&self) -> MutexGuard<'_, Kept<T>> {
        // Each critical section leaves whole entries behind at every point where it could panic.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone> Kept<T> {
    fn find(
        &mut self,
        key: &(Realm, ConnectionName),
        connection: &Arc<Connection>,
        fits: &impl Fn(&T) -> bool,
    ) -> Option<T> {
        self.uses += 1;
        let entry = self.entries.get_mut(key)?;
        if !Arc::ptr_eq(&entry.connection, connection) || !fits(&entry.value) {
            return None;
        }
        entry.used = self.uses;
        Some(entry.value.clone())
    }

    fn keep(&mut self, key: (Realm, ConnectionName), connection: Arc<Connection>, value: T) {
        if self.entries.len() >= KEPT_MAX && !self.entries.contains_key(&key) {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.used).map(|(key, _)| key.clone());
            oldest.and_then(|key| self.entries.remove(&key));
        }
        self.entries.insert(key, Entry { connection, value, used: self.uses });
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::connection::Connections;

    const TEXT: &str = r#"
base_url = "https://api.example.com"
secret = "key"
attach = { kind = "bearer" }
[operations.get]
request = "GET /v1/x"
effect = "read"
"#;

    fn connection() -> Arc<Connection> {
        Connections::parse(&[("stripe.toml", TEXT)]).unwrap().iter().next().unwrap().clone()
    }

    fn realm(tenant: &str) -> Realm {
        Realm { tenant: tenant.parse().unwrap(), environment: "prod".parse().unwrap() }
    }

    fn get(
        kept: &PerRealm<u32>,
        tenant: &str,
        connection: &Arc<Connection>,
        make: impl FnOnce() -> u32,
    ) -> u32 {
        let made = kept.get(&realm(tenant), connection, |kept| *kept < 100, || Ok::<_, Infallible>(make()));
        made.unwrap()
    }

    #[test]
    fn what_fits_is_kept_for_each_realm_and_connection() {
        let (kept, one, anew) = (PerRealm::new(), connection(), connection());
        for (tenant, connection, made, got) in [
            ("acme", &one, 1, 1),
            ("acme", &one, 2, 1),
            ("globex", &one, 3, 3),
            // Loaded anew, it's another connection.
            ("acme", &anew, 104, 104),
            ("acme", &anew, 5, 5),
            ("globex", &one, 6, 3),
        ] {
            assert_eq!(get(&kept, tenant, connection, || made), got, "{made}");
        }
    }

    #[test]
    fn nobody_waits_for_what_another_makes_and_of_two_that_are_made_at_once_the_first_is_kept() {
        let (kept, connection) = (PerRealm::new(), connection());
        let second = get(&kept, "acme", &connection, || {
            assert_eq!(get(&kept, "globex", &connection, || 1), 1);
            assert_eq!(get(&kept, "acme", &connection, || 2), 2);
            3
        });
        assert_eq!(second, 2);
        assert_eq!(get(&kept, "acme", &connection, || 4), 2);
    }
}
