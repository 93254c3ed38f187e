//! The table of routes, and what they share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, delete, get, on, post, put};

use super::places::{Places, Taken};
use super::problem::Problem;
use super::turns::Turns;
use super::{
    ServeConfig, agents, approvals, audit, budgets, code, delegate, enforce, health, kill, mcp, openapi,
    policies, proxy, tokens, tools, user_secrets, vault_keys,
};
use crate::app::App;
use crate::catalog::SANDBOX_TOOL;
use crate::config::CodeConfig;
use crate::ids::ToolName;
use crate::metrics::RouteSeries;
use crate::refusal::{Code, Refusal};

/// A route. The router, the metrics and the description of the interface all go by this table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    Tools,
    Call,
    Code,
    Mcp,
    Tokens,
    Token,
    UserSecrets,
    UserSecret,
    VaultKeys,
    Agents,
    Agent,
    Policies,
    Policy,
    Enforce,
    Approvals,
    Approval,
    Approve,
    Deny,
    Budgets,
    Held,
    SettleHeld,
    ReleaseHeld,
    ReconcileHeld,
    Delegate,
    Kills,
    Kill,
    Audit,
    AuditCall,
    Proxy,
    Health,
    Ready,
    Metrics,
    OpenApi,
    /// Any other path.
    Unknown,
}

impl Route {
    pub(super) const ALL: [Self; 34] = [
        Self::Tools,
        Self::Call,
        Self::Code,
        Self::Mcp,
        Self::Tokens,
        Self::Token,
        Self::UserSecrets,
        Self::UserSecret,
        Self::VaultKeys,
        Self::Agents,
        Self::Agent,
        Self::Policies,
        Self::Policy,
        Self::Enforce,
        Self::Approvals,
        Self::Approval,
        Self::Approve,
        Self::Deny,
        Self::Budgets,
        Self::Held,
        Self::SettleHeld,
        Self::ReleaseHeld,
        Self::ReconcileHeld,
        Self::Delegate,
        Self::Kills,
        Self::Kill,
        Self::Audit,
        Self::AuditCall,
        Self::Proxy,
        Self::Health,
        Self::Ready,
        Self::Metrics,
        Self::OpenApi,
        Self::Unknown,
    ];

    /// The template of its path.
    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::Tools => "/v1/tools",
            Self::Call => "/v1/tools/{name}",
            Self::Code => "/v1/code",
            Self::Mcp => "/mcp",
            Self::Tokens => "/v1/tokens",
            Self::Token => "/v1/tokens/{id}",
            Self::UserSecrets => "/v1/users/{user}/secrets",
            Self::UserSecret => "/v1/users/{user}/secrets/{label}",
            Self::VaultKeys => "/admin/vault-keys",
            Self::Agents => "/v1/agents",
            Self::Agent => "/v1/agents/{id}",
            Self::Policies => "/v1/policies",
            Self::Policy => "/v1/policies/{id}",
            Self::Enforce => "/v1/enforce",
            Self::Approvals => "/v1/approvals",
            Self::Approval => "/v1/approvals/{id}",
            Self::Approve => "/v1/approvals/{id}/approve",
            Self::Deny => "/v1/approvals/{id}/deny",
            Self::Budgets => "/v1/budgets",
            Self::Held => "/v1/budgets/held",
            Self::SettleHeld => "/v1/budgets/held/{id}/settle",
            Self::ReleaseHeld => "/v1/budgets/held/{id}/release",
            Self::ReconcileHeld => "/v1/budgets/held/{id}/reconcile",
            Self::Delegate => "/v1/tokens/delegate",
            Self::Kills => "/v1/kill",
            Self::Kill => "/v1/kill/{id}",
            Self::Audit => "/v1/audit",
            Self::AuditCall => "/v1/audit/{call}",
            Self::Proxy => "/proxy/{connection}/{path}",
            Self::Health => "/healthz",
            Self::Ready => "/readyz",
            Self::Metrics => "/metrics",
            Self::OpenApi => "/openapi.json",
            Self::Unknown => "unknown",
        }
    }
}

/// The template of [`Route::Proxy`]'s other path, below which there's nothing.
pub(super) const PROXY_ROOT: &str = "/proxy/{connection}/";

/// How many read in the trail at once, beside those who search. All of them read on one connection of the store's.
const READS_MAX: usize = 4;
/// How many of one tenant's: a page and a call for a dashboard, and the rest for others.
const READS_OF_A_TENANT: usize = 2;
/// How many search in it at once: as many as the store does.
const SEARCHES_MAX: usize = 1;
/// How many of one tenant's. Its others don't wait before another tenant's.
const SEARCHES_OF_A_TENANT: usize = 1;

/// What every route needs.
pub(super) struct Door {
    pub(super) app: Arc<App>,
    pub(super) places: Places,
    /// For code that agents write, so that it can't take the tools' places.
    pub(super) code_places: Places,
    /// For reading pages and calls of the trail.
    pub(super) reads: Turns,
    /// For looking through the trail for somebody's rows, which takes longer.
    pub(super) searches: Turns,
    pub(super) code: CodeConfig,
    pub(super) body_bytes_max: usize,
    pub(super) body_time_max: Duration,
    pub(super) deadline: Duration,
    pub(super) deadline_max: Duration,
    series: Vec<RouteSeries>,
    draining: AtomicBool,
}

impl Door {
    pub(super) fn new(app: Arc<App>, config: &ServeConfig) -> Self {
        let series = Route::ALL.iter().map(|route| app.metrics.route(route.path())).collect();
        Self {
            app,
            places: Places::new(config.limits.calls_max),
            code_places: Places::new(config.code.executions_max),
            reads: Turns::new(READS_MAX, READS_OF_A_TENANT),
            searches: Turns::new(SEARCHES_MAX, SEARCHES_OF_A_TENANT),
            code: config.code.clone(),
            body_bytes_max: config.limits.body_bytes_max,
            body_time_max: Duration::from_millis(config.limits.read_ms_max),
            deadline: config.deadline,
            deadline_max: config.deadline_max,
            series,
            draining: AtomicBool::new(false),
        }
    }

    /// Takes a place for a call of this tool.
    ///
    /// # Errors
    /// [`Code::Busy`] when all of its kind are taken.
    pub(super) fn place(&self, tool: &ToolName) -> Result<Taken<'_>, Refusal> {
        let places = if tool.as_str() == SANDBOX_TOOL { &self.code_places } else { &self.places };
        places.take()
    }

    /// From now on, new calls are refused.
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// A route's answer, counted.
    pub(super) fn answer(&self, route: Route, result: Result<Response, impl Into<Problem>>) -> Response {
        self.answered(route, result.unwrap_or_else(|refused| refused.into().into_response()))
    }

    /// Counts an answer.
    pub(super) fn answered(&self, route: Route, response: Response) -> Response {
        if let Some(series) = self.series.get(route as usize) {
            series.answered(response.status());
        }
        response
    }
}

/// The routes.
pub(super) fn router(door: Arc<Door>) -> Router {
    Router::new()
        .route(Route::Tools.path(), get(tools::list))
        .route(Route::Call.path(), post(tools::call))
        .route(Route::Code.path(), post(code::run))
        .route(Route::Mcp.path(), post(mcp::post))
        .route(Route::Tokens.path(), get(tokens::list).post(tokens::mint))
        .route(Route::Token.path(), delete(tokens::revoke))
        .route(Route::UserSecrets.path(), get(user_secrets::list))
        .route(Route::UserSecret.path(), put(user_secrets::put).delete(user_secrets::remove))
        .route(Route::VaultKeys.path(), post(vault_keys::mint))
        .route(Route::Agents.path(), get(agents::list).post(agents::register))
        .route(Route::Agent.path(), delete(agents::remove))
        .route(Route::Policies.path(), get(policies::list).post(policies::post))
        .route(Route::Policy.path(), delete(policies::remove))
        .route(Route::Enforce.path(), post(enforce::enforce))
        .route(Route::Approvals.path(), get(approvals::list))
        .route(Route::Approval.path(), get(approvals::show))
        .route(Route::Approve.path(), post(approvals::approve))
        .route(Route::Deny.path(), post(approvals::deny))
        .route(Route::Budgets.path(), get(budgets::list))
        .route(Route::Held.path(), get(budgets::held))
        .route(Route::SettleHeld.path(), post(budgets::settle))
        .route(Route::ReleaseHeld.path(), post(budgets::release))
        .route(Route::ReconcileHeld.path(), post(budgets::reconcile))
        .route(Route::Delegate.path(), post(delegate::delegate))
        .merge(kill_switches())
        .route(Route::Audit.path(), get(audit::page))
        .route(Route::AuditCall.path(), get(audit::call))
        .route(PROXY_ROOT, proxied())
        .route("/proxy/{connection}/{*path}", proxied())
        .route(Route::Health.path(), get(health::live))
        .route(Route::Ready.path(), get(health::ready))
        .route(Route::Metrics.path(), get(health::metrics))
        .route(Route::OpenApi.path(), get(openapi::serve))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .with_state(door)
}

/// The routes that are there where there's no room for any others.
pub(super) fn kill_switches() -> Router<Arc<Door>> {
    Router::new()
        .route(Route::Kills.path(), get(kill::list).post(kill::throw))
        .route(Route::Kill.path(), delete(kill::lift))
}

/// Every method that an operation can have.
fn proxied() -> MethodRouter<Arc<Door>> {
    let methods = [
        MethodFilter::HEAD,
        MethodFilter::POST,
        MethodFilter::PUT,
        MethodFilter::PATCH,
        MethodFilter::DELETE,
    ];
    on(methods.into_iter().fold(MethodFilter::GET, MethodFilter::or), proxy::forward)
}

/// The last segment of a request's path, as it was written: the names and ids in this interface need no escapes, so
/// an escaped one is no valid name; but for [a user's](super::user_secrets), which may hold what some clients escape.
pub(super) fn last_segment(request: &Request) -> &str {
    request.uri().path().rsplit('/').next().unwrap_or("")
}

/// The segment before the last one: the id in `/v1/approvals/{id}/approve`.
pub(super) fn last_but_one_segment(request: &Request) -> &str {
    segment_before_last(request, 1)
}

/// The segment so many before the last one, which is 0.
pub(super) fn segment_before_last(request: &Request, places: usize) -> &str {
    request.uri().path().rsplit('/').nth(places).unwrap_or("")
}

async fn unknown_path(State(door): State<Arc<Door>>) -> Response {
    let problem =
        Problem::new(Code::NotFound, "there is nothing at this path; GET /openapi.json lists what there is");
    door.answered(Route::Unknown, problem.into_response())
}

async fn wrong_method(State(door): State<Arc<Door>>) -> Response {
    let problem = Problem::new(
        Code::MethodNotAllowed,
        "this path doesn't take this method; the Allow header lists those it takes",
    );
    door.answered(Route::Unknown, problem.into_response())
}
