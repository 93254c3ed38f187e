//! The system's limit on a file's size (`ulimit -f`).

use tokio::signal::unix::{SignalKind, signal};

use super::context::runtime;

/// Has a write past that limit fail as it does on a full disk. By itself, the system would end the process with SIGXFSZ.
pub(super) fn fails_the_write() {
    // Once a signal was listened for, it ends this process no more, whatever becomes of the runtime and the listener.
    // Where no runtime can be had, the command says why as soon as it needs one itself.
    if let Ok(runtime) = runtime() {
        let _inside = runtime.enter();
        let _ = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()));
    }
}
