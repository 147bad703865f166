//! What can be wrong with a configuration, as one sentence an operator can act on.
//!
//! A sentence names the key and says what to do; the file and the line come before it. It never holds
//! the value of a secret, nor anything that stood where a secret belongs.

use std::fmt;
use std::path::{Path, PathBuf};

/// Why a configuration was refused. `Display` is one line: `conf/gateway.toml:12: unknown key …`, or
/// `line 12: unknown key …` for a text that came from no file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    path: Option<PathBuf>,
    line: Option<usize>,
    sentence: String,
}

impl ConfigError {
    /// The line, counted from 1; `None` when something is missing from the file as a whole.
    pub fn line(&self) -> Option<usize> {
        self.line
    }

    /// The file itself could not be taken.
    pub(super) fn of_file(path: &Path, sentence: impl Into<String>) -> Self {
        Self { path: Some(path.to_owned()), line: None, sentence: sentence.into() }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_place(f, self.path.as_deref(), self.line)?;
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for ConfigError {}

/// A sentence about one place of the text, before file and line are known. Also used for warnings.
#[derive(Debug)]
pub(super) struct Fault {
    /// Byte offset into the text; `None`: the text as a whole.
    at: Option<usize>,
    sentence: String,
}

impl Fault {
    pub(super) fn at(offset: usize, sentence: impl Into<String>) -> Self {
        Self { at: Some(offset), sentence: sentence.into() }
    }

    pub(super) fn of_text(sentence: impl Into<String>) -> Self {
        Self { at: None, sentence: sentence.into() }
    }

    /// About something that stands in no text.
    pub(super) fn placeless(self) -> ConfigError {
        ConfigError { path: None, line: None, sentence: self.sentence }
    }

    /// Finds the line in the text that the offset belongs to.
    pub(super) fn locate(self, path: Option<&Path>, text: &str) -> ConfigError {
        let line = self.at.map(|offset| line_of(text, offset));
        ConfigError { path: path.map(Path::to_owned), line, sentence: self.sentence }
    }
}

/// The line of a byte offset, counted from 1.
fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

fn write_place(f: &mut fmt::Formatter<'_>, path: Option<&Path>, line: Option<usize>) -> fmt::Result {
    match (path, line) {
        (Some(path), Some(line)) => write!(f, "{}:{line}: ", path.display()),
        (Some(path), None) => write!(f, "{}: ", path.display()),
        (None, Some(line)) => write!(f, "line {line}: "),
        (None, None) => Ok(()),
    }
}

/// Something an operator wrote, quoted and cut, so that a sentence stays one line. Never for secrets.
pub(super) fn quote(written: &str) -> String {
    const LONGEST: usize = 64;
    let mut cut: String = written.chars().take(LONGEST).collect();
    if cut.len() < written.len() {
        cut.push('…');
    }
    format!("{cut:?}")
}

/// `a, b or c`.
pub(super) fn either<T: fmt::Display>(choices: &[T]) -> String {
    match choices {
        [] => String::new(),
        [only] => only.to_string(),
        [first @ .., last] => {
            let first: Vec<_> = first.iter().map(T::to_string).collect();
            format!("{} or {last}", first.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_names_the_line_it_starts_on() {
        let text = "a\nbb\r\nccc";
        for (offset, line) in [(0, 1), (1, 1), (2, 2), (4, 2), (6, 3), (9, 3), (999, 3)] {
            let error = Fault::at(offset, "x").locate(None, text);
            assert_eq!(error.line(), Some(line), "offset {offset}");
        }
    }

    #[test]
    fn file_and_line_come_first_where_they_are_known() {
        let path = Path::new("conf/gateway.toml");
        let shown = |fault: Fault, path| fault.locate(path, "a\nb").to_string();
        assert_eq!(shown(Fault::at(2, "x"), Some(path)), "conf/gateway.toml:2: x");
        assert_eq!(shown(Fault::of_text("x"), Some(path)), "conf/gateway.toml: x");
        assert_eq!(shown(Fault::at(2, "x"), None), "line 2: x");
        assert_eq!(shown(Fault::of_text("x"), None), "x");
    }

    #[test]
    fn what_is_quoted_stays_on_one_line_and_short() {
        assert_eq!(quote("a\nb\u{1b}"), r#""a\nb\u{1b}""#);
        assert!(quote(&"x".repeat(1000)).chars().count() < 70);
    }
}
