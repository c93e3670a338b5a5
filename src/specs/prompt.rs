//! Reads a run's prompt beneath the spec directory.
//!
//! A link is followed as in a scan: within the directory, and never out of it. So a prompt can come by the same ways as a spec,
//! and none of the host's other files can be made one.

use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use super::beneath::{Beneath, NotFollowed, Target};
use super::limits::Limits;
use super::read::{NotRead, Permitted, read_file};

/// Why there is no prompt. Each in a sentence that begins with the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PromptError {
    /// There is no such file, or it cannot be read now.
    #[error("{0}")]
    NotThere(String),
    /// It is there, and is no prompt.
    #[error("{0}")]
    NoPrompt(String),
}

/// Reads `file`, relative to `root` and at most so long. Blocks on the file system.
pub fn read_prompt(root: &Path, file: &str, bytes_max: usize) -> Result<String, PromptError> {
    let not_there = |why: &str| PromptError::NotThere(format!("prompt {file} {why}"));
    let no_prompt = |why: &str| PromptError::NoPrompt(format!("prompt {file} {why}"));
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root_path = root;
    let root = openat(CWD, root, flags, Mode::empty()).map_err(|errno| {
        PromptError::NotThere(format!("the spec directory cannot be opened: {errno}"))
    })?;
    let path = Path::new(file);
    let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(no_prompt("is no file's name"));
    };
    let mut beneath = Beneath::new(root, root_path);
    let (directory, name) = match beneath.follow(above, name) {
        Ok(Target::File { directory, name, stat: _ }) => (directory, name),
        Ok(Target::Directory { .. }) => return Err(no_prompt("is a directory")),
        Err(why @ (NotFollowed::Outside | NotFollowed::NotPermitted(_))) => {
            return Err(no_prompt(&why.reason()));
        }
        Err(NotFollowed::Missing) => return Err(not_there("is not in the spec directory")),
        Err(NotFollowed::Failed(errno)) => {
            return Err(not_there(&format!("cannot be read: {errno}")));
        }
        Err(why) => return Err(not_there(&why.reason())),
    };
    let limits =
        Limits { file_bytes: u64::try_from(bytes_max).unwrap_or(u64::MAX), ..Limits::default() };
    let shown = beneath.shown(file);
    let permitted = Permitted { rule: beneath.rule(), path: &shown };
    let bytes = match read_file(&*directory, &name, &limits, &permitted) {
        Ok((_, bytes)) => bytes,
        Err(NotRead::Refused(why)) => return Err(no_prompt(&why)),
        Err(NotRead::Unstable) => return Err(not_there("changed each time that it was read")),
        Err(NotRead::Failed(Errno::NOENT)) => {
            return Err(not_there("is not in the spec directory"));
        }
        Err(NotRead::Failed(errno)) => {
            return Err(not_there(&format!("cannot be read: {errno}")));
        }
    };
    let text = String::from_utf8(bytes).map_err(|_| no_prompt("is not UTF-8"))?;
    if text.trim().is_empty() {
        return Err(no_prompt("is empty"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::claude::command::PROMPT_MAX;

    fn read_prompt(root: &Path, file: &str) -> Result<String, PromptError> {
        super::read_prompt(root, file, PROMPT_MAX)
    }

    #[test]
    fn a_prompt_is_read_through_links_within_the_directory_and_none_out_of_it() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("specs");
        fs::create_dir_all(root.join("v1/prompts")).unwrap();
        fs::write(root.join("v1/prompts/a.md"), "-do it\n").unwrap();
        fs::write(place.path().join("outside.md"), "secret").unwrap();
        // As a ConfigMap is mounted.
        symlink("v1", root.join("..data")).unwrap();
        symlink("..data/prompts", root.join("prompts")).unwrap();
        symlink("../outside.md", root.join("out.md")).unwrap();
        symlink(place.path(), root.join("away")).unwrap();
        symlink("gone.md", root.join("dangling.md")).unwrap();
        symlink("round.md", root.join("round.md")).unwrap();
        for file in ["v1/prompts/a.md", "prompts/a.md", "..data/prompts/a.md"] {
            assert_eq!(read_prompt(&root, file).unwrap(), "-do it\n", "{file}");
        }
        for file in ["out.md", "away/outside.md", "prompts/../../../outside.md", ".."] {
            let error = read_prompt(&root, file).unwrap_err();
            assert!(matches!(error, PromptError::NoPrompt(_)), "{file}: {error}");
        }
        for (file, why) in [
            ("gone.md", "prompt gone.md is not in the spec directory"),
            ("gone/a.md", "is not in the spec directory"),
            ("v1/prompts/a.md/b", "is not in the spec directory"),
            ("dangling.md", "is not in the spec directory"),
            ("round.md", "is a link that never ends"),
        ] {
            let error = read_prompt(&root, file).unwrap_err();
            assert!(matches!(error, PromptError::NotThere(_)), "{file}: {error}");
            assert!(error.to_string().contains(why), "{error}");
        }
        let nowhere = read_prompt(&place.path().join("x"), "a.md").unwrap_err();
        assert!(matches!(nowhere, PromptError::NotThere(_)), "{nowhere}");
    }

    #[test]
    fn prompts_that_others_can_write_are_not_used() {
        use std::os::unix::fs::PermissionsExt as _;

        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("a.md");
        fs::write(&file, "do it").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
        let error = read_prompt(place.path(), "a.md").unwrap_err();
        let said = format!(
            "prompt a.md can be written by everybody (mode 0666), so it is not used: chmod go-w {}",
            file.display()
        );
        assert_eq!(error, PromptError::NoPrompt(said));
    }

    #[test]
    fn what_is_no_text_or_no_file_is_no_prompt() {
        let place = tempfile::tempdir().unwrap();
        let put = |name: &str, bytes: &[u8]| fs::write(place.path().join(name), bytes).unwrap();
        put("latin", b"caf\xe9");
        put("blank", b" \n\t\n");
        put("most", &vec![b'x'; PROMPT_MAX]);
        put("long", &vec![b'x'; PROMPT_MAX + 1]);
        fs::create_dir(place.path().join("directory")).unwrap();
        rustix::fs::mknodat(
            CWD,
            place.path().join("pipe"),
            rustix::fs::FileType::Fifo,
            Mode::RUSR,
            0,
        )
        .unwrap();
        assert_eq!(read_prompt(place.path(), "most").unwrap().len(), PROMPT_MAX);
        for (file, why) in [
            ("latin", "prompt latin is not UTF-8"),
            ("blank", "prompt blank is empty"),
            ("long", "prompt long is larger than 10 MiB"),
            ("directory", "prompt directory is a directory"),
            ("pipe", "prompt pipe is a named pipe, not a regular file"),
        ] {
            let error = read_prompt(place.path(), file).unwrap_err();
            assert_eq!(error, PromptError::NoPrompt(why.to_owned()));
        }
    }
}
