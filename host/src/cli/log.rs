//! The host's own log: lines on standard error, which a thread of their own writes.
//!
//! Whoever reads standard error may stop reading it, or go. A full pipe holds up who writes to it, and that must be nobody
//! who serves: someone may want to throw a kill switch just then. So lines are queued. Where too many wait, more are lost,
//! and the log says how many as soon as it goes on.

use std::ffi::OsStr;
use std::io::{self, IsTerminal as _, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, anyhow, ensure};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::config::LogFormat;

/// The environment variable that holds the log's filter.
const VARIABLE: &str = "KEYBEARER_LOG";

/// How much may wait to be written, in bytes: some ten thousand lines.
const WAITING_BYTES_MAX: usize = 4 << 20;

/// How long the end of a command waits for lines that aren't written yet.
const FLUSH_MAX: Duration = Duration::from_secs(1);

/// The running log. Dropped, it waits until what was logged so far is written, for a second at most.
#[must_use]
#[derive(Debug)]
pub(super) struct Log(Arc<Lines>);

/// Whether it's asked for: `KEYBEARER_LOG` is set, and not empty.
pub(super) fn is_asked_for() -> bool {
    std::env::var_os(VARIABLE).is_some_and(|text| !text.is_empty())
}

/// Starts it. `KEYBEARER_LOG` sets the filter.
///
/// # Errors
/// When the filter is none, there's no thread for the log, or it was started before.
pub(super) fn start(format: LogFormat) -> anyhow::Result<Log> {
    let filter = filter(&std::env::var_os(VARIABLE).unwrap_or_default())?;
    let (lines, queued) = Lines::new();
    let written = Arc::clone(&lines);
    thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || write(&written, &queued, &mut io::stderr()))
        .context("there's no thread for the log")?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(Arc::clone(&lines));
    // NO_COLOR is heeded without this.
    let log = if io::stderr().is_terminal() { log } else { log.with_ansi(false) };
    let started = match format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().try_init(),
    };
    started.map_err(|error| anyhow!("the log can't be started: {error}"))?;
    Ok(Log(lines))
}

/// The filter of this text; `info` where it's empty. A word that is no level would be taken for a target of that name, and
/// everything else, errors among it, be left out: it's more often a slip.
fn filter(text: &OsStr) -> anyhow::Result<EnvFilter> {
    const WRITE: &str = "write off, error, warn, info, debug or trace, or TARGET=LEVEL as in \
                         info,keybearer=debug; without it, it's info";
    let readable = text.to_str().with_context(|| format!("{VARIABLE} is no UTF-8: {WRITE}"))?;
    let parts: Vec<_> = readable.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    if parts.is_empty() {
        return Ok(EnvFilter::new("info"));
    }
    for part in &parts {
        let is_word = !part.contains(['=', '[']);
        ensure!(
            !is_word || part.parse::<LevelFilter>().is_ok(),
            "{VARIABLE}: {part:?} is no level of the log: {WRITE}"
        );
    }
    EnvFilter::try_new(parts.join(",")).map_err(|error| anyhow!("{VARIABLE}: {readable:?}: {error}: {WRITE}"))
}

impl Log {
    /// A note for people among the lines.
    pub(super) fn note(&self, text: &str) {
        self.0.add(format!("{text}\n").as_bytes());
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let (done, flushed) = mpsc::channel();
        let _ = self.0.queue.send(Part::Flush(done));
        let _ = flushed.recv_timeout(FLUSH_MAX);
    }
}

/// Lines on their way to be written.
#[derive(Debug)]
struct Lines {
    queue: Sender<Part>,
    /// How many bytes of lines wait.
    waiting: AtomicUsize,
    /// How many lines were lost since the log last said so.
    lost: AtomicU64,
}

#[derive(Debug)]
enum Part {
    Line(Vec<u8>),
    /// Someone waits for all the lines before it.
    Flush(Sender<()>),
}

impl Lines {
    fn new() -> (Arc<Self>, Receiver<Part>) {
        let (queue, queued) = mpsc::channel();
        (Arc::new(Self { queue, waiting: AtomicUsize::new(0), lost: AtomicU64::new(0) }), queued)
    }

    /// Adds a line, or loses it where there's no room. It never waits.
    fn add(&self, line: &[u8]) {
        let waiting = self.waiting.fetch_add(line.len(), Ordering::Relaxed);
        if waiting.saturating_add(line.len()) > WAITING_BYTES_MAX {
            self.waiting.fetch_sub(line.len(), Ordering::Relaxed);
            self.lost.fetch_add(1, Ordering::Relaxed);
        } else {
            // Whoever writes them ends with the process.
            let _ = self.queue.send(Part::Line(line.to_owned()));
        }
    }

    /// Says in the log how many lines it lacks, if any.
    fn tell_lost(&self) {
        let lines = self.lost.swap(0, Ordering::Relaxed);
        if lines > 0 {
            tracing::warn!(lines, "the log lacks lines: they came faster than standard error took them");
        }
    }
}

/// Each event comes as a whole.
impl Write for &Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.add(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes what is queued, without end.
fn write(lines: &Lines, queued: &Receiver<Part>, to: &mut dyn Write) {
    let mut is_taken = true;
    loop {
        let part = match queued.try_recv() {
            Err(TryRecvError::Empty) => {
                // A word about lost lines would be another one to lose, where none is taken.
                if is_taken {
                    lines.tell_lost();
                }
                queued.recv().ok()
            }
            part => part.ok(),
        };
        match part {
            Some(Part::Line(line)) => {
                is_taken = to.write_all(&line).and_then(|()| to.flush()).is_ok();
                if !is_taken {
                    lines.lost.fetch_add(1, Ordering::Relaxed);
                }
                lines.waiting.fetch_sub(line.len(), Ordering::Relaxed);
            }
            Some(Part::Flush(done)) => {
                let _ = done.send(());
            }
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    /// A reader that takes one line for each word that it's told: takes it, or breaks off.
    struct Reader {
        words: Receiver<io::Result<()>>,
        taken: Sender<String>,
    }

    impl Write for Reader {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.words.recv().unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))?;
            let _ = self.taken.send(String::from_utf8(line.to_vec()).unwrap());
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A log, what tells its reader to take lines, and what that has taken.
    fn log() -> (Log, Sender<io::Result<()>>, Receiver<String>) {
        let (lines, queued) = Lines::new();
        let ((take, words), (taken, seen)) = (mpsc::channel(), mpsc::channel());
        let written = Arc::clone(&lines);
        thread::spawn(move || {
            let to_itself = tracing_subscriber::fmt().with_ansi(false).with_writer(Arc::clone(&written));
            tracing::subscriber::with_default(to_itself.finish(), || {
                write(&written, &queued, &mut Reader { words, taken });
            });
        });
        (Log(lines), take, seen)
    }

    #[test]
    fn a_filter_that_would_leave_out_all_by_a_slip_is_refused() {
        let level = |text: &str| filter(text.as_ref()).unwrap().max_level_hint();
        for unset in ["", " ", ",", " , "] {
            assert_eq!(level(unset), Some(LevelFilter::INFO), "{unset:?}");
        }
        for (text, shown) in [
            ("debug", LevelFilter::DEBUG),
            (" WARN\n", LevelFilter::WARN),
            ("off", LevelFilter::OFF),
            ("warn, keybearer=debug,", LevelFilter::DEBUG),
            ("keybearer=debug,tool=info", LevelFilter::DEBUG),
            ("info,tool=trace", LevelFilter::TRACE),
        ] {
            assert_eq!(level(text), Some(shown), "{text:?}");
        }
        for (text, told) in [
            ("debugg", "\"debugg\" is no level"),
            ("keybearer", "\"keybearer\" is no level"),
            ("info,warning", "\"warning\" is no level"),
            ("info;tool", "\"info;tool\" is no level"),
            ("keybearer=debugg", "\"keybearer=debugg\": "),
            ("[", "\"[\": "),
        ] {
            let error = filter(text.as_ref()).unwrap_err().to_string();
            assert!(error.starts_with(&format!("KEYBEARER_LOG: {told}")), "{error}");
            assert!(error.contains("write off, error, warn, info, debug or trace"), "{error}");
        }
        assert!(
            filter(OsStr::from_bytes(b"\xff"))
                .unwrap_err()
                .to_string()
                .starts_with("KEYBEARER_LOG is no UTF-8")
        );
    }

    #[test]
    fn lines_that_nobody_takes_are_lost_and_counted_and_hold_up_nobody() {
        let (log, take, seen) = log();
        let line = "x".repeat(1 << 20);
        for _ in 0..10 {
            log.note(&line);
        }
        // A line is longer than a MiB by its end.
        let kept = 3;
        for _ in 0..=kept {
            take.send(Ok(())).unwrap();
        }
        for _ in 0..kept {
            assert_eq!(seen.recv().unwrap().len(), line.len() + 1);
        }
        let told = seen.recv().unwrap();
        assert!(told.contains("the log lacks lines") && told.contains("lines=7"), "{told}");
        take.send(Ok(())).unwrap();
        log.note("on it goes");
        assert_eq!(seen.recv().unwrap(), "on it goes\n");
    }

    #[test]
    fn a_reader_that_is_gone_is_told_nothing_more_until_it_is_back() {
        let (log, take, seen) = log();
        for _ in 0..3 {
            take.send(Err(io::ErrorKind::BrokenPipe.into())).unwrap();
            log.note("lost");
        }
        for _ in 0..2 {
            take.send(Ok(())).unwrap();
        }
        log.note("taken");
        assert_eq!(seen.recv().unwrap(), "taken\n");
        let told = seen.recv().unwrap();
        assert!(told.contains("lines=3"), "{told}");
    }

    #[test]
    fn the_end_waits_for_lines_and_not_for_long() {
        let (ending, take, seen) = log();
        take.send(Ok(())).unwrap();
        ending.note("stopped");
        drop(ending);
        assert_eq!(seen.try_recv().unwrap(), "stopped\n");

        let (stuck, _take, _seen) = log();
        stuck.note("never taken");
        drop(stuck);
    }
}
