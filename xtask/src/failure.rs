//! How a chore fails.

use std::fmt;
use std::io;
use std::path::Path;
use std::process::ExitCode;

/// What most functions here return.
pub(crate) type Outcome<T> = Result<T, Failure>;

/// Why a chore didn't get to its end.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It went wrong; the text says what and, where that is known, what to do.
    Told(String),
    /// Tests failed, and were counted on the last line.
    Counted,
    /// Ctrl-C, or a request to end.
    Interrupted,
    /// The command line makes no sense.
    Usage(&'static str),
}

impl Failure {
    pub(crate) fn usage(usage: &'static str) -> Self {
        Self::Usage(usage)
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Told(_) | Self::Counted => ExitCode::from(1),
            Self::Usage(_) => ExitCode::from(2),
            // As a shell reports a program that SIGINT ended.
            Self::Interrupted => ExitCode::from(130),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Told(text) => f.write_str(text),
            Self::Counted => Ok(()),
            Self::Interrupted => f.write_str("interrupted: everything that was started is stopped"),
            Self::Usage(usage) => f.write_str(usage),
        }
    }
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self::Told(text)
    }
}

/// `can't WHAT PATH: CAUSE`.
pub(crate) fn cannot<'p>(what: &'p str, path: &'p Path) -> impl Fn(io::Error) -> Failure + 'p {
    move |error| Failure::Told(format!("can't {what} {}: {error}", path.display()))
}
