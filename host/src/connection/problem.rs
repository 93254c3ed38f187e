//! What is wrong with connection files, each problem with its place.

use std::fmt;
use std::ops::Range;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file's name.
    pub file: String,
    /// The line, from 1. Zero when the problem is the file itself.
    pub line: usize,
    /// The column in characters, from 1. Zero when the problem is the file itself.
    pub column: usize,
    /// The key, dotted from the file's top. Empty for the file itself.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// Everything that is wrong, by file and place. Never empty as an error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Notes a problem of a file as a whole.
    pub(super) fn of_file(&mut self, file: &str, message: String) {
        self.0.push(Problem {
            file: file.to_owned(),
            line: 0,
            column: 0,
            key: String::new(),
            message,
            hint: None,
        });
    }

    /// `Ok` when nothing is wrong.
    ///
    /// # Errors
    /// The problems, sorted by file, line and column.
    pub(super) fn into_result(mut self) -> Result<(), Self> {
        if self.0.is_empty() {
            return Ok(());
        }
        self.0.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
        Err(self)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Line and column of a byte offset, both from 1.
pub(super) fn place(text: &str, span: &Range<usize>) -> (usize, usize) {
    let before = text.get(..span.start).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let column = before.get(line_start..).map_or(0, |line| line.chars().count());
    (before.matches('\n').count() + 1, column + 1)
}

/// The known word that `word` was most likely meant to be.
pub(super) fn did_you_mean<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    // A word cut short, or with something added, is near however long the rest is.
    let begins = |k: &str| word.len() >= 4 && (k.starts_with(word) || word.starts_with(k));
    known
        .iter()
        .map(|k| (distance(word, k), *k))
        .filter(|(far, k)| begins(k) || *far <= 1 + k.len().min(word.len()) / 3)
        .min_by_key(|(far, _)| *far)
        .map(|(_, k)| k)
}

/// How many letters have to be added, dropped, replaced or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let at = |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX - 1);
            let mut best =
                (at(&last, j) + usize::from(x != y)).min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            if swapped {
                best = best.min(at(&before_last, j - 1) + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_reads_like_a_compiler_s() {
        let problem = Problem {
            file: "stripe.toml".into(),
            line: 3,
            column: 5,
            key: "base_url".into(),
            message: "must be https".into(),
            hint: Some("write https://".into()),
        };
        assert_eq!(problem.to_string(), "stripe.toml:3:5: base_url: must be https\n  hint: write https://");
    }

    #[test]
    fn places_count_lines_and_characters() {
        assert_eq!(place("a = 1\né = 2", &(0..1)), (1, 1));
        assert_eq!(place("a = 1\né = 2", &(9..10)), (2, 3));
        assert_eq!(place("", &(0..0)), (1, 1));
    }

    #[test]
    fn near_words_are_suggested_and_far_ones_are_not() {
        let known = ["base_url", "secret", "attach", "operations"];
        assert_eq!(did_you_mean("baseurl", &known), Some("base_url"));
        assert_eq!(did_you_mean("secert", &known), Some("secret"));
        assert_eq!(did_you_mean("operation", &known), Some("operations"));
        assert_eq!(did_you_mean("colour", &known), None);
        assert_eq!(did_you_mean("total_ms", &["connect_ms_max", "total_ms_max"]), Some("total_ms_max"));
    }
}
