//! A request that a vendor's own SDK drafted: the way of a tool's send, with no tool around it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::gate::{CallState, Gate};
use super::{Pipeline, in_time, unrecorded};
use crate::audit::{Audited, Outcome};
use crate::auth::Caller;
use crate::connection::Connection;
use crate::egress::{Draft, Reply};
use crate::ids::CallId;
use crate::policy::{CallContext, CallDenied, Via};
use crate::refusal::{Code, Refusal, RequestSent};

/// A request to forward, as the proxy door hands it over.
#[derive(Debug)]
pub struct ForwardRequest {
    /// Who asks.
    pub caller: Arc<Caller>,
    /// The connection's name, unchecked.
    pub connection: String,
    /// The request, unchecked; or why what was sent can't be read as one.
    pub draft: Result<Draft, Refusal>,
    /// The call's id.
    pub call: CallId,
    /// What the caller says of it.
    pub context: CallContext,
    /// How long it may take, audit included.
    pub deadline: Duration,
}

impl Pipeline {
    /// The connection of this name, whoever may use it. The proxy door has to know where an SDK puts its key, and how
    /// it reads an error, before it knows the caller.
    #[must_use]
    pub fn connection(&self, name: &str) -> Option<Arc<Connection>> {
        self.parts.connections.load().named(name)
    }

    /// Forwards one request. Dropping the future stops it and records it as cancelled.
    ///
    /// # Errors
    /// Nothing was sent, or what was sent couldn't be recorded.
    pub async fn forward(&self, request: ForwardRequest) -> Result<Audited<Result<Reply, Refusal>>, Refusal> {
        let deadline = Instant::now() + request.deadline;
        let ForwardRequest { caller, connection, draft, call, context, .. } = request;
        let admitted = self.parts.policy.admit_forward(&caller, context.clone());
        let (context, draft) = match admitted.and_then(|context| Ok((context, draft?))) {
            Ok(admitted) => admitted,
            Err(refusal) => {
                let (asked, denied) = (format!("proxy/{connection}"), CallDenied::from(refusal));
                let recorded = self.parts.audit.refused(call, &caller, &context, &asked, &denied);
                let recorded = in_time(deadline, recorded).await;
                return Err(recorded.err().unwrap_or(denied.refusal));
            }
        };
        let limits = self.parts.policy.calls_at_once(&caller);
        let begun = self.parts.audit.begin_forward(call, &caller, &context, &limits);
        let state = Arc::new(CallState::new(in_time(deadline, begun).await?, None));
        let gate = Gate {
            parts: self.parts.clone(),
            caller,
            via: Via::Proxy,
            context,
            deadline,
            state: state.clone(),
        };
        let result = gate.send(draft).await;
        drop(gate);
        let state = Arc::into_inner(state)
            .ok_or_else(|| Refusal::new(Code::Internal, "the host failed; its log says why"))?;
        let sent = state.request_sent();
        let result = result.map_err(|failure| {
            Refusal::new(failure.reason.code(), failure.message).sent(failure.request_sent)
        });
        let outcome = match &result {
            Ok(reply) => Outcome::ok(&reply.body),
            Err(refusal) => Outcome::failed(refusal.code),
        };
        let finished = state.into_pending().finish(outcome, result);
        // A call of which nothing was sent can be told in time that the trail stands still. What was sent has to be on record
        // before it's answered, however long that takes.
        match sent {
            RequestSent::No => in_time(deadline, finished).await,
            RequestSent::Yes | RequestSent::Unknown => {
                finished.await.map_err(|error| unrecorded(&error).sent(sent))
            }
        }
    }
}
