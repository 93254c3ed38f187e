//! Processor time and memory, as Linux counts them: of this process, or of another one.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

/// Threads whose name begins so make load or play the upstream: their time isn't the host's.
pub(crate) const LOAD: &str = "load";
/// The same for the upstream.
pub(crate) const UPSTREAM: &str = "upstream";

/// What each thread had used at one moment.
pub(crate) struct Cpu {
    used: HashMap<String, Used>,
    /// Another program. `None`: this one.
    other: Option<u32>,
}

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
        let is_ours = |name: &str| !name.starts_with(LOAD) && !name.starts_with(UPSTREAM);
        Self { used: threads("self", is_ours).collect(), other: None }
    }

    /// Reads it for another program and its children.
    pub(crate) fn of(pid: u32) -> Self {
        let all = std::iter::once(pid).chain(children(pid));
        let used = all.flat_map(|pid| threads(&pid.to_string(), |_| true).collect::<Vec<_>>()).collect();
        Self { used, other: Some(pid) }
    }

    /// What these threads have used since. Threads that have ended meanwhile are left out.
    pub(crate) fn elapsed(&self) -> Used {
        let mut sum = Used::default();
        let now = self.other.map_or_else(Self::now, Self::of);
        for (id, now) in now.used {
            let before = self.used.get(&id).copied().unwrap_or_default();
            sum.ran += now.ran.saturating_sub(before.ran);
            sum.waited += now.waited.saturating_sub(before.waited);
        }
        sum
    }
}

/// The threads of a process whose names are wanted, and what they have used.
fn threads(pid: &str, is_wanted: impl Fn(&str) -> bool) -> impl Iterator<Item = (String, Used)> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    threads.filter_map(move |thread| {
        let name = fs::read_to_string(thread.path().join("comm")).ok()?;
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        let mut nanoseconds = text.split_whitespace().map(|word| word.parse().map(Duration::from_nanos));
        let (ran, waited) = (nanoseconds.next()?.ok()?, nanoseconds.next()?.ok()?);
        is_wanted(&name).then(|| (thread.file_name().to_string_lossy().into_owned(), Used { ran, waited }))
    })
}

/// The processes that this one has started.
fn children(pid: u32) -> impl Iterator<Item = u32> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter_map(move |process| {
        let status = fs::read_to_string(process.path().join("status")).ok()?;
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
        let is_child = parent.trim().parse() == Ok(pid);
        is_child.then(|| process.file_name().to_str()?.parse().ok()).flatten()
    })
}

/// The memory in use, in bytes.
pub(crate) fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes: u64 = line.and_then(|text| text.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0);
    kilobytes << 10
}
