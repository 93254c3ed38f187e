//! Work on a text that an upstream or a tool wrote: whoever wrote it says how long that takes.
//!
//! To undo its compression and to look for a secret in every form takes dozens of passes over it, if it's made for that.
//! Where the text is long, it's done aside: not on a thread that serves others, as many texts at once as there are cores,
//! and waited for no longer than the call has.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

/// The most bytes of a text that isn't worth going aside for: a few milliseconds, however it's written.
pub(crate) const SHORT_BYTES_MAX: usize = 64 * 1024;

/// The places for such work.
pub(crate) struct Aside {
    places: Arc<Semaphore>,
}

impl Default for Aside {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { places: Arc::new(Semaphore::new(cores)) }
    }
}

impl Aside {
    /// Does it aside. `None`: it wasn't done before the deadline, or broke down. What has begun goes on to its end, and
    /// keeps its place until then.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        deadline: Instant,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let done = async {
            let place = Arc::clone(&self.places).acquire_owned().await.ok()?;
            let work = move || {
                let _place = place;
                work()
            };
            let done = tokio::task::spawn_blocking(work).await;
            done.inspect_err(|error| tracing::error!(%error, "looking through a text broke down")).ok()
        };
        timeout_at(deadline, done).await.ok().flatten()
    }

    /// Takes every place that is free.
    #[cfg(test)]
    pub(crate) fn fill(&self) -> tokio::sync::OwnedSemaphorePermit {
        let free = u32::try_from(self.places.available_permits()).unwrap();
        Arc::clone(&self.places).try_acquire_many_owned(free).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(10)
    }

    fn late() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    #[tokio::test]
    async fn what_is_not_done_in_time_is_not_waited_for_and_keeps_its_place() {
        let aside = Aside::default();
        let cores = aside.places.available_permits();
        let (open, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let work = || {
            let (open, done) = (open.clone(), done.clone());
            move || {
                while !open.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                done.fetch_add(1, Ordering::SeqCst);
            }
        };
        for _ in 0..cores {
            assert_eq!(aside.run(soon(), work()).await, None);
        }
        assert_eq!(aside.places.available_permits(), 0);
        assert_eq!(aside.run(soon(), || 1).await, None, "there's no place for more");
        open.store(true, Ordering::SeqCst);
        assert_eq!(aside.run(late(), || 1).await, Some(1));
        // With every place, all of the work is over.
        drop(Arc::clone(&aside.places).acquire_many_owned(cores.try_into().unwrap()).await.unwrap());
        assert_eq!(done.load(Ordering::SeqCst), cores, "what found no place in time was never begun");
    }

    #[tokio::test]
    async fn what_breaks_down_is_not_done_and_gives_its_place_back() {
        let aside = Aside::default();
        let cores = aside.places.available_permits();
        let broken = || -> u32 { panic!("told to break down") };
        for _ in 0..=cores {
            assert_eq!(aside.run(late(), broken).await, None);
        }
        assert_eq!(aside.places.available_permits(), cores);
    }
}
