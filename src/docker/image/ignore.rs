//! What `.dockerignore` leaves out of a build's context. Pure.
//!
//! Docker's own rules, from its `patternmatcher`: the last pattern that matches a path or a directory above it decides; `!` takes back;
//! `*` and `?` stop at a slash, `**` does not; a pattern speaks of the path from the context's root. Two things differ from
//! `.gitignore`, and are kept: a name without a slash is only looked for at the root, and an exception reaches into a directory
//! that is left out. (Docker's older builder does not look for exceptions with wildcards in such a directory; here they count.)

/// Lines of one file. Each is tried on each path of the context.
const PATTERNS_MAX: usize = 1000;
/// The file itself, and where it stands.
pub(super) const FILE_NAME: &str = ".dockerignore";

/// A line that is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{FILE_NAME}:{line}: {why}: `{text}`")]
pub struct IgnoreError {
    /// Counted from one.
    pub line: usize,
    /// What stands there.
    pub text: String,
    /// What is wrong.
    pub why: &'static str,
}

/// The patterns of a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Ignore {
    patterns: Vec<Pattern>,
}

/// What the patterns say of a path. A directory's is needed for what lies in it.
#[derive(Debug, Clone, Default)]
pub(super) struct Verdict {
    matched: Vec<bool>,
    /// Is it left out?
    pub(super) excluded: bool,
    /// How much work it was: tokens of the patterns that were tried, times the path's length.
    pub(super) steps: u64,
}

impl Ignore {
    /// Reads a file's text.
    pub(super) fn parse(text: &str) -> Result<Self, IgnoreError> {
        let mut patterns = Vec::new();
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (index, line) in text.lines().enumerate() {
            // Only in the first column: ` # x` is a name with a hash.
            if line.starts_with('#') || line.trim().is_empty() {
                continue;
            }
            let bad = |why| IgnoreError { line: index + 1, text: line.trim().to_owned(), why };
            if patterns.len() == PATTERNS_MAX {
                return Err(bad("more patterns than 1000"));
            }
            patterns.extend(Pattern::parse(line.trim()).map_err(bad)?);
        }
        Ok(Self { patterns })
    }

    /// The same, but that path is never left out: a build needs it.
    pub(super) fn but_for(mut self, path: &str) -> Self {
        let tokens = path.chars().map(Token::Char).collect();
        self.patterns.push(Pattern { exception: true, literal: path.to_owned(), tokens });
        self
    }

    /// What is said of `path`, which lies in a directory of which `parent` is said.
    ///
    /// A pattern that would change nothing is not tried, and so not remembered for what lies below either: as Docker does.
    pub(super) fn judge(&self, parent: &Verdict, path: &str) -> Verdict {
        let mut verdict =
            Verdict { matched: Vec::with_capacity(self.patterns.len()), ..Verdict::default() };
        let above = parent.matched.iter().copied().chain(std::iter::repeat(false));
        for (pattern, above) in self.patterns.iter().zip(above) {
            let changes = pattern.exception == verdict.excluded;
            let tried = !above && changes && path.starts_with(&pattern.literal);
            if tried {
                let steps = pattern.tokens.len().saturating_mul(path.len());
                verdict.steps =
                    verdict.steps.saturating_add(u64::try_from(steps).unwrap_or(u64::MAX));
            }
            let matched = above || (tried && pattern.matches(path));
            if matched {
                verdict.excluded = !pattern.exception;
            }
            verdict.matched.push(matched);
        }
        verdict
    }

    /// May an exception take back something in this directory, which is left out?
    pub(super) fn may_take_back_below(&self, directory: &str) -> bool {
        let inside = format!("{directory}/");
        self.patterns.iter().filter(|pattern| pattern.exception).any(|pattern| {
            let all = pattern.literal.len() == pattern.tokens.len();
            pattern.literal.starts_with(&inside)
                || (!all && inside.starts_with(pattern.literal_directory()))
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    exception: bool,
    /// What it begins with, up to its first wildcard.
    literal: String,
    tokens: Vec<Token>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Char(char),
    /// `?`
    AnyChar,
    /// `*`
    Run,
    /// `**/`, or `**` before more: any number of whole directories.
    Directories,
    /// `**` at the end.
    Everything,
    /// `[a-z]`, `[^a-z]`
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Pattern {
    /// `None` for a line that says nothing, as `/` does.
    fn parse(line: &str) -> Result<Option<Self>, &'static str> {
        let (exception, path) = match line.strip_prefix('!') {
            Some(rest) => (true, rest.trim()),
            None => (false, line),
        };
        if exception && path.is_empty() {
            return Err("an exception from nothing");
        }
        let clean = clean(path);
        if clean.is_empty() {
            return Ok(None);
        }
        let tokens = tokens(&clean)?;
        let literal = tokens.iter().map_while(|token| match token {
            Token::Char(c) => Some(*c),
            _ => None,
        });
        Ok(Some(Self { exception, literal: literal.collect(), tokens }))
    }

    /// The directory part of what it begins with, slash included.
    fn literal_directory(&self) -> &str {
        let end = self.literal.rfind('/').map_or(0, |slash| slash + 1);
        self.literal.get(..end).unwrap_or_default()
    }

    /// Reads the path once, in all the states that the tokens can be in: no pattern takes long.
    fn matches(&self, path: &str) -> bool {
        if !path.starts_with(&self.literal) {
            return false;
        }
        let mut states = States::begin(&self.tokens);
        for c in path.chars() {
            states = states.after(&self.tokens, c);
        }
        states.before.last().copied().unwrap_or(false)
    }
}

/// Which tokens may come next, and which [`Token::Directories`] are within a directory's name.
struct States {
    before: Vec<bool>,
    within: Vec<bool>,
}

impl States {
    fn none(tokens: &[Token]) -> Self {
        Self { before: vec![false; tokens.len() + 1], within: vec![false; tokens.len()] }
    }

    fn begin(tokens: &[Token]) -> Self {
        let mut states = Self::none(tokens);
        states.come_to(0);
        states.skip(tokens);
        states
    }

    fn after(&self, tokens: &[Token], c: char) -> Self {
        let mut next = Self::none(tokens);
        let (before, within) = (self.before.iter(), self.within.iter());
        for (at, ((token, before), within)) in tokens.iter().zip(before).zip(within).enumerate() {
            if *before {
                match token {
                    Token::Char(wanted) if *wanted == c => next.come_to(at + 1),
                    Token::AnyChar if c != '/' => next.come_to(at + 1),
                    Token::Class { negated, ranges }
                        if ranges.iter().any(|(low, high)| (*low..=*high).contains(&c))
                            != *negated =>
                    {
                        next.come_to(at + 1);
                    }
                    Token::Run if c != '/' => next.come_to(at),
                    Token::Everything => next.come_to(at),
                    _ => {}
                }
            }
            if *within || (*before && *token == Token::Directories) {
                if let Some(within) = next.within.get_mut(at) {
                    *within = true;
                }
                if c == '/' {
                    next.come_to(at + 1);
                }
            }
        }
        next.skip(tokens);
        next
    }

    fn come_to(&mut self, at: usize) {
        if let Some(before) = self.before.get_mut(at) {
            *before = true;
        }
    }

    /// Some tokens may be nothing.
    fn skip(&mut self, tokens: &[Token]) {
        for (at, token) in tokens.iter().enumerate() {
            let nothing = matches!(token, Token::Run | Token::Directories | Token::Everything);
            if nothing && self.before.get(at).copied().unwrap_or(false) {
                self.come_to(at + 1);
            }
        }
    }
}

fn tokens(pattern: &str) -> Result<Vec<Token>, &'static str> {
    let mut chars = pattern.chars().peekable();
    let mut tokens = Vec::new();
    while let Some(c) = chars.next() {
        tokens.push(match c {
            '*' if chars.next_if_eq(&'*').is_some() => {
                chars.next_if_eq(&'/');
                if chars.peek().is_none() { Token::Everything } else { Token::Directories }
            }
            '*' => Token::Run,
            '?' => Token::AnyChar,
            '\\' => Token::Char(chars.next().ok_or("a backslash at the end")?),
            '[' => class(&mut chars)?,
            c => Token::Char(c),
        });
    }
    Ok(tokens)
}

fn class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Token, &'static str> {
    const OPEN: &str = "a bracket that is not closed";
    let negated = chars.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        if !ranges.is_empty() && chars.next_if_eq(&']').is_some() {
            return Ok(Token::Class { negated, ranges });
        }
        let low = class_char(chars)?;
        let high = if chars.next_if_eq(&'-').is_some() { class_char(chars)? } else { low };
        if chars.peek().is_none() {
            return Err(OPEN);
        }
        ranges.push((low, high));
    }
}

fn class_char(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<char, &'static str> {
    match chars.next() {
        Some('\\') => chars.next().ok_or("a backslash at the end"),
        Some('-' | ']') => Err("a bracket with no range in it"),
        Some(c) => Ok(c),
        None => Err("a bracket that is not closed"),
    }
}

/// The path without `.`, `..`, doubled slashes and those at its ends.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if path.starts_with('/') => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left out of the paths, each judged below its directories.
    fn excluded<'a>(file: &str, paths: &[&'a str]) -> Vec<&'a str> {
        let ignore = Ignore::parse(file).unwrap();
        let is_excluded = |path: &str| {
            let mut verdict = Verdict::default();
            for (end, _) in path.match_indices('/').chain([(path.len(), "")]) {
                verdict = ignore.judge(&verdict, &path[..end]);
            }
            verdict.excluded
        };
        paths.iter().copied().filter(|path| is_excluded(path)).collect()
    }

    #[test]
    fn matching_work_is_linear_in_pattern_and_path() {
        let stars = "*a".repeat(2_000) + "b";
        let ignore = Ignore::parse(&stars).unwrap();
        let path = "a".repeat(1_000);
        let verdict = ignore.judge(&Verdict::default(), &path);
        assert!(!verdict.excluded);
        assert_eq!(verdict.steps, 4_001 * 1_000);
        // A pattern whose beginning differs costs nothing.
        let other = Ignore::parse("b*a\n").unwrap().judge(&Verdict::default(), &path);
        assert_eq!(other.steps, 0);
    }

    #[test]
    fn patterns_match_as_dockers_do() {
        for (pattern, yes, no) in [
            ("a", &["a", "a/b", "a/b/c"][..], &["b/a", "ab"][..]),
            ("/a", &["a", "a/b"], &["b/a"]),
            ("a/", &["a", "a/b"], &["b/a"]),
            ("./a//b/../c", &["a/c"], &["a/b"]),
            ("../a", &[], &["a"]),
            ("*.md", &["x.md", ".md"], &["d/x.md", "x.mdx"]),
            ("*/temp*", &["d/temp", "d/temporary.txt", "d/temp/x"], &["temp", "d/e/temp"]),
            ("a?", &["ab", "ab/c"], &["a", "a/"]),
            ("**/x", &["x", "d/x", "d/e/x", "d/x/y"], &["dx", "d/xx"]),
            ("d/**", &["d/x", "d/e/x"], &["d", "e/d/x"]),
            ("**", &["x", "d/x", ".hidden"], &[]),
            ("**/*.o", &["x.o", "d/e/x.o"], &["x.oo"]),
            ("d/**/x", &["d/x", "d/e/x", "d/e/f/x"], &["x", "d/ex"]),
            ("a**b", &["ab", "ax/b"], &["axb"]),
            ("[a-c]x", &["ax", "cx"], &["dx", "x"]),
            ("[^a-c]x", &["dx"], &["ax"]),
            ("a\\*b", &["a*b"], &["axb"]),
            ("a.b$", &["a.b$"], &["aab$"]),
            ("]x", &["]x"], &["x"]),
            ("ä*", &["äb"], &["ab"]),
            ("a b", &["a b"], &["a"]),
        ] {
            assert_eq!(excluded(pattern, yes), yes, "{pattern}");
            assert_eq!(excluded(pattern, no), Vec::<&str>::new(), "{pattern}");
        }
    }

    #[test]
    fn comments_blank_lines_and_a_byte_order_mark_are_no_patterns() {
        let file = "\u{feff}# a\n\n   \n  b  \r\n /\n.\n #c\n";
        assert_eq!(excluded(file, &["a", "b", "#c", "# a"]), ["b", "#c"]);
    }

    #[test]
    fn the_last_pattern_that_matches_decides() {
        let paths = ["README.md", "a.md", "docs/b.md", "docs/keep/c.md"];
        assert_eq!(excluded("*.md\n!README.md", &paths), ["a.md"]);
        assert_eq!(excluded("!README.md\n*.md", &paths), ["README.md", "a.md"]);
        assert_eq!(excluded("docs\n! docs/keep", &paths), ["docs/b.md"]);
        assert_eq!(excluded("*\n!**/*.md\ndocs/b.md", &paths), ["docs/b.md"]);
    }

    #[test]
    fn a_directory_that_is_left_out_is_looked_into_when_an_exception_may_lie_there() {
        for (file, directory, looks) in [
            ("d\n!d/x", "d", true),
            ("d\n!d/e/x", "d/e", true),
            ("d\n!d/e/x", "d/f", false),
            ("d\n!e/x", "d", false),
            ("d\n!dd/x", "d", false),
            ("*\n!**/x", "d/e", true),
            ("*\n!d/*/x", "d/e", true),
            ("*\n!d/*/x", "f", false),
            ("*\n!x*", "xy", true),
            ("*", "d", false),
            ("*\n!d", "d", false),
        ] {
            let ignore = Ignore::parse(file).unwrap();
            assert_eq!(ignore.may_take_back_below(directory), looks, "{file:?} {directory}");
        }
    }

    #[test]
    fn what_a_build_needs_is_never_left_out() {
        let ignore = Ignore::parse("*\nsub").unwrap().but_for("sub/[x]");
        let above = ignore.judge(&Verdict::default(), "sub");
        assert!(above.excluded && ignore.may_take_back_below("sub"));
        assert!(!ignore.judge(&above, "sub/[x]").excluded);
        assert!(ignore.judge(&above, "sub/x").excluded);
    }

    #[test]
    fn lines_that_are_no_patterns_are_named() {
        for (file, said) in [
            ("a\n[b", ".dockerignore:2: a bracket that is not closed: `[b`"),
            ("[]a]", ".dockerignore:1: a bracket with no range in it: `[]a]`"),
            ("a\\", ".dockerignore:1: a backslash at the end: `a\\`"),
            ("!", ".dockerignore:1: an exception from nothing: `!`"),
        ] {
            assert_eq!(Ignore::parse(file).unwrap_err().to_string(), said);
        }
        let many = "x\n".repeat(PATTERNS_MAX + 1);
        assert_eq!(Ignore::parse(&many).unwrap_err().line, PATTERNS_MAX + 1);
    }

    #[test]
    fn no_pattern_takes_long() {
        let pattern = format!("{}b", "**/*a".repeat(50));
        assert_eq!(excluded(&pattern, &[&"a/".repeat(500)]), Vec::<&str>::new());
    }
}
