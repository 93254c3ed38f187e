//! The composition root: a home and its configuration → everything that serves.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;

use crate::approval::{ApprovalDesk, Approvals};
use crate::audit::{Audit, Decision, ShadowDiffered};
use crate::auth::Auth;
use crate::catalog::{Catalog, Loader, Progress, Runtimes};
use crate::clock::Clock;
use crate::config::Config;
use crate::connection::{Connections, LiveConnections, Problems};
use crate::egress::{Egress, SystemResolver, Vault};
use crate::home::Home;
use crate::kill::Kills;
use crate::ledger::{Budgets, dedup_salt};
use crate::look::{Look, Settled};
use crate::metrics::Metrics;
use crate::pipeline::{Parts, Pipeline, Spending, TracingLog};
use crate::policy::{Enforced, Judged, Policy, PolicySource, ShadowDifference};
use crate::runtime::{Runtime, RuntimeConfig};
use crate::store::{AuditStore, ControlStore, LedgerStore};

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
    /// The file that the operator's budgets are in.
    pub budgets: BudgetsFile,
    /// The tools.
    pub catalog: Arc<Catalog>,
    /// The upstreams.
    pub connections: Arc<LiveConnections>,
    /// The time.
    pub clock: Arc<dyn Clock>,
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

/// The file that the operator's budgets are in, as it looked when it was read last.
#[derive(Debug, Default)]
pub struct BudgetsFile {
    path: PathBuf,
    seen: Mutex<Settled>,
}

impl BudgetsFile {
    /// Reads it. One that isn't there holds no budgets.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    fn read(path: PathBuf, connections: &Connections) -> Result<(Self, Budgets), Problems> {
        let seen = Look::file(&path);
        let budgets = Budgets::load(&path, connections)?;
        Ok((Self { path, seen: Mutex::new(Settled::new(seen)) }, budgets))
    }

    /// Takes a look at it, and reads it again if it, or what it speaks of, has changed and it looks as it did the last time.
    /// What is wrong with it is told once.
    fn refresh(&self, spending: &Spending, connections: &Connections, anyway: bool) -> Result<(), Problems> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if !seen.look(Look::file(&self.path), anyway) {
            return Ok(());
        }
        spending.set_budgets(spending.budgets().load_again(&self.path, connections)?);
        tracing::info!("the budgets were read again");
        Ok(())
    }
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
        let instances_max = u32::try_from(config.code.at_once).unwrap_or(u32::MAX).saturating_add(1);
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
        let (budgets, in_force) = BudgetsFile::read(home.budgets_file(), &connections.load())
            .map_err(|problems| anyhow::anyhow!("the budgets can't be used\n{problems}"))?;
        let spending = Arc::new(Spending::new(
            in_force,
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
            budgets,
            catalog,
            connections,
            clock,
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
        let connections_changed = self.connections.refresh().unwrap_or_else(|problems| {
            tracing::error!(%problems, "the connections stay as they were");
            false
        });
        if connections_changed {
            tracing::info!("the connections were read again");
        }
        if let Err(problems) =
            self.budgets.refresh(&self.spending, &self.connections.load(), connections_changed)
        {
            tracing::error!(%problems, "the budgets stay as they were");
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
        for ShadowDifference { realm, who, subject, live, candidate, hash, .. } in
            self.policy.shadow_differs()
        {
            let (live, other) = (said(&live), said(&candidate));
            let policies = candidate.policies;
            let row = ShadowDiffered { who, subject, live, candidate: other, policies, hash };
            self.audit.shadow_differed(realm, row);
        }
    }

    /// Takes up policies that were written, posted or removed, and what they speak of.
    pub fn refresh_policy(&self) {
        if !self.policy.is_stale() {
            return;
        }
        match self.policy.refresh() {
            Ok(false) => {}
            Ok(true) => {
                let (hash, count) = (self.policy.hash(), self.policy.count());
                tracing::info!(%hash, ?count, "the policies were read again");
                if count == Some((0, 0)) {
                    tracing::warn!("there is no policy, so everything is denied");
                }
            }
            Err(problems) => tracing::error!(%problems, "the policies of the files stay as they were"),
        }
    }

    /// Removes from the ledger what is too old to count, and tokens, approvals and switches on calls that were over long
    /// ago. Blocks.
    pub fn prune(&self) {
        match self.audit.prune_ledger() {
            Ok(0) => {}
            Ok(rows) => tracing::info!(rows, "the ledger was pruned"),
            Err(error) => tracing::error!(%error, "the ledger can't be pruned"),
        }
        let forgotten = [
            ("tokens", self.auth.forget_over()),
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
    if policy.count() == Some((0, 0)) {
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

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: &str = "[[budget]]\nsubject = \"tenant\"\nunit = \"usd\"\nwindow = \"day\"\nlimit = 1\n";

    /// A file with one budget, which is in force.
    struct Live {
        _folder: tempfile::TempDir,
        file: BudgetsFile,
        spending: Spending,
    }

    impl Live {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("budgets.toml");
            std::fs::write(&path, BUDGET).unwrap();
            let (file, budgets) = BudgetsFile::read(path, &Connections::default()).unwrap();
            let spending = Spending::none();
            spending.set_budgets(budgets);
            Self { _folder: folder, file, spending }
        }

        fn write(&self, text: &str) {
            std::fs::write(&self.file.path, text).unwrap();
        }

        /// One look, and how many budgets are in force after it.
        fn look(&self, anyway: bool) -> Result<usize, Problems> {
            self.file.refresh(&self.spending, &Connections::default(), anyway)?;
            Ok(self.in_force())
        }

        fn in_force(&self) -> usize {
            self.spending.budgets().rules().len()
        }
    }

    #[test]
    fn budgets_are_read_once_their_file_has_settled() {
        let live = Live::new();
        let two = BUDGET.repeat(2);
        live.write("budget = []");
        assert_eq!(live.look(false).unwrap(), 1, "that may be the half of it");
        live.write(&two);
        assert_eq!(live.look(false).unwrap(), 1);
        assert_eq!(live.look(false).unwrap(), 2);
        live.write("budget = []");
        assert_eq!(live.look(true).unwrap(), 2, "not even if the connections have changed");
        live.write(BUDGET);
        assert_eq!(live.look(false).unwrap(), 2);
        assert_eq!(live.look(false).unwrap(), 1);
    }

    #[test]
    fn an_emptied_or_vanished_file_lifts_no_limit_and_is_told_once() {
        let live = Live::new();
        for text in ["", "# none\n"] {
            live.write(text);
            assert_eq!(live.look(false).unwrap(), 1);
            assert!(live.look(false).unwrap_err().to_string().contains("budget = []"), "{text:?}");
            assert_eq!((live.in_force(), live.look(false).unwrap()), (1, 1));
        }
        std::fs::remove_file(&live.file.path).unwrap();
        assert_eq!(live.look(false).unwrap(), 1);
        assert!(live.look(false).is_err());
        assert_eq!((live.in_force(), live.look(false).unwrap()), (1, 1));

        live.write("budget = []\n");
        assert_eq!((live.look(false).unwrap(), live.look(false).unwrap()), (1, 0));
        // At a start, a file that isn't there holds no budgets.
        std::fs::remove_file(&live.file.path).unwrap();
        let (_, none) = BudgetsFile::read(live.file.path.clone(), &Connections::default()).unwrap();
        assert!(none.rules().is_empty());
    }
}
