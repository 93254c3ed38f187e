//! What the audit trail records: of bodies, arguments and results digests and sizes alone. Where the host is set up to keep
//! what policies were asked, a row holds that as well, sealed. (Sealed replies to writes are the ledger's: no row has one.)

use serde::{Deserialize, Serialize};

use super::given::TokenGiven;
use crate::approval::Fingerprint;
use crate::clock::Millis;
use crate::connection::Cost;
use crate::ids::{
    AgentId, ApprovalId, CallId, ConnectionName, ConversationId, DecisionId, Digest, ModelCallId,
    OperationName, Realm, ReservationId, RoleName, SecretLabel, TokenId, ToolName, TurnId, UserId,
};
use crate::policy::Door;
use crate::refusal::{Code, RequestSent};

/// One row of the trail, numbered and chained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Its number, from 1, without gaps.
    pub seq: u64,
    /// When it was recorded.
    pub at: Millis,
    /// Whose it is. `None`: the host's own.
    pub realm: Option<Realm>,
    /// The call it belongs to, if any.
    pub call: Option<CallId>,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
    /// The hash of the row before; all zeros for the first.
    pub prev: Digest,
    /// SHA-256 over this row's canonical form, `prev` included.
    pub hash: Digest,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The host started. Calls that were left open up to here have been marked.
    HostStarted {
        /// The host's version.
        version: String,
        /// How many open calls were found and marked `unknown`.
        recovered: u32,
    },
    /// Which calls were open after a row. A host that runs records it now and then: the next start needn't look any further
    /// back for calls without an outcome.
    Checkpoint {
        /// The row's number: this one's own, or one shortly before it.
        row: u64,
        /// The calls.
        calls: Vec<CallId>,
    },
    /// A call is about to run.
    CallBegun(CallBegun),
    /// A call of a known caller was refused before it began: no such tool for it, arguments that don't fit, denied.
    CallRefused(CallRefused),
    /// A request is about to be sent upstream.
    SendBegun(SendBegun),
    /// What came of it.
    SendFinished(SendFinished),
    /// A tool asked for a request that was refused before it began: denied, unknown, malformed, or with a token that
    /// was revoked meanwhile. The tool may go on, so this row is the one trace that it tried.
    SendRefused(SendRefused),
    /// What came of the call.
    CallFinished(CallFinished),
    /// A request, a tool's call or code was put before people, decided by one, or made or run with their approval.
    Approval(ApprovalStep),
    /// An enforcement point asked, and got this answer.
    Decided(Decided),
    /// A call of the host's own is about to look up what became of a write.
    ReconcileBegun(ReconcileBegun),
    /// What that found, and what became of the write's reservation by it.
    Reconciled(Reconciled),
    /// Policies that are tried beside the live ones decide otherwise. Nothing went by their answer.
    ShadowDiffered(ShadowDiffered),
    /// An operator changed something: minted or revoked a token, stored or removed a secret, added a tool. Or an agent
    /// handed on what it may do.
    Admin {
        /// What was done, `token.mint` for example.
        action: String,
        /// What it was done to: an id or a name, never a secret.
        subject: String,
        /// Who did it: a token id, or `cli`.
        by: String,
        /// Why, where the operator said so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// The token that was minted or delegated.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<Box<TokenGiven>>,
    },
}

/// The intent to run a tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallBegun {
    /// The door that it came through.
    pub door: Door,
    /// The token that asked.
    pub token: TokenId,
    /// The agent that it was minted for.
    pub agent: AgentId,
    /// The agent's role.
    pub role: Option<RoleName>,
    /// What the agent is to do, as its token says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// The conversation, from the token or as the caller named it.
    pub conversation: Option<ConversationId>,
    /// The turn, as the caller named it.
    pub turn: Option<TurnId>,
    /// The tool, if one was called.
    pub tool: Option<ToolName>,
    /// The component that it's part of.
    pub component: Option<Digest>,
    /// The digest of the arguments in canonical form.
    pub arguments: Option<Digest>,
    /// Their size.
    pub arguments_bytes: u32,
    /// The hash of the policies that permitted it. None at the proxy door, where each request has its own.
    pub policy: Option<Digest>,
    /// The approval that the call itself was given by people; of code, that of all its blocks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalId>,
    /// The trace id that came with the request (W3C `traceparent`).
    pub trace: Option<String>,
    /// What the model calls this call, as the caller passed it on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_call: Option<ModelCallId>,
}

/// A call that was refused before it began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallRefused {
    /// The token that asked.
    pub token: TokenId,
    /// The agent that it was minted for.
    pub agent: AgentId,
    /// The conversation, from the token or as the caller named it.
    pub conversation: Option<ConversationId>,
    /// The tool as the caller wrote it: at most 64 printable ASCII characters of it.
    pub tool: String,
    /// Why.
    pub code: Code,
    /// The hash of the policies in force, where it was refused by them or permitted by them before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Digest>,
    /// As in [`CallBegun`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_call: Option<ModelCallId>,
}

/// The intent to send a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendBegun {
    /// Which send of the call this is, from 1.
    pub send: u32,
    /// Where it goes.
    pub connection: ConnectionName,
    /// What it does there.
    pub operation: OperationName,
    /// The digest of the canonical request, the secret not included.
    pub request: Digest,
    /// The size of its body.
    pub body_bytes: u32,
    /// The label of the secret that will be attached.
    pub secret: SecretLabel,
    /// The user whose own secret that is. None for an operator's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserId>,
    /// What it costs, in minor units.
    pub cost: Option<Cost>,
    /// How many budgets it was reserved in.
    pub budgets: u32,
    /// The approval that it was given by people.
    pub approval: Option<ApprovalId>,
    /// The hash of the policies that permitted it.
    pub policy: Digest,
    /// The request as the policies were asked about it, sealed for its tenant, where the host is set up to keep it:
    /// hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub question: Option<String>,
    /// The host's own key for this write, where it's written into the request's body: the upstream's record has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendFinished {
    /// Which send of the call this was.
    pub send: u32,
    /// The upstream's status, if it answered.
    pub status: Option<u16>,
    /// Why there was no reply, if there was none.
    pub failure: Option<Code>,
    /// Whether the upstream may have seen it.
    pub request_sent: RequestSent,
    /// The version of the secret that was attached, whether a reply came or not. None where none was, and where the host
    /// stopped before the end.
    pub secret_version: Option<u32>,
    /// What became of its reservation: `settled`, `released`, `refused` or `held`; none when nothing was reserved.
    pub settlement: Option<String>,
    /// What the upstream confirmed as refunded, where budgets are given room back for it. Each refund counts once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refunded: Option<Cost>,
    /// The digest of the reply's body, decompressed.
    pub reply: Option<Digest>,
    /// Its size.
    pub reply_bytes: u32,
    /// How long it took, in milliseconds; 0 when nobody saw the end.
    pub took_ms: u32,
}

/// A request that was refused before it began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendRefused {
    /// The connection as the tool wrote it: at most 64 printable ASCII characters of it. `*`: whichever, beyond the
    /// number of requests that a call may send; all of them are one row.
    pub connection: String,
    /// Why.
    pub code: Code,
    /// What is known of the request.
    #[serde(flatten)]
    pub known: SendKnown,
}

/// What is known of a request by the time it's refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SendKnown {
    /// What it does, once it's known to be one of the connection's operations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<OperationName>,
    /// What it costs, in minor units.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
    /// The hash of the policies in force, where the request got as far as them: they refused it, or something else did
    /// afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<Digest>,
    /// The same write, begun before, of which this is a repetition: the call and the send.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeats: Option<ReservationId>,
    /// As in [`SendBegun`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub question: Option<String>,
}

/// A look at what became of a write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReconcileBegun {
    /// The write's reservation, which is held.
    pub hold: ReservationId,
    /// Who wants to know: an operator's token, `cli`, or `host`.
    pub by: String,
}

/// What a look at a write found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reconciled {
    /// The write's reservation.
    pub hold: ReservationId,
    /// What became of it.
    pub became: Became,
    /// What counts as spent by it, or is still held.
    pub amount: Option<Cost>,
    /// Why nothing has changed, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// What a look at its write made of a reservation that was held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Became {
    /// Its write was carried out, and counts.
    Settled,
    /// It's still held.
    Held,
}

impl Became {
    /// `settled` or `held`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Settled => "settled",
            Self::Held => "held",
        }
    }
}

/// One step of an approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalStep {
    /// The approval.
    pub id: ApprovalId,
    /// What happened to it.
    pub step: Step,
    /// Who did it: the agent that asked or used it, the approver that decided.
    pub by: AgentId,
    /// The token that was presented. None at the command line.
    pub token: Option<TokenId>,
    /// What exactly it's bound to.
    pub fingerprint: Fingerprint,
    /// The conversation that it was asked in. In no other step, nor in older rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<ConversationId>,
}

/// What happened to an approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// It was asked for.
    Asked,
    /// Someone says yes. Recorded before it counts, so that no yes counts unrecorded.
    Approved,
    /// Someone said no.
    Denied,
    /// It was used up, by the call of this row or what that sends.
    Claimed,
}

impl Step {
    /// As it's recorded.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Claimed => "claimed",
        }
    }
}

/// An answer to an enforcement point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// The answer's id.
    pub id: DecisionId,
    /// What the enforcement point calls its question: at most 128 characters.
    pub request: String,
    /// The operator's token that asked.
    pub by: TokenId,
    /// The capability token, if it was valid.
    pub token: Option<TokenId>,
    /// The agent that it was minted for.
    pub agent: Option<AgentId>,
    /// What was to be done: at most 256 characters.
    pub action: String,
    /// With what: at most 256 characters.
    pub resource: String,
    /// The answer.
    pub decision: Decision,
    /// Why it isn't allowed.
    pub reason: Option<Code>,
    /// The policies that decided.
    pub policies: Vec<String>,
    /// The hash of the policies in force, where it got as far as them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Digest>,
    /// The approval that it waits for, or was given by people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalId>,
}

/// A question that policies which are tried decide otherwise than the live ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowDiffered {
    /// The agent that asked, or the operator who would approve.
    pub who: AgentId,
    /// What was asked for, as `stripe:create_charge`.
    pub subject: String,
    /// What the live policies said.
    pub live: Decision,
    /// What the others would have said.
    pub candidate: Decision,
    /// Those of the others that decided.
    pub policies: Vec<String>,
    /// The hash of the others. Older rows have it as `hash`.
    #[serde(alias = "hash")]
    pub policy: Digest,
}

/// What an enforcement point is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Yes.
    Allowed,
    /// No.
    Denied,
    /// Not before a person agrees.
    ApprovalRequired,
}

impl Decision {
    /// `allowed`, `denied` or `approval_required`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::ApprovalRequired => "approval_required",
        }
    }
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallFinished {
    /// How it ended.
    pub mark: CallMark,
    /// Why it brought no result, if it brought none.
    pub code: Option<Code>,
    /// Whether any upstream may have seen a request.
    pub request_sent: RequestSent,
    /// How many sends were begun.
    pub sends: u32,
    /// The digest of the result that the agent got.
    pub result: Option<Digest>,
    /// Its size.
    pub result_bytes: u32,
    /// How long the call took, in milliseconds; 0 when nobody saw the end.
    pub took_ms: u32,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallMark {
    /// With a result.
    Ok,
    /// With a refusal or an error.
    Failed,
    /// The caller hung up before the end.
    Cancelled,
    /// The host stopped before the end: what happened upstream isn't known.
    Unknown,
}
