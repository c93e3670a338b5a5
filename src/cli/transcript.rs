//! `chanop transcript`: what chanop makes of what the CLI printed. Needs no operator and no engine.
//!
//! For looking into a run that came to something strange: the same parser and the same rules as the operator's. The JSON is a
//! [`RunOutcome`], whose names are listed in [`crate::claude::outcome`]; text is for people and may change.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::exit::Exit;
use super::failure::{Failure, Outcome};
use super::grid::Grid;
use super::printer::{Printer, plain};
use super::yaml;
use crate::claude::event::ToolUse;
use crate::claude::outcome::{Cost, CostBasis, Ending, Fold, RunOutcome};
use crate::claude::parser::Parser;

/// How much is read at once: what a pipe holds.
const CHUNK_BYTES: usize = 64 * 1024;
/// Of standard error: its first lines say why a command line was refused, and the rest is not looked at.
const STDERR_BYTES_MAX: u64 = 64 * 1024;
/// Of a tool's input and result in a table: two such columns fit a wide terminal.
const CELL_CHARS_MAX: usize = 60;

/// What to read, and how the process ended.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct TranscriptArgs {
    /// The CLI's output (stream-json); `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The process's exit code [default: not known]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    exit_code: Option<i64>,
    /// What the process wrote to standard error
    #[arg(long, value_name = "FILE")]
    stderr: Option<PathBuf>,
    /// The kernel killed it for memory
    #[arg(long)]
    oom: bool,
    /// How to print
    #[arg(
        short,
        long,
        value_enum,
        value_name = "FORMAT",
        default_value = "text",
        hide_default_value = true
    )]
    output: TranscriptOutput,
}

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum TranscriptOutput {
    /// For people
    Text,
    /// For programs
    Json,
}

/// Runs the command. What became of the run is an answer, whatever it is.
pub(super) fn run(args: &TranscriptArgs, printer: Printer) -> Outcome {
    let ending = Ending {
        exit_code: args.exit_code,
        oom_killed: args.oom,
        stopped: None,
        stderr: args.stderr.as_deref().map(read_stderr).transpose()?.unwrap_or_default(),
    };
    let outcome = if args.file.as_os_str() == "-" {
        fold(io::stdin().lock(), &ending).map_err(|error| unreadable("standard input", &error))?
    } else {
        let name = args.file.display().to_string();
        File::open(&args.file)
            .and_then(|file| fold(file, &ending))
            .map_err(|error| unreadable(&name, &error))?
    };
    match args.output {
        TranscriptOutput::Json => {
            let json = serde_json::to_string_pretty(&outcome)?;
            printer.out(yaml::harmless_json(&json));
        }
        TranscriptOutput::Text => {
            for line in text(&outcome, printer.colour()) {
                printer.out(line);
            }
        }
    }
    Ok(Exit::Ok)
}

fn unreadable(name: &str, error: &io::Error) -> Failure {
    Failure::said(format!("failed to read {name}: {error}"))
}

fn read_stderr(path: &Path) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(STDERR_BYTES_MAX).read_to_end(&mut bytes))
        .map_err(|error| unreadable(&path.display().to_string(), &error))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Reads in pieces: a transcript may be longer than the memory is large.
fn fold(mut source: impl Read, ending: &Ending) -> io::Result<RunOutcome> {
    let mut parser = Parser::new();
    let mut fold = Fold::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = match source.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        for located in parser.push(chunk.get(..read).unwrap_or_default()) {
            fold.add(&located.event);
        }
    }
    if let Some(located) = parser.finish() {
        fold.add(&located.event);
    }
    Ok(fold.end(parser.noise(), ending))
}

fn text(outcome: &RunOutcome, colour: bool) -> Vec<String> {
    let name = outcome.class.name();
    let mut lines = vec![match (colour, outcome.class.is_success()) {
        (true, true) => format!("\x1b[32m{name}\x1b[0m"),
        (true, false) => format!("\x1b[31m{name}\x1b[0m"),
        (false, _) => name.to_owned(),
    }];
    let facts: Vec<Vec<String>> =
        facts(outcome).into_iter().map(|(what, value)| vec![format!("  {what}"), value]).collect();
    lines.extend(Grid::default().lines(&facts));
    let uses = &outcome.tool_uses.first;
    if !uses.is_empty() {
        lines.push(String::new());
        let heading = ["TOOL", "INPUT", "RESULT"].map(str::to_owned).to_vec();
        let rows: Vec<_> = std::iter::once(heading).chain(uses.iter().map(row)).collect();
        lines.extend(Grid::default().lines(&rows));
        let more = outcome.tool_uses.total.saturating_sub(u64::try_from(uses.len()).unwrap_or(0));
        if more > 0 {
            lines.push(format!("and {more} more"));
        }
    }
    if let Some(text) = outcome.text.as_deref().filter(|text| !text.is_empty()) {
        lines.push(String::new());
        lines.push(plain(text));
        let kept = u64::try_from(text.len()).unwrap_or(u64::MAX);
        if outcome.text_bytes > kept {
            lines.push(format!("… {} of {} bytes shown", kept, outcome.text_bytes));
        }
    }
    lines
}

/// What is known, a line each; what there is none of is not told.
fn facts(outcome: &RunOutcome) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    let mut tell = |what, value: Option<String>| facts.extend(value.map(|value| (what, value)));
    // An error's text is shown whole below.
    let told = outcome.text.as_deref().unwrap_or_default();
    tell("why", outcome.message.clone().filter(|message| !told.starts_with(message.as_str())));
    tell("exit", outcome.exit_code.map(|code| code.to_string()));
    tell("session", Some(outcome.session_id.clone().unwrap_or_else(|| "none".to_owned())));
    tell("model", listed(&outcome.models));
    tell("cli", outcome.cli_version.clone());
    tell("turns", Some(outcome.turns.to_string()));
    tell("results", (outcome.results > 1).then(|| outcome.results.to_string()));
    tell("tools", Some(tools(outcome)));
    tell("tokens", Some(tokens(outcome)));
    tell("cost", Some(cost(outcome.cost)));
    tell("denied", (outcome.permission_denials.total > 0).then(|| denied(outcome)));
    tell("retries", retries(outcome));
    tell("limit", limit(outcome));
    tell("compacted", compacted(outcome));
    tell("mcp down", listed(&outcome.mcp_servers_failed));
    tell("lines", Some(read(outcome)));
    tell("odd fields", listed(&outcome.odd_fields));
    facts
}

fn listed<'a>(words: impl IntoIterator<Item = &'a String>) -> Option<String> {
    let words: Vec<&str> = words.into_iter().map(String::as_str).collect();
    (!words.is_empty()).then(|| words.join(", "))
}

fn tools(outcome: &RunOutcome) -> String {
    let uses = &outcome.tool_uses;
    let by_name: Vec<String> =
        uses.by_name.iter().map(|(name, count)| format!("{name} {count}")).collect();
    match (uses.total, uses.failed) {
        (0, _) if outcome.made_tool_use => "none seen, but lines were lost".to_owned(),
        (0, _) => "none".to_owned(),
        (_, 0) => by_name.join(", "),
        (_, failed) => format!("{}; {failed} failed", by_name.join(", ")),
    }
}

fn tokens(outcome: &RunOutcome) -> String {
    outcome.tokens.map_or_else(
        || "not told".to_owned(),
        |tokens| {
            format!(
                "{} in, {} out, {} read from cache, {} put there",
                tokens.input, tokens.output, tokens.cache_read, tokens.cache_creation
            )
        },
    )
}

fn cost(cost: Cost) -> String {
    let Some(dollars) = cost.dollars else { return "not told".to_owned() };
    // A request can cost a few millionths; whole cents stay at two places.
    let text = format!("${dollars:.6}");
    let short = text.trim_end_matches('0').len().max(text.len().saturating_sub(4));
    let dollars = text.get(..short).unwrap_or(&text);
    match cost.basis {
        CostBasis::Exact => dollars.to_owned(),
        CostBasis::AtMost => format!("{dollars} at most: earlier runs of the session may be in it"),
        CostBasis::AtLeast => {
            format!("{dollars} at least: work after the last result is not in it")
        }
        CostBasis::Unknown => format!("{dollars}, and neither at least nor at most"),
    }
}

fn denied(outcome: &RunOutcome) -> String {
    let denials = &outcome.permission_denials;
    let names: std::collections::BTreeSet<&String> =
        denials.first.iter().map(|denial| &denial.tool_name).collect();
    format!("{} ({})", denials.total, listed(names).unwrap_or_default())
}

fn retries(outcome: &RunOutcome) -> Option<String> {
    let last = outcome.retries.last.as_ref()?;
    let status = last.status.map_or_else(|| "network".to_owned(), |status| status.to_string());
    let error = last.error.as_deref().unwrap_or("no word");
    Some(format!("{} (last: {status}, {error})", outcome.retries.total))
}

fn limit(outcome: &RunOutcome) -> Option<String> {
    let limit = outcome.rate_limit.as_ref()?;
    let resets_at = limit.resets_at.map(|at| format!("resets {at}"));
    let told = [Some(limit.status.clone()), limit.window.clone(), resets_at];
    Some(told.into_iter().flatten().collect::<Vec<_>>().join(", "))
}

fn compacted(outcome: &RunOutcome) -> Option<String> {
    let compactions = outcome.compactions;
    match (compactions.succeeded, compactions.failed) {
        (0, 0) => None,
        (done, 0) => Some(done.to_string()),
        (done, failed) => Some(format!("{done}; {failed} failed")),
    }
}

fn read(outcome: &RunOutcome) -> String {
    let lines = &outcome.lines;
    let counts = [
        (lines.lost, "lost"),
        (lines.cut, "too long"),
        (u64::from(lines.unfinished), "broke off"),
        (lines.invalid_utf8, "no UTF-8"),
        (lines.crlf, "with CR"),
        (lines.empty, "empty"),
    ];
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    let first = lines.first.as_ref().map(|it| format!("the first that is no event: {}", short(it)));
    std::iter::once(format!("{} events", lines.events))
        .chain(counts.map(|(count, what)| format!("{count} {what}")))
        .chain(first)
        .collect::<Vec<_>>()
        .join(", ")
}

fn row(used: &ToolUse) -> Vec<String> {
    let indent = if used.parent.is_some() { "  " } else { "" };
    let result = used.result.as_deref().map_or_else(|| "-".to_owned(), short);
    let mark = if used.is_error { "error: " } else { "" };
    vec![format!("{indent}{}", used.name), short(&used.input), format!("{mark}{result}")]
}

fn short(text: &str) -> String {
    match text.char_indices().nth(CELL_CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_have_cents_and_no_more_zeros_than_that() {
        let exact = |dollars| cost(Cost { dollars: Some(dollars), basis: CostBasis::Exact });
        assert_eq!(exact(0.0), "$0.00");
        assert_eq!(exact(0.68), "$0.68");
        assert_eq!(exact(12.5), "$12.50");
        assert_eq!(exact(0.001_96), "$0.00196");
        assert_eq!(exact(0.000_024_5), "$0.000024");
    }
}
