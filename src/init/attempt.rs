//! What a run's init writes down: that its command was started, and how it ended.
//!
//! One file, made empty by the host for each attempt and mounted writable. A line is written before the command is started, so
//! that a container that somebody starts a second time does not run it again; another after its end, which says what the engine
//! may have forgotten by then. It is a file and no directory, since the agent is the same user and may write there as well: a
//! file can be longer than it should be, but no tree that nobody can take away. And whatever is in it, it only speaks of this run.
//!
//! Form: a JSON object a line, the last one counts:
//!
//! ```text
//! {"startedAt":"2026-11-27T03:00:00.123456789Z"}
//!
//! {"startedAt":"2026-11-27T03:00:00.123456789Z","finishedAt":"2026-11-27T03:01:00.5Z","exitCode":0}
//! ```

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};

use jiff::Timestamp;

use super::Failure;

/// The last line, and the bytes before it that say where it begins, are never longer than this.
pub const TAIL_BYTES: u64 = 1024;

/// An attempt whose command may be started, once.
#[derive(Debug)]
pub(super) struct Attempt {
    file: File,
    started: Timestamp,
}

impl Attempt {
    /// Notes that the command is about to be started. What cannot be noted must not be started: the engine's own word would be
    /// all that is left, and a start by hand would run it again.
    pub(super) fn begin(path: &OsStr) -> Result<Self, Failure> {
        let failed = |cause| Failure::Guard { path: path.to_string_lossy().into_owned(), cause };
        let mut file = OpenOptions::new().append(true).open(path).map_err(failed)?;
        let found = file.metadata().map_err(failed)?;
        if !found.is_file() {
            return Err(failed(io::Error::other("it is no regular file")));
        }
        if found.len() > 0 {
            return Err(Failure::StartedBefore);
        }
        let started = now();
        file.write_all(format!("{{\"startedAt\":\"{started}\"}}\n").as_bytes()).map_err(failed)?;
        Ok(Self { file, started })
    }

    /// Writes down how the command ended. It has ended all the same when that fails: the engine knows the code too.
    pub(super) fn end(mut self, code: u8) {
        let Self { started, .. } = self;
        let finished = now();
        // The first line break ends whatever the agent may have written.
        let line = format!(
            "\n{{\"startedAt\":\"{started}\",\"finishedAt\":\"{finished}\",\"exitCode\":{code}}}\n"
        );
        let written = self.file.write_all(line.as_bytes()).and_then(|()| self.file.sync_all());
        if let Err(cause) = written {
            drop(writeln!(io::stderr(), "chanop-init: failed to write down the end: {cause}"));
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a program of its own, in a container: nobody hands it the time"
)]
fn now() -> Timestamp {
    Timestamp::now()
}
