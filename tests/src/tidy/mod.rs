//! Rules of the house that the compiler cannot check.
//!
//! Each rule takes text and returns violations, shown as `path:line: rule`. `tests/tidy.rs` holds the
//! repository against them; the unit tests here feed each rule a sample that breaks it.

pub mod crates;
pub mod fence;
pub mod layers;
pub mod source;
pub mod text;

use std::fmt;

/// One text file of the repository.
#[derive(Debug)]
pub struct File {
    /// Relative to the root, folders parted by `/`.
    pub path: String,
    /// All of it.
    pub text: String,
}

impl File {
    /// A file, or a sample of one.
    pub fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// A rule broken in this line.
    pub(crate) fn violation(&self, line: usize, rule: impl Into<String>) -> Violation {
        Violation { path: self.path.clone(), line, rule: rule.into() }
    }

    /// The lines of the text, counted from 1.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines())
    }

    /// Whether this is Rust source.
    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }
}

/// A broken rule, shown as `path:line: rule`.
#[derive(Debug)]
pub struct Violation {
    /// The file.
    pub path: String,
    /// Counted from 1.
    pub line: usize,
    /// What the line breaks.
    pub rule: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.rule)
    }
}

/// The rule found exactly one violation in a sample, in this line.
#[cfg(test)]
pub(crate) fn assert_rejected(violations: &[Violation], line: usize) {
    let lines: Vec<usize> = violations.iter().map(|v| v.line).collect();
    assert_eq!(lines, [line]);
}

/// The rule found nothing wrong with a sample.
#[cfg(test)]
pub(crate) fn assert_kept(violations: &[Violation]) {
    assert!(violations.is_empty(), "{violations:?}");
}
