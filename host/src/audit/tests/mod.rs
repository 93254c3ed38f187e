mod calls;
mod chain;
mod docs;
mod failures;
mod forwarded;
mod places;
mod recovery;
mod rows;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;

use super::entry::Begun;
use super::writer::RESUMED;
use super::*;
use crate::clock::{ManualClock, Millis};
use crate::ids::{CallId, Digest};
use crate::ledger::Settlement;
use crate::refusal::{Code, RequestSent};
use crate::store::{AuditRecord, MemoryAudit, StoreError, TrailWork};

const SETTLED: Settlement = Settlement::Settle { confirmed: None };

/// A trail in memory whose appends can be made to fail, as on a full disk, or to wait.
#[derive(Default)]
struct Faulty {
    memory: MemoryAudit,
    failing: AtomicBool,
    commits: AtomicU32,
    /// Keeps appends waiting.
    shut: AtomicBool,
}

impl Faulty {
    fn fail(&self, failing: bool) {
        self.failing.store(failing, Ordering::SeqCst);
    }

    fn shut(&self, shut: bool) {
        self.shut.store(shut, Ordering::SeqCst);
    }
}

impl AuditStore for Faulty {
    fn write(&self, work: TrailWork<'_>) -> Result<(), StoreError> {
        while self.shut.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        if self.failing.load(Ordering::SeqCst) {
            return self.memory.write(&mut |tx| {
                let before = tx.head()?;
                work(tx)?;
                // What writes nothing needs no room.
                if tx.head()? == before { Ok(()) } else { Err(StoreError::Failed("told to fail".to_owned())) }
            });
        }
        self.commits.fetch_add(1, Ordering::SeqCst);
        self.memory.write(work)
    }

    fn rows(&self, filter: &RowFilter) -> Result<Vec<AuditRecord>, StoreError> {
        self.memory.rows(filter)
    }

    fn head(&self) -> Result<(u64, Digest), StoreError> {
        self.memory.head()
    }
}

struct Fixture {
    audit: Audit,
    store: Arc<Faulty>,
    clock: Arc<ManualClock>,
}

fn fixture() -> Fixture {
    let store = Arc::new(Faulty::default());
    let clock = Arc::new(ManualClock::at(Millis(1_700_000_000_000)));
    let audit = Audit::start(store.clone(), clock.clone()).unwrap();
    Fixture { audit, store, clock }
}

impl Fixture {
    async fn begin(&self) -> Result<Pending, AuditError> {
        begin(&self.audit).await
    }

    /// Waits until the writer has taken all that is queued.
    async fn taken(&self) {
        while self.audit.trail.queue.len() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits until so many rows are on the disk, without anything else that would bring them there.
    async fn written(&self, rows: usize) {
        let written = async {
            while story(&*self.store).len() < rows {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), written).await.unwrap();
    }

    /// Ends the writer, and tells what the trail says, without hashes and times.
    fn story(self) -> Vec<String> {
        self.audit.shutdown();
        verify(&*self.store, None).unwrap();
        story(&*self.store)
    }
}

async fn begin(audit: &Audit) -> Result<Pending, AuditError> {
    Pending::begin(&audit.trail, CallId::fresh(Millis(0)), realm(), Event::CallBegun(intent()), &[]).await
}

async fn begin_send(pending: &Pending) -> Result<PendingSend, AuditError> {
    match pending.begin_send(|send| (send_intent(send), None)).await? {
        Begun::Yes(send) => Ok(send),
        Begun::No(refused) => panic!("nothing was reserved, and it was refused: {refused:?}"),
    }
}

fn realm() -> Realm {
    Realm { tenant: "acme".parse().unwrap(), environment: "prod".parse().unwrap() }
}

fn intent() -> CallBegun {
    CallBegun {
        door: crate::policy::Door::Tool,
        token: crate::ids::TokenId::fresh(),
        agent: "billing-bot".parse().unwrap(),
        role: None,
        task: None,
        conversation: Some("c-1".parse().unwrap()),
        turn: None,
        tool: Some("get_invoice".parse().unwrap()),
        component: Some(Digest::of(b"component")),
        arguments: Some(Digest::of(b"{}")),
        arguments_bytes: 2,
        policy: None,
        approval: None,
        trace: None,
        model_call: None,
    }
}

fn send_intent(send: u32) -> SendBegun {
    SendBegun {
        send,
        connection: "stripe".parse().unwrap(),
        operation: "get_invoice".parse().unwrap(),
        request: Digest::of(b"request"),
        body_bytes: 0,
        secret: "stripe-prod".parse().unwrap(),
        user: None,
        cost: None,
        budgets: 0,
        approval: None,
        policy: Digest::of(b"policies"),
        question: None,
        key: None,
    }
}

fn difference() -> ShadowDiffered {
    ShadowDiffered {
        who: "billing-bot".parse().unwrap(),
        subject: "stripe:create_charge".to_owned(),
        live: Decision::Allowed,
        candidate: Decision::Denied,
        policies: Vec::new(),
        policy: Digest::of(b"others"),
    }
}

fn answered() -> SendResult {
    SendResult {
        status: Some(200),
        failure: None,
        request_sent: RequestSent::Yes,
        reply: Some((Digest::of(b"reply"), 5)),
    }
}

/// Without what the writer finds out by itself, where a test leaves it the time.
fn story(store: &dyn AuditStore) -> Vec<String> {
    let records = store.rows(&RowFilter { limit: u32::MAX, ..RowFilter::default() }).unwrap();
    let told = records.into_iter().map(|record| told(&Row::try_from(record).unwrap().event));
    told.filter(|row| row != RESUMED).collect()
}

fn told(event: &Event) -> String {
    match event {
        Event::HostStarted { recovered, .. } => format!("started, {recovered} recovered"),
        Event::Checkpoint { calls, .. } => format!("checkpoint, {} open", calls.len()),
        Event::CallBegun(_) => "call".to_owned(),
        Event::CallRefused(call) => format!("call refused: {}", call.code.as_str()),
        Event::SendBegun(send) => format!("send {}", send.send),
        Event::SendFinished(send) => format!("send {} done: sent {}", send.send, send.request_sent.as_str()),
        Event::SendRefused(send) => format!("refused {}: {}", send.connection, send.code.as_str()),
        Event::CallFinished(call) => {
            format!("{:?}: {} sends, sent {}", call.mark, call.sends, call.request_sent.as_str())
        }
        Event::Approval(step) => format!("{} {}", step.id, step.step.as_str()),
        Event::Decided(row) => format!("decided {}", row.decision.as_str()),
        Event::ReconcileBegun(row) => format!("reconcile by {}", row.by),
        Event::Reconciled(row) => format!("reconciled: {}", row.became.as_str()),
        Event::ShadowDiffered(row) => format!("shadow: {}", row.candidate.as_str()),
        Event::Admin { action, .. } => action.clone(),
    }
}

/// Runs a future up to its first wait, no further.
async fn started<T>(mut future: Pin<Box<impl Future<Output = T>>>) -> Pin<Box<impl Future<Output = T>>> {
    poll_fn(|context| {
        assert!(future.as_mut().poll(context).is_pending());
        Poll::Ready(())
    })
    .await;
    future
}
