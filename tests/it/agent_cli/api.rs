//! As much of the Messages API as shows what the CLI sends, and to whom.
//!
//! It says "done" to everything but to a prompt `run: COMMAND`, which it answers with that command once. What arrives below
//! `/thief` was sent where a repository wanted it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

/// The CLI's requests have 50 kB and more.
const BODY_BYTES_MAX: usize = 64 << 20;

/// One request.
#[derive(Debug, Clone)]
struct Asked {
    path: String,
    headers: BTreeMap<String, String>,
    body: Value,
}

type Kept = Arc<Mutex<Vec<Asked>>>;

/// The server, until it is dropped.
pub(super) struct Api {
    pub(super) url: String,
    kept: Kept,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Api {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Api {
    pub(super) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let kept = Kept::default();
        let app = Router::new().fallback(answer).with_state(Arc::clone(&kept));
        #[expect(clippy::disallowed_methods, reason = "aborted when it is dropped")]
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, kept, server }
    }

    fn messages(&self) -> Vec<Asked> {
        let all = self.kept.lock().unwrap().clone();
        all.into_iter().filter(|asked| asked.path.starts_with("/v1/messages")).collect()
    }

    /// Was everything asked of the right API?
    pub(super) fn only_messages(&self) -> bool {
        self.messages().len() == self.kept.lock().unwrap().len()
    }

    /// Was anything sent where a repository wanted it?
    pub(super) fn thief_was_asked(&self) -> bool {
        self.kept.lock().unwrap().iter().any(|asked| asked.path.starts_with("/thief"))
    }

    /// The body of the newest question, as text.
    pub(super) fn newest(&self) -> String {
        self.messages().last().unwrap().body.to_string()
    }

    /// Every text of the newest question's users.
    pub(super) fn said(&self) -> Vec<String> {
        user_texts(&self.messages().last().unwrap().body)
    }

    /// Was the newest question signed with `secret`?
    pub(super) fn signed_in_with(&self, secret: &str) -> bool {
        let asked = self.messages().pop().unwrap();
        ["x-api-key", "authorization"]
            .iter()
            .filter_map(|name| asked.headers.get(*name))
            .any(|value| value.ends_with(secret))
    }
}

fn user_texts(body: &Value) -> Vec<String> {
    let messages = body["messages"].as_array().cloned().unwrap_or_default();
    let mut texts = Vec::new();
    for message in messages.iter().filter(|message| message["role"] == "user") {
        texts.extend(message["content"].as_str().map(str::to_owned));
        for block in message["content"].as_array().into_iter().flatten() {
            texts.extend(block["text"].as_str().map(str::to_owned));
        }
    }
    texts
}

async fn answer(State(kept): State<Kept>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body: Bytes = axum::body::to_bytes(body, BODY_BYTES_MAX).await.unwrap();
    let headers = head.headers.iter().map(|(name, value)| {
        (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    });
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let path = head.uri.path().to_owned();
    kept.lock().unwrap().push(Asked { path, headers: headers.collect(), body: body.clone() });
    let done = body["messages"].to_string().contains("tool_result");
    let command =
        user_texts(&body).iter().find_map(|text| Some(text.strip_prefix("run: ")?.to_owned()));
    let block = match command.filter(|_| !done) {
        Some(command) => json!({
            "type": "tool_use", "id": "toolu_1", "name": "Bash",
            "input": { "command": command, "description": "a test" },
        }),
        None => json!({ "type": "text", "text": "done" }),
    };
    ([("content-type", "text/event-stream")], stream(&block)).into_response()
}

/// One answer of one block, as the API streams it.
fn stream(block: &Value) -> String {
    let is_text = block["type"] == "text";
    let (mut start, delta) = (
        block.clone(),
        if is_text {
            json!({ "type": "text_delta", "text": block["text"] })
        } else {
            json!({ "type": "input_json_delta", "partial_json": block["input"].to_string() })
        },
    );
    start[if is_text { "text" } else { "input" }] = if is_text { json!("") } else { json!({}) };
    let stop = if is_text { "end_turn" } else { "tool_use" };
    let usage = json!({ "input_tokens": 1, "output_tokens": 1 });
    let message = json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "test", "content": [],
        "stop_reason": null, "stop_sequence": null, "usage": usage,
    });
    let events = [
        json!({ "type": "message_start", "message": message }),
        json!({ "type": "content_block_start", "index": 0, "content_block": start }),
        json!({ "type": "content_block_delta", "index": 0, "delta": delta }),
        json!({ "type": "content_block_stop", "index": 0 }),
        json!({ "type": "message_delta", "delta": { "stop_reason": stop, "stop_sequence": null }, "usage": usage }),
        json!({ "type": "message_stop" }),
    ];
    let event = |event: &Value| {
        format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default())
    };
    events.iter().map(event).collect()
}
