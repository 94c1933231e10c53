//! What is wrong with a file that people write: every problem with its line, not only the first.

use std::fmt;
use std::ops::Range;

use serde::de::DeserializeOwned;

/// One problem and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file's name, as the reader knows it.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, where the file holds expressions: [`Checking::with_columns`].
    pub column: Option<usize>,
    /// What is wrong there, with the fix.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:", self.file, self.line)?;
        if let Some(column) = self.column {
            write!(f, "{column}:")?;
        }
        write!(f, " {}", self.text)
    }
}

/// All problems of a file, in the order of its lines; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { "; " };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// A TOML file being checked: its text, and the problems found so far.
#[derive(Debug)]
pub struct Checking<'a> {
    file: &'a str,
    text: &'a str,
    columns: bool,
    found: Vec<Problem>,
}

impl<'a> Checking<'a> {
    /// Begins with a file's name (for messages) and its text.
    #[must_use]
    pub const fn new(file: &'a str, text: &'a str) -> Self {
        Self {
            file,
            text,
            columns: false,
            found: Vec::new(),
        }
    }

    /// Says the column of each problem, too.
    #[must_use]
    pub const fn with_columns(mut self) -> Self {
        self.columns = true;
        self
    }

    /// Reads the whole file into a `T`.
    ///
    /// # Errors
    /// What the parser found first; it does not go on after that.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Problems> {
        toml::from_str(self.text).map_err(|error| {
            let text = error.message().replace('\n', " ");
            Problems(vec![self.problem(&error.span().unwrap_or(0..0), text)])
        })
    }

    /// The bytes of the file in this range, as [`toml::Spanned`] gives it; empty if there are none.
    #[must_use]
    pub fn source(&self, span: Range<usize>) -> &'a str {
        self.text.get(span).unwrap_or_default()
    }

    /// Notes a problem at this range of the file.
    pub fn note(&mut self, span: &Range<usize>, text: impl Into<String>) {
        let problem = self.problem(span, text.into());
        self.found.push(problem);
    }

    /// The value, if nothing was noted.
    ///
    /// # Errors
    /// Everything that was noted, by line.
    pub fn finish<T>(mut self, value: T) -> Result<T, Problems> {
        if self.found.is_empty() {
            return Ok(value);
        }
        self.found.sort_by_key(|problem| (problem.line, problem.column));
        Err(Problems(self.found))
    }

    fn problem(&self, span: &Range<usize>, text: String) -> Problem {
        let before = &self.text.as_bytes()[..span.start.min(self.text.len())];
        let line_start = memchr::memrchr(b'\n', before).map_or(0, |at| at + 1);
        let column = 1 + String::from_utf8_lossy(&before[line_start..]).chars().count();
        Problem {
            file: self.file.to_owned(),
            line: 1 + memchr::memchr_iter(b'\n', before).count(),
            column: self.columns.then_some(column),
            text,
        }
    }
}
