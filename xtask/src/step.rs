//! Steps: one command each, quiet while it goes well, with a sign of life when it takes long.

use std::fs;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::failure::{Failure, Outcome, cannot};
use crate::place::Place;
use crate::program::{Program, pause};

/// How often a long step says that it's alive where the line can't be redrawn, as in a CI log.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

/// How often the line is redrawn on a terminal.
const REDRAW: Duration = Duration::from_millis(250);

/// How many lines of a failed command are shown.
const TAIL_LINES: usize = 60;

/// A step in progress.
pub(crate) struct Step {
    title: String,
    started: Instant,
    said: Instant,
    terminal: bool,
}

/// A command whose output goes to a log file.
pub(crate) struct Logged {
    command: Command,
    log: PathBuf,
}

/// What came of a command.
pub(crate) struct Ran {
    /// Whether it ended with exit code 0.
    pub ok: bool,
    /// All that it wrote.
    pub output: String,
    /// Where that is kept.
    pub log: PathBuf,
}

impl Step {
    pub(crate) fn begin(title: impl Into<String>) -> Self {
        let now = Instant::now();
        let step =
            Self { title: title.into(), started: now, said: now, terminal: std::io::stdout().is_terminal() };
        if step.terminal {
            step.redraw("");
        }
        step
    }

    /// Runs a command to its end. Its output goes to a log file, the last line of which is shown while it runs.
    pub(crate) fn run(&mut self, place: &Place, command: Command) -> Outcome<Ran> {
        let logged = Logged::new(place, &self.title, command)?;
        let log = logged.log.clone();
        logged.run(|| {
            self.sign_of_life(&log);
            Ok(())
        })
    }

    /// Runs a command that has to succeed. If it doesn't, the end of its output is shown with a word of advice.
    pub(crate) fn must(&mut self, place: &Place, command: Command, advice: &str) -> Outcome<String> {
        let logged = Logged::new(place, &self.title, command)?;
        let log = logged.log.clone();
        let done = logged.must(advice, || {
            self.sign_of_life(&log);
            Ok(())
        });
        self.closed_if_failed(done)
    }

    /// Waits for what another thread does, until `done` has it. The last line of its log file is shown meanwhile.
    pub(crate) fn wait_for<T>(
        &mut self,
        log: &Path,
        mut done: impl FnMut() -> Option<Outcome<T>>,
    ) -> Outcome<T> {
        loop {
            if let Some(done) = done() {
                return self.closed_if_failed(done);
            }
            self.sign_of_life(log);
            pause()?;
        }
    }

    fn closed_if_failed<T>(&self, done: Outcome<T>) -> Outcome<T> {
        if let Err(Failure::Told(_)) = done {
            self.failed("");
        }
        done
    }

    /// Closes the step with a tick.
    pub(crate) fn passed(&self, note: &str) {
        self.close("✓", note);
    }

    /// Closes the step with a cross.
    pub(crate) fn failed(&self, note: &str) {
        self.close("✗", note);
    }

    fn close(&self, mark: &str, note: &str) {
        let clear = if self.terminal { "\r\x1b[2K" } else { "" };
        let (title, seconds) = (&self.title, self.started.elapsed().as_secs_f32());
        println!("{clear}  {mark} {title:<44} {seconds:>6.1} s  {note}");
    }

    fn sign_of_life(&mut self, log: &Path) {
        let pause = if self.terminal { REDRAW } else { SIGN_OF_LIFE };
        if self.said.elapsed() < pause {
            return;
        }
        self.said = Instant::now();
        let text = fs::read(log).unwrap_or_default();
        let last = String::from_utf8_lossy(&text);
        let last = last.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
        if self.terminal {
            self.redraw(last);
        } else {
            println!("  … {} ({:.0} s) {last}", self.title, self.started.elapsed().as_secs_f32());
        }
    }

    fn redraw(&self, detail: &str) {
        let line = format!("… {} {:.0} s  {detail}", self.title, self.started.elapsed().as_secs_f32());
        let line: String = line.chars().filter(|c| !c.is_control()).take(76).collect();
        print!("\r\x1b[2K  {line}");
        std::io::stdout().flush().ok();
    }
}

impl Logged {
    /// The log file is named after the title of the step that the command belongs to.
    pub(crate) fn new(place: &Place, title: &str, command: Command) -> Outcome<Self> {
        Ok(Self { command, log: log(place, title)? })
    }

    /// Runs the command to its end, and does this while it waits.
    fn run(self, meanwhile: impl FnMut() -> Outcome<()>) -> Outcome<Ran> {
        let Self { command, log } = self;
        let status = Program::start_into(command, &log)?.wait_while(meanwhile)?;
        let output = String::from_utf8_lossy(&fs::read(&log).map_err(cannot("read", &log))?).into_owned();
        Ok(Ran { ok: status.success(), output, log })
    }

    /// Runs a command that has to succeed. If it doesn't, the failure tells the end of its output and a word of advice.
    pub(crate) fn must(self, advice: &str, meanwhile: impl FnMut() -> Outcome<()>) -> Outcome<String> {
        let shown = show(&self.command);
        let ran = self.run(meanwhile)?;
        if ran.ok {
            return Ok(ran.output);
        }
        let tail = ran.tail();
        let log = ran.log.display();
        Err(Failure::Told(format!("{tail}\n\nfailed: {shown}\nall of its output: {log}\n{advice}")))
    }
}

/// Where the output of a step's commands is kept.
pub(crate) fn log(place: &Place, title: &str) -> Outcome<PathBuf> {
    let name: String = title.chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect();
    Ok(place.folder("logs")?.join(format!("{name}.log")))
}

impl Ran {
    /// The end of the output.
    pub(crate) fn tail(&self) -> String {
        let lines: Vec<&str> = self.output.lines().collect();
        let skipped = lines.len().saturating_sub(TAIL_LINES);
        lines.iter().skip(skipped).copied().collect::<Vec<_>>().join("\n")
    }
}

/// A command as one would type it.
pub(crate) fn show(command: &Command) -> String {
    let program = PathBuf::from(command.get_program());
    let words = command.get_args().map(|word| word.to_string_lossy().into_owned());
    std::iter::once(crate::place::name_of(&program)).chain(words).collect::<Vec<_>>().join(" ")
}
