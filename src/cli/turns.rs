//! A run's turns as a person reads them: what the agent said, a line for each tool, and the first of what it answered.
//!
//! What the agent did goes to standard output, what is about the run to standard error. No control character of its text
//! reaches either; see [`plain`].

use serde_json::json;

use super::printer::{Printer, plain};
use super::yaml;
use crate::http::turns::Turn;

/// Of a tool's input: with the tool's name, what fits a terminal.
const INPUT_CHARS_MAX: usize = 100;
/// Of what it answered, likewise.
const RESULT_CHARS_MAX: usize = 100;

/// How turns are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(super) enum Format {
    /// For people
    #[default]
    Text,
    /// A turn a line, as the API's events
    Json,
    /// The transcript's bytes, as they lie on the disk
    Raw,
}

/// Prints turns one after the other.
#[derive(Debug)]
pub(super) struct Teller {
    printer: Printer,
    format: Format,
    // The last thing that the agent said: its result says it again.
    said: String,
}

impl Teller {
    pub(super) const fn new(printer: Printer, format: Format) -> Self {
        Self { printer, format, said: String::new() }
    }

    /// Prints one; false when nobody reads any more.
    pub(super) fn tell(&mut self, id: Option<&str>, turn: &Turn) -> bool {
        if self.format != Format::Text {
            return self.tell_json(id, turn);
        }
        match turn {
            Turn::Text(it) => {
                let is_heard = self.out(indent(it.parent.as_deref()), &it.text);
                if it.parent.is_none() {
                    self.said.clone_from(&it.text);
                }
                is_heard
            }
            Turn::ToolUse(it) => {
                let line = format!("→ {} {}", it.name, one_line(&it.input, INPUT_CHARS_MAX));
                self.out(indent(it.parent.as_deref()), &line)
            }
            Turn::ToolResult(it) => {
                let mark = if it.is_error { "error: " } else { "" };
                let line = format!("  {mark}{}", one_line(&it.text, RESULT_CHARS_MAX));
                self.out(indent(it.parent.as_deref()), &line)
            }
            Turn::Result(it) => match it.text.as_deref().filter(|text| *text != self.said) {
                Some(text) if !text.is_empty() => self.out("", text),
                _ => it.errors.iter().all(|error| self.out("", error)),
            },
            Turn::Attempt(it) => {
                if it.kind != "First" {
                    self.note(&format!("attempt {}: {}", it.number, it.kind));
                }
                true
            }
            Turn::ApiRetry(it) => {
                let why = it.error.as_deref().unwrap_or("no answer");
                let seconds = it.delay_ms.div_ceil(1_000);
                self.note(&format!(
                    "the API: {why}; try {} of {} in {seconds} s",
                    it.attempt, it.max_retries
                ));
                true
            }
            Turn::RateLimit(it) => {
                if it.status != "allowed" {
                    let resets = it.resets_at.map(|at| format!(", resets {at}"));
                    self.note(&format!("limit: {}{}", it.status, resets.unwrap_or_default()));
                }
                true
            }
            // Whoever follows says how it ended, with more than this.
            Turn::End(_) => true,
        }
    }

    fn tell_json(&self, id: Option<&str>, turn: &Turn) -> bool {
        let mut line = serde_json::to_value(turn).unwrap_or_default();
        if let (Some(id), Some(fields)) = (id, line.as_object_mut()) {
            fields.insert("id".to_owned(), json!(id));
        }
        self.printer.told(yaml::harmless_json(&line.to_string()))
    }

    fn out(&self, indent: &str, text: &str) -> bool {
        plain(text.trim_end()).lines().all(|line| self.printer.told(format!("{indent}{line}")))
    }

    fn note(&self, text: &str) {
        self.printer.err(plain(&format!("-- {text}")).replace('\n', " "));
    }
}

/// What a subagent does stands below its parent's use of a tool.
const fn indent(parent: Option<&str>) -> &'static str {
    if parent.is_some() { "    " } else { "" }
}

/// The first line that says something, and no more of it than this.
pub(super) fn one_line(text: &str, chars_max: usize) -> String {
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim_end();
    let is_all = line.len() == text.trim_end().len();
    match line.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None if is_all => line.to_owned(),
        None => format!("{line} …"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_is_the_first_that_says_something_and_says_that_it_is_not_all() {
        assert_eq!(one_line("a", 3), "a");
        assert_eq!(one_line("abcd", 3), "abc…");
        assert_eq!(one_line("\n\n  ab\ncd\n", 9), "  ab …");
        assert_eq!(one_line("", 3), "");
    }
}
