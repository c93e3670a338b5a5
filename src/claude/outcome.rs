//! What became of a run: the events of one process, and how it ended, folded into a [`RunOutcome`].
//!
//! Success is the CLI's word: a `result` that is no error, and nothing of weight after it, a bad exit code neither. A good one
//! proves nothing: an interrupted CLI exits 0 without a result, and an API error comes as a result of subtype `success`.
//! The rules are in [`class`]; the counting is in [`fold`]. Neither keeps more than a bound of anything, whatever the run
//! printed.
//!
//! # As JSON
//!
//! A `RunOutcome` is stored and printed with these names, which stay:
//!
//! | field | what |
//! |---|---|
//! | `class` | `{"name": …}`, one of [`OutcomeClass`]'s, with `resetsAt`, `status`, `signal` or `message` where that has one |
//! | `message` | one line: why it failed, or a note on a success |
//! | `exitCode` | the process's, null when it is not known |
//! | `sessionId` | the session that the run left behind, null when there is none |
//! | `models`, `cliVersion`, `mcpServersFailed` | who answered, and with what |
//! | `text`, `textBytes` | the last result's text, and its whole length when the text was cut |
//! | `results`, `turns` | results of the process (more than one after background tasks), turns of all of them |
//! | `tokens` | `{input, output, cacheRead, cacheCreation}` of this run, subagents included; null when no result said it |
//! | `cost` | `{dollars, basis}` of this run; `basis` is `exact`, `atMost`, `atLeast` or `unknown`: see [`CostBasis`] |
//! | `toolUses` | `{total, failed, byName, first}`; `first` are the first ones, `{id, name, input, result, isError, parent}` |
//! | `madeToolUse` | may the run have changed something? |
//! | `permissionDenials` | `{total, first}` |
//! | `retries` | `{total, last}`: the CLI's own tries at the API |
//! | `rateLimit` | the last word on a subscription's limit |
//! | `compactions` | `{succeeded, failed}` |
//! | `lines` | `{events, lost, cut, unfinished, invalidUtf8, crlf, empty, first}`: what could not be read |
//! | `oddFields` | fields that were not as this version knows them |

pub mod class;
pub mod fold;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::event::{ApiRetry, DOLLARS_MAX, PermissionDenial, RateLimit, Tokens, ToolUse};
use super::parser::{Noise, Parser};
pub use class::OutcomeClass;
pub use fold::Fold;

/// How the process ended, as those who watched it know.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ending {
    /// The exit code; 128 and a signal's number when that ended it. `None`: nobody saw it.
    pub exit_code: Option<i64>,
    /// The engine says that the kernel killed something of it for memory.
    pub oom_killed: bool,
    /// Who of us made it end.
    pub stopped: Option<Stop>,
    /// The end of its standard error.
    pub stderr: String,
}

/// Why we made a process end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stop {
    /// Its time was over.
    Deadline,
    /// Somebody wished it.
    Cancel,
    /// The API refused the credentials again and again; the CLI would try for minutes.
    Refused,
    /// It gave its final result, and did not exit.
    Finished,
}

/// What became of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunOutcome {
    /// In one word.
    pub class: OutcomeClass,
    /// Why it did not succeed, on one line; or a note on a success.
    pub message: Option<String>,
    /// The process's exit code, when it is known.
    pub exit_code: Option<i64>,
    /// The session that it left behind, to be resumed.
    pub session_id: Option<String>,
    /// The models that answered; the one that was to be asked when none did.
    pub models: BTreeSet<String>,
    /// The CLI's version.
    pub cli_version: Option<String>,
    /// MCP servers that were missing.
    pub mcp_servers_failed: BTreeSet<String>,
    /// The text of the last result.
    pub text: Option<String>,
    /// How long that text is; more than `text` has when that was cut.
    pub text_bytes: u64,
    /// How many results the process gave.
    pub results: u64,
    /// Turns: as the results say, and counted by messages after the last of them.
    pub turns: u64,
    /// Tokens of this run.
    pub tokens: Option<Tokens>,
    /// Dollars of this run.
    pub cost: Cost,
    /// Tools.
    pub tool_uses: ToolUses,
    /// Was a tool used, or may a line that could not be read have said so? A run that did may have changed something.
    pub made_tool_use: bool,
    /// What was not permitted.
    pub permission_denials: PermissionDenials,
    /// How often the CLI itself tried again.
    pub retries: Retries,
    /// The last word on a subscription's limit.
    pub rate_limit: Option<RateLimit>,
    /// How often the session was made shorter.
    pub compactions: Compactions,
    /// What could be read, and what not.
    pub lines: Lines,
    /// Fields that were not as known.
    pub odd_fields: BTreeSet<String>,
}

impl RunOutcome {
    /// Of a whole transcript.
    pub fn of_transcript(transcript: &[u8], ending: &Ending) -> Self {
        let mut parser = Parser::new();
        let mut fold = Fold::new();
        for located in parser.push(transcript).into_iter().chain(parser.finish()) {
            fold.add(&located.event);
        }
        fold.end(parser.noise(), ending)
    }
}

/// What the run cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", from = "StoredCost")]
pub struct Cost {
    /// Dollars of this run alone, and not of earlier ones in the same session.
    pub dollars: Option<f64>,
    /// How sure that is.
    pub basis: CostBasis,
}

/// A cost as a record has it. Older versions took any number that an agent printed: an infinite one is `null` in JSON.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredCost {
    dollars: Option<f64>,
    basis: CostBasis,
}

impl From<StoredCost> for Cost {
    fn from(StoredCost { dollars, basis }: StoredCost) -> Self {
        match dollars {
            Some(dollars) if (0.0..=DOLLARS_MAX).contains(&dollars) => {
                Self { dollars: Some(dollars), basis }
            }
            Some(_) | None => Self { dollars: None, basis: CostBasis::Unknown },
        }
    }
}

/// How sure a cost is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CostBasis {
    /// Every result said what it had cost since the one before.
    Exact,
    /// Only the session's sum was said: earlier runs of the session may be in it.
    AtMost,
    /// The model was at work after the last result, and nobody said what that cost.
    AtLeast,
    /// No result said anything, or too little and too much at once.
    Unknown,
}

/// How tools were used.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ToolUses {
    /// All of them, those of subagents too.
    pub total: u64,
    /// Those whose result was an error.
    pub failed: u64,
    /// By the tool's name; names beyond the bound together under `…`.
    pub by_name: BTreeMap<String, u64>,
    /// The first ones, with texts cut short.
    pub first: Vec<ToolUse>,
}

/// What was not permitted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PermissionDenials {
    /// All of them.
    pub total: u64,
    /// The first ones.
    pub first: Vec<PermissionDenial>,
}

/// The CLI's own tries at the API.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Retries {
    /// How many.
    pub total: u64,
    /// The last one.
    pub last: Option<ApiRetry>,
}

/// How often the session was made shorter, and how often that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Compactions {
    /// It was.
    pub succeeded: u64,
    /// It could not be.
    pub failed: u64,
}

/// What could be read of the output.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Lines {
    /// Lines that are events.
    pub events: u64,
    /// Lines that told nothing: no JSON, no event, too long, broken off.
    pub lost: u64,
    /// Of these, lines that were too long.
    pub cut: u64,
    /// The last line broke off.
    pub unfinished: bool,
    /// Lines that were no UTF-8, whether they could be read or not.
    pub invalid_utf8: u64,
    /// Lines that ended in CR LF.
    pub crlf: u64,
    /// Empty lines.
    pub empty: u64,
    /// How the first line that is no event began.
    pub first: Option<String>,
}

impl Lines {
    fn of(noise: &Noise, events: u64) -> Self {
        Self {
            events,
            lost: noise.lost_lines(),
            cut: noise.cut,
            unfinished: noise.unfinished,
            invalid_utf8: noise.invalid_utf8,
            crlf: noise.crlf,
            empty: noise.empty,
            first: noise.first.clone(),
        }
    }
}
