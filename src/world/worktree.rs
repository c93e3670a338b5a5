//! A git worktree or submodule as workspace: its `.git` is a file that names a directory elsewhere, without which git does not work.
//!
//! That directory is never mounted by itself. The file can be written by the agent, which would so choose what it gets. The way back that
//! git keeps (`worktrees/ID/gitdir` names the worktree) does not help: it outlives a worktree that was deleted without
//! `git worktree prune`, so an agent in a later directory of that path could still name that repository. So a person decides: the condition
//! says which entry of `spec.mounts` to add, and the policy judges that like any other.

use std::path::{Component, Path, PathBuf};

use super::facts::Facts;
use super::preparation::is_below;
use crate::resource::effective::{Effective, Mount, Owner};

/// A `.git` file is one line with a path; longer ones are not git's.
pub const MAX_BYTES: u64 = 4 * 1024 + 16;

/// The git directory that `directory` needs beside itself, from the content of its `.git` file: absolute and normal. `None`: none, or what
/// is written there is not git's. Links are not resolved.
pub fn needed_directory(directory: &str, content: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(content).ok()?;
    let written = text.strip_prefix("gitdir:")?.trim();
    if written.is_empty() || written.chars().any(|c| c.is_control() || is_invisible(c)) {
        return None;
    }
    let git_dir = normal(&Path::new(directory).join(written))?;
    let path = Path::new(&git_dir);
    // Of a worktree, the repository's own directory two levels up is needed as well.
    let of_worktree = path.parent().filter(|parent| parent.ends_with("worktrees"));
    let needed = of_worktree.and_then(Path::parent).unwrap_or(path).to_str()?.to_owned();
    let inside = needed == directory || is_below(&needed, directory);
    (!inside && needed != "/").then_some(needed)
}

/// For the condition: what is missing for git in the channel's directories, and what to add. One sentence for each.
pub fn missing(effective: &Effective, owner: &Owner, facts: &Facts) -> Vec<String> {
    let workspace = (effective.workspace.path.as_str(), effective.workspace.path.as_str());
    let binds: Vec<(&str, &str)> = effective
        .mounts
        .iter()
        .filter_map(|mount| match mount {
            Mount::Bind { source, target, .. } => Some((source.as_str(), target.as_str())),
            Mount::Volume { .. } | Mount::Tmpfs { .. } => None,
        })
        .chain([workspace])
        .collect();
    // Git finds it by the path in the file, so it must have the same path inside.
    let is_mounted = |needed: &str| {
        binds.iter().any(|(source, target)| {
            source == target && (needed == *source || is_below(needed, source))
        })
    };
    let mut sentences = Vec::new();
    for (source, target) in binds.iter().filter(|(source, target)| source == target) {
        let Some(needed) = facts.git.get(*source).filter(|needed| !is_mounted(needed)) else {
            continue;
        };
        let tilde = needed.strip_prefix(owner.home.as_str()).filter(|rest| rest.starts_with('/'));
        let what = format!("git does not work in {target}: its .git file names {needed}");
        sentences.push(match tilde {
            Some(rest) => format!(
                "{what}, which is not mounted. The agent can write that file: check that this is the right repository, then add to \
                 spec.mounts: {{type: bind, source: \"~{rest}\", target: \"~{rest}\", readOnly: false}}"
            ),
            None => format!("{what}, which is not below the owner's home and cannot be mounted"),
        });
    }
    sentences
}

/// Without `.` and `..`, by the text alone.
fn normal(path: &Path) -> Option<String> {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                normal.pop();
            }
            Component::CurDir | Component::Prefix(_) => {}
            Component::RootDir | Component::Normal(_) => normal.push(component),
        }
    }
    normal.into_os_string().into_string().ok().filter(|path| path.starts_with('/'))
}

/// Characters that change how the rest of a line looks.
const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_file_names_the_repository_that_is_needed() {
        for (content, needed) in [
            ("gitdir: /home/u/repo/.git/worktrees/w\n", Some("/home/u/repo/.git")),
            ("gitdir: ../repo/.git/worktrees/w\n", Some("/home/u/repo/.git")),
            ("gitdir: ../.git/modules/w\n", Some("/home/u/.git/modules/w")),
            ("gitdir: .git-real\n", None),
            ("gitdir: ./a/../b\n", None),
            ("gitdir: ../../../../../..\n", None),
            ("gitdir: /\n", None),
            ("gitdir: /worktrees/x\n", None),
            ("gitdir:\n", None),
            ("gitdir: /a\u{1b}[31m\n", None),
            ("gitdir: /a\nb\n", None),
            ("gitdir: /a\u{202e}b\n", None),
            ("something else", None),
            ("", None),
        ] {
            let found = needed_directory("/home/u/w", content.as_bytes());
            assert_eq!(found.as_deref(), needed, "{content:?}");
        }
        assert_eq!(needed_directory("/home/u/w", b"gitdir: /a\xff"), None);
    }
}
