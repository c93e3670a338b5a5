//! The violations of one file, limited in number.
//!
//! A hostile or generated file can contain more mistakes than anybody reads, and each violation costs memory, a suggestion
//! and a line of output. Beyond the limit violations are only counted. An error is never hidden behind warnings, so a file
//! with errors always shows at least one.

use super::{Code, Violation};

/// How many violations one file shows.
pub const VIOLATIONS_MAX: usize = 100;

/// At most [`VIOLATIONS_MAX`] violations, and the number of the others.
#[derive(Debug, Default)]
pub struct Violations {
    kept: Vec<Violation>,
    errors: usize,
    hidden_errors: usize,
    hidden_warnings: usize,
}

impl Violations {
    /// Is there no room for another error? What is then reported needs no suggestion.
    pub fn is_full(&self) -> bool {
        self.errors >= VIOLATIONS_MAX
    }

    /// Is there an error?
    pub fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// Keeps `violation` or counts it.
    pub fn push(&mut self, violation: Violation) {
        let is_error = violation.is_error();
        self.errors += usize::from(is_error);
        if self.kept.len() < VIOLATIONS_MAX {
            self.kept.push(violation);
            return;
        }
        let warning = self.kept.iter().rposition(|kept| !kept.is_error()).filter(|_| is_error);
        match warning.and_then(|index| self.kept.get_mut(index)) {
            Some(warning) => {
                *warning = violation;
                self.hidden_warnings += 1;
            }
            None if is_error => self.hidden_errors += 1,
            None => self.hidden_warnings += 1,
        }
    }

    /// Counts an error without its text.
    pub(crate) fn count_error(&mut self) {
        self.errors += 1;
        self.hidden_errors += 1;
    }

    /// Adds the violations of a part of the file.
    pub fn append(&mut self, part: Self) {
        let Self { kept, errors: _, hidden_errors, hidden_warnings } = part;
        self.extend(kept);
        self.errors += hidden_errors;
        self.hidden_errors += hidden_errors;
        self.hidden_warnings += hidden_warnings;
    }

    /// Everything kept, in the order of the lines.
    pub(crate) fn kept_mut(&mut self) -> impl Iterator<Item = &mut Violation> {
        self.kept.iter_mut()
    }

    /// The violations in the order of the lines, the last of them with the number of those that are not shown.
    pub fn into_vec(self, file: &str) -> Vec<Violation> {
        let Self { mut kept, errors: _, hidden_errors, hidden_warnings } = self;
        kept.sort_by_key(|v| (v.line, v.column, v.code));
        let hidden = hidden_errors + hidden_warnings;
        if hidden > 0 {
            let mut more = Violation::of_file(
                Code::MoreFound,
                file,
                format!(
                    "{hidden} more are not shown: {hidden_errors} errors, {hidden_warnings} warnings"
                ),
            );
            more.help = Some("correct those above first".to_owned());
            kept.push(more);
        }
        kept
    }
}

impl Extend<Violation> for Violations {
    fn extend<T: IntoIterator<Item = Violation>>(&mut self, violations: T) {
        violations.into_iter().for_each(|violation| self.push(violation));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(code: Code, count: usize) -> impl Iterator<Item = Violation> {
        std::iter::repeat_n(Violation::of_file(code, "a.yaml", "x"), count)
    }

    #[test]
    fn violations_beyond_the_limit_are_counted() {
        let mut all = Violations::default();
        all.extend(some(Code::UnknownField, VIOLATIONS_MAX + 7));
        let shown = all.into_vec("a.yaml");
        assert_eq!(shown.len(), VIOLATIONS_MAX + 1);
        let last = shown.last().unwrap();
        assert_eq!(last.message, "7 more are not shown: 7 errors, 0 warnings");
        assert!(!last.is_error());
    }

    #[test]
    fn warnings_do_not_hide_an_error() {
        let mut all = Violations::default();
        all.extend(some(Code::Unusual, VIOLATIONS_MAX + 1));
        assert!(!all.has_errors());
        let mut part = Violations::default();
        part.extend(some(Code::Syntax, 1));
        all.append(part);
        assert!(all.has_errors() && !all.is_full());
        let shown = all.into_vec("a.yaml");
        assert_eq!(shown.iter().filter(|violation| violation.is_error()).count(), 1);
        assert_eq!(shown.last().unwrap().message, "2 more are not shown: 0 errors, 2 warnings");
    }

    #[test]
    fn files_at_the_limit_hide_nothing() {
        let mut all = Violations::default();
        all.extend(some(Code::Syntax, VIOLATIONS_MAX));
        assert!(all.is_full());
        assert_eq!(all.into_vec("a.yaml").len(), VIOLATIONS_MAX);
    }
}
