//! Something kept for each realm and connection: never shared between two of either.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

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

    /// The value kept for this realm and connection if it `fits`; otherwise a new one, kept from now on.
    pub(super) fn get<E>(
        &self,
        realm: &Realm,
        connection: &Arc<Connection>,
        fits: impl FnOnce(&T) -> bool,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let key = (realm.clone(), connection.name.clone());
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.uses += 1;
        let now = kept.uses;
        if let Some(entry) = kept.entries.get_mut(&key)
            && Arc::ptr_eq(&entry.connection, connection)
            && fits(&entry.value)
        {
            entry.used = now;
            return Ok(entry.value.clone());
        }
        let value = make()?;
        if kept.entries.len() >= KEPT_MAX && !kept.entries.contains_key(&key) {
            let oldest = kept.entries.iter().min_by_key(|(_, entry)| entry.used).map(|(key, _)| key.clone());
            oldest.and_then(|key| kept.entries.remove(&key));
        }
        kept.entries.insert(key, Entry { connection: connection.clone(), value: value.clone(), used: now });
        Ok(value)
    }
}
