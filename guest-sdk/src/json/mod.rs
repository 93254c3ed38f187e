//! JSON without a tree: a reader that fills structs, a writer that appends to a string.
//!
//! A general parser would be most of a small tool's size. This one reads only what the derives ask for, skips the
//! rest of an upstream's reply without building it, and knows where in the text it is, so that an error can name
//! the field.

mod escape;
mod read;
mod write;

use std::fmt;

pub use read::{FromJson, Reader, read_field, take_field, unknown_field};
pub use write::{ObjectWriter, ToJson};

pub(crate) use write::{finite, write_string};

/// A text that isn't JSON, or not the JSON that was wanted; or a value that can't be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonError {
    /// From the root to the field, empty for the root itself: `lines[2].amount`.
    path: String,
    problem: String,
}

impl JsonError {
    /// An error at the value being read. Those around it add their names as it passes through them.
    pub fn new(problem: impl Into<String>) -> Self {
        Self { path: String::new(), problem: problem.into() }
    }

    /// The same error, seen from the object that holds the value under `name`.
    #[must_use]
    pub fn in_field(self, name: &str) -> Self {
        self.within(name)
    }

    /// The same error, seen from the array that holds the value.
    #[must_use]
    pub fn in_item(self, index: usize) -> Self {
        self.within(&format!("[{index}]"))
    }

    /// The field that was wrong, from the root: `lines[2].amount`. Empty for the root itself.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What was wrong with it.
    #[must_use]
    pub fn problem(&self) -> &str {
        &self.problem
    }

    fn within(mut self, step: &str) -> Self {
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{step}{dot}{}", self.path);
        self
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            return f.write_str(&self.problem);
        }
        write!(f, "`{}`: {}", self.path, self.problem)
    }
}

impl std::error::Error for JsonError {}

#[cfg(test)]
mod tests;
