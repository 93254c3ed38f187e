//! Programs that a chore runs. Each gets a process group of its own, so that it ends with all its children, and
//! every wait notices Ctrl-C.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::failure::{Failure, Outcome, cannot};

/// How often a wait looks again.
const POLL: Duration = Duration::from_millis(20);

/// How long a program may take to end after SIGTERM before it's killed.
const GRACE: Duration = Duration::from_secs(5);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From here on Ctrl-C, SIGTERM and SIGHUP end the chore in order: the wait in progress fails, and on the way out
/// each program that was started is stopped.
pub(crate) fn handle_interrupts() -> Outcome<()> {
    ctrlc::set_handler(|| INTERRUPTED.store(true, Ordering::Relaxed))
        .map_err(|error| Failure::Told(format!("can't listen for Ctrl-C: {error}")))
}

/// Sleeps for one poll; fails once the chore was interrupted.
pub(crate) fn pause() -> Outcome<()> {
    if INTERRUPTED.load(Ordering::Relaxed) {
        return Err(Failure::Interrupted);
    }
    sleep(POLL);
    Ok(())
}

/// A running program. Dropping it stops it.
pub(crate) struct Program {
    name: String,
    child: Child,
}

impl Program {
    /// Starts a command. Its standard input is a pipe that closes when this value is dropped: programs of ours end
    /// then by themselves, even if we were killed.
    pub(crate) fn start(mut command: Command) -> Outcome<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let spawned = command.stdin(Stdio::piped()).process_group(0).spawn();
        let child = spawned.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Failure::Told(format!("{name} isn't installed, or not on the PATH")),
            _ => Failure::Told(format!("can't start {name}: {error}")),
        })?;
        Ok(Self { name, child })
    }

    /// Starts a command whose output and errors both go to this file.
    pub(crate) fn start_into(mut command: Command, log: &Path) -> Outcome<Self> {
        let file = File::create(log).map_err(cannot("write", log))?;
        let errors = file.try_clone().map_err(cannot("write", log))?;
        command.stdout(file).stderr(errors);
        Self::start(command)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn stdin(&mut self) -> Option<std::process::ChildStdin> {
        self.child.stdin.take()
    }

    /// Its exit status, once it has ended.
    pub(crate) fn ended(&mut self) -> Outcome<Option<ExitStatus>> {
        self.child.try_wait().map_err(|error| Failure::Told(format!("can't wait for {}: {error}", self.name)))
    }

    /// Waits until it ends.
    pub(crate) fn wait(&mut self) -> Outcome<ExitStatus> {
        self.wait_while(|| Ok(()))
    }

    /// Waits until it ends, and does this at each look; if that fails, so does the wait.
    pub(crate) fn wait_while(&mut self, mut meanwhile: impl FnMut() -> Outcome<()>) -> Outcome<ExitStatus> {
        drop(self.child.stdin.take());
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            meanwhile()?;
            pause()?;
        }
    }

    /// Waits until it ends, and returns what it wrote to its pipes: output first, errors after.
    pub(crate) fn wait_with_output(mut self) -> Outcome<(ExitStatus, String)> {
        // One thread a pipe: a program that fills one while nobody reads it would never end.
        let (output, errors) = (self.child.stdout.take().map(reader), self.child.stderr.take().map(reader));
        let status = self.wait()?;
        let text = [output, errors].into_iter().flatten().filter_map(|thread| thread.join().ok()).collect();
        Ok((status, text))
    }

    fn signal(&self, signal: Signal) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            // Fails when the group is gone already, which is what we want.
            killpg(Pid::from_raw(pid), signal).ok();
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
            return;
        }
        self.signal(Signal::SIGTERM);
        let deadline = Instant::now() + GRACE;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                self.signal(Signal::SIGKILL);
                self.child.wait().ok();
                return;
            }
            sleep(POLL);
        }
    }
}

fn reader(mut pipe: impl Read + Send + 'static) -> JoinHandle<String> {
    spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).ok();
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};

    use nix::sys::signal::{kill, raise};

    use super::*;

    /// A shell that waits for a program of its own, and that one's id.
    fn with_a_child() -> (Program, Pid) {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 60 & echo $!; wait"]).stdout(Stdio::piped());
        let mut program = Program::start(command).expect("a shell");
        let (pipe, mut line) = (program.child.stdout.as_mut().expect("a pipe"), String::new());
        BufReader::new(pipe).read_line(&mut line).expect("a line");
        (program, Pid::from_raw(line.trim().parse().expect("an id")))
    }

    /// Waits until a program has ended. Where nobody asks what came of it, its entry stays.
    fn ends(id: Pid) -> bool {
        let is_gone = || {
            let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            stat.contains(") Z") || kill(id, None).is_err()
        };
        (0..500).any(|_| {
            sleep(POLL);
            is_gone()
        })
    }

    #[test]
    fn a_program_that_is_dropped_is_gone_with_its_children() {
        let (program, grandchild) = with_a_child();
        let child = Pid::from_raw(i32::try_from(program.pid()).expect("an id"));
        assert!(kill(child, None).is_ok() && kill(grandchild, None).is_ok());
        drop(program);
        assert!(kill(child, None).is_err() && ends(grandchild));
    }

    // No other test here waits by `pause`: from here on it fails.
    #[test]
    fn ctrl_c_ends_a_wait_and_so_what_was_waited_for() {
        handle_interrupts().expect("nobody else does");
        let (mut program, grandchild) = with_a_child();
        pause().expect("nobody has pressed it yet");
        raise(Signal::SIGINT).expect("a signal to ourselves");
        let waited = program.wait();
        assert!(matches!(waited, Err(Failure::Interrupted)), "{waited:?}");
        drop(program);
        assert!(ends(grandchild));
    }
}
