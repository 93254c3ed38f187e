//! What is removed for its age; and a clock that is put ahead by years, and put right: what it made look too old is still there.

use std::time::Duration;

use super::host::Host;
use crate::clock::Millis;
use crate::ids::{CallId, ReservationId, TokenId};
use crate::store::{
    CounterKey, CounterRow, LedgerStore as _, Tally, TokenKind, TokenRow, WriteRow, WriteState,
};

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

    /// A token that is current and one that ended 31 days ago, what each spent in all, and a day that ended 401 days ago.
    /// Answers the second token.
    fn record_old(&self) -> TokenId {
        let before = |days: i64| Millis(self.now().0 - days * 86_400_000);
        let (current, _) = self.token(TokenKind::Agent);
        let control = &self.door.app.control;
        let row = control.token_by_id(&current).unwrap().unwrap();
        let over = TokenRow { id: TokenId::fresh(), hash: [1; 32], expires_at: before(31), ..row };
        control.insert_token(&over).unwrap();
        let total =
            |id: &TokenId| format!(r#"["acme","dev","token:{id}","usd","total",null,null,null,null]"#);
        let counters = [
            (total(&current), Millis(0), None),
            (total(&over.id), Millis(0), None),
            ("day".to_owned(), before(402), Some(before(401))),
        ];
        for (name, start, ends) in counters {
            let row = CounterRow { key: CounterKey { name, start }, ends, tally: Tally::default() };
            self.trail.ledger(&mut |tx| tx.create(&row).map(|_| ())).unwrap();
        }
        over.id
    }

    /// When the clock was believed the last time, as it's stored.
    fn believed(&self) -> Option<Vec<u8>> {
        self.door.app.control.setting("clock.believed").unwrap()
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
async fn what_is_old_is_removed_and_nothing_else() {
    let host = Host::start();
    host.record();
    let over = host.record_old();
    assert_eq!(host.kept(), (true, 4, 2));
    host.door.app.prune();
    assert_eq!(host.kept(), (true, 2, 1));
    assert_eq!(host.door.app.control.token_by_id(&over).unwrap(), None);
    assert!(!host.trail.counters().unwrap().iter().any(|row| row.key.name.contains(over.as_str())));
}

#[tokio::test]
async fn a_token_is_there_as_long_as_what_it_spent_in_all() {
    let host = Host::start();
    let over = host.record_old();
    host.trail.fill_up();
    host.door.app.prune();
    assert_eq!(host.kept(), (false, 3, 2));
    host.trail.make_room();
    host.door.app.prune();
    assert_eq!(host.kept(), (false, 1, 1));
    assert_eq!(host.door.app.control.token_by_id(&over).unwrap(), None);
}

#[tokio::test]
async fn nothing_is_removed_while_a_clock_that_was_put_is_doubted() {
    let host = Host::start();
    let (_, operator) = host.token(TokenKind::Operator);
    host.record();
    let now = host.now();
    host.door.app.prune();
    let believed = Some(now.0.to_be_bytes().to_vec());
    assert_eq!(host.believed(), believed);
    for wrong in [now.plus(YEARS), Millis(0), now.plus(YEARS)] {
        host.clock.put(wrong);
        host.door.app.prune();
        assert_eq!((host.kept(), host.believed()), ((true, 1, 1), believed.clone()), "at {wrong}");
        let doubted = host.door.app.control.setting("clock.doubted").unwrap();
        assert_eq!(doubted, Some(vec![1]), "for a host that is started meanwhile");
    }
    host.clock.put(now);
    host.door.app.prune();
    assert_eq!(host.kept(), (true, 1, 1));
    assert_eq!(host.get("/v1/tokens", &operator).await.status, 200);
}
