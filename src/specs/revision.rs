//! Which revision the files are: what git or a link says, without running git.
//!
//! What is read may have been written by anybody, so it is bounded, checked, and only ever shown: digits of a commit, or one
//! name. It is a word for people; no decision is made from it.

use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::world::scan::{Place, Revision};

/// `HEAD`, a loose ref, `commondir` and a `.git` file are a line each.
const LINE_BYTES: u64 = 4 << 10;

/// A hundred refs a kilobyte or so: more than any repository of specs has.
const PACKED_REFS_BYTES: u64 = 4 << 20;

/// How many digits of a commit people read.
const SHORT: usize = 7;

/// The commit checked out around `place`; else what the last link on the way to it says; else what `..data` in it says.
pub(super) fn of(place: &Place, data_link: Option<&str>) -> Option<Revision> {
    let real = Path::new(&place.real);
    let commit = real.ancestors().find_map(git_directory).and_then(|git| commit(&git));
    let text = commit
        .map(|commit| commit.chars().take(SHORT).collect())
        .or_else(|| place.links.last().and_then(|link| last_name(&link.target)))
        .or_else(|| data_link.and_then(last_name))?;
    Some(Revision { text })
}

/// Where git keeps its data for a work tree, if this is the top of one. Worktrees and submodules have a file that says where.
fn git_directory(top: &Path) -> Option<PathBuf> {
    let git = top.join(".git");
    if git.is_dir() {
        return Some(git);
    }
    let line = read_bounded(&git, LINE_BYTES)?;
    Some(top.join(line.trim_end().strip_prefix("gitdir: ")?))
}

/// The commit that HEAD means.
fn commit(git: &Path) -> Option<String> {
    let head = read_bounded(&git.join("HEAD"), LINE_BYTES)?;
    let head = head.trim_end();
    let Some(name) = head.strip_prefix("ref: ") else { return commit_digits(head) };
    if !is_ref_name(name) {
        return None;
    }
    // A worktree has its own HEAD, and its branches where all of them have theirs.
    let common = read_bounded(&git.join("commondir"), LINE_BYTES)
        .map_or_else(|| git.to_path_buf(), |line| git.join(line.trim_end()));
    [git, common.as_path()]
        .iter()
        .find_map(|at| commit_digits(read_bounded(&at.join(name), LINE_BYTES)?.trim_end()))
        .or_else(|| packed(&read_bounded(&common.join("packed-refs"), PACKED_REFS_BYTES)?, name))
}

/// Looks a ref up in `packed-refs`: a commit, a space and a name a line.
pub(super) fn packed(text: &str, name: &str) -> Option<String> {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .find_map(|(commit, packed)| (packed == name).then(|| commit_digits(commit)).flatten())
}

/// SHA-1 or SHA-256 in hexadecimal, and nothing else.
pub(super) fn commit_digits(text: &str) -> Option<String> {
    let is_hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (matches!(text.len(), 40 | 64) && is_hex).then(|| text.to_owned())
}

/// A name below `refs/` that leads nowhere else.
pub(super) fn is_ref_name(name: &str) -> bool {
    name.starts_with("refs/")
        && name.split('/').all(|part| !matches!(part, "" | "." | ".."))
        && !name.chars().any(char::is_control)
}

/// The last part of a path, as far as it is fit to be shown.
pub(super) fn last_name(path: &str) -> Option<String> {
    let name = path.trim_end_matches('/').rsplit('/').next()?;
    let fit = !matches!(name, "" | "." | "..") && !name.chars().any(char::is_control);
    fit.then(|| name.chars().take(64).collect())
}

/// A regular file's text, if it is not longer. Opening it never waits.
fn read_bounded(path: &Path, most: u64) -> Option<String> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(i32::try_from(flags.bits()).ok()?)
        .open(path)
        .ok()?;
    let metadata = file.metadata().ok()?;
    if !metadata.is_file() || metadata.len() > most {
        return None;
    }
    let mut text = String::new();
    file.take(most).read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn a_commit_is_forty_or_sixty_four_digits_and_nothing_else() {
        assert_eq!(commit_digits(COMMIT).as_deref(), Some(COMMIT));
        assert!(commit_digits(&"a".repeat(64)).is_some());
        for text in [
            "",
            "main",
            &"A".repeat(40),
            &"g".repeat(40),
            &COMMIT[1..],
            "root:x:0:0:root:/root:/bin/sh",
        ] {
            assert_eq!(commit_digits(text), None, "{text}");
        }
    }

    #[test]
    fn a_ref_does_not_lead_out_of_refs() {
        assert!(is_ref_name("refs/heads/team/main"));
        for name in
            ["refs/../../secret", "/etc/passwd", "refs//x", "refs/heads/\u{1b}[2J", "HEAD", "refs/"]
        {
            assert!(!is_ref_name(name), "{name}");
        }
    }

    #[test]
    fn packed_refs_are_found_by_their_whole_name() {
        let text = format!(
            "# pack-refs with: peeled\n{COMMIT} refs/heads/main\n^{COMMIT}\nx refs/heads/b\n"
        );
        assert_eq!(packed(&text, "refs/heads/main").as_deref(), Some(COMMIT));
        assert_eq!(packed(&text, "refs/heads/mai"), None);
        assert_eq!(packed(&text, "refs/heads/b"), None);
    }

    #[test]
    fn only_a_name_that_is_fit_to_be_shown_is_a_revision() {
        assert_eq!(last_name("../.worktrees/abc1234/").as_deref(), Some("abc1234"));
        for path in ["", "..", "/", "a/\u{7}"] {
            assert_eq!(last_name(path), None, "{path}");
        }
    }
}
