//! How many tests a runner ran, read from what it wrote.

use std::ops::Add;

/// Tests that passed and failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub passed: u64,
    pub failed: u64,
}

impl Tally {
    pub(super) fn note(self) -> String {
        match self {
            Self { passed: 1, failed: 0 } => String::new(),
            Self { passed, failed: 0 } => format!("{passed} passed"),
            Self { passed, failed } => format!("{passed} passed, {failed} failed"),
        }
    }
}

impl Add for Tally {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { passed: self.passed + other.passed, failed: self.failed + other.failed }
    }
}

/// A command that checks one thing.
pub(super) fn one(_output: &str) -> Option<Tally> {
    Some(Tally { passed: 1, failed: 0 })
}

/// cargo-nextest's summary line, or all of libtest's.
pub(super) fn of_rust(output: &str) -> Option<Tally> {
    sum(output, |line| line.trim_start().starts_with("Summary ["))
        .or_else(|| sum(output, |line| line.starts_with("test result:")))
}

/// The last line of pytest: `3 failed, 5 passed in 1.20s`. An error counts as a failure.
pub(super) fn of_pytest(output: &str) -> Option<Tally> {
    let last = output.lines().rev().find(|line| {
        line.contains(" in ")
            && (line.contains("passed") || line.contains("failed") || line.contains("error"))
    })?;
    let errors = before(last, "error") + before(last, "errors");
    let tally = count(last);
    Some(Tally { failed: tally.failed + errors, ..tally })
}

/// The last line of `keybearer tool test`: `12 passed, 0 failed`.
pub(super) fn of_fixtures(output: &str) -> Option<Tally> {
    output.lines().rev().find(|line| line.contains(" passed")).map(count)
}

fn sum(output: &str, is_summary: impl Fn(&str) -> bool) -> Option<Tally> {
    output.lines().filter(|line| is_summary(line)).map(count).reduce(Tally::add)
}

fn count(line: &str) -> Tally {
    Tally { passed: before(line, "passed"), failed: before(line, "failed") + before(line, "timed") }
}

/// The number in front of a word: 5 for `passed` in `5 passed, 2 failed`.
fn before(line: &str, word: &str) -> u64 {
    let mut previous = "";
    for part in line.split_whitespace() {
        if part.trim_matches([',', ';', '.']) == word {
            return previous.parse().unwrap_or(0);
        }
        previous = part;
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(passed: u64, failed: u64) -> Option<Tally> {
        Some(Tally { passed, failed })
    }

    #[test]
    fn summaries_of_every_runner_are_read() {
        let nextest = "        PASS [   0.005s] a b\n     Summary [   4.100s] 7 tests run: 6 passed, 1 failed, 2 skipped\n";
        assert_eq!(of_rust(nextest), tally(6, 1));
        let libtest = "test result: ok. 3 passed; 0 failed; 0 ignored\n\ntest result: FAILED. 4 passed; 2 failed; 0 ignored\n";
        assert_eq!(of_rust(libtest), tally(7, 2));
        assert_eq!(of_pytest("....\n4 passed in 3.10s\n"), tally(4, 0));
        let workers = "bringing up nodes...\n\n.. [100%]\n506 passed, 23 warnings in 170.09s (0:02:50)\n";
        assert_eq!(of_pytest(workers), tally(506, 0));
        assert_eq!(of_pytest("501 passed, 23 warnings, 6 errors in 533.32s (0:08:53)\n"), tally(501, 6));
        assert_eq!(of_pytest("FAILED x\n1 failed, 3 passed, 1 error in 3.10s\n"), tally(3, 2));
        assert_eq!(of_fixtures("ok a\n12 passed, 3 failed\n"), tally(12, 3));
    }

    #[test]
    fn a_runner_that_timed_out_has_failed() {
        let summary = "     Summary [ 60.000s] 3 tests run: 1 passed, 1 failed, 1 timed out, 0 skipped\n";
        assert_eq!(of_rust(summary), tally(1, 2));
    }

    #[test]
    fn silence_is_no_summary() {
        assert_eq!(of_rust("error: could not compile\n"), None);
        assert_eq!(of_pytest(""), None);
        assert_eq!(of_fixtures("nothing to test\n"), None);
    }
}
