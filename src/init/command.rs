//! The command that init runs or becomes, with the secrets in its environment, and the injected programs before the image's.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
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
    if let Some(path) = variable("PATH") {
        // The program itself is looked for there too.
        built.env("PATH", with_programs(path));
    }
    Ok((program.to_string_lossy().into_owned(), built))
}

/// Replaces init by the command; returns only when that failed.
pub(super) fn become_command(command: &[OsString]) -> Result<u8, Failure> {
    let (program, mut command) = build(command)?;
    Err(Failure::Command { program, cause: command.exec() })
}

/// PATH, with what was injected into this container first.
pub(super) fn with_programs(path: OsString) -> OsString {
    let injected = Path::new(layout::PROGRAMS).is_dir();
    if injected { before_others(layout::PROGRAMS, &path) } else { path }
}

/// A PATH with `directory` as its first entry, and there alone.
fn before_others(directory: &str, path: &OsStr) -> OsString {
    let directory = directory.as_bytes();
    let others = path.as_bytes().split(|byte| *byte == b':').filter(|entry| *entry != directory);
    let entries: Vec<&[u8]> = std::iter::once(directory).chain(others).collect();
    OsString::from_vec(entries.join(&b':'))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the environment that init was started with is what it passes on"
)]
pub(super) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_injected_comes_before_all_else_and_once() {
        let put = |path: &str| before_others("/in", OsStr::new(path)).into_string().unwrap();
        assert_eq!(put("/usr/bin:/bin"), "/in:/usr/bin:/bin");
        assert_eq!(put("/in:/usr/bin:/in:/bin"), "/in:/usr/bin:/bin");
        assert_eq!(put("/usr/in:/in/bin"), "/in:/usr/in:/in/bin");
    }
}
