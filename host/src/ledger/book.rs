//! The book: what is reserved, and what becomes of it. All of it happens inside a transaction that the caller commits.
//!
//! ```text
//!            ┌ settle ─ it counts                        ┐
//! reserve ───┼ release, refuse ─ it's given back         ├ the reservation is gone
//!            └ hold ─ it counts ── settle │ release ─────┘
//! ```
//!
//! INVARIANT (never over): a reservation is made only where `counted + amount ≤ limit` in every counter, checked under
//! the same lock as it's written. Only a reply that confirms more than was asked for can take a counter past its limit.

use super::line::names_of;
use super::{Line, Reservation, Reserved, Settlement, Subject, made_before, no_room};
use crate::clock::Millis;
use crate::ids::{Realm, ReservationId, TokenId};
use crate::store::{
    CounterId, CounterRow, EntryLine, EntryRow, EntryState, LedgerTx, LineKind, PruneBefore, StoreError,
    Tally, WriteRow, WriteState,
};

/// The most that a counter counts: what the database can hold.
pub const AMOUNT_MAX: u64 = i64::MAX as u64;

/// For how long counters of days and months that are over are kept, for whoever asks what was spent: 400 days.
const ENDED_KEPT_MS: i64 = 400 * 86_400_000;

/// For how long it's known which attempt a write was at after its time is over, in milliseconds: 45 days. Upstreams forget
/// their keys by then (Stripe after a day or more, PayPal after at most 45, as their references for the header say).
const WRITES_KEPT_MS: i64 = 45 * 86_400_000;

/// For how long those of minutes and hours are kept: two days, since there are many of them.
const SHORT_ENDED_KEPT_MS: i64 = 2 * 86_400_000;

/// How many rows of a kind are pruned in one transaction: some tens of milliseconds where each has a reply to be
/// overwritten.
pub(super) const PRUNED_MAX: u32 = 500;

/// Reserves all lines, or none.
///
/// A write that was made already is recognised first, so that a repetition gets the first outcome even when the first
/// has used up the budget.
///
/// # Errors
/// [`StoreError`]; the transaction has to be undone then.
pub fn reserve(tx: &mut dyn LedgerTx, reservation: &Reservation) -> Result<Reserved, StoreError> {
    Ok(reserve_attempt(tx, reservation)?.0)
}

/// As [`reserve`]; with it comes which attempt at this write it is to the upstream, the first being 0. An upstream that takes
/// a key for each write answers what it has answered once again, so what is to happen anew needs another key: a write that
/// was refused, one that an operator says wasn't made, one whose repetition is meant because its time is over.
///
/// # Errors
/// [`StoreError`]; the transaction has to be undone then.
pub fn reserve_attempt(
    tx: &mut dyn LedgerTx,
    reservation: &Reservation,
) -> Result<(Reserved, u32), StoreError> {
    let (known, attempt) = known_write(tx, reservation)?;
    if let Some(known) = known {
        return Ok((known, attempt));
    }
    let mut found: Vec<(&Line, Option<CounterId>, Tally)> =
        Vec::with_capacity(reservation.lines.iter().len());
    for line in reservation.lines.iter() {
        let (id, mut tally) =
            tx.find(&line.counter)?.map_or((None, Tally::default()), |(id, t)| (Some(id), t));
        if let Some(refused) = no_room(line, tally.counted()) {
            return Ok((refused, attempt));
        }
        // Fits: it's part of a sum that was checked.
        tally.reserved = tally.reserved.saturating_add(line.amount);
        found.push((line, id, tally));
    }
    let mut lines = Vec::with_capacity(found.len());
    for (line, id, tally) in found {
        let counter = match id {
            Some(id) => {
                tx.set_tally(id, tally)?;
                id
            }
            None => tx.create(&CounterRow { key: line.counter.clone(), ends: line.period.ends, tally })?,
        };
        lines.push(EntryLine { counter, amount: line.amount, kind: line.kind() });
    }
    enter(tx, reservation, lines, attempt)?;
    Ok((Reserved::Yes, attempt))
}

/// Counts what somebody else is about to do, whose end the host doesn't see: its money is held, its request counts, and of
/// those at once it only needs a place to be free. Recognised again, nothing is counted.
///
/// # Errors
/// [`StoreError`]; the transaction has to be undone then.
pub fn spend(tx: &mut dyn LedgerTx, reservation: &Reservation) -> Result<Reserved, StoreError> {
    let reserved = reserve(tx, reservation)?;
    if reserved == Reserved::Yes {
        let is_money = reservation.lines.iter().any(|line| line.kind() == LineKind::Money);
        // Nobody could say anything of what isn't money.
        let end = if is_money { Settlement::Hold } else { Settlement::Settle { confirmed: None } };
        finish(tx, &reservation.id, end, None, None)?;
    }
    Ok(reserved)
}

/// Ends a request: one call for every way that it may end. A reservation that isn't open any more stays as it is, and
/// `false` is answered.
///
/// `reply` is what [`FirstOutcome::Done`](super::FirstOutcome::Done) gives to a repetition of the write: sealed bytes, opaque
/// here.
///
/// # Errors
/// [`StoreError`]; the transaction has to be undone then.
pub fn finish(
    tx: &mut dyn LedgerTx,
    id: &ReservationId,
    settlement: Settlement,
    status: Option<u16>,
    reply: Option<Vec<u8>>,
) -> Result<bool, StoreError> {
    match settlement {
        Settlement::Settle { confirmed } => settle(tx, id, confirmed, status, reply),
        Settlement::Release => release(tx, id),
        Settlement::Refused => refuse(tx, id),
        Settlement::Hold => hold(tx, id),
    }
}

/// The request was carried out. `confirmed` is the amount that was really spent, where that's known: less frees the
/// difference, more is counted as it is, even past a limit.
///
/// # Errors
/// [`StoreError`]; the transaction has to be undone then.
pub fn settle(
    tx: &mut dyn LedgerTx,
    id: &ReservationId,
    confirmed: Option<u64>,
    status: Option<u16>,
    reply: Option<Vec<u8>>,
) -> Result<bool, StoreError> {
    close(tx, id, Write::Is(WriteState::Done { status, reply }), &mut |tally, line| match line.kind {
        LineKind::Money => add(&mut tally.settled, confirmed.unwrap_or(line.amount)),
        LineKind::Request => add(&mut tally.settled, line.amount),
        LineKind::AtOnce => {}
    })
}

/// The request surely never reached the upstream: nothing of it counts, and the same write may be made again.
///
/// # Errors
/// [`StoreError`]; the transaction has to be undone then.
pub fn release(tx: &mut dyn LedgerTx, id: &ReservationId) -> Result<bool, StoreError> {
    close(tx, id, Write::NotMade, &mut |_, _| {})
}

/// The upstream refused the request in a way that says that nothing was done: no money counts, the request does, and
/// the same write may be made again.
///
/// # Errors
/// [`StoreError`]; the transaction has to be undone then.
pub fn refuse(tx: &mut dyn LedgerTx, id: &ReservationId) -> Result<bool, StoreError> {
    close(tx, id, Write::Refused, &mut |tally, line| {
        if line.kind == LineKind::Request {
            add(&mut tally.settled, line.amount);
        }
    })
}

/// Nobody knows whether the request was carried out: its money stays counted until somebody says or a look finds it, and
/// the same write isn't made again.
///
/// # Errors
/// [`StoreError`]; the transaction has to be undone then.
pub fn hold(tx: &mut dyn LedgerTx, id: &ReservationId) -> Result<bool, StoreError> {
    let Some(entry) = tx.entry(id)?.filter(|entry| entry.state == EntryState::UnderWay) else {
        return Ok(false);
    };
    let mut held = Vec::new();
    for line in &entry.lines {
        if let Some(mut tally) = tx.tally(line.counter)? {
            take(&mut tally.reserved, line.amount);
            match line.kind {
                LineKind::Money => add(&mut tally.held, line.amount),
                LineKind::Request => add(&mut tally.settled, line.amount),
                LineKind::AtOnce => {}
            }
            tx.set_tally(line.counter, tally)?;
            held.extend((line.kind == LineKind::Money).then_some(*line));
        }
    }
    set_write(tx, &entry, Write::Is(WriteState::Unknown))?;
    // Without money there's nothing that anybody could settle; whether the write may be made again is told apart.
    if held.is_empty() && entry.write.is_none() {
        tx.remove_entry(id)?;
    } else {
        tx.update_entry(id, EntryState::Held, &held)?;
    }
    Ok(true)
}

/// What came of an operator's word on a held reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved {
    /// It's done. This was the reservation.
    Done(Box<EntryRow>),
    /// Its request is under way: the host itself will see the end of it.
    UnderWay,
    /// There's no such reservation open.
    Unknown,
}

/// An operator found out what became of a held reservation: it was carried out, at this amount where that's known
/// better than by what was reserved, or it wasn't. Then it may be made again, as another attempt: the upstream may have kept
/// an answer to this one.
///
/// # Errors
/// [`StoreError`]; the transaction has to be undone then.
pub fn resolve(
    tx: &mut dyn LedgerTx,
    id: &ReservationId,
    carried_out: bool,
    amount: Option<u64>,
) -> Result<Resolved, StoreError> {
    let Some(entry) = tx.entry(id)? else { return Ok(Resolved::Unknown) };
    if entry.state == EntryState::UnderWay {
        return Ok(Resolved::UnderWay);
    }
    if carried_out {
        settle(tx, id, amount, None, None)?;
    } else {
        refuse(tx, id)?;
    }
    Ok(Resolved::Done(Box::new(entry)))
}

/// Holds what a dead host left under way: its requests may have been carried out. Places among those at once are free
/// again. Answers how many there were.
///
/// To be called once, before serving, by the only host that uses this database. A reservation is committed together
/// with its send's intent, and ended together with its outcome; so what is under way here is a send whose intent is
/// recorded and whose outcome isn't.
///
/// # Errors
/// [`StoreError`]; the transaction has to be undone then.
pub fn recover(tx: &mut dyn LedgerTx) -> Result<usize, StoreError> {
    let open = tx.entries(EntryState::UnderWay)?;
    for entry in &open {
        hold(tx, &entry.id)?;
    }
    Ok(open.len())
}

/// Removes what is too old to count: counters of windows that are long over, and writes whose time is over. Answers
/// how many rows that were, and removes no more than a transaction may take while calls wait for it: to be done again, in
/// another one, until none is left. Cheap enough for every hour, too dear for every request.
///
/// # Errors
/// [`StoreError`]; the transaction has to be undone then.
pub fn prune(tx: &mut dyn LedgerTx, now: Millis) -> Result<u64, StoreError> {
    tx.prune(PruneBefore {
        ended: Millis(now.0.saturating_sub(ENDED_KEPT_MS)),
        short_ended: Millis(now.0.saturating_sub(SHORT_ENDED_KEPT_MS)),
        replies: now,
        writes: Millis(now.0.saturating_sub(WRITES_KEPT_MS)),
        most: PRUNED_MAX,
    })
}

/// Removes what tokens have spent in all that are gone: nobody can spend by them, or by what was delegated from them, any
/// more.
///
/// # Errors
/// [`StoreError`]; the transaction has to be undone then.
pub fn forget_tokens(tx: &mut dyn LedgerTx, gone: &[(Realm, TokenId)]) -> Result<(), StoreError> {
    gone.iter().try_for_each(|(realm, id)| tx.remove_totals(&names_of(realm, &Subject::Token(id.clone()))))
}

/// Whether the write of a reservation was begun before, and what came of it; and which attempt it would be.
fn known_write(
    tx: &mut dyn LedgerTx,
    reservation: &Reservation,
) -> Result<(Option<Reserved>, u32), StoreError> {
    let Some(dedup) = &reservation.dedup else { return Ok((None, 0)) };
    let Some(known) = tx.write(&dedup.key)? else { return Ok((None, 0)) };
    let attempt = match known.state {
        // It's meant to be made once more.
        WriteState::Done { .. } if known.until <= reservation.at => known.attempt.saturating_add(1),
        // Of one whose end nobody here knows the upstream may know it still.
        _ => known.attempt,
    };
    Ok((made_before(known, reservation.at), attempt))
}

/// Notes a reservation whose lines are counted.
fn enter(
    tx: &mut dyn LedgerTx,
    reservation: &Reservation,
    lines: Vec<EntryLine>,
    attempt: u32,
) -> Result<(), StoreError> {
    let Reservation { id, realm, connection, operation, cost, dedup, at, .. } = reservation;
    if lines.is_empty() && dedup.is_none() {
        return Ok(());
    }
    tx.insert_entry(&EntryRow {
        id: id.clone(),
        realm: realm.clone(),
        connection: connection.clone(),
        operation: operation.clone(),
        cost: cost.clone(),
        at: *at,
        state: EntryState::UnderWay,
        lines,
        write: dedup.map(|dedup| dedup.key),
    })?;
    let Some(dedup) = dedup else { return Ok(()) };
    let window = i64::try_from(dedup.window_ms).unwrap_or(i64::MAX);
    let until = Millis(at.0.saturating_add(window));
    tx.put_write(
        &dedup.key,
        &WriteRow { reservation: id.clone(), at: *at, until, state: WriteState::UnderWay, attempt },
    )
}

/// Takes a reservation out of its counters, lets `then` add what counts after all, and forgets it.
fn close(
    tx: &mut dyn LedgerTx,
    id: &ReservationId,
    write: Write,
    then: &mut dyn FnMut(&mut Tally, &EntryLine),
) -> Result<bool, StoreError> {
    let Some(entry) = tx.entry(id)? else { return Ok(false) };
    for line in &entry.lines {
        // A counter that isn't there was of a window that is long over.
        if let Some(mut tally) = tx.tally(line.counter)? {
            match entry.state {
                EntryState::UnderWay => take(&mut tally.reserved, line.amount),
                EntryState::Held => take(&mut tally.held, line.amount),
            }
            then(&mut tally, line);
            tx.set_tally(line.counter, tally)?;
        }
    }
    set_write(tx, &entry, write)?;
    tx.remove_entry(id)?;
    Ok(true)
}

/// What became of a reservation's write.
enum Write {
    Is(WriteState),
    /// The upstream has seen it, and did nothing: it may be made again, as another attempt.
    Refused,
    /// The upstream hasn't seen it: it may be made again as if it had never been begun.
    NotMade,
}

/// Says what became of a reservation's write.
fn set_write(tx: &mut dyn LedgerTx, entry: &EntryRow, became: Write) -> Result<(), StoreError> {
    let Some(key) = &entry.write else { return Ok(()) };
    // The same write may have been begun anew meanwhile, after its time was over: that one isn't this one's.
    let Some(row) = tx.write(key)?.filter(|row| row.reservation == entry.id) else { return Ok(()) };
    match became {
        Write::Is(state) => tx.put_write(key, &WriteRow { state, ..row }),
        Write::Refused => {
            let attempt = row.attempt.saturating_add(1);
            tx.put_write(key, &WriteRow { state: WriteState::Refused, attempt, ..row })
        }
        Write::NotMade if row.attempt == 0 => tx.remove_write(key),
        Write::NotMade => tx.put_write(key, &WriteRow { state: WriteState::Refused, ..row }),
    }
}

/// INVARIANT (counted): no part of a tally passes what the database can hold; a sum that would stays at the most, at
/// which nothing more fits.
fn add(to: &mut u64, amount: u64) {
    *to = to.saturating_add(amount).min(AMOUNT_MAX);
}

fn take(from: &mut u64, amount: u64) {
    *from = from.saturating_sub(amount);
}
