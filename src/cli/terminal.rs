//! The terminal while somebody works in a container: every key goes there, and its size with it.

use std::io::{IsTerminal, Stdin, Stdout};

use rustix::termios::{self, OptionalActions, Termios};

/// Raw mode, for as long as this lives. Every way out of the command drops it, a panic's too.
#[derive(Debug)]
pub(super) struct RawMode {
    before: Termios,
}

impl RawMode {
    /// Puts the terminal of standard input into raw mode.
    pub(super) fn enter() -> rustix::io::Result<Self> {
        let stdin = std::io::stdin();
        let before = termios::tcgetattr(&stdin)?;
        let mut raw = before.clone();
        raw.make_raw();
        termios::tcsetattr(&stdin, OptionalActions::Now, &raw)?;
        Ok(Self { before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // The terminal may be gone; then nobody misses its mode.
        let _gone = termios::tcsetattr(std::io::stdin(), OptionalActions::Now, &self.before);
    }
}

/// Are both ends terminals, so that a program can be worked with?
pub(super) fn is_interactive(stdin: &Stdin, stdout: &Stdout) -> bool {
    stdin.is_terminal() && stdout.is_terminal()
}

/// Rows and columns; `None` when the terminal does not say.
pub(super) fn size() -> Option<(u16, u16)> {
    let size = termios::tcgetwinsize(std::io::stdout()).ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
}
