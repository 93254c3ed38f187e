//! `keybearer tool test`: components against fixtures.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;

use crate::audit::Audit;
use crate::cli::context::{Opened, cache_dir};
use crate::cli::out::Out;
use crate::cli::{Done, RealmArgs};
use crate::egress::SystemResolver;
use crate::fixture::{self, Human, JsonLines, Live, Options, Report, Summary, WATCH_EVERY, Watch};
use crate::kill::Kills;
use crate::policy::PolicyFile;

/// Flags of `tool test`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Test {
    /// Fixture files, or folders of them.
    #[arg(default_value = ".")]
    paths: Vec<PathBuf>,
    /// A component to test; may be repeated [default: those found beside the fixtures].
    #[arg(long = "component", value_name = "FILE")]
    components: Vec<PathBuf>,
    /// Connection files to use [default: those found beside the fixtures].
    #[arg(long, value_name = "DIR")]
    connections: Option<PathBuf>,
    /// Run only the fixtures whose `file: name` contains this.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Also write a JUnit XML report; with --watch, of the newest run.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Run again whenever a fixture, a connection or a component changes.
    #[arg(long, conflicts_with = "record")]
    watch: bool,
    /// Run once against the home's connections and secrets, within its policies and budgets, and write what came of it
    /// into the fixtures. It's on the home's audit trail.
    #[arg(long)]
    record: bool,
    #[command(flatten)]
    realm: RealmArgs,
}

impl Test {
    pub(super) fn run(mut self, home: Option<PathBuf>, out: &Out) -> anyhow::Result<Done> {
        let live = if self.record { Some(self.live(home, out)?) } else { None };
        if self.watch {
            self.keep_watch(out);
        }
        let summary = self.once(live.as_ref(), out)?;
        Ok(if summary.is_success() { Done::Well } else { Done::Problems })
    }

    fn options(&self) -> Options {
        Options {
            components: self.components.clone(),
            connections: self.connections.clone(),
            filter: self.filter.clone(),
            cache: cache_dir(),
        }
    }

    fn once(&self, live: Option<&Live>, out: &Out) -> anyhow::Result<Summary> {
        let options = self.options();
        let color = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let mut report: Box<dyn Report + '_> =
            if out.is_json() { Box::new(JsonLines::new(out)) } else { Box::new(Human::new(out, color)) };
        let summary = match live {
            Some(live) => fixture::record(&self.paths, &options, live, &mut *report)
                .map_err(|faults| anyhow::anyhow!("not everything was recorded\n{faults}"))?,
            None => fixture::run(&self.paths, &options, &mut *report)
                .map_err(|faults| anyhow::anyhow!("nothing was tested\n{faults}"))?,
        };
        if let Some(file) = &self.junit {
            std::fs::write(file, fixture::junit(&summary)).with_context(|| file.display().to_string())?;
        }
        Ok(summary)
    }

    /// Runs until it's interrupted.
    fn keep_watch(&self, out: &Out) -> ! {
        let paths = [&self.paths[..], &self.components[..], self.connections.as_slice()].concat();
        loop {
            // Before they're run: what changes meanwhile is a change, too.
            let files = fixture::tested_with(&self.paths, &self.options());
            let mut watch = Watch::new(paths.clone(), files);
            if let Err(error) = self.once(None, out) {
                out.error(&error);
            }
            out.note("waiting for a change; Ctrl-C ends");
            while !watch.changed() {
                std::thread::sleep(WATCH_EVERY);
            }
        }
    }

    /// The home's connections, where no others are given, its secrets, and what decides about their use.
    fn live(&mut self, home: Option<PathBuf>, out: &Out) -> anyhow::Result<Live> {
        let opened = Opened::open(home)?;
        self.connections.get_or_insert_with(|| opened.home.connections_dir());
        let policies = PolicyFile::read_all(&opened.home.policies_dir())
            .map_err(|problems| anyhow::anyhow!("the policies can't be used\n{problems}"))?;
        Ok(Live {
            realm: self.realm.realm(),
            vault: Arc::new(opened.vault()?),
            resolver: Arc::new(SystemResolver::default()),
            kills: Arc::new(Kills::new(opened.control.clone(), opened.clock.clone())),
            policies,
            posted: opened.control.policies(None)?,
            tools: opened.catalog(out)?.snapshot(),
            budgets: opened.home.budgets_file(),
            audit: Audit::start(opened.audit_store()?, opened.clock.clone())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::Parser as _;

    use super::*;
    use crate::cli::tool::Tool;
    use crate::cli::{Cli, Command};
    use crate::runtime::test_guest::TestGuest;

    #[test]
    fn every_run_of_a_watch_writes_the_report() {
        let dir = tempfile::tempdir().unwrap();
        let (fixtures, report) = (dir.path().join("fixtures"), dir.path().join("junit report"));
        fs::create_dir(&fixtures).unwrap();
        fs::write(dir.path().join("probe.wasm"), TestGuest::default().build()).unwrap();
        let flags = ["--watch", "--junit", report.to_str().unwrap(), dir.path().to_str().unwrap()];
        let line = [&["keybearer", "tool", "test"][..], &flags].concat();
        let Command::Tool(Tool::Test(test)) = Cli::try_parse_from(line).unwrap().command else {
            panic!("{flags:?}")
        };
        for (result, failures) in [("{}", 0), ("{a=1}", 1)] {
            let fixture = format!("[[fixture]]\nname='a'\ntool='probe'\nresult={result}\n");
            fs::write(fixtures.join("a.toml"), fixture).unwrap();
            test.once(None, &Out::new(false)).unwrap();
            let written = fs::read_to_string(&report).unwrap();
            assert!(written.contains(&format!("tests=\"1\" failures=\"{failures}\"")), "{written}");
        }
    }
}
