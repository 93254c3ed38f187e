//! A request on its way to the people who decide it.

use super::{Fingerprint, FingerprintParts, Note, QuestionParts, Rendering};
use crate::auth::Caller;
use crate::connection::TypedSend;
use crate::ids::{AgentId, ConversationId, Digest, Realm, RoleName, TokenId};
use crate::policy::{About, CallContext, EnforceSubject, Facts, Via};

/// What is asked, by whom, and what approvers will read of it.
#[derive(Debug, Clone)]
pub struct ApprovalAsk {
    /// Whose it is.
    pub realm: Realm,
    /// What exactly is to be approved.
    pub fingerprint: Fingerprint,
    /// The token that asks.
    pub token: TokenId,
    /// The first token of its chain: what is asked with all that were delegated from that one counts together.
    pub root: TokenId,
    /// The agent that asks.
    pub agent: AgentId,
    /// Its role.
    pub role: Option<RoleName>,
    /// The conversation it asks in.
    pub conversation: Option<ConversationId>,
    /// What it would do, and where.
    pub about: About,
    /// How many people have to agree; none counts as one.
    pub quorum: u32,
    /// Who, beside the agent, asks in truth and so can't approve: every agent that the token was delegated by, up to the
    /// first, and the operator who minted that one, as far as the host knows them.
    pub own: Vec<AgentId>,
    /// What it's about.
    pub note: Note,
}

/// What the gate knows of a request that needs approval.
#[derive(Debug, Clone, Copy)]
pub struct AskParts<'a> {
    /// Who asks.
    pub caller: &'a Caller,
    /// What it says of its call.
    pub context: &'a CallContext,
    /// The way that the request came.
    pub via: &'a Via,
    /// The request.
    pub send: &'a TypedSend,
    /// The digest of the policies that asked for approval.
    pub policy: Digest,
    /// The version of the secret that would be attached.
    pub secret_version: u32,
    /// How many people those policies want.
    pub quorum: u32,
    /// As [`ApprovalAsk::own`].
    pub own: &'a [AgentId],
}

impl ApprovalAsk {
    /// Asks whether exactly this question of an enforcement point may be answered with a yes. `context` is the digest of
    /// all that the point said beside it; `own` as [`ApprovalAsk::own`].
    #[must_use]
    pub fn of_question(
        caller: &Caller,
        context: &CallContext,
        digest: Digest,
        subject: EnforceSubject,
        own: Vec<AgentId>,
    ) -> Self {
        let fingerprint = Fingerprint::of_question(QuestionParts {
            realm: caller.realm(),
            token: caller.token(),
            agent: caller.agent(),
            role: caller.role(),
            conversation: context.conversation.as_ref(),
            about: &subject.about,
            context: digest,
            policy: subject.policy,
            quorum: subject.quorum,
        });
        Self {
            realm: caller.realm().clone(),
            fingerprint,
            token: caller.token().clone(),
            root: caller.root().clone(),
            agent: caller.agent().clone(),
            role: caller.role().cloned(),
            conversation: context.conversation.clone(),
            quorum: subject.quorum,
            own,
            note: Note {
                rendering: Rendering::of_question(caller, context, &subject),
                cost: subject.cost,
                facts: subject.facts,
            },
            about: subject.about,
        }
    }

    /// Asks for exactly this request.
    #[must_use]
    pub fn new(parts: AskParts<'_>) -> Self {
        let AskParts { caller, context, via, send, policy, secret_version, quorum, own } = parts;
        let fingerprint = Fingerprint::of(FingerprintParts {
            realm: caller.realm(),
            token: caller.token(),
            agent: caller.agent(),
            role: caller.role(),
            conversation: context.conversation.as_ref(),
            intent: context.intent.as_ref(),
            via,
            connection: send.connection_name(),
            upstream: &send.connection().base.to_string(),
            constant_headers: &send.connection().constant_headers,
            operation: send.operation_name(),
            request: send.request().digest(),
            policy,
            secret: send.secret(),
            secret_version,
            user: send.user(),
            quorum,
        });
        Self {
            realm: caller.realm().clone(),
            fingerprint,
            token: caller.token().clone(),
            root: caller.root().clone(),
            agent: caller.agent().clone(),
            role: caller.role().cloned(),
            conversation: context.conversation.clone(),
            about: About::Operation {
                connection: send.connection_name().clone(),
                operation: send.operation_name().clone(),
            },
            quorum,
            own: own.to_vec(),
            note: Note {
                rendering: Rendering::of(caller, context, via, send),
                cost: send.cost().cloned(),
                facts: Facts::of_send(caller, context, via, send),
            },
        }
    }
}
