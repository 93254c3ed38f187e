//! What the host counts, for Prometheus.
//!
//! INVARIANT (bounded labels): a label's value is a name from the operator's files, a code of this program or an
//! HTTP status. Nothing that a caller made up becomes a label, so that no caller can fill the memory or the
//! scraper's disk. No label names a tenant, token, agent or call: `/metrics` needs no token.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use arc_swap::ArcSwap;
use prometheus_client::encoding::{EncodeLabel, EncodeLabelSet, LabelSetEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::ids::{ConnectionName, OperationName, ToolName};
use crate::refusal::{Code, FailureReason};

/// Names of tools that get series of their own over the life of the process. More are counted under
/// [`OTHER_TOOLS`]: a host whose operator replaces tools for years must not grow without end.
pub const TOOL_NAMES_MAX: usize = 2_000;

/// The label of tools past [`TOOL_NAMES_MAX`] and of those never announced by [`Metrics::set_tools`]. It's no valid
/// tool name, so it can't meet one.
pub const OTHER_TOOLS: &str = "_other";

/// Upper bounds of the duration buckets, in seconds: from a pure computation to a slow upstream.
const SECONDS: [f64; 13] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0];

/// The statuses that the doors answer with, those of upstreams at the proxy door among them; any other is counted as
/// `other`.
pub(crate) const STATUSES: [u16; 42] = [
    200, 201, 202, 203, 204, 206, 300, 301, 302, 303, 304, 307, 308, 400, 401, 402, 403, 404, 405, 406, 408,
    409, 410, 411, 412, 413, 414, 415, 416, 417, 421, 422, 424, 425, 428, 429, 431, 500, 501, 502, 503, 504,
];

/// The host's counters. One for the process; cheap to add to: atomics behind handles that are resolved once.
pub struct Metrics {
    registry: Registry,
    calls: Family<CallLabels, Counter>,
    seconds: Family<ToolLabel, Histogram, fn() -> Histogram>,
    in_flight: Gauge,
    tools_loaded: Gauge,
    sends: Family<SendLabels, Counter>,
    http: Family<HttpLabels, Counter>,
    auth_failures: Counter,
    turned_away: Counter,
    shadow_differences: Counter,
    credential_shapes: Family<ShapeLabels, Counter>,
    tools: ArcSwap<HashMap<ToolName, Arc<ToolSeries>>>,
    other: Arc<ToolSeries>,
}

impl Metrics {
    /// All counters at zero.
    #[must_use]
    pub fn new() -> Self {
        let (calls, sends, http) = (Family::default(), Family::default(), Family::default());
        let seconds: Family<_, _, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(SECONDS));
        let (in_flight, tools_loaded, auth_failures) =
            (Gauge::default(), Gauge::default(), Counter::default());

        let (turned_away, shadow_differences, credential_shapes) =
            (Counter::default(), Counter::default(), Family::default());
        let mut registry = Registry::with_prefix("keybearer");
        registry.register(
            "calls",
            "Tool calls, by tool and outcome (`ok` or the error's code)",
            calls.clone(),
        );
        registry.register("call_seconds", "How long tool calls took", seconds.clone());
        registry.register("calls_in_flight", "Tool calls running now", in_flight.clone());
        registry.register("sends", "Upstream requests, by operation and outcome", sends.clone());
        registry.register("http_requests", "HTTP requests answered, by route and status", http.clone());
        registry.register("auth_failures", "Requests with no valid token", auth_failures.clone());
        registry.register(
            "connections_turned_away",
            "Connections that there was no room for",
            turned_away.clone(),
        );
        registry.register(
            "policy_shadow_differences",
            "Decisions that the shadow policies would have made otherwise",
            shadow_differences.clone(),
        );
        registry.register(
            "credential_shapes",
            "Replies and results that hold what looks like a credential, by its first characters",
            credential_shapes.clone(),
        );
        registry.register("tools_loaded", "Tools that can be called", tools_loaded.clone());

        let other = Arc::new(ToolSeries::new(Arc::from(OTHER_TOOLS), &seconds));
        let tools = ArcSwap::default();
        Self {
            registry,
            calls,
            seconds,
            in_flight,
            tools_loaded,
            sends,
            http,
            auth_failures,
            turned_away,
            shadow_differences,
            credential_shapes,
            tools,
            other,
        }
    }

    /// Says which tools can be called now: call it whenever the catalog changes. Series of earlier tools stay, since
    /// a counter that vanishes misleads whoever adds it up.
    pub fn set_tools<'n>(&self, names: impl IntoIterator<Item = &'n ToolName>) {
        let mut known = HashMap::clone(&self.tools.load());
        let mut loaded = 0;
        for name in names {
            loaded += 1;
            if !known.contains_key(name) && known.len() < TOOL_NAMES_MAX {
                let series = ToolSeries::new(Arc::from(name.as_str()), &self.seconds);
                known.insert(name.clone(), Arc::new(series));
            }
        }
        self.tools.store(Arc::new(known));
        self.tools_loaded.set(loaded);
    }

    /// A call of this tool begins: it's in flight until the answer is finished or dropped.
    pub fn call_started(&self, tool: &ToolName) -> CallTimer<'_> {
        let series = self.tools.load().get(tool).unwrap_or(&self.other).clone();
        self.in_flight.inc();
        CallTimer { metrics: self, series, started: Instant::now(), outcome: Some(Code::Cancelled) }
    }

    /// An upstream request begins: it's counted once it's finished or dropped.
    pub fn send_started(&self, connection: &ConnectionName, operation: &OperationName) -> SendCount<'_> {
        let (connection, operation) = (connection.clone(), operation.clone());
        SendCount {
            metrics: self,
            labels: SendLabels { connection, operation, outcome: Code::Cancelled.as_str() },
        }
    }

    /// The counters of one route of the HTTP door, to be kept by it. `route` is the route's template.
    #[must_use]
    pub fn route(&self, route: &'static str) -> RouteSeries {
        RouteSeries {
            route,
            http: self.http.clone(),
            by_status: [const { OnceLock::new() }; STATUSES.len() + 1],
        }
    }

    /// The counter of the decisions that shadow policies would have made otherwise.
    #[must_use]
    pub fn shadow_differences(&self) -> Counter {
        self.shadow_differences.clone()
    }

    /// A reply or a result (`place`) holds what looks like a credential; `shape` is a text of this program.
    pub fn credential_shape(&self, place: &'static str, shape: &'static str) {
        self.credential_shapes.get_or_create(&ShapeLabels { place, shape }).inc();
    }

    /// A request came without a valid token.
    pub fn auth_failed(&self) {
        self.auth_failures.inc();
    }

    /// There was no room for a connection.
    pub fn connection_turned_away(&self) {
        self.turned_away.inc();
    }

    /// Everything, in the OpenMetrics text format that Prometheus reads ([`CONTENT_TYPE`]).
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::with_capacity(4096);
        // Writing into a `String` fails only if an encoder of this file does; what was written up to there is
        // still worth more to an operator than nothing.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}

/// The media type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// A call in flight. Dropped without [`CallTimer::finished`], it counts as cancelled: its caller hung up.
#[derive(Debug)]
#[must_use = "a call is in flight only as long as its timer lives"]
pub struct CallTimer<'m> {
    metrics: &'m Metrics,
    series: Arc<ToolSeries>,
    started: Instant,
    outcome: Option<Code>,
}

impl CallTimer<'_> {
    /// The call ended: `None` with a result, else with this code.
    pub fn finished(mut self, outcome: Option<Code>) {
        self.outcome = outcome;
    }
}

impl Drop for CallTimer<'_> {
    fn drop(&mut self) {
        self.metrics.in_flight.dec();
        self.series.seconds.observe(self.started.elapsed().as_secs_f64());
        self.series.count(self.outcome, &self.metrics.calls);
    }
}

/// An upstream request under way. Dropped without [`SendCount::finished`], it counts as cancelled: its call ended first.
#[derive(Debug)]
#[must_use = "a request is under way only as long as its count lives"]
pub struct SendCount<'m> {
    metrics: &'m Metrics,
    labels: SendLabels,
}

impl SendCount<'_> {
    /// The request ended: with a status, or without a reply.
    pub fn finished(mut self, outcome: Result<u16, FailureReason>) {
        self.labels.outcome = match outcome {
            Ok(status) => match status / 100 {
                1 => "1xx",
                2 => "2xx",
                3 => "3xx",
                4 => "4xx",
                5 => "5xx",
                _ => "other",
            },
            Err(reason) => reason.code().as_str(),
        };
    }
}

impl Drop for SendCount<'_> {
    fn drop(&mut self) {
        self.metrics.sends.get_or_create(&self.labels).inc();
    }
}

/// The counters of one route, by status.
#[derive(Debug)]
pub struct RouteSeries {
    route: &'static str,
    http: Family<HttpLabels, Counter>,
    by_status: [OnceLock<Counter>; STATUSES.len() + 1],
}

impl RouteSeries {
    /// A request to this route was answered with this status.
    pub fn answered(&self, status: http::StatusCode) {
        let slot = STATUSES.iter().position(|known| *known == status.as_u16());
        let text = || slot.map_or("other".into(), |_| status.as_u16().to_string());
        let resolve = || self.http.get_or_create_owned(&HttpLabels { route: self.route, status: text() });
        if let Some(counter) = self.by_status.get(slot.unwrap_or(STATUSES.len())) {
            counter.get_or_init(resolve).inc();
        }
    }
}

/// The counters of one tool. A series appears once its first call ended that way, so that a page of twenty tools
/// isn't six hundred zeros.
#[derive(Debug)]
struct ToolSeries {
    tool: Arc<str>,
    seconds: Histogram,
    ok: OnceLock<Counter>,
    failed: [OnceLock<Counter>; Code::ALL.len()],
}

impl ToolSeries {
    fn new(tool: Arc<str>, seconds: &Family<ToolLabel, Histogram, fn() -> Histogram>) -> Self {
        let histogram = seconds.get_or_create_owned(&ToolLabel { tool: tool.clone() });
        Self {
            tool,
            seconds: histogram,
            ok: OnceLock::new(),
            failed: [const { OnceLock::new() }; Code::ALL.len()],
        }
    }

    fn count(&self, outcome: Option<Code>, calls: &Family<CallLabels, Counter>) {
        let slot = match outcome {
            None => Some(&self.ok),
            // A unit-only enum's discriminant is its place in `Code::ALL`.
            Some(code) => self.failed.get(code as usize),
        };
        let outcome = outcome.map_or("ok", Code::as_str);
        let resolve = || calls.get_or_create_owned(&CallLabels { tool: self.tool.clone(), outcome });
        if let Some(slot) = slot {
            slot.get_or_init(resolve).inc();
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ToolLabel {
    tool: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct CallLabels {
    tool: Arc<str>,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct SendLabels {
    connection: ConnectionName,
    operation: OperationName,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ShapeLabels {
    place: &'static str,
    shape: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct HttpLabels {
    route: &'static str,
    status: String,
}

impl EncodeLabelSet for ToolLabel {
    fn encode(&self, to: &mut LabelSetEncoder<'_>) -> fmt::Result {
        ("tool", &*self.tool).encode(to.encode_label())
    }
}

impl EncodeLabelSet for CallLabels {
    fn encode(&self, to: &mut LabelSetEncoder<'_>) -> fmt::Result {
        ("tool", &*self.tool).encode(to.encode_label())?;
        ("outcome", self.outcome).encode(to.encode_label())
    }
}

impl EncodeLabelSet for SendLabels {
    fn encode(&self, to: &mut LabelSetEncoder<'_>) -> fmt::Result {
        ("connection", self.connection.as_str()).encode(to.encode_label())?;
        ("operation", self.operation.as_str()).encode(to.encode_label())?;
        ("outcome", self.outcome).encode(to.encode_label())
    }
}

impl EncodeLabelSet for ShapeLabels {
    fn encode(&self, to: &mut LabelSetEncoder<'_>) -> fmt::Result {
        ("place", self.place).encode(to.encode_label())?;
        ("shape", self.shape).encode(to.encode_label())
    }
}

impl EncodeLabelSet for HttpLabels {
    fn encode(&self, to: &mut LabelSetEncoder<'_>) -> fmt::Result {
        ("route", self.route).encode(to.encode_label())?;
        ("status", self.status.as_str()).encode(to.encode_label())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ToolName {
        text.parse().unwrap()
    }

    #[test]
    fn calls_are_counted_by_tool_and_outcome() {
        let metrics = Metrics::new();
        metrics.set_tools([&name("get_invoice")]);
        metrics.call_started(&name("get_invoice")).finished(None);
        metrics.call_started(&name("get_invoice")).finished(Some(Code::Denied));
        let running = metrics.call_started(&name("get_invoice"));
        assert!(metrics.render().contains("keybearer_calls_in_flight 1"));
        drop(running);

        let text = metrics.render();
        for line in [
            r#"keybearer_calls_total{tool="get_invoice",outcome="ok"} 1"#,
            r#"keybearer_calls_total{tool="get_invoice",outcome="denied"} 1"#,
            r#"keybearer_calls_total{tool="get_invoice",outcome="cancelled"} 1"#,
            r#"keybearer_call_seconds_count{tool="get_invoice"} 3"#,
            "keybearer_calls_in_flight 0",
            "keybearer_tools_loaded 1",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn every_code_has_a_counter_of_its_own() {
        let metrics = Metrics::new();
        metrics.set_tools([&name("t")]);
        for code in Code::ALL {
            metrics.call_started(&name("t")).finished(Some(*code));
        }
        let text = metrics.render();
        for code in Code::ALL {
            let line = format!(r#"keybearer_calls_total{{tool="t",outcome="{}"}} 1"#, code.as_str());
            assert!(text.contains(&line), "{line}");
        }
    }

    #[test]
    fn tools_past_the_cap_and_unannounced_ones_share_a_label() {
        let metrics = Metrics::new();
        let names: Vec<_> = (0..TOOL_NAMES_MAX + 2).map(|n| name(&format!("t{n}"))).collect();
        metrics.set_tools(&names);
        metrics.call_started(&names[TOOL_NAMES_MAX + 1]).finished(None);
        metrics.call_started(&name("never_announced")).finished(None);
        let text = metrics.render();
        assert!(text.contains(r#"keybearer_calls_total{tool="_other",outcome="ok"} 2"#));
        assert!(!text.contains("never_announced"));
        assert!(OTHER_TOOLS.parse::<ToolName>().is_err());
    }

    #[test]
    fn sends_routes_and_auth_failures_are_counted() {
        let metrics = Metrics::new();
        let (connection, operation) = ("stripe".parse().unwrap(), "get_invoice".parse().unwrap());
        let started = || metrics.send_started(&connection, &operation);
        started().finished(Ok(200));
        started().finished(Ok(700));
        started().finished(Err(FailureReason::Timeout));
        drop(started());
        let route = metrics.route("/v1/tools/{name}");
        route.answered(http::StatusCode::OK);
        route.answered(http::StatusCode::IM_A_TEAPOT);
        metrics.auth_failed();
        metrics.connection_turned_away();

        let text = metrics.render();
        let send = r#"keybearer_sends_total{connection="stripe",operation="get_invoice",outcome="#;
        for line in [
            &format!(r#"{send}"2xx"}} 1"#),
            &format!(r#"{send}"other"}} 1"#),
            &format!(r#"{send}"upstream_timeout"}} 1"#),
            &format!(r#"{send}"cancelled"}} 1"#),
            r#"keybearer_http_requests_total{route="/v1/tools/{name}",status="200"} 1"#,
            r#"keybearer_http_requests_total{route="/v1/tools/{name}",status="other"} 1"#,
            "keybearer_auth_failures_total 1",
            "keybearer_connections_turned_away_total 1",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
