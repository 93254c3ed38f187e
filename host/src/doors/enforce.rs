//! `POST /v1/enforce`: an enforcement point outside of the host asks whether an agent may do something.
//!
//! The platform's key (an operator's token) says who asks; the capability token in the body says for whom. Whatever is
//! wrong with the latter is a decision, not an error: the answer is `denied`.
//!
//! Where people have to agree, the answer names an approval. The same question again, once they have, is allowed once:
//! with the approval's id, or without it.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::body;
use super::change::unrecorded;
use super::router::{Door, Route};
use super::wire::json;
use crate::app::App;
use crate::approval::{ApprovalAsk, Approved, Unanswered};
use crate::audit::{Decided, Decision};
use crate::auth::{AuthError, Caller};
use crate::dto::read_json;
use crate::ids::{ApprovalId, ConnectionName, ConversationId, DecisionId, Digest, TenantId};
use crate::kill::Subjects;
use crate::policy::{CallContext, EnforceDecision, EnforceQuestion, Enforced, is_api_resource};
use crate::refusal::{Code, Refusal};
use crate::store::TokenKind;
use crate::text::is_line;

/// The name that stands for the asking operator's own tenant.
const OWN_TENANT: &str = "default-tenant";

/// The longest request id, in characters.
const REQUEST_ID_CHARS_MAX: usize = 128;

/// The body. An unknown or repeated member is an error.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct EnforceBody {
    request_id: String,
    capability_token: String,
    action: String,
    resource_id: String,
    tenant_id: Option<String>,
    #[serde(default)]
    context: Map<String, Value>,
    /// The approval that people gave to exactly this question.
    approval_id: Option<ApprovalId>,
}

/// The answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EnforceAnswer {
    pub(super) decision: Decision,
    /// A code; null when it's allowed.
    pub(super) reason: Option<Code>,
    pub(super) message: String,
    pub(super) request_id: String,
    pub(super) decision_id: DecisionId,
    /// The approval that the question waits for; null unless it does.
    pub(super) approval_id: Option<ApprovalId>,
}

/// Answers a question.
pub(super) async fn enforce(State(door): State<Arc<Door>>, request: Request) -> Response {
    let result = enforced(&door, request).await;
    door.answer(Route::Enforce, result)
}

async fn enforced(door: &Door, request: Request) -> Result<Response, Refusal> {
    let operator = door.operator(request.headers())?;
    let bytes = body::read(request.into_body(), door.body_bytes_max, door.body_time_max).await?;
    let asked = read(&bytes)?;
    if !is_line(&asked.request_id, REQUEST_ID_CHARS_MAX) {
        return Err(Refusal::new(
            Code::BadRequest,
            "requestId is not one line of 1 to 128 printable characters",
        ));
    }
    let app = &door.app;
    let subject = subject(app, &operator, &asked.capability_token);
    let (decision, approval) = match &subject {
        Ok(caller) => decide_with_people(app, &operator, caller, &asked).await,
        Err(refusal) => (EnforceDecision::refused(refusal.code, refusal.message.clone()), None),
    };
    let answer = EnforceAnswer {
        decision: match decision.verdict {
            Enforced::Allowed => Decision::Allowed,
            Enforced::Denied => Decision::Denied,
            Enforced::ApprovalRequired { .. } => Decision::ApprovalRequired,
        },
        reason: decision.code,
        message: decision.message,
        request_id: asked.request_id.clone(),
        decision_id: DecisionId::fresh(),
        approval_id: approval.clone().filter(|_| decision.verdict != Enforced::Allowed),
    };
    if let Some(cause) = &decision.cause {
        tracing::info!(decision = %answer.decision_id, policies = ?decision.policies, cause, "a question was not allowed");
    }
    let caller = subject.as_deref().ok();
    let row = Decided {
        id: answer.decision_id.clone(),
        request: asked.request_id,
        by: operator.token().clone(),
        token: caller.map(|caller| caller.token().clone()),
        agent: caller.map(|caller| caller.agent().clone()),
        action: asked.action,
        resource: asked.resource_id,
        decision: answer.decision,
        reason: answer.reason,
        policies: decision.policies,
        approval,
    };
    // A subject that isn't the operator's own is on record in the operator's realm, with nothing of the other's.
    let realm = caller.unwrap_or(&operator).realm().clone();
    app.audit.decided(realm, row).await.map_err(|error| {
        unrecorded(
            &error,
            answer.decision_id.as_str(),
            "the host can't write its audit trail, so it allows nothing",
        )
    })?;
    Ok(json(&answer))
}

/// The question, by the same rules as a request's own JSON: a member that comes twice is an error at any depth, and a
/// number has one spelling. Otherwise an enforcement point might act on another value than the one that was decided on.
fn read(bytes: &[u8]) -> Result<EnforceBody, Refusal> {
    let unusable = |rule: String| Refusal::new(Code::BadRequest, format!("the body can't be used: {rule}"));
    let value = read_json(bytes, bytes.len()).map_err(|error| unusable(error.to_string()))?;
    serde_json::from_value(value).map_err(|error| unusable(error.to_string()))
}

/// Whom the question is about. One answer for a token that is unknown, no longer valid, an operator's, or beyond the
/// asking operator's reach.
fn subject(app: &App, operator: &Caller, token: &str) -> Result<Arc<Caller>, Refusal> {
    let nobody = || Refusal::new(Code::Unauthorized, "the capability token is not valid");
    match app.auth.verify(token) {
        Ok(caller) if caller.kind() == TokenKind::Agent && operator.reach().covers(caller.realm()) => {
            Ok(caller)
        }
        Ok(_) | Err(AuthError::Unauthorized) => Err(nobody()),
        Err(error) => {
            tracing::error!(cause = %error, "a capability token can't be checked");
            Err(Refusal::new(Code::Internal, "the host can't check tokens now"))
        }
    }
}

/// Decides; where people have to agree, asks them, or uses what they have agreed to. With the answer comes the approval
/// that it waits for or used.
async fn decide_with_people(
    app: &App,
    operator: &Caller,
    caller: &Caller,
    asked: &EnforceBody,
) -> (EnforceDecision, Option<ApprovalId>) {
    let (context, mut decision) = decide(app, operator, caller, asked, None);
    let Some(subject) = decision.subject.take() else { return (decision, None) };
    let said = digest(&asked.context);
    let own = app.approvals.own(caller);
    let ask = ApprovalAsk::of_question(caller, &context, said, *subject, own);
    match app.approvals.answer(ask, asked.approval_id.clone()).await {
        Ok(approved) => {
            // People take their time: whatever was checked is checked again.
            let (_, decision) = decide(app, operator, caller, asked, Some(&approved));
            let decision = match decision.verdict {
                Enforced::ApprovalRequired { .. } => EnforceDecision {
                    policies: decision.policies,
                    cause: decision.cause,
                    ..EnforceDecision::refused(
                        Code::Denied,
                        "this was approved, and the policies in force don't take that as enough: they have changed since",
                    )
                },
                _ => decision,
            };
            (decision, Some(approved.id))
        }
        Err(unanswered) => {
            let Unanswered { pending, code, message, cause } = unanswered;
            let verdict = match code {
                Code::ApprovalRequired => decision.verdict,
                _ => Enforced::Denied,
            };
            let cause = cause.or(decision.cause);
            (EnforceDecision { verdict, code: Some(code), message, cause, ..decision }, pending)
        }
    }
}

fn decide(
    app: &App,
    operator: &Caller,
    caller: &Caller,
    asked: &EnforceBody,
    approved: Option<&Approved>,
) -> (CallContext, EnforceDecision) {
    let (context, decision) =
        match context(asked).and_then(|context| app.policy.admit_forward(caller, context)) {
            Ok(context) => (context, None),
            Err(refusal) => {
                (CallContext::default(), Some(EnforceDecision::refused(refusal.code, refusal.message)))
            }
        };
    let decision = decision.unwrap_or_else(|| decide_in(app, operator, caller, asked, &context, approved));
    (context, decision)
}

fn decide_in(
    app: &App,
    operator: &Caller,
    caller: &Caller,
    asked: &EnforceBody,
    context: &CallContext,
    approved: Option<&Approved>,
) -> EnforceDecision {
    let refused = |refusal: Refusal| EnforceDecision::refused(refusal.code, refusal.message);
    let own = &operator.realm().tenant;
    let is_own = |name: &str| name == OWN_TENANT || name.parse::<TenantId>().is_ok_and(|name| name == *own);
    if asked.tenant_id.as_deref().is_some_and(|name| !is_own(name)) {
        return EnforceDecision::refused(
            Code::Denied,
            "tenantId is not the platform key's own tenant; leave it out, or write \"default-tenant\"",
        );
    }
    if asked.resource_id.starts_with("api:") && !is_api_resource(&asked.resource_id) {
        return EnforceDecision::refused(
            Code::BadRequest,
            "resourceId is not in its one spelling: visible ASCII after api://, with no empty or dot segments, no \
             escapes, no query",
        );
    }
    let connection = asked.resource_id.strip_prefix("connection://");
    let connection = connection.and_then(|name| name.trim_end_matches('/').parse().ok());
    let subjects = Subjects {
        caller,
        call: None,
        conversation: context.conversation.as_ref(),
        tool: None,
        connection: connection.as_ref(),
    };
    if let Err(killed) = app.kills.check(&subjects) {
        return refused(killed.refusal());
    }
    let found = connection
        .as_ref()
        .and_then(|name: &ConnectionName| app.connections.load().get(caller.realm(), name.as_str()));
    if let Some(Err(failure)) = found.map(|found| found.check_user(caller.user())) {
        return EnforceDecision::refused(failure.reason.code(), failure.message);
    }
    let alive = match app.auth.alive(caller) {
        Ok(alive) => alive,
        Err(_) => return EnforceDecision::refused(Code::Unauthorized, "the capability token is not valid"),
    };
    app.policy.enforce(EnforceQuestion {
        alive: &alive,
        context,
        action: &asked.action,
        resource: &asked.resource_id,
        said: &asked.context,
        now: app.clock.now(),
        approved,
    })
}

/// The same for the same members, whatever their order.
fn digest(said: &Map<String, Value>) -> Digest {
    let mut said = Value::Object(said.clone());
    said.sort_all_objects();
    Digest::of(said.to_string().as_bytes())
}

/// `context.conversation`, if the enforcement point says which it is.
fn context(asked: &EnforceBody) -> Result<CallContext, Refusal> {
    let malformed = || Refusal::new(Code::BadRequest, "context.conversation is not a conversation's id");
    let conversation = match asked.context.get("conversation") {
        None | Some(Value::Null) => None,
        Some(Value::String(id)) => Some(id.parse::<ConversationId>().map_err(|_| malformed())?),
        Some(_) => return Err(malformed()),
    };
    Ok(CallContext { conversation, ..CallContext::default() })
}
