//! Printing: text for people or JSON for machines, never both.

use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::sync::OnceLock;

use serde::Serialize;
use serde_json::json;

/// Where a command's output goes. Results go to standard output, everything else to standard error.
#[derive(Debug)]
pub(super) struct Out {
    json: bool,
    /// Why standard output took no more. What comes after that isn't tried: half a result looks like a whole one.
    failed: OnceLock<std::io::Error>,
}

impl Out {
    pub(super) fn new(json: bool) -> Self {
        Self { json, failed: OnceLock::new() }
    }

    /// Whether machines read this.
    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    /// A line for people; nothing in JSON.
    pub(super) fn line(&self, text: impl AsRef<str>) {
        if !self.json {
            self.print(text.as_ref());
        }
    }

    /// A value for machines; nothing as text.
    pub(super) fn value(&self, value: &impl Serialize) {
        if self.json {
            self.print(&serde_json::to_string_pretty(value).unwrap_or_else(|error| error.to_string()));
        }
    }

    /// Bytes as they are, for people and machines alike.
    pub(super) fn bytes(&self, bytes: &[u8]) {
        if self.failed.get().is_none()
            && let Err(error) = std::io::stdout().write_all(bytes).and_then(|()| std::io::stdout().flush())
        {
            let _ = self.failed.set(error);
        }
    }

    /// Whether everything so far was written.
    ///
    /// # Errors
    /// Why not. A closed pipe is among the reasons.
    pub(super) fn written(&self) -> anyhow::Result<()> {
        match self.failed.get() {
            None => Ok(()),
            Some(error) => Err(anyhow::anyhow!("standard output can't be written: {error}")),
        }
    }

    /// As [`Self::written`] at the end of a command. A closed pipe (`| head`) isn't an error then.
    ///
    /// # Errors
    /// Any other reason.
    pub(super) fn finished(&self) -> anyhow::Result<()> {
        let closed = self.failed.get().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe);
        if closed { Ok(()) } else { self.written() }
    }

    /// A note on progress: to standard error, so that it never mixes with results.
    pub(super) fn note(&self, text: impl AsRef<str>) {
        let _ = writeln!(std::io::stderr(), "{}", text.as_ref());
    }

    /// A table for people: the widths follow the cells.
    pub(super) fn table(&self, heads: &[&str], rows: &[Vec<String>]) {
        if self.json {
            return;
        }
        let width = |column: usize| {
            let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
            cells.chain(heads.get(column).map(|head| head.len())).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..heads.len()).map(width).collect();
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let padded: Vec<String> =
                cells.zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            self.print(padded.join("  ").trim_end());
        };
        line(&mut heads.iter().copied());
        for row in rows {
            line(&mut row.iter().map(String::as_str));
        }
    }

    /// An error and its causes.
    pub(super) fn error(&self, error: &anyhow::Error) {
        if self.json {
            self.print(&json!({ "error": format!("{error:#}") }).to_string());
        }
        if !self.json || self.failed.get().is_some() {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
        }
    }

    fn print(&self, text: &str) {
        self.bytes(format!("{text}\n").as_bytes());
    }

    /// Asks for a line. `None` where no person sits at the terminal: what is piped in is no answer.
    pub(super) fn ask(&self, question: &str) -> Option<String> {
        if !std::io::stdin().is_terminal() {
            return None;
        }
        let _ = write!(std::io::stderr(), "{question}");
        let _ = std::io::stderr().flush();
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).ok().map(|_| answer)
    }

    /// Asks a yes-or-no question. No is the answer where no person sits at the terminal.
    pub(super) fn confirm(&self, question: &str) -> bool {
        if !std::io::stdin().is_terminal() {
            return false;
        }
        let _ = write!(std::io::stderr(), "{question} [y/N] ");
        let _ = std::io::stderr().flush();
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
    }
}

/// Whatever it takes, it seems to have written: [`Out::finished`] says whether it has.
impl std::io::Write for &Out {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.bytes(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
