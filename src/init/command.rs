//! The command that init runs or becomes, with the secrets in its environment.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use super::{Failure, layout, secrets};

/// The command, to be looked up in PATH, with the secrets added to what it inherits.
pub(super) fn build(command: &[OsString]) -> Result<(String, Command), Failure> {
    let (program, arguments) = command
        .split_first()
        .ok_or_else(|| Failure::Usage("there is no command to run".to_owned()))?;
    let secrets = secrets::load(&Path::new(layout::SECRETS).join(layout::SECRETS_FILE))?;
    #[expect(
        clippy::disallowed_methods,
        reason = "running it is what init is for, inside the container"
    )]
    let mut built = Command::new(program);
    built.args(arguments).envs(secrets);
    Ok((program.to_string_lossy().into_owned(), built))
}

/// Replaces init by the command; returns only when that failed.
pub(super) fn become_command(command: &[OsString]) -> Result<u8, Failure> {
    let (program, mut command) = build(command)?;
    Err(Failure::Command { program, cause: command.exec() })
}
