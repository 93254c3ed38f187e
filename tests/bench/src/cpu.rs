//! Processor time and memory of this process, as Linux counts them.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

/// Threads whose name begins so make load or play the upstream: their time isn't the host's.
pub(crate) const LOAD: &str = "load";
/// The same for the upstream.
pub(crate) const UPSTREAM: &str = "upstream";

/// What each thread had used at one moment.
pub(crate) struct Cpu(HashMap<String, Used>);

/// Time of a thread, or of several.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Used {
    /// On a core.
    pub(crate) ran: Duration,
    /// Ready to run, while other threads and programs had the cores.
    pub(crate) waited: Duration,
}

impl Cpu {
    /// Reads it for all threads but those that make load or play the upstream.
    pub(crate) fn now() -> Self {
        let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
        let used = threads.filter_map(|thread| {
            let name = fs::read_to_string(thread.path().join("comm")).ok()?;
            let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            let mut nanoseconds = text.split_whitespace().map(|word| word.parse().map(Duration::from_nanos));
            let (ran, waited) = (nanoseconds.next()?.ok()?, nanoseconds.next()?.ok()?);
            let is_ours = !name.starts_with(LOAD) && !name.starts_with(UPSTREAM);
            is_ours.then(|| (thread.file_name().to_string_lossy().into_owned(), Used { ran, waited }))
        });
        Self(used.collect())
    }

    /// What these threads have used since. Threads that have ended meanwhile are left out.
    pub(crate) fn elapsed(&self) -> Used {
        let mut sum = Used::default();
        for (id, now) in Self::now().0 {
            let before = self.0.get(&id).copied().unwrap_or_default();
            sum.ran += now.ran.saturating_sub(before.ran);
            sum.waited += now.waited.saturating_sub(before.waited);
        }
        sum
    }
}

/// The memory in use, in bytes.
pub(crate) fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes: u64 = line.and_then(|text| text.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0);
    kilobytes << 10
}
