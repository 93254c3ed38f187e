//! The switches as of one version of the store, and who watches for the next.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::index::Index;
use super::{Killed, Subjects};
use crate::store::{ControlStore, KillRow, StoreError};

/// How often the store is looked at while something waits, in milliseconds. A look is microseconds.
pub const POLL_MS: u64 = 25;

/// INVARIANT (fresh): `find` answers by the switches as of the store's present version; what waits sees them, and hears of
/// every other change, as soon as anyone in this process has.
pub(super) struct Watch {
    store: Arc<dyn ControlStore>,
    held: watch::Sender<Held>,
    /// Held while the switches are read, so that an older reading can't replace a newer one.
    reading: Mutex<()>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Held {
    /// `None`: nothing was read yet.
    version: Option<u64>,
    index: Index,
}

#[derive(Default)]
struct Waiting {
    waiters: usize,
    polling: bool,
}

impl Watch {
    pub(super) fn new(store: Arc<dyn ControlStore>) -> Self {
        Self {
            store,
            held: watch::Sender::new(Held::default()),
            reading: Mutex::default(),
            waiting: Mutex::default(),
        }
    }

    /// A switch that stops one of these now.
    pub(super) fn find(&self, subjects: &Subjects<'_>) -> Result<Option<Arc<KillRow>>, StoreError> {
        let version = self.store.version()?;
        {
            let held = self.held.borrow();
            if held.version == Some(version) {
                return Ok(held.index.find(subjects));
            }
        }
        self.refresh()?;
        Ok(self.held.borrow().index.find(subjects))
    }

    /// Reads the switches if the store has changed, and wakes what waits.
    pub(super) fn refresh(&self) -> Result<(), StoreError> {
        let _reading = lock(&self.reading);
        // INVARIANT (seen): the version is read before the rows. A change between the two makes the rows newer than the
        // version they're filed under, never older.
        let version = self.store.version()?;
        if self.held.borrow().version == Some(version) {
            return Ok(());
        }
        let index = Index::new(self.store.kills(None)?);
        self.held.send_replace(Held { version: Some(version), index });
        Ok(())
    }

    /// Begins to watch. To be called within a tokio runtime.
    pub(super) fn watching(this: &Arc<Self>) -> Watching<'_> {
        Watching { held: this.held.subscribe(), _waiter: Waiter::enter(this) }
    }

    /// Looks at the store again and again while something waits.
    async fn poll(self: Arc<Self>) {
        // If the runtime drops this task, the next waiter starts another one.
        let mut polling = Polling { watch: &self, ended: false };
        let mut ticks = tokio::time::interval(Duration::from_millis(POLL_MS));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if polling.ends() {
                return;
            }
            if let Err(error) = self.refresh() {
                tracing::error!(cause = %error, "kill switches can't be read");
                // Who watches has a token to look after, too.
                self.held.send_modify(|_| {});
            }
        }
    }
}

/// Someone who watches what changes in the store. While there's one, the store is polled; dropping it ends that.
pub(crate) struct Watching<'w> {
    held: watch::Receiver<Held>,
    _waiter: Waiter<'w>,
}

impl Watching<'_> {
    /// The switch that stops one of these, by what was read last.
    pub(crate) fn stopped(&self, subjects: &Subjects<'_>) -> Option<Killed> {
        self.held.borrow().index.find(subjects).map(Killed::Stopped)
    }

    /// Resolves when anything in the store has changed since this began, or since it resolved last: at once for what this
    /// process has seen, within [`POLL_MS`] otherwise. While the switches can't be read, it resolves with every poll.
    /// Dropping it loses nothing.
    pub(crate) async fn changed(&mut self) {
        if self.held.changed().await.is_err() {
            // The sender is gone only with the watch, which is borrowed here.
            std::future::pending::<()>().await;
        }
    }
}

/// Counts one that waits, for as long as it does.
struct Waiter<'w>(&'w Watch);

impl<'w> Waiter<'w> {
    fn enter(watch: &'w Arc<Watch>) -> Self {
        let starts = {
            let mut waiting = lock(&watch.waiting);
            waiting.waiters += 1;
            !std::mem::replace(&mut waiting.polling, true)
        };
        let waiter = Self(watch);
        if starts {
            // A task of its own: were one of those that wait to poll for the others, they would stand still with it.
            tokio::spawn(Arc::clone(watch).poll());
        }
        waiter
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        lock(&self.0.waiting).waiters -= 1;
    }
}

/// Says that someone polls, until it doesn't any more.
struct Polling<'w> {
    watch: &'w Watch,
    ended: bool,
}

impl Polling<'_> {
    /// Ends the polling if nothing waits. Whoever comes after that starts it anew.
    fn ends(&mut self) -> bool {
        let mut waiting = lock(&self.watch.waiting);
        self.ended = waiting.waiters == 0;
        waiting.polling = !self.ended;
        self.ended
    }
}

impl Drop for Polling<'_> {
    fn drop(&mut self) {
        if !self.ended {
            lock(&self.watch.waiting).polling = false;
        }
    }
}

/// No critical section here can panic half way.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
