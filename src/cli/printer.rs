//! The only way to standard output and standard error.
//!
//! A closed pipe (`chanop get channels | head`) is no error: what is left unsaid was not wanted. Colour is for terminals
//! only, and [`plain`] keeps control characters of foreign text (agent output, labels, messages of the engine) off them.

use std::fmt::Display;
use std::io::{IsTerminal, Write};

/// Where a command writes.
#[derive(Debug, Clone, Copy)]
pub struct Printer {
    colour: bool,
}

impl Printer {
    /// Colour when standard output is a terminal and `NO_COLOR` is not set.
    pub fn new(no_color: bool) -> Self {
        Self { colour: !no_color && std::io::stdout().is_terminal() }
    }

    /// May escapes for colour be written?
    pub const fn colour(self) -> bool {
        self.colour
    }

    /// A line of the answer.
    pub fn out(self, line: impl Display) {
        let mut stdout = std::io::stdout().lock();
        let _closed_pipe = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
    }

    /// A line of an answer that goes on; false when nobody reads it any more.
    pub fn told(self, line: impl Display) -> bool {
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "{line}").and_then(|()| stdout.flush()).is_ok()
    }

    /// Part of the answer, as it is.
    pub fn raw(self, bytes: &[u8]) {
        let mut stdout = std::io::stdout().lock();
        let _closed_pipe = stdout.write_all(bytes).and_then(|()| stdout.flush());
    }

    /// What a command in a container wrote to its standard error, as it is.
    pub fn raw_err(self, bytes: &[u8]) {
        let mut stderr = std::io::stderr().lock();
        let _closed_pipe = stderr.write_all(bytes).and_then(|()| stderr.flush());
    }

    /// Is there somebody who watches, on whose screen a line may be drawn again and again? Not when either output is read
    /// by a program: what is drawn would stand in its midst.
    pub fn is_watched(self) -> bool {
        std::io::stdout().is_terminal() && std::io::stderr().is_terminal()
    }

    /// Draws the line below all others anew; an empty one takes it away. Only for who [`is_watched`](Self::is_watched).
    pub fn draw(self, line: &str) {
        let mut stderr = std::io::stderr().lock();
        let _closed = write!(stderr, "\r\x1b[2K{line}").and_then(|()| stderr.flush());
    }

    /// A line for the person: progress, a hint, an error.
    pub fn err(self, line: impl Display) {
        let mut stderr = std::io::stderr().lock();
        let _closed_pipe = writeln!(stderr, "{line}");
    }
}

/// `text` with every control character but newline and tab shown as an escape.
pub fn plain(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let shown: Vec<char> = if c.is_control() && c != '\n' && c != '\t' {
                c.escape_default().collect()
            } else {
                vec![c]
            };
            shown
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn escapes_never_reach_the_terminal() {
        assert_eq!(plain("a\x1b[2Jb\n\tc\u{9b}"), "a\\u{1b}[2Jb\n\tc\\u{9b}");
    }
}
