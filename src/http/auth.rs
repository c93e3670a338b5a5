//! Who may do what over TCP: tokens, roles, and which role a request needs.
//!
//! The token file holds digests, so reading it gives nobody a token. Reading the file, and refusing one that others may
//! write, is the operator's; here its text is judged.

use std::collections::BTreeSet;
use std::fmt;

use http::Method;
use sha2::{Digest, Sha256};

use super::BASE;

/// What the bearer of a token may do. Each role may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Scrape metrics.
    Metrics,
    /// Read everything.
    Viewer,
    /// Also have shells and runs made, and runs ended.
    Runner,
    /// Also suspend, reconcile and let go of held removals and held runs.
    Admin,
}

impl Role {
    /// The word of the token file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Viewer => "viewer",
            Self::Runner => "runner",
            Self::Admin => "admin",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        let all = [Self::Metrics, Self::Viewer, Self::Runner, Self::Admin];
        all.into_iter().find(|role| role.as_str() == word)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A line of the token file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the token file: {problem}")]
pub struct TokenFileError {
    line: usize,
    problem: &'static str,
}

/// The tokens that count. Empty: nobody gets in by one.
#[derive(Clone, Default)]
pub struct Tokens {
    entries: Vec<Entry>,
}

#[derive(Clone)]
struct Entry {
    name: String,
    role: Role,
    digest: [u8; 32],
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.entries.iter().map(|entry| (&entry.name, entry.role));
        f.debug_map().entries(names).finish()
    }
}

impl Tokens {
    /// Parses `name:role:sha256` lines; empty ones and those that begin with `#` are skipped.
    pub fn parse(text: &str) -> Result<Self, TokenFileError> {
        let mut entries = vec![];
        let mut names = BTreeSet::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let entry = Entry::parse(line)
                .and_then(|entry| {
                    let is_new = names.insert(entry.name.clone());
                    is_new.then_some(entry).ok_or("the name stands there twice")
                })
                .map_err(|problem| TokenFileError { line: index + 1, problem })?;
            entries.push(entry);
        }
        Ok(Self { entries })
    }

    /// Are there none?
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whose token it is, and what they may do. Looks at every entry, whichever fits.
    pub(super) fn bearer(&self, token: &str) -> Option<(&str, Role)> {
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let mut found = None;
        for entry in &self.entries {
            if same(&entry.digest, &digest) {
                found = Some((entry.name.as_str(), entry.role));
            }
        }
        found
    }
}

impl Entry {
    fn parse(line: &str) -> Result<Self, &'static str> {
        let mut parts = line.splitn(3, ':');
        let (Some(name), Some(role), Some(hex)) = (parts.next(), parts.next(), parts.next()) else {
            return Err("a line is name:role:sha256");
        };
        let name_ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if name.is_empty() || !name.bytes().all(name_ok) {
            return Err("a name has letters, digits, `-`, `_` and `.`");
        }
        let role = Role::parse(role).ok_or("a role is metrics, viewer, runner or admin")?;
        let digest = digest_from_hex(hex).ok_or(
            "the third part is the token's SHA-256 in 64 hexadecimal digits (printf %s TOKEN | sha256sum)",
        )?;
        Ok(Self { name: name.to_owned(), role, digest })
    }
}

fn digest_from_hex(hex: &str) -> Option<[u8; 32]> {
    let mut digest = [0_u8; 32];
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).ok()?;
        // `from_str_radix` takes a sign.
        if !pair.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(digest)
}

/// Takes the same time wherever the two differ.
fn same(one: &[u8; 32], other: &[u8; 32]) -> bool {
    let difference = one.iter().zip(other).fold(0, |sum, (a, b)| sum | (a ^ b));
    std::hint::black_box(difference) == 0
}

/// The role that a request needs; `None`: anyone may.
pub(super) fn required_role(method: &Method, path: &str, metrics_auth: bool) -> Option<Role> {
    match path {
        "/metrics" => return metrics_auth.then_some(Role::Metrics),
        "/healthz" | "/livez" | "/readyz" => return None,
        _ => {}
    }
    if method == Method::GET || method == Method::HEAD {
        return Some(Role::Viewer);
    }
    let rest = path.strip_prefix(BASE).unwrap_or_default();
    let is_verb = |of: &str, verb: &str| rest.starts_with(of) && rest.ends_with(verb);
    let is_work =
        rest == "/runs" || is_verb("/runs/", "/cancel") || is_verb("/channels/", "/ensure");
    Some(if method == Method::POST && is_work { Role::Runner } else { Role::Admin })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

    #[test]
    fn a_token_file_says_whose_a_token_is() {
        let text = format!("# team\n\nci:runner:{SECRET}\n");
        let tokens = Tokens::parse(&text).unwrap();
        assert_eq!(tokens.bearer("secret"), Some(("ci", Role::Runner)));
        assert_eq!(tokens.bearer("Secret"), None);
        assert_eq!(tokens.bearer(""), None);
    }

    #[test]
    fn a_bad_line_is_named_by_its_number() {
        for (text, line) in [
            ("ci:runner", 1),
            ("\nci:root:00", 2),
            ("ci:admin:abc", 1),
            ("c i:admin:00", 1),
            (&format!("ci:admin:{}", "+f".repeat(32)), 1),
            (&format!("a:admin:{SECRET}\na:viewer:{SECRET}"), 2),
        ] {
            let error = Tokens::parse(text).unwrap_err();
            assert_eq!(error.line, line, "{error}");
        }
    }

    #[test]
    fn what_changes_something_needs_more_than_reading() {
        let role = |method: Method, path: &str| required_role(&method, path, false);
        assert_eq!(role(Method::GET, "/metrics"), None);
        assert_eq!(required_role(&Method::GET, "/metrics", true), Some(Role::Metrics));
        assert_eq!(required_role(&Method::GET, "/readyz", true), None);
        assert_eq!(role(Method::GET, "/metrics/"), Some(Role::Viewer));
        assert_eq!(role(Method::GET, &format!("{BASE}/channels")), Some(Role::Viewer));
        assert_eq!(role(Method::POST, &format!("{BASE}/channels/web/ensure")), Some(Role::Runner));
        assert_eq!(role(Method::POST, &format!("{BASE}/runs")), Some(Role::Runner));
        assert_eq!(role(Method::POST, &format!("{BASE}/runs/x/cancel")), Some(Role::Runner));
        assert_eq!(role(Method::POST, &format!("{BASE}/runs/x/release")), Some(Role::Admin));
        assert_eq!(role(Method::POST, &format!("{BASE}/operator/release")), Some(Role::Admin));
        assert_eq!(role(Method::GET, &format!("{BASE}/runs/x/turns")), Some(Role::Viewer));
        assert_eq!(role(Method::POST, "/runs"), Some(Role::Admin));
        assert_eq!(role(Method::POST, &format!("{BASE}/channels/web/suspend")), Some(Role::Admin));
        assert_eq!(role(Method::POST, &format!("{BASE}/operator/prune")), Some(Role::Admin));
        assert_eq!(role(Method::DELETE, &format!("{BASE}/channels/web/ensure")), Some(Role::Admin));
    }
}
