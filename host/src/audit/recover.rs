//! Finds what an earlier run of the host left open.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;

use super::AuditError;
use super::chain::{self, Unsealed};
use crate::audit::{CallFinished, CallMark, Event, SendFinished};
use crate::clock::Clock;
use crate::ids::{CallId, Realm};
use crate::refusal::RequestSent;
use crate::store::{AuditRecord, AuditStore, RowFilter, StoreError};

/// How many rows are read at once: a few hundred kilobytes.
const PAGE_ROWS: u32 = 1_024;

/// Marks what is open, then records the start, all in one transaction. Answers how many calls were open, and the number of
/// the start's row.
pub(super) fn recover(store: &dyn AuditStore, clock: &dyn Clock) -> Result<(u32, u64), AuditError> {
    let open = open_calls(store)?;
    let recovered = u32::try_from(open.len()).unwrap_or(u32::MAX);
    let mut unsealed = Vec::new();
    for (call, open) in open {
        for event in open.outcomes() {
            unsealed.push(Unsealed::new(open.realm.as_ref(), Some(&call), &event)?);
        }
    }
    let started = Event::HostStarted { version: env!("CARGO_PKG_VERSION").to_owned(), recovered };
    unsealed.push(Unsealed::new(None, None, &started)?);
    let started =
        chain::append(store, clock, unsealed, &mut |ledger| crate::ledger::recover(ledger).map(drop))?;
    Ok((recovered, started))
}

/// Walks back to the last start of the host, or to where its last checkpoint says which calls were open, and answers the
/// calls without an outcome, oldest first.
fn open_calls(store: &dyn AuditStore) -> Result<Vec<(CallId, OpenCall)>, StoreError> {
    let mut search = Search::default();
    let newest = RowFilter { limit: PAGE_ROWS, newest_first: true, ..RowFilter::default() };
    let mut filter = newest.clone();
    'walk: loop {
        let records = store.rows(&filter)?;
        let Some(oldest) = records.last() else { break };
        filter.before = Some(oldest.seq);
        for record in records {
            if !search.step(record)? {
                break 'walk;
            }
        }
    }
    let (row, calls) = search.checkpoint.take().unwrap_or_default();
    for call in calls {
        // Of those that were open there and still are, what came before.
        if !search.finished.contains(&call) {
            let (call, before) = (Some(call), Some(row.saturating_add(1)));
            for record in store.rows(&RowFilter { call, before, limit: u32::MAX, ..newest.clone() })? {
                search.step(record)?;
            }
        }
    }
    Ok(search.found())
}

/// What the walk knows, from newer rows to older ones. It holds as much as there were calls at once.
#[derive(Default)]
struct Search {
    /// Calls whose outcome has been read and whose intent hasn't.
    finished: HashSet<CallId>,
    /// Calls without an outcome.
    open: HashMap<CallId, OpenCall>,
    /// The row at which the walk ends, and the calls that were open after it.
    checkpoint: Option<(u64, Vec<CallId>)>,
}

/// A call that has no outcome.
#[derive(Default)]
struct OpenCall {
    /// The row of its intent, once that has been read.
    begun: Option<u64>,
    realm: Option<Realm>,
    /// How many sends were begun.
    sends: u32,
    /// Sends whose outcome has been read and whose intent hasn't.
    finished: HashSet<u32>,
    /// Sends without an outcome.
    open: Vec<u32>,
    /// What the outcomes say.
    request_sent: Option<RequestSent>,
}

/// As much of an event as the search needs; reading less is faster.
#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Step {
    HostStarted {},
    Checkpoint { row: u64, calls: Vec<CallId> },
    CallBegun {},
    SendBegun { send: u32 },
    SendFinished { send: u32, request_sent: RequestSent },
    SendRefused {},
    CallFinished {},
    CallRefused {},
    Approval {},
    Decided {},
    ReconcileBegun {},
    Reconciled {},
    ShadowDiffered {},
    Admin {},
}

impl Search {
    /// Takes in the next older row. False: the walk is at its end.
    fn step(&mut self, record: AuditRecord) -> Result<bool, StoreError> {
        let AuditRecord { seq, realm, call, event, .. } = record;
        if self.checkpoint.as_ref().is_some_and(|(row, _)| seq <= *row) {
            return Ok(false);
        }
        let damaged = |why: &dyn std::fmt::Display| StoreError::Damaged(format!("audit row {seq}: {why}"));
        let step = match serde_json::from_str(&event).map_err(|error| damaged(&error))? {
            Step::HostStarted {} => {
                // It has marked whatever was open before.
                self.checkpoint = None;
                return Ok(false);
            }
            Step::Checkpoint { row, calls } => {
                self.checkpoint.get_or_insert((row, calls));
                return Ok(true);
            }
            Step::Admin {}
            | Step::Approval {}
            | Step::CallRefused {}
            | Step::Decided {}
            | Step::Reconciled {}
            | Step::ShadowDiffered {} => return Ok(true),
            step => step,
        };
        let call = call.ok_or_else(|| damaged(&"it belongs to no call"))?;
        match step {
            Step::CallFinished {} => {
                self.finished.insert(call);
            }
            Step::CallBegun {} | Step::ReconcileBegun {} if self.finished.remove(&call) => {}
            _ if self.finished.contains(&call) => {}
            step => self.open.entry(call).or_default().step(seq, realm, &step),
        }
        Ok(true)
    }

    fn found(self) -> Vec<(CallId, OpenCall)> {
        // A call whose intent isn't there never ran.
        let mut found: Vec<_> = self.open.into_iter().filter(|(_, open)| open.begun.is_some()).collect();
        found.sort_by_key(|(_, open)| open.begun);
        found
    }
}

impl OpenCall {
    fn step(&mut self, seq: u64, realm: Option<Realm>, step: &Step) {
        match *step {
            Step::CallBegun {} | Step::ReconcileBegun {} => (self.begun, self.realm) = (Some(seq), realm),
            Step::SendFinished { send, request_sent } => {
                self.finished.insert(send);
                self.request_sent =
                    Some(self.request_sent.map_or(request_sent, |sent| sent.and(request_sent)));
            }
            Step::SendBegun { send } => {
                self.sends += 1;
                if !self.finished.remove(&send) {
                    self.open.push(send);
                }
            }
            _ => {}
        }
    }

    /// The outcomes that are missing.
    fn outcomes(&self) -> Vec<Event> {
        let unknown = |&send: &u32| {
            Event::SendFinished(SendFinished {
                refunded: None,
                send,
                status: None,
                failure: None,
                request_sent: RequestSent::Unknown,
                secret_version: None,
                // What is held is the ledger's to say; it holds what it finds under way.
                settlement: None,
                reply: None,
                reply_bytes: 0,
                took_ms: 0,
            })
        };
        let mut events: Vec<_> = self.open.iter().rev().map(unknown).collect();
        let known = self.request_sent.unwrap_or(RequestSent::No);
        events.push(Event::CallFinished(CallFinished {
            mark: CallMark::Unknown,
            code: None,
            request_sent: if self.open.is_empty() { known } else { RequestSent::Unknown },
            sends: self.sends,
            result: None,
            result_bytes: 0,
            took_ms: 0,
        }));
        events
    }
}
