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
use super::outcome::{facts, tool_uses};
use super::printer::{Printer, plain};
use super::yaml;
use crate::claude::outcome::{Ending, Fold, RunOutcome};
use crate::claude::parser::Parser;

/// How much is read at once: what a pipe holds.
const CHUNK_BYTES: usize = 64 * 1024;
/// Of standard error: its first lines say why a command line was refused, and the rest is not looked at.
const STDERR_BYTES_MAX: u64 = 64 * 1024;

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
        lines.extend(Grid::default().lines(&tool_uses(uses)));
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
