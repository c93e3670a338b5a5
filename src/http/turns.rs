//! What a run's stream tells: turn by turn, from the lines of its transcript.
//!
//! `GET …/runs/X/turns` is a stream of Server-Sent Events. Each has an `event:` (a [`Turn`]'s word), a `data:` (its JSON, on one
//! line) and, but for `end`, an `id:` (its [`Place`]). Whoever comes back with `Last-Event-ID` gets all that came after that
//! event and nothing twice, across attempts and across a restart of the operator.
//!
//! | event | data |
//! |---|---|
//! | `attempt` | `{number, kind, session}`: an attempt's turns begin |
//! | `text` | `{text, parent}`: the agent said something |
//! | `toolUse` | `{id, name, input, bytes, parent}`: it uses a tool; `input` is JSON text |
//! | `toolResult` | `{id, text, bytes, isError, parent}`: what the tool answered |
//! | `apiRetry` | `{attempt, maxRetries, delayMs, status, error}`: the API did not answer as wished, and the CLI tries again |
//! | `rateLimit` | `{status, resetsAt, window, utilization}`: how much of a subscription's limit is used |
//! | `result` | `{isError, subtype, text, errors, turns}`: a turn of the CLI ended; there may be several |
//! | `end` | `{phase, reason, message}`: the run ended; nothing follows, and the client should not come back |
//!
//! `parent` is the tool use of the subagent that said it, and absent for the agent itself. Texts of tools are cut at
//! [`TOOL_TEXT_BYTES_MAX`]; `bytes` is how long they are. The whole is in `…/log`.
//!
//! An event's place is `<attempt>:<offset>`: the byte after its line. A line may tell several things (an answer with two
//! blocks, the results of two tools); all but its last have `<attempt>:<offset>.<n>`: the line's own first byte, and how
//! many of its events were told. To clients both are opaque.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::claude::event::{ApiRetry, Block, RateLimit, Said, StreamEvent};
use crate::claude::parser::Located;

/// Of a tool's input or result in an event: a screen or ten. The longest real ones are images of 1.3 MB.
pub const TOOL_TEXT_BYTES_MAX: usize = 64 * 1024;

/// One thing that a stream tells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", content = "data", rename_all = "camelCase")]
pub enum Turn {
    /// An attempt's turns begin.
    Attempt(AttemptTurn),
    /// The agent said something.
    Text(TextTurn),
    /// It uses a tool.
    ToolUse(ToolUseTurn),
    /// What the tool answered.
    ToolResult(ToolResultTurn),
    /// The API did not answer as wished.
    ApiRetry(ApiRetry),
    /// How much of a subscription's limit is used.
    RateLimit(RateLimit),
    /// A turn of the CLI ended.
    Result(ResultTurn),
    /// The run ended.
    End(EndTurn),
}

/// An attempt's turns begin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttemptTurn {
    /// Its number.
    pub number: u32,
    /// Why there is one: `First`, `Retry`, `WithoutSession`, `Compact`, `AfterCompact`.
    pub kind: String,
    /// The session that it leaves behind.
    pub session: String,
}

/// The agent said something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TextTurn {
    /// What.
    pub text: String,
    /// The tool use of the subagent that said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
}

/// A tool is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolUseTurn {
    /// What its result will name.
    pub id: String,
    /// The tool.
    pub name: String,
    /// Its input, as JSON text.
    pub input: String,
    /// How long that is.
    pub bytes: usize,
    /// The tool use of the subagent that uses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
}

/// A tool answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolResultTurn {
    /// Which use of a tool.
    pub id: String,
    /// What.
    pub text: String,
    /// How long that is.
    pub bytes: usize,
    /// Did it fail, or was it not permitted?
    pub is_error: bool,
    /// The tool use of the subagent that used it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
}

/// A turn of the CLI ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResultTurn {
    /// Is it an error?
    pub is_error: bool,
    /// The CLI's word: `success`, `error_max_turns` …
    pub subtype: String,
    /// The answer, or the error's text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Errors, when `subtype` is one.
    #[serde(default)]
    pub errors: Vec<String>,
    /// Turns since the last result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turns: Option<u64>,
}

/// The run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndTurn {
    /// `Succeeded`, `Failed`, `Cancelled`, `NeverStarted` or `Lost`.
    pub phase: String,
    /// The outcome's class, or another stable word.
    pub reason: String,
    /// In a sentence; empty for a success.
    #[serde(default)]
    pub message: String,
}

impl Turn {
    /// What one line of a transcript tells; mostly one thing or none.
    fn of(event: &StreamEvent) -> Vec<Self> {
        let parent = event.parent_tool_use_id.as_deref();
        match &event.said {
            Said::Assistant(assistant) => {
                assistant.blocks.iter().filter_map(|block| of_block(block, parent)).collect()
            }
            Said::User(user) => user
                .results
                .iter()
                .map(|result| {
                    Self::ToolResult(ToolResultTurn {
                        id: result.tool_use_id.clone(),
                        text: cut(&result.text),
                        bytes: result.text.len(),
                        is_error: result.is_error,
                        parent: parent.map(str::to_owned),
                    })
                })
                .collect(),
            Said::Result(result) => vec![Self::Result(ResultTurn {
                is_error: result.is_error,
                subtype: result.subtype.clone(),
                text: result.text.clone(),
                errors: result.errors.clone(),
                turns: result.turns,
            })],
            Said::ApiRetry(retry) => vec![Self::ApiRetry(retry.clone())],
            Said::RateLimit(limit) => vec![Self::RateLimit(limit.clone())],
            Said::Init(_)
            | Said::PermissionDenied(_)
            | Said::BackgroundTasks(_)
            | Said::Task(_)
            | Said::Compacted { .. }
            | Said::Refused
            | Said::Delta(_)
            | Said::Other { .. }
            | Said::Cut { .. } => vec![],
        }
    }

    /// What a line of an attempt's transcript tells, each with its place.
    pub fn located(attempt: u32, line: &Located) -> Vec<(Place, Self)> {
        let turns = Self::of(&line.event);
        let last = turns.len();
        let place = |nth: u32| {
            if usize::try_from(nth).is_ok_and(|nth| nth == last) {
                Place { attempt, offset: line.end, told: 0 }
            } else {
                Place { attempt, offset: line.offset, told: nth }
            }
        };
        (1..).zip(turns).map(|(nth, turn)| (place(nth), turn)).collect()
    }

    /// From an event's word and data; `None`: of another version.
    pub fn parse(event: &str, data: &str) -> Option<Self> {
        let data: serde_json::Value = serde_json::from_str(data).ok()?;
        serde_json::from_value(serde_json::json!({ "event": event, "data": data })).ok()
    }

    /// The event's word and its data, on one line.
    pub(super) fn said(&self) -> Option<(String, String)> {
        let mut json = serde_json::to_value(self).ok()?;
        let data = json.get_mut("data")?.take();
        Some((json.get("event")?.as_str()?.to_owned(), data.to_string()))
    }
}

fn of_block(block: &Block, parent: Option<&str>) -> Option<Turn> {
    let parent = parent.map(str::to_owned);
    match block {
        Block::Text(text) => Some(Turn::Text(TextTurn { text: text.clone(), parent })),
        Block::ToolUse(used) => Some(Turn::ToolUse(ToolUseTurn {
            id: used.id.clone(),
            name: used.name.clone(),
            input: cut(&used.input),
            bytes: used.input.len(),
            parent,
        })),
        Block::Thinking(_) | Block::Other(_) => None,
    }
}

fn cut(text: &str) -> String {
    text.get(..text.floor_char_boundary(TOOL_TEXT_BYTES_MAX)).unwrap_or(text).to_owned()
}

/// Behind which event of which attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The attempt's number.
    pub attempt: u32,
    /// A line's first byte.
    pub offset: u64,
    /// How many events of that line were told.
    pub told: u32,
}

impl Place {
    /// At the beginning of an attempt, which was told of.
    pub const fn beginning(attempt: u32) -> Self {
        Self { attempt, offset: 0, told: 0 }
    }

    /// From an event's `id`.
    pub fn parse(text: &str) -> Option<Self> {
        let (attempt, rest) = text.split_once(':')?;
        let (offset, told) = rest.split_once('.').unwrap_or((rest, "0"));
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if ![attempt, offset, told].into_iter().all(is_number) {
            return None;
        }
        Some(Self {
            attempt: attempt.parse().ok()?,
            offset: offset.parse().ok()?,
            told: told.parse().ok()?,
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.attempt, self.offset)?;
        if self.told > 0 {
            write!(f, ".{}", self.told)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_reads_back_and_nothing_else_is_one() {
        for text in ["1:0", "2:4096", "3:17.2"] {
            assert_eq!(Place::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "1", ":", "1:", ":1", "1:+2", "-1:2", "1:2.", "1:2.x", "4294967296:0"] {
            assert_eq!(Place::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_turn_reads_back_from_what_is_sent() {
        let turn = Turn::Text(TextTurn { text: "two\nlines".to_owned(), parent: None });
        let (event, data) = turn.said().unwrap();
        assert_eq!((event.as_str(), data.as_str()), ("text", r#"{"text":"two\nlines"}"#));
        assert_eq!(Turn::parse(&event, &data), Some(turn));
        assert_eq!(Turn::parse("novel", "{}"), None);
    }

    #[test]
    fn a_tools_text_is_cut_at_a_whole_character() {
        let text = "é".repeat(TOOL_TEXT_BYTES_MAX);
        let cut = cut(&format!("x{text}"));
        assert_eq!(cut.len(), TOOL_TEXT_BYTES_MAX - 1);
    }
}
