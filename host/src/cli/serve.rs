//! `keybearer serve`.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use anyhow::Context as _;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at};

use super::context::{Opened, say};
use super::out::Out;
use super::{Done, descriptors, log};
use crate::app::{App, Sources};
use crate::config::Config;
use crate::doors::{self, Certificate, ServeConfig};
use crate::store::sqlite::SqliteAudit;

/// How often a host looks whether a tool was added or removed, or a file was changed. A changed file is read at the second
/// look that finds it the same.
const HOME_LOOK_MS: u64 = 250;

/// Flags of `serve`.
#[derive(Debug, clap::Args)]
pub(super) struct Serve {
    /// Listen here instead of where the configuration says.
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// Allow a listener without TLS on an address that is not loopback. Tokens travel in clear then.
    #[arg(long)]
    insecure_listen: bool,
    /// Ask these policies beside the home's own, and log where they would decide otherwise. They decide nothing.
    #[arg(long, value_name = "DIR")]
    shadow_policies: Option<PathBuf>,
}

impl Serve {
    pub(super) fn run(self, home: Option<PathBuf>, out: &Out) -> anyhow::Result<Done> {
        let mut opened = Opened::for_host(home)?;
        opened.shadow_policies = self.shadow_policies;
        let log = log::start(opened.config.log)?;
        let mut config = serve_config(&opened.config);
        config.listen = self.listen.unwrap_or(config.listen);
        config.insecure_listen = self.insecure_listen;
        descriptors::make_room(&mut config.limits);
        let _lock = opened.home.lock()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let app = runtime.block_on(async { open_app(&opened, out) })?;
        let served: anyhow::Result<()> = runtime.block_on(async {
            let bound = doors::bind(&config).await?;
            out.note(format!("listening on {}", bound.url()));
            out.value(&serde_json::json!({ "url": bound.url() }));
            app.log_policies();
            let watch = tokio::spawn(watch_home(app.clone(), bound.certificate()));
            let reconciling = tokio::spawn(app.pipeline.reconciler(app.ledger.clone()).watch());
            let served = bound.serve(app.clone(), stop_signal()).await;
            watch.abort();
            reconciling.abort();
            // What it was about is on record as cancelled then.
            let _ = reconciling.await;
            served?;
            Ok(())
        });
        finish(app, runtime);
        served?;
        log.note("stopped");
        Ok(Done::Well)
    }
}

/// The app of an opened home.
pub(super) fn open_app(opened: &Opened, out: &Out) -> anyhow::Result<Arc<App>> {
    let trail = SqliteAudit::for_host(&opened.home.audit_db()).context("can't open audit.db")?;
    let trail = Arc::new(trail);
    let sources = Sources {
        home: &opened.home,
        shadow_policies: opened.shadow_policies.as_deref(),
        config: &opened.config,
        control: opened.control.clone(),
        audit: trail.clone(),
        ledger: trail,
        vault: opened.vault_for_host()?,
        clock: opened.clock.clone(),
    };
    Ok(Arc::new(App::open(sources, &mut say(out))?))
}

/// How long what blocks a thread may go on once the trail is flushed: a look at the home, or up names that no server
/// answers for. Nothing waits for it any more.
const BLOCKED_MAX: Duration = Duration::from_millis(500);

/// Flushes the trail, once nothing uses the app any more, and ends what ran it.
pub(super) fn finish(app: Arc<App>, runtime: Runtime) {
    app.record_shadow();
    let audit = app.audit.clone();
    drop(app);
    audit.shutdown();
    // Dropped, it would wait for every such thread, and the process would live on.
    runtime.shutdown_timeout(BLOCKED_MAX);
}

/// What the doors need of a configuration.
pub(super) fn serve_config(config: &Config) -> ServeConfig {
    ServeConfig {
        listen: config.listen,
        tls: config.tls.clone(),
        insecure_listen: false,
        limits: config.doors.clone(),
        deadline: config.deadline,
        deadline_max: config.deadline_max,
        code: config.code.clone(),
    }
}

/// How long after its start a host prunes for the first time: a machine's clock may be put right in the seconds after that.
const PRUNE_FIRST: Duration = Duration::from_secs(600);

/// How often the ledger is pruned of what counts no more.
const PRUNE_EVERY: Duration = Duration::from_secs(3_600);

/// Takes up what operators change beside the running host, and keeps the ledger small.
pub(super) async fn watch_home(app: Arc<App>, certificate: Option<Arc<Certificate>>) {
    // Side by side: pruning takes its time, so that calls have their turn.
    tokio::join!(take_up_changes(app.clone(), certificate), prune_hourly(app));
}

async fn prune_hourly(app: Arc<App>) {
    let mut ticks = interval_at(Instant::now() + PRUNE_FIRST, PRUNE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let app = app.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || app.prune()).await {
            tracing::error!(%error, "removing what is over broke down");
        }
    }
}

async fn take_up_changes(app: Arc<App>, certificate: Option<Arc<Certificate>>) {
    let mut ticks = interval(Duration::from_millis(HOME_LOOK_MS));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let (app, certificate) = (app.clone(), certificate.clone());
        let look = move || {
            app.refresh();
            if let Some(certificate) = certificate {
                refresh(&certificate);
            }
        };
        // It reads files, and compiling a new component takes seconds: not on a thread that serves.
        if let Err(error) = tokio::task::spawn_blocking(look).await {
            tracing::error!(%error, "looking for changes broke down");
        }
    }
}

fn refresh(certificate: &Certificate) {
    match certificate.refresh() {
        Ok(false) => {}
        Ok(true) => tracing::info!("the listener's certificate was read again"),
        Err(error) => tracing::error!(%error, "the listener's certificate stays as it was"),
    }
}

/// Resolves at Ctrl-C, at SIGTERM, and at SIGHUP unless that is to be ignored.
async fn stop_signal() {
    let hangup = (!ignores_hangup()).then(SignalKind::hangup);
    let kinds = [SignalKind::interrupt(), SignalKind::terminate()].into_iter().chain(hangup);
    let mut signals: Vec<_> = kinds.filter_map(|kind| signal(kind).ok()).collect();
    poll_fn(|cx| {
        let has_come = signals.iter_mut().any(|signal| signal.poll_recv(cx).is_ready());
        if has_come { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Whether whoever started this wants it to outlive their terminal, as `nohup` says it. What the system doesn't tell is
/// left as it is.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // SIGHUP is the first signal, so it's the last bit.
    ignored.is_none_or(|mask| mask & 1 == 1)
}
