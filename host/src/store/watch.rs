//! Waking those who wait for a change of the store, whoever makes it.
//!
//! One task polls for all of them, and it's there only while someone waits.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::ControlStore;

/// How often the store is looked at while something waits, in milliseconds. A look is microseconds.
pub const POLL_MS: u64 = 25;

/// Tells that the store has changed, or that it can't be read.
pub(crate) struct Watch {
    store: Arc<dyn ControlStore>,
    /// The version at the last look. `None`: there was none, it couldn't be read, or it's to be told anew.
    seen: watch::Sender<Option<u64>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiters: usize,
    polling: bool,
}

impl Watch {
    pub(crate) fn new(store: Arc<dyn ControlStore>) -> Self {
        Self { store, seen: watch::Sender::new(None), state: Mutex::default() }
    }

    /// Wakes everyone if the store has changed since the last look, or can't be read.
    pub(crate) fn look(&self) {
        let version = self.store.version();
        if let Err(error) = &version {
            tracing::error!(cause = %error, "the store can't be read");
        }
        let version = version.ok();
        self.seen.send_if_modified(|seen| {
            let changed = version.is_none() || *seen != version;
            *seen = version;
            changed
        });
    }

    /// Has the next look wake everyone, whatever it sees. Answers whether the last one saw anything, and nobody has asked
    /// for this since.
    pub(crate) fn tell_anew(&self) -> bool {
        let mut seen = None;
        self.seen.send_if_modified(|last| {
            seen = last.take();
            false
        });
        seen.is_some()
    }

    /// Begins to wait: every change from now on wakes the waiter. To be called within a tokio runtime.
    pub(crate) fn waiter(self: &Arc<Self>) -> Waiter<'_> {
        // Counted before anything else, and uncounted by the drop of what is built here.
        let starts = {
            let mut state = self.lock();
            state.waiters += 1;
            !std::mem::replace(&mut state.polling, true)
        };
        let waiter = Waiter { watch: self, seen: self.seen.subscribe() };
        if starts {
            // A task of its own: were one of those that wait to poll for the others, they would stand still with it.
            tokio::spawn(Poller { watch: Arc::clone(self), ended: false }.run());
        }
        waiter
    }

    /// Each critical section sets plain values, and leaves a whole state wherever it could panic.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Someone who waits. While there's one, the store is polled; dropping it ends that.
pub(crate) struct Waiter<'w> {
    watch: &'w Watch,
    seen: watch::Receiver<Option<u64>>,
}

impl Waiter<'_> {
    /// Resolves when the store has changed since this began, or since it resolved last: at once for what this process has
    /// seen, within [`POLL_MS`] otherwise. While the store can't be read, it resolves with every poll. Dropping it loses
    /// nothing.
    pub(crate) async fn changed(&mut self) {
        // The sender is in the watch, which is borrowed here, so this can't fail.
        let _ = self.seen.changed().await;
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.watch.lock().waiters -= 1;
    }
}

/// Looks at the store again and again while someone waits.
struct Poller {
    watch: Arc<Watch>,
    ended: bool,
}

impl Poller {
    async fn run(mut self) {
        loop {
            tokio::time::sleep(Duration::from_millis(POLL_MS)).await;
            if self.ends() {
                return;
            }
            self.watch.look();
        }
    }

    /// Ends the polling if nobody waits. Whoever comes after that starts it anew.
    fn ends(&mut self) -> bool {
        let mut state = self.watch.lock();
        self.ended = state.waiters == 0;
        state.polling = !self.ended;
        self.ended
    }
}

impl Drop for Poller {
    /// A runtime that ends takes its tasks along. Another one may come.
    fn drop(&mut self) {
        if !self.ended {
            self.watch.lock().polling = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{sleep, timeout};

    use super::*;
    use crate::store::MemoryControl;

    const LONG: Duration = Duration::from_secs(5);

    fn watch() -> Arc<Watch> {
        Arc::new(Watch::new(Arc::new(MemoryControl::new())))
    }

    /// Who waits, and whether anyone polls for them.
    fn counts(watch: &Watch) -> (usize, bool) {
        let state = watch.lock();
        (state.waiters, state.polling)
    }

    #[tokio::test]
    async fn one_poller_for_all_and_none_for_nobody() {
        let watch = watch();
        for _ in 0..3 {
            assert_eq!(counts(&watch), (0, false));
            let mut waiters: Vec<_> = (0..20).map(|_| watch.waiter()).collect();
            assert_eq!(counts(&watch), (20, true));
            assert_eq!(Arc::strong_count(&watch), 2, "one poller for all");
            let _ = timeout(Duration::from_millis(1), waiters[0].changed()).await;
            waiters.truncate(1);
            assert_eq!(counts(&watch), (1, true));
            drop(waiters);
            let gone = async {
                while Arc::strong_count(&watch) != 1 {
                    sleep(Duration::from_millis(5)).await;
                }
            };
            timeout(LONG, gone).await.expect("the poller has ended");
        }
    }

    #[test]
    fn a_runtime_that_ends_takes_its_poller_along_and_the_next_one_starts_its_own() {
        let watch = watch();
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for begins in [false, true] {
            let first = runtime();
            first.block_on(async {
                let _waiter = watch.waiter();
                if begins {
                    tokio::task::yield_now().await;
                }
                assert_eq!(counts(&watch), (1, true));
            });
            drop(first);
            assert_eq!(counts(&watch), (0, false));
        }
        runtime().block_on(async { timeout(LONG, watch.waiter().changed()).await }).unwrap();
    }

    #[tokio::test]
    async fn what_is_to_be_told_anew_wakes_without_a_change() {
        let watch = watch();
        let mut waiter = watch.waiter();
        timeout(LONG, waiter.changed()).await.expect("the first look");
        for _ in 0..3 {
            assert!(timeout(Duration::from_millis(60), waiter.changed()).await.is_err());
            assert!(watch.tell_anew() && !watch.tell_anew());
            timeout(LONG, waiter.changed()).await.expect("the next look");
        }
    }
}
