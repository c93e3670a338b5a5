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

/// `text` with whatever looks like a secret replaced. Takes time linear in the text, whatever is in it.
pub fn redact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    let mut search = Search::new(text);
    while let Some(found) = search.next_from(at) {
        out.push_str(text.get(at..found.start).unwrap_or_default());
        out.push_str(MASK);
        at = found.start + found.length;
    }
    out.push_str(text.get(at..).unwrap_or_default());
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

#[derive(Clone, Copy)]
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

/// How many shapes there are: the prefixes and three others.
const SHAPES: usize = PREFIXES.len() + 3;

/// The next secret of each shape. A shape is searched for again only behind its last finding, so that a text full of secrets
/// is not read once per secret.
struct Search<'t> {
    text: &'t str,
    /// `None` when a shape has no further finding.
    next: [Option<Found>; SHAPES],
}

impl<'t> Search<'t> {
    fn new(text: &'t str) -> Self {
        Self { text, next: std::array::from_fn(|shape| find_shape(text, 0, shape)) }
    }

    /// The first secret that begins at or after `at`, which must not decrease between calls.
    fn next_from(&mut self, at: usize) -> Option<Found> {
        for (shape, next) in self.next.iter_mut().enumerate() {
            if next.is_some_and(|found| found.start < at) {
                *next = find_shape(self.text, at, shape);
            }
        }
        self.next.iter().flatten().min_by_key(|found| found.start).copied()
    }
}

fn find(text: &str) -> Option<Found> {
    (0..SHAPES).filter_map(|shape| find_shape(text, 0, shape)).min_by_key(|found| found.start)
}

/// The first secret of one shape in `text` from `at` on.
fn find_shape(text: &str, at: usize, shape: usize) -> Option<Found> {
    let rest = text.get(at..)?;
    let found = match PREFIXES.get(shape) {
        Some((prefix, least, kind)) => prefixed(rest, prefix, *least, kind),
        None => match shape - PREFIXES.len() {
            0 => pem(rest),
            1 => json_web_token(rest),
            _ => url_password(rest),
        },
    }?;
    Some(Found { start: at + found.start, ..found })
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
    /// `-----BEGIN OPENSSH PRIVATE KEY-----` has 35; a line of any length is not searched for each of its beginnings.
    const HEAD_BYTES_MAX: usize = 80;
    let kind = "a private key";
    text.match_indices("-----BEGIN ").find_map(|(start, _)| {
        let tail = text.get(start..)?;
        let head = tail.get(..tail.floor_char_boundary(HEAD_BYTES_MAX))?.lines().next()?;
        head.contains("PRIVATE KEY-----").then_some(Found { kind, start, length: tail.len() })
    })
}

/// Three base64url parts at the end of a word, of which the first two are JSON objects (`{"` is `eyJ`).
fn json_web_token(text: &str) -> Option<Found> {
    /// Shorter ones hold no claims.
    const PART_MIN: usize = 10;
    let mut at = 0;
    while let Some(begin) = text.get(at..)?.find("eyJ").map(|offset| at + offset) {
        let tail = text.get(begin..)?;
        let end = tail.find(|c: char| !is_token(c)).unwrap_or(tail.len());
        let word = tail.get(..end)?;
        if let Some((rest, _signature)) = word.rsplit_once('.')
            && let Some((rest, claims)) = rest.rsplit_once('.')
            && claims.starts_with("eyJ")
            && claims.len() >= PART_MIN
        {
            let header = rest.rfind('.').map_or(0, |dot| dot + 1);
            let offset = rest.get(header..)?.find("eyJ").map(|offset| header + offset);
            if let Some(offset) = offset.filter(|offset| rest.len() - offset >= PART_MIN) {
                let (start, length) = (begin + offset, word.len() - offset);
                return Some(Found { kind: "a JSON web token", start, length });
            }
        }
        at = begin + end;
    }
    None
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
    fn a_text_full_of_secrets_is_masked_in_one_pass() {
        let body = "Ab1".repeat(12);
        let some = [format!("ghp_{body} "), format!("eyJ{body}.eyJ{body}.{body} ")];
        let mut search = super::Search::new("");
        assert!(search.next_from(0).is_none());
        let text = some.concat().repeat(5_000);
        assert_eq!(redact(&text), "«redacted» «redacted» ".repeat(5_000));
        // Each of these begins a shape at every few bytes and completes none.
        for beginning in
            ["eyJ", "eyJ.", "-----BEGIN ", "xghp_", "://", "://a:", "://a:b@", "eyJ.eyJ"]
        {
            let text = beginning.repeat((1 << 18) / beginning.len());
            let _masked = redact(&text);
            let _kind = kind_of(&text);
        }
    }

    #[test]
    fn a_token_behind_other_words_is_masked() {
        let body = "Ab1".repeat(12);
        let jwt = format!("eyJ{body}.eyJ{body}.{body}");
        assert_eq!(redact(&format!("a.b.eyJx.{jwt}")), "a.b.eyJx.«redacted»");
        assert_eq!(redact(&format!("eyJ eyJa.b {jwt}/x")), "eyJ eyJa.b «redacted»/x");
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
