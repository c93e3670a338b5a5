//! The only way to standard output and standard error.
//!
//! A closed pipe (`chanop get channels | head`) is no error: what is left unsaid was not wanted. Colour is for terminals
//! only. Every line passes `safe`, which keeps the control, bidirectional and invisible characters of foreign text (agent
//! output, files, labels, messages of the engine) off them; only the colours of this program pass. [`plain`] is stricter, for text
//! that has none of our colours. What must stay byte for byte as it is (a command's output in a container, a transcript in a pipe)
//! is written with [`Printer::raw`].

use std::fmt::Display;
use std::io::{IsTerminal, Write};

use crate::resource::text::is_deceptive;

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
        let _closed_pipe = writeln!(stdout, "{}", safe(line)).and_then(|()| stdout.flush());
    }

    /// A line of an answer that goes on; false when nobody reads it any more.
    pub fn told(self, line: impl Display) -> bool {
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "{}", safe(line)).and_then(|()| stdout.flush()).is_ok()
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
        let _closed = write!(stderr, "\r\x1b[2K{}", safe(line)).and_then(|()| stderr.flush());
    }

    /// A line for the person: progress, a hint, an error.
    pub fn err(self, line: impl Display) {
        let mut stderr = std::io::stderr().lock();
        let _closed_pipe = writeln!(stderr, "{}", safe(line));
    }
}

/// `text` with every control, bidirectional and invisible character but newline and tab shown as an escape.
pub fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    text.chars().for_each(|c| push_plain(&mut shown, c));
    shown
}

fn push_plain(shown: &mut String, c: char) {
    if is_deceptive(c) && c != '\n' && c != '\t' {
        shown.extend(c.escape_unicode());
    } else {
        shown.push(c);
    }
}

/// A line as [`plain`] shows it, but for the colours of this program.
fn safe(line: impl Display) -> String {
    const COLOURS: [&str; 8] = [
        "\x1b[0m",
        "\x1b[1;31m",
        "\x1b[1;33m",
        "\x1b[31m",
        "\x1b[32m",
        "\x1b[33m",
        "\x1b[34m",
        "\x1b[35m",
    ];
    let line = line.to_string();
    let mut shown = String::with_capacity(line.len());
    let mut rest = line.as_str();
    while let Some(c) = rest.chars().next() {
        let colour = COLOURS.into_iter().find(|colour| rest.starts_with(colour));
        match colour {
            Some(colour) => shown.push_str(colour),
            None => push_plain(&mut shown, c),
        }
        rest = rest.get(colour.map_or(c.len_utf8(), str::len)..).unwrap_or_default();
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::{plain, safe};

    #[test]
    fn escapes_never_reach_the_terminal() {
        assert_eq!(plain("a\x1b[2Jb\n\tc\u{9b}"), "a\\u{1b}[2Jb\n\tc\\u{9b}");
    }

    #[test]
    fn text_that_reads_as_other_text_is_shown_escaped() {
        let text = "rm \u{202e}txt.exe\u{2066}\u{200b}\u{feff}\u{e0041}\u{2028}x";
        let shown = r"rm \u{202e}txt.exe\u{2066}\u{200b}\u{feff}\u{e0041}\u{2028}x";
        assert_eq!(plain(text), shown);
        assert_eq!(safe(text), shown);
        assert_eq!(plain("päß ✔ 日本 ❤\u{fe0f}"), "päß ✔ 日本 ❤\u{fe0f}");
    }

    #[test]
    fn every_line_of_the_printer_is_safe_and_keeps_our_colours() {
        assert_eq!(
            safe("\x1b[32mok\x1b[0m\x1b[2J\x1b]0;t\x07"),
            "\x1b[32mok\x1b[0m\\u{1b}[2J\\u{1b}]0;t\\u{7}"
        );
    }
}
