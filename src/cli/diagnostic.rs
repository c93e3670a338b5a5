//! Violations as people read them: the line, the caret, what was meant; and as CI reads them.
//!
//! What looks like a secret is masked in every line that is shown, and control characters never reach the terminal.

use std::fmt::Write as _;

use crate::resource::node::shown;
use crate::resource::validate::{Severity, Violation, token};

/// Longer lines are shown around the caret only.
const LINE_MAX: usize = 110;

/// A longer line is not shown: nobody wrote it by hand, and all of it would have to be masked first.
const SOURCE_LINE_BYTES_MAX: usize = 64 * 1024;

/// The text form, without a line end; `source` is the file's text, when it could be read.
pub fn text(violation: &Violation, source: Option<&str>, colour: bool) -> String {
    let paint = Paint { colour };
    let mut out = String::new();
    let severity = violation.severity;
    let title = format!("{}[{}]", severity.as_str(), violation.code);
    let _infallible =
        write!(out, "{}: {}", paint.severity(severity, &title), clean(&violation.message));
    let number = violation.line.to_string();
    let margin = " ".repeat(number.len());
    let _infallible = write!(out, "\n{margin}{} {}", paint.faint("-->"), place(violation));
    let about = about(violation);
    if !about.is_empty() {
        let _infallible = write!(out, "     {about}");
    }
    let (beside, rest) = words(violation);
    let bar = paint.faint("|");
    let mut below = rest;
    if let Some(snippet) = snippet(violation, source) {
        let marked = format!("{} {beside}", "^".repeat(snippet.carets));
        let marked = paint.severity(severity, marked.trim_end());
        let gap = " ".repeat(snippet.before);
        let _infallible = write!(out, "\n{} {bar} {}", paint.faint(&number), snippet.line);
        let _infallible = write!(out, "\n{margin} {bar} {gap}{marked}");
    } else if !beside.is_empty() {
        let help = below.map(|help| format!("; {help}")).unwrap_or_default();
        below = Some(beside + &help);
    }
    if let Some(below) = below {
        let _infallible = write!(out, "\n{margin} {} {below}", paint.faint("="));
    }
    out
}

/// A workflow command, as GitHub's runners read it from a log.
pub fn github(violation: &Violation) -> String {
    let property = |text: &str| data(text).replace(':', "%3A").replace(',', "%2C");
    let mut message = violation.message.clone();
    if let Some(suggestion) = &violation.suggestion {
        let _infallible = write!(message, "; did you mean `{suggestion}`?");
    }
    if let Some(help) = &violation.help {
        let _infallible = write!(message, " ({help})");
    }
    let mut command =
        format!("::{} file={}", violation.severity.as_str(), property(&violation.file));
    if violation.line > 0 {
        let _infallible =
            write!(command, ",line={},col={}", violation.line, violation.column.max(1));
    }
    let title = format!("{} {}", violation.code, about(violation));
    let _infallible = write!(command, ",title={}::{}", property(title.trim_end()), data(&message));
    command
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn place(violation: &Violation) -> String {
    let file = clean(&violation.file);
    match (violation.line, violation.column) {
        (0, _) => file,
        (line, 0) => format!("{file}:{line}"),
        (line, column) => format!("{file}:{line}:{column}"),
    }
}

/// `Channel/payments spec.resources.limits`
fn about(violation: &Violation) -> String {
    let object = violation.object.as_ref().map(|object| format!("{}/{}", object.kind, object.name));
    let parts = [object.unwrap_or_default(), clean(&violation.path)];
    parts.join(" ").trim().to_owned()
}

/// What stands beside the caret, and what gets a line of its own.
fn words(violation: &Violation) -> (String, Option<String>) {
    let beside = match &violation.suggestion {
        Some(suggestion) => format!("did you mean `{}`?", clean(suggestion)),
        None => clean(&violation.label),
    };
    match violation.help.as_deref().map(clean) {
        Some(help) if help.starts_with("allowed: ") && help.len() <= LINE_MAX => {
            (format!("{beside}  ({help})").trim_start().to_owned(), None)
        }
        help => (beside, help),
    }
}

struct Snippet {
    line: String,
    before: usize,
    carets: usize,
}

fn snippet(violation: &Violation, source: Option<&str>) -> Option<Snippet> {
    let index = usize::try_from(violation.line.checked_sub(1)?).ok()?;
    let source = source?;
    let line = source.strip_prefix('\u{feff}').unwrap_or(source).lines().nth(index)?;
    let column = usize::try_from(violation.column.checked_sub(1)?).ok()?;
    let start = line.char_indices().nth(column).map_or(line.len(), |(at, _)| at);
    if line.len() > SOURCE_LINE_BYTES_MAX {
        return None;
    }
    let (head, tail) = line.split_at(start);
    let length = usize::try_from(violation.length).unwrap_or_default().max(1);
    let private_key = source.contains("-----BEGIN ");
    let mask = |text: &str| {
        // A line feed would end the line; nothing else of the shape is lost by leaving it out.
        let text = token::redact(text);
        let text = if private_key { token::redact_base64(&text) } else { text };
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>()
    };
    // Masked as a whole first: a secret that the caret divides is no secret in either half.
    let whole = mask(line);
    let undivided = mask(head) + &mask(tail) == whole;
    let (head, tail) = if undivided { (mask(head), mask(tail)) } else { (String::new(), whole) };
    let masked = tail.chars().count() != line.chars().count() - column.min(line.chars().count());
    let carets = length.min(tail.chars().count().max(1));
    let carets = if masked { carets.min(tail.trim_end().chars().count().max(1)) } else { carets };
    Some(cropped(&head, &tail, carets))
}

fn cropped(head: &str, tail: &str, carets: usize) -> Snippet {
    let before = head.chars().count();
    let skipped = if before + carets.min(20) > LINE_MAX { before - before.min(40) } else { 0 };
    let mark = if skipped > 0 { "…" } else { "" };
    let line: String = mark.chars().chain(head.chars().chain(tail.chars()).skip(skipped)).collect();
    let cut = line.chars().count() > LINE_MAX;
    let mut line: String = line.chars().take(LINE_MAX).collect();
    if cut {
        line.push('…');
    }
    let before = before - skipped + mark.chars().count();
    let carets = carets.min(line.chars().count().saturating_sub(before)).max(1);
    Snippet { line: line.trim_end().to_owned(), before, carets }
}

/// One line, without control characters.
fn clean(text: &str) -> String {
    let line = if text.contains('\n') { shown(text) } else { text.to_owned() };
    line.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

struct Paint {
    colour: bool,
}

impl Paint {
    fn severity(&self, severity: Severity, text: &str) -> String {
        let code = match severity {
            Severity::Error => "1;31",
            Severity::Warning => "1;33",
        };
        self.with(code, text)
    }

    fn faint(&self, text: &str) -> String {
        self.with("34", text)
    }

    fn with(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
