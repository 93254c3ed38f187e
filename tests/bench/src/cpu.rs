//! Processor time and memory of this process, as Linux counts them.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

/// Threads whose name begins so make load or play the upstream: their time isn't the host's.
pub(crate) const LOAD: &str = "load";
/// The same for the upstream.
pub(crate) const UPSTREAM: &str = "upstream";

/// The processor time that each thread had used at one moment, in nanoseconds.
pub(crate) struct Cpu(HashMap<String, u64>);

impl Cpu {
    /// Reads it for all threads but those that make load or play the upstream.
    pub(crate) fn now() -> Self {
        let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
        let used = threads.filter_map(|thread| {
            let name = fs::read_to_string(thread.path().join("comm")).ok()?;
            let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            let nanoseconds = text.split(' ').next()?.parse().ok()?;
            let is_ours = !name.starts_with(LOAD) && !name.starts_with(UPSTREAM);
            is_ours.then(|| (thread.file_name().to_string_lossy().into_owned(), nanoseconds))
        });
        Self(used.collect())
    }

    /// What these threads have used since. Threads that have ended meanwhile are left out.
    pub(crate) fn elapsed(&self) -> Duration {
        let now = Self::now();
        let used = now.0.iter().map(|(id, used)| used - self.0.get(id).unwrap_or(&0).min(used));
        Duration::from_nanos(used.sum())
    }
}

/// The memory in use, in bytes.
pub(crate) fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes: u64 = line.and_then(|text| text.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0);
    kilobytes << 10
}
