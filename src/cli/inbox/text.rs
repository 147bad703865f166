//! Text of others, made fit for a terminal.
//!
//! It never shortens and never hides: what a terminal would obey is shown as its escape.

use std::fmt::Write as _;

/// Without what a terminal would obey; in JSON it means the same.
pub(in crate::cli) fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => printable.push(c),
            c if c.is_control() => {
                let _ = write!(printable, "\\u{:04x}", u32::from(c));
            }
            c => printable.push(c),
        }
    }
    printable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stranger_sent_cannot_command_a_terminal() {
        assert_eq!(printable("a\u{1b}[2J\u{9b}1m\u{7f}\r\n{\"é\"}"), "a\\u001b[2J\\u009b1m\\u007f\\u000d\n{\"é\"}");
    }
}
