//! A login shell that keeps the image's PATH.
//!
//! A login shell reads `/etc/profile`, and Debian's sets PATH anew: the image's own (`/usr/local/cargo/bin`, …) is gone.
//! So the way goes through two shells: a login shell that only reads its profiles and then calls init again (`enter`), which
//! puts the image's PATH in front of the profile's, and becomes the interactive shell or the command. No name or argument is
//! ever part of a script: the script is a constant.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use super::{Failure, command, layout};

/// Where the image's PATH is kept meanwhile.
const KEPT_PATH: &str = "CHANOP_PATH";
/// The shells that are looked for, the nicest first. What passwd says is of no use: it is ours, and knows no image.
const SHELLS: [&str; 2] = ["/bin/bash", "/bin/sh"];
/// `$0` is init, `$@` the command.
const SCRIPT: &str = r#"exec "$0" enter -- "$@""#;

/// Reads the profiles and goes on in [`enter`].
pub(super) fn start(command: &[OsString]) -> Result<u8, Failure> {
    let shell = shell()?;
    let mut words: Vec<OsString> = [shell, "-l", "-c", SCRIPT].map(OsString::from).into();
    words.push(own_path());
    words.extend_from_slice(command);
    let (program, mut login) = command::build(&words)?;
    if let Some(path) = command::variable("PATH") {
        login.env(KEPT_PATH, path);
    }
    become_it(program, login)
}

/// Becomes the command, or the interactive shell, with both PATHs.
pub(super) fn enter(command: &[OsString]) -> Result<u8, Failure> {
    let shell = shell()?;
    let words = if command.is_empty() { vec![shell.into()] } else { command.to_vec() };
    let (program, mut built) = command::build(&words)?;
    let (profile, image) = (command::variable("PATH"), command::variable(KEPT_PATH));
    let path = command::with_programs(merge_paths(profile.as_deref(), image.as_deref()));
    built.env_remove(KEPT_PATH).env("PATH", path).env("SHELL", shell);
    become_it(program, built)
}

fn become_it(program: String, mut command: std::process::Command) -> Result<u8, Failure> {
    use std::os::unix::process::CommandExt as _;
    Err(Failure::Command { program, cause: command.exec() })
}

fn shell() -> Result<&'static str, Failure> {
    SHELLS.into_iter().find(|shell| Path::new(shell).exists()).ok_or_else(|| Failure::Command {
        program: "a login shell".to_owned(),
        cause: std::io::Error::new(
            std::io::ErrorKind::NotFound,
            "the image has neither /bin/bash nor /bin/sh",
        ),
    })
}

/// This very program: tests run it from elsewhere, and without /proc it is where it always is.
fn own_path() -> OsString {
    std::env::current_exe().map_or_else(|_| layout::INIT.into(), Into::into)
}

/// The image's PATH, then what the profiles add to it.
fn merge_paths(profile: Option<&OsStr>, image: Option<&OsStr>) -> OsString {
    let mut merged: Vec<&[u8]> = Vec::new();
    for path in [image, profile].into_iter().flatten() {
        for entry in path.as_bytes().split(|byte| *byte == b':') {
            if !entry.is_empty() && !merged.contains(&entry) {
                merged.push(entry);
            }
        }
    }
    OsString::from_vec(merged.join(&b':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_images_path_comes_first_and_the_profiles_additions_follow() {
        let merge = |profile: &str, image: &str| {
            merge_paths(Some(OsStr::new(profile)), Some(OsStr::new(image))).into_string().unwrap()
        };
        assert_eq!(
            merge("/usr/bin:/bin:/home/u/.local/bin", "/usr/local/cargo/bin:/usr/bin:/bin"),
            "/usr/local/cargo/bin:/usr/bin:/bin:/home/u/.local/bin"
        );
        // An empty entry would mean the working directory.
        assert_eq!(merge(":/bin::", "/usr/bin:"), "/usr/bin:/bin");
        assert_eq!(merge_paths(None, None), "");
    }
}
