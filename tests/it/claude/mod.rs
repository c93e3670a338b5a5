//! What the real CLI printed, read by the parser and folded into outcomes.

mod broken;
mod streams;
mod table;

use std::fs;
use std::path::{Path, PathBuf};

use chanop::claude::event::StreamEvent;
use chanop::claude::outcome::{Ending, RunOutcome};
use chanop::claude::parser::{Located, Noise, Parser};

/// A case's file.
pub(crate) fn path(case: &str, extension: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/claude")
        .join(format!("{case}.{extension}"))
}

/// What a case printed.
pub(crate) fn transcript(case: &str) -> Vec<u8> {
    fs::read(path(case, "jsonl")).unwrap()
}

/// How a case ended, as Docker would say it.
pub(crate) fn ending(case: &str) -> Ending {
    let text = fs::read(path(case, "meta.json")).unwrap();
    let meta: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let code = meta["exit_code"].as_i64().unwrap();
    let exit_code = Some(if code < 0 { 128 - code } else { code });
    Ending { exit_code, stderr: meta["stderr"].as_str().unwrap().to_owned(), ..Ending::default() }
}

/// What became of a case.
pub(crate) fn outcome(case: &str) -> RunOutcome {
    RunOutcome::of_transcript(&transcript(case), &ending(case))
}

/// All cases, by name.
pub(crate) fn cases() -> Vec<String> {
    let mut cases: Vec<String> = fs::read_dir(path("x", "y").parent().unwrap())
        .unwrap()
        .filter_map(|entry| {
            entry.unwrap().file_name().to_str().unwrap().strip_suffix(".jsonl").map(str::to_owned)
        })
        .collect();
    cases.sort();
    cases
}

/// Reads everything in the given chunks.
pub(crate) fn read<'a>(
    mut parser: Parser,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Located>, Noise) {
    let mut all = Vec::new();
    for chunk in chunks {
        all.extend(parser.push(chunk));
    }
    all.extend(parser.finish());
    (all, parser.noise().clone())
}

/// Reads everything at once.
pub(crate) fn read_whole(bytes: &[u8]) -> (Vec<Located>, Noise) {
    read(Parser::new(), [bytes])
}

/// The events alone.
pub(crate) fn events(located: &[Located]) -> Vec<&StreamEvent> {
    located.iter().map(|located| &located.event).collect()
}
