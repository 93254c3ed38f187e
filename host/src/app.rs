//! The composition root: a home and its configuration → everything that serves.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;

use crate::approval::{ApprovalDesk, Approvals};
use crate::audit::{Audit, Decision, ShadowDiffered};
use crate::auth::Auth;
use crate::catalog::{Catalog, Loader, Progress, Runtimes};
use crate::clock::{Clock, ClockTrust};
use crate::config::Config;
use crate::connection::LiveConnections;
use crate::egress::{Egress, SystemResolver, Vault};
use crate::home::Home;
use crate::ids::Digest;
use crate::kill::Kills;
use crate::ledger::{LiveBudgets, dedup_salt};
use crate::metrics::Metrics;
use crate::pipeline::{Parts, Pipeline, Spending, TracingLog};
use crate::policy::{Enforced, Judged, Policy, PolicySource, ShadowDifference};
use crate::runtime::{Runtime, RuntimeConfig};
use crate::store::{AuditStore, ControlStore, LedgerStore, RowFilter};

/// Everything that serves, put together.
pub struct App {
    /// Tokens.
    pub auth: Arc<Auth>,
    /// Kill switches.
    pub kills: Arc<Kills>,
    /// The way of a call.
    pub pipeline: Pipeline,
    /// The trail.
    pub audit: Audit,
    /// Where users' own secrets go. None comes out of it here.
    pub vault: Arc<Vault>,
    /// Requests that wait for people.
    pub approvals: ApprovalDesk,
    /// What operators set.
    pub control: Arc<dyn ControlStore>,
    /// Budgets, and writes that were made.
    pub spending: Arc<Spending>,
    /// What was spent.
    pub ledger: Arc<dyn LedgerStore>,
    /// The tools.
    pub catalog: Arc<Catalog>,
    /// The upstreams.
    pub connections: Arc<LiveConnections>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Whether that can be believed.
    pub clock_trust: ClockTrust,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Who says yes.
    pub policy: Policy,
}

/// What an [`App`] is put together from.
pub struct Sources<'s> {
    /// The home folder.
    pub home: &'s Home,
    /// Its configuration.
    pub config: &'s Config,
    /// Policies to ask beside its own, to see what they would decide otherwise.
    pub shadow_policies: Option<&'s Path>,
    /// Its control store.
    pub control: Arc<dyn ControlStore>,
    /// Its audit trail.
    pub audit: Arc<dyn AuditStore>,
    /// What was spent: it lies in the same file.
    pub ledger: Arc<dyn LedgerStore>,
    /// Its vault.
    pub vault: Vault,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl App {
    /// Puts a host together: checks connections, marks the calls that a crash left open, loads the tools.
    ///
    /// # Errors
    /// The first part that can't be had, with what to do.
    pub fn open(sources: Sources<'_>, progress: &mut dyn FnMut(&str)) -> anyhow::Result<Self> {
        let Sources { home, config, control, audit, ledger, vault, clock, shadow_policies } = sources;
        let connections = LiveConnections::open(&home.connections_dir())
            .map_err(|problems| anyhow::anyhow!("the connections can't be used\n{problems}"))?;
        let connections = Arc::new(connections);
        let audit = Audit::start(audit, clock.clone())?;
        let newest = RowFilter { limit: 1, newest_first: true, ..RowFilter::default() };
        let newest = audit.rows(&newest).context("the audit trail can't be read")?;
        // Before this start is on record at what the clock shows.
        let newest = newest.first().map(|row| row.at);
        let clock_trust = ClockTrust::open(clock.clone(), control.clone(), newest)?;
        let recovered = audit.recover().context("the audit trail can't be read")?;
        if recovered > 0 {
            progress(&format!(
                "calls that the last stop cut off, now marked unknown in the audit trail: {recovered}"
            ));
        }
        let runtime = Arc::new(Runtime::new(&RuntimeConfig {
            // As many instances as calls are let in: a call that passed the door finds room.
            instances_max: u32::try_from(config.doors.calls_max).unwrap_or(u32::MAX),
            ..RuntimeConfig::default()
        })?);
        // A description needs one, too, whatever the code of agents is doing.
        let instances_max = u32::try_from(config.code.executions_max).unwrap_or(u32::MAX).saturating_add(1);
        let code = Arc::new(Runtime::new(&RuntimeConfig::for_code(instances_max))?);
        let runtimes = Runtimes { tools: runtime, code };
        let catalog = open_catalog(home, control.clone(), runtimes, progress)?;
        let metrics = Arc::new(Metrics::default());
        let mut policy = open_policy(home, control.clone(), connections.clone(), catalog.clone(), progress)?;
        if let Some(dir) = shadow_policies {
            anyhow::ensure!(dir.is_dir(), "{} is no folder of policies", dir.display());
            let source = (Some(dir.to_owned()), control.clone(), connections.clone(), catalog.clone());
            let candidate = Policy::open(PolicySource::new(source.0, source.1, source.2, source.3))
                .map_err(|problems| anyhow::anyhow!("the shadow policies can't be used\n{problems}"))?;
            policy = policy.with_shadow(candidate, metrics.shadow_differences());
        }
        let vault = Arc::new(vault);
        let approvals = Approvals::new(control.clone(), vault.clone(), clock.clone(), config.approvals);
        let approvals = ApprovalDesk::new(Arc::new(approvals), audit.clone(), Arc::new(policy.clone()));
        let budgets = LiveBudgets::open(home.budgets_file(), &connections.load())
            .map_err(|problems| anyhow::anyhow!("the budgets can't be used\n{problems}"))?;
        let spending = Arc::new(Spending::new(
            budgets,
            dedup_salt(control.as_ref())?,
            config.duplicate_window,
            Some(vault.clone()),
        ));
        let kills = Arc::new(Kills::new(control.clone(), clock.clone()));
        let auth = Arc::new(Auth::new(control.clone(), clock.clone()));
        let pipeline = Pipeline::new(Parts {
            catalog: catalog.clone(),
            auth: auth.clone(),
            kills: kills.clone(),
            policy: policy.clone(),
            approvals: Some(approvals.clone()),
            questions: config.keep_questions.then(|| vault.clone()),
            spending: spending.clone(),
            audit: audit.clone(),
            connections: connections.clone(),
            egress: Arc::new(Egress::live(vault.clone(), Arc::new(SystemResolver::default()))),
            clock: clock.clone(),
            metrics: metrics.clone(),
            log: Arc::new(TracingLog),
            limits: config.limits.clone(),
            code_limits: config.code.limits.clone(),
        });
        let app = Self {
            control,
            auth,
            kills,
            pipeline,
            audit,
            vault,
            approvals,
            spending,
            ledger,
            catalog,
            connections,
            clock,
            clock_trust,
            metrics,
            policy,
        };
        app.tools_changed();
        Ok(app)
    }

    /// Takes up what operators have changed in this home since the last look: tools, connections, budgets,
    /// policies. What is under way
    /// keeps what it began with. Blocks, for seconds where a new component has to be compiled.
    pub fn refresh(&self) {
        self.clock_trust.is_doubted();
        let connections_changed = self.connections.refresh().unwrap_or_else(|problems| {
            tracing::error!(%problems, "the connections stay as they were");
            false
        });
        if connections_changed {
            tracing::info!("the connections were read again");
        }
        match self.spending.budgets().refresh(&self.connections.load(), connections_changed) {
            Ok(false) => {}
            Ok(true) => tracing::info!("the budgets were read again"),
            Err(problems) => tracing::error!(%problems, "the budgets stay as they were"),
        }
        if !matches!(self.catalog.is_stale(), Ok(false)) {
            match self.catalog.refresh() {
                Ok(false) => {}
                Ok(true) => self.tools_changed(),
                Err(error) => tracing::error!(%error, "the catalog can't be refreshed"),
            }
        }
        // Last: policies speak of connections and tools.
        self.refresh_policy();
        self.record_shadow();
    }

    /// Puts on record what shadow policies have decided otherwise since the last time.
    pub fn record_shadow(&self) {
        let said = |judged: &Judged| match judged.verdict {
            Enforced::Allowed => Decision::Allowed,
            Enforced::Denied => Decision::Denied,
            Enforced::ApprovalRequired { .. } => Decision::ApprovalRequired,
        };
        for ShadowDifference { realm, who, subject, live, candidate, hash: policy, .. } in
            self.policy.shadow_differs()
        {
            let (live, other) = (said(&live), said(&candidate));
            let policies = candidate.policies;
            let row = ShadowDiffered { who, subject, live, candidate: other, policies, policy };
            self.audit.shadow_differed(realm, row);
        }
    }

    /// Takes up policies that were written, posted or removed, and what they speak of.
    pub fn refresh_policy(&self) {
        if !self.policy.is_stale() {
            return;
        }
        let before = self.policy.posted_hashes();
        match self.policy.refresh() {
            Ok(false) => return,
            Ok(true) => {
                let (hash, count) = (self.policy.hash(), self.policy.count());
                tracing::info!(%hash, ?count, "the policies were read again");
                if count == (0, 0) {
                    tracing::warn!("there is no policy, so everything is denied");
                }
            }
            Err(problems) => tracing::error!(%problems, "the policies of the files stay as they were"),
        }
        self.log_posted(&before);
    }

    /// Logs by which policies the host goes when it begins to serve.
    pub fn log_policies(&self) {
        let (hash, count) = (self.policy.hash(), self.policy.count());
        tracing::info!(%hash, ?count, "the policies were read");
        self.log_posted(&BTreeMap::new());
    }

    /// Logs the hash of the policies, as rows of the trail have it, wherever some are posted and it isn't the one `before`.
    fn log_posted(&self, before: &BTreeMap<String, Digest>) {
        for (place, hash) in self.policy.posted_hashes() {
            if before.get(&place) != Some(&hash) {
                tracing::info!(place, %hash, "other policies are posted");
            }
        }
    }

    /// Removes from the ledger what is too old to count, and tokens, approvals and switches on calls that were over long
    /// ago. Nothing in the hours after the clock was put: by a wrong clock, all of it is too old. Blocks.
    pub fn prune(&self) {
        if !self.clock_trust.believe() {
            return;
        }
        match self.audit.prune_ledger() {
            Ok(0) => {}
            Ok(rows) => tracing::info!(rows, "the ledger was pruned"),
            Err(error) => tracing::error!(%error, "the ledger can't be pruned"),
        }
        let forgotten = [
            ("tokens", self.auth.forget_over(&mut |some| self.audit.forget_tokens(some))),
            ("approvals", self.approvals.approvals().forget_over()),
            ("kill switches", self.kills.forget_over()),
        ];
        for (what, result) in forgotten {
            if let Err(error) = result {
                tracing::error!(%error, "old {what} can't be removed");
            }
        }
    }

    /// Tells the log and the metrics which tools there are now.
    pub fn tools_changed(&self) {
        let snapshot = self.catalog.snapshot();
        for problem in snapshot.problems() {
            tracing::error!(%problem, "a tool can't be loaded");
        }
        self.metrics.set_tools(snapshot.tools().map(|tool| &tool.name));
    }
}

/// The policies of a home, loaded. That there are none, and what is suspicious in them, is told as progress.
///
/// # Errors
/// Every problem of the files.
pub fn open_policy(
    home: &Home,
    control: Arc<dyn ControlStore>,
    connections: Arc<LiveConnections>,
    catalog: Arc<Catalog>,
    progress: &mut dyn FnMut(&str),
) -> anyhow::Result<Policy> {
    let dir = home.policies_dir();
    let policy = Policy::open(PolicySource::new(Some(dir.clone()), control, connections, catalog))
        .map_err(|problems| anyhow::anyhow!("the policies can't be used\n{problems}"))?;
    for warning in policy.warnings() {
        progress(&format!("warning: {warning}"));
    }
    if policy.count() == (0, 0) {
        progress(&format!("warning: there is no policy in {}, so everything is denied", dir.display()));
    }
    Ok(policy)
}

/// The catalog of a home, loaded. What can't be loaded is told as progress; the rest serves.
///
/// # Errors
/// When the control store can't be read.
pub fn open_catalog(
    home: &Home,
    control: Arc<dyn ControlStore>,
    runtimes: impl Into<Runtimes>,
    progress: &mut dyn FnMut(&str),
) -> anyhow::Result<Arc<Catalog>> {
    let runtimes = runtimes.into();
    // Components are compiled on several threads; the caller's closure runs on this one.
    let (tell, told) = std::sync::mpsc::channel::<String>();
    let catalog = std::thread::scope(|scope| {
        let tell = std::sync::Mutex::new(tell);
        let opening = scope.spawn(move || {
            let loader = Loader::new(runtimes, home.code_cache());
            Catalog::open(home.tools_dir(), control, loader, &|step| {
                if let (Some(text), Ok(tell)) = (progress_text(&step), tell.lock()) {
                    // The receiver lives until this thread has ended.
                    let _ = tell.send(text);
                }
            })
        });
        told.iter().for_each(|text| progress(&text));
        opening.join()
    });
    let catalog = catalog.map_err(|_| anyhow::anyhow!("loading the tools broke down"))??;
    for problem in catalog.snapshot().problems() {
        progress(&format!("warning: {problem}"));
    }
    Ok(Arc::new(catalog))
}

/// Only what takes long is worth a line.
fn progress_text(step: &Progress<'_>) -> Option<String> {
    match step {
        Progress::Ready { component, cached: false, took, done, total } => {
            Some(format!("compiled {component} in {:.1} s ({done} of {total})", took.as_secs_f64()))
        }
        _ => None,
    }
}
