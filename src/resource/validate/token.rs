//! Texts that look like secrets: found by their shape, and never repeated.
//!
//! A false alarm costs its author an indirection; a token in Git costs more. Shapes are those that issuers document and
//! that nothing else has. Everything that prints a piece of a spec passes it through [`redact`] first.

/// What stands where a secret stood.
const MASK: &str = "«redacted»";

/// What kind of secret `text` holds, in words; `None` when it looks like none.
pub fn kind_of(text: &str) -> Option<&'static str> {
    find(text).map(|found| found.kind)
}

/// `text` with whatever looks like a secret replaced.
pub fn redact(text: &str) -> String {
    let mut rest = text;
    let mut out = String::with_capacity(text.len());
    while let Some(found) = find(rest) {
        let (head, tail) = rest.split_at(found.start);
        out.push_str(head);
        out.push_str(MASK);
        rest = tail.get(found.length..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

/// `line` with every long run of base64 replaced: for the lines of a file that holds a private key.
pub fn redact_base64(line: &str) -> String {
    /// A line of a PEM file has 64.
    const RUN_MIN: usize = 32;
    let base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | '-' | '_');
    let mut out = String::new();
    let mut rest = line;
    while !rest.is_empty() {
        let run = rest.find(|c| !base64(c)).unwrap_or(rest.len());
        let (word, tail) = rest.split_at(run);
        out.push_str(if run >= RUN_MIN { MASK } else { word });
        let other = tail.find(base64).unwrap_or(tail.len());
        let (gap, tail) = tail.split_at(other);
        out.push_str(gap);
        rest = tail;
    }
    out
}

struct Found {
    kind: &'static str,
    start: usize,
    length: usize,
}

/// A prefix, how many characters of its alphabet must follow, and what it is.
const PREFIXES: &[(&str, usize, &str)] = &[
    ("sk-ant-", 8, "an Anthropic key"),
    ("sk-proj-", 20, "an OpenAI key"),
    ("sk_live_", 16, "a Stripe key"),
    ("ghp_", 16, "a GitHub token"),
    ("gho_", 16, "a GitHub token"),
    ("ghu_", 16, "a GitHub token"),
    ("ghs_", 16, "a GitHub token"),
    ("ghr_", 16, "a GitHub token"),
    ("github_pat_", 16, "a GitHub token"),
    ("glpat-", 16, "a GitLab token"),
    ("npm_", 30, "an npm token"),
    ("hf_", 30, "a Hugging Face token"),
    ("AKIA", 16, "an AWS access key"),
    ("ASIA", 16, "an AWS access key"),
    ("AIza", 30, "a Google API key"),
    ("ya29.", 20, "a Google access token"),
    ("xoxb-", 10, "a Slack token"),
    ("xoxp-", 10, "a Slack token"),
    ("xoxa-", 10, "a Slack token"),
    ("xoxr-", 10, "a Slack token"),
    ("xapp-", 10, "a Slack token"),
    ("dckr_pat_", 16, "a Docker Hub token"),
];

fn find(text: &str) -> Option<Found> {
    PREFIXES
        .iter()
        .filter_map(|(prefix, least, kind)| prefixed(text, prefix, *least, kind))
        .chain(pem(text))
        .chain(json_web_token(text))
        .chain(url_password(text))
        .min_by_key(|found| found.start)
}

fn prefixed(text: &str, prefix: &str, least: usize, kind: &'static str) -> Option<Found> {
    text.match_indices(prefix).find_map(|(start, _)| {
        let (head, tail) = text.split_at(start);
        if head.chars().next_back().is_some_and(char::is_alphanumeric) {
            return None;
        }
        let length = tail.find(|c: char| !is_token(c)).unwrap_or(tail.len());
        (length >= prefix.len() + least).then_some(Found { kind, start, length })
    })
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

fn pem(text: &str) -> Option<Found> {
    let kind = "a private key";
    text.match_indices("-----BEGIN ").find_map(|(start, _)| {
        let tail = text.get(start..)?;
        let head = tail.lines().next().unwrap_or_default();
        head.contains("PRIVATE KEY-----").then_some(Found { kind, start, length: tail.len() })
    })
}

/// Three base64url parts, of which the first two are JSON objects (`{"` is `eyJ`).
fn json_web_token(text: &str) -> Option<Found> {
    text.match_indices("eyJ").find_map(|(start, _)| {
        let tail = text.get(start..)?;
        let length = tail.find(|c: char| !is_token(c)).unwrap_or(tail.len());
        let parts: Vec<&str> = tail.get(..length)?.split('.').collect();
        let [header, claims, _signature] = parts.as_slice() else { return None };
        let looks = header.len() >= 10 && claims.starts_with("eyJ") && claims.len() >= 10;
        looks.then_some(Found { kind: "a JSON web token", start, length })
    })
}

/// `scheme://user:password@host`, unless the password is a reference such as `${PASSWORD}`.
fn url_password(text: &str) -> Option<Found> {
    text.match_indices("://").find_map(|(scheme, _)| {
        let start = scheme + 3;
        let tail = text.get(start..)?;
        let end = tail.find(|c: char| c.is_whitespace() || matches!(c, '/' | '"' | '\''));
        let authority = tail.get(..end.unwrap_or(tail.len()))?;
        let (userinfo, _host) = authority.rsplit_once('@')?;
        let (user, password) = userinfo.split_once(':')?;
        if password.is_empty() || password.starts_with('$') || password.starts_with('<') {
            return None;
        }
        let start = start + user.len() + 1;
        Some(Found { kind: "a password within a URL", start, length: password.len() })
    })
}

#[cfg(test)]
mod tests {
    use super::{kind_of, redact, redact_base64};

    /// Put together here, so that no scanner takes this file for a leak.
    fn samples() -> Vec<String> {
        let body = "Ab1".repeat(12);
        let mut all: Vec<String> =
            ["sk-ant-", "ghp_", "github_pat_", "glpat-", "AKIA", "AIza", "xoxb-", "xoxp-"]
                .iter()
                .map(|prefix| format!("{prefix}{body}"))
                .collect();
        all.push(format!("-----BEGIN OPENSSH {} KEY-----\n{body}\n", "PRIVATE"));
        all.push(format!("eyJ{body}.eyJ{body}.{body}"));
        all
    }

    #[test]
    fn every_known_shape_is_found_and_masked() {
        for sample in samples() {
            assert!(kind_of(&sample).is_some(), "{sample}");
            let masked = redact(&format!("value: {sample}"));
            assert_eq!(masked, "value: «redacted»");
        }
        assert_eq!(redact("https://me:hunter2@host/x"), "https://me:«redacted»@host/x");
    }

    #[test]
    fn ordinary_texts_are_left_alone() {
        for text in [
            "task-anthropic",
            "sk-ant-…",
            "ghp_",
            "risk-ant-hill-formation-study",
            "https://user@host/path",
            "postgres://app:${PASSWORD}@db/x",
            "postgres://host:5432/x",
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ] {
            assert_eq!(kind_of(text), None, "{text}");
            assert_eq!(redact(text), text);
        }
    }

    #[test]
    fn the_lines_of_a_key_are_masked_and_words_are_not() {
        let line = format!("   {}  # x", "Q".repeat(64));
        assert_eq!(redact_base64(&line), "   «redacted»  # x");
        assert_eq!(redact_base64("    name: payments"), "    name: payments");
    }
}
