//! From one line of text to an event.
//!
//! In two steps: the line is cut into its fields without looking into them, and then each field that is wanted is read for
//! itself. So the order of keys does not matter, what is not wanted is never copied, and a field that is not as it was costs
//! that field alone. Nothing recurses deeper than the few types here, however deep the JSON is: the first step is a loop.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::wire::{
    ApiParameters, BlockFields, DenialFields, FirstElements, FirstPairs, Line, MessageFields,
    RateLimitFields, Raw, ServerFields, UsageFields,
};
use super::{
    ApiError, ApiRetry, Assistant, Block, COUNT_MAX, DOLLARS_MAX, Delta, Init, ModelUsage,
    PermissionDenial, RateLimit, ResultEvent, Said, StreamEvent, TOKENS_MAX, Task, Tokens,
    ToolResult, ToolUse, User, clip,
};

/// Bytes of a word that is only shown, like an unknown type's.
const WORD_BYTES_MAX: usize = 64;

/// Of a limit: 1 is all of it, and the last request may go beyond.
const UTILIZATION_MAX: f64 = 100.0;

/// Why a line is no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAnEvent {
    /// It is not one JSON value.
    #[error("not JSON")]
    NotJson,
    /// It is JSON, but no object with a `type`, or one with a key twice.
    #[error("JSON, but no event")]
    NoType,
}

/// Reads one line.
pub fn decode(text: &str) -> Result<StreamEvent, NotAnEvent> {
    // A struct would take a list too, its fields in order; an event is an object.
    if !text.trim_start().starts_with('{') {
        let json = serde_json::from_str::<IgnoredAny>(text).is_ok();
        return Err(if json { NotAnEvent::NoType } else { NotAnEvent::NotJson });
    }
    let line: Line<'_> = serde_json::from_str(text).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => NotAnEvent::NoType,
        _ => NotAnEvent::NotJson,
    })?;
    let mut fields = Fields::default();
    let kind: String = fields.take("type", line.kind).ok_or(NotAnEvent::NoType)?;
    let session_id = fields.session(line.session_id);
    let parent = fields.take::<String>("parent_tool_use_id", line.parent_tool_use_id);
    let said = fields.said(&kind, &line, parent.as_deref());
    Ok(StreamEvent { session_id, parent_tool_use_id: parent, odd: fields.odd, said })
}

/// Reads fields, and remembers which could not be.
#[derive(Default)]
struct Fields {
    odd: Vec<String>,
}

impl Fields {
    fn note(&mut self, name: &str) {
        if !self.odd.iter().any(|known| known == name) {
            self.odd.push(name.to_owned());
        }
    }

    fn note_range(&mut self, name: &str) {
        self.note(&format!("{name} out of range"));
    }

    fn take<'a, T: Deserialize<'a>>(&mut self, name: &'static str, raw: Raw<'a>) -> Option<T> {
        let read = serde_json::from_str(raw?.get());
        if read.is_err() {
            self.note(name);
        }
        read.ok()
    }

    fn object<'a, T: Deserialize<'a>>(&mut self, name: &'static str, raw: Raw<'a>) -> Option<T> {
        if !raw?.get().starts_with('{') {
            self.note(name);
            return None;
        }
        self.take(name, raw)
    }

    fn text(&mut self, name: &'static str, raw: Raw<'_>) -> String {
        self.take(name, raw).unwrap_or_default()
    }

    fn word(&mut self, name: &'static str, raw: Raw<'_>) -> Option<String> {
        let word: String = self.take(name, raw)?;
        Some(clip(&word, WORD_BYTES_MAX).to_owned())
    }

    fn flag(&mut self, name: &'static str, raw: Raw<'_>) -> bool {
        self.take(name, raw).unwrap_or(false)
    }

    /// A number from 0 to `max`.
    fn count(&mut self, name: &'static str, raw: Raw<'_>, max: u64) -> Option<u64> {
        let number: u64 = self.take(name, raw)?;
        if number > max {
            self.note_range(name);
            return None;
        }
        Some(number)
    }

    fn number(&mut self, name: &'static str, raw: Raw<'_>) -> u64 {
        self.count(name, raw, COUNT_MAX).unwrap_or(0)
    }

    fn tokens(&mut self, name: &'static str, raw: Raw<'_>) -> u64 {
        self.count(name, raw, TOKENS_MAX).unwrap_or(0)
    }

    /// A number from 0 to `max`. JSON has no infinity, and what overflows is no number to the parser either.
    fn amount(&mut self, name: &'static str, raw: Raw<'_>, max: f64) -> Option<f64> {
        let amount: f64 = self.take(name, raw)?;
        if !(0.0..=max).contains(&amount) {
            self.note_range(name);
            return None;
        }
        Some(amount)
    }

    fn dollars(&mut self, name: &'static str, raw: Raw<'_>) -> Option<f64> {
        self.amount(name, raw, DOLLARS_MAX)
    }

    fn list<'a>(&mut self, name: &'static str, raw: Raw<'a>) -> Vec<&'a RawValue> {
        self.take::<FirstElements<'a>>(name, raw).unwrap_or_default().0
    }

    /// A session's ID goes into a command line later, so it must look like one.
    fn session(&mut self, raw: Raw<'_>) -> Option<String> {
        let text: String = self.take("session_id", raw)?;
        let sound = text.len() == 36 && uuid::Uuid::try_parse(&text).is_ok();
        if !sound {
            self.note("session_id");
        }
        sound.then_some(text)
    }

    fn said(&mut self, kind: &str, line: &Line<'_>, parent: Option<&str>) -> Said {
        match kind {
            "system" => self.system(line),
            "assistant" => Said::Assistant(self.assistant(line, parent)),
            "user" => Said::User(self.user(line)),
            "result" => Said::Result(Box::new(self.result(line))),
            "rate_limit_event" => match self.rate_limit("rate_limit_info", line.rate_limit_info) {
                Some(limit) => Said::RateLimit(limit),
                None => other(kind, None),
            },
            "stream_event" => self.stream(line),
            _ => {
                let subtype = self.word("subtype", line.subtype);
                other(kind, subtype.as_deref())
            }
        }
    }

    fn system(&mut self, line: &Line<'_>) -> Said {
        let subtype: Option<String> = self.take("subtype", line.subtype);
        match subtype.as_deref().unwrap_or_default() {
            "init" => Said::Init(self.init(line)),
            "api_retry" => Said::ApiRetry(ApiRetry {
                attempt: self.number("attempt", line.attempt),
                max_retries: self.number("max_retries", line.max_retries),
                delay_ms: self.number("retry_delay_ms", line.retry_delay_ms),
                status: self.take("error_status", line.error_status),
                error: self.word("error", line.error),
            }),
            "permission_denied" => Said::PermissionDenied(PermissionDenial {
                tool_name: self.text("tool_name", line.tool_name),
                tool_use_id: self.text("tool_use_id", line.tool_use_id),
            }),
            "background_tasks_changed" => {
                let tasks = self.list("tasks", line.tasks);
                Said::BackgroundTasks(u64::try_from(tasks.len()).unwrap_or(u64::MAX))
            }
            "model_refusal_no_fallback" => Said::Refused,
            "status" if line.compact_result.is_some() => Said::Compacted {
                succeeded: self.text("compact_result", line.compact_result) == "success",
            },
            "task_started" | "task_progress" | "task_updated" | "task_notification" => {
                Said::Task(Task {
                    id: self.text("task_id", line.task_id),
                    tool_use_id: self.take("tool_use_id", line.tool_use_id),
                    news: subtype.unwrap_or_default(),
                    text: self
                        .take("summary", line.summary)
                        .or_else(|| self.take("description", line.description)),
                })
            }
            _ => other("system", subtype.as_deref()),
        }
    }

    fn init(&mut self, line: &Line<'_>) -> Init {
        let mut failed = Vec::new();
        for server in self.list("mcp_servers", line.mcp_servers) {
            let Some(server) = self.object::<ServerFields<'_>>("mcp_servers", Some(server)) else {
                continue;
            };
            if self.text("mcp_servers", server.status) == "failed" {
                failed.extend(self.word("mcp_servers", server.name));
            }
        }
        Init {
            model: self.word("model", line.model),
            cli_version: self.word("claude_code_version", line.claude_code_version),
            mcp_servers_failed: failed,
        }
    }

    fn assistant(&mut self, line: &Line<'_>, parent: Option<&str>) -> Assistant {
        let mut assistant = Assistant {
            api_error: self
                .flag("is_api_error_message", line.is_api_error_message)
                .then(|| self.api_error(line)),
            aborted: self.flag("aborted", line.aborted),
            ..Assistant::default()
        };
        let Some(message) = self.object::<MessageFields<'_>>("message", line.message) else {
            return assistant;
        };
        assistant.message_id = self.take("id", message.id);
        assistant.model = self.word("model", message.model);
        for block in self.list("content", message.content) {
            if let Some(block) = self.object::<BlockFields<'_>>("content", Some(block)) {
                assistant.blocks.push(self.block(&block, parent));
            }
        }
        assistant
    }

    fn block(&mut self, block: &BlockFields<'_>, parent: Option<&str>) -> Block {
        let kind = self.word("content", block.kind).unwrap_or_default();
        match kind.as_str() {
            "text" => Block::Text(self.text("text", block.text)),
            "thinking" => Block::Thinking(self.text("thinking", block.thinking)),
            "tool_use" => Block::ToolUse(ToolUse {
                id: self.text("id", block.id),
                name: self.text("name", block.name),
                input: block.input.map(|input| input.get().to_owned()).unwrap_or_default(),
                result: None,
                is_error: false,
                parent: parent.map(str::to_owned),
            }),
            _ => Block::Other(kind),
        }
    }

    fn user(&mut self, line: &Line<'_>) -> User {
        let mut user = User {
            synthetic: self.flag("isSynthetic", line.is_synthetic),
            replay: self.flag("isReplay", line.is_replay),
            ..User::default()
        };
        let Some(message) = self.object::<MessageFields<'_>>("message", line.message) else {
            return user;
        };
        if is_string(message.content) {
            user.text = self.take("content", message.content);
            return user;
        }
        for block in self.list("content", message.content) {
            let Some(block) = self.object::<BlockFields<'_>>("content", Some(block)) else {
                continue;
            };
            match self.word("content", block.kind).unwrap_or_default().as_str() {
                "tool_result" => user.results.push(ToolResult {
                    tool_use_id: self.text("tool_use_id", block.tool_use_id),
                    text: self.content_text(block.content),
                    is_error: self.flag("is_error", block.is_error),
                }),
                "text" => {
                    let text = self.text("text", block.text);
                    join(user.text.get_or_insert_default(), &text);
                }
                _ => {}
            }
        }
        user
    }

    /// A tool's answer: a string, or blocks.
    fn content_text(&mut self, raw: Raw<'_>) -> String {
        if is_string(raw) {
            return self.text("content", raw);
        }
        let mut all = String::new();
        for block in self.list("content", raw) {
            let Some(block) = self.object::<BlockFields<'_>>("content", Some(block)) else {
                continue;
            };
            match self.word("content", block.kind).unwrap_or_default().as_str() {
                "text" => join(&mut all, &self.text("text", block.text)),
                kind => join(&mut all, &format!("[{kind}]")),
            }
        }
        all
    }

    fn result(&mut self, line: &Line<'_>) -> ResultEvent {
        let usage = self.object::<UsageFields<'_>>("usage", line.usage);
        ResultEvent {
            subtype: self.word("subtype", line.subtype).unwrap_or_default(),
            is_error: self.take("is_error", line.is_error).unwrap_or(true),
            text: self.take("result", line.result),
            errors: self
                .list("errors", line.errors)
                .into_iter()
                .filter_map(|error| self.take("errors", Some(error)))
                .collect(),
            turns: self.count("num_turns", line.num_turns, COUNT_MAX),
            session_cost_usd: self.dollars("total_cost_usd", line.total_cost_usd),
            usage: usage.map(|usage| self.usage(&usage).tokens),
            since_last_result: self.by_model(line.model_usage_since_last_result),
            permission_denials: self.denials(line.permission_denials),
            terminal_reason: self.word("terminal_reason", line.terminal_reason),
            api_error: [line.api_error_status, line.api_error_type, line.api_error]
                .iter()
                .any(Option::is_some)
                .then(|| self.api_error(line)),
            queued_turns: self.number("queued_turn_count", line.queued_turn_count),
        }
    }

    fn usage(&mut self, usage: &UsageFields<'_>) -> ModelUsage {
        ModelUsage {
            tokens: Tokens {
                input: self.tokens("input_tokens", usage.input_tokens),
                output: self.tokens("output_tokens", usage.output_tokens),
                cache_read: self.tokens("cache_read_input_tokens", usage.cache_read_input_tokens),
                cache_creation: self
                    .tokens("cache_creation_input_tokens", usage.cache_creation_input_tokens),
            },
            cost_usd: self.dollars("costUSD", usage.cost_usd),
        }
    }

    fn by_model(&mut self, raw: Raw<'_>) -> Option<BTreeMap<String, ModelUsage>> {
        const NAME: &str = "model_usage_since_last_result";
        let pairs: FirstPairs<'_> = self.take(NAME, raw)?;
        let mut all = BTreeMap::new();
        for (model, usage) in pairs.0 {
            let usage = self.object::<UsageFields<'_>>(NAME, Some(usage))?;
            all.insert(clip(&model, WORD_BYTES_MAX).to_owned(), self.usage(&usage));
        }
        Some(all)
    }

    fn denials(&mut self, raw: Raw<'_>) -> Vec<PermissionDenial> {
        const NAME: &str = "permission_denials";
        let mut all = Vec::new();
        for denial in self.list(NAME, raw) {
            if let Some(denial) = self.object::<DenialFields<'_>>(NAME, Some(denial)) {
                all.push(PermissionDenial {
                    tool_name: self.text(NAME, denial.tool_name),
                    tool_use_id: self.text(NAME, denial.tool_use_id),
                });
            }
        }
        all
    }

    fn api_error(&mut self, line: &Line<'_>) -> ApiError {
        let parameters =
            self.object::<ApiParameters<'_>>("api_error_params", line.api_error_params);
        ApiError {
            kind: self.word("error", line.error),
            status: self.take("api_error_status", line.api_error_status),
            error_type: self.word("api_error_type", line.api_error_type),
            code: self.word("api_error", line.api_error),
            rate_limit: parameters
                .and_then(|it| self.rate_limit("api_error_params", it.rate_limit_info)),
        }
    }

    fn rate_limit(&mut self, name: &'static str, raw: Raw<'_>) -> Option<RateLimit> {
        let limit: RateLimitFields<'_> = self.object(name, raw)?;
        let seconds: Option<i64> = self.take("resetsAt", limit.resets_at);
        let resets_at = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
        if seconds.is_some() && resets_at.is_none() {
            self.note("resetsAt");
        }
        Some(RateLimit {
            status: self.word("status", limit.status).unwrap_or_default(),
            resets_at,
            window: self.word("rateLimitType", limit.window),
            utilization: self.amount("utilization", limit.utilization, UTILIZATION_MAX),
        })
    }

    fn stream(&mut self, line: &Line<'_>) -> Said {
        let Some(event) = self.object::<BlockFields<'_>>("event", line.event) else {
            return other("stream_event", None);
        };
        let kind = self.word("event", event.kind);
        if kind.as_deref() == Some("content_block_delta")
            && let Some(delta) = self.object::<BlockFields<'_>>("delta", event.delta)
        {
            if delta.text.is_some() {
                return Said::Delta(Delta { text: self.text("text", delta.text), thinking: false });
            }
            if delta.thinking.is_some() {
                let text = self.text("thinking", delta.thinking);
                return Said::Delta(Delta { text, thinking: true });
            }
        }
        other("stream_event", kind.as_deref())
    }
}

fn other(kind: &str, subtype: Option<&str>) -> Said {
    let short = |word: &str| clip(word, WORD_BYTES_MAX).to_owned();
    Said::Other { kind: short(kind), subtype: subtype.map(short) }
}

fn is_string(raw: Raw<'_>) -> bool {
    raw.is_some_and(|raw| raw.get().starts_with('"'))
}

fn join(all: &mut String, text: &str) {
    if !all.is_empty() {
        all.push('\n');
    }
    all.push_str(text);
}
