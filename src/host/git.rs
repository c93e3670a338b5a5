//! The owner's git identity: a few values of their configuration, for `/etc/gitconfig` in containers.
//!
//! Name, email and the excludes file, never more: a credential helper, an `insteadOf` or a hook path of the host has no
//! business in a container. The reader is a small part of git's: sections, keys, quotes, comments, continued lines; what
//! it does not understand it skips, `include` too.
//!
//! The configuration may be a link (people keep their dotfiles in a repository, and that may be some channel's workspace). So an
//! excludes file counts only when the configuration that names it is no link: else an agent could name `~/.ssh/id_ed25519`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::beneath;
use crate::resource::Owner;

/// A configuration or excludes file is at most so long.
const MAX_BYTES: u64 = 256 * 1024;

/// What containers get.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct GitIdentity {
    name: Option<String>,
    email: Option<String>,
    /// The excludes file's content.
    pub(super) ignore: Vec<u8>,
}

impl GitIdentity {
    /// Reads the owner's configuration; what is missing or unreadable is left out.
    pub(super) fn of(owner: &Owner) -> Self {
        let home = Path::new(&owner.home);
        let mut identity = Self::default();
        let mut excludes = home.join(".config/git/ignore");
        // Later ones win, as in git.
        for path in [home.join(".config/git/config"), home.join(".gitconfig")] {
            let Ok(Some(bytes)) = beneath::read_through_links(&path, MAX_BYTES) else { continue };
            let is_real = beneath::look(&path).is_ok();
            for (key, value) in entries(&String::from_utf8_lossy(&bytes)) {
                match key.as_str() {
                    "user.name" => identity.name = Some(value),
                    "user.email" => identity.email = Some(value),
                    "core.excludesfile" if is_real => excludes = expand(home, &value),
                    _ => {}
                }
            }
        }
        identity.ignore = read_excludes(&excludes, owner);
        identity
    }

    /// The text of `/etc/gitconfig`.
    pub(super) fn config(&self, excludes: &str, workspace: &str) -> String {
        let mut text =
            String::from("# Written by chanop from the owner's configuration.\n[user]\n");
        // Writing to a String cannot fail.
        if let Some(name) = &self.name {
            let _ = writeln!(text, "\tname = {}", quoted(name));
        }
        if let Some(email) = &self.email {
            let _ = writeln!(text, "\temail = {}", quoted(email));
        }
        let _ = writeln!(text, "[core]\n\texcludesFile = {}", quoted(excludes));
        let _ = writeln!(text, "[safe]\n\tdirectory = {}", quoted(workspace));
        text
    }
}

fn expand(home: &Path, value: &str) -> PathBuf {
    value.strip_prefix("~/").map_or_else(|| home.join(value), |rest| home.join(rest))
}

/// The operator may be root: only what the owner could read anyway.
fn read_excludes(path: &Path, owner: &Owner) -> Vec<u8> {
    match beneath::read_path(path, MAX_BYTES) {
        Ok((stat, Some(bytes))) if stat.st_uid == owner.uid || stat.st_mode & 0o004 != 0 => bytes,
        _ => Vec::new(),
    }
}

fn quoted(value: &str) -> String {
    let mut text = String::from("\"");
    for character in value.chars() {
        match character {
            '"' | '\\' => text.extend(['\\', character]),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            _ if character.is_control() => {}
            _ => text.push(character),
        }
    }
    text.push('"');
    text
}

/// `section.key` in lower case and its value, in order. Keys of sections with a subsection are not among them.
pub(super) fn entries(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut section = None;
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let mut rest = line.trim_start();
        if let Some(header) = rest.strip_prefix('[') {
            let Some((name, after)) = header.split_once(']') else { continue };
            let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'));
            section = plain.then(|| name.to_ascii_lowercase());
            rest = after.trim_start();
        }
        let (Some(section), Some((key, raw))) = (&section, rest.split_once('=')) else { continue };
        let key = key.trim();
        if key.is_empty() || !key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
            continue;
        }
        let mut raw = raw.to_owned();
        // In place: a file of nothing but continued lines would else be copied once per line.
        while is_continued(&raw) {
            raw.pop();
            raw.push_str(lines.next().unwrap_or_default());
        }
        if let Some(value) = value_of(&raw) {
            found.push((format!("{section}.{}", key.to_ascii_lowercase()), value));
        }
    }
    found
}

/// Is the next line part of this one: does an odd number of backslashes end it?
fn is_continued(raw: &str) -> bool {
    let backslashes = raw.len() - raw.trim_end_matches('\\').len();
    backslashes % 2 == 1
}

/// Quotes, escapes and comments resolved. `None` when they make no value.
fn value_of(raw: &str) -> Option<String> {
    let mut value = String::new();
    // Blanks count only when something follows them.
    let mut blanks = String::new();
    let mut in_quotes = false;
    let mut characters = raw.trim_start().chars();
    while let Some(character) = characters.next() {
        let resolved = match character {
            '"' => {
                in_quotes = !in_quotes;
                continue;
            }
            '#' | ';' if !in_quotes => break,
            '\\' => match characters.next()? {
                'n' => '\n',
                't' => '\t',
                'b' => '\u{8}',
                escaped @ ('"' | '\\') => escaped,
                _ => return None,
            },
            ' ' | '\t' if !in_quotes => {
                blanks.push(character);
                continue;
            }
            other => other,
        };
        value.push_str(&std::mem::take(&mut blanks));
        value.push(resolved);
    }
    (!in_quotes && !value.is_empty()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_git_reads_them() {
        let text = r#"
# a comment
[user]
	name = Ada  Lovelace ; the first
	email = "ada@example.org" # hers
[User "work"]
	name = Other
[CORE]
	excludesFile = "~/ig\"nore"
	pager = less \
  -R
[credential]
	helper = store
[alias] x = y
broken
[user
	name = Not
"#;
        let found = entries(text);
        let get = |key: &str| {
            let mut values = found.iter().filter(|(k, _)| k == key).map(|(_, v)| v.as_str());
            values.next()
        };
        assert_eq!(get("user.name"), Some("Ada  Lovelace"));
        assert_eq!(get("user.email"), Some("ada@example.org"));
        assert_eq!(get("core.excludesfile"), Some("~/ig\"nore"));
        assert_eq!(get("core.pager"), Some("less   -R"));
        assert_eq!(get("alias.x"), Some("y"));
    }

    #[test]
    fn continued_lines_are_joined_in_one_pass() {
        let text = format!("[user]\n\tname = {}b\n", "a\\\n".repeat(60_000));
        let found = entries(&text);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].1, "a".repeat(60_000) + "b");
    }

    #[test]
    fn what_is_written_is_read_back() {
        let identity = GitIdentity {
            name: Some("A \"B\" \\ C # d".to_owned()),
            email: Some("a@b ; c\n[core]".to_owned()),
            ignore: vec![],
        };
        let found = entries(&identity.config("/x/ignore", "/home/u/a b"));
        assert_eq!(
            found,
            [
                ("user.name".to_owned(), "A \"B\" \\ C # d".to_owned()),
                ("user.email".to_owned(), "a@b ; c\n[core]".to_owned()),
                ("core.excludesfile".to_owned(), "/x/ignore".to_owned()),
                ("safe.directory".to_owned(), "/home/u/a b".to_owned()),
            ]
        );
    }

    #[test]
    fn a_value_with_an_open_quote_is_no_value() {
        assert_eq!(entries("[user]\nname = \"x\nemail = a\\q\n"), vec![]);
    }
}
