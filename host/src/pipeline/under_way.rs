//! What ends a request that is under way, or waits for people: a kill switch, or the end of its token.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::Parts;
use super::gate::revoked;
use crate::auth::{AuthError, Caller};
use crate::kill::{POLL_MS, Subjects, Watching};
use crate::refusal::SendFailure;
use crate::store::StoreError;

impl Parts {
    /// As [`Self::cut_off`], also where it's so already. What can't be read ends nothing, and has to be checked afterwards.
    pub(super) async fn over(
        &self,
        caller: &Caller,
        deadline: Instant,
        subjects: Subjects<'_>,
    ) -> SendFailure {
        let watching = self.kills.watching();
        if let Some(killed) = watching.stopped(&subjects) {
            return killed.failure();
        }
        if let Err(over @ AuthError::Unauthorized) = self.auth.alive(caller) {
            return revoked(&over);
        }
        self.cut_off(caller, deadline, subjects, watching).await
    }

    /// Resolves when one of these is stopped, or when the caller's token or one above it has been revoked or has expired:
    /// within [`POLL_MS`], whichever process did it. Otherwise never. `watching` has begun before both were checked.
    ///
    /// What can't be read ends nothing, and is looked at again; unless nobody could be heard of any more, as the store was
    /// replaced.
    pub(super) async fn cut_off(
        &self,
        caller: &Caller,
        deadline: Instant,
        subjects: Subjects<'_>,
        mut watching: Watching<'_>,
    ) -> SendFailure {
        let mut patience = self.token_left(caller, deadline);
        loop {
            match patience {
                // Either way it's looked at again.
                Some(patience) => {
                    let _ = timeout(patience, watching.changed()).await;
                }
                None => watching.changed().await,
            }
            if let Some(killed) = watching.stopped(&subjects) {
                return killed.failure();
            }
            patience = match self.auth.alive(caller) {
                Ok(_) => self.token_left(caller, deadline),
                Err(AuthError::Store(cause)) if !matches!(cause, StoreError::Replaced(_)) => {
                    tracing::error!(%cause, "a token can't be checked");
                    Some(Duration::from_millis(POLL_MS))
                }
                Err(over) => return revoked(&over),
            };
        }
    }

    /// How long the caller's token is still good, where the request may take longer: nothing in the store tells of that end,
    /// so a timer has to. Mostly there's none.
    fn token_left(&self, caller: &Caller, deadline: Instant) -> Option<Duration> {
        let left = caller.expires_at().0.saturating_sub(self.clock.now().0);
        let left = Duration::from_millis(u64::try_from(left).unwrap_or(0));
        (left < deadline.saturating_duration_since(Instant::now())).then_some(left)
    }
}
