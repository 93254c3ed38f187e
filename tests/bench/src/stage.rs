//! The host's pipeline over an upstream in this process.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use tokio::time::Instant;

use crate::kill;
use keybearer::audit::Audit;
use keybearer::auth::{Auth, Caller, Grant, Mint, OperationPattern};
use keybearer::catalog::{Catalog, CodeCache, Loader};
use keybearer::clock::{Clock as _, SystemClock};
use keybearer::connection::{Connections, LiveConnections};
use keybearer::egress::{BoxFuture, Canary, Egress, Pieces, Wire, WireError, WireReply, WireRequest};
use keybearer::ids::{CallId, Realm};
use keybearer::kill::Kills;
use keybearer::ledger::Budgets;
use keybearer::metrics::Metrics;
use keybearer::pipeline::{CallRequest, Parts, Pipeline, Spending, TracingLog};
use keybearer::policy::{CallContext, Policy, PolicyFile, World};
use keybearer::runtime::{Limits, Runtime, RuntimeConfig};
use keybearer::store::{AuditStore, MemoryAudit, MemoryControl, TokenKind};

/// How long a call may take here: machines that build something else at the same time are slow.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// The tool with an upstream, and its arguments.
pub(crate) const INVOICE_TOOL: &str = "get_invoice";
/// Its arguments.
pub(crate) const INVOICE_ARGUMENTS: &str = r#"{"id":"in_1Abc"}"#;
/// What its upstream answers.
pub(crate) const INVOICE: &str = include_str!("../../../tools/stripe/fixtures/invoice.json");
/// The connections of the examples.
pub(crate) const STRIPE: &str = include_str!("../../../examples/connections/stripe.toml");

/// Lets agents run code.
const RUN_CODE: &str = r#"@id("code") permit (principal is Agent, action == Action::"run_code", resource);"#;
/// The component that runs Python.
const PYTHON: &str = "python";

/// What a stage calls.
struct Act {
    component: &'static str,
    connections: &'static [&'static str],
    tool: &'static str,
    arguments: &'static str,
    runtime: RuntimeConfig,
}

/// Where everything lies.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The components.
    pub(crate) tools: PathBuf,
    /// A folder on a real disk.
    pub(crate) scratch: PathBuf,
}

impl Place {
    /// A component's bytes.
    pub(crate) fn component(&self, name: &str) -> anyhow::Result<Vec<u8>> {
        let file = match name {
            PYTHON => self.tools.with_file_name("sandbox").join("python.wasm"),
            tool => self.tools.join(format!("{tool}.wasm")),
        };
        std::fs::read(&file).with_context(|| format!("{} can't be read", file.display()))
    }

    /// A new folder, removed when dropped.
    pub(crate) fn folder(&self) -> anyhow::Result<tempfile::TempDir> {
        std::fs::create_dir_all(&self.scratch)?;
        Ok(tempfile::tempdir_in(&self.scratch)?)
    }
}

/// A pipeline and a caller.
pub(crate) struct Stage {
    pipeline: Pipeline,
    caller: Arc<Caller>,
    tool: &'static str,
    arguments: &'static str,
    audit: Audit,
    kills: Arc<Kills>,
    clock: Arc<kill::Clock>,
    _tools: tempfile::TempDir,
}

impl Stage {
    /// The Stripe tool over an upstream in this process, recorded in `trail`.
    pub(crate) fn set(place: &Place, trail: Arc<dyn AuditStore>) -> anyhow::Result<Self> {
        Self::with_budgets(place, trail, "")
    }

    /// The same with these budgets of the operator.
    pub(crate) fn with_budgets(
        place: &Place,
        trail: Arc<dyn AuditStore>,
        budgets: &str,
    ) -> anyhow::Result<Self> {
        let act = Act {
            component: "stripe",
            connections: &["stripe"],
            tool: INVOICE_TOOL,
            arguments: INVOICE_ARGUMENTS,
            runtime: RuntimeConfig::default(),
        };
        Self::of(place, trail, budgets, act)
    }

    /// The Python sandbox, which may hold this many instances, with a program that prints one word.
    pub(crate) fn python(place: &Place, instances_max: u32) -> anyhow::Result<Self> {
        let act = Act {
            component: PYTHON,
            connections: &[],
            tool: "run_python",
            arguments: r#"{"code":"print('hi')"}"#,
            runtime: RuntimeConfig::for_code(instances_max),
        };
        Self::of(place, Arc::new(MemoryAudit::new()), "", act)
    }

    fn of(place: &Place, trail: Arc<dyn AuditStore>, budgets: &str, act: Act) -> anyhow::Result<Self> {
        let clock = Arc::new(SystemClock);
        let control = Arc::new(MemoryControl::new());
        let runtime = Arc::new(Runtime::new(&act.runtime)?);
        let folder = place.folder()?;
        let cache = CodeCache::open(&place.scratch.join("cache"), &place.scratch.join("cache.key"));
        let loader = Loader::new(runtime, cache);
        let catalog = Catalog::open(folder.path().join("tools"), control.clone(), loader, &|_| {})?;
        let consented: Vec<_> = act.connections.iter().map(|name| name.parse()).collect::<Result<_, _>>()?;
        let bytes = place.component(act.component)?;
        if act.component == PYTHON {
            catalog.add_sandbox(act.component, &bytes, &consented, clock.now())?;
        } else {
            catalog.add(act.component, &bytes, &consented, clock.now())?;
        }
        let connections = Connections::parse(&[("stripe.toml", STRIPE)])
            .map_err(|problems| anyhow::anyhow!("{problems}"))?;
        // As a new home has it, and checked and asked as every policy is.
        let start = PolicyFile::new("start.cedar", keybearer::policy::START);
        let connections = Arc::new(connections);
        let code = PolicyFile::new("code.cedar", RUN_CODE);
        let policy = Policy::of(&[start, code], &[], World::new(connections.clone(), &catalog.snapshot()));
        let policy = policy.map_err(|problems| anyhow::anyhow!("{problems}"))?;
        let budgets = Budgets::parse(budgets, "budgets.toml", &connections);
        let budgets = budgets.map_err(|problems| anyhow::anyhow!("{problems}"))?;
        let auth = Arc::new(Auth::new(control.clone(), clock.clone()));
        let kills = Arc::new(Kills::new(control, clock.clone()));
        let caller = caller(&auth)?;
        let audit = Audit::start(trail, clock.clone())?;
        let upstream = Arc::new(kill::Clock::start());
        let pipeline = Pipeline::new(Parts {
            catalog: Arc::new(catalog),
            auth,
            kills: kills.clone(),
            policy,
            approvals: None,
            questions: None,
            spending: Arc::new(Spending::new(budgets, [0; 32], Duration::from_secs(86_400), None)),
            audit: audit.clone(),
            connections: Arc::new(LiveConnections::fixed(connections)),
            egress: Arc::new(Egress::scripted(
                Arc::new(Always(Bytes::from_static(INVOICE.as_bytes()), upstream.clone())),
                Canary::fresh(),
            )),
            clock,
            metrics: Arc::new(Metrics::default()),
            log: Arc::new(TracingLog),
            limits: Limits::usual(DEADLINE),
            code_limits: Limits::usual(DEADLINE),
        });
        let Act { tool, arguments, .. } = act;
        Ok(Self { pipeline, caller, tool, arguments, audit, kills, clock: upstream, _tools: folder })
    }

    /// Makes its call once.
    pub(crate) async fn call(&self) -> anyhow::Result<()> {
        let request = CallRequest {
            caller: self.caller.clone(),
            tool: self.tool.to_owned(),
            arguments: Bytes::from_static(self.arguments.as_bytes()),
            call: CallId::fresh(SystemClock.now()),
            context: CallContext::default(),
            deadline: DEADLINE,
            program: None,
        };
        let result = self.pipeline.call(request).await.into_result();
        result.map(drop).map_err(|refusal| anyhow::anyhow!("the call was refused: {refusal:?}"))
    }

    /// What can be stopped.
    pub(crate) fn kills(&self) -> &Arc<Kills> {
        &self.kills
    }

    /// When requests reached the upstream.
    pub(crate) fn clock(&self) -> &kill::Clock {
        &self.clock
    }

    /// Writes the trail to its end.
    pub(crate) fn end(self) {
        drop(self.pipeline);
        self.audit.shutdown();
    }
}

/// An agent with a token for everything.
pub(crate) fn caller(auth: &Auth) -> anyhow::Result<Arc<Caller>> {
    Ok(auth.verify(&token(auth)?)?)
}

/// A token for everything.
pub(crate) fn token(auth: &Auth) -> anyhow::Result<String> {
    let grant = Grant {
        tools: vec!["*".parse()?],
        operations: vec![OperationPattern::AnyOf("stripe".parse()?)],
        ..Grant::default()
    };
    let (agent, lifetime) = ("bench".parse()?, Duration::from_secs(3600));
    let mint = Mint {
        kind: TokenKind::Agent,
        realm: realm()?,
        every_environment: false,
        agent,
        conversation: None,
        role: None,
        task: None,
        user: None,
        grant,
        lifetime,
    };
    Ok(auth.mint(mint)?.token.as_str().to_owned())
}

/// Whose everything is here.
pub(crate) fn realm() -> anyhow::Result<Realm> {
    Ok(Realm { tenant: "bench".parse()?, environment: "test".parse()? })
}

/// A folder's audit trail on the disk.
pub(crate) fn trail(folder: &Path) -> anyhow::Result<Arc<dyn AuditStore>> {
    Ok(Arc::new(keybearer::store::sqlite::SqliteAudit::open(&folder.join("audit.db"))?))
}

/// An upstream that always answers the same.
struct Always(Bytes, Arc<kill::Clock>);

impl Wire for Always {
    fn exchange(&self, _: WireRequest, _: Instant) -> BoxFuture<'_, Result<WireReply, WireError>> {
        self.1.tick();
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let body = Box::new(Pieces::from(self.0.clone()));
        Box::pin(async move { Ok(WireReply { status: 200, headers, body }) })
    }
}
