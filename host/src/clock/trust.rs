//! Whether the clock is believed, over restarts: what is known of it is kept beside what an operator sets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Clock, ClockWatch, Millis, since_boot};
use crate::store::{ControlStore, StoreError};

/// The setting that says what the clock showed when it was believed the last time.
const BELIEVED: &str = "clock.believed";
/// The setting that says whether it's doubted, so that a restart doesn't end that.
const DOUBTED: &str = "clock.doubted";

/// A clock that is watched, and what the store says of it.
pub struct ClockTrust {
    clock: Arc<dyn Clock>,
    watch: ClockWatch,
    control: Arc<dyn ControlStore>,
    /// Whether the store says that it's doubted.
    doubt_noted: AtomicBool,
}

impl ClockTrust {
    /// Begins to watch. `newest`: the newest time on record, before anything is recorded at what the clock shows now.
    ///
    /// # Errors
    /// When the store can't be read or written.
    pub fn open(
        clock: Arc<dyn Clock>,
        control: Arc<dyn ControlStore>,
        newest: Option<Millis>,
    ) -> Result<Self, StoreError> {
        let believed = believed(&*control, newest)?;
        let doubted = control.setting(DOUBTED)? == Some(vec![1]);
        let watch = ClockWatch::begin(clock.now(), since_boot(), newest, believed, doubted);
        Ok(Self { clock, watch, control, doubt_noted: AtomicBool::new(doubted) })
    }

    /// Takes a look at the clock; answers whether it's doubted.
    pub fn is_doubted(&self) -> bool {
        self.is_doubted_at(self.clock.now())
    }

    /// Believes the clock, which is noted, unless it's doubted. Answers whether it does.
    #[must_use]
    pub fn believe(&self) -> bool {
        let now = self.clock.now();
        let believes = !self.is_doubted_at(now);
        if believes {
            self.note(BELIEVED, &now.0.to_be_bytes());
        }
        believes
    }

    fn is_doubted_at(&self, now: Millis) -> bool {
        let doubted = self.watch.is_doubted(now, since_boot());
        if self.doubt_noted.swap(doubted, Ordering::Relaxed) != doubted {
            self.note(DOUBTED, &[doubted.into()]);
        }
        doubted
    }

    fn note(&self, setting: &str, value: &[u8]) {
        if let Err(error) = self.control.put_setting(setting, value) {
            tracing::error!(%error, "what is known of the clock can't be noted");
        }
    }
}

/// What the clock showed when it was believed the last time. Where it never was, that's the `newest` time on record from now
/// on: what comes on record next may be so by a wrong clock.
fn believed(control: &dyn ControlStore, newest: Option<Millis>) -> Result<Option<Millis>, StoreError> {
    let stored = match newest {
        Some(newest) => Some(control.ensure_setting(BELIEVED, &newest.0.to_be_bytes())?),
        None => control.setting(BELIEVED)?,
    };
    let stored = stored.and_then(|bytes| <[u8; 8]>::try_from(bytes).ok());
    Ok(stored.map(|bytes| Millis(i64::from_be_bytes(bytes))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryControl;

    #[test]
    fn what_stands_for_the_time_believed_last_does_not_move_with_the_clock() {
        let control = MemoryControl::new();
        assert_eq!(believed(&control, None).unwrap(), None);
        assert_eq!(believed(&control, Some(Millis(5))).unwrap(), Some(Millis(5)));
        assert_eq!(believed(&control, Some(Millis(9))).unwrap(), Some(Millis(5)));
    }
}
