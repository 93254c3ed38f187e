//! A request on its way to the people who decide it.

use super::code::{self, CodeBlock};
use super::{CallFingerprintParts, Fingerprint, FingerprintParts, Note, QuestionParts, Rendering};
use crate::auth::Caller;
use crate::connection::TypedSend;
use crate::ids::{AgentId, ConversationId, Digest, Realm, RoleName, TokenId};
use crate::policy::{About, CallContext, EnforceSubject, Facts, Invocation, Via};
use crate::refusal::SendFailure;
use crate::store::ComponentKind;

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
    /// The conversation it asks in: its token's, or the one that it named.
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

/// What the pipeline knows of a call, or of code, that needs approval.
#[derive(Clone, Copy)]
pub struct CallParts<'a> {
    /// The call; of several blocks of code, any of them.
    pub invocation: &'a Invocation,
    /// The component that would run it now.
    pub component: Digest,
    /// All the code that is asked about, for a sandbox.
    pub blocks: &'a [CodeBlock],
    /// The digest of the policies that asked for approval.
    pub policy: Digest,
    /// How many people those policies want.
    pub quorum: u32,
}

impl CallParts<'_> {
    /// What exactly is to be approved.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let Self { invocation, component, blocks, policy, quorum } = *self;
        let (caller, context) = (&invocation.caller, &invocation.context);
        Fingerprint::of_call(CallFingerprintParts {
            realm: caller.realm(),
            token: caller.token(),
            agent: caller.agent(),
            role: caller.role(),
            conversation: context.conversation.as_ref(),
            intent: context.intent.as_ref(),
            user: caller.user(),
            kind: invocation.kind,
            tool: &invocation.tool,
            component,
            work: match invocation.kind {
                ComponentKind::Tool => invocation.arguments.digest(),
                ComponentKind::Sandbox => code::digest(blocks),
            },
            policy,
            quorum,
        })
    }
}

impl ApprovalAsk {
    /// Asks whether exactly this call may be made, or exactly this code run; `own` as [`ApprovalAsk::own`].
    ///
    /// # Errors
    /// What the agent hears, where it's too long for people to be shown all of it.
    pub fn of_call(parts: CallParts<'_>, own: Vec<AgentId>) -> Result<Self, SendFailure> {
        let CallParts { invocation, blocks, quorum, .. } = parts;
        let (caller, tool) = (&invocation.caller, invocation.tool.clone());
        let rendering = Rendering::of_call(invocation, blocks).map_err(|long| long.failure())?;
        // The policies see the size of each block: those who agree have to be enough for every one.
        let mut facts = blocks.iter().map(|block| invocation.facts_of_code(block.code.len()));
        let (about, first) = match invocation.kind {
            ComponentKind::Tool => (About::Call { tool }, None),
            ComponentKind::Sandbox => (About::Code { tool }, facts.next()),
        };
        let facts_of_first = first.unwrap_or_else(|| invocation.facts());
        let note = Note { rendering, cost: None, facts: facts_of_first, more: facts.collect() };
        let context = &invocation.context;
        Ok(Self::by(caller, context, parts.fingerprint(), about, quorum, own, note))
    }

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
        let rendering = Rendering::of_question(caller, context, &subject);
        let EnforceSubject { about, quorum, cost, facts, .. } = subject;
        let note = Note { rendering, cost, facts, more: Vec::new() };
        Self::by(caller, context, fingerprint, about, quorum, own, note)
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
        let about = About::Operation {
            connection: send.connection_name().clone(),
            operation: send.operation_name().clone(),
        };
        let note = Note {
            rendering: Rendering::of(caller, context, via, send),
            cost: send.cost().cloned(),
            facts: Facts::of_send(caller, context, via, send),
            more: Vec::new(),
        };
        Self::by(caller, context, fingerprint, about, quorum, own.to_vec(), note)
    }

    /// What this caller asks.
    fn by(
        caller: &Caller,
        context: &CallContext,
        fingerprint: Fingerprint,
        about: About,
        quorum: u32,
        own: Vec<AgentId>,
        note: Note,
    ) -> Self {
        Self {
            realm: caller.realm().clone(),
            fingerprint,
            token: caller.token().clone(),
            root: caller.root().clone(),
            agent: caller.agent().clone(),
            role: caller.role().cloned(),
            conversation: conversation(caller, context),
            about,
            quorum,
            own,
            note,
        }
    }
}

/// As the audit trail has it of a call, so that a call and what is asked for it are filed under the same.
fn conversation(caller: &Caller, context: &CallContext) -> Option<ConversationId> {
    caller.conversation().or(context.conversation.as_ref()).cloned()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::auth::{Auth, Grant, Mint};
    use crate::clock::{ManualClock, Millis};
    use crate::store::{MemoryControl, TokenKind};

    #[test]
    fn a_token_s_own_conversation_is_the_one_that_is_asked_in() {
        let auth = Auth::new(Arc::new(MemoryControl::new()), Arc::new(ManualClock::at(Millis(1_000))));
        let caller = |own: Option<&str>| {
            let minted = auth.mint(Mint {
                kind: TokenKind::Agent,
                realm: Realm { tenant: "acme".parse().unwrap(), environment: "dev".parse().unwrap() },
                every_environment: false,
                agent: "billing".parse().unwrap(),
                conversation: own.map(|own| own.parse().unwrap()),
                role: None,
                task: None,
                user: None,
                grant: Grant { tools: vec!["*".parse().unwrap()], ..Grant::default() },
                lifetime: Duration::from_secs(60),
            });
            auth.verify(minted.unwrap().token.as_str()).unwrap()
        };
        for (own, named, wanted) in [
            (Some("march"), None, Some("march")),
            (Some("march"), Some("march"), Some("march")),
            (None, Some("april"), Some("april")),
            (None, None, None),
        ] {
            let named = named.map(|named| named.parse().unwrap());
            let context = CallContext { conversation: named, ..CallContext::default() };
            let found = conversation(&caller(own), &context);
            assert_eq!(found.as_ref().map(|found| found.as_str()), wanted);
        }
    }
}
