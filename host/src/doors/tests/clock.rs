//! A clock that is put ahead by years, and put right: what it made look too old is still there.

use std::time::Duration;

use super::host::Host;
use crate::clock::Millis;
use crate::ids::{CallId, ReservationId};
use crate::store::{CounterKey, CounterRow, LedgerStore as _, Tally, TokenKind, WriteRow, WriteState};

const WRITE: [u8; 32] = [7; 32];
const YEARS: Duration = Duration::from_secs(3 * 365 * 86_400);

impl Host {
    /// A day's counter, and a write that was made.
    fn record(&self) {
        let now = self.now();
        let later = now.plus(Duration::from_secs(86_400));
        let key = CounterKey { name: "day".to_owned(), start: now };
        let counter = CounterRow { key, ends: Some(later), tally: Tally::default() };
        let write = WriteRow {
            reservation: ReservationId { call: CallId::fresh(now), send: 1 },
            at: now,
            until: later,
            state: WriteState::Done { status: Some(200), reply: None },
            attempt: 0,
        };
        self.trail.ledger(&mut |tx| tx.create(&counter).and_then(|_| tx.put_write(&WRITE, &write))).unwrap();
    }

    /// Whether the write is known, and how many counters and tokens there are.
    fn kept(&self) -> (bool, usize, usize) {
        let mut is_known = false;
        self.trail
            .ledger(&mut |tx| {
                is_known = tx.write(&WRITE)?.is_some();
                Ok(())
            })
            .unwrap();
        let counters = self.trail.counters().unwrap().len();
        (is_known, counters, self.door.app.control.tokens(None).unwrap().len())
    }
}

#[tokio::test]
async fn nothing_is_removed_while_a_clock_that_was_put_is_doubted() {
    let host = Host::start();
    let (_, operator) = host.token(TokenKind::Operator);
    host.record();
    let now = host.now();
    for wrong in [now.plus(YEARS), Millis(0), now.plus(YEARS)] {
        host.clock.put(wrong);
        host.door.app.prune();
        assert_eq!(host.kept(), (true, 1, 1), "at {wrong}");
    }
    host.clock.put(now);
    host.door.app.prune();
    assert_eq!(host.kept(), (true, 1, 1));
    assert_eq!(host.get("/v1/tokens", &operator).await.status, 200);
}
