//! `keybearer dev`: a throw-away host around one command.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::CommandFactory as _;
use clap::error::ErrorKind;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::context::{Opened, cache_dir, components_of};
use super::out::Out;
use super::sandbox::add_consented;
use super::serve::{finish, open_app, serve_config, watch_home};
use super::{Cli, Done, RealmArgs, descriptors, init, log};
use crate::app::App;
use crate::auth::{Grant, Mint, Minted, OperationPattern, ToolPattern};
use crate::config::LogFormat;
use crate::connection::Connections;
use crate::doors;
use crate::egress::{SecretInput, new_label};
use crate::home::Home;
use crate::ids::{ConnectionName, ConversationId, SecretLabel};
use crate::store::TokenKind;

/// Flags of `dev`.
#[derive(Debug, clap::Args)]
pub(super) struct Dev {
    /// Add every component (`*.wasm`) of this folder. May be given several times.
    #[arg(long, value_name = "DIR")]
    tools: Vec<PathBuf>,
    /// Add this component as a sandbox, and let the token run code there, unless --policies says otherwise.
    #[arg(long, value_name = "FILE")]
    sandbox: Option<PathBuf>,
    /// A connection that code in the sandbox may use. May be given several times [default: none].
    #[arg(long = "sandbox-connection", value_name = "NAME", requires = "sandbox")]
    sandbox_connections: Vec<ConnectionName>,
    /// Use the connection files (and what lies beside them) of this folder.
    #[arg(long, value_name = "DIR")]
    connections: Option<PathBuf>,
    /// Decide by the policy files of this folder, instead of permitting whatever the token carries.
    #[arg(long, value_name = "DIR")]
    policies: Option<PathBuf>,
    /// Store the content of FILE as a secret. May be given several times.
    #[arg(long, value_name = "LABEL=@FILE")]
    secret: Vec<SecretFile>,
    /// The token may call this tool only. May be given several times [default: every tool].
    #[arg(long = "tool", value_name = "TOOL")]
    grant_tools: Vec<ToolPattern>,
    /// The token may use this operation only. May be given several times [default: every operation].
    #[arg(long = "operation", value_name = "OPERATION")]
    grant_operations: Vec<OperationPattern>,
    /// Bind the token to this conversation.
    #[arg(long)]
    conversation: Option<ConversationId>,
    /// Also give the command an operator's token for this environment, in KEYBEARER_OPERATOR_TOKEN.
    #[arg(long)]
    operator: bool,
    /// Serve from this home as it is: no flag adds to it [default: a throw-away home].
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
    #[command(flatten)]
    realm: RealmArgs,
    /// The command, after `--`.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// What lets code run in a throw-away home, where nothing else does.
const CODE_RUNS: &str =
    "@id(\"dev-runs-code\")\npermit (principal, action == Action::\"run_code\", resource);\n";

/// `LABEL=@FILE`.
#[derive(Debug, Clone)]
struct SecretFile {
    label: SecretLabel,
    file: PathBuf,
}

impl FromStr for SecretFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (label, file) = text
            .split_once("=@")
            .ok_or("write LABEL=@FILE: a secret is read from a file, never from the command line")?;
        Ok(Self { label: new_label(label)?, file: file.into() })
    }
}

impl Dev {
    pub(super) fn run(self, out: &Out) -> anyhow::Result<Done> {
        self.check_flags()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        // Before there's anything to be removed: from here on none of them ends this process by itself.
        let mut signals = Signals::of(&runtime)?;
        // An existing home is served as it is, but for the tokens, which end with the command.
        let (folder, mut opened) = match &self.home {
            Some(home) => (None, Opened::for_host(Some(home.clone()))?),
            None => {
                let folder = tempfile::Builder::new().prefix("keybearer-dev-").tempdir()?;
                let home = Home::named(Some(folder.path().join("home")))?.with_shared_cache(cache_dir());
                (Some(folder), init::make(home, self.realm.realm())?.0)
            }
        };
        let _lock = opened.home.lock()?;
        let _log = log::is_asked_for().then(|| log::start(LogFormat::Text)).transpose()?;
        if let Some(dir) = &self.connections {
            copy_files(dir, &opened.home.connections_dir())?;
        }
        if let Some(dir) = &self.policies {
            let policies = opened.home.policies_dir();
            std::fs::remove_file(policies.join("start.cedar"))?;
            copy_files(dir, &policies)?;
        } else if self.sandbox.is_some() {
            std::fs::write(opened.home.policies_dir().join("dev.cedar"), CODE_RUNS)?;
        }
        self.store_secrets(&opened)?;
        self.add_tools(&opened, &signals, out)?;
        opened.config.listen = ([127, 0, 0, 1], 0).into();
        let app = runtime.block_on(async { open_app(&opened, out) })?;
        let status = runtime.block_on(self.serve_around(&opened, &app, &mut signals));
        finish(app, runtime);
        drop(opened);
        if let Some(folder) = folder {
            folder.close().context("the throw-away home can't be removed")?;
        }
        Ok(Done::Code(exit_code(status?)))
    }

    /// Refuses what would change a home that isn't thrown away. A flag that all commands take can stand before this one's
    /// name, where the parser doesn't hold it against this command's own.
    fn check_flags(&self) -> Result<(), clap::Error> {
        let filling = [
            ("--tools", !self.tools.is_empty()),
            ("--sandbox", self.sandbox.is_some()),
            ("--connections", self.connections.is_some()),
            ("--policies", self.policies.is_some()),
            ("--secret", !self.secret.is_empty()),
        ];
        match filling.into_iter().find(|(_, is_given)| *is_given && self.home.is_some()) {
            None => Ok(()),
            Some((flag, _)) => Err(Cli::command().error(
                ErrorKind::ArgumentConflict,
                format!("{flag} is for a throw-away home: with --home, that home is served as it is"),
            )),
        }
    }

    /// Serves until the command has ended. Its tokens end with it, whatever comes of it.
    async fn serve_around(
        &self,
        opened: &Opened,
        app: &Arc<App>,
        signals: &mut Signals,
    ) -> anyhow::Result<ExitStatus> {
        let mut tokens = vec![self.mint(opened, app, TokenKind::Agent)?];
        let status = self.serve_with(opened, app, &mut tokens, signals).await;
        for token in &tokens {
            app.auth.revoke(&token.row.id, None)?;
        }
        for token in &tokens {
            let realm = Some(token.row.realm.clone());
            app.audit.admin(realm, "token.revoke", token.row.id.as_str(), "cli").await?;
        }
        status
    }

    async fn serve_with(
        &self,
        opened: &Opened,
        app: &Arc<App>,
        tokens: &mut Vec<Minted>,
        signals: &mut Signals,
    ) -> anyhow::Result<ExitStatus> {
        if self.operator {
            tokens.push(self.mint(opened, app, TokenKind::Operator)?);
        }
        for token in &*tokens {
            app.audit.given("token.mint", &token.row, "cli").await?;
        }
        let mut config = serve_config(&opened.config);
        descriptors::make_room(&mut config.limits);
        let bound = doors::bind(&config).await?;
        let url = bound.url();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let certificate = bound.certificate();
        let server = tokio::spawn(bound.serve(app.clone(), async {
            let _ = stopped.await;
        }));
        let watch = tokio::spawn(watch_home(app.clone(), certificate));
        let status = self.run_command(&url, tokens, signals).await;
        watch.abort();
        let _ = stop.send(());
        let served = server.await.context("the host broke down");
        let _ = watch.await;
        served??;
        status
    }

    async fn run_command(
        &self,
        url: &str,
        tokens: &[Minted],
        signals: &mut Signals,
    ) -> anyhow::Result<ExitStatus> {
        let (program, arguments) = self.command.split_first().context("no command is given")?;
        let mut command = tokio::process::Command::new(program);
        command.args(arguments).env("KEYBEARER_URL", url);
        for minted in tokens {
            let name = match minted.row.kind {
                TokenKind::Agent => "KEYBEARER_TOKEN",
                TokenKind::Operator => "KEYBEARER_OPERATOR_TOKEN",
                // None is minted here.
                TokenKind::Monitor => continue,
            };
            command.env(name, minted.token.to_string());
        }
        signals.check()?;
        let mut child =
            command.kill_on_drop(true).spawn().with_context(|| format!("can't run {program:?}"))?;
        // Ctrl-C reaches the command as well, which decides how to end; the others may reach this process alone.
        loop {
            tokio::select! {
                status = child.wait() => return Ok(status?),
                kind = signals.next() => {
                    if kind != SignalKind::interrupt() {
                        child.start_kill()?;
                    }
                }
            }
        }
    }

    fn mint(&self, opened: &Opened, app: &App, kind: TokenKind) -> anyhow::Result<Minted> {
        let grant = match kind {
            TokenKind::Operator | TokenKind::Monitor => Grant::default(),
            TokenKind::Agent => self.grant(&opened.home.connections_dir())?,
        };
        Ok(app.auth.mint(Mint {
            kind,
            realm: self.realm.realm(),
            every_environment: false,
            agent: "dev".parse()?,
            conversation: self.conversation.clone().filter(|_| kind == TokenKind::Agent),
            role: None,
            task: None,
            user: None,
            grant,
            lifetime: Duration::from_secs(86_400),
        })?)
    }

    fn grant(&self, connections: &Path) -> anyhow::Result<Grant> {
        let tools =
            if self.grant_tools.is_empty() { vec![ToolPattern::Any] } else { self.grant_tools.clone() };
        let operations = if self.grant_operations.is_empty() {
            let all = Connections::load(connections).map_err(|problems| anyhow::anyhow!("{problems}"))?;
            all.iter().map(|connection| OperationPattern::AnyOf(connection.name.clone())).collect()
        } else {
            self.grant_operations.clone()
        };
        Ok(Grant { tools, operations, ..Grant::default() })
    }

    fn store_secrets(&self, opened: &Opened) -> anyhow::Result<()> {
        if self.secret.is_empty() {
            return Ok(());
        }
        let vault = opened.vault()?;
        for SecretFile { label, file } in &self.secret {
            let from = std::fs::File::open(file).with_context(|| file.display().to_string())?;
            let input = SecretInput::read(from).with_context(|| file.display().to_string())?;
            vault.put(&self.realm.realm(), label, &input)?;
        }
        Ok(())
    }

    fn add_tools(&self, opened: &Opened, signals: &Signals, out: &Out) -> anyhow::Result<()> {
        if self.tools.is_empty() && self.sandbox.is_none() {
            return Ok(());
        }
        let catalog = opened.catalog(out)?;
        if let Some(file) = &self.sandbox {
            let (connections, now) = (&self.sandbox_connections, opened.clock.now());
            add_consented(&catalog, &opened.home, file, connections, now)?;
        }
        for dir in &self.tools {
            for file in components_of(dir)? {
                // Compiling one takes seconds.
                signals.check()?;
                let bytes = std::fs::read(&file).with_context(|| file.display().to_string())?;
                let name =
                    file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
                let found =
                    catalog.inspect(&bytes).with_context(|| format!("{} can't be used", file.display()))?;
                catalog.add(&name, &bytes, &found.connections, opened.clock.now())?;
            }
        }
        Ok(())
    }
}

fn entries(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let read = std::fs::read_dir(dir).with_context(|| dir.display().to_string())?;
    read.map(|entry| Ok(entry?.path())).collect()
}

fn copy_files(from: &Path, to: &Path) -> anyhow::Result<()> {
    for path in entries(from)? {
        if let Some(name) = path.file_name().filter(|_| path.is_file()) {
            std::fs::copy(&path, to.join(name)).with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}

/// The signals that end this: what is left to do is done first.
struct Signals(mpsc::UnboundedReceiver<SignalKind>);

impl Signals {
    /// Catches them from now on.
    fn of(runtime: &Runtime) -> anyhow::Result<Self> {
        let (tell, told) = mpsc::unbounded_channel();
        let _inside = runtime.enter();
        for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
            let (mut signals, tell) = (signal(kind)?, tell.clone());
            runtime.spawn(async move { while signals.recv().await.is_some() && tell.send(kind).is_ok() {} });
        }
        Ok(Self(told))
    }

    /// Fails if one has come.
    fn check(&self) -> anyhow::Result<()> {
        ensure!(self.0.is_empty(), "a signal ended this before the command began");
        Ok(())
    }

    async fn next(&mut self) -> SignalKind {
        match self.0.recv().await {
            Some(kind) => kind,
            None => std::future::pending().await,
        }
    }
}

/// The command's code; 128 and the signal's number when a signal ended it, as shells have it.
fn exit_code(status: ExitStatus) -> u8 {
    #[cfg(unix)]
    let signal = std::os::unix::process::ExitStatusExt::signal(&status).map(|signal| signal + 128);
    #[cfg(not(unix))]
    let signal = None;
    status.code().or(signal).and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}
