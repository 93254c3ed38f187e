//! Code that an agent wrote, as people are asked about it: all of it, line by line, or not at all.

use serde::{Deserialize, Serialize};

use super::shown;
use crate::digested::Digested;
use crate::ids::Digest;
use crate::refusal::{FailureReason, SendFailure};

/// The most bytes of code, or of a tool's arguments in canonical form, that people are asked about.
pub(super) const BYTES_MAX: usize = 64 << 10;
/// The most lines of it.
pub(super) const LINES_MAX: usize = 4_000;

/// A piece of code that runs by itself. It has no `Debug`: code is never logged.
#[derive(Clone, PartialEq, Eq)]
pub struct CodeBlock {
    /// Its language, in one spelling: `python`.
    pub language: String,
    /// The code.
    pub code: String,
}

/// A block of code as an approver reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShownCode {
    /// Its language.
    pub language: String,
    /// Its size.
    pub bytes: u32,
    /// All of its lines. Each is printable ASCII: `\\` is one backslash, and whatever else is no plain character is written as
    /// its number.
    pub lines: Vec<String>,
}

/// What can't be shown in full, so nobody can agree to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLong {
    pub(super) bytes: usize,
    pub(super) lines: usize,
}

/// Over languages and code, block by block: each with its length in front.
pub(super) fn digest(blocks: &[CodeBlock]) -> Digest {
    let mut digested = Digested::of(b"keybearer code 1\0");
    for CodeBlock { language, code } in blocks {
        digested.part(language.as_bytes());
        digested.part(code.as_bytes());
    }
    digested.digest()
}

/// All of the blocks.
///
/// # Errors
/// [`TooLong`]: together they're more than a person is shown.
pub(super) fn rendered(blocks: &[CodeBlock]) -> Result<Vec<ShownCode>, TooLong> {
    let bytes: usize = blocks.iter().map(|block| block.code.len()).sum();
    let lines: usize = blocks.iter().map(|block| lines_of(&block.code).count()).sum();
    TooLong::check(bytes, lines)?;
    let one = |block: &CodeBlock| ShownCode {
        language: shown::name(&block.language),
        bytes: u32::try_from(block.code.len()).unwrap_or(u32::MAX),
        lines: lines_of(&block.code).map(shown::code).collect(),
    };
    Ok(blocks.iter().map(one).collect())
}

impl TooLong {
    /// # Errors
    /// It's more than a person is shown.
    pub(super) fn check(bytes: usize, lines: usize) -> Result<(), Self> {
        if bytes > BYTES_MAX || lines > LINES_MAX { Err(Self { bytes, lines }) } else { Ok(()) }
    }

    /// What the agent hears.
    pub(super) fn failure(self) -> SendFailure {
        let Self { bytes, lines } = self;
        SendFailure::unsent(
            FailureReason::Denied,
            format!(
                "a person would have to approve this first, and can't be shown all of it: it has {bytes} bytes in {lines} lines, \
                 and at most {BYTES_MAX} bytes in {LINES_MAX} lines are shown; ask for less at once"
            ),
        )
    }
}

/// Its lines, where an interpreter of Python sees their ends: LF, CR and LF, or CR alone. An LF is left out; a CR stays, so that it's
/// seen.
fn lines_of(code: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(code);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(at) = next_break(text) else {
            rest = None;
            // What ends with the end of a line has no empty line behind it.
            return (!text.is_empty() || code.is_empty()).then_some(text);
        };
        rest = text.get(at..);
        text.get(..at).map(|line| line.strip_suffix('\n').unwrap_or(line))
    })
}

/// Where the next line begins, if this one comes to an end.
fn next_break(text: &str) -> Option<usize> {
    let at = text.find(['\n', '\r'])?;
    Some(if text.get(at..).is_some_and(|rest| rest.starts_with("\r\n")) { at + 2 } else { at + 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(code: &str) -> CodeBlock {
        CodeBlock { language: "python".to_owned(), code: code.to_owned() }
    }

    fn read(code: &str) -> Vec<String> {
        rendered(&[block(code)]).unwrap().remove(0).lines
    }

    #[test]
    fn every_line_is_there_and_ends_where_the_interpreter_says() {
        for (code, lines) in [
            ("", &[""][..]),
            ("a", &["a"]),
            ("a\n", &["a"]),
            ("a\n\nb", &["a", "", "b"]),
            ("\n", &[""]),
            ("if x:\n    pay()\n", &["if x:", "    pay()"]),
            ("a\r\nb", &[r"a\r", "b"]),
            // A comment ends here, and what follows runs.
            ("# nothing\rpay()", &[r"# nothing\r", "pay()"]),
            // Not so here: it's one line to the interpreter.
            ("# nothing\u{2028}pay()\u{85}\u{b}", &[r"# nothing\u{2028}pay()\u{85}\u{b}"]),
            ("a\n\r\nb\r", &["a", r"\r", r"b\r"]),
        ] {
            assert_eq!(read(code), lines, "{code:?}");
        }
    }

    #[test]
    fn what_is_too_long_is_not_shown_at_all() {
        assert!(rendered(&[block(&"x".repeat(BYTES_MAX))]).is_ok());
        let two = [block(&"x".repeat(BYTES_MAX)), block("x")];
        assert_eq!(rendered(&two), Err(TooLong { bytes: BYTES_MAX + 1, lines: 2 }));
        assert!(rendered(&[block(&"\n".repeat(LINES_MAX))]).is_ok());
        assert_eq!(rendered(&[block(&"\n".repeat(LINES_MAX + 1))]).unwrap_err().lines, LINES_MAX + 1);
        let said = TooLong { bytes: 70_000, lines: 2 }.failure();
        assert_eq!(said.reason, FailureReason::Denied);
        assert!(
            said.message.contains("it has 70000 bytes in 2 lines, and at most 65536 bytes"),
            "{}",
            said.message
        );
    }

    #[test]
    fn where_a_block_ends_and_its_language_are_part_of_the_digest() {
        let of = |blocks: &[(&str, &str)]| {
            let block = |(language, code): &(&str, &str)| CodeBlock {
                language: (*language).to_owned(),
                code: (*code).to_owned(),
            };
            digest(&blocks.iter().map(block).collect::<Vec<_>>())
        };
        let all = [
            of(&[]),
            of(&[("python", "ab")]),
            of(&[("python", "a"), ("python", "b")]),
            of(&[("python", "b"), ("python", "a")]),
            of(&[("pythona", "b")]),
            of(&[("python", "ab"), ("python", "")]),
            of(&[("python", "ab\n")]),
        ];
        for (index, one) in all.iter().enumerate() {
            assert!(!all[..index].contains(one), "{index}");
        }
    }
}
