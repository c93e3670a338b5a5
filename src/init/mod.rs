//! What `chanop-init` does: the entrypoint of every container, and of every command that is exec'd into one.
//!
//! ```text
//! init idle                                 PID 1 of a shell: compares mounts, reaps, ends at TERM
//! init run [--guard FILE] [--stdin FILE] -- CMD…   PID 1 of a command: as idle, exports secrets, forwards signals, passes the code on
//! init exec [--login] -- [CMD…]             exports secrets and becomes CMD; --login: in a login shell's environment
//! init enter -- [CMD…]                      second half of --login, called by the login shell
//! init leash [--kill] -- SESSION            beside a terminal's exec: hangs up on it when its own input ends
//! ```
//!
//! It runs inside any image, even an empty one, so it needs nothing but the kernel: it is linked statically, opens no
//! library, looks up no user. It holds no privilege and needs none: it runs as the container's user, on a read-only root
//! file system, with every capability dropped.
//!
//! An exec'd command outlives the client that vanishes: the engine has no kill for an exec, keeps its terminal open, and a
//! pipe's end of file is an ordinary end of input. So the command itself cannot tell; for one at a terminal, `leash` does.
//! Any other ends by itself or with its container.
//!
//! `--stdin` is for what is too long for an argument, of which the kernel allows 128 KiB, or nobody's to read in the container's
//! settings: a file takes the place of the empty standard input that the engine gives. It is opened after the mounts were
//! compared, by the container's user.
//!
//! `--guard` is for a command that must never be started twice ([`attempt`]). Everything that can fail before it is tried first, so
//! that a command that was noted was started, or could not be; then its code is 126 or 127 in the note as well.
//!
//! A container outlives an upgrade of chanop and is started again with the newer init, so these words stay: what is
//! added must be optional.

pub mod attempt;
pub mod layout;
pub mod mounts;
pub mod secrets;

mod command;
mod leash;
mod login;
mod supervise;

use std::ffi::OsString;
use std::io::Write as _;

/// Exit code of a bad call, as `sysexits.h` has it.
const EXIT_USAGE: u8 = 64;
/// Exit code when init itself failed, as `docker run` has it.
const EXIT_FAILED: u8 = 125;

/// Why init ended without (or before) running anything.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(
        "usage: init idle | run [--guard FILE] [--stdin FILE] -- CMD… | exec [--login] -- [CMD…] | leash [--kill] -- SESSION: {0}"
    )]
    Usage(String),
    #[error(transparent)]
    Mounts(#[from] mounts::MountsError),
    #[error(transparent)]
    Secrets(#[from] secrets::SecretsError),
    #[error("failed to run {program}: {cause}")]
    Command { program: String, cause: std::io::Error },
    #[error("failed to open {path} as standard input: {cause}")]
    Stdin { path: String, cause: std::io::Error },
    #[error("failed to note the start in {path}, so nothing is started: {cause}")]
    Guard { path: String, cause: std::io::Error },
    #[error("the command was started before; it is never started twice")]
    StartedBefore,
    #[error("failed to {doing}: {cause}")]
    System { doing: &'static str, cause: std::io::Error },
}

impl Failure {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => EXIT_USAGE,
            Self::Mounts(_) => layout::EXIT_MOUNTS,
            Self::Command { cause, .. } if cause.kind() == std::io::ErrorKind::NotFound => 127,
            Self::Command { .. } => 126,
            Self::StartedBefore => layout::EXIT_STARTED_BEFORE,
            Self::Secrets(_) | Self::Stdin { .. } | Self::Guard { .. } | Self::System { .. } => {
                EXIT_FAILED
            }
        }
    }
}

/// Runs init with the process's arguments, its own name first; answers the exit code. `exec` does not return when it
/// succeeds.
pub fn main(arguments: impl Iterator<Item = OsString>) -> u8 {
    dispatch(arguments.skip(1)).unwrap_or_else(|failure| {
        // One line, whatever the cause's text holds: it is what `docker logs` and the condition show.
        let line = format!("chanop-init: {failure}").replace('\n', " ");
        drop(writeln!(std::io::stderr(), "{line}"));
        failure.exit_code()
    })
}

fn dispatch(mut arguments: impl Iterator<Item = OsString>) -> Result<u8, Failure> {
    let mode = arguments.next().unwrap_or_default();
    let mut list = OsString::from(layout::MOUNTS);
    let mut login = false;
    let mut kill = false;
    let mut stdin = None;
    let mut guard = None;
    let mut command = Vec::new();
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--") => {
                command.extend(arguments);
                break;
            }
            // For tests, and for looking at a list by hand.
            Some("--mounts") => list = arguments.next().unwrap_or_default(),
            Some("--login") => login = true,
            Some("--kill") => kill = true,
            Some("--stdin") => stdin = Some(arguments.next().unwrap_or_default()),
            Some("--guard") => guard = Some(arguments.next().unwrap_or_default()),
            _ => {
                let text = argument.to_string_lossy().into_owned();
                return Err(Failure::Usage(format!("`{text}` is unknown before `--`")));
            }
        }
    }
    match mode.to_str() {
        Some(mode) if mode != "run" && (stdin.is_some() || guard.is_some()) => {
            Err(Failure::Usage("`--stdin` and `--guard` are for `run` alone".to_owned()))
        }
        Some(mode) if mode != "leash" && kill => {
            Err(Failure::Usage("`--kill` is for `leash` alone".to_owned()))
        }
        Some("idle") if command.is_empty() => supervise::idle(list.as_ref()),
        Some("run") if !command.is_empty() => {
            supervise::run(list.as_ref(), stdin.as_deref(), guard.as_deref(), &command)
        }
        Some("exec") if login => login::start(&command),
        Some("exec") if !command.is_empty() => command::become_command(&command),
        Some("enter") => login::enter(&command),
        Some("leash") => match command.as_slice() {
            [session] => Ok(leash::hold(session, kill)),
            _ => Err(Failure::Usage("`leash` takes one word".to_owned())),
        },
        Some("idle" | "run" | "exec") => {
            Err(Failure::Usage("`idle` takes no command, the others need one".to_owned()))
        }
        _ => Err(Failure::Usage(format!("no mode `{}`", mode.to_string_lossy()))),
    }
}
