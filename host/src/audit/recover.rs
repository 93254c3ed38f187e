//! Finds what an earlier run of the host left open.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;

use super::AuditError;
use super::chain::{self, Unsealed};
use crate::audit::{CallFinished, CallMark, Event, SendFinished};
use crate::clock::Millis;
use crate::ids::{CallId, Realm};
use crate::refusal::RequestSent;
use crate::store::{AuditRecord, AuditStore, RowFilter, StoreError};

/// How many rows are read at once: a few hundred kilobytes.
const PAGE_ROWS: u32 = 1_024;

/// Marks what is open, then records the start, all in one transaction. Answers how many calls were open.
pub(super) fn recover(store: &dyn AuditStore, now: Millis) -> Result<u32, AuditError> {
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
    chain::append(store, now, unsealed, &mut |ledger| crate::ledger::recover(ledger).map(drop))?;
    Ok(recovered)
}

/// Walks back to the last start of the host, and answers the calls without an outcome, oldest first.
fn open_calls(store: &dyn AuditStore) -> Result<Vec<(CallId, OpenCall)>, StoreError> {
    let mut search = Search::default();
    let mut filter = RowFilter { limit: PAGE_ROWS, newest_first: true, ..RowFilter::default() };
    loop {
        let records = store.rows(&filter)?;
        let Some(oldest) = records.last() else { break };
        filter.before = Some(oldest.seq);
        for record in records {
            if !search.step(record)? {
                return Ok(search.found());
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
    CallBegun {},
    SendBegun { send: u32 },
    SendFinished { send: u32, request_sent: RequestSent },
    SendRefused {},
    CallFinished {},
    CallRefused {},
    Approval {},
    Decided {},
    ShadowDiffered {},
    Admin {},
}

impl Search {
    /// Takes in the next older row. False: the walk is at its end.
    fn step(&mut self, record: AuditRecord) -> Result<bool, StoreError> {
        let AuditRecord { seq, realm, call, event, .. } = record;
        let damaged = |why: &dyn std::fmt::Display| StoreError::Damaged(format!("audit row {seq}: {why}"));
        let step = match serde_json::from_str(&event).map_err(|error| damaged(&error))? {
            Step::HostStarted {} => return Ok(false),
            Step::Admin {}
            | Step::Approval {}
            | Step::CallRefused {}
            | Step::Decided {}
            | Step::ShadowDiffered {} => return Ok(true),
            step => step,
        };
        let call = call.ok_or_else(|| damaged(&"it belongs to no call"))?;
        match step {
            Step::CallFinished {} => {
                self.finished.insert(call);
            }
            Step::CallBegun {} if self.finished.remove(&call) => {}
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
            Step::CallBegun {} => (self.begun, self.realm) = (Some(seq), realm),
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
            Step::HostStarted {}
            | Step::Admin {}
            | Step::CallRefused {}
            | Step::Approval {}
            | Step::Decided {}
            | Step::ShadowDiffered {}
            | Step::CallFinished {}
            | Step::SendRefused {} => {}
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
