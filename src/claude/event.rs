//! The CLI's events: what one line of `stream-json` says, as far as chanop has a use for it.
//!
//! Decoding is tolerant (see [`decode()`]): a type that is not known is [`Said::Other`], an unknown field is skipped, and a
//! known field in another shape than known is left out and named in [`StreamEvent::odd`], while the rest of the event counts.
//! The specific results that repeat a tool's output (`tool_use_result`) are never copied.

mod decode;
mod wire;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use decode::{NotAnEvent, decode};

/// The model's name in messages that the CLI made up itself: API errors, answers of slash commands.
pub const SYNTHETIC_MODEL: &str = "<synthetic>";

/// One line of the CLI's output.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamEvent {
    /// The session, when the line names one that has the form of one (a UUID).
    pub session_id: Option<String>,
    /// The tool use that this event belongs to: it was said by a subagent.
    pub parent_tool_use_id: Option<String>,
    /// Fields that were there, but not in the shape that is known; they count as absent. A number beyond its bound is named
    /// as such: `total_cost_usd out of range`.
    pub odd: Vec<String>,
    /// What it says.
    pub said: Said,
}

/// What an event says.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// A turn begins: `system/init`. Not always the first line, and again for each turn of a process.
    Init(Init),
    /// A block of the model's answer; one event a block.
    Assistant(Assistant),
    /// What went to the model: results of tools, mostly.
    User(User),
    /// A turn ended. There can be several in a process.
    Result(Box<ResultEvent>),
    /// The API did not answer as wished, and the CLI tries again.
    ApiRetry(ApiRetry),
    /// A tool use was not permitted.
    PermissionDenied(PermissionDenial),
    /// How much of a subscription's limit is used.
    RateLimit(RateLimit),
    /// How many background tasks there are now. While there are any, the process does not end with its result.
    BackgroundTasks(u64),
    /// A subagent, a background shell, or a foreground shell that takes a while.
    Task(Task),
    /// The session was made shorter, or could not be.
    Compacted {
        /// Was it?
        succeeded: bool,
    },
    /// The model refused, and no other model took over.
    Refused,
    /// A piece of an answer that is still being written (with `--include-partial-messages`).
    Delta(Delta),
    /// Anything else.
    Other {
        /// The event's `type`, or its beginning.
        kind: String,
        /// Its `subtype`, or its beginning.
        subtype: Option<String>,
    },
    /// A line that was longer than the parser keeps.
    Cut {
        /// How long it was.
        bytes: u64,
        /// How it began.
        head: String,
    },
}

/// A turn's circumstances.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Init {
    /// The model that will be asked.
    pub model: Option<String>,
    /// The CLI's version.
    pub cli_version: Option<String>,
    /// MCP servers that could not be reached; the run goes on without them.
    pub mcp_servers_failed: Vec<String>,
}

/// A message of the model, or one that the CLI made up.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Assistant {
    /// The message that this is a block of.
    pub message_id: Option<String>,
    /// Who answered; [`SYNTHETIC_MODEL`] for the CLI itself.
    pub model: Option<String>,
    /// Its content: one block in practice.
    pub blocks: Vec<Block>,
    /// The message reports an error of the API.
    pub api_error: Option<ApiError>,
    /// It was interrupted.
    pub aborted: bool,
}

impl Assistant {
    /// Did the CLI say it, and not a model?
    pub fn is_synthetic(&self) -> bool {
        self.model.as_deref() == Some(SYNTHETIC_MODEL)
    }
}

/// A piece of content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    /// Text for the reader.
    Text(String),
    /// Thoughts.
    Thinking(String),
    /// A tool is to be used.
    ToolUse(ToolUse),
    /// Something else; its type.
    Other(String),
}

/// A use of a tool. In an event, the result is not there yet: it comes as a [`ToolResult`] later.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ToolUse {
    /// What its result will name.
    pub id: String,
    /// The tool.
    pub name: String,
    /// The tool's input, as JSON text.
    pub input: String,
    /// What it answered.
    pub result: Option<String>,
    /// Did it fail, or was it not permitted?
    pub is_error: bool,
    /// The tool use of the subagent that used it.
    pub parent: Option<String>,
}

/// What went to the model.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct User {
    /// What tools answered.
    pub results: Vec<ToolResult>,
    /// Text: a prompt, a notice of the CLI.
    pub text: Option<String>,
    /// Said by the CLI and not by a person.
    pub synthetic: bool,
    /// Said before, and shown again.
    pub replay: bool,
}

/// What a tool answered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ToolResult {
    /// Which use of a tool.
    pub tool_use_id: String,
    /// Its text; blocks that are none stand as their type in brackets.
    pub text: String,
    /// Did it fail?
    pub is_error: bool,
}

/// The end of a turn.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ResultEvent {
    /// `success`, `error_max_turns` and so on. `success` does not mean that it is no error.
    pub subtype: String,
    /// The CLI's word. Absent or unreadable counts as an error: success must be said.
    pub is_error: bool,
    /// The answer, or the error's text.
    pub text: Option<String>,
    /// Errors, when `subtype` is one.
    pub errors: Vec<String>,
    /// Turns since the last result of the process.
    pub turns: Option<u64>,
    /// Dollars of the whole session so far, earlier runs included.
    pub session_cost_usd: Option<f64>,
    /// Tokens of the main loop in this turn: subagents are not in it.
    pub usage: Option<Tokens>,
    /// What each model was used since the last result of the process, subagents included.
    pub since_last_result: Option<BTreeMap<String, ModelUsage>>,
    /// What was not permitted.
    pub permission_denials: Vec<PermissionDenial>,
    /// Why the turn ended.
    pub terminal_reason: Option<String>,
    /// The API's error, when one ended it.
    pub api_error: Option<ApiError>,
    /// Further prompts that wait.
    pub queued_turns: u64,
}

impl ResultEvent {
    /// Is it the CLI's word that all went well?
    pub fn is_success(&self) -> bool {
        !self.is_error && self.subtype == "success"
    }
}

/// What a model was used.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ModelUsage {
    /// Tokens.
    pub tokens: Tokens,
    /// Dollars.
    pub cost_usd: Option<f64>,
}

/// Of a number of dollars: an agent can print any, and no run costs a thousandth of it.
pub const DOLLARS_MAX: f64 = 1e6;
/// Of a number of tokens: at a dollar a million, as many as [`DOLLARS_MAX`] buys.
pub const TOKENS_MAX: u64 = 1_000_000_000_000;
/// Of any other number that counts something, like turns, and of milliseconds (eleven days).
pub const COUNT_MAX: u64 = 1_000_000_000;

/// Tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Tokens {
    /// Read anew.
    pub input: u64,
    /// Written.
    pub output: u64,
    /// Read from the cache.
    pub cache_read: u64,
    /// Put into the cache.
    pub cache_creation: u64,
}

impl Tokens {
    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            input: self.input.saturating_add(other.input),
            output: self.output.saturating_add(other.output),
            cache_read: self.cache_read.saturating_add(other.cache_read),
            cache_creation: self.cache_creation.saturating_add(other.cache_creation),
        }
    }

    /// Each of them, but no more than this.
    #[must_use]
    pub fn at_most(self, max: u64) -> Self {
        Self {
            input: self.input.min(max),
            output: self.output.min(max),
            cache_read: self.cache_read.min(max),
            cache_creation: self.cache_creation.min(max),
        }
    }

    /// All of them.
    pub const fn total(self) -> u64 {
        self.input
            .saturating_add(self.output)
            .saturating_add(self.cache_read)
            .saturating_add(self.cache_creation)
    }
}

/// An error of the API, in the CLI's words.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ApiError {
    /// The CLI's word for it: `authentication_failed`, `billing_error`, `rate_limit` …
    pub kind: Option<String>,
    /// HTTP's status; absent when no answer came.
    pub status: Option<u16>,
    /// The API's own word: `overloaded_error` …
    pub error_type: Option<String>,
    /// The CLI's finer word: `connection_failed`, `usage_limit_reached`.
    pub code: Option<String>,
    /// The limit that was hit.
    pub rate_limit: Option<RateLimit>,
}

/// The CLI tries again.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ApiRetry {
    /// Which try this will be.
    pub attempt: u64,
    /// How many there may be.
    pub max_retries: u64,
    /// How long it waits before.
    pub delay_ms: u64,
    /// HTTP's status; absent when the network failed.
    pub status: Option<u16>,
    /// The CLI's word for it: `overloaded`, `rate_limit`.
    pub error: Option<String>,
}

/// A tool use that was not permitted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PermissionDenial {
    /// The tool.
    pub tool_name: String,
    /// Which use.
    pub tool_use_id: String,
}

/// A subscription's limit. Never said with an API key.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RateLimit {
    /// `allowed`, `allowed_warning`, `rejected`.
    pub status: String,
    /// When it begins anew.
    pub resets_at: Option<Timestamp>,
    /// `five_hour`, `seven_day` …
    pub window: Option<String>,
    /// How much of it is used, 1 being all.
    pub utilization: Option<f64>,
}

impl RateLimit {
    /// Was a request refused for it?
    pub fn is_rejected(&self) -> bool {
        self.status == "rejected"
    }
}

/// A task's news.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Task {
    /// The task.
    pub id: String,
    /// What began it.
    pub tool_use_id: Option<String>,
    /// The event's `subtype`: `task_started`, `task_progress`, `task_updated`, `task_notification`.
    pub news: String,
    /// What it is, or what it came to.
    pub text: Option<String>,
}

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Delta {
    /// The piece.
    pub text: String,
    /// Is it a thought?
    pub thinking: bool,
}

/// The beginning of `text`, at most so many bytes, whole characters.
pub(super) fn clip(text: &str, most: usize) -> &str {
    text.get(..text.floor_char_boundary(most)).unwrap_or(text)
}
