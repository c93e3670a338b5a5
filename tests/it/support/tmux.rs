//! A terminal that a test types at and looks at: tmux, with a server of its own.

use std::path::PathBuf;

use super::operator::{Said, program};

/// One session of one server; the server goes with it.
pub(crate) struct Terminal {
    socket: PathBuf,
}

impl Terminal {
    /// A terminal of 110 columns and 40 rows in which `command`, a shell's text, runs; `socket` is its server's alone.
    pub(crate) fn open(socket: PathBuf, command: &str) -> Self {
        let terminal = Self { socket };
        let size = ["-x", "110", "-y", "40"];
        // The pane stays when its command has ended, so that its last words can be read.
        let stay = [";", "set-option", "-g", "remain-on-exit", "on"];
        let open = ["new-session", "-d"];
        terminal.tmux(&[&open[..], &size, &[command], &stay].concat()).well();
        terminal
    }

    /// What is on the screen, and what has left it.
    pub(crate) fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-S", "-"]).out
    }

    /// Types this text.
    pub(crate) fn types(&self, text: &str) {
        self.tmux(&["send-keys", "-l", text]).well();
    }

    /// Presses a key, by tmux's name for it.
    pub(crate) fn press(&self, key: &str) {
        self.tmux(&["send-keys", key]).well();
    }

    /// Another size.
    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        let (columns, rows) = (columns.to_string(), rows.to_string());
        self.tmux(&["resize-window", "-x", &columns, "-y", &rows]).well();
    }

    /// The process in it.
    pub(crate) fn pid(&self) -> i32 {
        let said = self.tmux(&["display-message", "-p", "#{pane_pid}"]).well();
        said.trim().parse().expect("tmux names a process")
    }

    fn tmux(&self, arguments: &[&str]) -> Said {
        let mut tmux = program("tmux");
        tmux.arg("-S").arg(&self.socket).args(["-f", "/dev/null"]).args(arguments);
        tmux.output().expect("this test needs tmux").into()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}
