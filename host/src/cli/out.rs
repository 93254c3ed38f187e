//! Printing: text for people or JSON for machines, never both.

use std::io::{IsTerminal as _, Write as _};

use serde::Serialize;
use serde_json::json;

/// Where a command's output goes. Results go to standard output, everything else to standard error.
#[derive(Debug)]
pub(super) struct Out {
    json: bool,
}

impl Out {
    pub(super) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether machines read this.
    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    /// A line for people; nothing in JSON.
    pub(super) fn line(&self, text: impl AsRef<str>) {
        if !self.json {
            print_line(text.as_ref());
        }
    }

    /// A value for machines; nothing as text.
    pub(super) fn value(&self, value: &impl Serialize) {
        if self.json {
            print_line(&serde_json::to_string_pretty(value).unwrap_or_else(|error| error.to_string()));
        }
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
            print_line(padded.join("  ").trim_end());
        };
        line(&mut heads.iter().copied());
        for row in rows {
            line(&mut row.iter().map(String::as_str));
        }
    }

    /// An error and its causes.
    pub(super) fn error(&self, error: &anyhow::Error) {
        if self.json {
            print_line(&json!({ "error": format!("{error:#}") }).to_string());
        } else {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
        }
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

/// A closed pipe (`| head`) isn't an error worth a message.
fn print_line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
