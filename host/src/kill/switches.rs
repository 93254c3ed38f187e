//! The switches as of one version of the store, and who watches for the next.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::index::Index;
use super::{Killed, Subjects};
use crate::store::{ControlStore, KillRow, StoreError, Waiter, Watch};

/// INVARIANT (fresh): `find` answers by the switches as of the store's present version; what waits looks for them, and
/// hears of every other change, as soon as anyone in this process has.
pub(super) struct Switches {
    store: Arc<dyn ControlStore>,
    watch: Arc<Watch>,
    held: ArcSwap<Held>,
    /// Held while the switches are read, so that an older reading can't replace a newer one.
    reading: Mutex<()>,
}

#[derive(Default)]
struct Held {
    /// `None`: nothing was read yet.
    version: Option<u64>,
    index: Index,
}

impl Switches {
    pub(super) fn new(store: Arc<dyn ControlStore>) -> Self {
        let watch = Arc::new(Watch::new(store.clone()));
        Self { store, watch, held: ArcSwap::from_pointee(Held::default()), reading: Mutex::default() }
    }

    /// A switch that stops one of these now.
    pub(super) fn find(&self, subjects: &Subjects<'_>) -> Result<Option<Arc<KillRow>>, StoreError> {
        let version = self.store.version()?;
        if self.held.load().version != Some(version) {
            self.refresh()?;
        }
        Ok(self.held.load().index.find(subjects))
    }

    /// Reads the switches if the store has changed, and wakes what waits.
    fn refresh(&self) -> Result<(), StoreError> {
        // There's nothing in it that a panic could leave half done.
        let _reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        // INVARIANT (seen): the version is read before the rows. A change between the two makes the rows newer than the
        // version they're filed under, never older.
        let version = self.store.version()?;
        if self.held.load().version != Some(version) {
            let index = Index::new(self.store.kills(None)?);
            self.held.store(Arc::new(Held { version: Some(version), index }));
            self.watch.look();
        }
        Ok(())
    }

    /// Has what waits in this process look at once.
    pub(super) fn tell(&self) {
        self.watch.look();
    }

    /// Begins to watch. To be called within a tokio runtime.
    pub(super) fn watching(&self) -> Watching<'_> {
        Watching { switches: self, waiter: self.watch.waiter() }
    }
}

/// Someone who watches what changes in the store, for as long as it lives.
pub(crate) struct Watching<'k> {
    switches: &'k Switches,
    waiter: Waiter<'k>,
}

impl Watching<'_> {
    /// The switch that stops one of these: while the switches can't be read, by what was read last. Then
    /// [`Self::changed`] resolves with the next poll, so that they're looked at again.
    pub(crate) fn stopped(&self, subjects: &Subjects<'_>) -> Option<Killed> {
        let found = self.switches.find(subjects).unwrap_or_else(|error| {
            // Of all who watch, one says so.
            if self.switches.watch.tell_anew() {
                tracing::error!(cause = %error, "kill switches can't be read");
            }
            self.switches.held.load().index.find(subjects)
        });
        found.map(Killed::Stopped)
    }

    /// Resolves when anything in the store has changed since this began, or since it resolved last, as
    /// [`Waiter::changed`] does. Dropping it loses nothing.
    pub(crate) async fn changed(&mut self) {
        self.waiter.changed().await;
    }
}
