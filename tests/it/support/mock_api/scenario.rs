//! What the mock answers: from a request's body to a reply, without a socket.
//!
//! ```text
//! text              "Hello from the mock API."              echo:TEXT        that text
//! bash:COMMAND      one use of Bash, then a text            tool             bash:echo hi
//! env               bash:env                                write:PATH       one use of Write, then a text
//! loop              a use of Bash on every request          usage:IN:OUT     those tokens
//! toolong 401 429 500 529 billing                           those errors, always
//! errn:N:NAME       that error N times, then text           hang             no answer at all
//! slow:N:MS         N words, so long apart                  big:BYTES        a text of that size
//! midstream         an error after the first words          reset            the connection breaks after them
//! refusal           the model will not                      maxtok           the answer was cut off
//! ```
//!
//! A request on the side is answered with a short text, whatever is marked: one without tools (a title), and the one of
//! `/compact` for a summary, which is told by its words.

use std::collections::BTreeMap;
use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use super::AT_ONCE;

/// What the CLI asks with for `/compact`.
const ASKS_FOR_SUMMARY: &str = "Your task is to create a detailed summary of ";

/// What is said when a use of a tool was answered.
const AFTER_TOOL: &str = "Done: the tool answered.";

/// A request for messages.
#[derive(Debug)]
pub(super) struct Asked {
    /// Its scenario.
    pub(super) scenario: String,
    /// Does it bring a tool's answer?
    after_tool: bool,
    on_the_side: bool,
    streamed: bool,
    model: String,
}

/// How it is answered.
#[derive(Debug, PartialEq)]
pub(super) enum Reply {
    /// At once.
    Whole { status: StatusCode, headers: Vec<(&'static str, &'static str)>, body: Value },
    /// As events, with a pause before each; then the connection may break.
    Stream { events: Vec<String>, pause: Duration, breaks: bool },
    /// Not.
    Never,
}

impl Asked {
    pub(super) fn of(body: &Value, prefix: Option<&str>) -> Self {
        let mut after_tool = false;
        let mut marked = None;
        for message in messages(body).rev().filter(|message| message["role"] == "user") {
            marked = text_of(message)
                .rsplit_once("[[mock:")
                .and_then(|(_, rest)| rest.split_once("]]").map(|(name, _)| name.to_owned()));
            if marked.is_some() {
                break;
            }
            let blocks = message["content"].as_array();
            after_tool |= blocks.is_some_and(|all| all.iter().any(|b| b["type"] == "tool_result"));
        }
        Self {
            scenario: marked.or(prefix.map(str::to_owned)).unwrap_or_else(|| "text".to_owned()),
            after_tool,
            on_the_side: body["tools"].as_array().is_none_or(Vec::is_empty)
                || user_texts(body).last().is_some_and(|text| text.contains(ASKS_FOR_SUMMARY)),
            streamed: body["stream"] == true,
            model: body["model"].as_str().unwrap_or("mock").to_owned(),
        }
    }

    pub(super) fn reply(&self, counts: &mut BTreeMap<String, u32>) -> Reply {
        let (name, argument) = self.scenario.split_once(':').unwrap_or((&self.scenario, ""));
        if let Some(error) = canned(name) {
            return error;
        }
        if let ("errn", Some((times, error))) = (name, argument.split_once(':')) {
            let count = counts.entry(self.scenario.clone()).or_default();
            *count += 1;
            if *count <= times.parse().expect("errn:N:NAME") {
                return canned(error).expect("errn:N:NAME names an error");
            }
        }
        if name == "hang" {
            return Reply::Never;
        }
        self.answer(name, argument)
    }

    fn answer(&self, name: &str, argument: &str) -> Reply {
        let mut answer = Answer::default();
        match (name, argument) {
            _ if self.on_the_side => answer.text("A summary by the mock."),
            ("bash" | "tool" | "env" | "write", _) if self.after_tool => answer.text(AFTER_TOOL),
            ("bash", command) => answer.bash(command),
            ("tool", _) => answer.bash("echo hi"),
            ("env", _) => answer.bash("env"),
            ("loop", _) => answer.bash("echo again"),
            ("write", path) => {
                answer.tool(
                    "Write",
                    &json!({ "file_path": path, "content": "written by the mock\n" }),
                );
            }
            ("echo", text) => answer.text(text),
            ("usage", tokens) => {
                let (input, output) = tokens.split_once(':').expect("usage:IN:OUT");
                (answer.input, answer.output) = (input.parse().unwrap(), output.parse().unwrap());
                answer.text("Counted.");
            }
            ("big", bytes) => answer.text(&"x".repeat(bytes.parse().expect("big:BYTES"))),
            ("slow", pace) => {
                let (words, pause) = pace.split_once(':').expect("slow:N:MS");
                answer.pause = Duration::from_millis(pause.parse().unwrap());
                answer.words = (0..words.parse().unwrap()).map(|_| "tick ".to_owned()).collect();
            }
            ("refusal", _) => answer.stop = "refusal",
            ("maxtok", _) => {
                answer.text("cut of");
                answer.stop = "max_tokens";
            }
            ("midstream" | "reset", _) => {
                answer.text("The first words");
                return answer.broken(self, name == "reset");
            }
            _ => answer.text("Hello from the mock API."),
        }
        answer.reply(self)
    }
}

/// All that users said, oldest first.
pub(super) fn user_texts(body: &Value) -> Vec<String> {
    messages(body).filter(|message| message["role"] == "user").map(text_of).collect()
}

/// The API's form of an error.
pub(super) fn error(kind: &str, message: &str) -> Value {
    json!({ "type": "error", "error": { "type": kind, "message": message }, "request_id": "req_mock" })
}

fn messages(body: &Value) -> impl DoubleEndedIterator<Item = &Value> {
    body["messages"].as_array().into_iter().flatten()
}

fn text_of(message: &Value) -> String {
    match &message["content"] {
        Value::String(text) => text.clone(),
        blocks => {
            let texts = blocks.as_array().into_iter().flatten();
            texts.filter_map(|block| block["text"].as_str()).collect::<Vec<_>>().join("\n")
        }
    }
}

fn canned(name: &str) -> Option<Reply> {
    let (status, kind, message) = match name {
        "toolong" => {
            (400, "invalid_request_error", "prompt is too long: 210345 tokens > 200000 maximum")
        }
        "billing" => (
            400,
            "invalid_request_error",
            "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits.",
        ),
        "401" => (401, "authentication_error", "invalid x-api-key"),
        "429" => (
            429,
            "rate_limit_error",
            "This request would exceed your account's rate limit. Please try again later.",
        ),
        "500" => (500, "api_error", "Internal server error"),
        "529" => (529, "overloaded_error", "Overloaded"),
        _ => return None,
    };
    let again = if matches!(status, 429 | 500 | 529) { "true" } else { "false" };
    Some(Reply::Whole {
        status: StatusCode::from_u16(status).unwrap(),
        headers: vec![("retry-after", "1"), ("x-should-retry", again)],
        body: error(kind, message),
    })
}

/// An answer that is being put together.
struct Answer {
    words: Vec<String>,
    uses: Vec<(&'static str, Value)>,
    stop: &'static str,
    input: u64,
    output: u64,
    pause: Duration,
}

impl Default for Answer {
    fn default() -> Self {
        Self {
            words: Vec::new(),
            uses: Vec::new(),
            stop: "end_turn",
            input: 120,
            output: 25,
            pause: AT_ONCE,
        }
    }
}

impl Answer {
    /// In pieces of at most 16 KiB, as the real one comes in pieces.
    fn text(&mut self, text: &str) {
        let pieces = text.as_bytes().chunks(16 << 10).map(String::from_utf8_lossy);
        self.words = pieces.map(std::borrow::Cow::into_owned).collect();
    }

    fn bash(&mut self, command: &str) {
        self.text("I'll run it.");
        self.tool("Bash", &json!({ "command": command, "description": "mock" }));
    }

    fn tool(&mut self, tool: &'static str, input: &Value) {
        self.uses.push((tool, input.clone()));
        self.stop = "tool_use";
    }

    fn message(&self, asked: &Asked, content: &[Value], stop: Option<&str>) -> Value {
        json!({
            "id": format!("msg_{}", uuid()), "type": "message", "role": "assistant", "model": asked.model,
            "content": content, "stop_reason": stop, "stop_sequence": null, "usage": self.usage(1),
        })
    }

    fn usage(&self, output: u64) -> Value {
        json!({
            "input_tokens": self.input, "output_tokens": output,
            "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "service_tier": "standard",
        })
    }

    fn reply(self, asked: &Asked) -> Reply {
        if asked.streamed {
            let mut events = self.begun(asked);
            let text = !self.words.is_empty();
            if text {
                events.push(event(&json!({ "type": "content_block_stop", "index": 0 })));
            }
            for (at, (name, input)) in self.uses.iter().enumerate() {
                let index = at + usize::from(text);
                let block = json!({ "type": "tool_use", "id": format!("toolu_{}", uuid()), "name": name, "input": {} });
                let delta =
                    json!({ "type": "input_json_delta", "partial_json": input.to_string() });
                events.extend([
                    event(&json!({ "type": "content_block_start", "index": index, "content_block": block })),
                    event(&json!({ "type": "content_block_delta", "index": index, "delta": delta })),
                    event(&json!({ "type": "content_block_stop", "index": index })),
                ]);
            }
            let delta = json!({ "stop_reason": self.stop, "stop_sequence": null });
            events.extend([
                event(&json!({ "type": "message_delta", "delta": delta, "usage": self.usage(self.output) })),
                event(&json!({ "type": "message_stop" })),
            ]);
            return Reply::Stream { events, pause: self.pause, breaks: false };
        }
        let mut content = Vec::new();
        if !self.words.is_empty() {
            content.push(json!({ "type": "text", "text": self.words.concat() }));
        }
        for (name, input) in &self.uses {
            content.push(json!({ "type": "tool_use", "id": format!("toolu_{}", uuid()), "name": name, "input": input }));
        }
        let mut body = self.message(asked, &content, Some(self.stop));
        body["usage"] = self.usage(self.output);
        Reply::Whole { status: StatusCode::OK, headers: Vec::new(), body }
    }

    /// The stream's beginning, and then something goes wrong. Asked without a stream, all is well.
    fn broken(self, asked: &Asked, breaks: bool) -> Reply {
        if !asked.streamed {
            return self.reply(asked);
        }
        let mut events = self.begun(asked);
        if !breaks {
            events.push(event(&error("overloaded_error", "Overloaded")));
        }
        Reply::Stream { events, pause: self.pause, breaks }
    }

    fn begun(&self, asked: &Asked) -> Vec<String> {
        let mut events = vec![event(
            &json!({ "type": "message_start", "message": self.message(asked, &[], None) }),
        )];
        if !self.words.is_empty() {
            let block = json!({ "type": "text", "text": "" });
            events.push(event(
                &json!({ "type": "content_block_start", "index": 0, "content_block": block }),
            ));
        }
        for word in &self.words {
            let delta = json!({ "type": "text_delta", "text": word });
            events
                .push(event(&json!({ "type": "content_block_delta", "index": 0, "delta": delta })));
        }
        events
    }
}

fn event(data: &Value) -> String {
    format!("event: {}\ndata: {data}\n\n", data["type"].as_str().unwrap_or_default())
}

fn uuid() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(messages: &Value, prefix: Option<&str>) -> Asked {
        let body = json!({ "stream": true, "tools": [{ "name": "Bash" }], "messages": messages });
        Asked::of(&body, prefix)
    }

    fn stream(asked: &Asked) -> String {
        match asked.reply(&mut BTreeMap::new()) {
            Reply::Stream { events, .. } => events.concat(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_newest_mark_names_the_scenario_and_beats_the_address() {
        let messages = json!([
            { "role": "user", "content": "[[mock:401]]" },
            { "role": "assistant", "content": "[[mock:hang]]" },
            { "role": "user", "content": [{ "type": "text", "text": "[[mock:500]] no: [[mock:tool]]" }] },
        ]);
        assert_eq!(asked(&messages, Some("billing")).scenario, "tool");
        let unmarked = json!([{ "role": "user", "content": "hello" }]);
        assert_eq!(asked(&unmarked, Some("billing")).scenario, "billing");
        assert_eq!(asked(&unmarked, None).scenario, "text");
    }

    #[test]
    fn a_tools_answer_is_answered_with_a_text() {
        let mut messages = json!([{ "role": "user", "content": "[[mock:bash:ls /]]" }]);
        let first = stream(&asked(&messages, None));
        assert!(
            first.contains(r#"\"command\":\"ls /\""#)
                && first.contains(r#""stop_reason":"tool_use""#),
            "{first}"
        );
        let result =
            json!({ "role": "user", "content": [{ "type": "tool_result", "content": "bin" }] });
        messages.as_array_mut().unwrap().push(result);
        let second = stream(&asked(&messages, None));
        assert!(second.contains(AFTER_TOOL) && !second.contains("tool_use"), "{second}");
    }

    #[test]
    fn an_error_that_passes_is_counted_for_each_scenario() {
        let asked = asked(&json!([{ "role": "user", "content": "[[mock:errn:2:529]]" }]), None);
        let mut counts = BTreeMap::new();
        let statuses: Vec<_> =
            (0..3).map(|_| matches!(asked.reply(&mut counts), Reply::Whole { .. })).collect();
        assert_eq!(statuses, [true, true, false]);
    }

    #[test]
    fn a_request_on_the_side_gets_a_summary_and_errors_all_the_same() {
        let messages = |name: &str| {
            json!([
                { "role": "user", "content": format!("[[mock:{name}]]") },
                { "role": "user", "content": format!("{ASKS_FOR_SUMMARY}this conversation") },
            ])
        };
        assert!(stream(&asked(&messages("echo:x"), None)).contains("A summary by the mock."));
        let refused = asked(&messages("401"), None).reply(&mut BTreeMap::new());
        assert!(matches!(refused, Reply::Whole { status: StatusCode::UNAUTHORIZED, .. }));
    }

    #[test]
    fn a_stream_that_breaks_has_no_end() {
        for (name, breaks) in [("midstream", false), ("reset", true)] {
            let messages = json!([{ "role": "user", "content": format!("[[mock:{name}]]") }]);
            let Reply::Stream { events, breaks: broken, .. } =
                asked(&messages, None).reply(&mut BTreeMap::new())
            else {
                panic!("a stream")
            };
            assert_eq!(broken, breaks, "{name}");
            assert!(!events.concat().contains("message_stop"), "{name}");
        }
    }
}
