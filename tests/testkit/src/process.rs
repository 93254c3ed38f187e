//! Programs that a test starts. Each runs in a process group of its own and is gone, with all its children, when
//! the test ends, however it ends.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

const POLL: Duration = Duration::from_millis(10);

/// A program that was started. Dropping it kills it.
pub struct Program {
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts a program whose output and errors go to the file `log`. Its standard input is closed unless the
    /// command says otherwise.
    ///
    /// # Errors
    /// If the log can't be created or the program can't be started; the message names it.
    pub fn start(mut command: Command, log: &Path) -> io::Result<Self> {
        let out = File::create(log)?;
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command
            .stdin(Stdio::null())
            .stderr(out.try_clone()?)
            .stdout(out)
            .process_group(0)
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("can't start {name}: {error}")))?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// Its process id, which is the id of its group too.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written so far.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Waits until it answers `GET path` on this address with 200.
    ///
    /// # Errors
    /// If it ends before that, or the time is over; the message carries its log.
    pub fn wait_ready(&mut self, addr: SocketAddr, path: &str, within: Duration) -> io::Result<()> {
        let is_ready = || get(addr, path).is_ok_and(|reply| reply.starts_with("HTTP/1.1 200"));
        self.wait_for(within, |_| is_ready().then_some(()))
    }

    /// Waits until something is found in what it writes.
    ///
    /// # Errors
    /// If it ends before that, or the time is over; the message carries its log.
    pub fn hear<T>(&mut self, within: Duration, find: impl Fn(&str) -> Option<T>) -> io::Result<T> {
        self.wait_for(within, |program| find(&program.log()))
    }

    fn wait_for<T>(&mut self, within: Duration, find: impl Fn(&Self) -> Option<T>) -> io::Result<T> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(found) = find(self) {
                return Ok(found);
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(io::Error::other(format!("it ended with {status}:\n{}", self.log())));
            }
            if Instant::now() > deadline {
                let message = format!("not ready within {within:?}:\n{}", self.log());
                return Err(io::Error::new(io::ErrorKind::TimedOut, message));
            }
            sleep(POLL);
        }
    }

    /// Asks it to stop (SIGTERM) and waits.
    ///
    /// # Errors
    /// If it's still there when the time is over. It's killed then.
    pub fn stop(mut self, within: Duration) -> io::Result<ExitStatus> {
        self.signal(Signal::SIGTERM);
        self.wait(within)
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// If it's still there when the time is over.
    pub fn wait(&mut self, within: Duration) -> io::Result<ExitStatus> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                let message = format!("still running after {within:?}:\n{}", self.log());
                return Err(io::Error::new(io::ErrorKind::TimedOut, message));
            }
            sleep(POLL);
        }
    }

    /// Kills it at once (SIGKILL), as a power cut would.
    pub fn kill(mut self) {
        self.kill_group();
    }

    fn kill_group(&mut self) {
        self.signal(Signal::SIGKILL);
        self.child.wait().ok();
    }

    /// Signals the whole group. The id can't belong to anyone else: the group's leader is our child, and stays one
    /// until it is waited for.
    fn signal(&mut self, signal: Signal) {
        if let Ok(None) = self.child.try_wait()
            && let Ok(pid) = i32::try_from(self.child.id())
        {
            killpg(Pid::from_raw(pid), signal).ok();
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill_group();
    }
}

/// A port that was free a moment ago, for a program that can't take one that the system gives it. Somebody else may take
/// it by then.
///
/// # Errors
/// If loopback has none left.
pub fn free_port() -> io::Result<u16> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr().map(|addr| addr.port())
}

/// `GET path`, with a second's patience: the whole reply as text.
///
/// # Errors
/// If there's no connection, or the time is over.
pub fn get(addr: SocketAddr, path: &str) -> io::Result<String> {
    let patience = Duration::from_secs(1);
    let mut stream = TcpStream::connect_timeout(&addr, patience)?;
    stream.set_read_timeout(Some(patience))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n\r\n")?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    Ok(reply)
}
