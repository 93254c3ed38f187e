//! `POST /v1/enforce`: an enforcement point outside of the host asks whether an agent may do something.
//!
//! The platform's key (an operator's token) says who asks; the capability token in the body says for whom. Whatever is
//! wrong with the latter is a decision, not an error: the answer is `denied`.
//!
//! Where people have to agree, the answer names an approval. The same question again, once they have, is allowed once:
//! with the approval's id, or without it.
//!
//! An operation that is allowed takes from budgets what it would take if the host sent it, in the transaction that records
//! the answer. The host doesn't see the end of it, so its money is held until an operator says what became of it.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::body;
use super::change::{unable, unrecorded};
use super::router::{Door, Route};
use super::wire::json;
use crate::app::App;
use crate::approval::{ApprovalAsk, Unanswered};
use crate::audit::{Decided, Decision, Spends};
use crate::auth::{AuthError, Caller};
use crate::ids::{ApprovalId, ConnectionName, ConversationId, DecisionId, Digest, TenantId};
use crate::json::{self, Object};
use crate::kill::Subjects;
use crate::ledger::{QuestionFacts, Reserved};
use crate::policy::{Approved, CallContext, EnforceDecision, EnforceQuestion, Enforced, is_api_resource};
use crate::refusal::{Code, FailureReason, Refusal, SendFailure};
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
    let Said { decision, approval, spends } = match &subject {
        Ok(caller) => decide_with_people(app, &operator, caller, &asked).await,
        Err(refusal) => Said::of(EnforceDecision::refused(refusal.code, refusal.message.clone())),
    };
    let mut answer = EnforceAnswer {
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
        policy: decision.policy,
        approval,
    };
    // A subject that isn't the operator's own is on record in the operator's realm, with nothing of the other's.
    let realm = caller.unwrap_or(&operator).realm().clone();
    let refused = app.audit.decided(realm, row, spends).await.map_err(|error| {
        unrecorded(
            &error,
            answer.decision_id.as_str(),
            "the host can't write its audit trail, so it allows nothing",
        )
    })?;
    if let Some(refused) = refused {
        let failure = no_room(&refused);
        tracing::info!(decision = %answer.decision_id, cause = failure.cause.as_deref(), "a budget had no room for what was asked");
        answer.decision = Decision::Denied;
        (answer.reason, answer.message) = (Some(failure.reason.code()), failure.message);
    }
    Ok(json(&answer))
}

/// What is answered, before it's on record.
struct Said {
    decision: EnforceDecision,
    /// The approval that it waits for or used.
    approval: Option<ApprovalId>,
    /// What it takes from budgets; only of what is allowed.
    spends: Option<Spends>,
}

impl Said {
    fn of(decision: EnforceDecision) -> Self {
        Self { decision, approval: None, spends: None }
    }
}

/// The question, by the same rules as a request's own JSON: a member that comes twice is an error at any depth, and a
/// number has one spelling. Otherwise an enforcement point might act on another value than the one that was decided on.
fn read(bytes: &[u8]) -> Result<EnforceBody, Refusal> {
    let unusable = |rule: String| Refusal::new(Code::BadRequest, format!("the body can't be used: {rule}"));
    let value = json::parse(bytes, bytes.len()).map_err(|error| unusable(error.to_string()))?;
    serde_json::from_value(value).map(|Object(body)| body).map_err(|error| unusable(error.to_string()))
}

/// Whom the question is about. One answer for a token that is unknown, no longer valid, no agent's, or beyond the asking
/// operator's reach.
fn subject(app: &App, operator: &Caller, token: &str) -> Result<Arc<Caller>, Refusal> {
    let nobody = || Refusal::new(Code::Unauthorized, "the capability token is not valid");
    match app.auth.verify(token) {
        Ok(caller) if caller.kind() == TokenKind::Agent && operator.reach().covers(caller.realm()) => {
            Ok(caller)
        }
        Ok(_) | Err(AuthError::Unauthorized) => Err(nobody()),
        Err(error) => Err(unable("check tokens", &error)),
    }
}

/// Decides; where people have to agree, asks them, or uses what they have agreed to.
async fn decide_with_people(app: &App, operator: &Caller, caller: &Caller, asked: &EnforceBody) -> Said {
    let (context, mut decision) = decide(app, operator, caller, asked, None);
    let spends = match spends(app, caller, &context, asked, &decision) {
        Ok(spends) => spends,
        Err(failure) => return Said::of(unaffordable(decision.policy, failure)),
    };
    let Some(subject) = decision.subject.take() else {
        return Said { decision, approval: None, spends };
    };
    // What no budget has room for isn't put before people, and nobody's yes is used up for it.
    if let Some(failure) = unaffordable_now(app, spends).await {
        return Said::of(unaffordable(decision.policy, failure));
    }
    let said = digest(&asked.context);
    let own = app.approvals.own(caller);
    let ask = ApprovalAsk::of_question(caller, &context, said, *subject, own);
    match app.approvals.answer(ask, asked.approval_id.clone()).await {
        Ok(approved) => {
            // People take their time: whatever was checked is checked again.
            let (context, decision) = decide(app, operator, caller, asked, Some(&approved));
            let decision = match decision.verdict {
                Enforced::ApprovalRequired { .. } => EnforceDecision {
                    policies: decision.policies,
                    policy: decision.policy,
                    cause: decision.cause,
                    ..EnforceDecision::refused(
                        Code::Denied,
                        "this was approved, and the policies in force don't take that as enough: they have changed since",
                    )
                },
                _ => decision,
            };
            let approval = Some(approved.id);
            match self::spends(app, caller, &context, asked, &decision) {
                Ok(spends) => Said { decision, approval, spends },
                Err(failure) => {
                    Said { decision: unaffordable(decision.policy, failure), approval, spends: None }
                }
            }
        }
        Err(unanswered) => {
            let Unanswered { pending, code, message, cause } = unanswered;
            let verdict = match code {
                Code::ApprovalRequired => decision.verdict,
                _ => Enforced::Denied,
            };
            let cause = cause.or(decision.cause);
            let decision = EnforceDecision { verdict, code: Some(code), message, cause, ..decision };
            Said { decision, approval: pending, spends: None }
        }
    }
}

/// What an operation takes from budgets. `None`: it isn't one, it's denied, or no budget counts it.
///
/// # Errors
/// What a budget refuses whatever was spent so far.
fn spends(
    app: &App,
    caller: &Caller,
    context: &CallContext,
    asked: &EnforceBody,
    decision: &EnforceDecision,
) -> Result<Option<Spends>, SendFailure> {
    let Some(spends) = &decision.spends else { return Ok(None) };
    let question = QuestionFacts {
        realm: caller.realm(),
        token: caller.token(),
        request: &asked.request_id,
        action: &asked.action,
        resource: &asked.resource_id,
        said: digest(&asked.context),
    };
    let conversation = context.conversation.as_ref();
    let takes = app.spending.takes_of_question(caller, conversation, spends, &question, app.clock.now())?;
    Ok(takes.map(|takes| Spends {
        connection: spends.connection.name.clone(),
        operation: spends.operation.name.clone(),
        cost: spends.cost.clone(),
        takes,
    }))
}

/// Why no budget has room for this, by what is spent so far. What was allowed before under the same request id counts once,
/// so it has room.
async fn unaffordable_now(app: &App, spends: Option<Spends>) -> Option<SendFailure> {
    match app.audit.foreseen(spends?.takes).await {
        Ok(Some(refused @ (Reserved::OverBudget(_) | Reserved::RateLimited(_)))) => Some(no_room(&refused)),
        Ok(_) => None,
        Err(error) => {
            let message = "the host can't tell whether a budget has room for this, so it allows nothing";
            Some(SendFailure::unsent(FailureReason::AuditUnavailable, message).because(error.to_string()))
        }
    }
}

fn unaffordable(policy: Option<Digest>, failure: SendFailure) -> EnforceDecision {
    let cause = failure.cause;
    EnforceDecision { policy, cause, ..EnforceDecision::refused(failure.reason.code(), failure.message) }
}

/// Why the ledger let nothing be spent.
fn no_room(refused: &Reserved) -> SendFailure {
    match refused {
        Reserved::OverBudget(shortfall) | Reserved::RateLimited(shortfall) => shortfall.failure(),
        Reserved::Duplicate { .. } | Reserved::InProgress { .. } | Reserved::Yes => {
            SendFailure::unsent(FailureReason::Duplicate, "the same question is being answered; ask again")
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
        realm: caller.realm(),
        caller: Some(caller),
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
