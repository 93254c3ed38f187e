//! Waking those who wait for a decision: at once for one made in this process, within [`POLL`] for another's.
//!
//! One task polls for all of them, and it's there only while someone waits.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::store::{ControlStore, StoreError};

/// How often the store's version is read while someone waits. Reading it takes microseconds.
const POLL: Duration = Duration::from_millis(25);

/// Tells that the store has changed.
pub(super) struct Watch {
    shared: Arc<Shared>,
}

struct Shared {
    store: Arc<dyn ControlStore>,
    changed: watch::Sender<()>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiters: usize,
    polling: bool,
}

/// Someone who waits. Dropping it ends the wait, wherever that stands.
pub(super) struct Waiter {
    shared: Arc<Shared>,
    changed: watch::Receiver<()>,
}

impl Watch {
    pub(super) fn new(store: Arc<dyn ControlStore>) -> Self {
        let (changed, _) = watch::channel(());
        Self { shared: Arc::new(Shared { store, changed, state: Mutex::default() }) }
    }

    /// Wakes everyone.
    pub(super) fn wake(&self) {
        self.shared.changed.send_replace(());
    }

    /// Begins to wait: every change from now on wakes the waiter. To be called within a tokio runtime.
    pub(super) fn waiter(&self) -> Waiter {
        // Counted before anything else, and uncounted by the drop of what is built here.
        let mut state = self.shared.lock();
        state.waiters += 1;
        let start = !std::mem::replace(&mut state.polling, true);
        drop(state);
        let waiter = Waiter { shared: self.shared.clone(), changed: self.shared.changed.subscribe() };
        if start {
            let poller = Poller { shared: self.shared.clone(), version: self.shared.store.version() };
            tokio::spawn(poller.run());
        }
        waiter
    }

    /// Who waits, and whether anyone polls for them.
    #[cfg(test)]
    pub(super) fn counts(&self) -> (usize, bool) {
        let state = self.shared.lock();
        (state.waiters, state.polling)
    }
}

impl Waiter {
    /// From here on, [`Self::changed`] waits for something new. To be called before the store is read.
    pub(super) fn look(&mut self) {
        self.changed.borrow_and_update();
    }

    /// Resolves when the store may have changed since the last [`Self::look`]. Dropping it loses nothing.
    pub(super) async fn changed(&mut self) {
        // The sender lives as long as `shared`, so this can't fail.
        let _ = self.changed.changed().await;
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.shared.lock().waiters -= 1;
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Each critical section sets plain values, and leaves a whole state wherever it could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Poller {
    shared: Arc<Shared>,
    version: Result<u64, StoreError>,
}

impl Poller {
    async fn run(mut self) {
        loop {
            tokio::time::sleep(POLL).await;
            {
                let mut state = self.shared.lock();
                if state.waiters == 0 {
                    // Under the lock: whoever comes next finds that nobody polls.
                    state.polling = false;
                    return;
                }
            }
            let version = self.shared.store.version();
            // A store that can't be read is a change too: who waits has to hear of it.
            let same = matches!((&version, &self.version), (Ok(now), Ok(before)) if now == before);
            if !same {
                self.version = version;
                self.shared.changed.send_replace(());
            }
        }
    }
}

impl Drop for Poller {
    /// A runtime that ends takes its tasks along. Another one may come.
    fn drop(&mut self) {
        self.shared.lock().polling = false;
    }
}
