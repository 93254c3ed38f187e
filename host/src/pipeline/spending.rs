//! What a request takes from budgets, and what a repetition of a write gets.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::audit::Takes;
use crate::auth::Caller;
use crate::clock::Millis;
use crate::connection::{Effect, RefundRule, TypedSend};
use crate::egress::{Reply, Sweep, Vault};
use crate::ids::{ConnectionName, ConversationId, Realm};
use crate::ledger::{
    Budgets, Customer, Dedup, FirstOutcome, Link, LiveBudgets, QuestionFacts, Refund, SpendFacts, WriteFacts,
    dedup_key, idempotency_value, question_key,
};
use crate::policy::{CallContext, EnforceSpends};
use crate::refusal::{FailureReason, SendFailure};
use crate::store::CounterKey;

/// The largest reply that is kept for a repetition, in bytes: what answers a write is small.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// What the gate needs to know of money and of writes that were made.
pub struct Spending {
    budgets: LiveBudgets,
    salt: [u8; 32],
    window_ms: u64,
    vault: Option<Arc<Vault>>,
}

/// Where a refund gives room back, once the upstream has confirmed it.
pub(super) struct Reopened {
    rule: RefundRule,
    realm: Realm,
    connection: ConnectionName,
    counters: Vec<(String, CounterKey)>,
    now: Millis,
}

impl Reopened {
    /// What the body of a reply with a 2xx status gives back. `None`: nothing that could be counted.
    pub(super) fn confirmed(self, body: &[u8]) -> Option<Refund> {
        let refunded = self.rule.confirmed(body)?;
        let counters = self.counters.into_iter();
        let counters = counters.filter(|(currency, _)| *currency == refunded.amount.currency);
        let counters: Vec<_> = counters.map(|(_, counter)| counter).collect();
        let none = counters.is_empty();
        (!none).then(|| Refund::new(&self.realm, &self.connection, refunded, counters, self.now))
    }
}

fn chain(caller: &Caller) -> Vec<Link<'_>> {
    caller
        .chain()
        .map(|link| Link {
            token: &link.id,
            agent: &link.agent,
            role: link.role.as_ref(),
            budgets: &link.grant.budgets,
        })
        .collect()
}

/// A reply as it's kept for a repetition of its write.
#[derive(Serialize, Deserialize)]
struct Kept {
    status: u16,
    headers: Vec<(String, String)>,
    #[serde(with = "serde_bytes_hex")]
    body: Vec<u8>,
    secret_version: u32,
}

impl Spending {
    /// Budgets, and how long a write is recognised. `salt` is the home's, see [`dedup_salt`](crate::ledger::dedup_salt).
    /// Without a vault no reply is kept, so that a repetition of a write is refused instead of answered.
    #[must_use]
    pub fn new(
        budgets: impl Into<LiveBudgets>,
        salt: [u8; 32],
        window: Duration,
        vault: Option<Arc<Vault>>,
    ) -> Self {
        let window_ms = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
        Self { budgets: budgets.into(), salt, window_ms, vault }
    }

    /// No budgets but those on tokens, and no reply is kept: for tests.
    #[must_use]
    pub fn none() -> Self {
        Self::new(Budgets::default(), [0; 32], Duration::from_secs(86_400), None)
    }

    /// How a write is recognised when it's asked for again. `None` for a read, for what may be repeated, and where no
    /// conversation says that a repetition is one.
    pub(super) fn dedup(&self, realm: &Realm, context: &CallContext, send: &TypedSend) -> Option<Dedup> {
        let operation = send.operation();
        if operation.effect == Effect::Read || operation.repeatable {
            return None;
        }
        let key = dedup_key(
            &self.salt,
            &WriteFacts {
                realm,
                conversation: context.conversation.as_ref()?,
                connection: send.connection_name(),
                operation: send.operation_name(),
                request: send.request(),
                idempotency_header: send.connection().idempotency_header.as_ref(),
                intent: context.intent.as_ref(),
                user: send.user(),
            },
        );
        Some(Dedup { key, window_ms: self.window_ms })
    }

    /// The write's key as the upstream gets it with an attempt at it.
    pub(super) fn idempotency_key(dedup: &Dedup, attempt: u32) -> String {
        idempotency_value(&dedup.key, attempt)
    }

    /// Where a refund that is about to be made gives room back. `None`: it's no refund, or no budget wants that.
    pub(super) fn reopened(
        &self,
        caller: &Caller,
        context: &CallContext,
        send: &TypedSend,
        now: Millis,
    ) -> Option<Reopened> {
        let rule = send.operation().refund.clone()?;
        let chain = chain(caller);
        let facts = SpendFacts::of(send, caller.realm(), context.conversation.as_ref(), &chain, now);
        let counters = self.budgets.load().reopened(&SpendFacts { operation: &rule.of, ..facts });
        let (realm, connection) = (caller.realm().clone(), send.connection_name().clone());
        (!counters.is_empty()).then_some(Reopened { rule, realm, connection, counters, now })
    }

    /// The operator's budgets.
    #[must_use]
    pub fn budgets(&self) -> &LiveBudgets {
        &self.budgets
    }

    /// What an operation takes that an enforcement point was allowed. `None`: no budget counts it.
    ///
    /// # Errors
    /// What a budget refuses whatever was spent so far.
    pub fn takes_of_question(
        &self,
        caller: &Caller,
        conversation: Option<&ConversationId>,
        spends: &EnforceSpends,
        question: &QuestionFacts<'_>,
        now: Millis,
    ) -> Result<Option<Takes>, SendFailure> {
        let EnforceSpends { connection, operation, parameters, cost } = spends;
        let chain = chain(caller);
        let facts = SpendFacts {
            realm: caller.realm(),
            conversation,
            chain: &chain,
            connection: &connection.name,
            operation: &operation.name,
            effect: operation.effect,
            settles: operation.settle.is_some(),
            customer: Customer::of(operation, parameters),
            cost: cost.as_ref(),
            now,
        };
        let lines = self.budgets.load().lines(&facts)?;
        let dedup = Dedup { key: question_key(&self.salt, question), window_ms: self.window_ms };
        Ok((!lines.is_empty()).then_some(Takes { lines, dedup: Some(dedup), at: now }))
    }

    /// What a request takes. `None`: nothing is to be reserved.
    ///
    /// # Errors
    /// What a budget refuses whatever was spent so far.
    pub(super) fn takes(
        &self,
        caller: &Caller,
        context: &CallContext,
        send: &TypedSend,
        dedup: Option<Dedup>,
        now: Millis,
    ) -> Result<Option<Takes>, SendFailure> {
        let chain = chain(caller);
        let facts = SpendFacts::of(send, caller.realm(), context.conversation.as_ref(), &chain, now);
        let lines = self.budgets.load().lines(&facts)?;
        let nothing = lines.is_empty() && dedup.is_none();
        Ok((!nothing).then_some(Takes { lines, dedup, at: now }))
    }

    /// A reply, sealed, for a repetition of its write. `None`: it's too large, or can't be sealed.
    pub(super) fn keep(&self, realm: &Realm, dedup: &Dedup, reply: &Reply) -> Option<Vec<u8>> {
        let vault = self.vault.as_ref().filter(|_| reply.body.len() <= KEPT_BYTES_MAX)?;
        let kept = Kept {
            status: reply.status,
            headers: reply.headers.clone(),
            body: reply.body.to_vec(),
            secret_version: reply.secret_version,
        };
        let text = serde_json::to_vec(&kept).ok()?;
        vault.seal_note(realm, &hex::encode(dedup.key), &text).ok()
    }

    /// What a repetition gets: the first reply, or the reason why there's none.
    pub(super) fn repeat(
        &self,
        realm: &Realm,
        dedup: &Dedup,
        first: &FirstOutcome,
    ) -> Result<Reply, SendFailure> {
        match first {
            FirstOutcome::Done { reply: Some(sealed), at, .. } => {
                self.open(realm, dedup, sealed).ok_or_else(|| {
                    repetition(format!(
                        "this same write was made at {at} in this conversation, and its reply can't be read any more"
                    ))
                })
            }
            FirstOutcome::Done { reply: None, at, .. } => Err(repetition(format!(
                "this same write was made at {at} in this conversation, and its reply isn't kept"
            ))),
            FirstOutcome::Unknown { at } => Err(repetition(format!(
                "this same write was sent at {at} in this conversation and nobody knows yet whether it was carried out; \
                 the host or an operator has to find out"
            ))),
        }
    }

    fn open(&self, realm: &Realm, dedup: &Dedup, sealed: &[u8]) -> Option<Reply> {
        let vault = self.vault.as_ref()?;
        let text = vault.open_note(realm, &hex::encode(dedup.key), sealed).ok()?;
        let kept: Kept = serde_json::from_slice(&text).ok()?;
        Some(Reply {
            status: kept.status,
            headers: kept.headers,
            body: Bytes::from(kept.body),
            announced: None,
            secret_version: kept.secret_version,
            // It was swept before it was kept.
            sweep: Arc::new(Sweep::of_nothing()),
        })
    }
}

/// The refusal of a repetition that can't be answered, of a write that is over.
fn repetition(message: String) -> SendFailure {
    let hint = "; to make it once more on purpose, send a new Keybearer-Intent";
    SendFailure::unsent(FailureReason::Duplicate, message + hint)
}

mod serde_bytes_hex {
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex::encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        hex::decode(String::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}
