//! Rows of the ledger's tables, read and written.

use rusqlite::Row;

use crate::clock::Millis;
use crate::connection::Cost;
use crate::ids::{Realm, ReservationId};
use crate::store::sqlite::fields::Fields;
use crate::store::{
    CounterId, EntryLine, EntryRow, EntryState, LineKind, StoreError, Tally, WriteRow, WriteState,
};

pub(super) fn tally(fields: &Fields<'_, '_>) -> Result<Tally, StoreError> {
    Ok(Tally {
        reserved: fields.unsigned("reserved")?,
        held: fields.unsigned("held")?,
        settled: fields.unsigned("settled")?,
    })
}

pub(super) fn entry(row: &Row<'_>) -> Result<EntryRow, StoreError> {
    let fields = Fields::new(row, "ledger entry", &["call", "send"]);
    let cost = match (fields.get::<Option<i64>>("amount")?, fields.get::<Option<String>>("currency")?) {
        (Some(amount_minor), Some(currency)) => Some(Cost { amount_minor, currency }),
        (None, None) => None,
        _ => return Err(fields.damaged("currency", &"an amount and a currency go together")),
    };
    let state: String = fields.get("state")?;
    let lines: String = fields.get("lines")?;
    Ok(EntryRow {
        id: ReservationId { call: fields.parse("call")?, send: fields.unsigned("send")? },
        realm: Realm { tenant: fields.parse("tenant")?, environment: fields.parse("environment")? },
        connection: fields.parse_optional("connection")?,
        operation: fields.parse_optional("operation")?,
        cost,
        at: Millis(fields.get("at")?),
        state: [EntryState::UnderWay, EntryState::Held]
            .into_iter()
            .find(|known| state_text(*known) == state)
            .ok_or_else(|| fields.damaged("state", &"no such state"))?,
        lines: lines_of(&lines).ok_or_else(|| fields.damaged("lines", &"these are no lines"))?,
        write: fields.get("write_key")?,
    })
}

pub(super) fn write(row: &Row<'_>) -> Result<WriteRow, StoreError> {
    let fields = Fields::new(row, "ledger write", &["call", "send"]);
    let state: String = fields.get("state")?;
    let status: Option<i64> = fields.get("status")?;
    let status = status.map(u16::try_from).transpose().map_err(|error| fields.damaged("status", &error))?;
    Ok(WriteRow {
        reservation: ReservationId { call: fields.parse("call")?, send: fields.unsigned("send")? },
        at: Millis(fields.get("at")?),
        until: Millis(fields.get("until")?),
        state: match state.as_str() {
            "under_way" => WriteState::UnderWay,
            "done" => WriteState::Done { status, reply: fields.get("reply")? },
            "unknown" => WriteState::Unknown,
            "refused" => WriteState::Refused,
            _ => return Err(fields.damaged("state", &"no such state")),
        },
        attempt: fields.unsigned("attempt")?,
    })
}

pub(super) fn state_text(state: EntryState) -> &'static str {
    match state {
        EntryState::UnderWay => "under_way",
        EntryState::Held => "held",
    }
}

pub(super) fn write_text(state: &WriteState) -> &'static str {
    match state {
        WriteState::UnderWay => "under_way",
        WriteState::Done { .. } => "done",
        WriteState::Unknown => "unknown",
        WriteState::Refused => "refused",
    }
}

/// `[[12,500,"money"],[13,1,"request"]]`.
pub(super) fn lines_text(lines: &[EntryLine]) -> Result<String, StoreError> {
    let rows: Vec<_> = lines.iter().map(|line| (line.counter.0, line.amount, kind_text(line.kind))).collect();
    serde_json::to_string(&rows).map_err(|error| StoreError::Failed(error.to_string()))
}

fn lines_of(text: &str) -> Option<Vec<EntryLine>> {
    let rows: Vec<(i64, u64, String)> = serde_json::from_str(text).ok()?;
    let kinds = [LineKind::Money, LineKind::Request, LineKind::AtOnce];
    rows.into_iter()
        .map(|(counter, amount, kind)| {
            let kind = kinds.into_iter().find(|known| kind_text(*known) == kind)?;
            Some(EntryLine { counter: CounterId(counter), amount, kind })
        })
        .collect()
}

fn kind_text(kind: LineKind) -> &'static str {
    match kind {
        LineKind::Money => "money",
        LineKind::Request => "request",
        LineKind::AtOnce => "at_once",
    }
}

/// By INVARIANT (counted) it always fits.
pub(super) fn signed(amount: u64) -> Result<i64, StoreError> {
    i64::try_from(amount).map_err(|_| StoreError::Failed(format!("{amount} is more than a counter holds")))
}
