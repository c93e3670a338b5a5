//! Init as PID 1: idling, or one command beneath it.
//!
//! The kernel drops every signal that PID 1 has no handler for, TERM too, so handlers come before all else; between exec
//! and that line a signal is lost, some tenths of a millisecond. Handlers (unlike a blocked mask) do not outlive exec, so the
//! command starts with the signals as the engine left them. When PID 1 ends, the kernel kills what is left.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, wait};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};
use signal_hook::iterator::Signals;

use super::attempt::Attempt;
use super::{Failure, command, mounts};

/// Ends an idle container. QUIT is among them because an image's STOPSIGNAL may be that.
const STOPPING: [i32; 3] = [SIGTERM, SIGINT, SIGQUIT];
/// Passed on to a command.
const FORWARDED: [i32; 7] = [SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGWINCH];

/// Idles until told to stop.
pub(super) fn idle(list: &Path) -> Result<u8, Failure> {
    let mut signals = listen(&STOPPING)?;
    mounts::verify(list)?;
    reap(None);
    for signal in signals.forever() {
        if signal != SIGCHLD {
            break;
        }
        reap(None);
    }
    Ok(0)
}

/// Runs a command, passes signals on to it and its exit code back. Orphans are reaped meanwhile. With a guard, once.
pub(super) fn run(
    list: &Path,
    stdin: Option<&OsStr>,
    guard: Option<&OsStr>,
    command: &[OsString],
) -> Result<u8, Failure> {
    let mut signals = listen(&FORWARDED)?;
    mounts::verify(list)?;
    let (program, mut command) = command::build(command)?;
    if let Some(path) = stdin {
        let file = File::open(path)
            .map_err(|cause| Failure::Stdin { path: path.to_string_lossy().into_owned(), cause })?;
        command.stdin(file);
    }
    let attempt = guard.map(Attempt::begin).transpose()?;
    let ended = spawn(program, command).map(|child| await_end(&mut signals, child));
    if let Some(attempt) = attempt {
        attempt.end(ended.as_ref().map_or_else(Failure::exit_code, |code| *code));
    }
    ended
}

/// Waited for by [`reap`] together with every orphan; `wait` of the standard library would race with that.
fn spawn(program: String, mut command: Command) -> Result<Option<Pid>, Failure> {
    let child = command.spawn().map_err(|cause| Failure::Command { program, cause })?;
    Ok(Pid::from_raw(child.id().cast_signed()))
}

/// Passes signals on to the command until it has ended; answers its exit code.
fn await_end(signals: &mut Signals, child: Option<Pid>) -> u8 {
    for signal in signals.forever() {
        if signal == SIGCHLD {
            if let Some(code) = reap(child) {
                return code;
            }
        } else if let (Some(pid), Some(signal)) = (child, Signal::from_named_raw(signal)) {
            // It may have ended just now; then CHLD follows.
            let _ = kill_process(pid, signal);
        }
    }
    super::EXIT_FAILED
}

fn listen(signals: &[i32]) -> Result<Signals, Failure> {
    Signals::new(signals.iter().chain(&[SIGCHLD]))
        .map_err(|cause| Failure::System { doing: "listen to signals", cause })
}

/// Takes every ended child; answers the exit code of the one that is meant.
fn reap(child: Option<Pid>) -> Option<u8> {
    let mut code = None;
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => {
                if Some(pid) == child {
                    code = Some(exit_code(status));
                }
            }
            Err(Errno::INTR) => {}
            Ok(None) | Err(_) => return code,
        }
    }
}

/// The code as a shell gives it: its own, or 128 and the signal.
fn exit_code(status: WaitStatus) -> u8 {
    let status = ExitStatus::from_raw(status.as_raw());
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(super::EXIT_FAILED)
}
