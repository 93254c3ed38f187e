//! Turns at the audit trail, for those who read it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::ids::TenantId;
use crate::refusal::{Code, Refusal};

/// How long a reader waits for a turn: longer than a search may take.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// So many may read at once, and so many of one tenant.
///
/// A tenant's others wait in its own line, and only those at its head for a turn: however many they are, another tenant's reader
/// has no more than these before it.
///
/// Whoever waits holds no thread, and whoever hangs up waits no more. Were they to wait in the store, a few hundred readers
/// would take all threads that a kill switch or a call's record needs.
#[derive(Debug)]
pub(super) struct Turns {
    free: Arc<Semaphore>,
    /// The line of each tenant that somebody reads or waits for.
    lines: Mutex<HashMap<TenantId, Weak<Semaphore>>>,
    of_a_tenant: usize,
    wait_max: Duration,
}

/// A turn, until it's dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _free: OwnedSemaphorePermit,
    _line: OwnedSemaphorePermit,
}

impl Turns {
    /// Turns for so many at once, and for so many of one tenant.
    pub(super) fn new(at_once: usize, of_a_tenant: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(at_once)),
            lines: Mutex::new(HashMap::new()),
            of_a_tenant,
            wait_max: WAIT_MAX,
        }
    }

    /// Waits for a turn of this tenant's, which lasts until it's dropped: it goes along with the work, since that ends no sooner
    /// when its client hangs up.
    ///
    /// # Errors
    /// [`Code::Busy`] when none came for five seconds.
    pub(super) async fn take(&self, tenant: &TenantId) -> Result<Turn, Refusal> {
        let line = self.line(tenant);
        let turn = async {
            // Neither is ever closed.
            let line = line.acquire_owned().await.ok()?;
            let free = Arc::clone(&self.free).acquire_owned().await.ok()?;
            Some(Turn { _free: free, _line: line })
        };
        let turn = tokio::time::timeout(self.wait_max, turn).await;
        turn.ok().flatten().ok_or_else(|| {
            Refusal::new(Code::Busy, "too many are reading the audit trail; try again in a moment")
        })
    }

    /// A tenant's line, which is there as long as somebody holds a place in it or waits for one.
    fn line(&self, tenant: &TenantId) -> Arc<Semaphore> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.retain(|_, line| line.strong_count() > 0);
        if let Some(line) = lines.get(tenant).and_then(Weak::upgrade) {
            return line;
        }
        let line = Arc::new(Semaphore::new(self.of_a_tenant));
        lines.insert(tenant.clone(), Arc::downgrade(&line));
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> TenantId {
        name.parse().unwrap()
    }

    #[tokio::test]
    async fn who_leaves_takes_no_turn_and_who_waits_too_long_is_told() {
        let acme = tenant("acme");
        // In its tenant's line, and at its head.
        for holder in [tenant("acme"), tenant("rival")] {
            let turns = Turns { wait_max: Duration::from_millis(20), ..Turns::new(1, 1) };
            let taken = turns.take(&holder).await.unwrap();
            assert_eq!(turns.take(&acme).await.unwrap_err().code, Code::Busy);
            let left = tokio::time::timeout(Duration::from_millis(1), turns.take(&acme)).await;
            assert!(left.is_err(), "it waits");
            let (next, ()) = tokio::join!(turns.take(&acme), async { drop(taken) });
            assert!(next.is_ok());
            drop(next);
            assert!(turns.take(&acme).await.is_ok(), "none was lost");
            assert!(turns.take(&holder).await.is_ok(), "none was lost");
            assert!(turns.lines.lock().unwrap().len() <= 1, "no line is left but the last one");
        }
    }

    #[tokio::test]
    async fn however_many_of_one_tenant_wait_another_one_is_next_but_one() {
        for holder in ["acme", "third"] {
            let turns = Arc::new(Turns::new(1, 1));
            let held = turns.take(&tenant(holder)).await.unwrap();
            let order = Arc::new(Mutex::new(Vec::new()));
            let mut readers = Vec::new();
            for name in ["acme", "acme", "acme", "acme", "acme", "rival"] {
                let (turns, order) = (Arc::clone(&turns), Arc::clone(&order));
                readers.push(tokio::spawn(async move {
                    let turn = turns.take(&tenant(name)).await.unwrap();
                    order.lock().unwrap().push(name);
                    drop(turn);
                }));
                // It waits before the next one comes.
                tokio::task::yield_now().await;
            }
            assert!(order.lock().unwrap().is_empty(), "all of them wait");
            drop(held);
            for reader in readers {
                reader.await.unwrap();
            }
            let order = order.lock().unwrap();
            assert_eq!(order.len(), 6);
            assert!(order[..2].contains(&"rival"), "{order:?}");
        }
    }

    #[tokio::test]
    async fn as_many_of_a_tenant_go_at_once_as_it_may_and_leave_the_rest_to_others() {
        let turns = Turns { wait_max: Duration::from_millis(20), ..Turns::new(4, 2) };
        let (acme, rival) = (tenant("acme"), tenant("rival"));
        let _own = (turns.take(&acme).await.unwrap(), turns.take(&acme).await.unwrap());
        assert_eq!(turns.take(&acme).await.unwrap_err().code, Code::Busy);
        let _theirs = (turns.take(&rival).await.unwrap(), turns.take(&rival).await.unwrap());
    }
}
